//! Ctrl-C: the first ends the phase, tears down and marks the record interrupted; the second stops hard,
//! and the watchdog ends the servers.

use super::progress::tell;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Says when the run was asked to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Starts listening for SIGINT, SIGTERM and SIGHUP. `say` tells the user what the first one did.
    pub fn listen(say: impl Fn(&str) + Send + 'static) -> std::io::Result<Stop> {
        let (asked, stop) = watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if *asked.borrow() {
                    tell("stopping hard; the watchdog ends the servers, `pgbench-rs clean` removes what is left");
                    std::process::exit(130);
                }
                say("interrupted: ending this phase and tearing down (once more to stop hard)");
                asked.send_replace(true);
            }
        });
        Ok(Stop(stop))
    }

    /// Whether it was asked for.
    pub fn asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked for.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // The listener is gone, so nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }
}
