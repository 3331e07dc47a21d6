//! Starting a child process so that it cannot be lost: in a session of its own, named in the inventory
//! as soon as it exists, reaped the moment it ends, and told when the harness dies.

use super::proc::{self, Identity};
use nix::sys::signal::Signal;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus};
use tokio::sync::{oneshot, watch};

/// A child process. Dropping this neither kills nor forgets it.
#[derive(Debug)]
pub struct Child {
    /// Its pid and start time. It leads a session and a process group of that number.
    pub identity: Identity,
    /// Its standard output, when piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, when piped.
    pub stderr: Option<ChildStderr>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

/// What becomes of the child when the harness is killed and even its watchdog does not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphaned {
    /// It gets this signal.
    Signal(Signal),
    /// It lives on.
    Lives,
}

impl Child {
    /// Starts `command`. `register` is called with the child's identity as soon as it has one; when
    /// that fails, the child is killed.
    ///
    /// A thread of its own starts the child and then waits for it, for two reasons: the child is
    /// reaped at once whatever the runtime is busy with, and the signal of [`Orphaned::Signal`]
    /// (`PR_SET_PDEATHSIG`) comes when the *thread* that forked ends, so that thread must live as long
    /// as the child; a thread of the runtime's pools need not.
    pub async fn spawn(
        mut command: Command,
        orphaned: Orphaned,
        register: impl FnOnce(Identity) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Child> {
        detach(&mut command, orphaned);
        let (started, child) = oneshot::channel();
        let body = move || {
            let (ended, exit) = watch::channel(None);
            let mut process = match command.spawn() {
                Ok(process) => process,
                Err(error) => return drop(started.send(Err(error))),
            };
            let registered = identify(&process).and_then(|identity| register(identity).map(|()| identity));
            let result = registered.map(|identity| Child {
                identity,
                stdout: process.stdout.take(),
                stderr: process.stderr.take(),
                exit,
            });
            // Nobody knows of a child that could not be registered, or whose starter was cancelled.
            let unknown = result.is_err();
            if started.send(result).is_err() || unknown {
                let _ = process.kill();
            }
            let status = process.wait();
            ended.send_replace(status.ok());
        };
        std::thread::Builder::new().name("child".to_owned()).spawn(body)?;
        child.await.unwrap_or_else(|_| Err(io::Error::other("the thread that starts children ended")))
    }

    /// The exit status, once it has ended and is reaped.
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Whether it has ended and is reaped.
    pub fn is_reaped(&self) -> bool {
        self.exited().is_some() || self.exit.has_changed().is_err()
    }

    /// Waits for its end. `None` when the system did not tell the status.
    pub async fn wait(&self) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        // The sender goes only after the child was waited for.
        exit.wait_for(Option::is_some).await.map_or(None, |status| *status)
    }
}

fn identify(process: &std::process::Child) -> io::Result<Identity> {
    let pid = process.id() as i32;
    // It has not been waited for, so its entry exists even when it has ended.
    let stat = proc::stat(pid).ok_or_else(|| io::Error::other(format!("cannot read /proc/{pid}/stat")))?;
    Ok(stat.identity)
}

/// Puts the child into a session of its own (a Ctrl-C at the terminal is for the harness alone), and
/// arranges for its end when the harness ends.
fn detach(command: &mut Command, orphaned: Orphaned) {
    let harness = nix::unistd::getpid();
    let before_exec = move || {
        nix::unistd::setsid()?;
        if let Orphaned::Signal(signal) = orphaned {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // The harness may have died between the fork and the line above.
            if nix::unistd::getppid() != harness {
                return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
            }
        }
        Ok(())
    };
    #[expect(unsafe_code, reason = "runs between fork and exec: only async-signal-safe system calls, no allocation")]
    unsafe {
        command.pre_exec(before_exec);
    }
}
