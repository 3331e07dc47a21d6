//! Copies of data directories on real file systems: of running servers, and of whatever else may happen to them.

mod clusters;
pub mod lab;

use super::fixture::run;
use lab::{Guard, Lab, Server, assert_empty, hashes};
use pgbench_rs::base::inventory::{MARK, Thing};
use pgbench_rs::base::zfs;
use pgbench_rs::clean;
use pgbench_rs::disk::Format;
use pgbench_rs::snapshot::choose::choose;
use pgbench_rs::snapshot::{Copied, Origin, Skip, SnapshotDriver, SnapshotError};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// What each file system can do, the best first.
const ABLE: [(Format, &[SnapshotDriver]); 4] = [
    (Format::Zfs, &[SnapshotDriver::Zfs, SnapshotDriver::Copy]),
    (Format::Btrfs, &[SnapshotDriver::Btrfs, SnapshotDriver::Reflink, SnapshotDriver::Copy]),
    (Format::Xfs, &[SnapshotDriver::Reflink, SnapshotDriver::Copy]),
    (Format::Ext4, &[SnapshotDriver::Copy]),
];

async fn origin(lab: &Lab, driver: SnapshotDriver) -> Origin {
    Origin::open(driver, &lab.data, &lab.inventory).await.expect("an origin")
}

async fn copy(lab: &Lab, driver: SnapshotDriver, name: &str) -> Copied {
    origin(lab, driver).await.clone_to(name, &lab.place()).await.expect("copied").0
}

/// TPC-B's invariant, and how many transactions are in it.
async fn balances(client: &Client) -> i64 {
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts)::bigint, \
                (SELECT sum(bbalance) FROM pgbench_branches)::bigint, \
                (SELECT sum(tbalance) FROM pgbench_tellers)::bigint, \
                (SELECT coalesce(sum(delta), 0) FROM pgbench_history)::bigint, \
                (SELECT count(*) FROM pgbench_history)";
    let row = client.query_one(sums, &[]).await.expect("it answers");
    let sums: Vec<i64> = (0..4).map(|at| row.get(at)).collect();
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    row.get(4)
}

#[tokio::test]
async fn drivers_copy_a_running_server() {
    for (format, drivers) in ABLE {
        let Some(lab) = Lab::start(format, 1024).await else { continue };
        lab.initdb();
        let server = Server::start(&lab, &lab.data, &["fsync=on"]);
        run(server.pgbench().args(["-i", "-q", "-s", "2"]));
        let mut load = server.pgbench();
        load.args(["-n", "-c", "4", "-T", "600"]).stdout(Stdio::null()).stderr(Stdio::null());
        let _load = Guard(load.spawn().expect("pgbench starts"));
        let client = server.client().await;
        for &driver in drivers {
            let origin = origin(&lab, driver).await.skipping(Skip::Volatile);
            for number in 0..if driver.capabilities().atomic { 4 } else { 2 } {
                let place = lab.place();
                let acknowledged: i64 =
                    client.query_one("SELECT count(*) FROM pgbench_history", &[]).await.expect("it answers").get(0);
                let (copied, took) = origin.clone_to(&format!("{driver}-{number}"), &place).await.expect("copied");
                println!("{format} {driver}: {took:?}");
                assert_eq!(took.snapshot.is_some(), driver.capabilities().atomic);
                assert!(copied.data().join("PG_VERSION").exists() && copied.data().join("global/pg_control").exists());
                assert_eq!(copied.data().metadata().expect("there").uid(), lab.data.metadata().expect("there").uid());
                // Of what is not atomic no server is expected to start.
                if driver.capabilities().atomic {
                    fs::remove_file(copied.data().join("postmaster.pid")).expect("of the origin's server");
                    let clone = Server::start(&lab, copied.data(), &["fsync=off"]);
                    let visible = balances(&clone.client().await).await;
                    assert!(visible >= acknowledged, "{visible} of {acknowledged} transactions");
                }
                copied.destroy().await.expect("destroyed");
                assert_empty(&place);
            }
        }
        balances(&client).await;
    }
}

