//! What stopping, killing and fencing a server came to.

use super::SERVER_PROGRAM;
use super::docker::EngineError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What a kill did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    /// Processes killed.
    pub processes: usize,
    /// From the first signal until none was left and the postmaster was reaped.
    pub took: Duration,
}

/// What a stop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// From the signal to the end of the last process.
    pub took: Duration,
    /// It was frozen, and thawed so that it could stop.
    pub thawed: bool,
    /// It did not stop within the limit and was killed.
    pub killed: bool,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.thawed, self.killed) {
            (_, true) => write!(f, "did not stop in time and was killed, after {:.1?}", self.took),
            (true, false) => write!(f, "was thawed and stopped within {:.1?}", self.took),
            (false, false) => write!(f, "stopped within {:.1?}", self.took),
        }
    }
}

/// That a server can no longer acknowledge anything: every process of it is gone.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The node.
    pub node: String,
    /// How it is known.
    pub evidence: Evidence,
    /// Processes that had to be killed; of a container, 1 when it ran.
    pub killed: usize,
    /// How long it took to get the proof.
    pub took: Duration,
}

/// How it is known that nothing of a server is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The postmaster was reaped, and no process of a server stands in this data directory.
    Processes(PathBuf),
    /// The container does not run, which its engine says once the kernel has ended every process in it.
    Container {
        /// Its name.
        name: String,
        /// `exited`, `created`, …; `removed` when it is gone.
        status: String,
        /// The status with which it ended.
        exit_code: Option<i64>,
    },
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Proof { node, evidence, killed, took } = self;
        write!(f, "no process of `{node}` is left: ")?;
        match evidence {
            Evidence::Processes(data) => {
                let data = data.display();
                write!(f, "{killed} killed, the postmaster reaped, no {SERVER_PROGRAM} stands in {data}")?;
            }
            Evidence::Container { name, status, exit_code } => {
                let killed = if *killed > 0 { "killed" } else { "it did not run" };
                write!(f, "{killed}, the engine says of container {name}: {status}")?;
                if let Some(code) = exit_code {
                    write!(f, " with status {code}")?;
                }
            }
        }
        write!(f, ", after {took:.1?}")
    }
}

/// Signals did not have their effect.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SignalError {
    /// Processes are still there after SIGKILL.
    #[error("processes of `{node}` are still there {waited:.1?} after SIGKILL: {left}")]
    Undead {
        /// The node.
        node: String,
        /// How long was waited.
        waited: Duration,
        /// Pids with their state.
        left: String,
    },
    /// Processes did not stop after SIGSTOP.
    #[error("processes of `{node}` still run {waited:.1?} after SIGSTOP: {left}")]
    Unstopped {
        /// The node.
        node: String,
        /// How long was waited.
        waited: Duration,
        /// Pids with their state.
        left: String,
    },
    /// It is somebody else's server, and nobody said how.
    #[error(
        "node `{node}` is somebody else's server, and no command says how to {what} it\n\
         hint: {what} = \"…\" in its `driver`"
    )]
    NoCommand {
        /// The node.
        node: String,
        /// What was to be done.
        what: &'static str,
    },
    /// The command that was to do it failed.
    #[error("node `{node}`: {said}")]
    Command {
        /// The node.
        node: String,
        /// How, with what it printed.
        said: String,
    },
    /// It is somebody else's server, whose processes are out of reach.
    #[error("node `{node}` is somebody else's server: its {part} cannot be frozen alone")]
    NotOurs {
        /// The node.
        node: String,
        /// What was to be frozen.
        part: &'static str,
    },
    /// The server has no such process now.
    #[error("`{node}` has no {part} to freeze")]
    Nobody {
        /// The node.
        node: String,
        /// What was looked for.
        part: &'static str,
    },
    /// The container engine did not do it.
    #[error("node `{node}`: {source}")]
    Engine {
        /// The node.
        node: String,
        /// What it said.
        source: EngineError,
    },
}
