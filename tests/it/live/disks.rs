//! Disks of a node's own: filled, slowed down, and as they were afterwards.

use super::fixture::not_run;
use pgbench_rs::base::disk::free;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::clean;
use pgbench_rs::disk::Format;
use pgbench_rs::disk::cgroup::{Cgroup, Hierarchy};
use pgbench_rs::disk::mount::{FileSystem, Kind, is_mounted};
use pgbench_rs::disk::throttle::{Device, Limits, set};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MB: u64 = 1 << 20;

/// A directory of a run with a file system of its own in it.
struct Lab {
    inventory: Arc<Inventory>,
    disk: FileSystem,
    node: PathBuf,
    dir: tempfile::TempDir,
}

impl Lab {
    /// None when this machine does not let us, which is said.
    async fn start(size: u64, in_memory: bool) -> Option<Lab> {
        Lab::of(Format::Ext4, size, in_memory).await
    }

    async fn of(format: Format, size: u64, in_memory: bool) -> Option<Lab> {
        if !nix::unistd::geteuid().is_root() {
            not_run("live::disks (file systems of a node's own)", "run the tests as root");
            return None;
        }
        // Not /tmp, which may be in memory.
        let dir = tempfile::Builder::new().prefix("pgbench-rs-disk-").tempdir_in("/var/tmp").expect("a directory");
        let index = Index::at(dir.path().join("runs"));
        // Pools of tests that run at the same time bear the run in their names.
        let run =
            format!("r{}", dir.path().file_name().expect("a name").to_string_lossy().rsplit('-').next().expect("it"));
        let inventory = Inventory::create(&index, &dir.path().join("inventory.jsonl"), &run).expect("an inventory");
        let (_, work) = inventory.directory(&dir.path().join("work"), dir.path(), None).expect("a directory");
        let (_, node) = inventory.directory(&work.join("a"), &work, None).expect("a directory");
        let node = node.join("disk");
        fs::create_dir(&node).expect("a directory");
        std::os::unix::fs::chown(&node, Some(1), Some(1)).expect("chown");
        let disk = match in_memory {
            true => FileSystem::in_memory(&inventory, &node, size).await,
            false => FileSystem::mount(&inventory, &node, size, format).await,
        };
        let disk = match disk {
            Ok(disk) => disk,
            Err(why) => {
                not_run(&format!("live::disks ({format})"), &why.to_string().replace('\n', "; "));
                return None;
            }
        };
        match disk.kind() {
            Kind::Memory { why } if !in_memory => {
                not_run("live::disks (on disk; in memory it was tried)", &why.replace('\n', "; "));
            }
            _ => {}
        }
        Some(Lab { inventory, disk, node, dir })
    }

    fn loop_devices(&self) -> String {
        let output = Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]).output();
        let all = String::from_utf8(output.expect("losetup runs").stdout).expect("text");
        let here = self.dir.path().to_string_lossy();
        all.lines().filter(|line| line.contains(&*here)).collect()
    }
}

/// A test that fails leaves nothing either.
impl Drop for Lab {
    fn drop(&mut self) {
        clean::undo_own(&self.inventory);
    }
}

#[tokio::test]
async fn a_disk_is_filled_and_is_as_before_afterwards() {
    for in_memory in [false, true] {
        let Some(lab) = Lab::start(64 * MB, in_memory).await else { return };
        filled_and_as_before(lab).await;
    }
}

#[tokio::test]
async fn disks_of_all_kinds_are_filled_and_leave_nothing() {
    for format in Format::ALL {
        let Some(lab) = Lab::of(format, format.least().0, false).await else { continue };
        assert_eq!(lab.node.metadata().expect("there").uid(), 1, "its owner has changed");
        let room = free(&lab.node).expect("its room");
        println!("{format}: {room} of {} are free", format.least());
        assert!(room > 35 * MB, "{format}: {room}");
        let all = lab.disk.fill(0).await.expect("filled");
        assert!(all.bytes > room - 8 * MB, "{format}: {} of {room}", all.bytes);
        let error = File::create(lab.node.join("x")).and_then(|mut file| {
            file.write_all(&[7; 8 << 20])?;
            file.sync_all()
        });
        assert_eq!(error.expect_err("it is full").kind(), ErrorKind::StorageFull, "{format}");
        all.release().await.expect("released");
        lab.disk.unmount().await.expect("unmounted");
        lab.disk.unmount().await.expect("what is gone is fine");
        assert!(!is_mounted(&lab.node) && lab.loop_devices().is_empty());
        assert_eq!(fs::read_dir(lab.dir.path().join("work/a")).expect("there").count(), 2, "{format}");
        assert!(lab.inventory.contents().entries.iter().filter(|entry| entry.gone).count() >= 1);
    }
}

#[tokio::test]
async fn disks_that_cannot_be_say_why() {
    let Some(lab) = Lab::start(64 * MB, false).await else { return };
    let (_, other) =
        lab.inventory.directory(&lab.dir.path().join("work/b"), lab.dir.path(), None).expect("a directory");
    for format in Format::ALL {
        let error = FileSystem::mount(&lab.inventory, &other, 32 * MB, format).await.expect_err("it is too small");
        let said = error.to_string();
        assert!(said.starts_with(&format!("32MB is too small for {format}, which needs ")), "{said}");
    }
    let error = FileSystem::mount(&lab.inventory, &lab.node, 64 * MB, Format::Ext4).await.expect_err("it is mounted");
    assert!(error.to_string().contains("is a mount already"), "{error}");
}

