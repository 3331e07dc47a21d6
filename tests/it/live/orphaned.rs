//! kill -9 of a harness that has a network, a disk and a control group of its own: `clean` removes them, and
//! touches nobody else's.

use super::fixture::not_run;
use super::net::{can, named};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbench_rs::base::child::{Child, Orphaned};
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::{Inventory, Thing};
use pgbench_rs::base::zfs;
use pgbench_rs::disk::Format;
use pgbench_rs::disk::cgroup::{Cgroup, Hierarchy};
use pgbench_rs::disk::mount::{FileSystem, is_mounted};
use pgbench_rs::disk::throttle::{Device, Limits, set};
use pgbench_rs::net::lan::Lan;
use pgbench_rs::snapshot;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names the directory in which this same program, started once more, plays the harness.
const STAGE: &str = "PGBENCH_RS_TEST_STAGE";
/// What it writes there when all is made.
const READY: &str = "ready";

/// The harness that will be killed. Does nothing unless it is told where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_harness() {
    let Some(stage) = std::env::var_os(STAGE).map(PathBuf::from) else { return };
    let index = Index::at(stage.join("state/pgbench-rs/runs"));
    let run = format!("r{}", std::process::id());
    let inventory = Inventory::create(&index, &stage.join("inventory.jsonl"), &run).expect("an inventory");
    let (_, work) = inventory.directory(&stage.join("work"), &stage, None).expect("a directory");
    let (_, node) = inventory.directory(&work.join("a"), &work, None).expect("a directory");
    let lan = Lan::create(&inventory, "r1").await.expect("a LAN");
    let a = lan.node("a").await.expect("a node");
    let disk = FileSystem::mount(&inventory, &node, 64 << 20, Format::Ext4).await.expect("a file system");
    for format in [Format::Btrfs, Format::Zfs] {
        match format.possible() {
            Ok(_) => clone_on(format, &inventory, &work).await,
            Err(why) => not_run(&format!("live::orphaned ({format})"), &why.to_string().replace('\n', "; ")),
        }
    }
    let mut command = Command::new("dd");
    command.args(["if=/dev/zero", "bs=1M", "count=32", "conv=fsync", "status=none"]).current_dir(&node);
    command.arg(format!("of={}", node.join("x").display())).stdin(Stdio::null());
    a.ns.enter(&mut command, None).expect("enters");
    if let Ok(device) = Hierarchy::find().and_then(|_| Device::of(disk.path())) {
        let group = Cgroup::create(&inventory, lan.tag()).expect("a group");
        set(&group, device, Limits { write: Some(64 << 10), read: None }).expect("slowed down");
        group.enter(&mut command).expect("enters");
    }
    // A server that waits for its slow disk, in its namespace: at this speed for minutes.
    let (entry, to, dir) = (inventory.next_id(), inventory.clone(), node.clone());
    let register = move |identity| to.process(entry, identity, "a", &dir);
    let server = Child::spawn(command, Orphaned::Lives, register, || {}).await.expect("it runs");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!server.is_reaped(), "the disk is not slow");
    fs::write(stage.join(READY), lan.tag()).expect("written");
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// A disk with a data directory and a clone of that, all of which is left.
async fn clone_on(format: Format, inventory: &Arc<Inventory>, work: &Path) {
    let (_, node) = inventory.directory(&work.join(format.name()), work, None).expect("a directory");
    let path = node.join("disk");
    fs::create_dir(&path).expect("a directory");
    let disk = FileSystem::mount(inventory, &path, format.least().0, format).await.expect("a file system");
    let data = disk.path().join("data");
    snapshot::directory(&data, inventory).await.expect("a data directory");
    let (origin, choice) = snapshot::choose::choose(&data, inventory).await.expect("a driver");
    assert_eq!(choice.driver.name(), format.name());
    let (_, place) = inventory.directory(&disk.path().join("clone"), &node, None).expect("a directory");
    origin.clone_to("one", &place).await.expect("a clone");
}

/// Others' things, which must survive, undone when dropped.
struct Bystanders {
    name: String,
    mount: PathBuf,
}

impl Bystanders {
    fn make(stage: &Path) -> Bystanders {
        let (name, mount) = (format!("pgbr-by{}", std::process::id()), stage.join("theirs"));
        fs::create_dir(&mount).expect("a directory");
        run("ip", &["netns", "add", &name]);
        run("ip", &["link", "add", &name, "type", "bridge"]);
        run("mount", &["-t", "tmpfs", "theirs", &mount.to_string_lossy()]);
        Bystanders { name, mount }
    }

