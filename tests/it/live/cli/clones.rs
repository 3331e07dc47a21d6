//! `pgbench-rs clone`: clones by hand of a server that the user runs.

mod killed;
mod restarted;
mod zfs;

use super::super::fixture::{Primary, make, not_run, program_path};
use super::super::lab::HOW;
use super::{Ended, Lab, children};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const PASSWORD: &str = "never-to-be-shown-7351";

/// A user's server with a table, and what leads to it.
struct User {
    primary: Primary,
    lab: Lab,
}

impl User {
    fn new() -> User {
        User::of(Primary::start(&[]))
    }

    fn of(primary: Primary) -> User {
        let user = User { primary, lab: Lab::new() };
        user.sql(&user.from(), "CREATE TABLE t (n int); INSERT INTO t SELECT generate_series(1, 1000)");
        user
    }

    fn from(&self) -> String {
        let port = self.primary.host.port;
        format!("host=127.0.0.1 port={port} user=postgres dbname=postgres password={PASSWORD}")
    }

    /// `psql` on a connection string.
    fn sql(&self, conninfo: &str, sql: &str) -> String {
        let mut command = Command::new(program_path("psql"));
        let output = command.args([conninfo, "-XAtqc", sql]).output().expect("psql runs");
        assert!(output.status.success(), "{conninfo}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn create(&self, more: &[&str]) -> Command {
        let (data, to) = (self.primary.data(), self.lab.path("work"));
        let mut command = self.lab.program(&["clone", "create", "--from", &self.from(), "--data-dir"]);
        command.arg(data).arg("--to").arg(to).args(["--json"]).args(more);
        command
    }

    /// A clone that must come about.
    fn created(&self, more: &[&str]) -> Value {
        let ended: Ended = self.create(more).output().expect("it runs").into();
        assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
        assert!(!ended.stdout.contains(PASSWORD) && !ended.stderr.contains(PASSWORD));
        serde_json::from_str(&ended.stdout).expect("JSON")
    }

    /// All that have a card.
    fn list(&self) -> Vec<Value> {
        self.listed(true)
    }

    /// Those with a card, or those that other tests may be making on the same machine, too.
    fn listed(&self, card: bool) -> Vec<Value> {
        let ended = self.lab.call(&["clone", "list", "--json"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let mut rows: Vec<Value> = serde_json::from_str(&ended.stdout).expect("JSON");
        rows.retain(|row| row["card"] == card);
        rows
    }

    /// `name state` of each.
    fn states(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.list().iter().map(|row| format!("{} {}", text(&row["name"]), text(&row["state"]))).collect()
    }

    fn destroy(&self, args: &[&str]) -> Ended {
        self.lab.call(&[&["clone", "destroy"], args].concat())
    }

    fn assert_nothing_left(&self) {
        assert!(self.states().is_empty(), "{:?}", self.states());
        self.lab.assert_nothing_left();
        assert_eq!(children(&self.lab.path("state/pgbench-rs/clones")), Vec::<PathBuf>::new());
        assert_eq!(self.sql(&self.from(), "SELECT count(*) FROM t"), "1000");
    }
}

fn conninfo(made: &Value) -> &str {
    made["ready"]["conninfo"].as_str().expect("a connection string")
}

#[test]
fn clones_live_until_they_are_destroyed() {
    let user = User::new();
    let one = user.created(&["--name", "one", "--owner", "ada", "--expires", "4h", "--settings", "work_mem=8MB"]);
    let two = user.created(&[]);
    assert_eq!((&two["name"], &one["owner"]), (&"clone-1".into(), &"ada".into()));
    assert_eq!(user.sql(conninfo(&one), "SHOW work_mem"), "8MB");
    user.sql(conninfo(&one), "DELETE FROM t");
    for (conninfo, count) in [(conninfo(&one), "0"), (conninfo(&two), "1000"), (&*user.from(), "1000")] {
        assert_eq!(user.sql(conninfo, "SELECT count(*) FROM t"), count);
    }
    assert_eq!(user.states(), ["clone-1 running", "one running"]);
    let row = &user.list()[1];
    assert_eq!((&row["port"], &row["method"]), (&one["ready"]["port"], &"copy".into()));
    assert!(row["space_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{row}");
    assert!(row["expires_at"].is_string() && row["expired"] == false, "{row}");
    let table = user.lab.call(&["clone", "list"]).stdout;
    let line = table.lines().find(|line| line.starts_with("one ")).expect("a row");
    assert!(line.contains("ada") && line.contains("running") && line.contains("in 3h 59min"), "{table}");
    assert_eq!(user.lab.call(&["clone", "list", "--owner", "nobody"]).stdout, "there are no clones\n");
    let kept = user.lab.call(&["clean"]);
    assert!(kept.stdout.contains("kept     process") && kept.stdout.contains("killed 0 processes"), "{}", kept.stdout);
    let taken: Ended = user.create(&["--name", "one"]).output().expect("it runs").into();
    assert!(taken.code == Some(4) && taken.stderr.contains("there is a clone `one` already"), "{}", taken.stderr);

    let refused = user.lab.call(&["clone", "reset", "one"]);
    assert!(refused.code == Some(4) && refused.stderr.contains("password of the source was not kept"));
    let reset = user.lab.call(&["clone", "reset", "one", "--json", "--from", &user.from()]);
    assert_eq!(reset.code, Some(0), "{}", reset.stderr);
    let reset: Value = serde_json::from_str(&reset.stdout).expect("JSON");
    assert_eq!(reset["ready"]["port"], one["ready"]["port"]);
    assert_eq!(user.sql(conninfo(&reset), "SELECT count(*) FROM t"), "1000");
    assert_eq!(user.sql(conninfo(&reset), "SHOW work_mem"), "8MB");

    let mut files = Vec::new();
    super::contents(&user.lab.path("state"), &mut files);
    assert!(files.len() > 4);
    for (path, bytes) in files {
        let told = bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
        assert!(!told, "the password stands in {}", path.display());
    }
    assert!(user.destroy(&["nobody"]).stderr.contains("there is no clone `nobody`"));
    let gone = user.destroy(&["one", "clone-1"]);
    assert_eq!((gone.code, gone.stdout.as_str()), (Some(0), "clone `one` is gone\nclone `clone-1` is gone\n"));
    user.assert_nothing_left();
}

#[test]
fn those_whose_time_is_over_are_destroyed() {
    let user = User::new();
    user.created(&["--name", "short", "--expires", "100ms"]);
    user.created(&["--name", "long", "--expires", "1h"]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(user.lab.call(&["clone", "list"]).stdout.contains("expired"));
    let gone = user.destroy(&["--expired"]);
    assert_eq!((gone.code, gone.stdout.as_str()), (Some(0), "clone `short` is gone\n"));
    assert_eq!(user.destroy(&["--expired"]).stdout, "no clone's time is over\n");
    // As `run --keep` has it: `clean` takes what was kept only when it is told to.
    user.lab.call(&["clean", "--kept"]);
    assert_eq!(user.states(), ["long gone"]);
    assert_eq!(user.destroy(&["long"]).code, Some(0));
    user.assert_nothing_left();
}

#[test]
fn a_base_is_cooked_once() {
    let user = User::new();
    let first = user.created(&["--name", "first", "--mode", "precooked"]);
    user.sql(&user.from(), "INSERT INTO t VALUES (0)");
    let second = user.created(&["--name", "second", "--mode", "precooked"]);
    for made in [&first, &second] {
        assert_eq!(made["ready"]["mode"], "precooked");
        assert_eq!(user.sql(conninfo(made), "SELECT count(*) FROM t"), "1000");
    }
    user.sql(&user.from(), "DELETE FROM t WHERE n = 0");
    let states = user.states();
    assert!(states.len() == 3 && states[0].starts_with("base-") && states[0].ends_with(" base"), "{states:?}");
    assert_eq!(states[1..], ["first running", "second running"]);
    let base = states[0].split(' ').next().expect("a name");
    assert_eq!(user.destroy(&["first", "second", base]).code, Some(0));
    user.assert_nothing_left();
}

#[test]
fn an_interrupted_create_leaves_nothing() {
    let user = User::new();
    user.sql(&user.from(), "CREATE TABLE large AS SELECT repeat('x', 1000) AS x FROM generate_series(1, 100000)");
    let stderr = user.lab.path("stderr");
    let mut command = user.create(&["--name", "c"]);
    let mut child = command.stderr(File::create(&stderr).expect("a file")).spawn().expect("it runs");
    while !fs::read_to_string(&stderr).unwrap_or_default().contains("clone\n") {}
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("it runs");
    assert_eq!(child.wait().expect("a child").code(), Some(130));
    assert!(fs::read_to_string(&stderr).expect("a file").contains("interrupted"));
    user.assert_nothing_left();
}

#[test]
fn what_lacks_our_mark_is_never_destroyed() {
    let user = User::new();
    let made = user.created(&["--name", "c"]);
    let home = PathBuf::from(made["ready"]["home"].as_str().expect("a directory"));
    let mark = home.join(".pgbench-rs");
    let ours = fs::read(&mark).expect("a mark");
    fs::write(&mark, "somebody else's").expect("written");
    let refused = user.destroy(&["c"]);
    assert!(
        refused.code == Some(4) && refused.stdout.contains("says it belongs to run somebody else's"),
        "{}",
        refused.stdout
    );
    assert!(home.join("data/PG_VERSION").exists() && user.states() == ["c stopped"], "{:?}", user.states());
    fs::write(&mark, ours).expect("written");
    assert_eq!(user.destroy(&["c"]).code, Some(0));
    user.assert_nothing_left();
}

#[test]
fn what_cannot_be_cloned_is_said() {
    let user = User::new();
    let other = Primary::start(&[]);
    let said = |args: &[&str]| {
        let ended = user.lab.call(&[&["clone", "create"], args].concat());
        assert!(!ended.stderr.contains(PASSWORD), "{}", ended.stderr);
        (ended.code, ended.stderr)
    };
    let (from, data) = (user.from(), |path: &Path| path.to_string_lossy().into_owned());
    let theirs = data(&other.data());
    let (code, stderr) = said(&["--from", &from, "--data-dir", &theirs]);
    assert!(code == Some(4) && stderr.contains("is not the data directory of the server that was asked"), "{stderr}");
    let (code, stderr) = said(&["--from", &from, "--data-dir", "/no/such/place"]);
    assert!(code == Some(2) && stderr.contains("--data-dir /no/such/place"), "{stderr}");
    let (code, stderr) = said(&["--from", &format!("hots=x password={PASSWORD}"), "--data-dir", &theirs]);
    assert!(code == Some(2) && stderr.contains("did you mean `host`"), "{stderr}");
    let mine = data(&user.primary.data());
    let (code, stderr) = said(&["--from", &from, "--data-dir", &mine, "--settings", "archive_mode=on"]);
    assert!(code == Some(4) && stderr.contains("`archive_mode` cannot be set"), "{stderr}");
    for method in ["copy", "basebackup"] {
        let (code, stderr) = said(&["--from", &from, "--data-dir", &mine, "--to", &mine, "--snapshot", method]);
        assert!(code == Some(4) && stderr.contains("lies in the source's own directory"), "{stderr}");
    }
    assert!(!children(&user.primary.data()).iter().any(|path| path.to_string_lossy().contains("clone")));
    let (code, stderr) = said(&["--from", &from, "--data-dir", &mine, "--name", "../c"]);
    assert!(code == Some(4) && stderr.contains("is no name of a clone"), "{stderr}");
    let (code, stderr) = said(&["--from", &from, "--data-dir", &mine, "--snapshot", "zfs"]);
    assert!(code == Some(4) && stderr.contains("zfs cannot copy"), "{stderr}");
    assert!(user.states().is_empty());
    drop(other);
}

/// Whoever owns the server's directory needs to be no more than that.
#[test]
fn an_ordinary_user_clones_his_own_server() {
    if !nix::unistd::geteuid().is_root() {
        // Then every test of this file is such a user's.
        return;
    }
    let user = User::new();
    let program = user.lab.path("pgbench-rs");
    fs::copy(env!("CARGO_BIN_EXE_pgbench-rs"), &program).expect("a copy of the program");
    let call = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(&program).args(args);
        command.env("XDG_STATE_HOME", user.lab.path("state")).current_dir(user.lab.dir.path());
        let ended: Ended = command.output().expect("it runs").into();
        assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
        ended.stdout
    };
    let (from, data, to) = (user.from(), user.primary.data(), user.lab.path("work"));
    let (data, to) = (data.to_string_lossy(), to.to_string_lossy());
    let made = call(&["clone", "create", "--from", &from, "--data-dir", &data, "--to", &to, "--name", "c", "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    assert_eq!(made["owner"], "postgres");
    assert_eq!(user.sql(conninfo(&made), "SELECT count(*) FROM t"), "1000");
    assert_eq!(call(&["clone", "destroy", "c"]), "clone `c` is gone\n");
    user.assert_nothing_left();
}

/// The pattern of images of PostgreSQL, where an engine has that of this machine's version.
fn image() -> Option<String> {
    let pattern = std::env::var("PGBENCH_RS_TEST_IMAGE").unwrap_or_else(|_| "pgbench-rs/postgres:{version}".to_owned());
    let image = pattern.replace("{version}", &make(None).major().to_string());
    let there = Command::new("docker").args(["image", "inspect", &image]).output();
    if there.is_ok_and(|output| output.status.success()) {
        return Some(pattern);
    }
    not_run("live::cli::clones (in containers)", HOW);
    None
}

#[test]
fn a_clone_in_a_container_lives_until_it_is_destroyed() {
    let Some(pattern) = image() else { return };
    let user = User::new();
    for (name, more) in [("bridge", &[][..]), ("host", &["--host-network"][..]), ("inner", &["--no-egress"][..])] {
        let made = user.created(&[&["--name", name, "--image", &pattern], more].concat());
        assert_eq!(user.sql(conninfo(&made), "SELECT count(*) FROM t"), "1000");
        let phases = made["ready"]["phases"].as_array().expect("phases");
        assert!(phases.iter().any(|span| span["phase"] == "container_start"), "{made}");
    }
    assert_eq!(user.states(), ["bridge running", "host running", "inner running"]);
    assert!(user.list()[1]["port"].is_u64());
    let gone = user.destroy(&["bridge", "host", "inner"]);
    assert_eq!(gone.code, Some(0), "{} {}", gone.stdout, gone.stderr);
    user.assert_nothing_left();
}
