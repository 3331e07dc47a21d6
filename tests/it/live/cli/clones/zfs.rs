//! Clones by hand on ZFS: what they say of themselves, how much they may have, and what is left when `create` is killed.

use super::super::super::fixture::Primary;
use super::super::super::snapshots::lab::Lab as Disk;
use super::super::{LIMIT, children};
use super::killed::killed_in;
use super::{User, conninfo};
use pgbench_rs::disk::Format;
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// A user's server on a pool of its own, which outlives it; none where no ZFS answers, which is said.
async fn user() -> Option<(Disk, User)> {
    let disk = Disk::start(Format::Zfs, 512).await?;
    super::super::open_to_all(disk.disk.path());
    let user = User::of(Primary::start_in(disk.disk.path()));
    Some((disk, user))
}

/// Datasets and snapshots of clones on the lab's pool.
fn clones(disk: &Disk) -> Vec<String> {
    let output = Command::new("zfs").args(["list", "-H", "-t", "filesystem,snapshot", "-o", "name"]).output();
    let text = String::from_utf8(output.expect("zfs runs").stdout).expect("text");
    let pool = format!("pgbench-rs-{}-", disk.inventory.run());
    let is_clone = |name: &&str| name.starts_with(&pool) && name.contains("pgbench-rs-clone-");
    text.lines().filter(is_clone).map(str::to_owned).collect()
}

/// A property of the one clone that there is.
fn said(disk: &Disk, property: &str) -> String {
    let all = clones(disk);
    let clone = all.iter().find(|name| !name.contains('@')).expect("a clone");
    let output = Command::new("zfs").args(["get", "-H", "-o", "value", property, clone]).output().expect("zfs runs");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// The one copy without a card on the lab's pool.
fn stray(user: &User, disk: &Disk) -> Value {
    let home = |row: &Value| row["errors"][0].as_str().is_some_and(|note| note.contains(disk.inventory.run()));
    let mut strays: Vec<Value> = user.listed(false).into_iter().filter(home).collect();
    assert_eq!(strays.len(), 1, "{strays:?}");
    strays.remove(0)
}

#[tokio::test]
async fn a_dataset_says_whose_it_is_and_how_far() {
    let Some((disk, user)) = user().await else { return };
    let more = ["--name", "one", "--snapshot", "zfs", "--owner", "ada of\tbyron", "--expires", "4h"];
    let made = user.created(&more);
    let run = |property| said(&disk, property);
    assert!(run("pgbench-rs:run").starts_with("clone-one-") && run("pgbench-rs:name") == "one");
    assert_eq!((run("pgbench-rs:owner"), run("pgbench-rs:state")), ("ada of byron".into(), "ready".into()));
    assert_eq!(run("pgbench-rs:expires"), made["expires_at"].as_str().expect("a time"));
    assert_eq!(user.states(), ["one running"]);
    assert!(user.lab.call(&["clone", "list"]).stdout.contains("ada of"));

    // The folder that knew of it is lost.
    fs::rename(user.lab.path("state/pgbench-rs"), user.lab.path("lost")).expect("moved");
    assert!(user.states().is_empty());
    let row = stray(&user, &disk);
    assert_eq!(
        (&row["name"], &row["owner"], &row["state"]),
        (&"one".into(), &"ada of byron".into(), &"running".into())
    );
    assert_eq!((&row["expires_at"], &row["expired"]), (&made["expires_at"], &false.into()));
    let dataset = clones(&disk).into_iter().find(|name| !name.contains('@')).expect("a clone");
    assert!(row["errors"][0].as_str().is_some_and(|note| note.contains(&format!("clone destroy {dataset}"))), "{row}");
    let nobodys = user.destroy(&["no-such-pool/x"]);
    assert!(nobodys.code == Some(4) && nobodys.stderr.contains("no clone in a dataset"), "{}", nobodys.stderr);
    let gone = user.destroy(&[&dataset]);
    assert_eq!((gone.code, gone.stdout.as_str()), (Some(0), "clone `one` is gone\n"), "{}", gone.stderr);
    assert!(clones(&disk).is_empty() && children(&user.lab.path("work")).is_empty());
    user.lab.assert_nothing_runs_soon();
    assert_eq!(user.sql(&user.from(), "SELECT count(*) FROM t"), "1000");

    // What was known of it is of something that is gone.
    fs::remove_dir_all(user.lab.path("state/pgbench-rs")).unwrap_or_default();
    fs::rename(user.lab.path("lost"), user.lab.path("state/pgbench-rs")).expect("moved");
    assert_eq!(user.states(), ["one gone"]);
    assert_eq!(user.destroy(&["one"]).code, Some(0));
    user.assert_nothing_left();
}

#[tokio::test]
async fn a_clone_with_a_quota_fills_only_that() {
    let Some((disk, user)) = user().await else { return };
    let made = user.created(&["--name", "c", "--snapshot", "auto", "--quota", "48MB"]);
    assert_eq!(made["ready"]["method"], "zfs");
    assert_eq!(said(&disk, "quota"), "48M");
    let psql = super::program_path("psql");
    let fill = "CREATE TABLE f AS SELECT md5(n::text) || md5((n + 1)::text) AS x FROM generate_series(1, 2000000) AS n";
    let output = Command::new(psql).args([conninfo(&made), "-XAtqc", fill]).output().expect("psql runs");
    assert!(!output.status.success(), "more than its quota fits in");
    user.sql(&user.from(), "CREATE TABLE u AS SELECT n FROM generate_series(1, 100000) AS n; CHECKPOINT");
    assert_eq!(user.destroy(&["c"]).code, Some(0));
    user.assert_nothing_left();
    assert!(clones(&disk).is_empty());
    for more in [["--snapshot", "copy"], ["--snapshot", "basebackup"]] {
        let refused = user.create(&[&more[..], &["--name", "d", "--quota", "48MB"]].concat()).output();
        let stderr = String::from_utf8_lossy(&refused.expect("it runs").stderr).into_owned();
        assert!(stderr.contains("cannot limit what a") && stderr.contains("hint: "), "{stderr}");
    }
    user.assert_nothing_left();
}

#[tokio::test]
async fn what_was_killed_on_zfs_is_listed_and_can_be_destroyed() {
    let Some((disk, user)) = user().await else { return };
    for (i, phase) in ["look", "checkpoint", "clone", "fixup", "start", "first_row", "settle"].iter().enumerate() {
        let name = format!("c{i}");
        killed_in(&user, &name, phase, &["--snapshot", "zfs"]);
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
        assert_eq!(clones(&disk), Vec::<String>::new(), "{phase}");
    }
    // Killed, and nothing is known of it any more: its dataset says that it was being made, and by whom.
    killed_in(&user, "c", "first_row", &["--snapshot", "zfs", "--owner", "ada"]);
    user.lab.assert_nothing_runs_soon();
    fs::remove_dir_all(user.lab.path("state/pgbench-rs")).expect("removed");
    let row = stray(&user, &disk);
    assert_eq!((&row["owner"], &row["state"]), (&"ada".into(), &"half_made".into()));
    let dataset = clones(&disk).into_iter().find(|name| !name.contains('@')).expect("a clone");
    let began = Instant::now();
    while user.destroy(&[&dataset]).code != Some(0) {
        assert!(began.elapsed() < LIMIT, "it cannot be destroyed");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(clones(&disk).is_empty() && children(&user.lab.path("work")).is_empty());
}
