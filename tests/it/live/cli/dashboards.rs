//! What the dashboards ask, asked of a real InfluxDB 1.6 that has real runs: each panel has something to show. The Flux of
//! the same panels is not run: it takes an InfluxDB 2.

use super::super::fixture::not_run;
use super::super::receivers::{Kind, Receiver};
use super::engine::{is_root, on_version};
use super::{Ended, Lab};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// A publisher with a standby and a subscriber, a ledger, and clones: what one run can have at once.
const EVERYTHING: &str = r#"
name     = "everything"
question = "Has each panel something to show?"
trials   = 1

[node]
a = { role = "primary", disk = { size = "1GB", fs = "xfs" } }
s = { role = "standby", follows = "a", slot = true }
b = { role = "subscriber" }

[postgres.settings]
shared_buffers = "16MB"

[sample]
tables = "2s"

[publication.books]
on     = "a"
tables = { books = {} }

[subscription.books]
to           = "b"
publications = ["books"]

[load.app]
mix     = { kind = "books", reads = 1 }
profile = { kind = "open", rate = 200 }
clients = 4
timeout = "1s"

[clone.c]
of     = "a"
phase  = "one"
rounds = 2
lasts  = "1s"
recipe = { query = "SELECT count(*) FROM books" }

[probe.ledger]
writers = 2
rate    = 20

[probe.visibility]

[probe.lag]
every = "100ms"

[[phase]]
name  = "one"
lasts = "12s"
"#;

/// A container that uses up what it may, and has a `pg_stat_io`.
const SMALL: &str = r#"
name     = "small"
question = "What does a small container do?"
trials   = 1
driver   = { kind = "docker" }

[node]
a = { role = "primary", memory = "512MB", cpus = 0.2 }

[postgres.settings]
shared_buffers = "16MB"

[load.app]
mix     = { kind = "tpcb", scale = 1 }
profile = { kind = "closed" }
clients = 8
timeout = "5s"

[[phase]]
name  = "one"
lasts = "6s"
"#;

/// Runs it, and gives its points to the server.
fn replayed(lab: &Lab, more: &[&str], influx: &Receiver) {
    let ended = Ended::from(lab.run(more).output().expect("the program runs"));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let url = format!("http://127.0.0.1:{}", influx.port);
    let ended = lab.call(&["replay", &lab.results().to_string_lossy(), "--to", &url, "--database", "lab"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

/// As Grafana puts it in, for everything that is there.
fn filled(query: &str) -> String {
    let mut query = query.replace("$timeFilter", "time > 0").replace("$__interval_ms", "1000");
    query = query.replace("$__interval", "1s");
    for variable in [
        "run_a",
        "run_b",
        "variant_a",
        "variant_b",
        "trial_a",
        "trial_b",
        "run",
        "variant",
        "node",
        "load",
        "transaction",
    ] {
        query = query.replace(&format!("${variable}"), ".*");
    }
    // What is left are ends of patterns.
    assert!(query.split('$').skip(1).all(|rest| rest.starts_with('/')), "{query}");
    query
}

fn dashboards() -> Vec<(String, Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards/influxql");
    let files = std::fs::read_dir(dir).expect("the dashboards").flatten();
    let read = |file: std::fs::DirEntry| {
        let text = std::fs::read_to_string(file.path()).expect("a dashboard");
        (file.file_name().to_string_lossy().into_owned(), serde_json::from_str(&text).expect("JSON"))
    };
    files.map(read).collect()
}

fn queries(panel: &Value) -> impl Iterator<Item = &str> {
    panel["targets"].as_array().expect("queries").iter().map(|target| target["query"].as_str().expect("a query"))
}

/// The stamps of all rows of an answer.
fn stamps(series: &[Value]) -> BTreeSet<i64> {
    let rows = series.iter().flat_map(|series| series["values"].as_array().expect("rows"));
    rows.map(|row| row[0].as_i64().expect("an instant")).collect()
}

#[test]
fn every_panel_shows_something_of_a_real_run() {
    if !is_root("live::cli::dashboards") {
        return;
    }
    let Some(influx) = Receiver::start(Kind::Influx1) else { return };
    let lab = Lab::with(EVERYTHING);
    replayed(&lab, &[], &influx);
    // Only what a container alone has may be missing without one.
    let small = on_version("live::cli::dashboards (containers)", "18");
    if let Some(options) = &small {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        replayed(&Lab::with(SMALL), &options, &influx);
    }
    let (mut empty, mut asked) = (Vec::new(), 0);
    for (file, board) in dashboards() {
        for panel in board["panels"].as_array().expect("panels") {
            let found: Vec<usize> = queries(panel).map(|query| influx.select(&filled(query)).len()).collect();
            asked += found.len();
            if found.iter().all(|series| *series == 0) {
                empty.push(format!("{file}: {}", panel["title"]));
            }
        }
        for variable in board["templating"]["list"].as_array().expect("variables").iter().skip(1) {
            let query = variable["query"].as_str().expect("a query");
            assert_ne!(influx.select(&filled(query)).len(), 0, "{file}: {query}");
        }
        for events in board["annotations"]["list"].as_array().expect("annotations") {
            let query = events["query"].as_str().expect("a query");
            assert_ne!(influx.select(&filled(query)).len(), 0, "{file}: {query}");
        }
    }
    // No machine that tests this has one: .ci/test knows.
    not_run("live::cli::dashboards (Flux)", "make observe, then look at the dashboards of the folder flux");
    assert!(asked > 80, "{asked}");
    empty.retain(|panel| small.is_some() || !(panel.contains("Container") || panel.contains("who does them")));
    assert_eq!(empty, Vec::<String>::new(), "nothing to show");
}

/// A container's processors, how it was held, and what its sessions waited for meanwhile.
#[test]
fn a_small_container_and_its_servers_waits_are_on_one_axis() {
    let Some(influx) = Receiver::start(Kind::Influx1) else { return };
    let Some(options) = on_version("live::cli::dashboards (a small container)", "18") else { return };
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    replayed(&Lab::with(SMALL), &options, &influx);
    let boards = dashboards();
    let (_, hosts) = boards.iter().find(|(file, _)| file == "hosts.json").expect("hosts");
    let panel = |title: &str| {
        let panels = hosts["panels"].as_array().expect("panels").iter();
        panels.into_iter().find(|panel| panel["title"] == title).unwrap_or_else(|| panic!("no panel {title}"))
    };
    let of =
        |title: &str| queries(panel(title)).map(|query| influx.select(&filled(query))).collect::<Vec<Vec<Value>>>();
    let throttled = of("Container: throttled");
    let held = throttled[0].iter().flat_map(|series| series["values"].as_array().expect("rows"));
    let most = held.filter_map(|row| row[1].as_f64()).fold(0.0, f64::max);
    assert!(most > 1.0 && most <= 11.0, "eight clients want more than a fifth of a processor: {most} of 10 periods");
    let processors = of("Container: processors");
    let used: BTreeSet<i64> = stamps(&processors[0]);
    let waits = of("Waits of the server, share of DB time");
    let both: BTreeSet<i64> = stamps(&throttled[0]).intersection(&used).copied().collect();
    let all: Vec<&i64> = both.iter().filter(|at| stamps(&waits[0]).contains(at)).collect();
    assert!(all.len() >= 4, "{} instants at which all three are there", all.len());
    let classes: BTreeSet<&str> =
        waits[0].iter().filter_map(|series| series["tags"]["wait_event_type"].as_str()).collect();
    assert!(classes.len() >= 2, "{classes:?}");
}
