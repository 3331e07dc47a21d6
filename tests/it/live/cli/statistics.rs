//! Warm-up, stopping rule and history with real servers: that what is decided is done, recorded and told.

use super::{Lab, children};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_rule_ends_trials_and_says_why() {
    let lab = Lab::new();
    let rule = ["--trials", "5", "--set", "stop.at_least=2", "--within", "300"];
    let ended = lab.start(&rule).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(lab.trials().len(), 2);
    let stopped = &lab.manifest()["stopped"];
    assert_eq!(
        (&stopped["reason"], &stopped["rounds"], &stopped["at_most"]),
        (&"precise".into(), &2.into(), &5.into())
    );
    assert!(stopped["half_widths"]["only"].as_f64().is_some_and(|half| half <= 3.0), "{stopped}");
    assert!(ended.stdout.contains("stopped after 2 rounds (at least 2): load.tps is known"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("not run"), "{}", ended.stdout);
    lab.assert_nothing_left();

    let lab = Lab::new();
    let ended = lab.start(&["--trials", "2", "--set", "stop.at_least=2", "--within", "0.000001"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(lab.manifest()["stopped"]["reason"], "ceiling");
    assert!(ended.stdout.contains("the most there were to be"), "{}", ended.stdout);
    let refused = lab.call(&["run", "tiny.toml", "--within", "3"]);
    assert_eq!(refused.code, Some(2), "one trial is fewer than five: {}", refused.stderr);
}

#[test]
fn a_pair_of_runs_has_a_history() {
    let lab = Lab::new();
    for _ in 0..2 {
        let ended = lab.start(&["--set", "phase.one.warm_up=400ms"]).wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let history = lab.call(&["history", "tiny", "out", "--json"]);
    assert_eq!(history.code, Some(3), "two runs tell no change: {}", history.stderr);
    let found = json(&history.stdout);
    let [series] = found["series"].as_array().expect("series").as_slice() else { panic!("{found}") };
    assert_eq!((series["newest"].as_bool(), series["runs"].as_array().map(Vec::len)), (Some(true), Some(2)));
    let points = series["metrics"][0]["points"].as_array().expect("points");
    assert!(points.iter().all(|point| point["median"].as_f64().is_some_and(|tps| tps > 0.0)), "{found}");
    let text = lab.call(&["history", "tiny", "out"]).stdout;
    assert!(text.contains("a change takes 8 runs to tell, and it is known in 2"), "{text}");

    let runs = children(&lab.path("out"));
    let summary = std::fs::read_to_string(runs[0].join("summary.csv")).expect("summary.csv");
    let of = |metric: &str| summary.lines().find(|line| line.contains(metric)).map(|line| line.to_owned());
    assert!(of(",one,,app,load.warm_up,s,0.4").is_some(), "{summary}");
    assert!(of(",one,,app,load.steady.tps,1/s,").is_some(), "{summary}");
    assert!(of("load.unsteady").is_none(), "what is said is not asked");
    let nothing = lab.call(&["history", "tyni", "out"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
    lab.assert_nothing_left();
}
