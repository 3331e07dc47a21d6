//! What can be done to a cluster: one file a kind. A fault resolves its target when it is injected,
//! and whatever it did is undone at the end of its step, phase or trial, however that ends.

use crate::base::units::Time;
use serde::{Deserialize, Serialize};

/// `act = { kind = … }` of a step. Targets are `@primary`, `@standbys` or a node's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// kill -9 of every process of a server.
    Kill(Kill),
    /// Stops a server as `pg_ctl stop` does.
    Stop(Stop),
    /// Freezes (SIGSTOP) a server, or some processes of it.
    Freeze(Freeze),
    /// `pg_wal_replay_pause()` on standbys.
    PauseReplay(PauseReplay),
    /// A planned switchover, asked of the manager.
    Switchover(Switchover),
}

/// Settings of [`Fault::Kill`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Which servers.
    pub of: String,
}

/// Settings of [`Fault::Stop`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Which servers.
    pub of: String,
    /// `fast` or `immediate`.
    pub mode: StopMode,
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// Rolls back what is open, writes a shutdown checkpoint, sends the rest of the WAL to standbys.
    Fast,
    /// Exits at once; the next start recovers.
    Immediate,
}

/// Settings of [`Fault::Freeze`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Which servers.
    pub of: String,
    /// Which of their processes.
    #[serde(default)]
    pub what: FreezeWhat,
}

/// Which processes of a server are frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreezeWhat {
    /// All of them.
    #[default]
    Server,
    /// A standby's WAL receiver.
    WalReceiver,
    /// A primary's WAL senders.
    WalSenders,
}

/// Settings of [`Fault::PauseReplay`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseReplay {
    /// Which standbys.
    pub of: String,
}

/// Settings of [`Fault::Switchover`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switchover {
    /// The standby to promote; the manager elects one when absent.
    #[serde(default)]
    pub to: Option<String>,
    /// How long the standby may take to catch up before the switchover is rolled back.
    #[serde(default = "ten_seconds")]
    pub timeout: Time,
}

fn ten_seconds() -> Time {
    Time::s(10)
}
