//! The driver `zfs`: a snapshot of the dataset on which the directory lies, and a clone of that, mounted where the copy is
//! wanted.
//!
//! ```text
//! <dataset>@pgbench-rs-<run>-<name>     the snapshot
//! <dataset>/pgbench-rs-<run>-<name>     the clone; as the dataset's child it inherits record size, compression, …
//! ```
//!
//! Both bear the user properties [`RUN`](crate::base::zfs::RUN), [`NAME`], [`OWNER`] and [`EXPIRES`]; the clone also
//! [`MAKER`] and [`STATE`], which is changed as it lives.

use super::label::{self, Label, Maker, State, Told};
use super::{Capabilities, Sharing, SnapshotDriver, SnapshotError, Took};
use crate::base::inventory::{Id, Inventory, Thing};
use crate::base::mounts::Mount;
use crate::base::tool::ZFS;
use crate::base::zfs::{self, KINDS, RUN, ZfsError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A snapshot is the state after one transaction group, and all writes before it are in that or an earlier one: without
/// any fsync 0 of 15 snapshots had a later write without an earlier one (measured on zfs-fuse). Its cache (ARC) holds
/// blocks, not files, so a clone finds what the original has read. `quota` limits what a
/// clone has of its own, without what it shares (zfsprops(7)).
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    atomic: true,
    keeps_write_order: true,
    shares_blocks: Sharing::Whole,
    shares_cache: true,
    quota: true,
};

/// The user property with the copy's name.
pub const NAME: &str = "pgbench-rs:name";
/// Whose it is, in words.
pub const OWNER: &str = "pgbench-rs:owner";
/// Until when it is wanted, in RFC 3339; not there: for ever, or as long as its run.
pub const EXPIRES: &str = "pgbench-rs:expires";
/// Who makes it: boot, pid and start time.
pub const MAKER: &str = "pgbench-rs:maker";
/// How far it is: a [`State`].
pub const STATE: &str = "pgbench-rs:state";

/// The dataset on which a directory lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dataset {
    name: String,
    /// The directory, from the dataset's root.
    pub(super) deeper: PathBuf,
}

/// A clone and the snapshot that it was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    snapshot: String,
    clone: String,
}

impl Dataset {
    /// That of `dir`, which `mount` holds, and which can be copied with it.
    pub(super) fn of(dir: &Path, mount: &Mount) -> Result<Dataset, SnapshotError> {
        let found = Dataset::in_mount(dir, mount)?;
        if !nix::unistd::geteuid().is_root() {
            let why = "on Linux only root can mount its clones".to_owned();
            return Err(impossible(dir, why, "run as root, or use another driver"));
        }
        match zfs::owner(&found.name)? {
            zfs::Owner::Absent => Err(impossible(
                dir,
                format!("`zfs` knows no dataset {}", found.name),
                "a pool is known only where its daemon or module runs: see `zfs list`",
            )),
            _ => Ok(found),
        }
    }

    fn in_mount(dir: &Path, mount: &Mount) -> Result<Dataset, SnapshotError> {
        if !KINDS.contains(&mount.kind.as_str()) {
            let why = format!("it is on {}", mount.kind);
            return Err(impossible(
                dir,
                why,
                "put it on a dataset of ZFS, best on one of its own, or use another driver",
            ));
        }
        if mount.source.contains('@') {
            let why = format!("it lies in the snapshot {}", mount.source);
            return Err(impossible(dir, why, "make a clone of that snapshot, and name its directory"));
        }
        // Of a bind mount the kernel says which directory of the dataset it shows.
        let root = mount.root.strip_prefix("/").unwrap_or(&mount.root);
        let deeper = root.join(dir.strip_prefix(&mount.point).unwrap_or(Path::new("")));
        Ok(Dataset { name: mount.source.clone(), deeper })
    }

    /// What a copy's snapshot and clone are called.
    pub(super) fn pair(&self, run: &str, name: &str) -> Pair {
        Pair {
            snapshot: format!("{}@pgbench-rs-{run}-{name}", self.name),
            clone: format!("{}/pgbench-rs-{run}-{name}", self.name),
        }
    }
}

fn impossible(dir: &Path, why: String, hint: &str) -> SnapshotError {
    SnapshotError::Impossible { driver: SnapshotDriver::Zfs, dir: dir.to_owned(), why, hint: hint.to_owned() }
}

impl Pair {
    /// That of which a dataset is the clone, by its name.
    pub(super) fn of_clone(clone: &str) -> Option<Pair> {
        let (dataset, name) = clone.rsplit_once('/')?;
        Some(Pair { snapshot: format!("{dataset}@{name}"), clone: clone.to_owned() })
    }

