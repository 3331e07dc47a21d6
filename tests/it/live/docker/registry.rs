//! Images that are pulled, from a real registry of the test's own. Engines speak plain HTTP with those of the loopback.

use super::super::fixture::{not_run, open_to_all};
use super::{Lab, docker};
use pgbench_rs::driver::docker::Docker;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WHAT: &str = "pulling images";
const LIMIT: Duration = Duration::from_secs(60);
/// Large enough for its arrival to be told in parts.
const LAYER: u64 = 24 << 20;

/// A registry, and the tags of its images on the engine; all of it goes when this is dropped.
struct Registry {
    child: Child,
    address: String,
    tags: Vec<String>,
    dir: tempfile::TempDir,
}

impl Registry {
    /// Absent, and said so, where there is none. A `locked` one lets nobody in.
    fn start(locked: bool) -> Option<Registry> {
        if Command::new("docker-registry").arg("--version").output().is_err() {
            not_run(WHAT, "apt-get install docker-registry");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("pgbench-rs-registry-").tempdir_in("/var/tmp").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (address, at) = (format!("127.0.0.1:{port}"), dir.path().display());
        let mut config =
            format!("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {at}/data\nhttp:\n  addr: {address}\n");
        if locked {
            fs::write(dir.path().join("users"), "").unwrap();
            config += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {at}/users\n");
        }
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let registry = Registry { child: command.spawn().unwrap(), address, tags: Vec::new(), dir };
        let began = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            assert!(began.elapsed() < LIMIT, "{}", fs::read_to_string(registry.dir.path().join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// Makes an image of its own from one that is here, and lets only the registry have it.
    fn has(&mut self, base: &str) -> String {
        let reference = format!("{}/pgbench-rs/postgres:1", self.address);
        self.tags.push(reference.clone());
        let layer = self.dir.path().join("layer");
        let mut random = File::open("/dev/urandom").unwrap().take(LAYER);
        std::io::copy(&mut random, &mut File::create(&layer).unwrap()).unwrap();
        let container = docker(&["create", base]);
        let copied = docker_or(&["cp", &layer.to_string_lossy(), &format!("{container}:/layer")]);
        let made = copied.and_then(|_| docker_or(&["commit", &container, &reference]));
        docker(&["rm", "-v", &container]);
        made.unwrap();
        docker(&["push", &reference]);
        docker(&["rmi", &reference]);
        reference
    }

    /// The digest of an image as the registry itself tells it.
    fn digest(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let kind = "application/vnd.docker.distribution.manifest.v2+json";
        write!(stream, "HEAD {path} HTTP/1.0\r\nHost: {}\r\nAccept: {kind}\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let digest = answer.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: "));
        digest.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end();
        for tag in &self.tags {
            let _ = Command::new("docker").args(["rmi", "--force", tag]).output();
        }
    }
}

fn docker_or(args: &[&str]) -> Result<(), String> {
    let output = Command::new("docker").args(args).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A scenario of one server, run by the program on that image; the record's word on the server.
fn recorded(reference: &str, version: u32) -> String {
    let scenario = r#"
name     = "pull"
question = "Is it pulled?"
answer   = ["load.tps"]
trials   = 1
node.a   = { role = "primary" }

[postgres.settings]
shared_buffers = "16MB"

[load.app]
mix     = { kind = "select_only", scale = 1 }
profile = { kind = "open", rate = 50 }
clients = 1

[[phase]]
name  = "one"
lasts = "1s"
"#;
    let dir = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").unwrap();
    open_to_all(dir.path());
    fs::write(dir.path().join("s.toml"), scenario).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbench-rs"));
    command.args(["run", "s.toml", "--work", "work", "--out", "out", "--image", reference]);
    command.args(["--set", &format!("postgres.version={version}")]);
    command.env("XDG_STATE_HOME", dir.path().join("state")).current_dir(dir.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = fs::read_dir(dir.path().join("out")).unwrap().next().unwrap().unwrap().path();
    manifest(&results)["servers"][0]["image"].as_str().unwrap().to_owned()
}

fn manifest(results: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(results.join("run.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_is_not_here_is_pulled_once() {
    let Some(lab) = Lab::open(WHAT, Docker::default()).await else { return };
    let Some(mut registry) = Registry::start(false) else { return };
    let Some(locked) = Registry::start(true) else { return };
    let engine = lab.dock.engine.clone();
    let reference = registry.has(&lab.image.reference);
    assert!(docker_or(&["image", "inspect", &reference]).is_err(), "it is still here");

    let mut told = Vec::new();
    let pulled = lab.dock.image(&reference, |line| told.push(line.to_owned())).await;
    let pulled = pulled.unwrap_or_else(|error| panic!("{error}"));
    println!("{}", told.join("\n"));
    for part in [": Downloading ", "%", ": Pull complete", "Downloaded newer image"] {
        assert!(told.iter().any(|line| line.contains(part)), "nobody said `{part}`: {told:?}");
    }
    let repository = reference.strip_suffix(":1").unwrap();
    let digest = format!("{repository}@{}", registry.digest("/v2/pgbench-rs/postgres/manifests/1"));
    assert_eq!((pulled.identity(), pulled.digest.as_deref()), (digest.as_str(), Some(digest.as_str())));
    assert_eq!((pulled.version, pulled.postgres), (lab.image.version, lab.image.postgres));
    // Also by its digest, without a tag.
    assert_eq!(lab.dock.image(&digest, |line| panic!("{line}")).await.unwrap().id, pulled.id);

    docker(&["rmi", &reference]);
    let recorded = recorded(&reference, pulled.version.major);
    assert_eq!(recorded, format!("{reference} ({digest})"));

    for (missing, said) in [(format!("{repository}:2"), "manifest unknown"), (repository.replace("postgres", "x"), "")]
    {
        let error = lab.dock.image(&missing, |_| {}).await.unwrap_err().to_string();
        println!("{error}");
        assert!(error.starts_with(&format!("there is no image `{missing}`: ")) && error.contains(said), "{error}");
        assert!(error.contains("\nhint: `docker image ls` lists what is here"), "{error}");
    }
    let secret = format!("{}/pgbench-rs/postgres:1", locked.address);
    let error = lab.dock.image(&secret, |_| {}).await.unwrap_err().to_string();
    println!("{error}");
    assert!(error.starts_with(&format!("the registry does not give out `{secret}`: ")), "{error}");
    assert!(error.contains("\nhint: `docker login"), "{error}");

    registry.end();
    let again = engine.image(&reference, &lab.run, |line| panic!("{line}")).await.unwrap();
    assert_eq!(again, pulled, "what is here is not asked for elsewhere");
    let gone = format!("{repository}:3");
    let error = lab.dock.image(&gone, |_| {}).await.unwrap_err().to_string();
    println!("{error}");
    assert!(error.starts_with(&format!("`{gone}` is not here and cannot be pulled: ")), "{error}");
    assert!(error.contains("connection refused\nhint: "), "{error}");
    lab.end().await;
}
