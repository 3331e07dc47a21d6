//! A server that somebody else runs: reached by a connection string, and acted upon only by the commands that its node
//! names. Nothing of it lies in the work directory, and it has no log here.
//!
//! Commands are run by `sh -c`, as the user of the harness and without the `PG…` variables of its environment; of
//! the server they are told `PGBENCH_RS_NODE`, `PGBENCH_RS_HOST` and `PGBENCH_RS_PORT`, never a password. What they
//! leave running must have closed its output and be in a session of its own (`setsid … >/dev/null 2>&1 &`).

use super::outcome::{Killed, SignalError, Stopped};
use super::start::{StartError, whole};
use super::{Part, Shutdown, Workplace};
use crate::base::exec::{Command, CommandError};
use crate::base::mask::mask;
use crate::base::wait::{self, Poll, WaitError};
use crate::pg::Host;
use crate::pg::connect::{ConnectError, connect, in_words};
use crate::pg::conninfo::{self, ConninfoError, Environment};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a command may take that is given no other limit.
const COMMAND: Duration = Duration::from_secs(120);
/// Time between two attempts to log in.
const EVERY: Duration = Duration::from_millis(50);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// `driver = { kind = "external", … }`: how to reach a server, and what may be done to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// A connection string by libpq's rules.
    pub conninfo: String,
    /// Command that makes it the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<String>,
    /// Command that ends it without a shutdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<String>,
    /// Command that starts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Command that stops it; `PGBENCH_RS_MODE` is `fast` or `immediate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Command that makes it hang.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<String>,
    /// Command that ends that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thaw: Option<String>,
}

impl External {
    /// The command of that name, if there is one.
    pub fn command(&self, name: &str) -> Option<&str> {
        let command = match name {
            "promote" => &self.promote,
            "kill" => &self.kill,
            "start" => &self.start,
            "stop" => &self.stop,
            "freeze" => &self.freeze,
            "thaw" => &self.thaw,
            _ => &None,
        };
        command.as_deref()
    }
}

/// Without what may hold a password.
impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External").field("conninfo", &mask(&self.conninfo)).finish_non_exhaustive()
    }
}

/// A server of somebody else's.
#[derive(Debug)]
pub struct ExternalServer {
    /// Where it listens, and how to log in.
    pub host: Host,
    /// What libpq would warn of.
    pub notes: Vec<String>,
    place: Arc<Workplace>,
    commands: External,
    /// A command of ours ended it.
    ended: AtomicBool,
    /// A command of ours may have frozen it.
    frozen: AtomicBool,
}

impl ExternalServer {
    /// The server that `settings` lead to, not connected to yet.
    pub fn new(place: Arc<Workplace>, name: &str, settings: &External) -> Result<ExternalServer, ConninfoError> {
        let mut resolved = conninfo::resolve(&settings.conninfo, &Environment::of_process())?;
        let notes = std::mem::take(&mut resolved.notes);
        Ok(ExternalServer {
            host: resolved.into_host(name),
            notes,
            place,
            commands: settings.clone(),
            ended: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
        })
    }

    /// The run that uses it.
    pub fn place(&self) -> &Arc<Workplace> {
        &self.place
    }

    /// Waits until a login gets a row. When a command of ours has ended the server and it gets none at once, runs the
    /// command `start` first, if there is one; what others have stopped is not ours to start.
    pub async fn start(&self) -> Result<Duration, StartError> {
        let began = Instant::now();
        let error = |last_status: String| StartError::without_log(&self.host.node, began.elapsed(), last_status);
        let limit = self.place.setup.start_limit;
        if self.ended.load(Ordering::SeqCst)
            && self.row().await.is_err()
            && let Some(command) = &self.commands.start
        {
            self.run("start", command, limit, &[]).await.map_err(|failed| error(failed.to_string()))?;
        }
        let look = || async {
            match self.row().await {
                Ok(()) => Poll::Done(()),
                // It will not be right later on.
                Err((status, true)) => Poll::Failed(status),
                Err((status, false)) => Poll::not_yet(status),
            }
        };
        match wait::until(limit.saturating_sub(began.elapsed()), EVERY, look).await {
            Ok(()) => {
                self.ended.store(false, Ordering::SeqCst);
                Ok(began.elapsed())
            }
            Err(WaitError::Failed(status)) => Err(error(status)),
            Err(WaitError::Timeout { last_status, .. }) => {
                let left_down = self.ended.load(Ordering::SeqCst) && self.commands.start.is_none();
                let hint = "a command of the scenario ended it and nobody has started it again; \
                            add `start = \"…\"` to its `driver`, or start it by hand";
                let hint = left_down.then(|| hint.to_owned());
                Err(StartError { hint, ..error(format!("last answer: {last_status}")) })
            }
        }
    }

