//! Servers in containers of a real engine: their life and death, what they may use, and what is left of them.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

mod errors;
mod labels;
mod life;
mod registry;

use super::fixture::not_run;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::clean;
use pgbench_rs::driver::docker::{ContainerServer, Dock, Docker, Engine, Image, Limits};
use pgbench_rs::driver::{self, Setup, Workplace};
use pgbench_rs::pg::conf;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::programs::Installed;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const HOW: &str = "start a Docker engine, and make the images with .ci/images";

/// A run of its own with servers in containers, of which nothing is left when it is dropped.
struct Lab {
    root: tempfile::TempDir,
    run: String,
    index: Index,
    inventory: Arc<Inventory>,
    place: Arc<Workplace>,
    dock: Arc<Dock>,
    image: Image,
}

/// An image that is here: of the newest version that was built, or as `PGBENCH_RS_TEST_IMAGE` says, where
/// `{version}` stands for the version.
pub async fn image_here(engine: &Engine) -> Option<String> {
    let found = ["17", "15", "18"].into_iter().find_map(image_of);
    if found.is_none() {
        println!("no image on the engine at {}", engine.name());
    }
    found
}

/// The image of a version, if the engine has it.
pub fn image_of(version: &str) -> Option<String> {
    let pattern = std::env::var("PGBENCH_RS_TEST_IMAGE").unwrap_or_else(|_| "pgbench-rs/postgres:{version}".to_owned());
    let reference = pattern.replace("{version}", version);
    let listed = Command::new("docker").args(["image", "inspect", &reference]).output();
    listed.is_ok_and(|output| output.status.success()).then_some(reference)
}

impl Lab {
    /// Absent, and said so, where there is no engine or no image.
    async fn open(what: &str, settings: Docker) -> Option<Lab> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let reference = match Engine::connect(None).await {
            Ok(engine) => image_here(&engine).await,
            Err(error) => {
                println!("{error}");
                None
            }
        };
        let Some(reference) = reference else {
            not_run(what, HOW);
            return None;
        };
        let root = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let run = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let index = Index::at(root.path().join("state"));
        fs::create_dir_all(root.path().join("results")).unwrap();
        let inventory = Inventory::create(&index, &root.path().join("results/inventory.jsonl"), &run).unwrap();
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
        let dock = Dock::open(&place, &settings).await.unwrap_or_else(|error| panic!("{error}"));
        let image = dock.image(&reference, |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
        Some(Lab { root, run, index, inventory, place, dock, image })
    }

    /// A node with a cluster of its own that `initdb` has made, not started yet.
    async fn node(&self, name: &str, limits: Limits, settings: &[(&str, &str)]) -> ContainerServer {
        let (dir, data) = self.directory(name);
        let pwfile = dir.join("pwfile");
        fs::write(&pwfile, self.place.login("").password.expose()).unwrap();
        self.own(&pwfile);
        self.dock.initdb(&self.image, &pwfile, &data).await.unwrap_or_else(|error| panic!("{error}"));
        fs::remove_file(&pwfile).unwrap();
        let server = self.server(name, limits, data);
        self.configure(&server, settings);
        server
    }

    fn directory(&self, name: &str) -> (PathBuf, PathBuf) {
        let (_, dir) =
            self.inventory.directory(&self.place.dir().join(name), self.place.dir(), Some("postgres")).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).unwrap();
        let data = dir.join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        self.own(&data);
        (dir, data)
    }

    fn server(&self, name: &str, limits: Limits, data: PathBuf) -> ContainerServer {
        let logs = self.root.path().join(format!("results/nodes/{name}"));
        fs::create_dir_all(&logs).unwrap();
        ContainerServer::new(&self.dock, name, &self.image, limits, data, logs.join("postgresql.log"), None).unwrap()
    }

    fn configure(&self, server: &ContainerServer, settings: &[(&str, &str)]) {
        let port = server.host.port.to_string();
        let listen = if self.dock.lan.is_some() { "*" } else { "127.0.0.1" };
        let mut all = vec![
            ("listen_addresses", listen),
            ("port", &port),
            ("unix_socket_directories", ""),
            ("cluster_name", server.name()),
            ("shared_buffers", "16MB"),
            ("fsync", "off"),
        ];
        all.extend(settings);
        fs::write(server.data.join("postgresql.conf"), conf::postgresql_conf(&all)).unwrap();
        let hba = "host all all samenet scram-sha-256\nhost replication all samenet scram-sha-256\n";
        fs::write(server.data.join("pg_hba.conf"), hba).unwrap();
    }

    fn own(&self, path: &Path) {
        if let Some(user) = driver::server_user(None, false).unwrap() {
            user.own(path).unwrap();
        }
    }

    async fn client(&self, server: &ContainerServer) -> tokio_postgres::Client {
        connect(&server.host, &self.place.login("test"), LIMIT).await.expect("a connection")
    }

    /// Undoes the run and holds that nothing at all is left of it.
    async fn end(self) {
        let undone = clean::undo_own(&self.inventory);
        assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        assert_eq!(self.dock.engine.labelled(&self.run).await.unwrap(), []);
        assert!(!self.place.dir().exists());
        assert!(clean::runs(&self.index).unwrap().is_empty());
    }
}

/// After a failed test.
impl Drop for Lab {
    fn drop(&mut self) {
        let _ = driver::docker::cleanup::remove(self.dock.engine.address(), &self.run);
    }
}

pub fn docker(args: &[&str]) -> String {
    let output =
        Command::new("docker").args(args).output().expect("the docker client is needed: apt-get install docker.io");
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn start(server: &ContainerServer) -> Duration {
    server.start().await.unwrap_or_else(|error| panic!("{error}"))
}
