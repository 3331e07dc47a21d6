use super::super::outline::tests::{SCENARIO, plan};
use super::super::read;
use super::*;
use std::time::Duration;

fn begin(out: &Path) -> (Plan, Writer) {
    let plan = plan(SCENARIO, &["off", "on"], 1);
    let command = ["pgbench-rs", "run", "--set", "x=postgres://u:hunter2@h/d"].map(String::from);
    let opening =
        Opening { scenario_text: SCENARIO, sets: &[], plan: &plan, command: &command, work: Path::new("/tmp") };
    let mut writer = Writer::create(out, opening).unwrap();
    writer.servers(vec![Server {
        version: "15.18".into(),
        bindir: Some("/usr/bin".into()),
        image: None,
        engine: None,
        conninfo: None,
    }]);
    (plan, writer)
}

fn way(campaign: &str) -> Way {
    Way {
        campaign: campaign.to_owned(),
        base: false,
        of: "a".to_owned(),
        asked: "auto".to_owned(),
        method: Some("copy".to_owned()),
        file_system: Some("ext4".to_owned()),
        why: Some("nothing on ext4 can be shared here; password=hunter2".to_owned()),
        protocol: Some("backup".to_owned()),
        mode: "recovery".to_owned(),
        is_unsafe: false,
    }
}

fn write(writer: &mut Writer, trial: &Trial) {
    let event = |text: &str| Event {
        elapsed: Duration::from_micros(1_234_567),
        kind: "fault.kill",
        node: Some("a".into()),
        text: text.into(),
    };
    let ended = Ended {
        clock: Clock::start(),
        status: Status::Ok,
        reason: None,
        values: &[
            Value::new("ledger.acked", 12.0).node("a"),
            Value::new("load.tps", 0.1 + 0.2).phase("kill").subject("app"),
            Value::new("load.service.p50", f64::NAN),
        ],
        events: &[event("killed, \"a\"\npassword=hunter2")],
        accounting: Accounting { produced: 5, written: 4, dropped: 1, beyond_series: 0, not_finite: 0 },
        absent: &BTreeSet::from(["pg_stat_wal.wal_fpi_bytes".to_owned()]),
        clones: &[way("c"), way("c"), way("d")],
        episodes: &[],
    };
    writer.trial(trial, &ended).unwrap();
}

#[test]
fn what_is_written_reads_back() {
    let out = tempfile::tempdir().unwrap();
    let (plan, mut writer) = begin(out.path());
    writer.settings(1, BTreeMap::from([("primary_conninfo".into(), "host=a password=hunter2".into())]));
    for trial in &plan.trials {
        write(&mut writer, trial);
    }
    writer.finish(RunStatus::Finished, None).unwrap();
    let dir = writer.dir().to_owned();
    writer.result(&serde_json::json!({"answer": "yes"})).unwrap();

    let record = read(&dir).unwrap();
    let name = dir.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(name, format!("failover-{}", record.manifest.run_id));
    assert_eq!(record.manifest.status, RunStatus::Finished);
    assert_eq!(record.manifest.accounting.produced, 10);
    assert_eq!(record.manifest.settings["commit=on"]["primary_conninfo"], "host=a password=****");
    let campaigns: Vec<_> = record.manifest.clones["commit=on"].iter().map(|way| way.campaign.as_str()).collect();
    assert_eq!(campaigns, ["c", "d"], "each way once");
    let way = &record.manifest.clones["commit=off"][0];
    assert_eq!(way.why.as_deref(), Some("nothing on ext4 can be shared here; password=****"));
    assert_eq!(record.trials.iter().map(|t| t.variant.as_str()).collect::<Vec<_>>(), ["commit=off", "commit=on"]);
    assert_eq!(record.values.len(), 4, "what is not a number is absent");
    let row = &record.values[1];
    assert_eq!((row.metric.as_str(), row.unit.as_str(), row.value), ("load.tps", "1/s", 0.1 + 0.2));
    assert_eq!((row.phase.as_deref(), row.node.as_deref(), row.subject.as_deref()), (Some("kill"), None, Some("app")));
    assert_eq!(record.events[0].elapsed_ms, 1234.567);
    assert_eq!(record.events[0].text, "killed, \"a\"\npassword=****");
    assert_eq!(record.plan.variants.len(), 2);
}

#[test]
fn columns_are_as_the_design_says_and_secrets_are_nowhere() {
    let out = tempfile::tempdir().unwrap();
    let (plan, mut writer) = begin(out.path());
    write(&mut writer, &plan.trials[0]);
    let text = |file: &str| fs::read_to_string(writer.dir().join(file)).unwrap();
    let id = writer.run_id();
    let summary = text("summary.csv");
    let lines: Vec<&str> = summary.lines().collect();
    assert_eq!(lines[0], "run_id,scenario,variant,trial,phase,node,subject,metric,unit,value");
    assert_eq!(lines[1], format!("{id},failover,commit=off,1,,a,,ledger.acked,count,12"));
    assert!(text("trials.csv").starts_with("run_id,variant,trial,position,started_at,status,reason\n"));
    assert!(text("events.csv").starts_with("run_id,variant,trial,elapsed_ms,at,kind,node,text\n"));
    for file in ["run.json", "trials.csv", "summary.csv", "events.csv"] {
        assert!(!text(file).contains("hunter2"), "{file}");
    }
}

#[test]
fn a_killed_harness_leaves_finished_trials_and_no_half_ones() {
    let out = tempfile::tempdir().unwrap();
    let (plan, mut writer) = begin(out.path());
    write(&mut writer, &plan.trials[0]);
    let id = writer.run_id().to_owned();
    writer
        .append("summary.csv", format!("{id},failover,commit=on,1,,,,ledger.acked,count,7\n{id},fail").as_bytes())
        .unwrap();
    writer.append("events.csv", format!("{id},commit=on,1,3,2026-01-01T00:00:00Z,x,,\"torn").as_bytes()).unwrap();
    let record = read(writer.dir()).unwrap();
    assert_eq!(record.manifest.status, RunStatus::Running);
    assert_eq!(record.trials.len(), 1);
    assert!(record.values.iter().all(|row| row.variant == "commit=off"));
    assert_eq!(record.events.len(), 1);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let out = tempfile::tempdir().unwrap();
    let (_, mut writer) = begin(out.path());
    fs::remove_dir_all(writer.dir()).unwrap();
    let text = writer.finish(RunStatus::Finished, None).unwrap_err().to_string();
    assert!(text.starts_with(&format!("cannot write {}/run.json: ", writer.dir().display())), "{text}");
}
