//! The phases of a clone's life, each timed by itself on one monotonic clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A part of a clone's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Asking the source what it is, and whether the directory is its own.
    Look,
    /// The source's checkpoint, on a standby its restartpoint; under the backup interface the one that begins the
    /// backup.
    Checkpoint,
    /// Until every process of the source stands still.
    Freeze,
    /// The snapshot.
    Snapshot,
    /// Making a writable copy of the snapshot, or of the directory, and mounting it.
    Clone,
    /// Until the source goes on.
    Thaw,
    /// Ending the backup and fetching the WAL that it needs.
    BackupStop,
    /// Making the copy a server's own directory.
    Fixup,
    /// `pg_resetwal`.
    Resetwal,
    /// Creating the server's container.
    ContainerCreate,
    /// Starting it, until its first process runs.
    ContainerStart,
    /// From the start of the server's program until it accepts connections.
    Start,
    /// From then until a login has got its first row.
    FirstRow,
    /// What can only be done in the running clone: subscriptions, prepared transactions.
    Settle,
    /// The first real query.
    Cold,
    /// The same again.
    Warm,
    /// Stopping the clone's server.
    Stop,
    /// Removing its copy.
    Destroy,
}

impl Phase {
    /// As results have it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Look => "look",
            Phase::Checkpoint => "checkpoint",
            Phase::Freeze => "freeze",
            Phase::Snapshot => "snapshot",
            Phase::Clone => "clone",
            Phase::Thaw => "thaw",
            Phase::BackupStop => "backup_stop",
            Phase::Fixup => "fixup",
            Phase::Resetwal => "resetwal",
            Phase::ContainerCreate => "container_create",
            Phase::ContainerStart => "container_start",
            Phase::Start => "start",
            Phase::FirstRow => "first_row",
            Phase::Settle => "settle",
            Phase::Cold => "cold",
            Phase::Warm => "warm",
            Phase::Stop => "stop",
            Phase::Destroy => "destroy",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A phase that was gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Which.
    pub phase: Phase,
    /// When it began, since the request.
    #[serde(with = "seconds")]
    pub from: Duration,
    /// How long it took.
    #[serde(with = "seconds")]
    pub took: Duration,
    /// It came to its end; else the attempt failed in it.
    pub ended: bool,
}

/// Durations as seconds.
mod seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        time.as_secs_f64().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// The phases so far.
#[derive(Debug)]
pub struct Phases {
    zero: Instant,
    spans: Vec<Span>,
    now: Option<(Phase, Instant)>,
    told: Option<watch::Sender<Option<Phase>>>,
}

impl Phases {
    /// A clock whose zero, the request, is now. Every phase is told to `told` when it begins.
    pub fn start(told: Option<watch::Sender<Option<Phase>>>) -> Phases {
        Phases { zero: Instant::now(), spans: Vec::new(), now: None, told }
    }

    /// Ends the phase that is under way, if there is one, and begins another.
    pub fn begin(&mut self, phase: Phase) {
        let now = Instant::now();
        self.close(now, true);
        self.now = Some((phase, now));
        if let Some(told) = &self.told {
            told.send_replace(Some(phase));
        }
    }

    /// Ends the phase that is under way.
    pub fn end(&mut self) {
        self.close(Instant::now(), true);
    }

    /// Ends the phase that is under way without its having come to its end.
    pub fn fail(&mut self) {
        self.close(Instant::now(), false);
    }

    /// Ends the phase that is under way, and says that it was several: of all but the last, how long they took; the last
    /// took until now.
    pub fn split(&mut self, parts: &[(Phase, Duration)]) {
        let Some((_, mut from)) = self.now.take() else { return };
        let now = Instant::now();
        for (i, &(phase, took)) in parts.iter().enumerate() {
            let took = if i + 1 < parts.len() { took } else { now.saturating_duration_since(from) };
            self.spans.push(Span { phase, from: self.since(from), took, ended: true });
            from += took;
        }
    }

    /// The phase that is under way.
    pub fn now(&self) -> Option<Phase> {
        self.now.map(|(phase, _)| phase)
    }

    /// The phases, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    fn close(&mut self, at: Instant, ended: bool) {
        if let Some((phase, from)) = self.now.take() {
            self.spans.push(Span { phase, from: self.since(from), took: at.saturating_duration_since(from), ended });
        }
    }

    fn since(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn phases_follow_each_other_without_a_gap() {
        let (told, seen) = watch::channel(None);
        let mut phases = Phases::start(Some(told));
        phases.begin(Phase::Look);
        std::thread::sleep(2 * MS);
        phases.begin(Phase::Snapshot);
        assert_eq!(*seen.borrow(), Some(Phase::Snapshot));
        std::thread::sleep(5 * MS);
        phases.split(&[(Phase::Snapshot, 3 * MS), (Phase::Clone, MS)]);
        phases.begin(Phase::Start);
        phases.fail();
        let spans = phases.spans();
        assert_eq!(spans[0].from + spans[0].took, spans[1].from);
        assert_eq!((spans[2].phase, spans[2].from), (Phase::Clone, spans[1].from + 3 * MS));
        assert!(spans[0].took >= 2 * MS && spans[2].ended && !spans[3].ended);
        assert!(spans[1].took == 3 * MS && spans[2].took >= 2 * MS && phases.now().is_none(), "{spans:?}");
    }
}
