//! The thread on which proxies run.

use super::alarm::Alarm;
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// After so many tasks the system is asked what else has happened: a proxy with much to pass on must not make
/// the timers of others late.
const TASKS: u32 = 4;

/// A thread of their own for the proxies of a trial: passing bytes on and generating load do not wait for
/// each other, and one core at most is busy with it.
///
/// A clone is the same thread. It ends with the last clone and the last proxy.
#[derive(Clone, Debug)]
pub struct Proxies(Arc<Thread>);

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    alarm: Arc<Alarm>,
    /// Ends the thread when it is dropped.
    _end: oneshot::Sender<()>,
}

impl Proxies {
    /// Starts the thread.
    pub fn start() -> io::Result<Proxies> {
        let runtime = Builder::new_current_thread().enable_all().event_interval(TASKS).build()?;
        let alarm = {
            let _on_it = runtime.enter();
            Arc::new(Alarm::register()?)
        };
        let (handle, rings) = (runtime.handle().clone(), Arc::clone(&alarm));
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("proxies".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = rings.run() => {}
                    // Nothing is ever sent: it says that the sender is gone.
                    _ = ended => {}
                }
            });
        })?;
        Ok(Proxies(Arc::new(Thread { runtime: handle, alarm, _end: end })))
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    pub(super) fn alarm(&self) -> &Arc<Alarm> {
        &self.0.alarm
    }
}
