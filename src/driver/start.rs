//! Starting a server: spawned directly, ready when a login gets a row, failed when the child dies.

use super::Workplace;
use super::process::{ProcessServer, Running};
use crate::base::child::{Child, Orphaned};
use crate::base::exec::{in_words, plain_environment};
use crate::base::wait::{self, Poll, WaitError};
use crate::pg::Host;
use crate::pg::connect::connect;
use crate::pg::pidfile::Pidfile;
use nix::sys::signal::Signal;
use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time between two attempts to log in.
const EVERY: Duration = Duration::from_millis(1);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How much of the log an error shows.
const TAIL_BYTES: u64 = 8192;
const TAIL_LINES: usize = 20;

/// A server did not start. It displays the tail of the server's own log.
#[derive(Clone, Debug)]
pub struct StartError {
    /// The node.
    pub node: String,
    /// Its log, if it has one here.
    pub log: Option<PathBuf>,
    /// How long was waited.
    pub waited: Duration,
    /// How things stood at the end: what the last login was answered, how the server died.
    pub last_status: String,
    /// What the server wrote to its log in this start, from the end.
    pub log_tail: String,
    /// What may help.
    pub hint: Option<String>,
}

impl std::error::Error for StartError {}

impl StartError {
    /// That a server did not start of which there is no log here.
    pub(super) fn without_log(node: &str, waited: Duration, last_status: String) -> StartError {
        StartError { node: node.to_owned(), log: None, waited, last_status, log_tail: String::new(), hint: None }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StartError { node, log, waited, last_status, log_tail, hint } = self;
        write!(f, "node `{node}` did not start within {waited:.1?}: {last_status}")?;
        if let Some(log) = log {
            write!(f, "\n{}", shown(log, log_tail))?;
        }
        hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl StartError {
    /// That the server of `host` did not start in the time since `began`, with what it wrote to its log since then.
    pub(super) fn new(host: &Host, log: &Path, log_offset: u64, began: Instant, last_status: String) -> StartError {
        let log_tail = tail(log, log_offset).unwrap_or_else(|error| format!("(cannot be read: {error})"));
        let (address, port) = (&host.host, host.port);
        let hint = log_tail
            .contains("Address already in use")
            .then(|| format!("another process listens on {address}:{port}; `ss -ltnp sport = :{port}` names it"));
        // A hint comes last, behind the log.
        let (last_status, hint) = match last_status.split_once("\nhint: ") {
            Some((status, own)) => (status.to_owned(), Some(own.to_owned())),
            None => (last_status, hint),
        };
        let (node, log) = (host.node.clone(), Some(log.to_owned()));
        StartError { node, log, waited: began.elapsed(), last_status, log_tail, hint }
    }
}

/// A step of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its container is created.
    Create,
    /// Its container is started.
    Launch,
    /// Its program runs, and does not accept connections yet.
    Accept,
    /// It accepts connections, and no login has got a row yet. Only told where `postmaster.pid` can be looked at.
    Row,
}

impl ProcessServer {
    /// Starts the server and waits until a login gets a row; `told` is told when each step begins.
    ///
    /// When it fails, nothing of the server is left running.
    pub(super) async fn start(&self, told: impl Fn(Step)) -> Result<(), StartError> {
        let _one_start = self.starting.lock().await;
        let began = Instant::now();
        let log_offset = fs::metadata(&self.log).map_or(0, |meta| meta.len());
        let error = |status: String| StartError::new(&self.host, &self.log, log_offset, began, status);
        if self.is_running() {
            return Err(error("it runs already".to_owned()));
        }
        // What outlived an earlier postmaster would hold its shared memory, and the start would fail.
        self.end_leftovers().await.map_err(|left| error(left.to_string()))?;
        let pidfile = self.on_command_line().then(|| Pid::before_start(&self.data));
        told(Step::Accept);
        let running = self.spawn().await.map_err(|source| error(format!("cannot run it: {source}")))?;
        let ready = tokio::select! {
            status = running.child.wait() => {
                Err(status.map_or("the server ended".to_owned(), |status| format!("the server {}", in_words(status))))
            }
            ready = accepts_login(&self.host, &self.place, pidfile.as_ref(), told) => ready,
        };
        match ready {
            Ok(()) => {
                running.ready.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(status) => {
                let error = error(status);
                match self.kill().await {
                    Ok(_) => Err(error),
                    Err(left) => Err(StartError { last_status: format!("{}; {left}", error.last_status), ..error }),
                }
            }
        }
    }

    async fn spawn(&self) -> io::Result<Arc<Running>> {
        let setup = &self.place.setup;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(self.programs.path("postgres"));
        command.arg("-D").arg(&self.data).args(self.arguments()).current_dir(&self.data).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        plain_environment(&mut command);
        if let Some(cgroup) = self.cgroup() {
            cgroup.enter(&mut command).map_err(io::Error::other)?;
        }
        match (&self.ns, &setup.user) {
            (Some(ns), user) => ns.enter(&mut command, user.as_ref())?,
            (None, Some(user)) => user.run(&mut command),
            (None, None) => {}
        }
        let orphaned = if setup.keep { Orphaned::Lives } else { Orphaned::Signal(Signal::SIGQUIT) };
        let entry = setup.inventory.next_id();
        let (inventory, node, data) = (setup.inventory.clone(), self.name().to_owned(), self.data.clone());
        let register = move |identity| inventory.process(entry, identity, &node, &data);
        let inventory = setup.inventory.clone();
        // An inventory that can no longer be written says too much, never too little.
        let forget = move || drop(inventory.gone(entry));
        let running = Arc::new(Running::new(Child::spawn(command, orphaned, register, forget).await?, entry));
        self.set_running(running.clone());
        Ok(running)
    }
}

/// A server's `postmaster.pid`, where it can be looked at.
pub(super) struct Pid {
    path: PathBuf,
    /// What an earlier server left there.
    stale: Option<String>,
}

impl Pid {
    /// That in `data`, on which no server runs.
    pub(super) fn before_start(data: &Path) -> Pid {
        let path = data.join("postmaster.pid");
        let stale = fs::read_to_string(&path).ok();
        Pid { path, stale }
    }

