//! Templates over several runs of the program: who makes one, who waits, what `clean` says of them.

use super::engine::on_containers;
use super::{Ended, LIMIT, Lab, children};
use pgbench_rs::base::inventory::MARK;
use pgbench_rs::cluster::templates::STORE;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

/// Large enough that making it takes a while.
const BENCH: &str = r#"
name     = "tiny"
question = "Is it there already?"
answer   = ["load.tps"]

[node]
a = { role = "primary" }

[postgres.settings]
shared_buffers = "16MB"

[data.bench]
kind  = "pgbench"
scale = 4
load  = { indexes = "before" }

[load.app]
mix     = { kind = "tpcb", scale = 4 }
profile = { kind = "open", rate = 50 }
clients = 2

[[phase]]
name  = "one"
lasts = "500ms"

[[claim]]
metric      = "load.errors"
every_trial = { max = 0 }
"#;

fn start(lab: &Lab, out: &str) -> Child {
    start_with(lab, out, &[])
}

fn start_with(lab: &Lab, out: &str, more: &[String]) -> Child {
    let mut command = lab.program(&["run", "tiny.toml", "--out", out, "--work", "work"]);
    command.args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs")
}

fn ended(child: Child) -> Ended {
    let ended: Ended = child.wait_with_output().expect("it ends").into();
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended
}

fn template(out: &Path) -> Value {
    let results = children(out).pop().expect("results");
    let run: Value = serde_json::from_slice(&fs::read(results.join("run.json")).expect("run.json")).expect("JSON");
    assert_eq!(run["templates"].as_array().map(Vec::len), Some(1), "{run}");
    run["templates"][0].clone()
}

#[test]
fn of_two_runs_at_once_one_makes_the_template_and_the_other_waits_for_it() {
    let lab = Lab::with(BENCH);
    let (one, other) = (lab.path("one"), lab.path("other"));
    let mut first = start(&lab, "one");
    let limit = Instant::now() + LIMIT;
    while lab.half_made().is_empty() {
        assert!(Instant::now() < limit && first.try_wait().expect("a child").is_none(), "it makes none");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let second = start(&lab, "other");
    let (first, second) = (ended(first), ended(second));
    assert!(first.stderr.contains("making the template bench-"), "{}", first.stderr);
    assert!(second.stderr.contains("waiting for another run, which has the template bench-"), "{}", second.stderr);
    assert!(!second.stderr.contains("making the template"), "{}", second.stderr);
    let (made, used) = (template(&one), template(&other));
    assert_eq!((&made["made_by_run"], &made["made_at"]), (&used["made_by_run"], &used["made_at"]));
    assert_eq!(made["loaded"]["bench"]["tables"].as_array().map(Vec::len), Some(4), "{made}");

    let cleaned = lab.call(&["clean", "--json"]);
    let all: Value = serde_json::from_str(&cleaned.stdout).expect("JSON");
    assert_eq!(all["templates"].as_array().map(Vec::len), Some(1), "{all}");
    assert_eq!(all["templates"][0]["made_by_run"], made["made_by_run"]);
    lab.assert_nothing_left();
}

#[test]
fn a_half_made_template_of_a_run_that_nobody_knows_is_cleaned() {
    let lab = Lab::with(BENCH);
    ended(start(&lab, "out"));
    let half = fs::canonicalize(lab.path("work")).expect("it is there").join(STORE).join(".making-gone-bench-0");
    fs::create_dir_all(half.join("data")).expect("a directory");
    fs::write(half.join(MARK), "gone").expect("a mark");
    let listed: Value = serde_json::from_str(&lab.call(&["clean", "--dry-run", "--json"]).stdout).expect("JSON");
    assert_eq!(listed["half_made"], serde_json::json!([half]));
    assert!(half.exists(), "it was only listed");
    let said = lab.call(&["clean"]).stdout;
    assert!(said.contains(&format!("{}, a template that was never finished", half.display())), "{said}");
    assert!(!half.exists());
    lab.assert_nothing_left();
}

#[test]
fn containers_start_from_what_an_earlier_run_kept() {
    let Some(options) = on_containers("live::cli::templates in containers") else { return };
    let lab = Lab::with(BENCH);
    ended(start_with(&lab, "one", &options));
    let again = ended(start_with(&lab, "other", &options));
    assert!(!again.stderr.contains("making the template"), "{}", again.stderr);
    let (made, used) = (template(&lab.path("one")), template(&lab.path("other")));
    assert_eq!((&made["kept"], &made["made_by_run"]), (&Value::Bool(true), &used["made_by_run"]));
    // A process has programs of its own, whatever their version.
    let process = ended(start(&lab, "third"));
    assert!(process.stderr.contains("making the template bench-"), "{}", process.stderr);
    let mut options = options.to_vec();
    options.push("--no-template-cache".to_owned());
    ended(start_with(&lab, "fourth", &options));
    let alone = template(&lab.path("fourth"));
    assert_eq!((&alone["kept"], alone["not_kept"].as_str()), (&Value::Bool(false), Some("--no-template-cache")));
    lab.assert_nothing_left();
}
