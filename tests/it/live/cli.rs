//! The program itself, from outside: what it prints, what it writes, what it leaves behind, what it exits with.

mod campaigns;
mod clones;
mod commands;
mod cutover;
mod dashboards;
mod disk;
mod engine;
mod everything;
mod external;
mod interrupt;
mod keep;
mod kill;
mod logical;
mod outage;
mod page;
mod sample;
mod sinks;
mod split_brain;
mod start;
mod statistics;
mod templates;
mod unprivileged;

use super::fixture::open_to_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgbench_rs::base::proc::{self, Stat};
use pgbench_rs::cluster::templates::STORE;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Long enough for whatever a tiny run does on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

/// A primary, a standby, a slow load. Short, and small enough to start at once.
const TINY: &str = r#"
name     = "tiny"
question = "Does it run?"
answer   = ["load.tps"]
trials   = 1

[node]
a = { role = "primary" }
b = { role = "standby", follows = "a" }

[postgres.settings]
shared_buffers = "16MB"

[load.app]
mix     = { kind = "tpcb", scale = 1 }
profile = { kind = "open", rate = 50 }
clients = 2
timeout = "1s"

[[phase]]
name  = "one"
lasts = "1s"
"#;

/// A folder for results, data directories and the user's state, with a scenario in it.
struct Lab {
    dir: tempfile::TempDir,
}

/// What `pgbench-rs` did.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Lab {
    fn new() -> Lab {
        Lab::with(TINY)
    }

    fn with(scenario: &str) -> Lab {
        let dir = tempfile::Builder::new().prefix("pgbench-rs-cli-").tempdir().expect("a temporary directory");
        open_to_all(dir.path());
        let lab = Lab { dir };
        for folder in ["work", "out", "state"] {
            fs::create_dir(lab.path(folder)).expect("a folder");
            open_to_all(&lab.path(folder));
        }
        fs::write(lab.path("tiny.toml"), scenario).expect("a scenario");
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgbench-rs"));
        command.args(args).env("XDG_STATE_HOME", self.path("state")).current_dir(self.dir.path());
        command.stdin(Stdio::null());
        command
    }

    /// `pgbench-rs ARGS` to its end.
    fn call(&self, args: &[&str]) -> Ended {
        self.program(args).output().expect("the program runs").into()
    }

    /// `pgbench-rs run` of the lab's scenario.
    fn run(&self, more: &[&str]) -> Command {
        let mut command = self.program(&["run", "tiny.toml", "--out", "out", "--work", "work"]);
        command.args(more);
        command
    }

    fn start(&self, more: &[&str]) -> Started<'_> {
        let file = |name| File::create(self.path(name)).expect("a file");
        let child = self.run(more).stdout(file("stdout")).stderr(file("stderr")).spawn().expect("the program runs");
        Started { lab: self, child }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The results folder; there is one.
    fn results(&self) -> PathBuf {
        let found = children(&self.path("out"));
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().expect("it has one")
    }

    /// A file of the results folder.
    fn text_of(&self, name: &str) -> String {
        fs::read_to_string(self.results().join(name)).unwrap_or_default()
    }

    fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.results().join("run.json")).expect("run.json")).expect("JSON")
    }

    /// `variant trial status reason` of each trial.
    fn trials(&self) -> Vec<(u32, String, String)> {
        let mut csv = csv::Reader::from_path(self.results().join("trials.csv")).expect("trials.csv");
        let row = |row: csv::StringRecord| (row[2].parse().expect("a trial"), row[5].to_owned(), row[6].to_owned());
        csv.records().map(|record| row(record.expect("a row"))).collect()
    }

    /// All of the run's servers and helpers that are alive.
    fn processes(&self) -> Vec<Stat> {
        let work = fs::canonicalize(self.path("work")).expect("the work directory");
        let ours = |stat: &Stat| match stat.name.as_str() {
            "postgres" => proc::working_directory(stat.identity.pid).is_some_and(|cwd| cwd.starts_with(&work)),
            "initdb" | "cp" | "sync" | "pg_controldata" => {
                proc::title(stat.identity.pid).is_some_and(|title| title.contains(&*work.to_string_lossy()))
            }
            _ => false,
        };
        proc::alive().into_iter().filter(ours).collect()
    }

    /// Whether a server runs in the directory of a trial, not a template's.
    fn has_nodes(&self) -> bool {
        let in_trial = |stat: &Stat| {
            let cwd = proc::working_directory(stat.identity.pid).unwrap_or_default();
            cwd.parent().and_then(Path::parent).is_some_and(|trial| trial.ends_with("1"))
        };
        self.processes().iter().any(in_trial)
    }

    /// What lies in the work directory beside the templates that are kept on purpose.
    fn in_work(&self) -> Vec<PathBuf> {
        let mut found = children(&self.path("work"));
        found.retain(|path| !path.ends_with(STORE));
        found
    }

    /// Directories of templates that are being made.
    fn half_made(&self) -> Vec<PathBuf> {
        let store = self.path("work").join(STORE);
        let mut found = if store.exists() { children(&store) } else { Vec::new() };
        found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".making-")));
        found
    }

    /// Nothing runs and nothing lies in the work directory but whole templates, and `clean` knows of nothing either.
    fn assert_nothing_left(&self) {
        assert!(self.processes().is_empty(), "{:?}", self.processes());
        assert_eq!((self.in_work(), self.half_made()), (Vec::new(), Vec::new()));
        let said = self.call(&["clean"]).stdout;
        let (first, rest) = said.split_once('\n').unwrap_or_default();
        assert_eq!(first, "nothing is left of any run");
        assert!(rest.lines().all(|line| line.starts_with("kept ") && line.contains("template prune")), "{said}");
    }

    /// Within the time in which the watchdog must have acted, nothing runs any more.
    fn assert_nothing_runs_soon(&self) {
        let began = Instant::now();
        while !self.processes().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(5), "still there: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What `clean ARGS --json` says of the only run that it knows.
    fn clean(&self, args: &[&str]) -> Value {
        let ended = self.call(&[&["clean", "--json"], args].concat());
        assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
        let mut all: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        match all["runs"].take() {
            Value::Array(runs) if runs.len() == 1 => runs.into_iter().next().expect("it has one"),
            other => panic!("not one run: {other}"),
        }
    }
}

