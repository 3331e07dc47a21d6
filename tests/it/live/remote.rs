//! Several engines: a second one on this machine, reached by TCP with TLS and on a socket of its own, and this machine's
//! own, also reached by ssh. Those reached by TCP and ssh are remote, so that nothing is shared but the loopback.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

mod chosen;
mod failover;
mod meeting;
mod ways;

use super::fixture::{not_run, open_to_all};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const HOW: &str =
    "as root, with dockerd, sshd, openssl, a Docker engine of this machine and the images that .ci/images makes";
const WHAT: &str = "servers on engines of other machines";
const IMAGE: &str = "pgbench-rs/postgres:17";
/// An engine takes seconds to start and to end on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

/// The second engine and the way by ssh, both ended and removed when this is dropped.
struct Elsewhere {
    engine: Child,
    ssh: Child,
    tcp: String,
    dir: tempfile::TempDir,
}

impl Elsewhere {
    /// Absent, and said so, where they cannot be started.
    fn start() -> Option<Elsewhere> {
        let has = |program: &str, arg: &str| {
            let ran = Command::new(program).arg(arg).stdout(Stdio::null()).stderr(Stdio::null()).status();
            ran.is_ok()
        };
        let image = Command::new("docker").args(["image", "inspect", IMAGE]).output();
        let local = std::env::var("DOCKER_HOST").map_or(true, |host| host.starts_with("unix://"));
        let here = nix::unistd::geteuid().is_root()
            && local
            && has("dockerd", "--version")
            && has("openssl", "version")
            && has("/usr/sbin/sshd", "-V")
            && image.is_ok_and(|output| output.status.success());
        if !here {
            not_run(WHAT, HOW);
            return None;
        }
        let dir = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").unwrap();
        open_to_all(dir.path());
        let (tcp, sshd) = (free_port(), free_port());
        certificates(&dir.path().join("tls"));
        let engine = engine(dir.path(), tcp);
        let ssh = ssh(&dir.path().join("ssh"), sshd);
        // From here on dropping it ends both.
        let elsewhere = Elsewhere { engine, ssh, tcp: format!("tcp://127.0.0.1:{tcp}"), dir };
        let began = Instant::now();
        while !elsewhere.docker(&["version"]).status.success() {
            assert!(began.elapsed() < LIMIT, "{}", elsewhere.read("dockerd.log"));
            std::thread::sleep(Duration::from_millis(200));
        }
        let image = elsewhere.dir.path().join("image.tar");
        let saved = Command::new("docker").args(["save", "-o"]).arg(&image).arg(IMAGE).output().unwrap();
        assert!(saved.status.success(), "{saved:?}");
        let loaded = elsewhere.docker(&["load", "-i", &image.to_string_lossy()]);
        assert!(loaded.status.success(), "{loaded:?}");
        fs::remove_file(image).unwrap();
        Some(elsewhere)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The docker client on the second engine.
    fn docker(&self, args: &[&str]) -> Output {
        self.around(Command::new("docker").env("DOCKER_HOST", &self.tcp)).args(args).output().unwrap()
    }

    /// With what leads to the engines.
    fn around<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.by_ssh(command).env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", self.path("tls"))
    }

    fn by_ssh<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = format!("{}:{}", self.path("ssh/bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path)
    }

    /// The program, where nothing in the environment says which engine or with which certificates.
    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgbench-rs"));
        self.by_ssh(&mut command).args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", self.path("state"));
        command
    }

    /// The program that is to run a scenario; its results are the only ones in `out`.
    fn running(&self, scenario: &str) -> Command {
        fs::write(self.path("s.toml"), scenario).unwrap();
        let _ = fs::remove_dir_all(self.path("out"));
        self.program(&["run", "s.toml", "--work", "work", "--out", "out"])
    }

    /// Runs a scenario with certificates by the environment.
    fn run(&self, scenario: &str, certificates: &str) -> Output {
        let mut command = self.running(scenario);
        command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", self.path(certificates)).output().unwrap()
    }

    /// A file of the results of the last run.
    fn result(&self, name: &str) -> String {
        let dir = fs::read_dir(self.path("out")).unwrap().next().unwrap().unwrap().path();
        fs::read_to_string(dir.join(name)).unwrap()
    }

    /// A value of `summary.csv`.
    fn value(&self, metric: &str, subject: &str) -> Option<f64> {
        let (summary, wanted) = (self.result("summary.csv"), format!(",{subject},{metric},"));
        let row = summary.lines().find(|line| line.contains(&wanted))?;
        row.rsplit(',').next()?.parse().ok()
    }

