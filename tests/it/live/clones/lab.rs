//! A cluster to be cloned, under load, of which nothing is left when it is dropped.

use super::super::fixture;
use super::super::lab::{LIMIT, Offer};
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::clean;
use pgbench_rs::clone::worth::Watermark;
use pgbench_rs::clone::{Attempt, Caller, Order, Phase, Reach, Recipe, Source, ThinClone, create};
use pgbench_rs::cluster::Cluster;
use pgbench_rs::cluster::node::NodeSpec;
use pgbench_rs::cluster::template::Template;
use pgbench_rs::cluster::ways::WaysSpec;
use pgbench_rs::driver::docker::{Dock, Docker};
use pgbench_rs::driver::{self, Make, Setup, Workplace};
use pgbench_rs::etl;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::programs::Installed;
use pgbench_rs::pg::{Host, Login};
use pgbench_rs::snapshot::label::Label;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// A running cluster with pgbench's tables (scale 1) and the table `beats (n bigint)`.
pub struct Lab {
    pub place: Arc<Workplace>,
    pub cluster: Arc<Cluster>,
    pub make: Make,
    inventory: Arc<Inventory>,
    index: Index,
    _root: tempfile::TempDir,
}

impl Lab {
    /// The cluster of `nodes`, in the system's large temporary place.
    pub async fn start(nodes: impl FnOnce(&Make) -> Vec<NodeSpec>) -> Lab {
        Lab::start_in(Path::new("/var/tmp"), nodes).await
    }

    /// The same on another file system.
    pub async fn start_in(parent: &Path, nodes: impl FnOnce(&Make) -> Vec<NodeSpec>) -> Lab {
        let Make::Process(programs) = fixture::make(None) else { unreachable!("programs of this machine") };
        Lab::start_on(parent, &Offer::Programs(programs), nodes).await
    }

