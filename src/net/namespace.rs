//! Network namespaces: making named ones, reaching those of containers, and doing something inside.

use crate::base::exec::Command;
use crate::base::inventory::{Id, Inventory, Thing};
use crate::base::tool::{IP, NSENTER, ToolError};
use crate::base::user::User;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where `ip netns` keeps namespaces by name.
const NAMED: &str = "/run/netns";
/// What every name given here begins with; nothing else is ever deleted.
const PREFIX: &str = "pgbr-";

/// Why something about a network could not be done.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A program is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// This process may not make namespaces.
    #[error(
        "network namespaces cannot be made: {0}\n\
         hint: run as root; within a container, give it the capabilities SYS_ADMIN and NET_ADMIN"
    )]
    Forbidden(io::Error),
    /// A file of the system, or the inventory.
    #[error("{what}: {source}")]
    Io {
        /// Which, or what was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A name that another party of this machine uses.
    #[error(
        "{0} exists already, and was not made by this run\n\
         hint: if a run that died has left it, `pgbench-rs clean` removes it"
    )]
    Taken(Thing),
    /// No subnet is free.
    #[error("all subnets of 198.18.0.0/15 are in use on this machine\nhint: `ip route show table all` says by whom")]
    NoSubnet,
    /// No address is free.
    #[error(
        "the subnet {0} has no address left\n\
         hint: nodes, clients of each site, the manager and every slow way take one each; let there be fewer"
    )]
    NoAddress(String),
    /// A way whose ends both are outside of every namespace.
    #[error("packets from {from} to {to} pass no namespace in which they could be dropped")]
    NoFilter {
        /// The sender.
        from: std::net::IpAddr,
        /// The receiver.
        to: std::net::IpAddr,
    },
    /// Packets cannot be made to vanish in a namespace.
    #[error("packets cannot vanish in {ns}: {said}\nhint: {hint}")]
    Filter {
        /// Which.
        ns: String,
        /// What the system said.
        said: String,
        /// What helps.
        hint: &'static str,
    },
    /// What could not be removed.
    #[error("{0}")]
    Left(String),
}

impl NetError {
    pub(super) fn io(what: impl ToString) -> impl FnOnce(io::Error) -> NetError {
        let what = what.to_string();
        move |source| NetError::Io { what, source }
    }
}

/// Whether this process can make network namespaces, and if not, why; tried in a thread that then ends.
pub fn possible() -> Result<(), NetError> {
    IP.path()?;
    NSENTER.path()?;
    let tried = || unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
    let thread = std::thread::Builder::new().name("namespace".to_owned()).spawn(tried);
    let tried = thread.map_err(NetError::io("cannot start a thread"))?.join();
    tried.unwrap_or_else(|_| Err(io::Error::other("the thread that tried panicked"))).map_err(NetError::Forbidden)
}

/// A network namespace that exists, by a path that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetNs {
    path: PathBuf,
}

impl NetNs {
    /// The one that `ip netns` calls so.
    pub fn named(name: &str) -> NetNs {
        NetNs { path: Path::new(NAMED).join(name) }
    }

    /// The one that a process is in: how a container's is reached. It lasts as long as the process.
    pub fn of(pid: i32) -> NetNs {
        NetNs { path: PathBuf::from(format!("/proc/{pid}/ns/net")) }
    }

    /// The one that a path leads to.
    pub fn at(path: PathBuf) -> NetNs {
        NetNs { path }
    }

