//! Following a container from just before it starts until it has ended: what it prints goes to the node's log,
//! and how it ended is known at once.

use super::engine::{Engine, EngineError};
use bollard::container::AttachContainerResults;
use futures_util::StreamExt;
use nix::sys::signal::Signal;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

/// How long the rest of the output may take to come after the end of the container.
const REST: Duration = Duration::from_secs(2);
/// Time between two attempts to ask an engine that does not answer.
const AGAIN: Duration = Duration::from_millis(200);

/// Why it may have ended, in the words of [`End::in_words`].
pub(super) const FOR_MEMORY: &str = "the kernel had killed a process of it for memory";

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The status of its first process; absent when the container was removed.
    pub exit_code: Option<i64>,
    /// A process of it was killed because memory was used up.
    pub out_of_memory: bool,
}

impl End {
    /// In words, for the middle of a sentence.
    pub(super) fn in_words(&self) -> String {
        let mut words = match self.exit_code {
            None => "the container was removed".to_owned(),
            Some(code) => format!("the container exited with status {code}"),
        };
        // As shells have it, and docker-init: 128 and the number of the signal.
        let signal = self.exit_code.and_then(|code| i32::try_from(code - 128).ok());
        if let Some(signal) = signal.and_then(|number| Signal::try_from(number).ok()) {
            words += &format!(" ({signal})");
        }
        if self.out_of_memory {
            // Whichever process that was: the engine does not say.
            words += &format!(", after {FOR_MEMORY}: it used all that it may");
        }
        words
    }
}

/// A container that was started.
#[derive(Debug)]
pub(super) struct Running {
    end: watch::Receiver<Option<End>>,
    /// A login got a row.
    ready: AtomicBool,
    /// Somebody told it to end.
    asked: AtomicBool,
}

impl Running {
    /// It, and where its end is to be told.
    pub(super) fn new() -> (watch::Sender<Option<End>>, Running) {
        let (ended, end) = watch::channel(None);
        (ended, Running { end, ready: AtomicBool::new(false), asked: AtomicBool::new(false) })
    }

    /// How it ended, once it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end.borrow().clone()
    }

    /// Waits for its end, until after all it printed is in the log.
    pub(super) async fn ended(&self) -> End {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await.map(|end| end.clone()) {
            Ok(Some(end)) => end,
            // Only a runtime that is ending drops the task that tells.
            _ => std::future::pending().await,
        }
    }

    pub(super) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// What comes next ends it; if it still runs, that is not of its own accord.
    pub(super) fn ask(&self) {
        if self.end.borrow().is_none() {
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    /// How it ended, if nobody told it to.
    pub(super) fn own_end(&self) -> Option<End> {
        let own = self.ready.load(Ordering::Relaxed) && !self.asked.load(Ordering::Relaxed);
        own.then(|| self.end()).flatten()
    }
}

/// The output of a container that is about to start.
pub(super) struct Follow {
    engine: Engine,
    container: String,
    output: AttachContainerResults,
    log: File,
}

impl Follow {
    /// Begins before the container starts, so that nothing is missed, and nothing of an earlier start comes again.
    pub(super) async fn begin(engine: &Engine, container: &str, log: &Path) -> Result<Follow, EngineError> {
        let file = File::options().create(true).append(true).open(log).await;
        let file =
            file.map_err(|error| EngineError::Lost { what: log.display().to_string(), why: error.to_string() })?;
        let output = engine.attach(container).await?;
        Ok(Follow { engine: engine.clone(), container: container.to_owned(), output, log: file })
    }

    /// Writes the log while the container runs, and tells its end.
    pub(super) async fn until_the_end(self, ended: watch::Sender<Option<End>>) {
        let Follow { engine, container, output, log } = self;
        let copy = tokio::spawn(copy(output, log));
        let end = loop {
            // Whatever was answered, its state decides.
            let waited = engine.ended(&container).await;
            match engine.state(&container).await {
                Ok(None) => break End { exit_code: None, out_of_memory: false },
                Ok(Some(state)) if !state.running => {
                    break End { exit_code: state.exit_code, out_of_memory: state.out_of_memory };
                }
                Ok(Some(_)) if waited.is_ok() => {}
                // Nothing is known of it until the engine answers again.
                Ok(Some(_)) | Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
        let _ = tokio::time::timeout(REST, copy).await;
        ended.send_replace(Some(end));
    }
}

async fn copy(mut from: AttachContainerResults, mut log: File) {
    while let Some(printed) = from.output.next().await {
        let text = match printed {
            Ok(printed) => printed.into_bytes(),
            Err(error) => format!("pgbench-rs: the rest of the log is lost: {error}\n").into(),
        };
        // As when a server's own writing to its log fails: it goes on.
        let _ = log.write_all(&text).await;
    }
    let _ = log.flush().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_words() {
        let end = |exit_code, out_of_memory| End { exit_code, out_of_memory }.in_words();
        assert_eq!(end(Some(1), false), "the container exited with status 1");
        assert_eq!(
            end(Some(137), true),
            "the container exited with status 137 (SIGKILL), after the kernel had killed a process of it for memory: it \
             used all that it may"
        );
        assert_eq!(end(None, false), "the container was removed");
    }
}
