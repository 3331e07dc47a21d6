//! Runs whose points go to real servers as well.

use super::super::receivers::{Kind, Receiver, assert_same, free_port, mapped, written};
use super::{Lab, TINY};
use flate2::read::MultiGzDecoder;
use influxdb_line_protocol::{FieldValue, parse_lines};
use pgbench_rs::metric::sampled::{self, FIXED_TAGS, MEASUREMENTS};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// VictoriaMetrics keeps a number as a decimal mantissa of 64 bits at most, common to neighbouring values.
const VICTORIA: f64 = 1e-12;

fn with_sinks(sinks: &[(&str, String)]) -> Lab {
    let mut text = TINY.replace("lasts = \"1s\"", "lasts = \"3s\"");
    for (name, keys) in sinks {
        text += &format!("\n[sink.{name}]\n{keys}");
    }
    Lab::with(&text)
}

#[test]
fn a_run_is_found_again_point_for_point_and_sending_it_again_changes_nothing() {
    let Some(influx) = Receiver::start(Kind::Influx1) else { return };
    let Some(victoria) = Receiver::start(Kind::VictoriaMetrics) else { return };
    let lab = with_sinks(&[("influx", influx.as_sink()), ("victoria", victoria.as_sink())]);
    let ended = super::Ended::from(lab.run(&[]).output().expect("the program runs"));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let file = lab.results().join("metrics.lp.gz");
    let (samples, lines) = written(&file);
    assert!(lines > 20, "{lines}");
    for name in ["influx", "victoria"] {
        let account = &lab.manifest()["sinks"][name];
        assert_eq!((&account["produced"], &account["acknowledged"]), (&lines.into(), &lines.into()), "{account}");
        assert!(ended.stdout.contains(&format!("points: sink {name}: {lines} of {lines} points acknowledged")));
    }
    assert_same(&influx.contents(), &samples, 0.0);
    assert_same(&victoria.contents(), &mapped(&samples), VICTORIA);
    as_declared(&file);

    let results = lab.results();
    let dir = results.to_string_lossy();
    for (url, more) in [
        (format!("http://127.0.0.1:{}", influx.port), &["--database", "lab"][..]),
        (format!("http://127.0.0.1:{}", victoria.port), &[]),
    ] {
        let args = [&["replay", &dir, "--to", &url], more].concat();
        let ended = lab.call(&args);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.contains(&format!("{lines} of {lines} points acknowledged")), "{}", ended.stdout);
    }
    assert_same(&influx.contents(), &samples, 0.0);
    assert_same(&victoria.contents(), &mapped(&samples), VICTORIA);
    let types = influx.field_types();
    let event = sampled::EVENT.name;
    assert_eq!(types.get(&format!("{event}.text")).map(String::as_str), Some("string"), "{types:?}");
    assert_eq!(types.get("pg_stat_database.xact_commit").map(String::as_str), Some("integer"), "{types:?}");
}

/// Every measurement, tag and field of a file is declared, with this type.
fn as_declared(file: &Path) {
    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(file).expect("it is there")).read_to_string(&mut text).expect("gzip");
    let mut seen = std::collections::BTreeSet::new();
    for line in parse_lines(&text) {
        let line = line.expect("a line of line protocol");
        let name = line.series.measurement.to_string();
        let measurement = MEASUREMENTS.iter().find(|measurement| measurement.name == name);
        let measurement = measurement.unwrap_or_else(|| panic!("{name} is not declared"));
        for (tag, _) in line.series.tag_set.iter().flatten() {
            let tag = tag.to_string();
            assert!(FIXED_TAGS.contains(&&*tag) || measurement.tags.contains(&&*tag), "{name}: tag {tag}");
        }
        for (field, value) in &line.field_set {
            let declared = measurement.fields.iter().find(|declared| declared.name == field.as_str());
            let kind = declared.unwrap_or_else(|| panic!("{name}.{field} is not declared")).kind;
            use sampled::Kind::{Counter, Gauge, Real, Text, Total, Truth};
            let same = match value {
                FieldValue::I64(_) => matches!(kind, Counter | Gauge),
                FieldValue::F64(_) => matches!(kind, Total | Real),
                FieldValue::Boolean(_) => kind == Truth,
                FieldValue::String(_) => kind == Text,
                FieldValue::U64(_) => false,
            };
            assert!(same, "{name}.{field} is declared as {kind:?} and written as {value:?}");
        }
        seen.insert(name);
    }
    assert!(seen.contains("pgbr_event") && seen.contains("pg_stat_database") && seen.len() >= 6, "{seen:?}");
}

