//! A clone whose server somebody else has started again, as after a restart of the machine: no inventory names that.

use super::super::super::fixture::server_command;
use super::super::LIMIT;
use super::{User, conninfo};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbench_rs::base::proc;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn postmaster(data: &Path) -> Option<i32> {
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.parse().ok()
}

fn until(what: &str, said: impl Fn() -> String, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < LIMIT, "never: {what}: {}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lets the inventory and its copy beside the index be those of an earlier boot.
fn of_an_earlier_boot(dir: &Path) -> usize {
    let mut changed = 0;
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            changed += of_an_earlier_boot(&path);
        } else if path.extension().is_some_and(|end| end == "json" || end == "jsonl") {
            let text = fs::read_to_string(&path).expect("a file");
            let earlier = text.replace(&proc::boot(), "00000000-0000-0000-0000-000000000000");
            changed += usize::from(earlier != text);
            fs::write(&path, earlier).expect("written");
        }
    }
    changed
}

#[test]
fn a_server_that_was_started_again_is_seen_and_ended() {
    let user = User::new();
    let made = user.created(&["--name", "c"]);
    let data = PathBuf::from(made["ready"]["data"].as_str().expect("a directory"));
    let first = postmaster(&data).expect("a pid");
    // As a machine that is restarted lets it end.
    kill(Pid::from_raw(first), Signal::SIGINT).expect("it runs");
    until("its server has ended", String::new, || user.states() == ["c stopped"]);
    assert!(of_an_earlier_boot(&user.lab.path("state")) >= 2);

    let log = fs::File::create(user.lab.path("log")).expect("a file");
    let mut command = server_command("postgres");
    command.arg("-D").arg(&data).stdout(Stdio::null()).stderr(log);
    let mut again = command.spawn().expect("it starts");
    until(
        "it takes connections",
        || user.lab.text("log"),
        || {
            let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            text.lines().nth(7).is_some_and(|line| line.trim() == "ready") && postmaster(&data) != Some(first)
        },
    );
    assert_eq!(user.sql(conninfo(&made), "SELECT count(*) FROM t"), "1000");
    let second = postmaster(&data).expect("a pid");
    assert!(second != first && user.states() == ["c running"], "{:?}", user.states());
    let gone = user.destroy(&["c"]);
    assert_eq!((gone.code, gone.stdout.as_str()), (Some(0), "clone `c` is gone\n"), "{}", gone.stderr);
    assert!(again.wait().expect("a child").code().is_none_or(|code| code != 0), "it was not ended");
    assert!(!data.exists());
    user.assert_nothing_left();
}
