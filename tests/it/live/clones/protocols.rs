//! Each way of keeping the copy of a live directory whole gives a clone that is.

use super::super::lab::{LIMIT, node};
use super::lab::{Beats, Disk, Lab, told};
use pgbench_rs::clone::worth::{Checks, Mark};
use pgbench_rs::clone::{
    Base, Caller, Method, Mode, Phase, Precooked, Protect, Protocol, Recipe, Recovery, Resetwal, Source,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ALL: Checks = Checks { tpcb: true, amcheck: true };

fn recipe(method: Method, protect: Protect, checkpoint: bool) -> Recipe {
    Recipe { method, protect, mode: Mode::Recovery(Recovery { checkpoint }), ..Recipe::default() }
}

/// Clones, and holds that nothing is lost or inconsistent, that it takes writes, and that nothing is left of it.
async fn whole(lab: &Lab, source: &Arc<Source>, recipe: &Recipe, name: &str) {
    let before = lab.left();
    let mark = Mark::take(source, Some(&Beats::watermark())).await.expect("a mark");
    let clone = lab.clone(source, recipe, name).await;
    let worth = clone.worth(&mark, ALL).await.unwrap_or_else(|error| panic!("{error}"));
    println!("{worth:?}");
    assert!(worth.is_whole() && worth.rows_lost == Some(0) && worth.bytes_lost == Some(0), "{worth:?}");
    assert!(worth.tpcb.is_some() && worth.amcheck.is_some(), "{worth:?}");
    // Written to every few milliseconds: what came last came after the mark, or just before it.
    assert!(worth.age.is_some_and(|age| (-60.0..1.0).contains(&age)), "{worth:?}");
    let client = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    client.batch_execute("CREATE TABLE only_here (); INSERT INTO beats VALUES (-1)").await.expect("it takes writes");
    // What it has of its own may not have its place on disk yet.
    assert!(clone.space().await.expect("its space").is_some());
    drop(client);
    let home = clone.home().to_owned();
    let destroyed = clone.destroy().await;
    assert!(destroyed.left.is_empty() && destroyed.spans.len() == 2, "{destroyed:?}");
    assert!(!home.exists());
    assert_eq!(lab.left(), before);
}

/// A primary and a standby, both cloned by all of `recipes` while the primary is written to; the standby goes on
/// streaming, and neither has what was written to a clone.
async fn both_are_cloned(lab: Lab, recipes: &[Recipe]) {
    let (load, beats) = (lab.load("a"), lab.beats("a").await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    for node in ["a", "s"] {
        let source = lab.source(node);
        for (i, recipe) in recipes.iter().enumerate() {
            whole(&lab, &source, recipe, &format!("{node}{i}")).await;
        }
    }
    drop((load, beats));
    let primary = lab.connect("a").await;
    let row = primary.query_one("SELECT count(*) FROM beats WHERE n < 0", &[]).await.expect("a row");
    assert_eq!(row.get::<_, i64>(0), 0, "a clone's writes came to the source");
    let row = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.expect("a row");
    let (end, standby, began) = (row.get::<_, String>(0), lab.connect("s").await, Instant::now());
    let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
    while !standby.query_one(&caught_up, &[]).await.expect("a row").get::<_, bool>(0) {
        assert!(began.elapsed() < LIMIT, "the standby does not stream any more");
    }
    drop((primary, standby));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_copied_while_they_are_written_to() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[]), node(make, "s", Some("a"), &[])]).await;
    let recipes = [
        recipe(Method::Copy, Protect::Auto, true),
        recipe(Method::Copy, Protect::Freeze, true),
        recipe(Method::Copy, Protect::Freeze, false),
        recipe(Method::Basebackup, Protect::Auto, true),
    ];
    both_are_cloned(lab, &recipes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_share_their_blocks_while_they_are_written_to() {
    let Some(disk) = Disk::make("xfs", 2048) else { return };
    let nodes = |make: &_| vec![node(make, "a", None, &[]), node(make, "s", Some("a"), &[])];
    let lab = Lab::start_in(&disk.path, nodes).await;
    both_are_cloned(lab, &[recipe(Method::Auto, Protect::Auto, true), recipe(Method::Reflink, Protect::Freeze, false)])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_snapshot_while_they_are_written_to() {
    let Some(disk) = Disk::make("btrfs", 2048) else { return };
    let nodes = |make: &_| vec![node(make, "a", None, &[]), node(make, "s", Some("a"), &[])];
    let lab = Lab::start_in(&disk.path, nodes).await;
    both_are_cloned(lab, &[recipe(Method::Auto, Protect::Auto, true), recipe(Method::Btrfs, Protect::Auto, false)])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_source_without_fsync_is_taken_while_it_stands_still() {
    let Some(disk) = Disk::make("btrfs", 2048) else { return };
    let nodes = |make: &_| vec![node(make, "a", None, &[("fsync", "off")])];
    let lab = Lab::start_in(&disk.path, nodes).await;
    let (load, beats, source) = (lab.load("a"), lab.beats("a").await, lab.source("a"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let recipe = recipe(Method::Btrfs, Protect::Auto, true);
    for name in ["c1", "c2", "c3"] {
        let mark = Mark::take(&source, Some(&Beats::watermark())).await.expect("a mark");
        let attempt = lab.attempt(&source, &recipe, name).await;
        println!("{}", told(&attempt));
        assert_eq!(attempt.facts.protocol, Some(Protocol::Freeze));
        assert!(attempt.facts.stood_still.is_some_and(|still| still < LIMIT));
        let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
        let worth = clone.worth(&mark, ALL).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(worth.is_whole() && worth.rows_lost == Some(0), "{worth:?}");
        assert!(clone.destroy().await.left.is_empty());
    }
    drop((load, beats));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_of_a_base_are_whole_and_as_old_as_it() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let source = lab.source("a");
    let (load, beats) = (lab.load("a"), lab.beats("a").await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let recipe = Recipe { mode: Mode::Precooked(Precooked::default()), method: Method::Copy, ..Recipe::default() };
    let cooked_at = Mark::take(&source, Some(&Beats::watermark())).await.expect("a mark");
    let cooked = Base::cook(&lab.place, &source, &recipe, lab.order("base"), Caller::default()).await;
    let base = cooked.unwrap_or_else(|error| panic!("{error}"));
    assert!(base.spans.iter().any(|span| span.phase == Phase::FirstRow), "{:?}", base.spans);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mark = Mark::take(&source, Some(&Beats::watermark())).await.expect("a mark");
    for name in ["c1", "c2"] {
        let clone = lab.clone(base.source(), &recipe, name).await;
        let then = clone.worth(&cooked_at, ALL).await.unwrap_or_else(|error| panic!("{error}"));
        let now = clone.worth(&mark, Checks::default()).await.unwrap_or_else(|error| panic!("{error}"));
        println!("{then:?}\n{now:?}");
        assert!(then.is_whole() && then.rows_lost == Some(0), "{then:?}");
        assert!(
            now.age.is_some_and(|age| age > 1.0) && now.rows_lost > Some(10) && now.bytes_lost > Some(0),
            "{now:?}"
        );
        assert!(now.tpcb.is_some_and(|tpcb| tpcb.agrees()));
        assert!(clone.destroy().await.left.is_empty());
    }
    let wrong = lab.attempt(&source, &recipe, "c3").await;
    assert!(wrong.outcome.unwrap_err().to_string().contains("comes from a base"));
    assert!(base.destroy().await.left.is_empty());
    drop((load, beats));
    lab.end().await;
}

/// The tool itself must see what `pg_resetwal` does under load, in at least one of a few attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resetwal_under_load_is_seen_to_lose() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let source = lab.source("a");
    let (load, beats) = (lab.load("a"), lab.beats("a").await);
    let mut seen = Vec::new();
    for (i, checkpoint) in [true, false, true].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mode = Mode::Resetwal(Resetwal { checkpoint });
        let recipe = Recipe { mode, method: Method::Copy, ..Recipe::default() };
        let mark = Mark::take(&source, Some(&Beats::watermark())).await.expect("a mark");
        let attempt = lab.attempt(&source, &recipe, &format!("c{i}")).await;
        println!("{}", told(&attempt));
        assert!(attempt.facts.is_unsafe && attempt.facts.mode.contains("unsafe"));
        assert!(attempt.took(Phase::Resetwal).is_some() || attempt.outcome.is_err());
        match attempt.outcome {
            Ok(clone) => {
                assert!(clone.is_unsafe());
                let worth = clone.worth(&mark, ALL).await.unwrap_or_else(|error| panic!("{error}"));
                println!("{worth:?}");
                seen.push(!worth.is_whole());
                assert!(clone.destroy().await.left.is_empty());
            }
            // It may be too broken to come up.
            Err(error) => {
                println!("{error}");
                seen.push(true);
            }
        }
    }
    assert!(seen.contains(&true), "three clones without recovery were whole under load");
    drop((load, beats));
    lab.end().await;
}