    /// One login and one row; the flag says that trying again is of no use.
    async fn row(&self) -> Result<(), (String, bool)> {
        let login = self.place.login("pgbench-rs start");
        let client = connect(&self.host, &login, ATTEMPT).await.map_err(|error| {
            let refused = matches!(error, ConnectError::Authentication { .. });
            (whole(&error), refused)
        })?;
        match tokio::time::timeout(ATTEMPT, client.simple_query("SELECT 1")).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err((in_words(&error), false)),
            Err(_) => Err((format!("no row within {ATTEMPT:?}"), false)),
        }
    }

    /// Whether it counts as running: unless a command of ours ended it. Whether it answers is the probes' matter.
    pub fn is_running(&self) -> bool {
        !self.ended.load(Ordering::SeqCst)
    }

    /// Runs the command `kill`.
    pub async fn kill(&self) -> Result<Killed, SignalError> {
        let took = self.act("kill", &self.commands.kill, COMMAND, &[]).await?;
        self.ended.store(true, Ordering::SeqCst);
        Ok(Killed { processes: 0, took })
    }

    /// Runs the command `stop`, which may take `limit`.
    pub async fn stop(&self, how: Shutdown, limit: Duration) -> Result<Stopped, SignalError> {
        let mode = match how {
            Shutdown::Fast => "fast",
            Shutdown::Immediate => "immediate",
        };
        let took = self.act("stop", &self.commands.stop, limit, &[("PGBENCH_RS_MODE", mode)]).await?;
        self.ended.store(true, Ordering::SeqCst);
        Ok(Stopped { took, thawed: false, killed: false })
    }

    /// Runs the command `freeze`, and counts the server as one. Parts of it cannot be frozen.
    pub async fn freeze(&self, part: Part) -> Result<usize, SignalError> {
        if part != Part::Server {
            return Err(SignalError::NotOurs { node: self.host.node.clone(), part: part.in_words() });
        }
        if self.commands.freeze.is_some() {
            // Also one that fails may have had its effect.
            self.frozen.store(true, Ordering::SeqCst);
        }
        self.act("freeze", &self.commands.freeze, COMMAND, &[]).await?;
        Ok(1)
    }

    /// Runs the command `thaw` if the server was frozen. Returns how many servers that were.
    pub async fn thaw(&self, part: Part) -> Result<usize, SignalError> {
        if part != Part::Server || !self.frozen.load(Ordering::SeqCst) {
            return Ok(0);
        }
        self.act("thaw", &self.commands.thaw, COMMAND, &[]).await?;
        self.frozen.store(false, Ordering::SeqCst);
        Ok(1)
    }

    /// Whether there is a command `promote`.
    pub fn can_promote(&self) -> bool {
        self.commands.promote.is_some()
    }

    /// Runs the command `promote`; without one `None`, and SQL is the way.
    pub async fn promote(&self, limit: Duration) -> Option<Result<Duration, SignalError>> {
        let command = self.commands.promote.as_ref()?;
        Some(self.run("promote", command, limit, &[]).await)
    }

    /// Takes back what commands of ours did: thaws it, and starts it. Nothing else of it is ours to end.
    pub async fn restore(&self) -> Result<(), String> {
        self.thaw(Part::Server).await.map_err(|error| error.to_string())?;
        if self.is_running() {
            return Ok(());
        }
        self.start().await.map(drop).map_err(|error| error.to_string())
    }

    async fn act(
        &self,
        what: &'static str,
        command: &Option<String>,
        limit: Duration,
        more: &[(&str, &str)],
    ) -> Result<Duration, SignalError> {
        match command {
            Some(command) => self.run(what, command, limit, more).await,
            None => Err(SignalError::NoCommand { node: self.host.node.clone(), what }),
        }
    }

    async fn run(
        &self,
        what: &'static str,
        command: &str,
        limit: Duration,
        more: &[(&str, &str)],
    ) -> Result<Duration, SignalError> {
        // All that it prints is for the error.
        let shell = Command::new("/bin/sh", limit).arg("-c").arg(format!("exec 1>&2\n{command}"));
        let shell = shell
            .env("PGBENCH_RS_NODE", &self.host.node)
            .env("PGBENCH_RS_HOST", &self.host.host)
            .env("PGBENCH_RS_PORT", self.host.port.to_string());
        let shell = more.iter().fold(shell, |shell, (name, value)| shell.env(name, value));
        shell.run(&self.place.setup.inventory).await.map(|output| output.took).map_err(|error| {
            let (how, printed) = match &error {
                CommandError::Start { source, .. } => (format!("cannot be run: {source}"), ""),
                CommandError::Failed { status, stderr, .. } => (format!("failed ({status})"), stderr.as_str()),
                CommandError::Timeout { limit, stderr, .. } => {
                    (format!("was ended after its limit of {limit:?}"), stderr.as_str())
                }
            };
            let printed = printed.trim_end().lines().fold(String::new(), |all, line| all + "\n    " + line);
            let said = format!("the command `{what}` ({command}) {how}{printed}");
            SignalError::Command { node: self.host.node.clone(), said }
        })
    }
}
