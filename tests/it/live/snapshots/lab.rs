//! A file system of its own with a data directory on it, and servers that stand on that or on a copy.

use crate::live::fixture::{not_run, open_to_all, program_path, run, server_command};
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::{Inventory, MARK};
use pgbench_rs::base::user::User;
use pgbench_rs::clean;
use pgbench_rs::disk::Format;
use pgbench_rs::disk::mount::{FileSystem, Kind};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::{Host, Login, Secret};
use pgbench_rs::snapshot;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const LIMIT: Duration = Duration::from_secs(60);

/// A run with a file system of its own, and an empty directory on it as a node would have it.
pub struct Lab {
    pub format: Format,
    pub inventory: Arc<Inventory>,
    pub disk: FileSystem,
    /// Below the root of the file system; a subvolume or a dataset where there are such.
    pub data: PathBuf,
    /// Where copies go.
    pub clones: PathBuf,
    pub dir: tempfile::TempDir,
    made: std::cell::Cell<usize>,
}

impl Lab {
    /// None when this machine does not let us, which is said.
    pub async fn start(format: Format, megabytes: u64) -> Option<Lab> {
        let what = format!("live::snapshots on {format}");
        if !nix::unistd::geteuid().is_root() {
            not_run(&what, "run the tests as root");
            return None;
        }
        // Not /tmp, which may be in memory.
        let dir = tempfile::Builder::new().prefix("pgbench-rs-snap-").tempdir_in("/var/tmp").expect("a directory");
        open_to_all(dir.path());
        let index = Index::at(dir.path().join("runs"));
        // Pools of tests that run at the same time bear the run in their names.
        let run =
            format!("r{}", dir.path().file_name().expect("a name").to_string_lossy().rsplit('-').next().expect("it"));
        let inventory = Inventory::create(&index, &dir.path().join("inventory.jsonl"), &run).expect("an inventory");
        let (_, node) = inventory.directory(&dir.path().join("a"), dir.path(), None).expect("a directory");
        let path = node.join("disk");
        fs::create_dir(&path).expect("a directory");
        let disk = match FileSystem::mount(&inventory, &path, megabytes << 20, format).await {
            Ok(disk) => disk,
            Err(why) => {
                not_run(&what, &why.to_string().replace('\n', "; "));
                return None;
            }
        };
        assert!(!matches!(disk.kind(), Kind::Memory { .. }) || format == Format::Ext4);
        let data = disk.path().join("data");
        snapshot::directory(&data, &inventory).await.expect("a data directory");
        let (_, clones) = inventory.directory(&disk.path().join("clones"), &node, None).expect("a directory");
        fs::write(data.join("file"), "of the origin").expect("written");
        Some(Lab { format, inventory, disk, data, clones, dir, made: Default::default() })
    }

    /// A marked directory for a copy.
    pub fn place(&self) -> PathBuf {
        self.made.set(self.made.get() + 1);
        let path = self.clones.join(format!("c{}", self.made.get()));
        self.inventory.directory(&path, &self.clones, None).expect("a directory").1
    }

    /// What ZFS has of the run, snapshots too.
    pub fn datasets(&self) -> Vec<String> {
        if self.format != Format::Zfs {
            return Vec::new();
        }
        let output = Command::new("zfs").args(["list", "-H", "-t", "filesystem,snapshot", "-o", "name"]).output();
        let text = String::from_utf8(output.expect("zfs runs").stdout).expect("text");
        let ours = format!("pgbench-rs-{}-", self.inventory.run());
        text.lines().filter(|line| line.contains(&ours)).map(str::to_owned).collect()
    }

    /// Makes a cluster in the data directory, and gives it to the servers' user.
    pub fn initdb(&self) {
        fs::remove_file(self.data.join("file")).expect("removed");
        let user = User::named("postgres").expect("users are known").expect("apt-get install postgresql");
        user.own(&self.data).expect("given");
        run(server_command("initdb").args(["-U", "postgres", "-A", "trust", "-N", "-D"]).arg(&self.data));
    }
}

/// A test that fails leaves nothing either.
impl Drop for Lab {
    fn drop(&mut self) {
        if self.inventory.contents().entries.iter().all(|entry| entry.gone) {
            return;
        }
        let undone = clean::undo_own(&self.inventory);
        if !std::thread::panicking() {
            assert!(undone.errors.is_empty(), "{:?}", undone.errors);
        }
    }
}

/// Asserts that nothing but the mark is in a place for a copy.
pub fn assert_empty(place: &Path) {
    let left: Vec<_> = fs::read_dir(place).expect("there").map(|entry| entry.expect("read").file_name()).collect();
    assert_eq!(left, [MARK], "{}", place.display());
}

/// Contents, owner and mode of everything in a directory.
pub fn hashes(dir: &Path) -> BTreeMap<PathBuf, u64> {
    fn add(root: &Path, dir: &Path, to: &mut BTreeMap<PathBuf, u64>) {
        for entry in fs::read_dir(dir).expect("read") {
            let path = entry.expect("read").path();
            let meta = path.symlink_metadata().expect("there");
            let mut hasher = DefaultHasher::new();
            (meta.mode(), meta.uid(), meta.gid()).hash(&mut hasher);
            if meta.is_symlink() {
                fs::read_link(&path).expect("read").hash(&mut hasher);
            } else if meta.is_file() {
                fs::read(&path).expect("read").hash(&mut hasher);
            } else {
                add(root, &path, to);
            }
            to.insert(path.strip_prefix(root).expect("below").to_owned(), hasher.finish());
        }
    }
    let mut all = BTreeMap::new();
    add(dir, dir, &mut all);
    all
}

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    host: Host,
}

impl Server {
    /// Starts one on `data`, which may be a copy of the lab's, and waits until it takes connections.
    pub fn start(lab: &Lab, data: &Path, settings: &[&str]) -> Server {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let mut command = server_command("postgres");
        command.arg("-D").arg(data).args(["-k", "", "-c", "listen_addresses=127.0.0.1", "-p"]).arg(port.to_string());
        for setting in ["shared_buffers=16MB", "max_wal_size=64MB"].iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let log = lab.dir.path().join(format!("{port}.log"));
        let into = fs::File::create(&log).expect("a log");
        let child = command.stdout(Stdio::null()).stderr(into).spawn().expect("postgres starts");
        let server = Server { child, host: Host::new("a", "127.0.0.1", port) };
        let limit = Instant::now() + LIMIT;
        let ready = || {
            let status = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            status.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        };
        while !ready() {
            let said = || fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < limit, "the server did not start: {}", said());
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    pub async fn client(&self) -> Client {
        let login = Login {
            user: "postgres".into(),
            password: Secret::new(""),
            dbname: "postgres".into(),
            application_name: "snapshots".into(),
        };
        connect(&self.host, &login, Duration::from_secs(10)).await.expect("connects")
    }

    /// pgbench against it, not yet run.
    pub fn pgbench(&self) -> Command {
        let mut command = Command::new(program_path("pgbench"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p"]).arg(self.host.port.to_string());
        // Where it looks by itself depends on the environment.
        command.env("PGDATABASE", "postgres");
        command
    }

    /// Shuts it down in order.
    pub fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        let _ = self.child.wait();
    }
}

/// A process that is killed when dropped.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