    /// Names a new namespace in the inventory, then makes it, with loopback up. `name` begins with `pgbr-`.
    pub(super) async fn create(name: &str, inventory: &Arc<Inventory>) -> Result<(Id, NetNs), NetError> {
        let ns = NetNs::named(name);
        let thing = Thing::Namespace { name: name.to_owned() };
        if !name.starts_with(PREFIX) || ns.exists() {
            return Err(NetError::Taken(thing));
        }
        let id = inventory.thing(thing).map_err(NetError::io("the inventory"))?;
        let made = match IP.run(["netns", "add", name], inventory).await {
            Ok(_) => ns.ip("link set lo up", inventory).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = made {
            // Nobody else knows of it. An entry of the inventory too many does no harm.
            if delete(name).is_ok() {
                let _ = inventory.gone(id);
            }
            return Err(error);
        }
        Ok((id, ns))
    }

    /// Where it is reached.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Its number, which tells it from one that took its path later.
    pub fn number(&self) -> Result<u64, NetError> {
        let meta = std::fs::metadata(&self.path).map_err(NetError::io(self.path.display()))?;
        Ok(meta.ino())
    }

    /// Makes `command` run in it, as `user` if that is somebody.
    ///
    /// The user must be given here and not to the command itself: that would drop the right to enter before
    /// the namespace is entered.
    pub fn enter(&self, command: &mut std::process::Command, user: Option<&User>) -> io::Result<()> {
        let ns = self.open()?;
        let ids = user.map(|user| (Uid::from_raw(user.uid), Gid::from_raw(user.gid)));
        if let Some(user) = user {
            command.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name);
        }
        let before_exec = move || {
            setns(&ns, CloneFlags::CLONE_NEWNET)?;
            if let Some((uid, gid)) = ids {
                setgroups(&[])?;
                setgid(gid)?;
                setuid(uid)?;
            }
            Ok(())
        };
        #[expect(
            unsafe_code,
            reason = "runs between fork and exec: only async-signal-safe system calls, no allocation"
        )]
        unsafe {
            command.pre_exec(before_exec);
        }
        Ok(())
    }

    /// Runs `action` in a thread of its own that is inside. A socket opened there stays there.
    pub fn inside<T: Send>(&self, action: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let ns = self.open()?;
        let entered = || {
            setns(&ns, CloneFlags::CLONE_NEWNET)?;
            action()
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, entered)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
        })
    }

    /// A helper command that runs in it.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        program: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Command, NetError> {
        let mut net = std::ffi::OsString::from("--net=");
        net.push(&self.path);
        Ok(NSENTER.command([net.as_os_str(), OsStr::new("--"), program.as_os_str()])?.args(args))
    }

    /// Runs lines of `ip` in it.
    pub(super) async fn ip(&self, lines: &str, inventory: &Arc<Inventory>) -> Result<(), NetError> {
        let batch = self.command(&IP.path()?, ["-batch", "-"])?.input(lines);
        batch.run(inventory).await.map_err(ToolError::from)?;
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        let said = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        File::open(&self.path).map_err(said)
    }
}

/// Whether a namespace with this name exists.
pub fn exists(name: &str) -> bool {
    NetNs::named(name).path.symlink_metadata().is_ok()
}

/// Deletes a namespace that was made here; one that is gone is fine.
pub fn delete(name: &str) -> Result<(), String> {
    if !exists(name) {
        return Ok(());
    }
    if !name.starts_with(PREFIX) || name.contains('/') {
        return Err(format!("the network namespace {name} does not bear a name of ours"));
    }
    match IP.run_here(["netns", "delete", name]) {
        Err(error) if exists(name) => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Runs a removal that blocks where it hinders nobody.
pub(super) async fn removed(removal: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    tokio::task::spawn_blocking(removal).await.unwrap_or_else(|error| Err(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletes_only_names_of_its_own() {
        assert_eq!(delete("pgbr-00000000-no-such"), Ok(()));
        assert_eq!(delete("no-such-namespace"), Ok(()));
        if possible().is_ok() {
            let here = NetNs::of(std::process::id() as i32);
            assert_eq!(here.inside(|| Ok(7)).unwrap(), 7);
            assert!(here.number().is_ok());
        }
        let gone = NetNs::named("pgbr-00000000-no-such");
        let error = gone.inside(|| Ok(())).unwrap_err().to_string();
        assert!(error.contains("/run/netns/pgbr-00000000-no-such"), "{error}");
    }
}
