//! kill -9 of `clone create` in each phase of a clone's making: what is left is listed, and goes.

use super::super::LIMIT;
use super::{User, image};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::time::Instant;

/// Times that a phase may go by unsaid: of two that follow each other at once, only the second is told.
const TRIES: u32 = 10;

/// Runs `create` until it says that it is in `phase`, and kills it there and then.
pub(super) fn killed_in(user: &User, name: &str, phase: &str, more: &[&str]) {
    let tried = (0..TRIES).any(|_| was_killed_in(user, name, phase, more));
    assert!(tried, "never {phase}");
}

/// Whether it said so; else it came about, and is gone again.
fn was_killed_in(user: &User, name: &str, phase: &str, more: &[&str]) -> bool {
    let stderr = user.lab.path("stderr");
    let mut command = user.create(&[&["--name", name], more].concat());
    command
        .stderr(File::create(&stderr).expect("a file"))
        .stdout(File::create(user.lab.path("stdout")).expect("a file"));
    let mut child = command.spawn().expect("it runs");
    let began = Instant::now();
    let said = || fs::read_to_string(&stderr).unwrap_or_default();
    while !said().lines().any(|line| line == phase) {
        assert!(began.elapsed() < LIMIT, "never {phase}: {}", said());
        if let Some(ended) = child.try_wait().expect("a child") {
            assert!(ended.success(), "{}", said());
            assert_eq!(user.destroy(&[name]).code, Some(0));
            return false;
        }
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).expect("it runs");
    // It may have come to its end just then.
    if child.wait().expect("a child").success() {
        assert_eq!(user.destroy(&[name]).code, Some(0));
        return false;
    }
    true
}

#[test]
fn what_was_killed_in_the_midst_is_listed_and_can_be_destroyed() {
    let user = User::new();
    // Large enough that copying takes a while.
    user.sql(&user.from(), "CREATE TABLE large AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 100000)");
    let recover = ["look", "checkpoint", "clone", "backup_stop", "fixup", "start", "first_row", "settle"];
    let cases = recover.iter().map(|phase| (*phase, &[][..])).chain([("clone", &["--snapshot", "basebackup"][..])]);
    for (i, (phase, more)) in cases.enumerate() {
        let name = format!("c{i}");
        killed_in(&user, &name, phase, more);
        user.lab.assert_nothing_runs_soon();
        let states = user.states();
        assert!(states == [format!("{name} half_made")] || states == [format!("{name} gone")], "{phase}: {states:?}");
        if i % 2 == 0 {
            user.lab.call(&["clean"]);
            assert_eq!(user.states(), [format!("{name} gone")], "{phase}");
        }
        let gone = user.destroy(&[&name]);
        assert_eq!(gone.code, Some(0), "{phase}: {} {}", gone.stdout, gone.stderr);
        user.assert_nothing_left();
    }
}

/// The engine has the container as well, and knows nothing of who asked for it.
#[test]
fn what_was_killed_while_its_container_was_made_goes_with_it() {
    let Some(image) = image() else { return };
    let user = User::new();
    for (i, phase) in ["container_create", "container_start", "start", "first_row", "settle"].iter().enumerate() {
        let name = format!("c{i}");
        killed_in(&user, &name, phase, &["--image", &image]);
        user.lab.assert_nothing_runs_soon();
        let states = user.states();
        assert_eq!(states, [format!("{name} half_made")], "{phase}");
        if i % 2 == 0 {
            let cleaned = user.lab.call(&["clean"]);
            assert_eq!(user.states(), [format!("{name} gone")], "{phase}: {} {}", cleaned.stdout, cleaned.stderr);
        }
        let gone = user.destroy(&[&name]);
        assert_eq!(gone.code, Some(0), "{phase}: {} {}", gone.stdout, gone.stderr);
        user.assert_nothing_left();
        let label = "label=pgbench-rs.run";
        let there = std::process::Command::new("docker").args(["ps", "-aq", "--no-trunc", "--filter", label]).output();
        let there = String::from_utf8_lossy(&there.expect("docker runs").stdout).into_owned();
        for container in there.split_whitespace() {
            let of = std::process::Command::new("docker").args(["inspect", container]).output().expect("docker runs");
            let of = String::from_utf8_lossy(&of.stdout).into_owned();
            assert!(!of.contains(&*user.lab.dir.path().to_string_lossy()), "{phase}: {container} is left");
        }
    }
}
