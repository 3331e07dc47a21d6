//! Making a clone: one step after the other, and undoing all of them when one fails or nobody wants the clone any more.

use super::attempt::{Attempt, Facts};
use super::backup::Backup;
use super::door::{Door, Reach};
use super::error::CloneError;
use super::phase::{Phase, Phases};
use super::recipe::Recipe;
use super::source::Source;
use super::still::Still;
use super::thin::{Body, Of, ThinClone};
use crate::base::inventory::Id;
use crate::clean;
use crate::driver::docker::Limits;
use crate::driver::port::Port;
use crate::driver::{Make, Server, Workplace};
use crate::snapshot::label::Label;
use crate::snapshot::{Copied, Origin, SnapshotDriver, SnapshotError, Took};
use futures_util::FutureExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What a clone is called, and where it goes.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The directory in which its own is made, on the file system of the source's where blocks are to be shared.
    pub within: PathBuf,
    /// What its own directory is called there.
    pub dir: String,
    /// What its server is made with: programs or an image of the source's version.
    pub make: Make,
    /// What its container may use.
    pub limits: Limits,
    /// Its server's log; absent: in its own directory.
    pub log: Option<PathBuf>,
    /// How it is reached.
    pub reach: Reach,
    /// The port that it gets if it is free; absent: any.
    pub port: Option<u16>,
    /// The database of its login; absent: that of the source's.
    pub dbname: Option<String>,
    /// Whose it is: on ZFS it says so itself.
    pub label: Label,
}

/// A clone that is being made, with all that must be undone when it fails.
pub(super) struct Making {
    pub(super) place: Arc<Workplace>,
    pub(super) source: Arc<Source>,
    pub(super) recipe: Recipe,
    pub(super) order: Order,
    pub(super) phases: Phases,
    pub(super) facts: Facts,
    /// Bytes of a segment of the WAL, once the control file was read.
    pub(super) segment_size: u64,
    pub(super) home: Option<(Id, PathBuf)>,
    pub(super) copying: Option<Copying>,
    pub(super) body: Option<Body>,
    pub(super) still: Option<Still>,
    pub(super) backup: Option<Backup>,
    pub(super) server: Option<Arc<Server>>,
    pub(super) door: Option<Door>,
    /// A port that was wished for, until the server has it.
    pub(super) port: Option<Port>,
}

/// A copy under way. In a task of its own: what it has made on the way is known only to it.
pub(super) struct Copying {
    task: JoinHandle<Result<(Copied, Took), SnapshotError>>,
    /// It goes file by file, and leaves nothing but files when it is broken off.
    by_files: bool,
}

impl Copying {
    /// Copies `origin` into the directory `home`.
    pub fn begin(origin: &Origin, name: &str, home: &Path) -> Copying {
        let by_files = matches!(origin.driver(), SnapshotDriver::Reflink | SnapshotDriver::Copy);
        let (origin, name, home) = (origin.clone(), name.to_owned(), home.to_owned());
        Copying { task: tokio::spawn(async move { origin.clone_to(&name, &home).await }), by_files }
    }

    /// Waits for it.
    pub async fn done(&mut self) -> Result<(Copied, Took), CloneError> {
        let done = (&mut self.task).await.map_err(|error| CloneError::Broke(error.to_string()))?;
        Ok(done?)
    }

