//! Logical replication from outside: subscribers end up equal, one that does not is caught, and lag is what it is.

use super::engine::on_version;
use super::{Ended, Lab};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::time::Duration;

/// A publisher, a standby and two subscribers, each with its part of the books.
const BOOKS: &str = r#"
name     = "logical"
question = "Do all get what they subscribe to?"
trials   = 1

[node]
a = { role = "primary" }
s = { role = "standby", follows = "a", slot = true }
b = { role = "subscriber" }
c = { role = "subscriber" }

[postgres.settings]
shared_buffers = "16MB"

[publication.leadership]
on     = "a"
tables = { books = { where = "topic = 'leadership'" } }

[publication.technical]
on     = "a"
tables = { books = { where = "topic = 'technical'", columns = ["id", "sku", "title", "topic"] } }

[subscription.leadership]
to           = "b"
publications = ["leadership"]

[subscription.technical]
to           = "c"
publications = ["technical"]
slot         = "tech"
copy         = "none"

[load.app]
mix     = { kind = "books", reads = 1 }
profile = { kind = "open", rate = 200, arrivals = "rayleigh" }
clients = 2
timeout = "1s"

[probe.visibility]

[probe.lag]
every = "100ms"

[[phase]]
name  = "one"
lasts = "3s"
"#;

/// Values of the whole trial by metric and subject.
pub struct Summary(BTreeMap<(String, String), f64>);

impl Summary {
    pub fn of(lab: &Lab) -> Summary {
        Summary::in_phase(lab, "")
    }

    pub fn in_phase(lab: &Lab, phase: &str) -> Summary {
        let mut csv = csv::Reader::from_path(lab.results().join("summary.csv")).expect("summary.csv");
        let rows = csv.records().map(|row| row.expect("a row")).filter(|row| &row[4] == phase);
        Summary(rows.map(|row| ((row[7].into(), row[6].into()), row[9].parse().expect("a number"))).collect())
    }

    /// The same of each variant.
    fn by_variant(lab: &Lab) -> BTreeMap<String, Summary> {
        let mut csv = csv::Reader::from_path(lab.results().join("summary.csv")).expect("summary.csv");
        let mut all: BTreeMap<String, Summary> = BTreeMap::new();
        for row in csv.records().map(|row| row.expect("a row")).filter(|row| row[4].is_empty()) {
            let of = all.entry(row[2].to_owned()).or_insert_with(|| Summary(BTreeMap::new()));
            of.0.insert((row[7].into(), row[6].into()), row[9].parse().expect("a number"));
        }
        all
    }

    pub fn get(&self, metric: &str, subject: &str) -> Option<f64> {
        self.0.get(&(metric.to_owned(), subject.to_owned())).copied()
    }

    pub fn the(&self, metric: &str, subject: &str) -> f64 {
        self.get(metric, subject).unwrap_or_else(|| panic!("no {metric} of {subject}"))
    }
}

pub fn run(scenario: &str, options: &[&str]) -> (Lab, Ended) {
    let lab = Lab::with(scenario);
    // Several trials, in containers, on a machine that is busy.
    let ended = lab.start(&[&["--no-template-cache"], options].concat()).wait_for(Duration::from_secs(240));
    (lab, ended)
}

/// Points of the measurement `lag`: the stream, and its fields as they are written.
fn lags(lab: &Lab, subject: &str) -> Vec<BTreeMap<String, String>> {
    let file = fs::File::open(lab.results().join("metrics.lp.gz")).expect("metrics");
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    let ours = text.lines().filter(|line| line.starts_with("lag,") && line.contains(&format!("stream={subject} ")));
    let fields = |line: &str| {
        let fields = line.split(' ').nth(1).expect("fields");
        let pairs = fields.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches('i').to_owned())).collect()
    };
    ours.map(fields).collect()
}

