//! Engines of other machines: a second one on this machine, reached by TCP with TLS, and this machine's own reached
//! by ssh. They are remote by the way they are reached, so that nothing is shared but the loopback.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

use super::fixture::{not_run, open_to_all};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const HOW: &str = "as root, with dockerd, sshd, openssl, a Docker engine and the images that .ci/images makes";
const WHAT: &str = "servers on engines of other machines";
const IMAGE: &str = "pgbench-rs/postgres:17";
/// An engine takes seconds to start and to end on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Two engines to be reached as if they were elsewhere, both ended and removed when this is dropped.
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
        let here = nix::unistd::geteuid().is_root()
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

    /// The docker client on the second engine.
    fn docker(&self, args: &[&str]) -> Output {
        self.around(Command::new("docker").env("DOCKER_HOST", &self.tcp)).args(args).output().unwrap()
    }

    /// With what leads to the engines.
    fn around<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let programs = self.dir.path().join("ssh/bin");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", self.dir.path().join("tls")).env("PATH", path)
    }

    fn pgbench_rs(&self, args: &[&str], certificates: Option<&Path>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgbench-rs"));
        self.around(&mut command).args(args).current_dir(self.dir.path());
        command.env("XDG_STATE_HOME", self.dir.path().join("state"));
        if let Some(dir) = certificates {
            command.env("DOCKER_CERT_PATH", dir);
        }
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a scenario.
    fn run(&self, scenario: &str, certificates: Option<&Path>) -> Output {
        fs::write(self.dir.path().join("s.toml"), scenario).unwrap();
        self.pgbench_rs(&["run", "s.toml", "--work", "work", "--out", "out"], certificates)
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

/// A primary on one engine, and standbys of which one is on each; the primary is killed.
fn scenario(primary: &str, standby: &str) -> String {
    format!(
        r#"
name     = "far"
question = "Does a failover work between engines?"
answer   = ["failover.write_outage", "ledger.acked_lost"]
trials   = 1
driver   = {{ kind = "docker", host = "{primary}", image = "{IMAGE}" }}

[node]
a = {{ role = "primary" }}
b = {{ role = "standby", follows = "a" }}
c = {{ role = "standby", follows = "a", slot = true, driver = {{ kind = "docker", host = "{standby}", image = "{IMAGE}" }} }}

[postgres.settings]
shared_buffers = "16MB"
synchronous_standby_names = "ANY 1 (@nodes)"

[manager]
kind   = "builtin"
detect = {{ every = "200ms", misses = 5, timeout = "1s" }}

[probe.ledger]
writers = 2
rate    = 20

[[phase]]
name  = "kill"
lasts = "10s"
do.kill = {{ at = "2s", act = {{ kind = "kill", of = "@primary" }} }}

[[claim]]
metric      = "ledger.acked_lost"
every_trial = {{ max = 0 }}
"#
    )
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What bears a label of ours on an engine.
fn left(docker: impl Fn(&[&str]) -> Output) -> String {
    let of = |args: &[&str]| String::from_utf8(docker(args).stdout).unwrap().trim().to_owned();
    let label = "--filter=label=pgbench-rs.run";
    of(&["ps", "-aq", label]) + &of(&["volume", "ls", "-q", label]) + &of(&["network", "ls", "-q", label])
}

#[test]
fn a_failover_between_engines_of_two_machines() {
    let Some(elsewhere) = Elsewhere::start() else { return };
    let ran = elsewhere.run(&scenario(&elsewhere.tcp, "ssh://root@127.0.0.1"), None);
    let said = text(&ran);
    println!("{said}");
    assert!(ran.status.success(), "{said}");
    assert_eq!(left(|args| elsewhere.docker(args)), "", "left on the second engine");
    let metrics = fs::read_dir(elsewhere.dir.path().join("out")).unwrap().count();
    assert!(metrics > 0, "no results");

    // Certificates of somebody else.
    let strange = elsewhere.dir.path().join("strange");
    certificates(&strange);
    let refused = text(&elsewhere.run(&scenario(&elsewhere.tcp, &elsewhere.tcp), Some(&strange)));
    assert!(refused.contains("no TLS with the container engine at tcp://127.0.0.1:"), "{refused}");
    assert!(refused.contains("DOCKER_CERT_PATH names the folder"), "{refused}");
    let nobody =
        text(&elsewhere.run(&scenario("ssh://nobody-at-all@127.0.0.1", "ssh://nobody-at-all@127.0.0.1"), None));
    assert!(nobody.contains("is not reached by ssh: "), "{nobody}");
}