#[tokio::test]
async fn copies_are_whole_and_the_origin_is_not_touched() {
    for (format, drivers) in ABLE {
        let Some(lab) = Lab::start(format, 1024).await else { continue };
        lab.initdb();
        let server = Server::start(&lab, &lab.data, &[]);
        run(server.pgbench().args(["-i", "-q", "-s", "2"]));
        server.stop();
        let before = hashes(&lab.data);
        for &driver in drivers {
            let copied = copy(&lab, driver, driver.name()).await;
            assert!(hashes(copied.data()) == before, "{format}: a copy by {driver} differs");
            let fresh = copied.space().await.expect("asked");
            let clone = Server::start(&lab, copied.data(), &["fsync=off"]);
            run(clone.pgbench().args(["-n", "-c", "2", "-t", "200"]));
            assert_eq!(balances(&clone.client().await).await, 400);
            clone.stop();
            run(Command::new("sync").args(["-f"]).arg(copied.data()));
            let mut used = copied.space().await.expect("asked");
            // ZFS counts a transaction group at a time, and knows no hurry.
            let limit = Instant::now() + Duration::from_secs(60);
            while used.is_some_and(|used| used < 1 << 20) && Instant::now() < limit {
                tokio::time::sleep(Duration::from_millis(100)).await;
                used = copied.space().await.expect("asked");
            }
            println!("{format} {driver}: {fresh:?} bytes at first, {used:?} after writes");
            if driver != SnapshotDriver::Copy {
                assert!(fresh.expect("known") < 1 << 20 && used.expect("known") > 1 << 20, "{fresh:?} {used:?}");
            }
            copied.destroy().await.expect("destroyed");
            copied.destroy().await.expect("what is gone is fine");
            assert!(hashes(&lab.data) == before, "{format}: {driver} or its copy's server has changed the origin");
        }
        let datasets = lab.datasets();
        assert!(datasets.len() <= 2, "the pool and its data directory, and no more: {datasets:?}");
    }
}

#[tokio::test]
async fn what_was_left_is_undone_by_the_inventory() {
    for (format, drivers) in ABLE {
        for &driver in drivers {
            let Some(lab) = Lab::start(format, 512).await else { continue };
            let (one, two) = (copy(&lab, driver, "one").await, copy(&lab, driver, "two").await);
            one.destroy().await.expect("destroyed");
            assert_eq!(fs::read_to_string(two.data().join("file")).expect("read"), "of the origin");
            // As after a kill -9: nobody has said that the second one is gone.
            let undone = clean::undo_own(&lab.inventory);
            assert!(undone.errors.is_empty(), "{format} {driver}: {:?}", undone.errors);
            assert!(!two.data().exists() && lab.datasets().is_empty(), "{:?}", lab.datasets());
            assert!(lab.inventory.contents().entries.iter().all(|entry| entry.gone));
        }
    }
}

/// As another process finds it, by what was written of it.
#[tokio::test]
async fn a_copy_is_found_again_by_its_place() {
    for (format, drivers) in ABLE {
        let Some(lab) = Lab::start(format, 512).await else { continue };
        let copied = copy(&lab, drivers[0], "one").await;
        let text = serde_json::to_string(copied.place()).expect("written");
        let place: pgbench_rs::snapshot::Place = serde_json::from_str(&text).expect("read");
        assert_eq!((&place, place.data(), place.driver()), (copied.place(), copied.data(), drivers[0]));
        place.space().await.expect("asked");
        place.destroy().await.expect("destroyed");
        assert!(!place.root().exists());
    }
}

/// A pool that is not the run's, destroyed when dropped.
struct Somebodys(String);

