//! Running a helper command (`initdb`, `cp`, `pg_controldata`, …) to its end, with an error that shows
//! the whole of what went wrong.

use super::child::{Child, Orphaned};
use super::hunt::Hunt;
use super::inventory::{Id, Inventory};
use super::user::User;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much of a command's standard error an error shows, from its end.
const STDERR_TAIL: usize = 4096;
/// How much of a command's standard output is kept; helpers print little.
const STDOUT_MAX: usize = 1 << 20;

/// A helper command, ready to run.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    args: Vec<OsString>,
    user: Option<User>,
    input: Option<Vec<u8>>,
    limit: Duration,
    variables: Vec<(OsString, OsString)>,
    end: bool,
}

/// What a command that succeeded printed.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its standard output, at most 1 MiB from its beginning; see [`Command::keep_the_end`].
    pub stdout: String,
    /// How long it ran.
    pub took: Duration,
}

/// Why a helper command did not do its work. No variant shows the environment.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("cannot run `{argv}`: {source}")]
    Start {
        /// The command line.
        argv: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended with another status than 0.
    #[error("`{argv}` failed ({status}){}", shown(stderr))]
    Failed {
        /// The command line.
        argv: String,
        /// Its exit status, or the signal that ended it.
        status: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// It ran longer than it may, and was killed.
    #[error("`{argv}` was killed after its limit of {limit:?}{}", shown(stderr))]
    Timeout {
        /// The command line.
        argv: String,
        /// How long it was allowed to run.
        limit: Duration,
        /// The end of its standard error.
        stderr: String,
    },
}

fn shown(stderr: &str) -> String {
    match stderr.trim_end() {
        "" => ", without a word on standard error".to_owned(),
        text => text.lines().fold(":".to_owned(), |shown, line| shown + "\n    " + line),
    }
}

impl Command {
    /// A command without arguments that may run for `limit`.
    pub fn new(program: impl Into<PathBuf>, limit: Duration) -> Self {
        let (args, variables, program) = (Vec::new(), Vec::new(), program.into());
        Command { program, args, user: None, input: None, limit, variables, end: false }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds a variable to its environment. No error shows it.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it as another user; `None` leaves the user as it is.
    #[must_use]
    pub fn user(mut self, user: Option<&User>) -> Self {
        self.user = user.cloned();
        self
    }

    /// Gives it this on its standard input, which is empty otherwise.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Of a long standard output, keeps the end instead of the beginning.
    #[must_use]
    pub fn keep_the_end(mut self) -> Self {
        self.end = true;
        self
    }

    /// Runs it, in `/`, in the C locale and without any `PG…` variable of the environment. When the
    /// returned future is dropped, the command is killed.
    pub async fn run(&self, inventory: &Arc<Inventory>) -> Result<Output, CommandError> {
        self.run_to_status(&[0], inventory).await
    }

    /// The same, when other exit statuses than 0 are no failure either.
    pub async fn run_to_status(&self, good: &[i32], inventory: &Arc<Inventory>) -> Result<Output, CommandError> {
        let began = Instant::now();
        let start = |source| CommandError::Start { argv: self.argv(), source };
        let mut running = Running::start(self, inventory).await.map_err(start)?;
        let (out, err) = (running.child.stdout.take(), running.child.stderr.take());
        let out = out.map(tokio::process::ChildStdout::from_std).transpose().map_err(start)?;
        let err = err.map(tokio::process::ChildStderr::from_std).transpose().map_err(start)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let finish = async {
            let (_, _, status) = tokio::join!(
                read(out, &mut stdout, |kept| match self.end {
                    true => drop(kept.drain(..kept.len().saturating_sub(STDOUT_MAX))),
                    false => kept.truncate(STDOUT_MAX),
                }),
                read(err, &mut stderr, |kept| drop(kept.drain(..kept.len().saturating_sub(STDERR_TAIL)))),
                running.child.wait()
            );
            status
        };
        let status = tokio::time::timeout(self.limit, finish).await;
        drop(running);
        let stderr = || String::from_utf8_lossy(&stderr).into_owned();
        match status {
            Err(_) => Err(CommandError::Timeout { argv: self.argv(), limit: self.limit, stderr: stderr() }),
            Ok(Some(status)) if status.code().is_some_and(|code| good.contains(&code)) => {
                Ok(Output { stdout: String::from_utf8_lossy(&stdout).into_owned(), took: began.elapsed() })
            }
            Ok(status) => {
                let status = status.map_or("exit status unknown".to_owned(), |status| status.to_string());
                Err(CommandError::Failed { argv: self.argv(), status, stderr: stderr() })
            }
        }
    }

    /// It as the standard library has it, program and arguments alone.
    pub(super) fn in_std(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args).current_dir("/");
        command
    }

    /// The command line, quoted as a shell would need it.
    pub fn argv(&self) -> String {
        let words = std::iter::once(self.program.as_os_str()).chain(self.args.iter().map(OsString::as_os_str));
        words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }
}

/// Makes the environment of a server or helper: none of libpq's or the server's own variables, the
/// user's passwords among them, and messages in English.
pub fn plain_environment(command: &mut std::process::Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.env_remove("LANGUAGE").env("LC_ALL", "C");
}

/// The status in words, with its signal's name.
pub fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(Ok(signal))) => format!("was ended by {signal}"),
        (None, _) => status.to_string(),
    }
}

/// A command under way; dropping it kills whatever still runs of it.
struct Running {
    child: Child,
    entry: Id,
    inventory: Arc<Inventory>,
}

impl Running {
    async fn start(what: &Command, inventory: &Arc<Inventory>) -> io::Result<Running> {
        let mut command = what.in_std();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(what.input.as_deref().map_or_else(|| Ok(Stdio::null()), holding)?);
        plain_environment(&mut command);
        command.envs(what.variables.iter().map(|(name, value)| (name, value)));
        if let Some(user) = &what.user {
            user.run(&mut command);
        }
        let entry = inventory.next_id();
        let (name, to) = (what.program.display().to_string(), inventory.clone());
        let register = move |identity| to.command(entry, identity, &name);
        let to = inventory.clone();
        // An inventory that can no longer be written says too much, never too little.
        let forget = move || drop(to.gone(entry));
        let child = Child::spawn(command, Orphaned::Signal(Signal::SIGKILL), register, forget).await?;
        Ok(Running { child, entry, inventory: inventory.clone() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut hunt = Hunt::default();
        hunt.session(self.child.identity);
        let left = hunt.end(Duration::ZERO, Duration::from_secs(1));
        if left.is_empty() {
            // An inventory that can no longer be written says too much, never too little.
            let _ = self.inventory.gone(self.entry);
        }
    }
}

/// A file in memory that holds `bytes`: unlike a pipe it needs nobody to feed it.
fn holding(bytes: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create(c"input", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads to the end, keeping what `keep` leaves.
async fn read(from: Option<impl AsyncRead + Unpin>, to: &mut Vec<u8>, keep: impl Fn(&mut Vec<u8>)) {
    let Some(mut from) = from else { return };
    // Not in the future itself, nor so in every future that waits for a command: those lie on the stack in unoptimized
    // builds, once for each of them.
    let mut buffer = vec![0; 8192];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        to.extend_from_slice(&buffer[..n]);
        keep(to);
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Whether `user` can reach `path`, going through all directories above it.
pub async fn reaches(user: Option<&User>, path: &Path, inventory: &Arc<Inventory>) -> Result<(), CommandError> {
    let test = Command::new("test", Duration::from_secs(10)).arg("-x").arg(path).user(user);
    test.run(inventory).await.map(drop)
}
