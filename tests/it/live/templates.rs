//! Templates that are kept: made once, found by the next run, copied in the way of their file system, left by teardown.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

use super::fixture::{self, not_run};
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::{Inventory, MARK};
use pgbench_rs::clean;
use pgbench_rs::cluster::Cluster;
use pgbench_rs::cluster::node::NodeSpec;
use pgbench_rs::cluster::template::Template;
use pgbench_rs::cluster::templates::{Found, Store, Wants};
use pgbench_rs::cluster::ways::WaysSpec;
use pgbench_rs::disk::Format;
use pgbench_rs::disk::mount::FileSystem;
use pgbench_rs::driver::{self, Setup, Workplace};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::programs::Installed;
use pgbench_rs::snapshot::SnapshotDriver;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::Client;

const LIMIT: Duration = Duration::from_secs(60);

/// A work directory, with an index of runs of its own.
struct Lab {
    work: PathBuf,
    root: tempfile::TempDir,
}

/// One run in it.
struct Run {
    place: Arc<Workplace>,
    inventory: Arc<Inventory>,
    store: Store,
}

impl Lab {
    fn new() -> Lab {
        let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let work = root.path().join("work");
        fs::create_dir(&work).unwrap();
        fs::set_permissions(&work, fs::Permissions::from_mode(0o711)).unwrap();
        Lab { work, root }
    }

    async fn run(&self, id: &str, work: &Path) -> Run {
        let results = self.root.path().join(id);
        fs::create_dir(&results).unwrap();
        let index = Index::at(self.root.path().join("state"));
        let inventory = Inventory::create(&index, &results.join("inventory.jsonl"), id).unwrap();
        let store = Store::in_work(&fs::canonicalize(work).unwrap()).unwrap();
        let setup = Setup {
            run: id.to_owned(),
            installed: Installed::find(&[]).expect("PostgreSQL"),
            user: driver::server_user(None, false).expect("a user for servers"),
            inventory: inventory.clone(),
            work: work.to_owned(),
            logs: results.join("nodes"),
            start_limit: LIMIT,
            keep: false,
        };
        let place = Workplace::open_with(setup, store.password().unwrap()).await.expect("a work directory");
        Run { place, inventory, store }
    }
}

impl Run {
    fn wants(&self) -> Wants {
        Wants::new(&fixture::make(None), self.place.uid(), vec![json!({ "t": 1000 })])
    }

    /// The template, and whether it was made.
    async fn template(&self) -> (Template, bool) {
        let made = AtomicBool::new(false);
        let fill = async |client: Client, _| {
            made.store(true, Ordering::Relaxed);
            client.batch_execute("CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)").await?;
            Ok(serde_json::Value::Null)
        };
        let wants = self.wants();
        let kept = Template::kept(&self.place, (&self.store, "t", &wants), &fixture::make(None), fill, |_| {}).await;
        (kept.unwrap_or_else(|error| panic!("{error}")), made.into_inner())
    }

    /// A primary and its standby from the template, which hold what it holds; by which driver they came.
    async fn up_and_down(&self, template: &Template) -> Vec<(SnapshotDriver, String)> {
        let spec = |name: &str, follows: Option<&str>| NodeSpec {
            name: name.to_owned(),
            primary: follows.is_none(),
            follows: follows.map(str::to_owned),
            site: None,
            slot: false,
            priority: 100,
            settings: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
            dir: None,
            make: fixture::make(None),
            limits: Default::default(),
            disk: None,
        };
        let nodes = [spec("a", None), spec("s", Some("a"))];
        let cluster = Cluster::up(&self.place, "1", &[template], &nodes, &WaysSpec::default()).await;
        let cluster = cluster.unwrap_or_else(|error| panic!("{error}"));
        for node in &cluster.nodes {
            let client = connect(&node.host, &cluster.login("test"), LIMIT).await.unwrap();
            let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
            assert_eq!(count, 1000, "{}", node.name);
        }
        let copies = cluster.copies.iter().map(|(_, copy)| (copy.driver, copy.why.clone())).collect();
        cluster.down().await.unwrap();
        copies
    }

