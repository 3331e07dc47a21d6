//! Datasets and pools of ZFS that are a run's own, by the commands `zfs` and `zpool`, with what OpenZFS 2.x and zfs-fuse 0.7
//! have in common. Whose something is stands in a user property of its own ([`RUN`]); what does not say there that it is
//! the run's is never destroyed.

use super::exec::CommandError;
use super::tool::{Tool, ToolError, ZFS, ZPOOL};
use std::time::{Duration, Instant};

/// The user property with the id of the run whose a dataset, a snapshot or a pool's first dataset is.
pub const RUN: &str = "pgbench-rs:run";
/// As the kernel names these file systems: OpenZFS's module, and the daemon zfs-fuse.
pub const KINDS: [&str; 2] = ["zfs", "fuse.zfs"];
/// What brings a ZFS that answers.
pub const HINT: &str = "apt-get install -y zfsutils-linux zfs-dkms (from Debian's section contrib) && modprobe zfs; where \
                        no module can be loaded: apt-get install -y zfs-fuse && zfs-fuse";

/// How long something may be in use though nobody is known to use it. On zfs-fuse the first one or two tries to destroy a
/// fresh clone end with "dataset is busy" (measured); elsewhere whoever was just killed needs a moment.
const BUSY: Duration = Duration::from_secs(5);
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(50);

/// Why something of ZFS was not done.
#[derive(Debug, thiserror::Error)]
pub enum ZfsError {
    /// A command is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// It is not installed, or neither the kernel's module nor the daemon is there.
    #[error("no ZFS answers: {said}\nhint: {HINT}")]
    Silent {
        /// What the command said.
        said: String,
    },
    /// There is no room.
    #[error("ZFS has no room for {name}: {said}")]
    Full {
        /// What was to be made.
        name: String,
        /// What the command said.
        said: String,
    },
    /// Something is called so already.
    #[error("ZFS has a {0} already")]
    Exists(String),
    /// Somebody uses it, and goes on to.
    #[error(
        "{name} is still in use after {tries} tries in {waited:.1?}: {said}\nhint: end what runs on it, then try again"
    )]
    Busy {
        /// What was to be destroyed.
        name: String,
        /// How often that was tried.
        tries: u32,
        /// How long.
        waited: Duration,
        /// What the command said last.
        said: String,
    },
    /// It does not say that it is the run's own.
    #[error("{name} was not touched: its property {RUN} {says}")]
    NotOurs {
        /// What was to be destroyed.
        name: String,
        /// What the property says.
        says: String,
    },
}

/// Whose a dataset is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// There is no such dataset.
    Absent,
    /// This run's.
    Run(String),
    /// Nobody's that one knows of: it has no such property of its own.
    Unknown,
}

/// For `map_err`: what a command said of `name`, told apart.
pub fn failed(name: &str) -> impl FnOnce(ToolError) -> ZfsError + use<> {
    let name = name.to_owned();
    move |error| match said(&error) {
        // Another package may bring it as well.
        None if matches!(error, ToolError::Missing { .. }) => {
            let said = error.to_string().lines().next().unwrap_or_default().to_owned();
            ZfsError::Silent { said }
        }
        Some(said) if is_silent(&said) => ZfsError::Silent { said },
        Some(said) if said.contains("out of space") => ZfsError::Full { name, said },
        Some(said) if said.contains("already exists") => ZfsError::Exists(name),
        _ => error.into(),
    }
}

/// What a command that failed wrote.
fn said(error: &ToolError) -> Option<String> {
    match error {
        ToolError::Command(CommandError::Failed { stderr, .. }) => Some(stderr.trim().replace('\n', "; ")),
        _ => None,
    }
}

/// Whether nobody is there to answer, in the words of OpenZFS's `libzfs_error_init` and of zfs-fuse.
fn is_silent(said: &str) -> bool {
    ["modules are not loaded", "modules cannot be auto-loaded", "/dev/zfs", "zfs-fuse daemon", "initialize ZFS library"]
        .iter()
        .any(|words| said.contains(words))
}

/// Whether what was named is not there.
fn is_absent(said: &str) -> bool {
    ["dataset does not exist", "no such pool"].iter().any(|words| said.contains(words))
}

