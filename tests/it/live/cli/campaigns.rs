//! Campaigns of thin clones: what a run says of them, that they keep to themselves, and that nothing of them is left.

use super::super::fixture::not_run;
use super::kill::killed;
use super::{Lab, TINY};
use nix::sys::signal::Signal;
use pgbench_rs::base::proc::{self, Stat};
use std::fs;
use std::path::PathBuf;

/// On a disk that shares blocks where that can be had; else every byte is copied.
fn lab(clone: &str, phase: &str) -> Lab {
    let scenario = TINY.replace("lasts = \"1s\"", &format!("lasts = \"{phase}\""));
    let root = nix::unistd::geteuid().is_root();
    let disk = match root {
        true => "role = \"primary\", disk = { size = \"1GB\", fs = \"xfs\" }",
        false => "role = \"primary\"",
    };
    if !root {
        not_run("live::cli::campaigns (on XFS; copies were tried)", "run the tests as root");
    }
    let clone = format!("[probe.ledger]\nrate = 50\n\n[clone.c]\nphase = \"one\"\n{clone}\n");
    Lab::with(&(scenario.replacen("role = \"primary\"", disk, 1) + &clone))
}

fn values(lab: &Lab, metric: &str, subject: &str) -> Vec<f64> {
    let mut csv = csv::Reader::from_path(lab.results().join("summary.csv")).expect("summary.csv");
    let rows = csv.records().map(|row| row.expect("a row"));
    rows.filter(|row| &row[7] == metric && &row[6] == subject).map(|row| row[9].parse().expect("a number")).collect()
}

/// Servers that stand in a clone's directory.
fn of_clones(lab: &Lab) -> Vec<(Stat, PathBuf)> {
    let cwd = |stat: Stat| proc::working_directory(stat.identity.pid).map(|dir| (stat, dir));
    let is_clone = |(_, dir): &(Stat, PathBuf)| {
        dir.components().any(|part| part.as_os_str().to_string_lossy().starts_with("clone-"))
    };
    lab.processes().into_iter().filter_map(cwd).filter(is_clone).collect()
}

/// Files that a process has open or mapped, as the kernel names them.
fn files(pid: i32) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .map(|fds| fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).collect::<Vec<_>>());
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let mapped = maps.lines().filter_map(|line| Some(PathBuf::from(line.get(line.find('/')?..)?)));
    open.unwrap_or_default().into_iter().chain(mapped).collect()
}

#[test]
fn clones_are_made_measured_checked_and_gone() {
    let clone = "rounds = 2\nat_once = 2\nlasts = \"1s\"\ncheck = { amcheck = true }\n\
                 recipe = { query = \"SELECT sum(abalance) FROM pgbench_accounts\" }\n\
                 load = { mix = { kind = \"tpcb\", scale = 1 }, profile = { kind = \"open\", rate = 20 } }";
    let lab = lab(clone, "15s");
    let ended = lab.start(&[]).wait();
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let (_, status, reason) = lab.trials().remove(0);
    assert_eq!((status.as_str(), reason.as_str()), ("ok", ""));
    for (metric, value) in [
        ("made", 4.0),
        ("failed", 0.0),
        ("unfinished", 0.0),
        ("inconsistent", 0.0),
        ("amcheck", 0.0),
        ("lost_rows", 0.0),
    ] {
        assert_eq!(values(&lab, &format!("clone.{metric}"), "c"), [value], "{metric}: {}", lab.text_of("events.csv"));
    }
    for number in 1..=4 {
        let one = |part: &str| {
            let found = values(&lab, &format!("clone.{part}"), &format!("c/{number}"));
            assert_eq!(found.len(), 1, "{part} of clone {number}: {found:?}");
            found[0]
        };
        let parts = ["look", "checkpoint", "clone", "fixup", "start", "first_row"].map(one);
        let ready = one("ready");
        assert!(
            parts.iter().all(|part| *part > 0.0) && parts.iter().sum::<f64>() <= ready * 1.001,
            "{parts:?} of {ready}"
        );
        assert!(one("cold") > 0.0 && one("warm") > 0.0 && one("destroy") > 0.0);
        assert!((5.0..30.0).contains(&one("load.tps")));
    }
    assert_eq!(values(&lab, "ledger.acked_lost", ""), [0.0]);
    let manifest = lab.manifest();
    let ways = manifest["clones"].as_object().expect("by variant");
    let way = &ways.values().next().expect("a variant")[0];
    let method = if nix::unistd::geteuid().is_root() { "reflink" } else { "copy" };
    assert_eq!((&way["asked"], &way["method"], &way["of"]), (&"auto".into(), &method.into(), &"a".into()), "{way}");
    assert_eq!((&way["protocol"], &way["mode"]), (&"backup".into(), &"recovery".into()));
    assert!(way["why"].is_string() && way["file_system"].is_string(), "{way}");
    assert!(ended.stdout.contains(&format!("clones c: of a by {method} (auto: ")), "{}", ended.stdout);
    assert!(ended.stdout.contains("c: made / failed / unfinished  4 / 0 / 0"), "{}", ended.stdout);
    let mut points = String::new();
    let packed = fs::File::open(lab.results().join("metrics.lp.gz")).expect("points");
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(packed), &mut points).expect("gzip");
    assert_eq!(points.lines().filter(|line| line.starts_with("clone,")).count(), 4);
    lab.assert_nothing_left();
}