impl Somebodys {
    fn pool(lab: &Lab, at: &Path) -> Somebodys {
        let image = lab.dir.path().join("somebodys.img");
        fs::File::create(&image).and_then(|file| file.set_len(128 << 20)).expect("a file");
        let name = format!("somebodys-{}", lab.inventory.run());
        let mountpoint = format!("mountpoint={}", at.display());
        run(Command::new("zpool").args(["create", "-o", "cachefile=none", "-O", &mountpoint, &name]).arg(&image));
        Somebodys(name)
    }
}

impl Drop for Somebodys {
    fn drop(&mut self) {
        // It is busy for a moment; what is the run's own is tried again.
        run(Command::new("zfs").args(["set", &format!("{}=now-ours", zfs::RUN), &self.0]));
        let destroyed = zfs::destroy_pool(&self.0, "now-ours");
        assert!(std::thread::panicking() || destroyed.is_ok(), "{destroyed:?}");
    }
}

#[tokio::test]
async fn what_is_not_ours_stays() {
    if let Some(lab) = Lab::start(Format::Zfs, 512).await {
        let (_, around) = lab.inventory.directory(&lab.dir.path().join("b"), lab.dir.path(), None).expect("made");
        let pool = Somebodys::pool(&lab, &around.join("x"));
        let dataset = format!("{}/data", pool.0);
        run(Command::new("zfs").args(["create", &dataset]));
        run(Command::new("zfs").args(["snapshot", &format!("{dataset}@monday")]));
        for name in [dataset.clone(), format!("{dataset}@monday")] {
            lab.inventory.thing(Thing::Dataset { name, path: around.join("x/data") }).expect("named");
        }
        lab.inventory.thing(Thing::Pool { name: pool.0.clone(), path: around.join("x") }).expect("named");
        fs::write(around.join("x/data/file"), "somebody's").expect("written");
        for mark in [None, Some("another-run")] {
            let says = match mark {
                None => "is not set on it".to_owned(),
                Some(run_of) => {
                    run(Command::new("zfs").args(["set", &format!("{}={run_of}", zfs::RUN), &pool.0]));
                    format!("names the run {run_of}")
                }
            };
            let undone = clean::undo_own(&lab.inventory);
            let said = undone.errors.join("\n");
            for name in [&pool.0, &dataset, &format!("{dataset}@monday")] {
                assert!(said.contains(&format!("{name} was not touched: its property ")), "{said}");
            }
            // The dataset inherits the mark, which says nothing of it.
            assert!(said.contains(&says) && said.contains("is not set on it"), "{said}");
            assert!(said.contains(&format!("{} was not removed: something in it stays", around.display())), "{said}");
            assert!(around.join("x/data/file").exists());
        }
        // Nor is anything emptied that nobody has named.
        let refused = clean::remove(&around, &fs::canonicalize(lab.dir.path()).expect("there"), lab.inventory.run());
        assert!(refused.expect_err("it would be emptied").contains("is mounted in it, at "));
        drop(pool);
    }
    if let Some(lab) = Lab::start(Format::Btrfs, 512).await {
        let copied = copy(&lab, SnapshotDriver::Btrfs, "one").await;
        let mark = copied.place().root().with_file_name(MARK);
        for other in [Some("r2"), None] {
            match other {
                Some(other) => fs::write(&mark, other).expect("written"),
                None => fs::remove_file(&mark).expect("removed"),
            }
            let refused = copied.destroy().await.expect_err("it is not ours").to_string();
            assert!(refused.contains("was not touched"), "{refused}");
            let place = mark.parent().expect("it lies in a directory");
            let removed = clean::remove(place, lab.disk.path(), lab.inventory.run());
            assert!(removed.is_err() && copied.data().join("file").exists());
        }
        fs::write(&mark, lab.inventory.run()).expect("written");
        copied.destroy().await.expect("destroyed");
    }
}