    /// The same with servers that are made otherwise.
    pub async fn start_on(parent: &Path, offer: &Offer, nodes: impl FnOnce(&Make) -> Vec<NodeSpec>) -> Lab {
        Lab::built(parent, offer, nodes).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, or why there is none: a machine may not let nodes have disks of their own.
    pub async fn try_start(nodes: impl FnOnce(&Make) -> Vec<NodeSpec>) -> Result<Lab, String> {
        let Make::Process(programs) = fixture::make(None) else { unreachable!("programs of this machine") };
        Lab::built(Path::new("/var/tmp"), &Offer::Programs(programs), nodes).await
    }

    async fn built(parent: &Path, offer: &Offer, nodes: impl FnOnce(&Make) -> Vec<NodeSpec>) -> Result<Lab, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in(parent).expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
        fs::create_dir_all(root.path().join("results")).expect("a directory");
        let run = format!("clones-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let index = Index::at(root.path().join("state"));
        let inventory = Inventory::create(&index, &root.path().join("results/inventory.jsonl"), &run);
        let inventory = inventory.expect("an inventory");
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
        let make = match offer {
            Offer::Programs(programs) => Make::Process(programs.clone()),
            Offer::Image(reference) => {
                let dock = Dock::open(&place, &Docker::default()).await.unwrap_or_else(|error| panic!("{error}"));
                let image = dock.image(reference, |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
                Make::Docker { dock, image: Arc::new(image) }
            }
        };
        let fill = |client: Client| async move {
            etl::pgbench::fill(&client, 1, |_, _| {}).await?;
            client.batch_execute("CREATE TABLE beats (n bigint PRIMARY KEY)").await?;
            Ok(())
        };
        let template = Template::build(&place, "t", &make, fill).await.unwrap_or_else(|error| panic!("{error}"));
        let cluster = Cluster::up(&place, "trial-1", &[&template], &nodes(&make), &WaysSpec::default()).await;
        let cluster = match cluster {
            Ok(cluster) => Arc::new(cluster),
            Err(error) => {
                clean::undo_own(&inventory);
                return Err(error.to_string());
            }
        };
        Ok(Lab { place, cluster, make, inventory, index, _root: root })
    }

    /// A node as what is cloned.
    pub fn source(&self, node: &str) -> Arc<Source> {
        let node = self.cluster.node(node).expect("a node");
        let source = Source::running(&node.name, &node.dir, node.host.clone(), self.cluster.login("test"));
        Arc::new(source.unwrap_or_else(|error| panic!("{error}")).ours(node.server().clone()))
    }

    pub fn order(&self, name: &str) -> Order {
        Order {
            name: name.to_owned(),
            within: self.place.dir().to_owned(),
            dir: format!("clone-{name}"),
            make: self.make.clone(),
            limits: Default::default(),
            log: None,
            reach: Reach::Login,
            port: None,
            dbname: None,
            label: Label { owner: "the tests".to_owned(), expires: None },
        }
    }

    /// An attempt to clone.
    pub async fn attempt(&self, source: &Arc<Source>, recipe: &Recipe, name: &str) -> Attempt {
        create(&self.place, source, recipe, self.order(name), Caller::default()).await
    }

    /// A clone, with the attempt's times on the output.
    pub async fn clone(&self, source: &Arc<Source>, recipe: &Recipe, name: &str) -> ThinClone {
        let attempt = self.attempt(source, recipe, name).await;
        println!("{}", told(&attempt));
        attempt.outcome.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn connect(&self, node: &str) -> Client {
        let host = &self.cluster.node(node).expect("a node").host;
        connect(host, &self.cluster.login("test"), LIMIT).await.expect("a connection")
    }

    /// pgbench's own transaction, from four clients, as fast as it goes.
    pub fn load(&self, node: &str) -> Load {
        self.load_on(&self.cluster.node(node).expect("a node").host, &self.cluster.login("pgbench"))
    }

    /// The same on any server.
    pub fn load_on(&self, host: &Host, login: &Login) -> Load {
        let mut command = Command::new(fixture::program_path("pgbench"));
        command.args(["-n", "-c", "4", "-T", "600", "-h", &host.host, "-p", &host.port.to_string()]);
        command.args(["-U", &login.user, &login.dbname]).env("PGPASSWORD", login.password.expose());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("pgbench runs");
        Load { child }
    }

    /// Rows with ever higher numbers, one after the other.
    pub async fn beats(&self, node: &str) -> Beats {
        let client = self.connect(node).await;
        let task = tokio::spawn(async move {
            for n in 1i64.. {
                if client.execute("INSERT INTO beats VALUES ($1)", &[&n]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Beats { task }
    }

    /// What of the run is named in its inventory and not gone: directories and processes.
    pub fn left(&self) -> Vec<String> {
        let there = |entry: &pgbench_rs::base::inventory::Entry| !entry.gone;
        self.inventory
            .contents()
            .entries
            .iter()
            .filter(|entry| there(entry))
            .map(|entry| entry.thing.to_string())
            .collect()
    }

    /// What container engines have of the run, in words.
    pub fn labelled(&self) -> Vec<String> {
        let labelled = clean::remains(&self.inventory.contents()).labelled;
        labelled.iter().map(|remaining| remaining.what.to_string()).collect()
    }

    /// Takes it down, and holds that everything could be removed.
    pub async fn end(self) {
        self.cluster.down().await.expect("down");
        let undone = clean::undo_own(&self.inventory);
        assert!(undone.errors.is_empty() && undone.killed == 0, "{undone:?}");
        assert!(clean::runs(&self.index).expect("the index").is_empty());
    }
}

/// A test that fails leaves nothing either.
impl Drop for Lab {
    fn drop(&mut self) {
        clean::undo_own(&self.inventory);
    }
}

/// A load, ended when dropped.
pub struct Load {
    child: Child,
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A writer, ended when dropped.
pub struct Beats {
    task: JoinHandle<()>,
}

impl Beats {
    pub fn watermark() -> Watermark {
        Watermark { table: "beats".to_owned(), number: "n".to_owned(), of: None }
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An attempt in one line.
pub fn told(attempt: &Attempt) -> String {
    let phase = |(phase, took): (Phase, Duration)| format!("{phase} {:.1}", took.as_secs_f64() * 1e3);
    let phases: Vec<String> = attempt.spans.iter().map(|span| phase((span.phase, span.took))).collect();
    let facts = &attempt.facts;
    let protocol = facts.protocol.map_or_else(|| "-".to_owned(), |protocol| protocol.to_string());
    let ready = attempt.ready().map_or_else(|| "-".to_owned(), |ready| format!("{:.1}", ready.as_secs_f64() * 1e3));
    let replayed = facts.replayed.map_or_else(|| "-".to_owned(), |bytes| format!("{} kB", bytes / 1024));
    format!(
        "{}: {} by {} under {protocol}, {replayed} replayed, ready after {ready} ms: {}",
        attempt.name,
        facts.mode,
        facts.method,
        phases.join(", ")
    )
}

/// A file system of a test's own in a file, unmounted and gone when dropped.
pub struct Disk {
    pub path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Disk {
    /// Of this kind (`xfs`, `btrfs`) and as many megabytes; none where this machine does not let us, which is said.
    pub fn make(kind: &str, megabytes: u64) -> Option<Disk> {
        let not_run = |how: &str| {
            fixture::not_run(&format!("live::clones (on {kind})"), how);
            None
        };
        if !nix::unistd::geteuid().is_root() {
            return not_run("run the tests as root");
        }
        let dir = tempfile::Builder::new().prefix("pgbench-rs-disk-").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
        let (image, path) = (dir.path().join("image"), dir.path().join("mounted"));
        fs::File::create(&image).and_then(|file| file.set_len(megabytes << 20)).expect("an image");
        fs::create_dir(&path).expect("a directory");
        let did = |program: &str, args: &[&str]| {
            Command::new(program)
                .args(args)
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .output()
                .is_ok_and(|o| o.status.success())
        };
        let (image, at) = (image.display().to_string(), path.display().to_string());
        let made = match kind {
            "xfs" => did("mkfs.xfs", &["-q", "-m", "reflink=1", &image]),
            _ => did("mkfs.btrfs", &["-q", &image]),
        };
        if !made {
            return not_run("apt-get install -y xfsprogs btrfs-progs");
        }
        if !did("mount", &["-o", "loop", &image, &at]) {
            return not_run("a kernel that has this file system, and loop devices");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).expect("chmod");
        Some(Disk { path, _dir: dir })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still uses it has been told to end; the mount goes with its last user.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}