#[test]
fn a_clone_has_no_file_of_its_source_and_goes_on_ctrl_c() {
    let lab = lab(
        "rounds = 1\nlasts = \"30s\"\nload = { mix = { kind = \"tpcb\", scale = 1 }, profile = { kind = \"closed\" }, clients = 4 }",
        "40s",
    );
    let mut started = lab.start(&[]);
    // The postmaster, its helpers, and the backends that bear the load.
    started.until("a clone under load", |lab| of_clones(lab).len() > 6);
    let source = fs::canonicalize(lab.path("work")).expect("the work directory");
    let mut looked = 0;
    for _ in 0..20 {
        for (stat, dir) in of_clones(&lab) {
            let home = dir.parent().expect("its own directory").to_owned();
            let foreign = |path: &&PathBuf| path.starts_with(&source) && !path.starts_with(&home);
            let all = files(stat.identity.pid);
            looked += all.iter().filter(|path| path.starts_with(&home)).count();
            // The log lies with the results, which are elsewhere.
            assert_eq!(all.iter().find(foreign), None, "of a clone in {}", dir.display());
        }
    }
    assert!(looked > 20, "no file of a clone was seen");
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    lab.assert_nothing_left();
}

#[test]
fn the_harness_killed_while_clones_live_or_come() {
    let lab = lab("rounds = 1\nlasts = \"30s\"", "40s");
    let mut started = lab.start(&[]);
    started.until("a clone", |lab| !of_clones(lab).is_empty());
    killed(&lab, started);
}

#[test]
fn what_was_not_there_when_its_phase_ended_is_counted() {
    // Frozen, it answers nobody: neither a checkpoint nor a question.
    let lab = lab("of = \"a\"", "4s");
    let scenario = fs::read_to_string(lab.path("tiny.toml")).expect("a scenario");
    let step = "lasts = \"4s\"\ndo.freeze = { at = \"0s\", act = { kind = \"freeze\", of = \"a\" } }\n";
    fs::write(lab.path("tiny.toml"), scenario.replace("lasts = \"4s\"\n", step)).expect("a scenario");
    let ended = lab.start(&[]).wait();
    let made = values(&lab, "clone.made", "c");
    let (failed, unfinished) = (values(&lab, "clone.failed", "c"), values(&lab, "clone.unfinished", "c"));
    assert!(made.len() == 1 && failed[0] + unfinished[0] > 0.0, "{made:?} {failed:?} {unfinished:?}: {}", ended.stderr);
    let events = lab.text_of("events.csv");
    assert!(events.contains("clone.failed") || events.contains("clone.unfinished"), "{events}");
    lab.assert_nothing_left();
}