    fn assert_there(&self) {
        assert_eq!(named(&self.name), [self.name.clone(), self.name.clone()]);
        assert!(is_mounted(&self.mount));
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        run("umount", &[&self.mount.to_string_lossy()]);
        run("ip", &["link", "delete", &self.name]);
        run("ip", &["netns", "delete", &self.name]);
    }
}

/// The harness, killed when dropped, with all that is left of it.
struct Harness<'a> {
    child: std::process::Child,
    stage: &'a Path,
}

impl Harness<'_> {
    fn start(stage: &Path) -> Harness<'_> {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["--exact", "live::orphaned::the_harness"]).env(STAGE, stage).stdout(Stdio::null());
        let mut child = command.spawn().expect("it runs");
        let began = Instant::now();
        while !stage.join(READY).exists() {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none() && began.elapsed() < Duration::from_secs(60), "the harness ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Harness { child, stage }
    }

    fn kill(&mut self) {
        if self.child.try_wait().expect("a child").is_none() {
            kill(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL).expect("it runs");
            self.child.wait().expect("a child");
        }
    }
}

impl Drop for Harness<'_> {
    fn drop(&mut self) {
        self.kill();
        clean(self.stage, &[]);
    }
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect("it runs");
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn clean(stage: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbench-rs"));
    let output = command.arg("clean").args(args).env("XDG_STATE_HOME", stage.join("state")).output().expect("runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What an inventory names of the system, in words.
fn of_system(things: &[Thing]) -> Vec<String> {
    let of_system = |thing: &&Thing| {
        thing.mounted().is_some()
            || matches!(thing, Thing::Namespace { .. } | Thing::Device { .. } | Thing::Cgroup { .. })
    };
    things.iter().filter(of_system).map(ToString::to_string).collect()
}

#[test]
fn clean_removes_networks_disks_and_groups_of_a_harness_that_was_killed() {
    if !can() {
        return;
    }
    let stage = tempfile::Builder::new().prefix("pgbench-rs-orphaned-").tempdir_in("/var/tmp").expect("a directory");
    let stage = (fs::canonicalize(stage.path()).expect("a directory"), stage);
    let bystanders = Bystanders::make(&stage.0);
    let mut harness = Harness::start(&stage.0);
    let tag = fs::read_to_string(stage.0.join(READY)).expect("the tag");
    let alive: Value = serde_json::from_str(&clean(&stage.0, &["--json"])).expect("JSON");
    assert_eq!(alive["runs"][0]["alive"], json!(true), "{alive}");
    harness.kill();

    let contents = pgbench_rs::base::inventory::Contents::read(&stage.0.join("inventory.jsonl")).expect("readable");
    let things: Vec<Thing> = contents.entries.iter().filter(|e| !e.gone).map(|e| e.thing.clone()).collect();
    let expected = of_system(&things);
    assert!(expected.len() >= 4 && named(&tag).len() == 3, "{expected:?}");
    let listed: Value = serde_json::from_str(&clean(&stage.0, &["--json", "--dry-run"])).expect("JSON");
    assert_eq!(listed["runs"][0]["others"], json!(expected));
    assert_eq!(listed["runs"][0]["processes"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(named(&tag).len(), 3, "a dry run removes nothing");

    let said = clean(&stage.0, &[]);
    println!("{said}");
    // Those on disks go with these.
    let on_a_disk =
        |path: &Path| things.iter().filter_map(Thing::mounted).any(|disk| path != disk && path.starts_with(disk));
    let directory = |thing: &&Thing| matches!(thing, Thing::Directory { path, .. } if !on_a_disk(path));
    let directories = things.iter().filter(directory).count();
    assert!(
        said.contains(&format!("killed 1 processes, removed {directories} directories, and {} mounts", expected.len())),
        "{said}"
    );
    assert_eq!(named(&tag), Vec::<String>::new());
    for thing in things {
        match thing {
            Thing::Mount { path } => assert!(!is_mounted(&path)),
            Thing::Pool { name, .. } | Thing::Dataset { name, .. } => {
                assert_eq!(zfs::owner(&name).expect("asked"), zfs::Owner::Absent, "{name}");
            }
            Thing::Cgroup { path } | Thing::Directory { path, .. } => assert!(!path.exists(), "{}", path.display()),
            _ => {}
        }
    }
    bystanders.assert_there();
    assert_eq!(clean(&stage.0, &[]), "nothing is left of any run\n");
}