    /// Nothing that bears our label is on either engine.
    fn assert_nothing_left(&self) {
        assert_eq!(left(|args| self.docker(args)), "", "left on the second engine");
        let run = self.result("inventory.jsonl");
        let run = run.split("\"run\":\"").nth(1).unwrap().split('"').next().unwrap();
        let filter = format!("--filter=label=pgbench-rs.run={run}");
        let here = |args: &[&str]| Command::new("docker").args(args).arg(&filter).output().unwrap();
        for args in [&["ps", "-aq"][..], &["volume", "ls", "-q"], &["network", "ls", "-q"]] {
            assert_eq!(text(&here(args)).trim(), "", "left on this machine's engine: {args:?}");
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
        // It ends its own containerd when it is asked to end.
        let engine = nix::unistd::Pid::from_raw(self.engine.id() as i32);
        let _ = nix::sys::signal::kill(engine, nix::sys::signal::Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.engine.try_wait(), Ok(None)) && began.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(100));
        }
        // Which it leaves mounted.
        let _ = Command::new("umount").arg(self.path("exec/netns/default")).output();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// As in Docker's manual: an authority, a certificate for the engine and one for its clients.
fn certificates(dir: &Path) {
    fs::create_dir(dir).unwrap();
    let openssl = |line: &str| done(Command::new("openssl").args(line.split(' ')).current_dir(dir));
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -subj /CN=ca -days 2");
    for (name, key, usage) in [("server", "server-key", "serverAuth"), ("cert", "key", "clientAuth")] {
        openssl(&format!("req -newkey rsa:2048 -nodes -keyout {key}.pem -out {name}.csr -subj /CN={name}"));
        fs::write(dir.join("extra"), format!("subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n")).unwrap();
        let signed = "-CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile extra";
        openssl(&format!("x509 -req -in {name}.csr -out {name}.pem {signed}"));
    }
}

fn engine(dir: &Path, port: u16) -> Child {
    let log = File::create(dir.join("dockerd.log")).unwrap();
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let mut command = Command::new("dockerd");
    command.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
    command.args(["--iptables=false", "--ip-forward=false", "--tlsverify"]);
    command.args(["--tlscacert", &at("tls/ca.pem"), "--tlscert", &at("tls/server.pem")]);
    command.args(["--tlskey", &at("tls/server-key.pem"), "--host", &format!("tcp://127.0.0.1:{port}")]);
    command.args(["--host", &format!("unix://{}", at("docker.sock"))]);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// An sshd of the test's own, and a program `ssh` that reaches it: nothing in ~/.ssh is read or written.
fn ssh(dir: &Path, port: u16) -> Child {
    fs::create_dir_all(dir.join("bin")).unwrap();
    for key in ["host", "user"] {
        done(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key]).current_dir(dir));
    }
    // sshd wants it to be there.
    fs::create_dir_all("/run/sshd").unwrap();
    let at = dir.display();
    let server = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nPidFile none\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nStrictModes no\nUsePAM no\n"
    );
    let client = format!(
        "Host *\nPort {port}\nIdentityFile {at}/user\nIdentitiesOnly yes\nUserKnownHostsFile {at}/known_hosts\n"
    );
    fs::write(dir.join("sshd_config"), server).unwrap();
    fs::write(dir.join("config"), client).unwrap();
    let program: PathBuf = dir.join("bin/ssh");
    fs::write(&program, format!("#!/bin/sh\nexec /usr/bin/ssh -F {at}/config \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let log = File::create(dir.join("sshd.log")).unwrap();
    let config = dir.join("sshd_config");
    Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(config).stderr(log).spawn().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeded(output: Output) -> String {
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    said
}

/// What bears a label of ours on an engine.
fn left(docker: impl Fn(&[&str]) -> Output) -> String {
    let of = |args: &[&str]| String::from_utf8(docker(args).stdout).unwrap().trim().to_owned();
    let label = "--filter=label=pgbench-rs.run";
    of(&["ps", "-aq", label]) + &of(&["volume", "ls", "-q", label]) + &of(&["network", "ls", "-q", label])
}

/// This machine's own engine under another name.
fn alias(elsewhere: &Elsewhere) -> String {
    let own = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let socket = own.strip_prefix("unix://").expect("this machine's engine has a socket");
    let alias = elsewhere.path("alias.sock");
    if !alias.exists() {
        std::os::unix::fs::symlink(socket, &alias).unwrap();
    }
    format!("unix://{}", alias.display())
}

/// A scenario of one server under a light load.
fn small(driver: &str) -> String {
    format!(
        r#"
name     = "small"
question = "Is it the right engine?"
answer   = ["load.tps"]
trials   = 1
driver   = {driver}
node.a   = {{ role = "primary" }}

[postgres.settings]
shared_buffers = "16MB"

[load.app]
mix     = {{ kind = "select_only", scale = 1 }}
profile = {{ kind = "open", rate = 50 }}
clients = 1

[[phase]]
name  = "one"
lasts = "1s"
"#
    )
}

/// One after the other, for a second engine takes long to come.
#[test]
fn engines_of_several_machines() {
    let Some(elsewhere) = Elsewhere::start() else { return };
    failover::between_them(&elsewhere);
    ways::through_proxies(&elsewhere);
    chosen::by_certificates_of_its_own(&elsewhere);
    chosen::by_a_context(&elsewhere);
    meeting::beside_a_bridge(&elsewhere);
    meeting::bridges_of_two(&elsewhere);
}
