//! Stories of a toy cluster and tables of elections, with fixed outcomes.

use super::elect::{Candidate, Verdict};
use super::toy::{Life, TICK, Toy, spec};
use super::*;
use crate::pg::Lsn;
use crate::pg::standby_names::StandbyNames;

pub fn second(toy: &mut Toy, n: u64) {
    toy.run(n * 100);
}

pub fn ask(toy: &mut Toy, to: Option<&str>, timeout: Duration) {
    let id = toy.observed.request.as_ref().map_or(1, |request| request.id + 1);
    toy.observed.request = Some(Request { id, to: to.map(Into::into), at: toy.now(), timeout });
}

#[test]
fn a_killed_primary_is_replaced() {
    let mut toy = Toy::new(spec(2, 1), 1);
    second(&mut toy, 1);
    toy.server("a").life = Life::Down;
    second(&mut toy, 5);
    insta::assert_snapshot!(toy.story(), @r#"
    1010 ms  failover.suspect: a missed a check: it cannot be reached
    1210 ms  failover.confirmed: a missed 3 checks in a row: it cannot be reached
    1220 ms  failover.elected: s1 (timeline 1, 0/160) is elected, before s2 (timeline 1, 0/160)
    1470 ms  failover.fenced: a: no process is left; s1 is asked again
    1750 ms  failover.promoted: s1 accepts writes
    2100 ms  failover.repointed: s2 streams from s1
    "#);
    assert_eq!((toy.status.phase.clone(), toy.status.epoch, toy.broken.len()), (Phase::Stable, Epoch(1), 0));
}

#[test]
fn a_frozen_primary_is_replaced_and_is_gone_when_thawed() {
    let mut toy = Toy::new(spec(2, 0), 2);
    second(&mut toy, 1);
    toy.server("a").life = Life::Frozen;
    second(&mut toy, 6);
    insta::assert_snapshot!(toy.story(), @r#"
    1510 ms  failover.suspect: a missed a check: it did not answer in time
    2510 ms  failover.confirmed: a missed 3 checks in a row: it did not answer in time
    2530 ms  failover.elected: s1 (timeline 1, 0/1A0) is elected, before s2 (timeline 1, 0/1A0)
    2670 ms  failover.fenced: a: no process is left; s1 is asked again
    2970 ms  failover.promoted: s1 accepts writes
    3230 ms  failover.repointed: s2 streams from s1
    "#);
    assert_eq!(toy.servers["a"].life, Life::Down);
}

#[test]
fn without_a_fence_a_thawed_primary_is_a_second_one() {
    let mut toy = Toy::new(Spec { fencing: Fencing::None, ..spec(2, 0) }, 3);
    second(&mut toy, 1);
    toy.server("a").life = Life::Frozen;
    second(&mut toy, 5);
    toy.server("a").life = Life::Up;
    second(&mut toy, 1);
    insta::assert_snapshot!(toy.story(), @r#"
    1510 ms  failover.suspect: a missed a check: it did not answer in time
    2510 ms  failover.confirmed: a missed 3 checks in a row: it did not answer in time
    2530 ms  failover.elected: s2 (timeline 1, 0/198) is elected, before s1 (timeline 1, 0/190)
    2530 ms  failover.unfenced: unsafe: a is not fenced, as `fence = "none"` wants
    2670 ms  failover.promoted: s2 accepts writes, and nobody knows whether its predecessor still does
    2940 ms  failover.repointed: s1 streams from s2
    6010 ms  split_brain: both s2 and a accept writes
    "#);
}

#[test]
fn a_short_freeze_is_only_a_suspicion() {
    let mut toy = Toy::new(spec(2, 0), 4);
    second(&mut toy, 1);
    toy.server("a").life = Life::Frozen;
    toy.run(60);
    toy.server("a").life = Life::Up;
    second(&mut toy, 3);
    insta::assert_snapshot!(toy.story(), @r#"
    1510 ms  failover.suspect: a missed a check: it did not answer in time
    2030 ms  failover.cleared: a answers again
    "#);
    assert_eq!(toy.status.epoch, Epoch(0));
}

#[test]
fn a_standby_of_a_dead_standby_follows_the_primary() {
    for (life, ticks, follows) in
        [(Life::Down, 5, "s1"), (Life::Down, 300, "a"), (Life::Frozen, 60, "s1"), (Life::Frozen, 500, "a")]
    {
        let mut cascade = spec(2, 0);
        cascade.nodes.get_mut("s2").expect("a node").follows = Some("s1".into());
        let mut toy = Toy::new(cascade, 7);
        second(&mut toy, 1);
        toy.server("s1").life = life;
        toy.run(ticks);
        toy.server("s1").life = Life::Up;
        second(&mut toy, 3);
        assert_eq!(toy.servers["s2"].upstream.as_deref(), Some(follows), "{life:?} for {ticks} ticks: {}", toy.story());
        let streams = toy.story().contains("failover.repointed: s2 streams from a");
        assert_eq!(streams, follows == "a", "{}", toy.story());
        assert_eq!((toy.status.epoch, toy.broken.len()), (Epoch(0), 0));
    }
}

#[test]
fn too_few_synchronous_standbys_block_until_they_are_back() {
    let mut toy = Toy::new(spec(2, 1), 5);
    second(&mut toy, 1);
    toy.server("a").life = Life::Down;
    toy.server("s2").life = Life::Down;
    second(&mut toy, 10);
    assert!(matches!(toy.status.phase, Phase::Blocked { reason: Blocked::Quorum { have: 1, need: 2 }, .. }));
    toy.server("s2").life = Life::Up;
    second(&mut toy, 5);
    insta::assert_snapshot!(toy.story(), @r#"
     1010 ms  failover.suspect: a missed a check: it cannot be reached
     1210 ms  failover.confirmed: a missed 3 checks in a row: it cannot be reached
     2410 ms  failover.blocked: blocked, needs an operator: 1 synchronous standby(s) report and 2 must, to be sure of every acknowledged write
    11040 ms  failover.elected: s1 (timeline 1, 0/150) is elected, before s2 (timeline 1, 0/150)
    11070 ms  failover.fenced: a: no process is left; s1 is asked again
    11110 ms  failover.promoted: s1 accepts writes
    11220 ms  failover.repointed: s2 streams from s1
    "#);
}

#[test]
fn a_switchover_loses_nothing_and_the_old_primary_comes_back() {
    let mut toy = Toy::new(spec(2, 0), 6);
    second(&mut toy, 1);
    ask(&mut toy, Some("s2"), Duration::from_secs(5));
    second(&mut toy, 10);
    insta::assert_snapshot!(toy.story(), @r#"
    1020 ms  switchover.begun: s2 shall take over from a
    1570 ms  switchover.stopped: a stopped with its last checkpoint at 0/2B0
    1600 ms  switchover.verified: s2 (timeline 1, 0/2B8) holds the shutdown checkpoint at 0/2B0
    1880 ms  switchover.promoted: s2 accepts writes
    1910 ms  failover.repointed: s1 streams from s2
    2020 ms  switchover.rejoined: a streams from s2
    "#);
    assert_eq!(toy.status.answer.as_ref().map(|a| a.result.clone()), Some(Ok("s2".into())));
    assert!(toy.servers["a"].in_recovery && toy.servers["s1"].upstream == Some("s2".into()));
}

#[test]
fn a_target_that_hangs_is_found_out_before_anything_is_stopped() {
    let mut toy = Toy::new(spec(2, 0), 7);
    second(&mut toy, 1);
    ask(&mut toy, Some("s1"), Duration::from_secs(2));
    // The prechecks pass, then the receiver stops.
    while toy.status.phase == Phase::Stable {
        toy.run(1);
    }
    toy.server("s1").receiver_frozen = true;
    second(&mut toy, 4);
    insta::assert_snapshot!(toy.story(), @r#"
    1020 ms  switchover.begun: s1 shall take over from a
    3000 ms  switchover.rolled_back: s1 did not receive the WAL up to 0/1B8 in time; a was not stopped
    "#);
    assert_eq!((toy.servers["a"].life, toy.status.epoch), (Life::Up, Epoch(0)));
}

#[test]
fn a_stop_that_hangs_is_rolled_back() {
    let mut toy = Toy::new(spec(2, 0), 8);
    second(&mut toy, 1);
    ask(&mut toy, Some("s1"), Duration::from_secs(2));
    while !matches!(toy.status.phase, Phase::StopOld { .. }) {
        toy.run(1);
    }
    toy.server("s2").receiver_frozen = true;
    second(&mut toy, 4);
    insta::assert_snapshot!(toy.story(), @r#"
    1030 ms  switchover.begun: s1 shall take over from a
    1330 ms  switchover.rolled_back: a did not stop in time: still sending WAL; a is the primary again
    "#);
    assert_eq!((toy.servers["a"].life, toy.servers["a"].in_recovery), (Life::Up, false));
}

#[test]
fn switchovers_that_cannot_be_are_refused_with_the_reason() {
    let refused = |to: &str, spoil: &dyn Fn(&mut Toy)| {
        let mut toy = Toy::new(spec(2, 0), 9);
        spoil(&mut toy);
        second(&mut toy, 1);
        ask(&mut toy, Some(to), Duration::from_secs(1));
        second(&mut toy, 3);
        toy.status.answer.expect("an answer").result.expect_err("refused")
    };
    insta::assert_snapshot!(refused("a", &|_| {}), @"a is the primary already");
    insta::assert_snapshot!(refused("x", &|_| {}), @"there is no node `x`");
    insta::assert_snapshot!(refused("s1", &|toy| toy.server("s1").life = Life::Down), @"s1 cannot be reached");
    insta::assert_snapshot!(refused("s1", &|toy| toy.server("s1").receiver_frozen = true), @"s1 does not stream from a");
    insta::assert_snapshot!(refused("s1", &|toy| {
        toy.server("s1").upstream = Some("s2".into());
        toy.status.remember("s1", |known| known.follows = Some("s2".into()));
    }), @"s1 does not stream from a");
}

#[test]
fn without_automation_a_dead_primary_waits_for_an_operator() {
    let mut toy = Toy::new(Spec { automatic: false, ..spec(2, 0) }, 10);
    second(&mut toy, 1);
    toy.server("a").life = Life::Down;
    second(&mut toy, 5);
    assert!(matches!(toy.status.phase, Phase::Blocked { reason: Blocked::NotAutomatic, .. }));
    toy.server("a").life = Life::Up;
    second(&mut toy, 1);
    assert_eq!((toy.status.phase.clone(), toy.status.epoch), (Phase::Stable, Epoch(0)));
}

/// A standby's facts: timeline, received, replayed.
pub fn standby(timeline: u32, received: Option<u64>, replayed: u64) -> Result<Facts, Failure> {
    Ok(Facts {
        system: 7,
        in_recovery: true,
        read_only: true,
        timeline: Timeline(timeline),
        current: None,
        received: received.map(Lsn),
        replayed: Some(Lsn(replayed)),
        upstream: None,
        streams_from: None,
        senders: Default::default(),
    })
}

/// The verdict over these reports, after a primary on `timeline` 2 that branched off at 0/64.
pub fn verdict(spec: &Spec, reports: &[(&str, Result<Facts, Failure>)]) -> String {
    match judge(spec, reports, true) {
        Verdict::Wait => "wait".into(),
        Verdict::Elected(winner, _) => winner.to_string(),
        Verdict::Blocked(reason) => reason.to_string(),
    }
}

fn judge(spec: &Spec, reports: &[(&str, Result<Facts, Failure>)], late: bool) -> Verdict {
    let now = Duration::from_secs(10);
    let mut status = Status::new(spec, "a");
    (status.timeline, status.system) = (Timeline(2), Some(7));
    status.forks.insert(Timeline(2), Lsn(0x64));
    let seen = |result: &Result<Facts, Failure>| Seen { asked: now, answered: now, result: result.clone() };
    let nodes = reports.iter().map(|(name, result)| ((*name).to_owned(), seen(result))).collect();
    let observed = Observed { nodes, ..Observed::default() };
    let turn = Turn {
        now,
        spec,
        observed: &observed,
        order: Candidate::order,
        status,
        done: BTreeMap::new(),
        out: Vec::new(),
        events: Vec::new(),
    };
    turn.verdict(now, true, late)
}

#[test]
fn after_the_fence_nobody_is_elected_while_wal_may_be_on_its_way() {
    let spec = spec(2, 0);
    let mut s2 = standby(2, Some(0x80), 0x80);
    if let Ok(facts) = &mut s2 {
        facts.streams_from = Some(spec.nodes["a"].address.clone());
    }
    let reports = [("s1", standby(2, Some(0x90), 0x90)), ("s2", s2)];
    assert_eq!(judge(&spec, &reports, false), Verdict::Wait);
    assert_eq!(verdict(&spec, &reports), "s1 (timeline 2, 0/90)");
}

#[test]
fn elections() {
    let spec3 = spec(3, 0);
    let lost = || Err(Failure::Unreachable);
    let table = [
        (
            "most received",
            verdict(&spec3, &[("s1", standby(2, Some(0x80), 0x80)), ("s2", standby(2, Some(0x90), 0x80))]),
        ),
        (
            "replayed counts as well",
            verdict(&spec3, &[("s1", standby(2, None, 0x91)), ("s2", standby(2, Some(0x90), 0x10))]),
        ),
        (
            "timeline before LSN",
            verdict(&spec3, &[("s1", standby(1, Some(0x60), 0x60)), ("s2", standby(2, Some(0x20), 0x20))]),
        ),
        ("diverged", verdict(&spec3, &[("s1", standby(1, Some(0x65), 0x65)), ("s2", lost())])),
        ("newer than the primary", verdict(&spec3, &[("s1", standby(3, Some(0x65), 0x65))])),
        ("by name", verdict(&spec3, &[("s2", standby(2, Some(0x80), 0)), ("s1", standby(2, Some(0x80), 0))])),
        ("nobody", verdict(&spec3, &[])),
    ];
    let table: String = table.iter().map(|(case, outcome)| format!("{case}: {outcome}\n")).collect();
    insta::assert_snapshot!(table, @r#"
    most received: s2 (timeline 2, 0/90)
    replayed counts as well: s1 (timeline 2, 0/91)
    timeline before LSN: s2 (timeline 2, 0/20)
    diverged: no standby may be promoted: s1 has diverged: timeline 1 was left at 0/64 and it is at 0/65; s2 cannot be reached; s3 has not been heard of
    newer than the primary: no standby may be promoted: s1 is on timeline 3, newer than the primary's; s2 has not been heard of; s3 has not been heard of
    by name: s1 (timeline 2, 0/80)
    nobody: no standby may be promoted: s1 has not been heard of; s2 has not been heard of; s3 has not been heard of
    "#);
}

#[test]
fn priority_decides_among_equals_and_zero_never_wins() {
    let mut spec = spec(2, 0);
    spec.nodes.get_mut("s2").expect("s2").priority = 200;
    let even = [("s1", standby(2, Some(0x80), 0)), ("s2", standby(2, Some(0x80), 0))];
    assert_eq!(verdict(&spec, &even), "s2 (timeline 2, 0/80)");
    spec.nodes.get_mut("s2").expect("s2").priority = 0;
    assert_eq!(verdict(&spec, &even), "s1 (timeline 2, 0/80)");
    let ahead = [("s1", standby(2, Some(0x80), 0)), ("s2", standby(2, Some(0x90), 0))];
    assert_eq!(verdict(&spec, &ahead), "s1 (timeline 2, 0/80)");
    spec.synchronous = StandbyNames::parse("ANY 1 (s1, s2)").expect("a value");
    insta::assert_snapshot!(verdict(&spec, &ahead), @"s2 may not be promoted but holds more WAL than any that may, perhaps acknowledged writes");
}

#[test]
fn quorums() {
    let both = || [("s1", standby(2, Some(0x80), 0)), ("s2", standby(2, Some(0x90), 0))];
    let outcome = |names: &str, reports: &[(&str, Result<Facts, Failure>)]| {
        let synchronous = StandbyNames::parse(names).expect("a value");
        verdict(&Spec { synchronous, ..spec(3, 0) }, reports)
    };
    let table = [
        ("ANY 1 (a, s1, s2, s3)", outcome("ANY 1 (a, s1, s2, s3)", &both())),
        ("ANY 2 (a, s1, s2, s3)", outcome("ANY 2 (a, s1, s2, s3)", &both())),
        ("FIRST 2 (s1, s2, s3)", outcome("FIRST 2 (s1, s2, s3)", &both())),
        ("s1", outcome("s1", &both())),
        ("s3", outcome("s3", &both())),
        ("(empty)", outcome("", &both())),
    ];
    let table: String = table.iter().map(|(case, outcome)| format!("{case}: {outcome}\n")).collect();
    insta::assert_snapshot!(table, @r#"
    ANY 1 (a, s1, s2, s3): 2 synchronous standby(s) report and 3 must, to be sure of every acknowledged write
    ANY 2 (a, s1, s2, s3): s2 (timeline 2, 0/90)
    FIRST 2 (s1, s2, s3): s2 (timeline 2, 0/90)
    s1: s2 (timeline 2, 0/90)
    s3: 0 synchronous standby(s) report and 1 must, to be sure of every acknowledged write
    (empty): s2 (timeline 2, 0/90)
    "#);
}

/// A step from a quiet cluster in which the primary's checks gave `results`, 100 ms apart.
fn after_checks(results: &[Failure]) -> Status {
    let spec = spec(2, 0);
    let mut status = Status::new(&spec, "a");
    for (i, failure) in results.iter().enumerate() {
        let at = spec.every * (i as u32 + 1);
        let seen = Seen { asked: at, answered: at, result: Err(failure.clone()) };
        let observed = Observed { nodes: [("a".to_owned(), seen)].into(), ..Observed::default() };
        status = step(at, &spec, &status, &observed).status;
    }
    status
}

#[test]
fn only_silence_and_refusal_are_misses() {
    let failed = || Failure::QueryFailed { sqlstate: "53300".into() };
    assert!(matches!(after_checks(&[Failure::Unreachable, Failure::Timeout]).phase, Phase::Suspect { .. }));
    assert!(matches!(
        after_checks(&[Failure::Unreachable, Failure::Timeout, Failure::Timeout]).phase,
        Phase::Collect { .. }
    ));
    assert_eq!(after_checks(&[failed(), failed(), failed(), failed()]).phase, Phase::Stable);
    assert_eq!(after_checks(&vec![Failure::Authentication; 4]).phase, Phase::Stable);
    assert_eq!(after_checks(&vec![Failure::Starting; 40]).phase, Phase::Stable);
    assert!(matches!(after_checks(&vec![Failure::Starting; 60]).phase, Phase::Collect { .. }));
    // An answer in between starts the count again.
    assert!(matches!(
        after_checks(&[Failure::Timeout, Failure::Timeout, failed(), Failure::Timeout]).phase,
        Phase::Suspect { .. }
    ));
}

#[test]
fn what_was_observed_long_ago_decides_nothing() {
    let spec = spec(2, 0);
    let status = after_checks(&[Failure::Unreachable, Failure::Unreachable]);
    let third = Seen { asked: spec.every * 3, answered: spec.every * 3, result: Err(Failure::Unreachable) };
    let observed = Observed { nodes: [("a".to_owned(), third)].into(), ..Observed::default() };
    let late = spec.every * 3 + spec.stale_after() + TICK;
    assert!(matches!(step(late, &spec, &status, &observed).status.phase, Phase::Suspect { .. }));
    assert!(matches!(step(late - TICK, &spec, &status, &observed).status.phase, Phase::Collect { .. }));
}
