//! A clone on the [`shelf`](super::shelf): how it stands, by its inventory and by what runs on it, and its end.

use super::card::{Card, Ready};
use super::thin::blocks;
use crate::base::hunt::Hunt;
use crate::base::inventory::MARK;
use crate::base::proc;
use crate::clean::{PastRun, Remains, Undone};
use crate::driver::SERVER_PROGRAM;
use crate::snapshot::{SnapshotError, label};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::io;
use std::time::Duration;

/// How long processes may take to die after SIGKILL; what is still there keeps the directory from being removed.
const DYING: Duration = Duration::from_secs(5);

/// How a clone stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Somebody is making it.
    Making,
    /// Its making broke off, and what was made lies there.
    HalfMade,
    /// Its server runs.
    Running,
    /// Its server does not run.
    Stopped,
    /// Other clones are made of it; no server is to run on it.
    Base,
    /// Nothing of it is left.
    Gone,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Making => "being made",
            State::HalfMade => "half made",
            State::Running => "running",
            State::Stopped => "stopped",
            State::Base => "base",
            State::Gone => "gone",
        })
    }
}

/// A clone on the shelf.
#[derive(Clone, Debug)]
pub struct Item {
    /// What is known of it.
    pub card: Card,
    /// How it stands.
    pub state: State,
    /// What could not be found out.
    pub errors: Vec<String>,
    run: Option<PastRun>,
}

impl Item {
    pub(super) fn of(card: Card, run: Option<PastRun>) -> Item {
        let mut errors = Vec::new();
        let (mut exists, mut runs) = (false, false);
        match run.as_ref().map(|run| &run.remains) {
            None => {}
            Some(Err(why)) => errors.push(why.clone()),
            Some(Ok(remains)) => {
                exists = !remains.is_empty();
                runs = !remains.processes.is_empty() || remains.labelled.iter().any(|labelled| labelled.what.running);
                errors.extend(remains.unasked.iter().cloned());
            }
        }
        // Perhaps somebody has started it again, after a restart of the machine.
        runs |= card.ready.as_ref().is_some_and(|ready| {
            let home = [(ready.home.clone(), SERVER_PROGRAM.to_owned())];
            exists && !proc::standing_in(&proc::alive(), &home).is_empty()
        });
        let state = match &card.ready {
            None if card.maker.is_alive() => State::Making,
            _ if !exists => State::Gone,
            None => State::HalfMade,
            Some(ready) if ready.base.is_some() => State::Base,
            Some(_) if runs => State::Running,
            Some(_) => State::Stopped,
        };
        Item { card, state, errors, run }
    }

    /// Whether it is no longer wanted.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.card.expires_at().is_some_and(|at| at <= now)
    }

    /// Whether nothing was made for it, or nothing of that is left.
    pub fn is_nothing(&self) -> bool {
        self.run.as_ref().is_none_or(|run| run.remains.as_ref().is_ok_and(Remains::is_empty))
    }

    /// Bytes that would be free again without it; absent where the file system does not tell.
    pub async fn space(&self) -> Result<Option<u64>, SnapshotError> {
        match self.card.ready.as_ref().filter(|_| self.state != State::Gone) {
            None => Ok(None),
            Some(Ready { copy: Some(copy), .. }) => copy.space().await,
            Some(ready) => Ok(blocks(&ready.data).ok()),
        }
    }

    /// Lets its copy say that it is being destroyed, where its file system can keep that.
    pub async fn say_destroying(&self) -> Result<(), SnapshotError> {
        match self.card.ready.as_ref().and_then(|ready| ready.copy.as_ref()) {
            Some(copy) => copy.say(label::State::Destroying).await,
            None => Ok(()),
        }
    }

    /// Ends its server and removes all of it, by its inventory: only what bears our mark. Blocks.
    pub fn remove(&self) -> io::Result<Undone> {
        if let Some(ready) = &self.card.ready
            && fs::read_to_string(ready.home.join(MARK)).is_ok_and(|mark| mark == self.card.run)
        {
            // The inventory knows only of processes of the boot in which they were started.
            let mut hunt = Hunt::default();
            hunt.directory(ready.home.clone(), SERVER_PROGRAM.to_owned());
            hunt.end(Duration::ZERO, DYING);
        }
        match &self.run {
            Some(run) => run.remove(true),
            None => Ok(Undone::default()),
        }
    }
}