fn all_end_up_equal(lab: &Lab, ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    assert_eq!(lab.trials()[0].1, "ok", "{:?}", lab.trials());
    let summary = Summary::of(lab);
    for subject in ["a>s", "a>b.leadership", "a>c.technical"] {
        assert_eq!(summary.the("truth.differing", subject), 0.0);
        assert_eq!(summary.the("lag.visible.unseen", subject), 0.0);
        assert!(summary.the("lag.visible.seen", subject) > 10.0);
        assert!(summary.the("lag.visible.upper.p50", subject) < 1.0);
        assert!(summary.the("lag.heartbeat.max", subject) > 0.0);
        assert_eq!(summary.the("lag.connected", subject), 1.0);
        assert!(summary.get("lag.bytes.max", subject).is_some());
        assert!(summary.get("lag.last_replayed.max", subject).is_some(), "{subject}");
        assert!(summary.the("lag.drained", subject) < 30.0);
    }
    // Of a thousand books at the start, and of each five that come, one is of each topic.
    let inserted = summary.the("load.transactions", "app");
    let (all, part) = (summary.the("truth.rows", "a>s"), summary.the("truth.rows", "a>b.leadership"));
    assert!(part > 200.0 && part < 200.0 + inserted, "{part} of {all}");
    assert!(summary.the("logical.copy", "a>b.leadership") > 0.0);
    lab.assert_nothing_left();
}

#[test]
fn row_filtered_subscribers_end_up_with_their_rows() {
    let (lab, ended) = run(BOOKS, &[]);
    all_end_up_equal(&lab, &ended);
    let log = lab.results().join("nodes/1/b/postgresql.log");
    let log = fs::read_to_string(log).expect("the subscriber's log");
    assert!(!log.contains("ERROR"), "{log}");
}

/// The shipped scenario, once and short.
fn shipped(options: &[String]) {
    let short = ["--set", "trials=1", "--set", "phase.measure.lasts=6s"];
    let options: Vec<&str> = short.into_iter().chain(options.iter().map(String::as_str)).collect();
    let (lab, ended) = run(include_str!("../../../../scenarios/logical.toml"), &options);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    assert_eq!(lab.trials()[0].1, "ok", "{:?}", lab.trials());
    let summary = Summary::of(&lab);
    for subject in ["a>s", "a>b.leadership", "a>c.technical"] {
        assert_eq!(summary.the("truth.differing", subject), 0.0);
        assert!(summary.the("truth.rows", subject) > 200.0, "{subject}");
    }
    lab.assert_nothing_left();
}

#[test]
fn the_shipped_scenario_ends_with_every_target_equal() {
    shipped(&[]);
}

#[test]
fn the_shipped_scenario_in_containers_of_17() {
    let Some(options) = on_version("live::cli::logical (17)", "17") else { return };
    shipped(&options);
}

#[test]
fn the_shipped_scenario_in_containers_of_18() {
    let Some(options) = on_version("live::cli::logical (18)", "18") else { return };
    shipped(&options);
}

#[test]
fn row_filtered_subscribers_in_containers() {
    let Some(options) = on_version("live::cli::logical (18)", "18") else { return };
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let (lab, ended) = run(BOOKS, &options);
    all_end_up_equal(&lab, &ended);
}

#[test]
fn a_target_that_differs_fails_the_trial_and_its_keys_are_named() {
    let scenario = BOOKS
        .replace("{ books = { where = \"topic = 'leadership'\" } }", "[\"pgbench_accounts\"]")
        .replace("mix     = { kind = \"books\", reads = 1 }", "mix     = { kind = \"simple_update\" }");
    let scenario = scenario.replace(
        "books = { where = \"topic = 'technical'\", columns = [\"id\", \"sku\", \"title\", \"topic\"] }",
        "pgbench_accounts = { where = \"aid <= 100\" }",
    ) + "\n[load.vandal]\nmix = { kind = \"simple_update\" }\nprofile = { kind = \"open\", rate = 5 }\nto = \"b\"\n";
    let (lab, ended) = run(&scenario, &[]);
    assert_eq!(ended.code, Some(4), "{} {}", ended.stdout, ended.stderr);
    let (_, status, reason) = lab.trials().remove(0);
    assert_eq!(status, "failed");
    assert!(
        reason
            .contains("a>b.leadership: pgbench_accounts differs: 100000 rows on a, 100000 on b; with other values: ("),
        "{reason}"
    );
    let summary = Summary::of(&lab);
    let differing = ["a>b.leadership", "a>c.technical", "a>s"].map(|subject| summary.the("truth.differing", subject));
    assert_eq!(differing, [1.0, 0.0, 0.0]);
    assert_eq!(summary.the("truth.rows", "a>c.technical"), 100.0);
    lab.assert_nothing_left();
}