#[tokio::test]
async fn a_name_is_used_once() {
    let Some(lab) = Lab::start(Format::Zfs, 512).await else { return };
    let first = copy(&lab, SnapshotDriver::Zfs, "one").await;
    let place = lab.place();
    let taken = origin(&lab, SnapshotDriver::Zfs).await.clone_to("one", &place).await.expect_err("it is taken");
    assert!(taken.to_string().starts_with("ZFS has a "), "{taken}");
    assert_empty(&place);
    assert!(first.data().join("file").exists(), "the first one was removed for the second");
    first.destroy().await.expect("destroyed");
}

#[tokio::test]
async fn a_copy_in_use_is_destroyed_when_it_is_free() {
    let Some(lab) = Lab::start(Format::Zfs, 512).await else { return };
    let copied = copy(&lab, SnapshotDriver::Zfs, "one").await;
    let user = |seconds: &str| {
        Guard(Command::new("sleep").arg(seconds).current_dir(copied.data()).spawn().expect("sleep starts"))
    };
    let forever = user("600");
    let busy = copied.destroy().await.expect_err("it is in use").to_string();
    assert!(busy.contains("is still in use after ") && busy.contains("busy"), "{busy}");
    assert!(copied.data().join("file").exists());
    drop(forever);
    let _soon = user("1");
    copied.destroy().await.expect("destroyed as soon as nobody uses it");
    assert_eq!(lab.datasets().len(), 2, "{:?}", lab.datasets());
}

/// Whoever makes snapshots of every dataset keeps no copy from being destroyed; whoever puts a dataset below one does.
#[tokio::test]
async fn what_others_make_of_a_copy() {
    let Some(lab) = Lab::start(Format::Zfs, 512).await else { return };
    let copied = copy(&lab, SnapshotDriver::Zfs, "one").await;
    let clone = lab.datasets().into_iter().find(|name| name.ends_with("-one") && !name.contains('@')).expect("a clone");
    run(Command::new("zfs").args(["create", &format!("{clone}/theirs")]));
    run(Command::new("zfs").args(["snapshot", "-r", &format!("{clone}@hourly")]));
    let refused = copied.destroy().await.expect_err("it holds somebody's dataset").to_string();
    assert!(refused.contains("has children"), "{refused}");
    // It is busy for a moment, as all of them are.
    let limit = Instant::now() + Duration::from_secs(10);
    let mut destroy = Command::new("zfs");
    destroy.args(["destroy", "-r", &format!("{clone}/theirs")]);
    while !destroy.output().expect("zfs runs").status.success() {
        assert!(Instant::now() < limit, "{clone}/theirs cannot be destroyed");
        std::thread::sleep(Duration::from_millis(50));
    }
    copied.destroy().await.expect("destroyed with its snapshots");
    assert_eq!(lab.datasets().len(), 2, "{:?}", lab.datasets());
}

#[tokio::test]
async fn a_copy_is_full_before_its_origin_is() {
    let Some(lab) = Lab::start(Format::Zfs, 512).await else { return };
    fs::write(lab.data.join("large"), vec![7; 32 << 20]).expect("written");
    let origin = origin(&lab, SnapshotDriver::Zfs).await.limited_to(16 << 20).expect("it can");
    let copied = origin.clone_to("one", &lab.place()).await.expect("copied").0;
    let mut more = fs::File::create(copied.data().join("more")).expect("made");
    let mut written = 0;
    let error = loop {
        match more.write_all(&[7; 1 << 20]).and_then(|()| more.sync_all()) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::QuotaExceeded, "{error}");
    assert!((8..=17).contains(&written), "{written} MB, and not those that it shares");
    drop(more);
    fs::write(lab.data.join("other"), vec![7; 64 << 20]).expect("the origin has all the room there is");
    copied.destroy().await.expect("destroyed");
    let unlimited = Origin::open(SnapshotDriver::Copy, &lab.data, &lab.inventory).await.expect("an origin");
    let refused = unlimited.limited_to(1).expect_err("it cannot").to_string();
    assert!(refused.contains("it cannot limit what a copy has of its own"), "{refused}");
}

