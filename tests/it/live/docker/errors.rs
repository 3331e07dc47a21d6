//! What is said when servers in containers cannot be had, or end on their own.

use super::super::fixture::not_run;
use super::{LIMIT, Lab, docker, start};
use pgbench_rs::driver::docker::{Docker, Engine, Limits};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_said() {
    let Some(lab) = Lab::open("errors of servers in containers", Docker::default()).await else { return };
    let broken = lab.node("b", Limits::default(), &[("shared_buffers", "plenty")]).await;
    let error = broken.start().await.unwrap_err().to_string();
    assert!(error.starts_with("node `b` did not start within "), "{error}");
    assert!(error.contains("the container exited with status 1\nlog: "), "{error}");
    assert!(error.contains("invalid value for parameter \"shared_buffers\": \"plenty\""), "{error}");

    let server = lab.node("a", Limits::default(), &[]).await;
    start(&server).await;
    docker(&["kill", "-s", "SIGINT", server.container()]);
    let began = Instant::now();
    while server.own_end().is_none() {
        assert!(began.elapsed() < LIMIT, "its end was not noticed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let end = server.own_end().unwrap();
    assert!(end.starts_with("node `a`: the container exited with status 0, and nobody had told it to\nlog: "), "{end}");
    assert!(end.contains("database system is shut down"), "{end}");
    assert!(!server.is_running());

    let missing = lab.dock.image("pgbench-rs/no-such-image:1", |_| {}).await.unwrap_err().to_string();
    println!("{missing}");
    assert!(missing.contains("`pgbench-rs/no-such-image:1`") && missing.contains("\nhint: "), "{missing}");
    drop((broken, server));
    lab.end().await;
}

/// An image of one file, gone when dropped.
struct Tiny(String);

impl Tiny {
    fn import(name: &str, file: Option<(&str, &[u8])>) -> Tiny {
        let tiny = Tiny(format!("pgbench-rs-test/{name}:{}", std::process::id()));
        let mut tar = tar::Builder::new(Vec::new());
        let (path, bytes) = file.unwrap_or(("nothing", b""));
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, bytes).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("image.tar");
        fs::write(&archive, tar.into_inner().unwrap()).unwrap();
        docker(&["import", &archive.to_string_lossy(), &tiny.0]);
        tiny
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", &self.0]).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_of_no_use_are_told_apart() {
    let Some(lab) = Lab::open("images of no use", Docker::default()).await else { return };
    // The first bytes of a program for another processor (s390), and nothing behind them.
    let other = [b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16\0\0\0\x01".as_slice(), &[0; 96]].concat();
    let (foreign, empty) = (Tiny::import("foreign", Some(("bin/sh", &other))), Tiny::import("empty", None));
    let foreign = lab.dock.image(&foreign.0, |_| {}).await.unwrap_err().to_string();
    println!("{foreign}");
    assert!(foreign.contains("` is made for another kind of processor than the engine's: "), "{foreign}");
    assert!(foreign.contains("\nhint: `docker pull --platform "), "{foreign}");
    let empty = lab.dock.image(&empty.0, |_| {}).await.unwrap_err().to_string();
    println!("{empty}");
    assert!(empty.contains("` is no image of a PostgreSQL server: ") && empty.contains("\nhint: "), "{empty}");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_taken_is_said_with_what_helps() {
    let Some(lab) = Lab::open("names of containers that are taken", Docker::default()).await else { return };
    let server = lab.node("a", Limits::default(), &[]).await;
    docker(&["create", "--name", server.container(), &lab.image.reference]);
    let error = server.start().await.unwrap_err().to_string();
    docker(&["rm", "-v", server.container()]);
    println!("{error}");
    assert!(error.contains("creating the container of `a`: the container engine says: Conflict."), "{error}");
    let hint = error.lines().last().unwrap();
    assert!(hint.starts_with("hint: another container has that name; "), "{error}");
    drop(server);
    lab.end().await;
}

/// What answers on a socket as an engine of this version would, and ends every conversation about anything else.
fn pretends(socket: &Path, api: &'static str) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let body = format!(r#"{{"Version":"1.2.3","ApiVersion":"{api}","MinAPIVersion":"1.12"}}"#);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            if String::from_utf8_lossy(&request[..read]).contains("/version") {
                let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
            }
        }
    });
}

#[tokio::test]
async fn engines_that_are_too_old_or_fall_silent_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let (old, silent) = (dir.path().join("old"), dir.path().join("silent"));
    pretends(&old, "1.40");
    pretends(&silent, "1.41");
    let host = format!("unix://{}", old.display());
    let error = Engine::connect(Some(&host)).await.unwrap_err().to_string();
    println!("{error}");
    assert!(
        error.contains(" is 1.2.3 and speaks version 1.40 of its interface, and 1.41 is needed\nhint: "),
        "{error}"
    );
    let engine = Engine::connect(Some(&format!("unix://{}", silent.display()))).await.unwrap();
    let error = engine.images().await.unwrap_err().to_string();
    println!("{error}");
    assert!(error.starts_with("listing images: ") && error.contains("\nhint: does it still run?"), "{error}");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_said() {
    for (host, expected) in [
        ("tcp://127.0.0.1:1", "no container engine answers at tcp://127.0.0.1:1: "),
        ("unix:///nowhere/docker.sock", "no container engine answers at unix:///nowhere/docker.sock: "),
        ("ssh://nobody@127.0.0.1:1", "the container engine at ssh://nobody@127.0.0.1:1 is not reached by ssh: "),
        ("docker.sock", "`docker.sock` names no container engine"),
    ] {
        let error = Engine::connect(Some(host)).await.unwrap_err().to_string();
        println!("{error}");
        assert!(error.starts_with(expected) && error.contains("\nhint: "), "{error}");
    }
}

/// Not a test: what the test below runs as another user.
#[tokio::test]
#[ignore = "started by another test"]
async fn knocks() {
    match Engine::connect(None).await {
        Ok(_) => println!("let in"),
        Err(error) => println!("{error}"),
    }
}

#[tokio::test]
async fn a_user_who_may_not_is_told() {
    if Engine::connect(None).await.is_err() || !nix::unistd::geteuid().is_root() {
        return not_run("an engine's closed door", "start a Docker engine, and run the tests as root");
    }
    let dir = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("it");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
        .arg(&program)
        .args(["--exact", "live::docker::errors::knocks", "--ignored", "--nocapture"])
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("no permission to use the container engine at "), "{said}");
    assert!(said.contains("\nhint: let this user join the group `docker`"), "{said}");
}
