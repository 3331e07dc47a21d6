//! Ordeals: random faults over a toy cluster, and the promises that must hold through all of them.

use super::elect::{Candidate, Order};
use super::tests::{ask, second, standby, verdict};
use super::toy::{Dice, Life, Toy, spec};
use super::*;
use crate::pg::Lsn;
use proptest::prelude::*;

/// Faults for 20 s, then none for as long.
fn ordeal(standbys: usize, acks: usize, seed: u64, order: Order) -> Toy {
    let mut toy = Toy::new(spec(standbys, acks), seed);
    let mut dice = Dice(!seed);
    (toy.order, toy.troubled) = (order, true);
    second(&mut toy, 1);
    let mut killed = BTreeMap::new();
    for _ in 0..40 {
        let names: Vec<Name> = toy.servers.keys().cloned().collect();
        let name = &names[dice.below(names.len() as u64) as usize];
        let server = toy.server(name);
        match dice.below(16) {
            0 if server.life != Life::Down => {
                server.life = Life::Down;
                killed.insert(name.clone(), server.in_recovery);
            }
            1 if server.life == Life::Up => server.life = Life::Frozen,
            2 | 3 if server.life == Life::Frozen => server.life = Life::Up,
            4 | 5 => server.receiver_frozen = true,
            6 | 7 => server.receiver_frozen = false,
            8 => server.linked = false,
            9 => server.linked = true,
            10 => ask(&mut toy, None, Duration::from_secs(3)),
            _ => {}
        }
        toy.run(10 + dice.below(80));
    }
    toy.troubled = false;
    for (name, server) in &mut toy.servers {
        server.linked = true;
        server.receiver_frozen = false;
        let restart = killed.contains_key(name) && server.in_recovery;
        if server.life == Life::Frozen || restart {
            server.life = Life::Up;
        }
    }
    second(&mut toy, 12);
    // Whoever was killed while nobody could replace it is what an operator would start.
    let primary = toy.status.primary.clone();
    if matches!(toy.status.phase, Phase::Blocked { proof: None, .. }) && toy.servers[&primary].life == Life::Down {
        toy.server(&primary).life = Life::Up;
    }
    second(&mut toy, 8);
    toy
}

/// Whether it ended as it must: stable with a primary that works, or with nobody left to promote.
fn healed(toy: &Toy) -> bool {
    let primary = &toy.servers[&toy.status.primary];
    match &toy.status.phase {
        Phase::Stable => primary.life == Life::Up && !primary.in_recovery,
        // Each standby that is up has records that the lost primary did not have, or lacks some that it must have.
        Phase::Blocked { reason: Blocked::NoCandidate(_), .. } => {
            toy.servers.values().all(|s| s.life != Life::Up || !primary.wal.starts_with(&s.wal))
        }
        Phase::Blocked { reason: Blocked::Behind { .. } | Blocked::Quorum { .. }, .. } => {
            toy.spec.synchronous.is_some()
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(seed: u64, standbys in 1..=3usize, acks in 0..=2usize) {
        let toy = ordeal(standbys, acks.min(standbys), seed, Candidate::order);
        prop_assert!(toy.broken.is_empty(), "{:#?}\n{}", toy.broken, toy.story());
        prop_assert!(healed(&toy), "{:?}\n{:#?}\n{}", toy.status, toy.servers, toy.story());
    }

    #[test]
    fn the_same_inputs_decide_the_same(seed: u64) {
        let once = ordeal(2, 1, seed, Candidate::order);
        let again = ordeal(2, 1, seed, Candidate::order);
        prop_assert_eq!(once.status, again.status);
        prop_assert_eq!(once.events, again.events);
    }

    #[test]
    fn old_observations_promote_nobody(seed: u64, age in 0..5000u64) {
        // A world seen up to some instant in an ordeal, then nothing but the passing of time.
        let mut toy = Toy::new(spec(2, 0), seed);
        second(&mut toy, 1);
        toy.server("a").life = Life::Down;
        toy.run(Dice(seed).below(60));
        let before = toy.status.epoch;
        let mut status = toy.status.clone();
        let mut now = toy.now() + toy.spec.stale_after();
        for _ in 0..20 {
            now += Duration::from_millis(1 + age);
            status = step(now, &toy.spec, &status, &toy.observed).status;
        }
        prop_assert_eq!(status.epoch, before);
    }

    #[test]
    fn who_is_elected_holds_all_that_reporters_hold(lsns in prop::collection::vec((1..=2u32, 0..200u64, 0..200u64), 3)) {
        let names = ["s1", "s2", "s3"];
        let reports: Vec<_> = names.iter().zip(&lsns).map(|(n, (t, r, p))| (*n, standby(*t, Some(*r), *p))).collect();
        let best = lsns.iter().filter(|(t, r, p)| *t == 2 || *r.max(p) <= 0x64).map(|(t, r, p)| (*t, *r.max(p))).max();
        let outcome = verdict(&spec(3, 0), &reports);
        match best {
            Some((t, lsn)) => prop_assert!(outcome.ends_with(&format!("(timeline {t}, {})", Lsn(lsn))), "{}", outcome),
            None => prop_assert!(outcome.starts_with("no standby may be promoted"), "{}", outcome),
        }
    }
}

/// The oracles have teeth: an election by name alone loses acknowledged writes.
#[test]
fn an_election_by_name_alone_is_found_out() {
    let by_name = |a: &Candidate, b: &Candidate| b.name.cmp(&a.name);
    let lossy = (0..60).filter(|seed| {
        let toy = ordeal(2, 1, *seed, by_name);
        toy.broken.iter().any(|what| what.contains("acknowledged writes"))
    });
    assert!(lossy.count() > 0);
}