impl Drop for Lab {
    /// A test that fails leaves nothing either.
    fn drop(&mut self) {
        for stat in self.processes() {
            let _ = stat.identity.signal(Signal::SIGKILL);
        }
        if std::thread::panicking() {
            let _ = self.program(&["clean", "--kept"]).output();
        }
    }
}

/// A run under way, killed when dropped.
struct Started<'a> {
    lab: &'a Lab,
    child: Child,
}

impl Started<'_> {
    /// Waits for the moment at which something is so.
    fn until(&mut self, what: &str, so: impl Fn(&Lab) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !so(self.lab) {
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none() && Instant::now() < limit, "never {what}; stderr: {}", self.lab.text("stderr"));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it has said something on stderr.
    fn until_said(&mut self, text: &str) {
        self.until(text, |lab| lab.text("stderr").contains(text));
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it runs");
    }

    fn wait(self) -> Ended {
        self.wait_for(LIMIT)
    }

    fn wait_for(mut self, limit: Duration) -> Ended {
        let limit = Instant::now() + limit;
        let status: ExitStatus = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None => assert!(Instant::now() < limit, "it does not end: {}", self.lab.text("stderr")),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ended { code: status.code(), stdout: self.lab.text("stdout"), stderr: self.lab.text("stderr") }
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        // Its watchdog ends the rest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// All files below, as bytes; what is compressed also as it was before.
fn contents(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for path in children(dir) {
        if path.is_dir() {
            contents(&path, found);
        } else {
            let mut bytes = fs::read(&path).expect("a file");
            if path.extension().is_some_and(|extension| extension == "gz") {
                let mut plain = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes.as_slice()), &mut plain)
                    .expect("gzip");
                bytes = plain;
            }
            found.push((path, bytes));
        }
    }
}
