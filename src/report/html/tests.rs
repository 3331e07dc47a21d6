use super::super::tests::Lab;
use super::*;
use crate::metric::Value;
use crate::record::{EventRow, LockRow, Status};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

const HOSTILE: &str = "</script><script>alert('x')</script>\"&";

/// A record in `dir` with `points` as its sampled points.
fn record(dir: &Path, points: &str) -> Record {
    let mut lab = Lab::new(&["off", "on"], 2);
    for trial in 1..=2 {
        for level in ["off", "on"] {
            let outage = Value::new("failover.write_outage", 0.5 * f64::from(trial));
            lab.ok(level, trial, &[outage, Value::new("ledger.acked_lost", 0.0)]);
        }
    }
    lab.ended("on", 3, Status::Failed, Some(HOSTILE), &[]);
    let mut record = lab.record();
    record.dir = dir.to_owned();
    record.manifest.scenario = HOSTILE.into();
    record.plan.question = HOSTILE.into();
    for (at, kind, text) in [
        (1000.0, "phase.start", "kill for 8s"),
        (2000.0, "fault.kill", HOSTILE),
        (1990.0, "ledger.last_ack", "x"),
        (2012.0, "ledger.first_miss", "x"),
        (2300.0, "failover.confirmed", "x"),
        (2500.0, "ledger.first_ack", "x"),
    ] {
        record.events.push(EventRow {
            run_id: "r".into(),
            variant: "commit=on".into(),
            trial: 1,
            elapsed_ms: at,
            at: "2026-11-22T10:26:02Z".into(),
            kind: kind.into(),
            node: Some(HOSTILE.into()),
            text: text.into(),
        });
    }
    let mut file = GzEncoder::new(std::fs::File::create(dir.join("metrics.lp.gz")).unwrap(), Compression::fast());
    file.write_all(points.as_bytes()).unwrap();
    file.finish().unwrap();
    record
}

/// The zero of the lab's trials, in milliseconds.
const ZERO: i64 = 1_795_343_160_000;

fn points() -> String {
    let line = |measurement: &str, tags: &str, fields: &str, at: i64| {
        format!("{measurement},run_id=r,scenario=x,variant=commit\\=on,trial=1{tags} {fields} {}\n", ZERO + at)
    };
    let mut points = String::new();
    for second in 1..=4 {
        let at = second * 1000;
        points += &line("load_ops", ",load=app", &format!("done={}i,errors=0i", 100 * second), at + 3);
        points += &line("pg_replication", ",node=a,role=primary", &format!("current_lsn_bytes={}i", 4096 * second), at);
        points += &line("lag_visible", ",node=s1,role=standby,source=a", "waiting=0i,upper_max=0.004", at + 7);
    }
    // The end of a phase cuts an interval in two.
    points += &line("load_ops", ",load=app", "done=0i,errors=0i", 4033);
    points += &line("load_ops", ",load=app", "done=500i,errors=0i", 5003);
    for (at, waiters, used) in [(2000, 3, 1_000_000_000u64), (3000, 0, 1_500_000_000)] {
        points += &line("pg_lock_tree", ",node=a,role=primary", &format!("waiters={waiters}i,roots=1i"), at);
        let processes = format!("cpu_user_ns={used}i,cpu_system_ns=0i,write_bytes=0i");
        points += &line("server_processes", ",node=a", &processes, at);
        points += &line("host", "", "cpu_user_ns=5i,cpu_system_ns=5i,io_waiting_us=0i", at);
    }
    points += &line("pg_ash", ",node=a,role=primary,state=active,wait_event_type=Lock", "sessions=3i", 2000);
    points
}

#[test]
fn names_of_others_stay_text() {
    let dir = tempfile::tempdir().unwrap();
    let page = page(&[&record(dir.path(), "")]).unwrap();
    assert!(!page.contains("<script>alert"), "a name became markup");
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(&#39;x&#39;)"));
    assert_eq!(page.matches("</script>").count(), 3, "the numbers and two scripts");
    assert_eq!(page.matches("<h1>").count(), 1);
}

#[test]
fn a_page_asks_nothing_of_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let page = page(&[&record(dir.path(), "")]).unwrap();
    assert!(page.contains("default-src 'none'"));
    for request in ["src=\"", "href=\"", "@import", "url(", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(request), "{request}");
    }
}