/// Whether somebody uses it: the dataset, its mount, or the pool.
fn is_busy(said: &str) -> bool {
    said.contains("busy")
}

/// Whether a ZFS answers; what it says of itself or of its daemon.
pub fn answers() -> Result<(), ZfsError> {
    ZPOOL.run_here(["list", "-H", "-o", "name"]).map(drop).map_err(failed("the list of pools"))
}

/// Whose `name` is: a dataset or a snapshot.
pub fn owner(name: &str) -> Result<Owner, ZfsError> {
    match ZFS.run_here(["get", "-H", "-o", "value,source", RUN, name]) {
        Ok(text) => Ok(owner_in(&text)),
        Err(error) if said(&error).is_some_and(|said| is_absent(&said)) => Ok(Owner::Absent),
        Err(error) => Err(failed(name)(error)),
    }
}

/// `value<tab>source`: a property that is inherited, or not there (`-`), says nothing of this dataset.
fn owner_in(text: &str) -> Owner {
    match text.trim_end().split_once('\t') {
        Some((run, "local")) => Owner::Run(run.to_owned()),
        _ => Owner::Unknown,
    }
}

/// Destroys a dataset or snapshot of `run`; what is gone is fine. What is mounted of it is unmounted.
pub fn destroy(name: &str, run: &str) -> Result<(), ZfsError> {
    if !is_ours(name, run)? {
        return Ok(());
    }
    match again(ZFS, &["destroy", name], name) {
        // Somebody makes snapshots of all datasets there are, and these go with it; a dataset below it does not.
        Err(ZfsError::Tool(error)) if said(&error).is_some_and(|said| said.contains("has children")) => {
            let args = ["list", "-H", "-o", "name", "-t", "all", "-r", name];
            let all = ZFS.run_here(args).map_err(failed(name))?;
            let snapshots =
                all.lines().all(|one| one == name || one.strip_prefix(name).is_some_and(|at| at.starts_with('@')));
            if snapshots { again(ZFS, &["destroy", "-r", name], name) } else { Err(error.into()) }
        }
        destroyed => destroyed,
    }
}

/// Destroys a pool of `run`, which is the name of its first dataset, too; what is gone is fine.
pub fn destroy_pool(name: &str, run: &str) -> Result<(), ZfsError> {
    if is_ours(name, run)? { again(ZPOOL, &["destroy", "-f", name], name) } else { Ok(()) }
}

/// Whether it is there and the run's; an error if it is somebody else's.
fn is_ours(name: &str, run: &str) -> Result<bool, ZfsError> {
    let says = match owner(name)? {
        Owner::Absent => return Ok(false),
        Owner::Run(other) if other == run && !run.is_empty() => return Ok(true),
        Owner::Run(other) => format!("names the run {other}"),
        Owner::Unknown => "is not set on it".to_owned(),
    };
    Err(ZfsError::NotOurs { name: name.to_owned(), says })
}

