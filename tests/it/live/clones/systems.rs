//! Clones on the file systems that can do it at once: many of a server under load, and none that touches it.

use super::super::fixture::not_run;
use super::super::lab::{LIMIT, node};
use super::elsewhere::contents;
use super::lab::{Beats, Lab, told};
use pgbench_rs::base::units::Size;
use pgbench_rs::clone::worth::{Checks, Mark};
use pgbench_rs::clone::{Base, Caller, Method, Mode, Order, Phase, Precooked, Protect, Recipe, Source, create};
use pgbench_rs::cluster::node::NodeSpec;
use pgbench_rs::disk::{Format, OwnDisk};
use pgbench_rs::driver::Shutdown;
use pgbench_rs::snapshot::label::{self, Told};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clones of each kind, one after the other.
const MANY: usize = 20;
const ALL: Checks = Checks { tpcb: true, amcheck: true };

const SYSTEMS: [(Format, Method); 3] =
    [(Format::Zfs, Method::Zfs), (Format::Btrfs, Method::Btrfs), (Format::Xfs, Method::Reflink)];

/// A primary on a file system of its own and a standby; none where this machine does not let us, which is said.
async fn lab(format: Format) -> Option<Lab> {
    let what = format!("live::clones (on {})", format.name());
    if !nix::unistd::geteuid().is_root() {
        not_run(&what, "run the tests as root");
        return None;
    }
    let nodes = |make: &_| {
        let disk = Some(OwnDisk { size: Size(1536 << 20), format });
        vec![NodeSpec { disk, ..node(make, "a", None, &[]) }, node(make, "s", Some("a"), &[])]
    };
    match Lab::try_start(nodes).await {
        Ok(lab) => Some(lab),
        Err(why) => {
            not_run(&what, &why.replace('\n', "; "));
            None
        }
    }
}

