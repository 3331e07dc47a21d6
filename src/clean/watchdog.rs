//! The watchdog: the same program at the other end of a pipe, in a session of its own. When the pipe
//! closes without a farewell the harness was killed, and the watchdog kills every process that the
//! inventory names, frozen ones too. It removes nothing; that is for `pgbench-rs clean`.

use crate::base::inventory::{Contents, Estate};
use crate::driver::docker::{EngineError, cleanup};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

/// The hidden subcommand that is the watchdog: `pgbench-rs __watchdog <inventory>`.
pub const SUBCOMMAND: &str = "__watchdog";

/// What the harness writes when it ends by itself.
const FAREWELL: u8 = b'.';
/// A process that was forked just before the harness died needs a moment to become what it will be.
const QUIET: Duration = Duration::from_millis(300);
/// How long the watchdog hunts.
const LIMIT: Duration = Duration::from_secs(5);

/// The harness's end of the pipe. Dropping it without [`Watchdog::farewell`] makes the watchdog act.
#[derive(Debug)]
pub struct Watchdog {
    child: Child,
    pipe: ChildStdin,
}

impl Watchdog {
    /// Starts it. `program` is this program's own file, `inventory` a file that exists.
    pub fn start(program: &Path, inventory: &Path) -> io::Result<Watchdog> {
        let mut command = Command::new(program);
        command.arg(SUBCOMMAND).arg(inventory).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        #[expect(unsafe_code, reason = "runs between fork and exec: one async-signal-safe system call, no allocation")]
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
        }
        let mut child = command.spawn()?;
        let pipe = child.stdin.take().ok_or_else(|| io::Error::other("the watchdog has no pipe"))?;
        Ok(Watchdog { child, pipe })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says that the harness ends by itself and has undone everything; waits for the watchdog's end.
    pub fn farewell(mut self) -> io::Result<()> {
        self.pipe.write_all(&[FAREWELL])?;
        drop(self.pipe);
        self.child.wait().map(drop)
    }
}

/// The watchdog's whole life.
pub fn main(inventory: &Path) -> ExitCode {
    for ignored in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE] {
        #[expect(unsafe_code, reason = "ignoring a signal installs no code that could run in a signal's midst")]
        // A watchdog that a signal can end is still a watchdog.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
    let Ok(mut estate) = Estate::open(inventory) else { return ExitCode::FAILURE };
    let mut byte = [0];
    loop {
        match io::stdin().read(&mut byte) {
            Ok(1..) if byte == [FAREWELL] => return ExitCode::SUCCESS,
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
        }
    }
    match act(&mut estate) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn act(estate: &mut Estate) -> io::Result<()> {
    let contents = estate.contents()?;
    let ours: Vec<_> = contents.entries.iter().filter(|entry| !entry.gone && !entry.kept).collect();
    super::system::free_the_waiting(&ours);
    let mut hunt = super::hunt(&contents, |entry| !entry.kept);
    // Containers first: their processes may be found by the hunt, too, but only an engine knows all of them.
    let containers = kill_containers(&contents);
    let left = hunt.end(QUIET, LIMIT);
    if let Err(why) = &containers {
        estate.note(&format!("the harness died; its watchdog could not kill its containers: {why}"))?;
    }
    if left.is_empty() {
        for entry in contents.entries.iter().filter(|entry| !entry.gone && !entry.kept && entry.thing.is_process()) {
            estate.gone(entry.id)?;
        }
        let containers = containers.map_or_else(|_| String::new(), |killed| format!(" and {killed} containers"));
        return estate.note(&format!("the harness died; its watchdog killed {} processes{containers}", hunt.killed()));
    }
    let pids: Vec<String> = left.iter().map(|stat| stat.identity.pid.to_string()).collect();
    estate.note(&format!("the harness died; its watchdog could not kill {}", pids.join(", ")))
}

/// Kills the run's containers, which are not removed; returns how many. One engine that fails keeps none of the others
/// from being asked.
fn kill_containers(contents: &Contents) -> Result<usize, EngineError> {
    let run = contents.owner.as_ref().map_or("", |owner| &owner.run);
    let mut all = Ok(0);
    for entry in contents.entries.iter().filter(|entry| !entry.gone && !entry.kept) {
        if let Some(engine) = super::engine_of(&entry.thing) {
            all = match (all, cleanup::kill(&engine, run)) {
                (Ok(before), Ok(killed)) => Ok(before + killed),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
    }
    all
}
