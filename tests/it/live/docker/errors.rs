//! What is said when servers in containers cannot be had, or end on their own.

use super::super::fixture::not_run;
use super::{LIMIT, Lab, docker, start};
use pgbench_rs::driver::docker::{Docker, Engine, Limits};
use std::fs;
use std::os::unix::fs::PermissionsExt;
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
