//! A throw-away server for tests that need one.

use pgbench_rs::driver::Make;
use pgbench_rs::pg::programs::Installed;
use pgbench_rs::pg::version::Major;
use pgbench_rs::pg::{Host, Login, Secret};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running primary with trust authentication on loopback, gone when dropped.
pub struct Primary {
    /// Where it listens.
    pub host: Host,
    child: Child,
    dir: tempfile::TempDir,
}

impl Primary {
    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts one with these settings (`name=value`).
    pub fn start(settings: &[&str]) -> Primary {
        Primary::start_with(settings, |_| {})
    }

    /// Starts one whose data directory `prepare` has changed first.
    pub fn start_with(settings: &[&str], prepare: impl FnOnce(&Path)) -> Primary {
        Primary::started(&std::env::temp_dir(), settings, prepare)
    }

    /// Starts one whose data directory lies below `parent`, which all may enter.
    pub fn start_in(parent: &Path) -> Primary {
        Primary::started(parent, &[], |_| {})
    }

    fn started(parent: &Path, settings: &[&str], prepare: impl FnOnce(&Path)) -> Primary {
        let dir = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in(parent).expect("a directory");
        let data = dir.path().join("data");
        open_to_all(dir.path());
        run(server_command("initdb").args(["-U", "postgres", "-A", "trust", "-N", "-D"]).arg(&data));
        prepare(&data);
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        let child = started(&data, port, settings);
        let host = Host::new("a", "127.0.0.1", port);
        Primary { host, child, dir }
    }

    /// Starts it again after it was [killed](Primary::kill), without the settings that it was started with.
    pub fn start_again(&mut self) {
        let _ = self.child.wait();
        self.child = started(&self.data(), self.host.port, &[]);
    }

    /// How to connect to it.
    pub fn login(&self, application_name: &str) -> Login {
        Login {
            user: "postgres".into(),
            password: Secret::new(""),
            dbname: "postgres".into(),
            application_name: application_name.into(),
        }
    }
}

impl Primary {
    /// kill -9 of the postmaster; its children end when they notice.
    pub fn kill(&self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("the server is running");
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        let _ = self.child.wait();
    }
}

fn started(data: &Path, port: u16, settings: &[&str]) -> Child {
    let start = || {
        let mut command = server_command("postgres");
        command.arg("-D").arg(data).args(["-k", "", "-c", "listen_addresses=127.0.0.1", "-p"]).arg(port.to_string());
        for setting in settings {
            command.args(["-c", setting]);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres starts")
    };
    let mut child = start();
    let limit = Instant::now() + Duration::from_secs(30);
    while !is_ready(data, child.id()) {
        assert!(Instant::now() < limit, "the test server did not start");
        if child.try_wait().expect("its state").is_some() {
            // Those that the one before left have not all ended.
            child = start();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// What `pg_ctl` waits for, too: the eighth line of `postmaster.pid`, whose first is this process.
fn is_ready(data: &Path, pid: u32) -> bool {
    let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = file.lines().map(str::trim).collect();
    lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
}

/// A server program, run as `postgres` when the tests run as root.
pub fn server_command(program: &str) -> Command {
    let path = program_path(program);
    if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(path);
        command
    } else {
        Command::new(path)
    }
}

/// Programs of this version, or the newest that are installed.
pub fn make(version: Option<Major>) -> Make {
    let installed = Installed::find(&[]).unwrap_or_else(|error| panic!("{error}"));
    Make::Process(installed.choose(version).unwrap_or_else(|error| panic!("{error}")).clone())
}

/// Where a program of PostgreSQL is: the newest installed version, or PATH.
pub fn program_path(program: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|v| v.path().join("bin").join(program)).filter(|p| p.exists()).collect())
        .unwrap_or_default();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(program))
}

pub fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).expect("chmod");
}

pub fn run(command: &mut Command) {
    let output = command.output().expect("PostgreSQL's programs are needed: apt-get install postgresql");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Says that a test could not do its work here, and what would let it: on its output, and in the file that
/// `PGBENCH_RS_NOT_RUN` names, from which `make test` lists it at its end.
pub fn not_run(what: &str, how: &str) {
    use std::io::Write;
    println!("not run here: {what} — {how}");
    if let Some(list) = std::env::var_os("PGBENCH_RS_NOT_RUN") {
        let mut list =
            std::fs::File::options().create(true).append(true).open(list).expect("the list of what was not run");
        writeln!(list, "{what}: not run here — {how}").expect("the list can be written");
    }
}
