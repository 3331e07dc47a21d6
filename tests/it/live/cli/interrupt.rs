//! Ctrl-C: the first ends the phase and tears down, the second stops hard.

use super::{Lab, TINY};
use nix::sys::signal::Signal;
use std::process::Stdio;

fn trials(n: u32) -> Lab {
    Lab::with(&TINY.replace("trials   = 1", &format!("trials = {n}")))
}

#[test]
fn ctrl_c_keeps_the_trials_that_are_whole() {
    let lab = trials(3);
    let mut started = lab.start(&[]);
    started.until_said("only #2: one");
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(lab.manifest()["status"], "interrupted");
    let trials: Vec<(u32, String)> = lab.trials().into_iter().map(|(trial, status, _)| (trial, status)).collect();
    assert_eq!(trials, [(1, "ok".to_owned()), (2, "interrupted".to_owned())]);
    let summary = std::fs::read_to_string(lab.results().join("summary.csv")).expect("summary.csv");
    assert!(summary.lines().any(|line| line.contains(",only,1,one,,app,load.tps,1/s,")), "{summary}");
    assert!(ended.stdout.contains("interrupted"), "the summary hides it: {}", ended.stdout);
    lab.assert_nothing_left();
}

#[test]
fn a_second_ctrl_c_stops_hard() {
    let lab = trials(1);
    let mut started = lab.start(&["--set", "phase.one.lasts=40s"]);
    started.until_said("only #1: one");
    started.signal(Signal::SIGINT);
    started.until_said("interrupted:");
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopping hard"), "{}", ended.stderr);
    lab.assert_nothing_runs_soon();
    lab.clean(&[]);
    lab.assert_nothing_left();
}

#[test]
fn sigterm_while_servers_start() {
    let lab = trials(2);
    let mut started = lab.start(&[]);
    started.until("a node", Lab::has_nodes);
    started.signal(Signal::SIGTERM);
    let ended = started.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(lab.manifest()["status"], "interrupted");
    assert!(lab.trials().iter().all(|(_, status, _)| status == "interrupted"), "{:?}", lab.trials());
    lab.assert_nothing_left();
}

#[test]
fn ctrl_c_while_the_template_is_made() {
    let lab = trials(2);
    let mut started = lab.start(&[]);
    started.until("initdb", |lab| lab.processes().iter().any(|stat| stat.name == "initdb"));
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(lab.manifest()["status"], "interrupted");
    assert_eq!(lab.trials(), []);
    lab.assert_nothing_left();
}

/// As when the terminal is closed, or `head` has seen enough.
#[test]
fn a_run_whose_progress_nobody_reads_ends_in_order() {
    let lab = trials(1);
    let mut child = lab.run(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program runs");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("a child").code(), Some(0));
    assert_eq!(lab.manifest()["status"], "finished");
    lab.assert_nothing_left();
}
