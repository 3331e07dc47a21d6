//! Servers that do not start: the trial failed, its reason says why, the rest goes on.

use super::{Lab, TINY};
use nix::sys::signal::Signal;
use pgbench_rs::base::proc::{Stat, working_directory};

#[test]
fn a_server_that_dies_at_start_shows_its_log() {
    let lab = Lab::with(&TINY.replace("trials   = 1", "trials = 3"));
    let ended = lab.start(&["--set", "postgres.settings.shared_preload_libraries=no_such_library"]).wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let mut trials = lab.trials();
    assert_eq!(trials.len(), 3, "{trials:?}");
    let (_, status, reason) = trials.pop().expect("a third trial");
    assert_eq!(status, "failed");
    assert!(reason.starts_with("not run: the first 2 trials of this variant failed"), "{reason}");
    for (_, status, reason) in trials {
        assert_eq!(status, "failed");
        assert!(reason.contains("node `a` did not start") && reason.contains("exited with status 1"), "{reason}");
        assert!(reason.contains("could not access file \"no_such_library\""), "the log's tail is missing: {reason}");
    }
    assert_eq!(lab.manifest()["status"], "finished");
    lab.assert_nothing_left();
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let lab = Lab::new();
    let ended = lab.start(&["--set", "postgres.settings.pre_auth_delay=30s", "--start-limit", "5s"]).wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let (_, status, reason) = lab.trials().remove(0);
    assert_eq!(status, "failed");
    assert!(reason.contains("node `a` did not start within 5"), "{reason}");
    assert!(reason.contains("last answer: "), "its last answer is missing: {reason}");
    lab.assert_nothing_left();
}

#[test]
fn a_server_that_ends_by_itself_fails_the_trial() {
    let lab = Lab::with(&TINY.replace("lasts = \"1s\"", "lasts = \"3s\""));
    let mut started = lab.start(&[]);
    started.until_said("only #1: one");
    let processes = lab.processes();
    let is_child = |stat: &&Stat| processes.iter().any(|other| other.identity.pid == stat.parent);
    let postmaster_of_a = |stat: &&Stat| {
        let cwd = working_directory(stat.identity.pid).unwrap_or_default();
        !is_child(stat) && cwd.ends_with("a/data")
    };
    let postmaster = processes.iter().find(postmaster_of_a).expect("the primary's postmaster");
    postmaster.identity.signal(Signal::SIGKILL).expect("it can be killed");
    let ended = started.wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let (_, status, reason) = lab.trials().remove(0);
    assert_eq!(status, "failed");
    assert!(reason.contains("node `a` was ended by SIGKILL, and nobody had told it to\nlog: "), "{reason}");
    lab.assert_nothing_left();
}
