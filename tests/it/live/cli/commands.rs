//! What each command prints and exits with, and what a run writes.

use super::{Lab, TINY, children};
use serde_json::Value;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_run_writes_all_its_files_and_they_print_again() {
    let lab = Lab::new();
    let ended = lab.start(&["--json"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let summary = json(&ended.stdout);
    assert_eq!((&summary["status"], &summary["variants"][0]["ok"]), (&"finished".into(), &1.into()));

    let results = lab.results();
    let first_line =
        |file: &str| std::fs::read_to_string(results.join(file)).expect(file).lines().next().map(str::to_owned);
    for (file, header) in [
        ("trials.csv", "run_id,variant,trial,position,started_at,status,reason"),
        ("summary.csv", "run_id,scenario,variant,trial,phase,node,subject,metric,unit,value"),
        ("events.csv", "run_id,variant,trial,elapsed_ms,at,kind,node,text"),
    ] {
        assert_eq!(first_line(file).as_deref(), Some(header), "{file}");
    }
    for file in [
        "run.json",
        "metrics.lp.gz",
        "inventory.jsonl",
        "latency/1/app.hlog",
        "nodes/1/a/postgresql.log",
        "nodes/1/b/postgresql.log",
    ] {
        assert!(results.join(file).metadata().is_ok_and(|meta| meta.len() > 0), "{file} is missing or empty");
    }
    let manifest = lab.manifest();
    assert_eq!(manifest["status"], "finished");
    assert_eq!(manifest["settings"]["only"]["shared_buffers"], "16MB");
    assert_eq!(manifest["result"]["answer"], summary["answer"]);
    prints_again(&lab, &results, &summary);
    lab.assert_nothing_left();
}

fn prints_again(lab: &Lab, results: &Path, summary: &Value) {
    let dir = results.to_str().expect("a path in UTF-8");
    let report = lab.call(&["report", dir]);
    assert_eq!(report.code, Some(0), "{}", report.stderr);
    assert!(report.stdout.contains("Does it run?") && report.stdout.contains("load.tps"), "{}", report.stdout);
    assert_eq!(json(&lab.call(&["report", dir, "--json"]).stdout)["variants"], summary["variants"]);
    for (what, column) in [("summary", "metric"), ("events", "kind"), ("trials", "status"), ("latency", "p99")] {
        let csv = lab.call(&["export", dir, "--what", what]);
        assert_eq!(csv.code, Some(0), "{}", csv.stderr);
        let header = csv.stdout.lines().next().unwrap_or_default();
        assert!(header.split(',').any(|name| name.starts_with(column)), "{what}: {header}");
        let rows = json(&lab.call(&["export", dir, "--what", what, "--json"]).stdout);
        let rows = rows.as_array().unwrap_or_else(|| panic!("{what} is no array")).len();
        assert_eq!(rows, csv::Reader::from_reader(csv.stdout.as_bytes()).records().count(), "{what}");
        assert!(rows > 0, "{what} is empty");
    }
}

#[test]
fn a_claim_that_fails_is_exit_code_1() {
    let claim = "[[claim]]\nmetric = \"load.tps\"\nevery_trial = { max = 0 }\n";
    let lab = Lab::with(&format!("{TINY}\n{claim}"));
    let ended = lab.start(&[]).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stdout.contains("FAILED"), "{}", ended.stdout);
    assert_eq!(lab.trials()[0].1, "ok", "a claim never discards a trial");
    let report = lab.call(&["report", lab.results().to_str().expect("a path in UTF-8")]);
    assert_eq!(report.code, Some(1), "{}", report.stderr);
}

#[test]
fn what_is_asked_wrongly_is_exit_code_2() {
    let lab = Lab::with("name = 3");
    for args in [
        &["run", "tiny.toml"][..],
        &["plan", "tiny.toml"],
        &["check", "tiny.toml"],
        &["run", "failovr"],
        &["run", "failover", "--set", "load.app.clints=3"],
        &["report", "out"],
        &["export", "out"],
        &["new", "tiny.toml"],
        &["new", "x.toml", "--from", "nothing"],
        &["run", "failover", "--start-limit", "60"],
        &["lst"],
        &[],
    ] {
        let ended = lab.call(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args:?}");
        assert!(!ended.stderr.trim().is_empty(), "{args:?}");
    }
    let said = lab.call(&["report", "out"]).stderr;
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    let problems = json(&lab.call(&["check", "tiny.toml", "--json"]).stdout);
    assert!(problems.as_array().is_some_and(|list| list.iter().any(|problem| problem["line"] == 1)), "{problems}");
    assert_eq!(children(&lab.path("out")), Vec::<std::path::PathBuf>::new());
}

#[test]
fn commands_that_run_nothing() {
    let lab = Lab::new();
    let fine = |args: &[&str]| {
        let ended = lab.call(args);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
        ended.stdout
    };
    assert!(fine(&["check", "tiny.toml"]).starts_with("tiny.toml: fine"));
    assert_eq!(json(&fine(&["check", "tiny.toml", "failover", "--json"])), Value::Array(Vec::new()));
    assert!(fine(&["plan", "tiny.toml", "--trials", "3"]).contains("3 trials"));
    assert_eq!(
        json(&fine(&["plan", "tiny.toml", "--trials", "3", "--json"]))["plan"]["trials"].as_array().map(Vec::len),
        Some(3)
    );
    let listed = fine(&["list"]);
    let shipped = json(&fine(&["list", "--json"]));
    for scenario in shipped.as_array().expect("an array") {
        let name = scenario["name"].as_str().expect("a name");
        assert!(listed.lines().any(|line| line.starts_with(name)), "{listed}");
        let file = format!("{name}.toml");
        fine(&["new", &file, "--from", name]);
        assert_eq!(
            std::fs::read_to_string(lab.path(&file)).expect("a scenario"),
            scenario["text"].as_str().expect("its text")
        );
        fine(&["check", &file]);
    }
    assert!(fine(&["completions", "bash"]).contains("complete -F"));
    assert_eq!(fine(&["clean"]), "nothing is left of any run\n");
    let nothing = serde_json::json!({ "runs": [], "templates": [], "half_made": [] });
    assert_eq!(json(&fine(&["clean", "--json"])), nothing);
    let findings = json(&fine(&["doctor", "--json", "--work", "work"]));
    let postgres = findings.as_array().and_then(|all| all.iter().find(|finding| finding["what"] == "PostgreSQL"));
    assert_eq!(postgres.map(|finding| &finding["present"]), Some(&Value::Bool(true)), "{findings}");
    assert!(fine(&["doctor", "--work", "work"]).contains("PostgreSQL"));
    lab.assert_nothing_left();
}