    /// Names both, in the order in which they are made.
    pub(super) fn enter(&self, at: &Path, inventory: &Inventory) -> Result<Vec<Id>, SnapshotError> {
        let enter = |name: &String| inventory.thing(Thing::Dataset { name: name.clone(), path: at.to_owned() });
        let ids: Result<Vec<Id>, _> = [&self.snapshot, &self.clone].into_iter().map(enter).collect();
        ids.map_err(SnapshotError::at(inventory.path()))
    }

    /// Makes both for the inventory's run, and mounts the clone at `at`, which is not there yet.
    pub(super) async fn make(
        &self,
        name: &str,
        at: &Path,
        (label, quota): (&Label, Option<u64>),
        inventory: &Arc<Inventory>,
    ) -> Result<Took, SnapshotError> {
        let property = |property: &str, value: &str| ["-o".into(), OsString::from(format!("{property}={value}"))];
        let maker = Maker::own()?.to_string();
        let ours = || {
            let owner = Some(label::in_a_line(&label.owner)).filter(|owner| !owner.is_empty());
            let whose = owner.into_iter().flat_map(|owner| property(OWNER, &owner));
            let until = label.expires.iter().flat_map(|until| property(EXPIRES, until));
            property(RUN, inventory.run()).into_iter().chain(property(NAME, name)).chain(whose).chain(until)
        };
        let began = Instant::now();
        let args = [OsString::from("snapshot")].into_iter().chain(ours()).chain([(&self.snapshot).into()]);
        ZFS.run(args, inventory).await.map_err(zfs::failed(&self.snapshot))?;
        let snapshot = began.elapsed();
        let began = Instant::now();
        let mut mountpoint = OsString::from("mountpoint=");
        mountpoint.push(at);
        let args = [OsString::from("clone"), "-o".into(), mountpoint].into_iter().chain(ours());
        // As those who make snapshots of all datasets understand it.
        let args = args.chain(property("com.sun:auto-snapshot", "false"));
        let args = args.chain(property(MAKER, &maker)).chain(property(STATE, State::Making.name()));
        let args = args.chain(quota.into_iter().flat_map(|bytes| property("quota", &bytes.to_string())));
        let args = args.chain([(&self.snapshot).into(), (&self.clone).into()]);
        match ZFS.run(args, inventory).await.map_err(zfs::failed(&self.clone)) {
            Err(error @ ZfsError::Exists(_)) => {
                // Somebody else's, perhaps; the snapshot is ours.
                zfs::destroy(&self.snapshot, inventory.run())?;
                Err(error.into())
            }
            made => made.map(|_| Took { snapshot: Some(snapshot), clone: Some(began.elapsed()) }).map_err(Into::into),
        }
    }

    /// Lets the clone say how far it is; nothing is said of what is gone or another run's.
    pub(super) fn say(&self, state: State, run: &str) -> Result<(), SnapshotError> {
        if zfs::owner(&self.clone)? == zfs::Owner::Run(run.to_owned()) {
            ZFS.run_here(["set", &format!("{STATE}={}", state.name()), &self.clone])
                .map_err(zfs::failed(&self.clone))?;
        }
        Ok(())
    }

    /// Bytes that only the clone has; absent when it is gone. What its snapshot keeps of what the original has
    /// overwritten since is not among them.
    pub(super) fn space(&self) -> Result<Option<u64>, SnapshotError> {
        if zfs::owner(&self.clone)? == zfs::Owner::Absent {
            return Ok(None);
        }
        let args = ["get", "-H", "-p", "-o", "value", "used", &self.clone];
        let text = ZFS.run_here(args).map_err(zfs::failed(&self.clone))?;
        Ok(text.trim().parse().ok())
    }

    /// Destroys both, if they are the run's. The directory at which the clone was mounted stays.
    pub(super) fn destroy(&self, run: &str) -> Result<(), SnapshotError> {
        zfs::destroy(&self.clone, run)?;
        Ok(zfs::destroy(&self.snapshot, run)?)
    }
}