    /// Whether the server accepts connections, else how far it has come.
    fn accepts(&self) -> Result<(), String> {
        let text = fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        match Pidfile::parse(&text) {
            Some(file) if file.accepts() && self.stale.as_ref() != Some(&text) => Ok(()),
            file => Err(file.and_then(|file| file.status).unwrap_or("starting").to_owned()),
        }
    }
}

/// Waits until a login gets a row, at most as long as a server of the run may take to start. Where `pidfile` can be
/// looked at, nobody knocks before it says that connections are accepted: each login is a process of the server's, which
/// may have better to do.
pub(super) async fn accepts_login(
    host: &Host,
    place: &Workplace,
    pidfile: Option<&Pid>,
    told: impl Fn(Step),
) -> Result<(), String> {
    let login = place.login("pgbench-rs start");
    let accepts = AtomicBool::new(false);
    let look = || async {
        if let Some(pidfile) = pidfile.filter(|_| !accepts.load(Ordering::Relaxed)) {
            if let Err(status) = pidfile.accepts() {
                return Poll::not_yet(status);
            }
            accepts.store(true, Ordering::Relaxed);
            told(Step::Row);
        }
        let client = match connect(host, &login, ATTEMPT).await {
            Ok(client) => client,
            Err(error) => return Poll::not_yet(whole(&error)),
        };
        match client.simple_query("SELECT 1").await {
            Ok(_) => Poll::<(), Infallible>::Done(()),
            Err(error) => Poll::not_yet(whole(&error)),
        }
    };
    match wait::until(place.setup.start_limit, EVERY, look).await {
        Ok(()) => Ok(()),
        Err(WaitError::Timeout { last_status, .. }) => Err(format!("last answer: {last_status}")),
    }
}

/// An error with its causes, for `tokio_postgres` says only "db error" of what the server said.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Where the log is, and its last lines from `offset` on.
pub(super) fn log_tail(log: &Path, offset: u64) -> String {
    shown(log, &tail(log, offset).unwrap_or_else(|error| format!("(cannot be read: {error})")))
}

fn shown(log: &Path, tail: &str) -> String {
    let nothing = if tail.is_empty() { " (nothing was written to it)" } else { "" };
    tail.lines().fold(format!("log: {}{nothing}", log.display()), |shown, line| shown + "\n    " + line)
}

/// The last lines of the log, none of them from before `offset`.
fn tail(log: &Path, offset: u64) -> io::Result<String> {
    let mut file = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        opened => opened?,
    };
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(offset.max(end.saturating_sub(TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}