    /// Ends it, and removes what it has made but for files.
    async fn end(self) -> Result<(), String> {
        if self.by_files {
            self.task.abort();
        }
        match self.task.await {
            Ok(Ok((copied, _))) => copied.destroy().await.map_err(|error| error.to_string()),
            // It has removed what it had made, or says what is left.
            Ok(Err(error @ SnapshotError::Left { .. })) => Err(error.to_string()),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

/// Time between two attempts to remove what a copy that was broken off may still be writing to.
const AGAIN: Duration = Duration::from_millis(20);
/// How often that is tried.
const TRIES: u32 = 100;

/// Whoever asks for a clone.
#[derive(Debug, Default)]
pub struct Caller {
    /// Is told each phase when it begins.
    pub told: Option<watch::Sender<Option<Phase>>>,
    /// Ends, or has its sender dropped, when the clone is no longer wanted. What was made is then undone before the
    /// attempt is handed back.
    pub unwanted: Option<oneshot::Receiver<()>>,
}

/// Makes a clone of `source`. The attempt has all phases that it went through, also when it failed; then nothing of
/// it is left. Dropping this future ends it likewise, a moment later.
///
/// Clones of one work place must have names of their own.
pub async fn create(
    place: &Arc<Workplace>,
    source: &Arc<Source>,
    recipe: &Recipe,
    order: Order,
    caller: Caller,
) -> Attempt {
    let name = order.name.clone();
    let making = Making {
        place: place.clone(),
        source: source.clone(),
        recipe: recipe.clone(),
        order,
        phases: Phases::start(caller.told),
        facts: Facts::of(recipe),
        segment_size: 0,
        home: None,
        copying: None,
        body: None,
        still: None,
        backup: None,
        server: None,
        door: None,
        port: None,
    };
    let facts = making.facts.clone();
    let (_waiting, dropped) = oneshot::channel();
    // In a task of its own, so that it can undo what it did when this future is dropped.
    match tokio::spawn(making.run(dropped, caller.unwanted)).await {
        Ok(attempt) => attempt,
        Err(error) => Attempt { name, spans: Vec::new(), facts, outcome: Err(CloneError::Broke(error.to_string())) },
    }
}

impl Making {
    /// All of it; `dropped` ends when nobody waits for it any more.
    async fn run(mut self, dropped: oneshot::Receiver<()>, unwanted: Option<oneshot::Receiver<()>>) -> Attempt {
        let mut unwanted = Box::pin(async {
            match unwanted {
                None => drop(dropped.await),
                Some(unwanted) => tokio::select! { _ = dropped => {}, _ = unwanted => {} },
            }
        });
        let result = tokio::select! {
            biased;
            () = &mut unwanted => Err(None),
            result = self.work() => result.map_err(Some),
        };
        let result = match result {
            // It was done just when nobody wanted it any more.
            Ok(()) if unwanted.as_mut().now_or_never().is_some() => Err(None),
            result => result,
        };
        let name = self.order.name.clone();
        let cause = match result {
            Ok(()) => match self.parts() {
                Some((entry, home, body, server, door)) => {
                    let (place, within) = (self.place.clone(), self.order.within.clone());
                    let thin = ThinClone::new(place, (entry, home, within), body, server, door, self.of());
                    let spans = self.phases.spans().to_vec();
                    return Attempt { name, spans, facts: self.facts, outcome: Ok(thin) };
                }
                None => CloneError::Broke("a part of it is missing".to_owned()),
            },
            Err(None) => CloneError::Unwanted(self.phases.now()),
            Err(Some(cause)) => cause,
        };
        self.phases.fail();
        let left = self.undo().await;
        let outcome = Err(match left.is_empty() {
            true => cause,
            false => CloneError::Left { cause: Box::new(cause), left },
        });
        Attempt { name, spans: self.phases.spans().to_vec(), facts: self.facts, outcome }
    }

    /// What the clone is one of.
    fn of(&self) -> Of {
        let Facts { timeline, redo, reached, last_commit, is_unsafe, .. } = self.facts;
        let (source, major) = (self.source.clone(), self.order.make.major());
        let segment_size = self.segment_size.max(1);
        Of { source, major, segment_size, timeline, redo, reached, last_commit, is_unsafe }
    }

    /// What a clone consists of, when all of it is there.
    fn parts(&mut self) -> Option<(Id, PathBuf, Body, Arc<Server>, Door)> {
        if self.home.is_none() || self.body.is_none() || self.server.is_none() || self.door.is_none() {
            return None;
        }
        let (entry, home) = self.home.take()?;
        Some((entry, home, self.body.take()?, self.server.take()?, self.door.take()?))
    }

    /// Undoes all that was done; what is left, and why.
    async fn undo(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(still) = self.still.take()
            && let Err(error) = still.thaw().await
        {
            left.push(error.to_string());
        }
        self.backup = None;
        if let Some(copying) = self.copying.take() {
            left.extend(copying.end().await.err());
        }
        if let Some(server) = self.server.take()
            && let Err(error) = server.remove().await
        {
            left.push(error.to_string());
        }
        if let Some(Body::Copied(copied)) = self.body.take()
            && let Err(error) = copied.destroy().await
        {
            left.push(error.to_string());
        }
        if let Some((entry, home)) = self.home.take() {
            left.extend(remove(&self.place, entry, &home, &self.order.within).await.err());
        }
        left
    }
}

/// Removes a clone's own directory. A copy that was broken off may go on for a moment.
pub(super) async fn remove(place: &Arc<Workplace>, entry: Id, home: &Path, within: &Path) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        let (home, within, run) = (home.to_owned(), within.to_owned(), place.setup.run.clone());
        let removed = tokio::task::spawn_blocking(move || {
            let within = std::fs::canonicalize(&within).map_err(|error| error.to_string())?;
            clean::remove(&home, &within, &run)
        });
        match removed.await {
            Ok(Ok(())) => return place.setup.inventory.gone(entry).map_err(|error| error.to_string()),
            Ok(Err(why)) => last = why,
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(AGAIN).await;
    }
    Err(format!("{} was not removed: {last}", home.display()))
}
