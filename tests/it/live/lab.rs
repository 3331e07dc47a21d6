//! A cluster of a test's own, on processes or in containers, of which nothing is left when it is dropped.

use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::clean;
use pgbench_rs::cluster::Cluster;
use pgbench_rs::cluster::node::NodeSpec;
use pgbench_rs::cluster::template::Template;
use pgbench_rs::cluster::ways::WaysSpec;
use pgbench_rs::driver::docker::{Dock, Docker, Engine};
use pgbench_rs::driver::{self, Make, Setup, Workplace};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::programs::{Installed, Programs};
use pgbench_rs::probe::ledger;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_postgres::Client;

/// Longest that a test waits for what must come.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How containers come to be here.
pub const HOW: &str = "start a Docker engine, and make the images with .ci/images";

/// What servers are made with.
#[derive(Clone, Debug)]
pub enum Offer {
    /// Programs of this machine.
    Programs(Programs),
    /// The image of this name.
    Image(String),
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offer::Programs(programs) => write!(f, "PostgreSQL {} as processes", programs.version),
            Offer::Image(reference) => write!(f, "image {reference}"),
        }
    }
}

/// The image of this version, where there is an engine and it has it: as `PGBENCH_RS_TEST_IMAGE` says, where `{version}`
/// stands for the version.
pub async fn image(version: u32) -> Option<Offer> {
    if let Err(error) = Engine::connect(None).await {
        println!("{error}");
        return None;
    }
    let pattern = std::env::var("PGBENCH_RS_TEST_IMAGE").unwrap_or_else(|_| "pgbench-rs/postgres:{version}".to_owned());
    let reference = pattern.replace("{version}", &version.to_string());
    let there = Command::new("docker").args(["image", "inspect", &reference]).output();
    there.is_ok_and(|output| output.status.success()).then_some(Offer::Image(reference))
}

/// A running cluster, and all that it stands on.
pub struct Lab {
    pub cluster: Arc<Cluster>,
    pub run: String,
    inventory: Arc<Inventory>,
    _root: tempfile::TempDir,
}

impl Lab {
    /// The cluster of `nodes`, from a template with the ledger's table.
    pub async fn start(offer: &Offer, nodes: impl FnOnce(&Make) -> Vec<NodeSpec>) -> Lab {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
        fs::create_dir_all(root.path().join("results")).expect("a directory");
        let run = format!("lab-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let index = Index::at(root.path().join("state"));
        let inventory = Inventory::create(&index, &root.path().join("results/inventory.jsonl"), &run);
        let inventory = inventory.expect("an inventory");
        let setup = Setup {
            run: run.clone(),
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
        let fill = |client: Client| async move { Ok(ledger::prepare(&client).await?) };
        let template = Template::build(&place, "t", &make, fill).await.unwrap_or_else(|error| panic!("{error}"));
        let cluster = Cluster::up(&place, "trial-1", &[&template], &nodes(&make), &WaysSpec::default()).await;
        let cluster = Arc::new(cluster.unwrap_or_else(|error| panic!("{error}")));
        Lab { cluster, run, inventory, _root: root }
    }

    pub async fn connect(&self, node: &str) -> Client {
        let host = &self.cluster.node(node).expect("a node").host;
        connect(host, &self.cluster.login("test"), LIMIT).await.expect("a connection")
    }

    /// Takes it down, and holds that everything could be removed.
    pub async fn end(self) {
        self.cluster.down().await.expect("down");
        let undone = clean::undo_own(&self.inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
    }
}

/// A test that fails leaves nothing either.
impl Drop for Lab {
    fn drop(&mut self) {
        clean::undo_own(&self.inventory);
    }
}

/// A node called `name` with nothing special about it.
pub fn node(make: &Make, name: &str, follows: Option<&str>, settings: &[(&str, &str)]) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        primary: follows.is_none(),
        follows: follows.map(str::to_owned),
        site: None,
        slot: true,
        priority: 100,
        settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        dir: None,
        make: make.clone(),
        limits: Default::default(),
        disk: None,
    }
}