/// What kill -9 leaves is undone by the inventory.
#[tokio::test]
async fn cleaning_finds_disks_of_all_kinds() {
    for format in Format::ALL {
        let Some(lab) = Lab::of(format, format.least().0, false).await else { continue };
        let undone = clean::undo_own(&lab.inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        let expected = if format == Format::Zfs { "pool pgbench-rs-r" } else { "mount /" };
        assert!(undone.undone.iter().any(|thing| thing.to_string().starts_with(expected)), "{:?}", undone.undone);
        assert!(!lab.node.exists() && lab.loop_devices().is_empty(), "{format}");
    }
}

async fn filled_and_as_before(lab: Lab) {
    assert_eq!(lab.node.metadata().expect("there").uid(), 1, "its owner has changed");
    let room = free(&lab.node).expect("its room");
    assert!((40 * MB..=64 * MB).contains(&room), "{room}");
    let some = lab.disk.fill(5 * MB).await.expect("filled");
    let left = free(&lab.node).expect("its room");
    assert!((4 * MB..=5 * MB).contains(&left), "{left}");
    let all = lab.disk.fill(0).await.expect("filled");
    assert!(all.bytes > some.bytes);
    let error = File::create(lab.node.join("x")).and_then(|mut file| {
        file.write_all(&[7; 65536])?;
        file.sync_all()
    });
    assert_eq!(error.expect_err("it is full").kind(), ErrorKind::StorageFull);
    fs::remove_file(lab.node.join("x")).expect("removed");
    all.release().await.expect("released");
    some.release().await.expect("what is gone is fine");
    // The file system frees what was removed when its journal comes to that.
    let began = Instant::now();
    while free(&lab.node).expect("its room") != room {
        assert!(began.elapsed() < Duration::from_secs(10), "{} of {room}", free(&lab.node).expect("its room"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lab.disk.unmount().await.expect("unmounted");
    assert!(!is_mounted(&lab.node) && lab.loop_devices().is_empty());
    assert_eq!(fs::read_dir(lab.dir.path().join("work/a")).expect("there").count(), 2, "the mark and the disk's place");
}

#[tokio::test]
async fn a_disk_in_use_goes_with_its_last_user() {
    let Some(lab) = Lab::start(64 * MB, false).await else { return };
    let mut open = File::create(lab.node.join("x")).expect("a file");
    let undone = clean::undo_own(&lab.inventory);
    assert!(undone.errors.is_empty(), "{:?}", undone.errors);
    assert_eq!(
        undone.undone.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("mount {}", lab.node.display())]
    );
    assert!(!is_mounted(&lab.node) && !lab.node.exists());
    open.write_all(b"it is still there for me").expect("written");
    drop(open);
    let began = Instant::now();
    while !lab.loop_devices().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "{}", lab.loop_devices());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long it takes to write so much in `dir` and flush it, as a process of `cgroup`.
fn writes(cgroup: &Cgroup, dir: &Path, bytes: u64) -> Duration {
    let mut command = Command::new("dd");
    command.args(["if=/dev/zero", "bs=1M", "conv=fsync", "status=none"]);
    command.arg(format!("count={}", bytes / MB)).arg(format!("of={}", dir.join("x").display()));
    cgroup.enter(&mut command).expect("enters");
    let began = Instant::now();
    let status = command.status().expect("dd runs");
    assert!(status.success(), "dd failed");
    began.elapsed()
}

#[tokio::test]
async fn a_disk_is_slowed_down_for_a_group_alone() {
    for format in [Format::Ext4, Format::Xfs, Format::Btrfs] {
        let Some(lab) = Lab::of(format, format.least().0, false).await else { continue };
        if !matches!(lab.disk.kind(), Kind::Memory { .. }) {
            slowed_down_for_a_group_alone(lab).await;
        }
    }
}

async fn slowed_down_for_a_group_alone(lab: Lab) {
    let limited = Hierarchy::find().and_then(|_| Device::of(&lab.node));
    let device = match limited {
        Ok(device) => device,
        Err(why) => return not_run("live::disks (slow disks)", &why.to_string().replace("\nhint: ", "; ")),
    };
    let group = |name: &str| Cgroup::create(&lab.inventory, &format!("test-{}-{name}", std::process::id()));
    let (slow, other) = (group("slow").expect("a group"), group("other").expect("a group"));
    let before = writes(&slow, &lab.node, 8 * MB);
    let limits = Limits { write: Some(2 * MB), read: None };
    set(&slow, device, limits).expect("slowed down");
    let during = writes(&slow, &lab.node, 8 * MB);
    let others = writes(&other, &lab.node, 8 * MB);
    set(&slow, device, Limits::default()).expect("undone");
    let after = writes(&slow, &lab.node, 8 * MB);
    println!("8 MB: {before:?} before, {during:?} at 2 MB/s, {others:?} for others then, {after:?} after");
    assert!((Duration::from_secs(2)..Duration::from_secs(8)).contains(&during), "{during:?}");
    assert!(others * 2 < during && after * 2 < during, "{others:?} {after:?}");
    let path = slow.path.clone();
    for group in [slow, other] {
        group.remove().await.expect("removed");
    }
    assert!(!path.exists());
}