    fn end(self) {
        let undone = clean::undo_own(&self.inventory);
        assert!(undone.errors.is_empty() && undone.killed == 0, "{undone:?}");
        assert!(!self.place.dir().exists());
    }
}

/// Two runs one after the other: the second finds what the first made. How nodes came by their data.
async fn two_runs(lab: &Lab, work: &Path) -> Vec<(SnapshotDriver, String)> {
    let first = lab.run("r1", work).await;
    let (template, made) = first.template().await;
    assert!(made);
    first.up_and_down(&template).await;
    let dir = template.held().expect("it is kept").dir.clone();
    template.remove(&first.place).await.unwrap();
    first.end();
    assert!(dir.join("data/PG_VERSION").exists(), "teardown leaves what is kept");
    assert_eq!(fs::read_to_string(dir.join(MARK)).unwrap(), "r1");

    let second = lab.run("r2", work).await;
    let (template, made) = second.template().await;
    assert!(!made, "it was loaded again");
    let copies = second.up_and_down(&template).await;
    let name = dir.file_name().unwrap().to_string_lossy().into_owned();
    assert!(second.store.remove(&name).is_err(), "it is in use");
    drop(template);
    second.store.remove(&name).unwrap();
    assert!(!dir.exists());
    second.end();
    copies
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_starts_from_the_same_bytes() {
    let lab = Lab::new();
    let best = pgbench_rs::snapshot::choose::look(&lab.work).unwrap();
    for (driver, why) in two_runs(&lab, &lab.work).await {
        assert_eq!(driver, best.driver, "{why}");
        assert!(driver != SnapshotDriver::Copy || why.starts_with("nothing on "), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_snapshots_where_the_file_system_has_them() {
    for (format, driver) in [(Format::Btrfs, SnapshotDriver::Btrfs), (Format::Xfs, SnapshotDriver::Reflink)] {
        if !nix::unistd::geteuid().is_root() {
            not_run("live::templates", "run the tests as root");
            return;
        }
        let lab = Lab::new();
        let index = Index::at(lab.root.path().join("state-of-disk"));
        let run = format!("disk-{}", std::process::id());
        let inventory = Inventory::create(&index, &lab.root.path().join("disk.jsonl"), &run).unwrap();
        let (_, home) = inventory.directory(&lab.root.path().join("disk"), lab.root.path(), None).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o711)).unwrap();
        let path = home.join("fs");
        fs::create_dir(&path).unwrap();
        let disk = match FileSystem::mount(&inventory, &path, 1 << 30, format).await {
            Ok(disk) => disk,
            Err(why) => {
                not_run(&format!("live::templates on {format}"), &why.to_string().replace('\n', "; "));
                continue;
            }
        };
        let work = disk.path().join("work");
        fs::create_dir(&work).unwrap();
        for dir in [disk.path(), &work] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).unwrap();
        }
        for (by, why) in two_runs(&lab, &work).await {
            assert_eq!(by, driver, "{why}");
        }
        disk.unmount().await.unwrap();
        let undone = clean::undo_own(&inventory);
        assert!(undone.errors.is_empty(), "{undone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_made_one_goes_with_its_run_and_is_never_used() {
    let lab = Lab::new();
    let broken = lab.run("r1", &lab.work).await;
    let fill = async |_: Client, _| Err("the source has an end of its own".into());
    let wants = broken.wants();
    let kept = Template::kept(&broken.place, (&broken.store, "t", &wants), &fixture::make(None), fill, |_| {}).await;
    assert!(kept.unwrap_err().to_string().contains("an end of its own"));
    let making = |store: &Store| {
        let entries = fs::read_dir(store.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().starts_with(".making-")).count()
    };
    assert_eq!(making(&broken.store), 1);
    // As if that harness were dead and nobody had cleaned up.
    let next = lab.run("r2", &lab.work).await;
    assert!(next.store.list().unwrap().is_empty());
    let found = next.store.find("t", &next.wants(), |_| {}).await.unwrap();
    assert!(matches!(found, Found::Missing(_)), "{found:?}");
    drop(found);
    let (template, made) = next.template().await;
    assert!(made && next.store.list().unwrap().len() == 1);
    drop(template);
    broken.end();
    assert_eq!((making(&next.store), next.store.list().unwrap().len()), (0, 1));
    next.end();
}
