//! Clients move from a publisher to a subscriber: nothing is lost, and what was forgotten is named.

use super::engine::on_version;
use super::logical::{Summary, run};
use super::{Ended, Lab};

/// A publisher with a standby, a subscriber with one that takes over, and another subscriber.
const MOVE: &str = r#"
name     = "cutover"
question = "Is anything lost or forgotten?"
trials   = 1

[node]
a = { role = "primary" }
s = { role = "standby", follows = "a" }
b = { role = "subscriber" }
t = { role = "standby", follows = "b" }
c = { role = "subscriber" }

[postgres.settings]
shared_buffers = "16MB"

[publication.everything]
on = "a"

[publication.leadership]
on     = "a"
tables = { books = { where = "topic = 'leadership'" } }

[subscription.upgrade]
to           = "b"
publications = ["everything"]

[subscription.leadership]
to           = "c"
publications = ["leadership"]

[load.shop]
mix     = { kind = "books", reads = 1 }
profile = { kind = "open", rate = 200 }
clients = 4
timeout = "1s"

[probe.ledger]
writers = 2
rate    = 100

[probe.visibility]

[probe.lag]

[[phase]]
name  = "before"
lasts = "1s"

[[phase]]
name  = "after"
lasts = "5s"
do.move = { at = "500ms", act = { kind = "cutover", to = "b" } }
"#;

/// What `events.csv` says was forgotten.
fn forgotten(lab: &Lab) -> Vec<String> {
    let mut csv = csv::Reader::from_path(lab.results().join("events.csv")).expect("events.csv");
    let rows = csv.records().map(|row| row.expect("a row"));
    rows.filter(|row| &row[5] == "cutover.forgotten").map(|row| row[7].to_owned()).collect()
}

fn nothing_is_lost(lab: &Lab, ended: &Ended) -> Summary {
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    assert_eq!(lab.trials()[0].1, "ok", "{:?}", lab.trials());
    let summary = Summary::of(lab);
    assert_eq!(summary.the("ledger.acked_lost", ""), 0.0);
    assert!(summary.the("ledger.acked", "") > 200.0, "writes go on");
    let (outage, took) = (summary.the("failover.write_outage", ""), summary.the("cutover.duration", ""));
    println!("writes stopped for {outage} s, the cutover took {took} s");
    assert!(summary.the("cutover.caught_up", "") < took && outage < took + 2.0, "{outage} {took}");
    // Standbys of the new one see its writes.
    assert!(summary.the("lag.visible.seen", "b>t") > 10.0);
    assert_eq!(summary.the("truth.differing", "b>t"), 0.0);
    lab.assert_nothing_left();
    summary
}

#[test]
fn clients_move_and_nothing_is_lost_or_forgotten() {
    let (lab, ended) = run(MOVE, &[]);
    let summary = nothing_is_lost(&lab, &ended);
    assert_eq!(forgotten(&lab), [""; 0]);
    assert_eq!(summary.the("cutover.forgotten", ""), 0.0);
    assert_eq!(summary.the("truth.differing", "b>c.leadership"), 0.0);
    let after = Summary::in_phase(&lab, "after");
    assert!(after.the("load.errors", "shop") < 20.0, "keys are given once");
}

#[test]
fn what_is_forgotten_is_named() {
    let careless = MOVE
        .replace("to = \"b\" } }", "to = \"b\", sequences = false, subscribers = false } }")
        .replace("t = { role = \"standby\", follows = \"b\" }\n", "");
    let (lab, ended) = run(&careless, &[]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let forgotten = forgotten(&lab);
    let [sequence, subscriber, standbys] = forgotten.as_slice() else { panic!("{forgotten:?}") };
    assert!(sequence.starts_with("the sequence public.books_id_seq has given 1000 on b, and 1"), "{sequence}");
    assert_eq!(subscriber, "c.leadership still subscribes to a");
    assert_eq!(standbys, "b has 0 standbys, and a had 1");
    let after = Summary::in_phase(&lab, "after");
    assert!(after.the("load.errors", "shop") > 20.0, "keys are given twice");
}

#[test]
fn clients_stay_when_the_subscriber_does_not_catch_up() {
    let frozen = MOVE
        .replace("do.move = { at = \"500ms\", act = { kind = \"cutover\", to = \"b\" } }", "\
            do.still = { at = \"0s\", for = \"3s\", act = { kind = \"freeze\", of = \"b\", what = \"logical_workers\" } }\n\
            do.move = { at = \"500ms\", measured = true, act = { kind = \"cutover\", to = \"b\", timeout = \"1s\" } }");
    let (lab, ended) = run(&frozen, &[]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let summary = Summary::of(&lab);
    assert_eq!(summary.the("cutover.rolled_back", ""), 1.0);
    assert_eq!(summary.the("ledger.acked_lost", ""), 0.0);
    assert!((0.9..4.0).contains(&summary.the("failover.write_outage", "")));
    assert_eq!(summary.the("truth.differing", "a>b.upgrade"), 0.0);
}

#[test]
fn from_15_to_18() {
    let Some(options) = on_version("live::cli::cutover (15 to 18)", "18") else { return };
    // The versions are the scenario's.
    let image = options[1].replace(":18", ":{version}");
    let options = ["--image", &image, "--set", "trials=1", "--set", "vary.cutover.careless=absent"];
    let (lab, ended) = run(include_str!("../../../../scenarios/upgrade.toml"), &options);
    let summary = nothing_is_lost(&lab, &ended);
    assert_eq!(forgotten(&lab), [""; 0]);
    assert_eq!(summary.the("truth.differing", "b>c.leadership"), 0.0);
}