/// Runs a command until it succeeds, as long as it only says that something is in use.
fn again(tool: Tool, args: &[&str], name: &str) -> Result<(), ZfsError> {
    let (began, mut tries) = (Instant::now(), 0);
    loop {
        let error = match tool.run_here(args) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        tries += 1;
        match said(&error) {
            Some(said) if is_absent(&said) => return Ok(()),
            Some(said) if is_busy(&said) => {
                let waited = began.elapsed();
                if waited > BUSY {
                    return Err(ZfsError::Busy { name: name.to_owned(), tries, waited, said });
                }
                std::thread::sleep(AGAIN);
            }
            _ => return Err(failed(name)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What OpenZFS 2.x was seen to say. There is none where this is tested; these are its own words from reports of its
    /// users (the numbers are those of openzfs/zfs on GitHub) and from its `libzfs_util.c`.
    mod openzfs {
        /// 2.1.11 (#16255).
        pub const BUSY: &str = "cannot destroy 'vmpool/vms/lxc/winapps-1': dataset is busy\n";
        /// Of a snapshot the name stands without quotes (#17239).
        pub const BUSY_SNAPSHOT: &str =
            "cannot destroy snapshot rpool/data/subvol-119-disk-0@restic-20250406-030001: dataset is busy\n";
        /// 2.1 on Ubuntu 22.04, without its module (#18593).
        pub const NO_MODULE: &str =
            "The ZFS modules are not loaded.\nTry running '/sbin/modprobe zfs' as root to load them.\n";
        /// With the module, in a container that lacks the device (#6514).
        pub const NO_DEVICE: &str = "/dev/zfs and /proc/self/mounts are required.\n\
                                     Try running 'udevadm trigger' and 'mount -t proc proc /proc' as root.\n";
        /// `EZFS_NOSPC`, as `zfs snapshot` says it.
        pub const FULL: &str = "cannot create snapshot 'tank/pg@monday': out of space\n";
        /// `EZFS_EXISTS`.
        pub const EXISTS: &str = "cannot create snapshot 'tank/pg@monday': dataset already exists\n";
        /// `EZFS_NOENT`.
        pub const ABSENT: &str = "cannot open 'tank/pg@monday': dataset does not exist\n";
        /// `zpool destroy`.
        pub const NO_POOL: &str = "cannot open 'tank': no such pool\n";
    }

    /// What zfs-fuse 0.7 said here.
    mod zfs_fuse {
        pub const BUSY: &str = "cannot destroy 'pgbr-test/data/c1': dataset is busy\n";
        pub const BUSY_POOL: &str = "cannot destroy 'pgbench-rs-r1-a-1': pool is busy\n";
        pub const NO_DAEMON: &str = "connect: No such file or directory\n\
                                     Please make sure that the zfs-fuse daemon is running.\n\
                                     internal error: failed to initialize ZFS library\n";
        pub const FULL: &str = "cannot create snapshot 'pgbr-test/data@s4': out of space\n";
        pub const EXISTS: &str = "cannot create 'pgbr-test/data/c1': dataset already exists\n";
        pub const POOL_EXISTS: &str = "Defaulting to 4K blocksize (ashift=12) for '/x/disk.img'\n\
                                       cannot create 'pgbench-rs-r1-a-1': pool already exists\n";
        pub const ABSENT: &str = "cannot open 'pgbr-test/data@nope': dataset does not exist\n";
    }

    fn of(stderr: &str) -> ZfsError {
        let (argv, status) = ("zfs x".to_owned(), "exited with status 1".to_owned());
        failed("x")(CommandError::Failed { argv, status, stderr: stderr.to_owned() }.into())
    }

    #[test]
    fn both_kinds_are_understood() {
        for silent in [openzfs::NO_MODULE, openzfs::NO_DEVICE, zfs_fuse::NO_DAEMON] {
            let error = of(silent);
            assert!(matches!(&error, ZfsError::Silent { .. }), "{error:?}");
            assert!(error.to_string().contains("\nhint: apt-get install -y zfsutils-linux"), "{error}");
        }
        for full in [openzfs::FULL, zfs_fuse::FULL] {
            assert!(matches!(of(full), ZfsError::Full { .. }), "{full}");
        }
        for exists in [openzfs::EXISTS, zfs_fuse::EXISTS, zfs_fuse::POOL_EXISTS] {
            assert!(matches!(of(exists), ZfsError::Exists(_)), "{exists}");
        }
        for busy in [openzfs::BUSY, openzfs::BUSY_SNAPSHOT, zfs_fuse::BUSY, zfs_fuse::BUSY_POOL] {
            assert!(is_busy(busy) && !is_absent(busy), "{busy}");
        }
        for absent in [openzfs::ABSENT, openzfs::NO_POOL, zfs_fuse::ABSENT] {
            assert!(is_absent(absent) && !is_busy(absent), "{absent}");
        }
        let other = of("cannot create 'tank/x': permission denied\n");
        assert!(matches!(&other, ZfsError::Tool(_)) && other.to_string().contains("permission denied"), "{other}");
    }

    #[test]
    fn a_property_counts_only_where_it_was_set() {
        assert_eq!(owner_in("r1\tlocal\n"), Owner::Run("r1".to_owned()));
        for not_its_own in ["r1\tinherited from tank\n", "-\t-\n", "r1\treceived\n", "", "r1"] {
            assert_eq!(owner_in(not_its_own), Owner::Unknown, "{not_its_own}");
        }
    }
}