#[tokio::test]
async fn a_full_file_system_is_said_and_nothing_is_left() {
    for (format, drivers) in ABLE {
        let Some(lab) = Lab::start(format, 512).await else { continue };
        fs::write(lab.data.join("large"), vec![7; 8 << 20]).expect("written");
        fs::write(lab.data.join("small"), "x").expect("written");
        let (driver, place) = (drivers[drivers.len() - 1], lab.place());
        let ballast = lab.disk.fill(0).await.expect("filled");
        let error = origin(&lab, driver).await.clone_to("one", &place).await.expect_err("there is no room");
        assert!(matches!(error, SnapshotError::Full { .. }), "{format} {driver}: {error:?}");
        assert!(error.to_string().contains("hint: remove other copies"), "{error}");
        assert_empty(&place);
        if format == Format::Zfs {
            let error = origin(&lab, SnapshotDriver::Zfs).await.clone_to("one", &place).await.expect_err("no room");
            assert!(error.to_string().contains("out of space"), "{error}");
            assert_empty(&place);
            assert_eq!(lab.datasets().len(), 2, "{:?}", lab.datasets());
        }
        ballast.release().await.expect("released");
        assert_eq!(fs::metadata(lab.data.join("large")).expect("there").len(), 8 << 20);
    }
}

#[tokio::test]
async fn what_cannot_be_copied_says_why() {
    if let Some(lab) = Lab::start(Format::Btrfs, 512).await {
        run(Command::new("btrfs").args(["subvolume", "create"]).arg(lab.data.join("nested")));
        let open = async |driver| Origin::open(driver, &lab.data, &lab.inventory).await;
        let error = open(SnapshotDriver::Btrfs).await.expect_err("it would be empty").to_string();
        assert!(error.contains("nested is a subvolume of its own and would be empty"), "{error}");
        let (origin, choice) = choose(&lab.data, &lab.inventory).await.expect("chosen");
        assert_eq!(origin.driver(), SnapshotDriver::Reflink);
        assert!(choice.why.contains("not `btrfs`: "), "{}", choice.why);
        let copied = origin.clone_to("one", &lab.place()).await.expect("file by file it can be").0;
        assert!(copied.data().join("nested").exists());
        let (_, elsewhere) = lab.inventory.directory(&lab.dir.path().join("x"), lab.dir.path(), None).expect("made");
        let error = origin.clone_to("two", &elsewhere).await.expect_err("another file system").to_string();
        assert!(error.contains("copies within one file system") && error.contains("hint: put it below "), "{error}");
        assert!(!origin.is_beside(&elsewhere).expect("asked") && origin.is_beside(&lab.clones).expect("asked"));
        let error = open(SnapshotDriver::Zfs).await.expect_err("no ZFS").to_string();
        assert!(error.contains("it is on btrfs"), "{error}");

        run(Command::new("mount").args(["-t", "tmpfs", "x"]).arg(lab.data.join("nested")));
        let error = open(SnapshotDriver::Reflink).await.expect_err("a mount").to_string();
        run(Command::new("umount").arg(lab.data.join("nested")));
        assert!(error.contains("another file system is mounted in it, at "), "{error}");
    }
    if let Some(lab) = Lab::start(Format::Ext4, 128).await {
        let error = Origin::open(SnapshotDriver::Reflink, &lab.data, &lab.inventory).await.expect_err("no reflink");
        assert!(error.to_string().contains("ext4 does not let files share blocks here"), "{error}");
    }
}

#[tokio::test]
async fn auto_takes_the_best_of_a_file_system() {
    for (format, drivers) in ABLE {
        let Some(lab) = Lab::start(format, 512).await else { continue };
        let (origin, choice) = choose(&lab.data, &lab.inventory).await.expect("chosen");
        println!("{}: {}", choice.file_system, choice.why);
        assert_eq!((origin.driver(), choice.driver), (drivers[0], drivers[0]));
        assert!(choice.file_system.ends_with(format.name()), "{}", choice.file_system);
        let home = origin.home().expect("a home");
        assert_eq!((home, format == Format::Zfs || origin.is_beside(home).expect("asked")), (lab.disk.path(), true));
    }
}

