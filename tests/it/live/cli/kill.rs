//! kill -9 of the harness, whatever it is doing: its watchdog ends all servers, `clean` removes what is left.

use super::{Lab, Started, TINY, children};
use nix::sys::signal::Signal;
use pgbench_rs::base::inventory::{Contents, Thing};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long processes may take to vanish that were killed.
const DYING: Duration = Duration::from_secs(5);

/// Somebody who merely stands in a data directory, and must survive.
struct Bystander(Child);

impl Bystander {
    fn standing_in(dir: PathBuf) -> Bystander {
        Bystander(Command::new("sleep").arg("600").current_dir(dir).spawn().expect("sleep runs"))
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills the harness and looks at what becomes of the rest.
pub(super) fn killed(lab: &Lab, started: Started<'_>) {
    let run = lab.in_work().pop().expect("the run's directory");
    let half_made = lab.half_made();
    let mut of_run = children(&run).into_iter().chain(half_made.clone());
    let somewhere = of_run.find(|path| path.is_dir()).expect("a template or a trial");
    let data = somewhere.join("data");
    let mut bystander = Bystander::standing_in(if data.exists() { data } else { somewhere });
    started.signal(Signal::SIGKILL);
    let ended = started.wait();
    assert_eq!(ended.code, None, "{}", ended.stderr);
    lab.assert_nothing_runs_soon();

    let mut listed = lab.clean(&["--dry-run"]);
    // A process that is on its way out no longer stands in a directory, and still has its pid.
    let began = Instant::now();
    while listed["processes"] != json!([]) && began.elapsed() < DYING {
        std::thread::sleep(Duration::from_millis(50));
        listed = lab.clean(&["--dry-run"]);
    }
    let directories = listed["directories"].as_array().expect("an array").clone();
    assert!(!directories.is_empty(), "{listed}");
    let inside = |dir: &Value| {
        let dir = PathBuf::from(dir.as_str().expect("a path"));
        dir.starts_with(&run) || half_made.iter().any(|half| dir.starts_with(half))
    };
    assert!(directories.iter().all(inside), "{listed}");
    assert_eq!(
        (&listed["alive"], &listed["processes"], &listed["kept_directories"]),
        (&json!(false), &json!([]), &json!([]))
    );
    assert!(run.exists(), "a dry run removes nothing");

    let cleaned = lab.clean(&[]);
    let removed = cleaned["removed"].as_array().expect("an array");
    // What lay on a disk of its own has gone with it.
    let mounts = listed["others"].as_array().expect("an array").iter().filter_map(Value::as_str);
    let mounts: Vec<&str> = mounts.filter_map(|other| other.strip_prefix("mount ")).collect();
    let on_disk = |dir: &&Value| mounts.iter().any(|mount| dir.as_str().is_some_and(|dir| dir.starts_with(mount)));
    let (on_disk, of_their_own): (Vec<&Value>, Vec<&Value>) = directories.iter().partition(on_disk);
    assert!(of_their_own.iter().all(|dir| removed.contains(dir)) && removed.len() == of_their_own.len(), "{cleaned}");
    assert!(on_disk.iter().all(|dir| !PathBuf::from(dir.as_str().expect("a path")).exists()), "{cleaned}");
    assert!(bystander.0.try_wait().expect("a child").is_none(), "the bystander was killed");
    assert_eq!(lab.manifest()["status"], "running");
    lab.assert_nothing_left();
}

fn long() -> Lab {
    Lab::with(&TINY.replace("lasts = \"1s\"", "lasts = \"40s\""))
}

#[test]
fn while_initdb_runs() {
    let lab = long();
    let mut started = lab.start(&[]);
    started.until("initdb", |lab| lab.processes().iter().any(|stat| stat.name == "initdb"));
    killed(&lab, started);
}

#[test]
fn while_the_template_is_filled() {
    let lab = long();
    // Enough to be at it for a while.
    let mut started = lab.start(&["--set", "load.app.mix.scale=20"]);
    started.until("the template's server", |lab| lab.processes().iter().any(|stat| stat.name == "postgres"));
    killed(&lab, started);
}

#[test]
fn while_servers_start() {
    let lab = long();
    let mut started = lab.start(&[]);
    started.until("a node", Lab::has_nodes);
    assert!(!lab.text("stderr").contains(": one"), "its phases run already");
    killed(&lab, started);
}

#[test]
fn while_phases_run() {
    let lab = long();
    let mut started = lab.start(&[]);
    started.until_said(": one");
    killed(&lab, started);
}

#[test]
fn while_a_server_is_frozen() {
    let freeze = r#"do.freeze = { at = "100ms", for = "30s", act = { kind = "freeze", of = "a" } }"#;
    let lab = Lab::with(&TINY.replace("lasts = \"1s\"", &format!("lasts = \"40s\"\n{freeze}")));
    let mut started = lab.start(&[]);
    started.until("frozen", |lab| lab.processes().iter().any(|stat| stat.is_stopped()));
    killed(&lab, started);
}

#[test]
fn while_servers_are_taken_down() {
    let lab = Lab::new();
    let mut started = lab.start(&[]);
    let b_is_gone = |lab: &Lab| {
        let Some(results) = children(&lab.path("out")).pop() else { return false };
        let entries = Contents::read(&results.join("inventory.jsonl")).unwrap_or_default().entries;
        entries.iter().any(|e| e.gone && matches!(&e.thing, Thing::Process { node, .. } if node == "b"))
    };
    started.until_said(": one");
    started.until("one of two servers taken down", b_is_gone);
    killed(&lab, started);
}
