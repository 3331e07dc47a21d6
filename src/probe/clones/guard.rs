//! Room for the source: clones write to the file system that it lies on, and a server that finds no room for its WAL goes
//! down. While clones are made and live, what is free there is looked at; when it is less than the recipe's `reserve`,
//! their servers are killed, before the source needs what is left.
//!
//! What can be written between two looks must fit into the reserve. Most file systems count what was written as soon as
//! it is in memory; ZFS does so only with its next transaction group, some seconds later: there a `quota` is what
//! keeps clones from it.

use crate::base::disk;
use crate::base::units::Size;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A look-out for room, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    low: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

/// Is told, once, why clones must end.
#[derive(Clone, Debug)]
pub(super) struct Low(watch::Receiver<Option<String>>);

impl Guard {
    /// Looks after `reserve` bytes on the file system of `path`; after none when it is 0.
    pub fn watch(path: &Path, reserve: Size) -> Guard {
        let (tell, low) = watch::channel(None);
        let path = path.to_owned();
        Guard { low, task: tokio::spawn(look_out(path, reserve, tell)) }
    }

    /// For a clone.
    pub fn low(&self) -> Low {
        Low(self.low.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Low {
    /// Waits until clones must end; why. Never, when the look-out is over.
    pub async fn wait(&mut self) -> String {
        match self.0.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

async fn look_out(path: PathBuf, reserve: Size, tell: watch::Sender<Option<String>>) {
    if reserve.0 == 0 {
        return;
    }
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let of = path.clone();
        let why = match tokio::task::spawn_blocking(move || disk::free(&of)).await {
            Ok(Ok(free)) => low(&path, free, reserve),
            // Nobody looks after the source's room any more.
            Ok(Err(error)) => Some(format!("how much room is left at {} cannot be told: {error}", path.display())),
            Err(error) => Some(format!("how much room is left at {} cannot be told: {error}", path.display())),
        };
        if why.is_some() {
            tell.send_replace(why);
            return;
        }
    }
}

/// Why clones must end when so much is free.
fn low(path: &Path, free: u64, reserve: Size) -> Option<String> {
    let left = Size(free);
    (free < reserve.0)
        .then(|| format!("only {left} were left at {}, of {reserve} that are the source's reserve", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_end_when_less_than_the_reserve_is_left() {
        let said = |free| low(Path::new("/pg"), free, Size(64 << 20));
        assert_eq!(said(64 << 20), None);
        assert_eq!(said(1 << 20).as_deref(), Some("only 1MB were left at /pg, of 64MB that are the source's reserve"));
    }

    #[tokio::test]
    async fn a_reserve_that_no_disk_has_is_low_at_once_and_none_is_never() {
        let here = std::env::temp_dir();
        let guard = Guard::watch(&here, Size(u64::MAX));
        assert!(guard.low().wait().await.contains("the source's reserve"));
        let none = Guard::watch(&here, Size(0));
        assert!(tokio::time::timeout(3 * LOOK, none.low().wait()).await.is_err());
    }
}
