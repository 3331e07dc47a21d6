//! A thread of its own for a probe: a busy main runtime must not delay what it measures.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;
use tokio::sync::{oneshot, watch};

/// Work on a single-threaded runtime of its own, until it is asked to stop.
#[derive(Debug)]
pub(super) struct Apart<T> {
    stop: watch::Sender<bool>,
    done: oneshot::Receiver<()>,
    thread: JoinHandle<T>,
}

/// How the work learns that it shall stop: it was asked to, or nobody waits for its result any more.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until the work is asked to stop.
    pub(super) async fn asked(&mut self) {
        // The error means that the other end is gone, which asks for the same.
        let _ = self.0.wait_for(|&stop| stop).await;
    }
}

impl<T: Send + 'static> Apart<T> {
    /// Starts `work` on a thread called `name`.
    pub(super) fn start<F>(name: &str, work: impl FnOnce(Stop) -> F + Send + 'static) -> io::Result<Apart<T>>
    where
        F: Future<Output = T>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, asked) = watch::channel(false);
        let (finished, done) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            // Dropped when the work ends, by a panic too: that is the signal.
            let _finished = finished;
            runtime.block_on(work(Stop(asked)))
        })?;
        Ok(Apart { stop, done, thread })
    }

    /// Asks the work to stop and waits for its result. A panic in there goes on here.
    pub(super) async fn stop(self) -> T {
        self.stop.send_replace(true);
        let _ = self.done.await;
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn ends_when_asked() {
        let apart = Apart::start("apart", |mut stop| async move {
            stop.asked().await;
            std::thread::current().name().map(str::to_owned)
        });
        assert_eq!(apart.unwrap().stop().await.as_deref(), Some("apart"));
    }

    #[test]
    fn ends_when_forgotten() {
        let (tell, told) = mpsc::channel();
        let apart = Apart::start("apart", |mut stop| async move {
            stop.asked().await;
            tell.send(()).unwrap();
        });
        drop(apart);
        told.recv_timeout(Duration::from_secs(10)).unwrap();
    }
}
