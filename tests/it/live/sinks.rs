//! A disk that is full for a while, and a real server that is there.

use super::fixture::not_run;
use super::receivers::{Kind, Receiver, assert_same, written};
use pgbench_rs::base::clock::Clock;
use pgbench_rs::metric::line::Labels;
use pgbench_rs::metric::{Field, Point};
use pgbench_rs::sink::{Accounting, Destination, FILE, File, Outlets, Pace, Running, Say, Sink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// A point that hardly compresses, and no two alike.
fn point(number: u64) -> Point {
    let noise: String = (0..16).map(|_| format!("{:016x}", rand::random::<u64>())).collect();
    Point {
        measurement: "pgbr_event",
        node: "a".into(),
        role: "",
        tags: vec![("kind", "noise".into()), ("seq", number.to_string())],
        fields: vec![("text", Field::Text(noise))],
        elapsed: Duration::from_millis(number),
    }
}

/// Unmounts when dropped.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

async fn trial(dir: &Path, outlets: &Outlets, batches: u64, clock: Clock, from: u64) -> Accounting {
    let labels = Labels { run_id: "r".into(), scenario: "s".into(), variant: "only".into(), trial: 1 };
    let sink = Sink::File(File::append(dir.join(FILE)).expect("the file"));
    let running = Running::start(sink, &labels, clock, outlets.orphans());
    for batch in 0..batches {
        running.points().send((0..50).map(|i| point(from + batch * 50 + i)).collect());
        // A member a second.
        tokio::time::sleep(Duration::from_millis(1050)).await;
    }
    running.stop().await.expect("the writer").accounting
}

#[tokio::test]
async fn what_a_full_disk_refuses_is_in_the_server_and_the_file_stays_whole() {
    let Some(influx) = Receiver::start(Kind::Influx1) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(dir.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return not_run("live::sinks (a full disk)", "run the tests as root where mounting a tmpfs is allowed");
    }
    let _mounted = Mounted(dir.path());
    let keys = influx.as_sink().replace("kind = \"influx1\"\n", "");
    let door = Destination::Influx1(toml::from_str(&keys).expect("the keys")).open().expect("no secret is needed");
    let say: Say = Arc::new(|_: &str| {});
    let outlets = Outlets::start(vec![("lab".into(), door)], dir.path(), Pace::default(), &say).expect("a thread");
    let clock = Clock::start();
    // Some eight kilobytes a member: the disk is full in the middle of one.
    let total = trial(dir.path(), &outlets, 12, clock, 0).await;
    assert!(total.written > 0 && total.dropped > 0 && total.adds_up(), "{total:?}");
    let (in_file, lines) = written(&dir.path().join(FILE));
    assert_eq!(lines, total.written, "whole members alone");
    let account = outlets.stop(total).await.swap_remove("lab").expect("its account");
    assert_eq!((account.acknowledged, account.produced, account.adds_up()), (600, 600, true), "{account:?}");
    let contents = influx.contents();
    assert_eq!(contents.len(), 600);
    let of_file = contents.into_iter().filter(|(key, _)| in_file.contains_key(key)).collect();
    assert_same(&of_file, &in_file, 0.0);
}
