//! Starting a child process so that it cannot be lost: in a session of its own, named in the inventory
//! as soon as it exists, reaped the moment it ends, and told when the harness dies.

use super::proc::{self, Identity};
use nix::sys::signal::Signal;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// that fails, the child is killed. A child whose starter is cancelled, so that nobody knows of it, is killed too,
    /// and `forget` is called once it is reaped.
    ///
    /// A thread of its own starts the child and then waits for it, for two reasons: the child is
    /// reaped at once whatever the runtime is busy with, and the signal of [`Orphaned::Signal`]
    /// (`PR_SET_PDEATHSIG`) comes when the *thread* that forked ends, so that thread must live as long
    /// as the child; a thread of the runtime's pools need not.
    pub async fn spawn(
        mut command: Command,
        orphaned: Orphaned,
        register: impl FnOnce(Identity) -> io::Result<()> + Send + 'static,
        forget: impl FnOnce() + Send + 'static,
    ) -> io::Result<Child> {
        detach(&mut command, orphaned);
        let (started, child) = oneshot::channel::<io::Result<Parcel>>();
        let body = move || {
            let (ended, exit) = watch::channel(None);
            let mut process = match command.spawn() {
                Ok(process) => process,
                Err(error) => return drop(started.send(Err(error))),
            };
            let registered = identify(&process).and_then(|identity| register(identity).map(|()| identity));
            let lost = Arc::new(AtomicBool::new(false));
            let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
            let parcel = registered
                .map(|identity| Parcel { child: Some(Child { identity, stdout, stderr, exit }), lost: lost.clone() });
            if parcel.is_err() {
                // Nobody knows of a child that could not be registered.
                let _ = process.kill();
            }
            // What cannot be sent is dropped here.
            drop(started.send(parcel));
            let status = process.wait();
            ended.send_replace(status.ok());
            if lost.load(Ordering::Relaxed) {
                forget();
            }
        };
        std::thread::Builder::new().name("child".to_owned()).spawn(body)?;
        let parcel = child.await.unwrap_or_else(|_| Err(io::Error::other("the thread that starts children ended")));
        parcel?.child.take().ok_or_else(|| io::Error::other("the child was lost"))
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

/// A child on its way to whoever had it started; killed when it does not arrive.
struct Parcel {
    child: Option<Child>,
    lost: Arc<AtomicBool>,
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            self.lost.store(true, Ordering::Relaxed);
            // It is not reaped before it has ended, so this reaches it or nobody.
            let _ = child.identity.signal(Signal::SIGKILL);
        }
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