#[test]
fn series_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let record = record(dir.path(), &points());
    let trials = serde_json::to_value(plots::trials(&record, 1).unwrap()).unwrap();
    let trial = trials.as_array().unwrap().iter().find(|trial| trial["variant"] == "commit=on").unwrap();
    let of = |title: &str| {
        let plots = trial["plots"].as_array().unwrap();
        plots.iter().find(|plot| plot["title"].as_str().unwrap().starts_with(title)).unwrap().clone()
    };
    let throughput = of("Throughput");
    assert_eq!(throughput["x"], serde_json::json!([0.5, 2.0, 3.0, 4.0, 5.0]));
    assert_eq!(
        throughput["series"][0]["values"],
        serde_json::json!([null, 200.0, 300.0, 400.0, 500.0]),
        "the first has no length"
    );
    assert_eq!(throughput["series"].as_array().unwrap().len(), 1, "there were no errors");
    assert_eq!(of("WAL")["series"][0]["values"], serde_json::json!([null, 4096.0, 4096.0, 4096.0, null]));
    let waits = of("Active sessions");
    assert_eq!(waits["series"][0]["name"], "Lock");
    assert_eq!(waits["series"][0]["values"], serde_json::json!([null, 0.0, 3.0, 0.0, 0.0, null]));
    let locks = of("Lock waits");
    assert_eq!(locks["series"][1]["values"], serde_json::json!([null, 3.0, 0.0, null]), "waiters");
    assert_eq!((locks["locks"].clone(), locks["context"].clone()), (true.into(), false.into()));
    let processors = of("Processors used");
    assert_eq!(processors["series"][0]["values"], serde_json::json!([null, 0.5, null]), "{processors}");
    assert_eq!(processors["context"], true);
    let titles: Vec<&str> =
        trial["plots"].as_array().unwrap().iter().map(|plot| plot["title"].as_str().unwrap()).collect();
    assert!(!titles.iter().any(|title| title.starts_with("Share of the time")), "nothing had to wait: {titles:?}");
    assert_eq!(of("Lag")["series"][0]["name"], "a>s1");
    assert_eq!(trial["phases"], serde_json::json!([["kill", 1.0, 5.0]]));
    assert_eq!(trial["events"][1][1], "fault.kill");
}

#[test]
fn the_longest_lock_waits_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = record(dir.path(), "");
    let wait = |i: u32| LockRow {
        run_id: "r".into(),
        variant: "commit=on".into(),
        trial: 1,
        node: "a".into(),
        began_ms: f64::from(i) * 10.0,
        ended_ms: f64::from(i) * 10.0 + 5.0,
        ticks: 1,
        lock: "transactionid".into(),
        relation: Some(HOSTILE.into()),
        blocker_queryid: Some(i64::MIN),
        blocker_state: "idle in transaction".into(),
        waiter_queryid: None,
        pairs_max: 3,
        depth_max: None,
        longest_wait_s: Some(f64::from(i % 7)),
    };
    record.locks = (0..500).map(wait).collect();
    let trials = serde_json::to_value(plots::trials(&record, 1).unwrap()).unwrap();
    let of = |i: usize| {
        let trial = trials.as_array().unwrap().iter().filter(|trial| trial["variant"] == "commit=on").nth(i);
        trial.map(|trial| (trial["locks"].as_array().unwrap().clone(), trial["more_locks"].clone())).unwrap()
    };
    let (locks, more) = of(0);
    assert_eq!((locks.len(), more), (400, 100.into()));
    assert!(locks.iter().any(|lock| lock["longest"] == 6.0) && !locks.iter().any(|lock| lock["longest"] == 0.0));
    assert_eq!(locks[0]["lock"], format!("transactionid on {HOSTILE}"));
    assert_eq!(locks[0]["blocker"], i64::MIN.to_string(), "no digit is lost");
    assert_eq!(locks[0]["depth"], serde_json::Value::Null);
    assert_eq!(of(1), (vec![], 0.into()), "the other trials had none");
    assert!(page(&[&record]).unwrap().matches("</script>").count() == 3);
}

#[test]
fn it_says_which_parts_can_be_believed() {
    let mut record = super::super::tests::record();
    let said = |record: &Record| belief::html(record, &summarize(record));
    let html = said(&record);
    assert!(html.contains("✗ doubt it</span> <b>Trials</b>: 9 of 10 trials count, 1 invalid"), "{html}");
    assert!(html.contains("✓ yes</span> <b>Throughput and response times</b>"), "{html}");
    assert!(!html.contains("<b>Sampled points</b>"), "nothing was sampled");
    record.manifest.accounting =
        crate::sink::Accounting { produced: 10, written: 9, dropped: 1, not_finite: 0, beyond_series: 0 };
    assert!(said(&record).contains("✗ doubt it</span> <b>Sampled points</b>: metrics incomplete: 9 of 10"));
    record.values.retain(|row| row.metric != "generator.late.p99");
    assert!(!said(&record).contains("<b>Throughput and response times</b>"), "nothing is known of it");
}

#[test]
fn a_file_without_end_is_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let record = record(dir.path(), &points().repeat(50));
    let path = dir.path().join("metrics.lp.gz");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    assert!(!plots::trials(&record, 1).unwrap().is_empty());
    std::fs::write(&path, b"no gzip at all").unwrap();
    assert!(plots::trials(&record, 1).unwrap_err().to_string().contains("metrics.lp.gz"));
}

#[test]
fn the_fault_is_zero() {
    let dir = tempfile::tempdir().unwrap();
    let html = outage::html(&record(dir.path(), "")).unwrap();
    assert!(html.contains("t2 first write missed: 12 ms"), "{html}");
    assert!(html.contains("t3 confirmed dead: 300 ms"), "{html}");
    assert!(html.contains("<span class=\"total\">510 ms</span>"), "{html}");
    assert!(html.contains("<td>–</td>"), "what was not observed is not 0");
}

#[test]
fn two_runs_are_compared_first() {
    let dir = tempfile::tempdir().unwrap();
    let record = record(dir.path(), "");
    let page = page(&[&record, &record]).unwrap();
    assert!(page.find("id=\"compared\"").unwrap() < page.find("<h1>").unwrap());
    assert_eq!(page.matches("<h1>").count(), 2);
    assert!(page.contains("id=\"timeline-1\""));
}
