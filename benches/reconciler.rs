//! What a decision costs: a step that finds nothing to do, which runs for every check of every server, and
//! all steps of a failover, from the first missed check to the last standby repointed.

use criterion::{Criterion, criterion_group, criterion_main};
use pgbench_rs::failover::{
    Act, Address, Completion, Done, Facts, Failure, Fencing, Member, Observed, Phase, Seen, Spec, Status, Step,
    Timeline, step,
};
use pgbench_rs::pg::Lsn;
use pgbench_rs::pg::standby_names::StandbyNames;
use std::hint::black_box;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(100);
const NODES: [&str; 3] = ["a", "s1", "s2"];

fn address(node: &str) -> Address {
    Address { host: "127.0.0.1".into(), port: if node == "a" { 5432 } else { 5433 } }
}

fn spec() -> Spec {
    let member = |node: &str| {
        let follows = (node != "a").then(|| "a".to_owned());
        (node.to_owned(), Member { address: address(node), priority: 100, follows })
    };
    Spec {
        nodes: NODES.into_iter().map(member).collect(),
        every: EVERY,
        timeout: EVERY * 5,
        misses: 3,
        automatic: true,
        fencing: Fencing::Required,
        synchronous: StandbyNames::parse("ANY 1 (a, s1, s2)").expect("a value"),
    }
}

/// What `node` says while `primary` is the primary.
fn facts(node: &str, primary: &str) -> Facts {
    let in_recovery = node != primary;
    let upstream = in_recovery.then(|| address(primary));
    Facts {
        system: 7,
        in_recovery,
        read_only: in_recovery,
        timeline: Timeline(1),
        current: (!in_recovery).then_some(Lsn(0x500_0000)),
        received: in_recovery.then_some(Lsn(0x500_0000)),
        replayed: in_recovery.then_some(Lsn(0x500_0000)),
        upstream: upstream.clone(),
        streams_from: upstream,
        senders: if in_recovery { Default::default() } else { NODES.into_iter().map(Into::into).collect() },
    }
}

/// All servers checked at `at`, with `a` answering or not.
fn checked(at: Duration, primary: &str, a_answers: bool) -> Observed {
    let seen = |node: &str| {
        let result = if node == "a" && !a_answers { Err(Failure::Unreachable) } else { Ok(facts(node, primary)) };
        (node.to_owned(), Seen { asked: at, answered: at, result })
    };
    Observed { nodes: NODES.into_iter().map(seen).collect(), ..Observed::default() }
}

/// Everything that a failover shows to the reconciler, each action succeeding at once.
fn failover(spec: &Spec, mut status: Status) -> Status {
    let mut primary = "a".to_owned();
    let mut completions = Vec::new();
    for tick in 2..20u32 {
        let now = EVERY * tick;
        let mut observed = checked(now, &primary, false);
        observed.completions = std::mem::take(&mut completions);
        let Step { status: next, actions, .. } = step(now, spec, &status, &observed);
        status = next;
        completions = actions
            .into_iter()
            .map(|action| {
                let result = match &action.act {
                    Act::Fence { .. } => Ok(Done::Fenced("no process is left".to_owned())),
                    _ => Ok(Done::Done),
                };
                if let Act::Promote { node } = &action.act {
                    primary.clone_from(node);
                }
                Completion { action, at: now, result }
            })
            .collect();
    }
    status
}

fn reconciler(criterion: &mut Criterion) {
    let spec = spec();
    let quiet = checked(EVERY, "a", true);
    let status = step(EVERY, &spec, &Status::new(&spec, "a"), &quiet).status;
    let end = failover(&spec, status.clone());
    assert!(end.phase == Phase::Stable && end.primary == "s1" && end.epoch.0 == 1, "{end:?}");

    let mut group = criterion.benchmark_group("reconciler");
    group.bench_function("steady step", |b| b.iter(|| step(black_box(EVERY), &spec, &status, &quiet)));
    group.bench_function("failover of 18 steps", |b| b.iter(|| failover(&spec, black_box(status.clone()))));
    group.finish();
}

criterion_group!(benches, reconciler);
criterion_main!(benches);