#[test]
fn servers_that_are_killed_in_the_middle_have_everything_in_the_end() {
    let Some(mut influx) = Receiver::start(Kind::Influx1) else { return };
    let Some(mut victoria) = Receiver::start(Kind::VictoriaMetrics) else { return };
    let lab = with_sinks(&[("influx", influx.as_sink()), ("victoria", victoria.as_sink())]);
    let mut started = lab.start(&["--set", "phase.one.lasts=6s"]);
    started.until_said("one (6");
    std::thread::sleep(Duration::from_millis(1500));
    influx.kill();
    victoria.kill();
    std::thread::sleep(Duration::from_millis(1500));
    influx.begin();
    victoria.begin();
    let ended = started.wait();
    let stderr = &ended.stderr;
    assert_eq!(ended.code, Some(0), "{stderr}");
    assert!(stderr.contains("sink influx: ") && stderr.contains("points wait in"), "{stderr}");
    assert!(stderr.contains("sink influx: it answers again"), "{stderr}");
    let (samples, lines) = written(&lab.results().join("metrics.lp.gz"));
    let account = &lab.manifest()["sinks"]["influx"];
    assert_eq!(account["acknowledged"], lines, "{account}");
    assert_same(&influx.contents(), &samples, 0.0);
    // VictoriaMetrics confirms what it has in memory alone, and of that a kill -9 takes the last second or more.
    let account = &lab.manifest()["sinks"]["victoria"];
    assert_eq!(account["acknowledged"], lines, "{account}");
    let results = lab.results();
    let url = format!("http://127.0.0.1:{}", victoria.port);
    assert_eq!(lab.call(&["replay", &results.to_string_lossy(), "--to", &url]).code, Some(0));
    assert_same(&victoria.contents(), &mapped(&samples), VICTORIA);
}

#[test]
fn what_a_server_missed_that_was_away_is_sent_by_the_name_of_the_sink() {
    let Some(mut influx) = Receiver::start(Kind::Influx1) else { return };
    influx.kill();
    let lab = with_sinks(&[("lab", influx.as_sink())]);
    let ended = super::Ended::from(lab.run(&[]).output().expect("the program runs"));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let (samples, lines) = written(&lab.results().join("metrics.lp.gz"));
    let account = &lab.manifest()["sinks"]["lab"];
    assert_eq!((&account["acknowledged"], &account["pending"]), (&0.into(), &lines.into()), "{account}");
    let said = format!("sink lab: 0 of {lines} points acknowledged, {lines} pending");
    assert!(ended.stdout.contains(&format!("points: {said}")), "{}", ended.stdout);
    assert!(ended.stdout.contains("replay DIR --to lab"), "{}", ended.stdout);
    influx.begin();
    let results = lab.results();
    let ended = lab.call(&["replay", &results.to_string_lossy(), "--to", "lab", "--json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let account: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(account["acknowledged"], lines);
    assert_same(&influx.contents(), &samples, 0.0);
    // The record knows it, and nothing is left that could be sent again.
    let delivered = lab.manifest()["sinks"]["lab"].clone();
    assert_eq!((&delivered["acknowledged"], &delivered["pending"]), (&lines.into(), &0.into()), "{delivered}");
    let again = lab.call(&["replay", &results.to_string_lossy(), "--to", "lab", "--json"]);
    let account: serde_json::Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!((again.code, &account["produced"]), (Some(0), &0.into()), "{}", again.stderr);
    assert_eq!(lab.manifest()["sinks"]["lab"], delivered);
    let ended = lab.call(&["replay", &results.to_string_lossy(), "--to", "nobody"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("the run has no sink `nobody`\nhint: it has lab"), "{}", ended.stderr);
}

#[test]
fn a_token_appears_nowhere_and_one_that_is_not_there_is_told_before_anything_is_done() {
    let token = "hunter2-of-the-sink";
    let sink = format!(
        "kind = \"influx\"\nurl = \"http://127.0.0.1:{}\"\norg = \"o\"\nbucket = \"b\"\ntoken_env = \"LAB_TOKEN\"\n",
        free_port()
    );
    let lab = with_sinks(&[("lab", sink)]);
    let ended = super::Ended::from(lab.run(&[]).env_remove("LAB_TOKEN").output().expect("the program runs"));
    assert_eq!(ended.code, Some(4));
    assert!(
        ended.stderr.contains("sink lab: the environment variable LAB_TOKEN is not set\nhint: set it, or"),
        "{}",
        ended.stderr
    );
    assert_eq!(super::children(&lab.path("out")), [""; 0].map(std::path::PathBuf::from));
    let ended = super::Ended::from(lab.run(&[]).env("LAB_TOKEN", token).output().expect("the program runs"));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(!ended.stdout.contains(token) && !ended.stderr.contains(token));
    let found = std::process::Command::new("grep").args(["-rla", token]).arg(lab.dir.path()).output().expect("grep");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}