#[test]
fn a_subscriber_of_a_subscriber_gets_what_that_one_gets() {
    let scenario = BOOKS.replace("[load.app]", "[publication.onward]\non = \"b\"\ntables = \"all\"\n\n[subscription.onward]\nto = \"d\"\npublications = [\"onward\"]\n\n[load.app]")
        .replace("[postgres.settings]", "d = { role = \"subscriber\" }\nt = { role = \"standby\", follows = \"d\" }\n\n[postgres.settings]");
    let (lab, ended) = run(&scenario, &[]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let summary = Summary::of(&lab);
    assert_eq!(summary.the("truth.differing", "b>d.onward"), 0.0);
    assert_eq!(summary.the("truth.differing", "d>t"), 0.0);
    assert!(summary.the("truth.rows", "b>d.onward") >= summary.the("truth.rows", "a>b.leadership"));
    for subject in ["a>d.onward", "a>t.onward"] {
        assert!(summary.the("lag.visible.seen", subject) > 10.0);
        assert_eq!(summary.the("lag.visible.unseen", subject), 0.0);
    }
    lab.assert_nothing_left();
}

#[test]
fn commit_to_visible_brackets_a_planted_delay() {
    let standby = |ms: u32| {
        format!(
            "d{ms} = {{ role = \"standby\", follows = \"a\", settings = {{ recovery_min_apply_delay = \"{ms}ms\" }} }}\n"
        )
    };
    let nodes: String = [20, 100, 1000].map(standby).concat();
    let scenario = BOOKS.replace("s = { role = \"standby\", follows = \"a\", slot = true }\n", &nodes);
    let (lab, ended) = run(&scenario.replace("lasts = \"3s\"", "lasts = \"5s\""), &[]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let summary = Summary::of(&lab);
    for ms in [20.0, 100.0, 1000.0] {
        let (subject, planted) = (format!("a>d{ms}"), ms / 1e3);
        let (lower, upper) =
            (summary.the("lag.visible.lower.p50", &subject), summary.the("lag.visible.upper.p50", &subject));
        println!("{subject}: {lower} to {upper}");
        // The server waits in steps of its own clock's granularity and of the scheduler's.
        assert!(
            lower <= planted + 0.03 && planted <= upper && upper <= planted + 0.15,
            "{subject}: {lower} to {upper}"
        );
        assert!(summary.the("lag.bytes.p50", &subject) > 0.0, "{subject} is behind in bytes, too");
    }
    let bytes = ["a>d20", "a>d1000"].map(|subject| summary.the("lag.bytes.p50", subject));
    assert!(bytes[1] > 5.0 * bytes[0], "the distance grows with the delay: {bytes:?}");
    let points = lags(&lab, "a>d1000");
    let delayed: Vec<_> = points.iter().filter(|point| number(point, "heartbeat_seconds") > 0.9).collect();
    assert!(delayed.len() > 20, "{}", delayed.len());
    assert!(delayed.iter().all(|point| number(point, "distance_bytes") > 0.0), "nothing reads 0");
}

fn number(point: &BTreeMap<String, String>, field: &str) -> f64 {
    point[field].parse().expect("a number")
}

#[test]
fn an_apply_worker_that_stands_still_shows_in_all_ways() {
    let phases = "lasts = \"2s\"\n\n[[phase]]\nname = \"still\"\nlasts = \"6s\"\n\
         do.freeze = { at = \"500ms\", for = \"5s\", act = { kind = \"freeze\", of = \"b\", what = \"logical_workers\" } }\n\n\
         [[phase]]\nname = \"after\"\nlasts = \"3s\"";
    let (lab, ended) = run(&BOOKS.replace("lasts = \"3s\"", phases), &[]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let (still, after) = (Summary::in_phase(&lab, "still"), Summary::in_phase(&lab, "after"));
    let subject = "a>b.leadership";
    let (lower, upper) = (still.the("lag.visible.lower.max", subject), still.the("lag.visible.upper.max", subject));
    println!("{lower} to {upper}, heartbeat {}", still.the("lag.heartbeat.max", subject));
    assert!((4.0..=5.5).contains(&lower) && (4.8..7.0).contains(&upper), "{lower} to {upper}");
    assert!(still.the("lag.heartbeat.max", subject) > 4.5);
    assert!(still.the("lag.last_replayed.max", subject) > 4.5);
    assert!(still.the("lag.bytes.max", subject) > 50_000.0, "{}", still.the("lag.bytes.max", subject));
    assert!(after.the("lag.bytes.p50", subject) < still.the("lag.bytes.max", subject) / 5.0);
    assert!(still.the("lag.visible.upper.max", "a>c.technical") < 2.0, "the other one goes on");
    // From when the freeze has taken hold until shortly before its end, 100 ms apart.
    let points = lags(&lab, subject);
    let behind = |point: &&BTreeMap<String, String>| number(point, "heartbeat_seconds") > 0.5;
    let during: Vec<_> = points.iter().filter(behind).collect();
    assert!(during.len() > 30, "{}", during.len());
    for field in ["distance_bytes", "retained_bytes", "last_replayed_seconds"] {
        assert!(during.iter().all(|point| number(point, field) > 0.0), "{field} reads 0");
    }
    assert!(during.iter().all(|point| point.get("replay_lag").is_none_or(|lag| lag != "0")), "replay_lag reads 0");
    lab.assert_nothing_left();
}

#[test]
fn on_an_idle_primary_only_the_last_replayed_transaction_ages() {
    let scenario = BOOKS
        .replace("[probe.visibility]\n", "")
        .replace("mix     = { kind = \"books\", reads = 1 }", "mix     = { kind = \"books\", inserts = 0, reads = 1 }");
    // Nothing is published that nobody writes.
    let end =
        scenario.find("[publication.leadership]").expect("publications")..scenario.find("[load.app]").expect("a load");
    let mut scenario = scenario.clone().replace(&scenario[end], "");
    scenario = scenario.replace("b = { role = \"subscriber\" }\nc = { role = \"subscriber\" }\n", "");
    let (lab, ended) = run(&scenario.replace("lasts = \"3s\"", "lasts = \"4s\""), &[]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let summary = Summary::of(&lab);
    assert!(summary.the("lag.last_replayed.max", "a>s") > 3.0);
    assert!(summary.the("lag.bytes.max", "a>s") < 1000.0);
    assert!(summary.get("lag.reported.max", "a>s").is_none_or(|lag| lag < 1.0), "the server's own lag does not grow");
    for absent in ["lag.heartbeat.max", "lag.visible.upper.max"] {
        assert_eq!(summary.get(absent, "a>s"), None, "nobody writes markers");
    }
    assert!(ended.stdout.contains("age of the last replayed transaction"), "{}", ended.stdout);
}

#[test]
fn books_come_several_to_a_transaction() {
    let scenario = BOOKS.replace("reads = 1 }", "rows = 50 }").replace("rate = 200", "rate = 20");
    let (lab, ended) = run(&scenario, &[]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let summary = Summary::of(&lab);
    let (all, part) = (summary.the("truth.rows", "a>s"), summary.the("truth.rows", "a>b.leadership"));
    let inserted = summary.the("load.transactions", "app");
    assert!(inserted > 20.0 && part == 200.0 + 10.0 * inserted, "{part} of {all} after {inserted} transactions");
    assert!(summary.the("lag.written", "a>s") > 50.0 * 100.0 * inserted / 2.0);
    lab.assert_nothing_left();
}

#[test]
fn a_subscription_that_is_disabled_or_has_lost_its_slot_or_meets_a_conflict_ends_up_equal() {
    let faults = "lasts = \"9s\"\n\
         do.stop     = { measured = true, at = \"0s\", for = \"2s\", act = { kind = \"stop\", of = \"b\", mode = \"fast\" } }\n\
         do.conflict = { at = \"4s\", for = \"2s\", act = { kind = \"apply_conflict\", of = \"leadership\", table = \"books\" } }\n\
         do.disable  = { at = \"1s\", for = \"2s\", act = { kind = \"disable_subscription\", of = \"technical\" } }\n\
         do.lose     = { at = \"4s\", for = \"2s\", act = { kind = \"drop_slot\", of = \"technical\" } }";
    let (lab, ended) = run(&BOOKS.replace("lasts = \"3s\"", faults), &[]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    assert_eq!(lab.trials()[0].1, "ok", "{:?}", lab.trials());
    let summary = Summary::of(&lab);
    for subject in ["a>s", "a>b.leadership", "a>c.technical"] {
        assert_eq!(summary.the("truth.differing", subject), 0.0);
        let lag = summary.the("lag.visible.upper.max", subject);
        assert_eq!(lag > 1.5, subject != "a>s", "{subject}: {lag}");
    }
    for subject in ["a>b.leadership", "a>c.technical"] {
        assert!(summary.the("lag.connected", subject) < 0.95, "{subject}");
        assert!(lags(&lab, subject).iter().any(|point| point["connected"] == "0" && !point.contains_key("replay_lag")));
    }
    let log = fs::read_to_string(lab.results().join("nodes/1/b/postgresql.log")).expect("the subscriber's log");
    assert!(log.contains("duplicate key value violates unique constraint"), "{log}");
    lab.assert_nothing_left();
}

/// A shipped scenario on a version, each of its variants once; the summary of the whole trial by variant.
fn of_version(what: &str, version: &str, scenario: &str, more: &[&str]) -> Option<BTreeMap<String, Summary>> {
    let options = on_version(what, version)?;
    let version = format!("postgres.version={version}");
    let options = [&["--image", options[1].as_str(), "--set", "trials=1", "--set", &version], more].concat();
    let (lab, ended) = run(scenario, &options);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    assert!(lab.trials().iter().all(|trial| trial.1 == "ok"), "{:?}", lab.trials());
    lab.assert_nothing_left();
    Some(Summary::by_variant(&lab))
}

fn decoding_on_a_standby_needs_feedback(version: &str) {
    let scenario = include_str!("../../../../scenarios/chained.toml");
    let Some(found) = of_version("live::cli::logical (decoding on a standby)", version, scenario, &[]) else { return };
    let (on, off) = (&found["feedback=on"], &found["feedback=off"]);
    let subject = "s>c.accounts";
    assert_eq!([on, off].map(|summary| summary.the("truth.behind", subject)), [0.0, 1.0]);
    assert_eq!(on.the("truth.differing", subject), 0.0);
    assert_eq!(on.the("standby.conflicts", "snapshot"), 0.0);
    assert!(off.the("standby.conflicts", "snapshot") > 0.0, "the report is cancelled");
    assert!(off.the("standby.conflicts", "active_logicalslot") + off.the("truth.behind", subject) > 0.0);
    let dead = [on, off].map(|summary| summary.the("bloat.dead", "tables"));
    assert!(dead[0] > dead[1], "{dead:?}");
}

#[test]
fn decoding_on_a_standby_of_17() {
    decoding_on_a_standby_needs_feedback("17");
}

#[test]
fn decoding_on_a_standby_of_18() {
    decoding_on_a_standby_needs_feedback("18");
}

#[test]
fn a_failover_slot_lets_a_subscriber_go_on() {
    let scenario = include_str!("../../../../scenarios/failover-slots.toml");
    let Some(found) = of_version("live::cli::logical (failover slots)", "17", scenario, &[]) else { return };
    let of = |slots: &str, metric| found[&format!("slots={slots}")].get(metric, "s>b.books");
    assert_eq!(of("plain", "truth.behind"), Some(1.0), "there is no slot");
    assert_eq!((of("waited", "truth.behind"), of("waited", "truth.differing")), (Some(0.0), Some(0.0)));
    // It has rows that s never got, and may meet their keys again.
    assert!(of("failover", "truth.behind") == Some(1.0) || of("failover", "truth.differing") == Some(1.0));
}

#[test]
fn streamed_transactions_are_applied_in_parallel() {
    let Some(options) = on_version("live::cli::logical (streaming = parallel)", "17") else { return };
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let parallel = "publications = [\"leadership\"]\nstreaming = \"parallel\"\norigin = \"none\"";
    // Every transaction counts as large; on a subscriber the setting means something else.
    let settings = "a = { role = \"primary\", settings = { debug_logical_replication_streaming = \"immediate\" } }";
    let scenario = BOOKS.replace("publications = [\"leadership\"]", parallel);
    let scenario = scenario.replace("a = { role = \"primary\" }", settings);
    let (lab, ended) = run(&scenario, &options);
    all_end_up_equal(&lab, &ended);
    let log = fs::read_to_string(lab.results().join("nodes/1/b/postgresql.log")).expect("the subscriber's log");
    let workers = log.matches("logical replication apply worker for subscription \"leadership\" has started").count();
    assert!(workers > 1, "one worker leads, others apply: {log}");
}
