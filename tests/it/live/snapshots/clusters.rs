//! Clusters whose nodes have disks of their own that can be cloned, or stand on somebody's: as processes and in containers.

use super::super::docker::image_here;
use super::super::fixture::{self, not_run};
use super::lab::Lab;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::{Inventory, Thing};
use pgbench_rs::base::mounts::Mounts;
use pgbench_rs::base::units::Size;
use pgbench_rs::base::zfs;
use pgbench_rs::clean;
use pgbench_rs::cluster::node::NodeSpec;
use pgbench_rs::cluster::template::Template;
use pgbench_rs::cluster::ways::WaysSpec;
use pgbench_rs::cluster::{BuildError, Cluster};
use pgbench_rs::disk::{Format, OwnDisk};
use pgbench_rs::driver::docker::{Dock, Docker, Engine};
use pgbench_rs::driver::{self, Make, Setup, Workplace};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::programs::Installed;
use pgbench_rs::snapshot::SnapshotDriver;
use pgbench_rs::snapshot::choose::choose;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A run with a template.
struct Stage {
    place: Arc<Workplace>,
    inventory: Arc<Inventory>,
    make: Make,
    template: Template,
    _root: tempfile::TempDir,
}

impl Stage {
    /// Absent, and said so, where it cannot be.
    async fn start(containers: bool) -> Option<Stage> {
        let what = format!("live::snapshots::clusters ({})", if containers { "containers" } else { "processes" });
        if !nix::unistd::geteuid().is_root() {
            not_run(&what, "run the tests as root");
            return None;
        }
        let image = match containers {
            false => None,
            true => match Engine::connect(None).await {
                Ok(engine) => image_here(&engine).await,
                Err(_) => None,
            },
        };
        if containers && image.is_none() {
            not_run(&what, "start a Docker engine, and make the images with .ci/images");
            return None;
        }
        let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
        fs::create_dir_all(root.path().join("results")).expect("made");
        let run = format!("disks-{}-{containers}", std::process::id());
        let index = Index::at(root.path().join("state"));
        let inventory = Inventory::create(&index, &root.path().join("results/inventory.jsonl"), &run).expect("made");
        let setup = Setup {
            run,
            installed: Installed::find(&[]).expect("PostgreSQL"),
            user: driver::server_user(None, false).expect("a user for servers"),
            inventory: inventory.clone(),
            work: root.path().join("work"),
            logs: root.path().join("results/nodes"),
            start_limit: LIMIT,
            keep: false,
        };
        let place = Workplace::open(setup).await.expect("a work directory");
        let make = match image {
            None => fixture::make(None),
            Some(reference) => {
                let dock = Dock::open(&place, &Docker::default()).await.unwrap_or_else(|error| panic!("{error}"));
                let image = dock.image(&reference, |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
                Make::Docker { dock, image: Arc::new(image) }
            }
        };
        let fill = |client: tokio_postgres::Client| async move {
            client.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await?;
            Ok(())
        };
        let template = Template::build(&place, "t", &make, fill).await.unwrap_or_else(|error| panic!("{error}"));
        Some(Stage { place, inventory, make, template, _root: root })
    }

    async fn up(&self, trial: &str, disk: Option<OwnDisk>, dir: Option<PathBuf>) -> Cluster {
        self.try_up(trial, &self.template, disk, dir).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_up(
        &self,
        trial: &str,
        template: &Template,
        disk: Option<OwnDisk>,
        dir: Option<PathBuf>,
    ) -> Result<Cluster, BuildError> {
        let spec = |name: &str, follows: Option<&str>| NodeSpec {
            name: name.to_owned(),
            primary: follows.is_none(),
            follows: follows.map(str::to_owned),
            site: None,
            slot: false,
            priority: 100,
            settings: [("shared_buffers", "16MB"), ("max_wal_size", "64MB")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            dir: dir.clone(),
            make: self.make.clone(),
            limits: Default::default(),
            disk,
        };
        let nodes = [spec("a", None), spec("s", Some("a"))];
        Cluster::up(&self.place, trial, &[template], &nodes, &WaysSpec::default()).await
    }

    fn assert_nothing_is_left(&self) {
        let mounts = Mounts::read().expect("read");
        for entry in self.inventory.contents().entries {
            match &entry.thing {
                Thing::Mount { path } => assert!(mounts.at(path).is_none(), "{} is left", entry.thing),
                Thing::Pool { name, .. } | Thing::Dataset { name, .. } => {
                    assert_eq!(zfs::owner(name).expect("asked"), zfs::Owner::Absent, "{} is left", entry.thing);
                }
                Thing::Directory { path, .. } if path.starts_with(self.place.dir()) && path != self.place.dir() => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    assert!(name.starts_with("template-") || !path.exists(), "{} is left", entry.thing);
                }
                _ => {}
            }
        }
    }
}

/// A test that fails leaves nothing either.
impl Drop for Stage {
    fn drop(&mut self) {
        clean::undo_own(&self.inventory);
    }
}

/// What a directory is, by the best that can be done with it.
async fn best(cluster: &Cluster, inventory: &Arc<Inventory>) -> SnapshotDriver {
    let data = &cluster.node("a").expect("a node").dir;
    choose(data, inventory).await.expect("chosen").1.driver
}

/// What it was made as.
fn assert_made(data: &Path, format: Format) {
    let mounts = Mounts::read().expect("read");
    match format {
        Format::Btrfs => assert_eq!(data.metadata().expect("there").ino(), 256, "it is no subvolume"),
        Format::Zfs => assert!(mounts.at(data).is_some_and(|mount| mount.kind.ends_with("zfs")), "it is no dataset"),
        Format::Xfs | Format::Ext4 => assert!(mounts.at(data).is_none() && mounts.over(data).is_some()),
    }
}

async fn rows(cluster: &Cluster, node: &str) -> i64 {
    let node = cluster.node(node).expect("a node");
    let client = connect(&node.host, &cluster.login("test"), LIMIT).await.expect("connects");
    client.query_one("SELECT count(*) FROM t", &[]).await.expect("it answers").get(0)
}

const BEST: [(Format, SnapshotDriver); 4] = [
    (Format::Btrfs, SnapshotDriver::Btrfs),
    (Format::Zfs, SnapshotDriver::Zfs),
    (Format::Xfs, SnapshotDriver::Reflink),
    (Format::Ext4, SnapshotDriver::Copy),
];

async fn nodes_on_disks(containers: bool) {
    let Some(stage) = Stage::start(containers).await else { return };
    for (format, driver) in BEST {
        if let (Format::Zfs, Err(why)) = (format, zfs::answers()) {
            not_run("live::snapshots::clusters on zfs", &why.to_string().replace('\n', "; "));
            continue;
        }
        let disk = OwnDisk { size: Size(512 << 20), format };
        let cluster = stage.up(format.name(), Some(disk), None).await;
        for node in &cluster.nodes {
            assert_made(&node.dir, format);
        }
        assert_eq!(best(&cluster, &stage.inventory).await, driver);
        assert_eq!((rows(&cluster, "a").await, rows(&cluster, "s").await), (1, 1));
        cluster.down().await.unwrap_or_else(|error| panic!("{format}: {error}"));
        stage.assert_nothing_is_left();
    }
    // As after a kill -9: nothing is taken down, and all is in the inventory.
    for (format, _) in BEST {
        if format == Format::Zfs && zfs::answers().is_err() {
            continue;
        }
        let disk = OwnDisk { size: Size(512 << 20), format };
        drop(stage.up(&format!("{format}-2"), Some(disk), None).await);
    }
    let undone = clean::undo_own(&stage.inventory);
    assert!(undone.errors.is_empty(), "{:?}", undone.errors);
    stage.assert_nothing_is_left();
    assert!(!stage.place.dir().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_on_disks_of_their_own() {
    nodes_on_disks(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_on_disks_of_their_own() {
    nodes_on_disks(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_on_its_disk_leaves_nothing() {
    let Some(stage) = Stage::start(false).await else { return };
    let fill = |client: tokio_postgres::Client| async move {
        client.batch_execute("CREATE TABLE t AS SELECT n, repeat('x', 1800) FROM generate_series(1, 80000) n").await?;
        Ok(())
    };
    let large =
        Template::build(&stage.place, "large", &stage.make, fill).await.unwrap_or_else(|error| panic!("{error}"));
    for format in [Format::Ext4, Format::Btrfs, Format::Zfs] {
        if let (Format::Zfs, Err(why)) = (format, zfs::answers()) {
            not_run("live::snapshots::clusters on zfs", &why.to_string().replace('\n', "; "));
            continue;
        }
        let disk = OwnDisk { size: format.least(), format };
        let error =
            stage.try_up(format.name(), &large, Some(disk), None).await.expect_err("it does not fit").to_string();
        assert!(error.contains("No space left on device") && !error.contains("and then"), "{format}: {error}");
        stage.assert_nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_on_somebodys_file_system() {
    for (format, driver) in [(Format::Btrfs, SnapshotDriver::Btrfs), (Format::Zfs, SnapshotDriver::Zfs)] {
        let (Some(theirs), Some(stage)) = (Lab::start(format, 1024).await, Stage::start(false).await) else { continue };
        let dir = theirs.clones.clone();
        let before = theirs.datasets();
        let cluster = stage.up("1", None, Some(dir.clone())).await;
        for node in &cluster.nodes {
            assert_made(&node.dir, format);
        }
        assert_eq!(best(&cluster, &stage.inventory).await, driver);
        cluster.down().await.unwrap_or_else(|error| panic!("{format}: {error}"));
        stage.assert_nothing_is_left();
        drop(stage.up("2", None, Some(dir.clone())).await);
        let undone = clean::undo_own(&stage.inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        assert_eq!(fs::read_dir(&dir).expect("there").count(), 1, "their mark, and nothing of the run");
        assert_eq!(theirs.datasets(), before);
    }
}