/// A clone's order, on the file system of the primary.
fn order(lab: &Lab, name: &str) -> Order {
    let within = lab.cluster.node("a").expect("a node").dir.parent().expect("its disk").to_owned();
    Order { within, ..lab.order(name) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clones_are_all_whole_and_the_standby_streams_on() {
    for (format, method) in SYSTEMS {
        let Some(lab) = lab(format).await else { continue };
        let (source, load, beats) = (lab.source("a"), lab.load("a"), lab.beats("a").await);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = lab.left();
        for number in 0..MANY {
            let mark = Mark::take(&source, Some(&Beats::watermark())).await.expect("a mark");
            let order = order(&lab, &format!("c{number}"));
            let attempt = create(&lab.place, &source, &Recipe::default(), order, Caller::default()).await;
            println!("{format} {}", told(&attempt));
            assert_eq!(attempt.facts.method, method, "{:?}", attempt.facts.why);
            let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
            if method == Method::Zfs {
                let is_it = |told: &Told| told.at.as_deref().is_some_and(|at| clone.data().starts_with(at));
                let told = label::told().expect("what ZFS tells").into_iter().find(is_it).expect("it says so itself");
                assert_eq!((told.owner.as_deref(), told.state), (Some("the tests"), Some(label::State::Ready)));
                assert!(told.maker.is_some_and(|maker| maker.is_alive()) && told.expires.is_none());
            }
            let worth = clone.worth(&mark, ALL).await.unwrap_or_else(|error| panic!("{error}"));
            assert!(worth.is_whole() && worth.rows_lost == Some(0), "{worth:?}");
            let destroyed = clone.destroy().await;
            assert!(destroyed.left.is_empty(), "{destroyed:?}");
            assert_eq!(lab.left(), before);
        }
        drop((load, beats));
        let primary = lab.connect("a").await;
        let row = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.expect("a row");
        let (end, standby, began) = (row.get::<_, String>(0), lab.connect("s").await, Instant::now());
        let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
        while !standby.query_one(&caught_up, &[]).await.expect("a row").get::<_, bool>(0) {
            assert!(began.elapsed() < LIMIT, "the standby does not stream any more");
        }
        drop((primary, standby));
        lab.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_of_a_stopped_source_changes() {
    for (format, method) in SYSTEMS {
        let Some(lab) = lab(format).await else { continue };
        let primary = lab.cluster.node("a").expect("a node").clone();
        primary.stop(Shutdown::Fast, LIMIT).await.expect("stopped");
        let before = contents(&primary.dir);
        let source = Arc::new(Source::stopped("a", &primary.dir).unwrap_or_else(|error| panic!("{error}")));
        let attempt = create(&lab.place, &source, &Recipe::default(), order(&lab, "c"), Caller::default()).await;
        assert_eq!(attempt.facts.method, method, "{:?}", attempt.facts.why);
        let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
        let load = lab.load_on(clone.host(), &clone.login("pgbench"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(load);
        let client = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
        for write in ["CHECKPOINT", "DROP TABLE pgbench_history", "VACUUM FULL"] {
            client.batch_execute(write).await.expect(write);
        }
        drop(client);
        assert!(contents(&primary.dir) == before, "{format}: a clone changed its source");
        assert!(clone.destroy().await.left.is_empty());
        assert!(contents(&primary.dir) == before, "{format}: destroying a clone changed its source");
        primary.start().await.unwrap_or_else(|error| panic!("{error}"));
        lab.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_of_a_base_share_its_blocks_and_a_busy_one_is_destroyed_later() {
    for (format, method) in SYSTEMS {
        let Some(lab) = lab(format).await else { continue };
        let source = lab.source("a");
        let before = lab.left();
        let recipe = Recipe { mode: Mode::Precooked(Precooked::default()), ..Recipe::default() };
        let cooked = Base::cook(&lab.place, &source, &recipe, order(&lab, "base"), Caller::default()).await;
        let base = cooked.unwrap_or_else(|error| panic!("{error}"));
        let made = create(&lab.place, base.source(), &recipe, order(&lab, "c"), Caller::default()).await;
        println!("{format} {}", told(&made));
        assert_eq!(made.facts.method, method, "{:?}", made.facts.why);
        let clone = made.outcome.unwrap_or_else(|error| panic!("{error}"));
        let busy = std::process::Command::new("sleep").arg("600").current_dir(clone.data()).spawn();
        let mut busy = busy.expect("it runs");
        let destroyed = clone.destroy().await;
        println!("{format}, in use: {:?}", destroyed.left);
        // A mount in use stays; a directory goes.
        assert_eq!(destroyed.left.is_empty(), format != Format::Zfs, "{destroyed:?}");
        let _ = busy.kill();
        let _ = busy.wait();
        let destroyed = clone.destroy().await;
        assert!(destroyed.left.is_empty(), "{destroyed:?}");
        assert!(base.destroy().await.left.is_empty());
        assert_eq!(lab.left(), before);
        lab.end().await;
    }
}

/// What there is at least to wait for: a server that starts on a copy that was shut down in order, with the same
/// settings, and the copying itself. Prints by how much a clone's `ready`, less its checkpoint, exceeds that. No speed is
/// asserted; started by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a machine that does nothing else"]
async fn distance_to_the_floor() {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    for (format, _) in SYSTEMS {
        let Some(lab) = lab(format).await else { continue };
        let source = lab.source("a");
        let precooked = Recipe { mode: Mode::Precooked(Precooked::default()), ..Recipe::default() };
        let cooked = Base::cook(&lab.place, &source, &precooked, order(&lab, "base"), Caller::default()).await;
        let base = cooked.unwrap_or_else(|error| panic!("{error}"));
        let (mut floor, mut ready) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
        let frozen = Recipe { protect: Protect::Freeze, ..Recipe::default() };
        for number in 0..25 {
            let ways = [(&source, &Recipe::default()), (base.source(), &precooked), (&source, &frozen)];
            for (i, (source, recipe)) in ways.iter().enumerate() {
                let order = order(&lab, &format!("c{number}-{i}"));
                let attempt = create(&lab.place, source, recipe, order, Caller::default()).await;
                let ms = |time: Duration| time.as_secs_f64() * 1e3;
                let took = |phase| attempt.took(phase).map_or(0.0, ms);
                let copying = took(Phase::Snapshot) + took(Phase::Clone);
                ready[i].push(attempt.ready().map_or(f64::NAN, ms) - took(Phase::Checkpoint));
                if number % 8 == 0 {
                    println!("{format} {}", told(&attempt));
                }
                let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
                if i == 0 {
                    clone.shut_down().await.unwrap_or_else(|error| panic!("{error}"));
                    floor.push(copying + ms(clone.server().start().await.unwrap_or_else(|error| panic!("{error}"))));
                }
                assert!(clone.destroy().await.left.is_empty());
            }
        }
        let (floor, ready) = (median(floor), ready.map(median));
        let [recovery, cooked, frozen] = ready.map(|ready| format!("{ready:.1} ms, {:.2} of it", ready / floor));
        println!("{format}: floor {floor:.1} ms; recovery {recovery}; frozen {frozen}; precooked {cooked}");
        assert!(base.destroy().await.left.is_empty());
        lab.end().await;
    }
}

#[test]
fn a_directory_is_compared_by_all_its_files() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("d")).expect("a directory");
    std::fs::write(dir.path().join("d/f"), "x").expect("a file");
    let before = contents(dir.path());
    assert_eq!(before.len(), 1);
    std::fs::write(dir.path().join("d/f"), "y").expect("a file");
    assert!(contents(Path::new(dir.path())) != before);
}