/// The data directory need not be the root of its subvolume or dataset; without copy-on-write (`chattr +C`) it can be
/// cloned all the same; and links are told of.
#[tokio::test]
async fn directories_that_lie_deeper() {
    for (format, drivers) in ABLE {
        let Some(lab) = Lab::start(format, 512).await else { continue };
        let deeper = lab.data.join("15/main");
        fs::create_dir_all(deeper.join("pg_tblspc")).expect("made");
        if format == Format::Btrfs {
            run(Command::new("chattr").arg("+C").arg(&deeper));
        }
        fs::write(deeper.join("file"), vec![7; 100_000]).expect("written");
        symlink("/elsewhere", deeper.join("pg_tblspc/1")).expect("linked");
        for &driver in drivers {
            let origin = Origin::open(driver, &deeper, &lab.inventory).await.expect("an origin");
            let (copied, _) = origin.clone_to(driver.name(), &lab.place()).await.expect("copied");
            assert_eq!(fs::read(copied.data().join("file")).expect("read"), vec![7; 100_000]);
            assert_eq!(copied.symlinks(), origin.symlinks().expect("read"));
            assert!(copied.symlinks()[0].leaves());
            copied.destroy().await.expect("destroyed");
        }
    }
}

/// How many of `count` snapshots, taken while files are written one after the other, have a later write without an
/// earlier one.
async fn out_of_order(lab: &Lab, driver: SnapshotDriver, flush: bool, count: u32) -> u32 {
    const FILES: usize = 8;
    const BLOCKS: u64 = 64;
    const BLOCK: usize = 8192;
    let path = |dir: &Path, number: usize| dir.join(number.to_string());
    let files: Vec<_> = (0..FILES).map(|file| fs::File::create(path(&lab.data, file)).expect("made")).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let writer = std::thread::spawn(move || {
        let mut number = 0u64;
        while !stopped.load(Ordering::Relaxed) {
            number += 1;
            let block = number.to_le_bytes().repeat(BLOCK / 8);
            for file in &files {
                file.write_all_at(&block, number % BLOCKS * BLOCK as u64).expect("written");
                if flush {
                    file.sync_data().expect("flushed");
                }
            }
        }
    });
    let origin = origin(lab, driver).await;
    let mut wrong = 0;
    for number in 0..count {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let name = format!("{flush}-{number}");
        let (copied, _) = origin.clone_to(&name, &lab.place()).await.expect("copied");
        let last = |file| {
            let bytes = fs::read(path(copied.data(), file)).expect("read");
            let (numbers, _) = bytes.as_chunks::<8>();
            numbers.iter().copied().map(u64::from_le_bytes).max().unwrap_or_default()
        };
        let last: Vec<u64> = (0..FILES).map(last).collect();
        wrong += u32::from(!last.is_sorted_by(|earlier, later| earlier >= later));
        copied.destroy().await.expect("destroyed");
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer ends");
    wrong
}

/// Why a server with `fsync` off must not be cloned by btrfs as it runs: what was written later can be there without what
/// was written earlier, as it is after a power cut. What was flushed in between is in order; ZFS keeps all order.
#[tokio::test]
async fn write_order_is_kept_as_the_drivers_say() {
    const COUNT: u32 = 15;
    for (format, driver) in [(Format::Btrfs, SnapshotDriver::Btrfs), (Format::Zfs, SnapshotDriver::Zfs)] {
        let Some(lab) = Lab::start(format, 2048).await else { continue };
        let flushed = out_of_order(&lab, driver, true, COUNT).await;
        let unflushed = out_of_order(&lab, driver, false, COUNT).await;
        println!("{driver}: of {COUNT} snapshots {flushed} out of order with fdatasync, {unflushed} without");
        assert_eq!(flushed, 0, "{driver}");
        if driver.capabilities().keeps_write_order {
            assert_eq!(unflushed, 0, "{driver}");
        }
    }
}
