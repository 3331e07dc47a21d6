//! What came of an attempt to make a clone: its phases, what was found out on the way, and the clone or why there is none.

use super::error::CloneError;
use super::facts::SourceFacts;
use super::fixup::TakenOut;
use super::method::Fetcher;
use super::phase::{Phase, Span};
use super::precooked::Cooked;
use super::protocol::Protocol;
use super::recipe::{Method, Mode, Recipe};
use super::settings::preloaded;
use super::settle::Settled;
use super::source::Checkpointed;
use super::thin::ThinClone;
use crate::pg::Lsn;
use crate::pg::control_file::ControlFile;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// An attempt to make a clone.
#[derive(Debug)]
pub struct Attempt {
    /// What the clone is, or would have been, called.
    pub name: String,
    /// The phases gone through, in order; of a failed attempt the last did not come to its end.
    pub spans: Vec<Span>,
    /// What was found out.
    pub facts: Facts,
    /// The clone, or why there is none; then nothing of it is left but what the error names.
    pub outcome: Result<ThinClone, CloneError>,
}

impl Attempt {
    /// How long a phase took; absent when there was none, or it did not come to its end.
    pub fn took(&self, phase: Phase) -> Option<Duration> {
        self.spans.iter().find(|span| span.phase == phase && span.ended).map(|span| span.took)
    }

    /// From the request to the first row; absent when there was none.
    pub fn ready(&self) -> Option<Duration> {
        let row = self.spans.iter().find(|span| span.phase == Phase::FirstRow && span.ended)?;
        Some(row.from + row.took)
    }
}

/// What was found out while a clone was made.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// How it was to come up; what is unsafe is called so.
    pub mode: String,
    /// It may be inconsistent, for it was made so.
    #[serde(rename = "unsafe")]
    pub is_unsafe: bool,
    /// The way of copying: that which was asked for, then that which was chosen.
    pub method: Method,
    /// The file system of the source's directory, when the way of copying was chosen by it.
    pub file_system: Option<String>,
    /// Why this way of copying was chosen.
    pub why: Option<String>,
    /// What kept the copy whole.
    pub protocol: Option<Protocol>,
    /// What the source said; of a precooked clone when its base was cooked.
    pub source: Option<SourceFacts>,
    /// The checkpoint that was asked for.
    pub checkpointed: Option<Checkpointed>,
    /// How long the source stood still.
    #[serde(serialize_with = "seconds")]
    pub stood_still: Option<Duration>,
    /// Why the source was not kept from removing WAL while it was copied under the backup interface.
    pub unreserved: Option<String>,
    /// The timeline of the WAL.
    pub timeline: Option<u32>,
    /// From where recovery had to read.
    pub redo: Option<Lsn>,
    /// Up to where the clone has the source's changes, for all that recovery can tell. After `pg_resetwal`, up to where
    /// it can be hoped to be consistent.
    pub reached: Option<Lsn>,
    /// Bytes of WAL that were replayed.
    pub replayed: Option<u64>,
    /// When the last transaction was committed that came with the base of a precooked clone, by the source's clock.
    #[serde(serialize_with = "text")]
    pub last_commit: Option<jiff::Timestamp>,
    /// What of the source was kept out of the clone, in words.
    pub kept_out: Vec<String>,
    /// Prepared transactions that came with it: `gid in database`.
    pub prepared: Vec<String>,
    /// Databases whose text was sorted by another version of the system's library than the clone has, as it may be in
    /// another image: their indexes may miss rows.
    pub collations: Vec<String>,
}

fn text<S: serde::Serializer>(at: &Option<jiff::Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.to_string()).serialize(to)
}

fn seconds<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}

impl Facts {
    pub(super) fn of(recipe: &Recipe) -> Facts {
        Facts {
            mode: recipe.mode.to_string(),
            is_unsafe: recipe.mode.is_unsafe(),
            method: recipe.method,
            file_system: None,
            why: None,
            protocol: None,
            source: None,
            checkpointed: None,
            stood_still: None,
            unreserved: None,
            timeline: None,
            redo: None,
            reached: None,
            replayed: None,
            last_commit: None,
            kept_out: Vec::new(),
            prepared: Vec::new(),
            collations: Vec::new(),
        }
    }

    pub(super) fn chosen(&mut self, fetcher: &Fetcher, protocol: Protocol) {
        self.method = fetcher.method();
        self.protocol = Some(protocol);
        if let Fetcher::Snapshot { choice: Some(choice), .. } = fetcher {
            self.file_system = Some(choice.file_system.clone());
            self.why = Some(choice.why.clone());
        }
    }

    /// Takes over what was found out when the base was made.
    pub(super) fn inherit(&mut self, base: &Cooked) {
        self.source = base.source.clone();
        self.timeline = base.timeline;
        self.redo = base.redo;
        self.reached = base.reached;
        self.last_commit = base.last_commit.as_ref().and_then(|at| at.parse().ok());
    }

    /// How far the clone has come that runs on `data`, of whose copy `copied` was the control file.
    pub(super) fn came_up(&mut self, data: &Path, mode: Mode, copied: &ControlFile) -> Result<(), CloneError> {
        match mode {
            Mode::Recovery(_) => {}
            Mode::Resetwal(_) => {
                self.reached = self.redo;
                return Ok(());
            }
            Mode::Precooked(_) => return Ok(()),
        }
        // The checkpoint at the end of recovery is the first thing that is written after what was recovered. A server
        // that had been shut down in order has none, and begins with that of its shutdown.
        let now = ControlFile::read(data).map_err(super::error::SourceError::Control)?;
        if now.checkpoint < copied.min_recovery {
            return Err(CloneError::Short { reached: now.checkpoint, needed: copied.min_recovery });
        }
        self.reached = Some(now.checkpoint);
        let replayed = self.redo.map(|redo| now.checkpoint.bytes_since(redo).max(0) as u64);
        // A standby that was shut down goes on where it made its last restartpoint.
        self.replayed = if copied.state == "shut down" { Some(0) } else { replayed };
        Ok(())
    }

    pub(super) fn kept_out(&mut self, out: &TakenOut, recipe: &Recipe) {
        let mut said = Vec::new();
        if !out.files.is_empty() {
            said.push(format!("files that only mean something in the source: {}", out.files.join(", ")));
        }
        if let Some(source) = &self.source {
            let mut list = |what: &str, names: &[String]| {
                if !names.is_empty() {
                    said.push(format!("{what}: {}", names.join(", ")));
                }
            };
            list("replication slots", &source.slots);
            list("subscriptions, which are disabled and without a slot", &source.subscriptions);
            list("preloaded libraries", &preloaded(recipe, Some(source)).1);
            let archives = source.setting("archive_mode").is_some_and(|mode| mode != "off");
            for (there, what) in [
                (archives, "archiving"),
                (source.setting("primary_conninfo").is_some(), "following another server"),
                (source.setting("synchronous_standby_names").is_some(), "waiting for standbys"),
            ] {
                said.extend(there.then(|| what.to_owned()));
            }
            let loads =
                format!("NOT kept out: libraries that sessions load by themselves, of {}", source.loads.join(", "));
            said.extend((!source.loads.is_empty()).then_some(loads));
        } else if out.slots > 0 {
            said.push(format!("{} replication slots", out.slots));
        }
        self.kept_out = said;
    }

    pub(super) fn settled(&mut self, settled: Settled) {
        self.prepared = settled.prepared;
        self.collations = settled.collations;
    }
}