/// See [`label::told`].
pub(super) fn told() -> Result<Vec<Told>, SnapshotError> {
    if ZFS.path().is_err() {
        return Ok(Vec::new());
    }
    // Of every dataset and snapshot there is; what is inherited says nothing of the one that has it.
    let properties = [RUN, NAME, OWNER, EXPIRES, MAKER, STATE, "mountpoint"].join(",");
    let args = ["get", "-H", "-s", "local", "-o", "name,property,value", &properties];
    match ZFS.run_here(args).map_err(zfs::failed("the list of datasets")) {
        Ok(text) => Ok(told_in(&text)),
        Err(ZfsError::Silent { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// `name<tab>property<tab>value`, those of one dataset together.
fn told_in(text: &str) -> Vec<Told> {
    let mut all: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, '\t');
        if let (Some(name), Some(property), Some(value)) = (fields.next(), fields.next(), fields.next())
            && !name.contains('@')
        {
            all.entry(name).or_default().insert(property, value);
        }
    }
    let of_one = |(dataset, its): (&str, BTreeMap<&str, &str>)| {
        let text = |property: &str| its.get(property).map(|value| (*value).to_owned());
        Some(Told {
            dataset: dataset.to_owned(),
            at: text("mountpoint").map(PathBuf::from).filter(|at| at.is_absolute()),
            run: text(RUN)?,
            name: text(NAME)?,
            owner: text(OWNER),
            expires: text(EXPIRES),
            state: its.get(STATE).and_then(|state| state.parse().ok()),
            maker: its.get(MAKER).and_then(|maker| maker.parse().ok()),
        })
    };
    all.into_iter().filter_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str, kind: &str, source: &str) -> Mount {
        let (root, point) = (root.into(), "/pg".into());
        Mount { device: "0:40".into(), root, point, kind: kind.into(), source: source.into() }
    }

    #[test]
    fn finds_the_dataset_and_names_what_is_made_of_it() {
        let dataset = Dataset::in_mount(Path::new("/pg/15/main"), &mount("/", "zfs", "tank/pg")).unwrap();
        assert_eq!((dataset.name.as_str(), dataset.deeper.as_path()), ("tank/pg", Path::new("15/main")));
        let pair = dataset.pair("r1", "c1");
        assert_eq!(pair.snapshot, "tank/pg@pgbench-rs-r1-c1");
        assert_eq!(pair.clone, "tank/pg/pgbench-rs-r1-c1");
        let bound = Dataset::in_mount(Path::new("/pg/main"), &mount("/15", "fuse.zfs", "tank")).unwrap();
        assert_eq!(bound.deeper, Path::new("15/main"));
    }

    /// As zfs-fuse 0.7 and OpenZFS 2.x write it with `-H`: tabs between, and no line for what is not set there.
    const TOLD: &str = "\
        tank\tpgbench-rs:run\tr0\n\
        tank\tmountpoint\t/tank\n\
        tank/pg@pgbench-rs-r1-c1\tpgbench-rs:run\tr1\n\
        tank/pg@pgbench-rs-r1-c1\tpgbench-rs:name\tc1\n\
        tank/pg/pgbench-rs-r1-c1\tpgbench-rs:run\tr1\n\
        tank/pg/pgbench-rs-r1-c1\tpgbench-rs:name\tc1\n\
        tank/pg/pgbench-rs-r1-c1\tpgbench-rs:owner\tada of byron\n\
        tank/pg/pgbench-rs-r1-c1\tpgbench-rs:expires\t2026-11-25T12:00:00Z\n\
        tank/pg/pgbench-rs-r1-c1\tpgbench-rs:maker\tb/12/34\n\
        tank/pg/pgbench-rs-r1-c1\tpgbench-rs:state\tready\n\
        tank/pg/pgbench-rs-r1-c1\tmountpoint\t/pg/c1/data\n\
        tank/pg/pgbench-rs-r0-old\tpgbench-rs:run\tr0\n\
        tank/pg/pgbench-rs-r0-old\tpgbench-rs:name\told\n\
        tank/pg/pgbench-rs-r0-old\tmountpoint\tlegacy\n";

    #[test]
    fn reads_back_what_clones_say_of_themselves() {
        let told = told_in(TOLD);
        let [old, c1] = &told[..] else { panic!("{told:?}") };
        assert_eq!((c1.dataset.as_str(), c1.run.as_str(), c1.name.as_str()), ("tank/pg/pgbench-rs-r1-c1", "r1", "c1"));
        assert_eq!((c1.owner.as_deref(), c1.state), (Some("ada of byron"), Some(State::Ready)));
        assert_eq!(
            (c1.at.as_deref(), c1.expires.as_deref()),
            (Some(Path::new("/pg/c1/data")), Some("2026-11-25T12:00:00Z"))
        );
        assert!(c1.maker.as_ref().is_some_and(|maker| maker.to_string() == "b/12/34" && !maker.is_alive()));
        // One of an earlier version of this program, which said no more.
        assert_eq!((old.name.as_str(), &old.owner, old.state, &old.maker), ("old", &None, None, &None));
        assert_eq!(old.at, None);
        assert!(told_in("").is_empty() && told_in("garbage\nx\ty\n").is_empty());
        let pair = Pair::of_clone(&c1.dataset).unwrap();
        assert_eq!(pair.snapshot, "tank/pg@pgbench-rs-r1-c1");
    }

    #[test]
    fn refuses_what_is_no_dataset() {
        let said = |mount| Dataset::in_mount(Path::new("/pg"), &mount).unwrap_err().to_string();
        assert!(said(mount("/", "ext4", "/dev/vda")).contains("it is on ext4"));
        assert!(said(mount("/", "zfs", "tank/pg@monday")).contains("lies in the snapshot tank/pg@monday"));
    }
}
