//! Undoing what is neither process nor directory: datasets, pools, mounts, control groups, network namespaces and
//! devices.

use crate::base::inventory::{Contents, Entry, Thing};
use crate::base::proc;
use crate::base::zfs::{self, ZfsError};
use crate::disk::{cgroup, mount, throttle};
use crate::net::{lan, namespace};
use std::path::Path;

/// Whether such a thing is there; never for things of other kinds.
pub(super) fn exists(thing: &Thing, contents: &Contents) -> bool {
    match thing {
        Thing::Namespace { name } => namespace::exists(name),
        Thing::Device { name } => lan::device_exists(name),
        Thing::Mount { path } => mount::is_mounted(path),
        Thing::Cgroup { path } => path.exists(),
        Thing::Dataset { name, .. } | Thing::Pool { name, .. } if is_of_earlier_boot(name, contents) => false,
        // When nobody answers, it may be.
        Thing::Dataset { name, .. } | Thing::Pool { name, .. } => !matches!(zfs::owner(name), Ok(zfs::Owner::Absent)),
        // Whether they are still there cannot be asked from here.
        Thing::Tables { .. } => true,
        _ => false,
    }
}

/// Undoes it; what is gone is fine.
pub(super) fn undo(thing: &Thing, contents: &Contents) -> Result<(), String> {
    match thing {
        Thing::Namespace { name } => namespace::delete(name),
        Thing::Device { name } => lan::delete_device(name),
        Thing::Mount { path } if !mount::is_mounted(path) => Ok(()),
        Thing::Mount { path } if !is_within(path, contents) => {
            Err("it does not lie in a directory of the run".to_owned())
        }
        Thing::Mount { path } => mount::unmount(path),
        Thing::Cgroup { path } => cgroup::remove(path),
        Thing::Dataset { name, .. } => undo_zfs(name, contents, zfs::destroy),
        Thing::Pool { name, .. } => undo_zfs(name, contents, zfs::destroy_pool),
        other => Err(format!("{other} is nothing of this kind")),
    }
}

/// Destroys it with `destroy`, unless it is not there any more.
fn undo_zfs(
    name: &str,
    contents: &Contents,
    destroy: impl FnOnce(&str, &str) -> Result<(), ZfsError>,
) -> Result<(), String> {
    if is_of_earlier_boot(name, contents) {
        return Ok(());
    }
    let run = contents.owner.as_ref().map_or("", |owner| &owner.run);
    destroy(name, run).map_err(|error| error.to_string())
}

/// Whether it is, or lies in, a pool of the run's own, and the machine has started anew since: such pools are then no
/// longer known, and there need not even be a ZFS that could be asked.
fn is_of_earlier_boot(name: &str, contents: &Contents) -> bool {
    let pool = name.split(['/', '@']).next().unwrap_or(name);
    let own = |entry: &Entry| matches!(&entry.thing, Thing::Pool { name, .. } if name == pool);
    contents.owner.as_ref().is_some_and(|owner| owner.boot != proc::boot()) && contents.entries.iter().any(own)
}

fn is_within(path: &Path, contents: &Contents) -> bool {
    let holds = |entry: &Entry| matches!(&entry.thing, Thing::Directory { path: dir, .. } if path.starts_with(dir));
    contents.entries.iter().any(holds)
}

/// Lifts what slows their disks: who waits for a slow disk dies only when it has answered.
pub(super) fn free_the_waiting(entries: &[&Entry]) {
    for entry in entries {
        if let Thing::Cgroup { path } = &entry.thing {
            // They may die in time all the same; if they do not, that is said.
            let _ = throttle::lift(path);
        }
    }
}

/// In the order of undoing: first those who use something, then what they use, each kind backwards.
/// Directories go last, for what is mounted in them would be emptied with them.
pub(super) fn in_order(mut entries: Vec<&Entry>) -> Vec<&Entry> {
    entries.reverse();
    entries.sort_by_key(|entry| match entry.thing {
        Thing::Process { .. } | Thing::Command { .. } => 0,
        Thing::Labelled { .. } | Thing::Tables { .. } => 1,
        Thing::Dataset { .. } => 2,
        Thing::Pool { .. } => 3,
        Thing::Mount { .. } => 4,
        Thing::Cgroup { .. } => 5,
        Thing::Namespace { .. } => 6,
        Thing::Device { .. } => 7,
        Thing::Directory { .. } => 8,
    });
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::inventory::Owner;

    #[test]
    fn undoes_users_before_what_they_use() {
        let entry = |id, thing| Entry { id, thing, gone: false, kept: false };
        let dir = |path: &str| Thing::Directory { path: path.into(), within: "/w".into(), program: None };
        let entries = [
            entry(1, dir("/w/r")),
            entry(2, Thing::Namespace { name: "pgbr-1".into() }),
            entry(3, Thing::Device { name: "pgbr1".into() }),
            entry(4, dir("/w/r/a")),
            entry(5, Thing::Mount { path: "/w/r/a".into() }),
            entry(6, Thing::Labelled { engine: String::new(), certs: None }),
            entry(7, Thing::Cgroup { path: "/c/pgbr-1".into() }),
            entry(8, Thing::Pool { name: "p".into(), path: "/w/r/a".into() }),
            entry(9, Thing::Dataset { name: "p/d@s".into(), path: "/w/r/b".into() }),
            entry(10, Thing::Dataset { name: "p/d/s".into(), path: "/w/r/b".into() }),
        ];
        let order: Vec<u64> = in_order(entries.iter().collect()).iter().map(|entry| entry.id).collect();
        assert_eq!(order, [6, 10, 9, 8, 5, 7, 2, 3, 4, 1]);
    }

    #[test]
    fn pools_of_the_run_do_not_outlive_the_machine() {
        let pool = Thing::Pool { name: "pgbench-rs-r1-a-2".into(), path: "/w/a".into() };
        let entries = vec![Entry { id: 1, thing: pool.clone(), gone: false, kept: false }];
        let harness = proc::Identity { pid: 1, started: 1 };
        let of = |boot: &str| {
            let owner = Owner { run: "r1".to_owned(), harness, boot: boot.to_owned() };
            Contents { owner: Some(owner), entries: entries.clone() }
        };
        let earlier = of("another boot");
        assert!(!exists(&pool, &earlier) && undo(&pool, &earlier).is_ok());
        assert!(is_of_earlier_boot("pgbench-rs-r1-a-2/data@s", &earlier));
        assert!(!is_of_earlier_boot("tank/data@s", &earlier), "somebody else's pool is imported again");
        assert!(!is_of_earlier_boot("pgbench-rs-r1-a-2", &of(&proc::boot())));
    }

    #[test]
    fn touches_only_what_bears_our_name_or_lies_in_our_directories() {
        let contents = Contents::default();
        assert!(undo(&Thing::Mount { path: "/proc".into() }, &contents).is_err());
        assert!(undo(&Thing::Device { name: "lo".into() }, &contents).is_err());
        assert!(undo(&Thing::Cgroup { path: "/sys/fs/cgroup/docker".into() }, &contents).is_err());
        for gone in [
            Thing::Mount { path: "/no/such/place".into() },
            Thing::Device { name: "pgbr00000000".into() },
            Thing::Namespace { name: "pgbr-00000000".into() },
            Thing::Cgroup { path: "/no/such/pgbr-1".into() },
        ] {
            assert!(!exists(&gone, &contents) && undo(&gone, &contents).is_ok(), "{gone}");
        }
    }
}
