//! A clone's life and its end, orderly and not.

use super::super::lab::{LIMIT, node};
use super::lab::{Beats, Disk, Lab, told};
use pgbench_rs::base::proc;
use pgbench_rs::clone::worth::{Checks, Mark};
use pgbench_rs::clone::{Caller, CloneError, Method, Mode, Order, Phase, Protect, Recipe, Resetwal, create};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::watch;

fn copy() -> Recipe {
    Recipe {
        method: Method::Copy,
        query: Some("SELECT count(*) FROM pgbench_accounts".to_owned()),
        ..Recipe::default()
    }
}

/// Makes clones until each of `phases` was the one in which nobody wanted it any more, and holds that each time nothing
/// is left and the source goes on.
pub async fn given_up(lab: &Lab, recipe: &Recipe, phases: &[Phase]) {
    let (source, client) = (lab.source("a"), lab.connect("a").await);
    let before = lab.left();
    for phase in phases {
        let (told, mut seen) = watch::channel(None);
        let order =
            Order { dir: format!("clone-{phase}"), ..lab.order(&format!("c-{}", phase.name().replace('_', "-"))) };
        let home = lab.place.dir().join(&order.dir);
        let making = create(&lab.place, &source, recipe, order, Caller { told: Some(told), unwanted: None });
        let reached = async {
            while *seen.borrow_and_update() != Some(*phase) {
                if seen.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = reached => {}
            attempt = making => panic!("{phase} never came: {}", told_of(&attempt)),
        }
        let began = Instant::now();
        while lab.left() != before || home.exists() {
            assert!(began.elapsed() < LIMIT, "left after {phase}: {:?}", lab.left());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let free = "SELECT count(*) FROM pg_replication_slots";
        let wrote = tokio::time::timeout(LIMIT, client.batch_execute("CREATE TEMP TABLE x (); DROP TABLE x")).await;
        assert!(wrote.is_ok_and(|wrote| wrote.is_ok()), "the source does not go on after {phase}");
        let slots: i64 = client.query_one(free, &[]).await.expect("a row").get(0);
        if slots > 0 {
            // The session of a backup ends a moment after its connection.
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(client.query_one(free, &[]).await.expect("a row").get::<_, i64>(0), 0, "a slot is left");
        }
    }
}

fn told_of(attempt: &pgbench_rs::clone::Attempt) -> String {
    format!("{} {:?}", told(attempt), attempt.outcome.as_ref().err())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_leaves_nothing_in_any_phase() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let all = [
        Phase::Look,
        Phase::Checkpoint,
        Phase::Clone,
        Phase::BackupStop,
        Phase::Fixup,
        Phase::Start,
        Phase::FirstRow,
        Phase::Settle,
        Phase::Cold,
        Phase::Warm,
    ];
    given_up(&lab, &copy(), &all).await;
    let frozen = Recipe { protect: Protect::Freeze, ..copy() };
    given_up(&lab, &frozen, &[Phase::Freeze, Phase::Clone, Phase::Thaw]).await;
    let reset = Recipe { mode: Mode::Resetwal(Resetwal::default()), ..copy() };
    given_up(&lab, &reset, &[Phase::Resetwal, Phase::Start]).await;
    let basebackup = Recipe { method: Method::Basebackup, ..copy() };
    given_up(&lab, &basebackup, &[Phase::Clone]).await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_leaves_no_subvolume() {
    let Some(disk) = Disk::make("btrfs", 2048) else { return };
    let lab = Lab::start_in(&disk.path, |make| vec![node(make, "a", None, &[])]).await;
    let recipe = Recipe { method: Method::Btrfs, ..copy() };
    given_up(&lab, &recipe, &[Phase::Clone, Phase::Fixup, Phase::FirstRow]).await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_that_does_not_start_keeps_its_phases_and_leaves_nothing() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let before = lab.left();
    let mut recipe = copy();
    recipe.settings.insert("shared_buffers".to_owned(), "900TB".to_owned());
    let attempt = lab.attempt(&lab.source("a"), &recipe, "c").await;
    assert!(matches!(attempt.outcome, Err(CloneError::Settings(_))), "{:?}", attempt.outcome);
    recipe.settings.insert("shared_buffers".to_owned(), "4TB".to_owned());
    let attempt = lab.attempt(&lab.source("a"), &recipe, "c").await;
    let last = attempt.spans.last().expect("a phase");
    assert!(last.phase == Phase::Start && !last.ended && attempt.ready().is_none(), "{:?}", attempt.spans);
    assert!(attempt.took(Phase::Clone).is_some() && attempt.facts.protocol.is_some());
    let error = attempt.outcome.expect_err("it cannot start").to_string();
    assert!(error.contains("did not start") && error.contains("could not map anonymous shared memory"), "{error}");
    assert_eq!(lab.left(), before);
    lab.end().await;
}

/// Files that processes with a working directory in `dir` have open for writing, or mapped so.
fn writable(dir: &Path) -> BTreeSet<PathBuf> {
    let dir = fs::canonicalize(dir).expect("a directory");
    let mut found = BTreeSet::new();
    for stat in proc::standing_in(&proc::alive(), &[(dir, "postgres".to_owned())]) {
        let process = PathBuf::from(format!("/proc/{}", stat.identity.pid));
        for descriptor in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let flags = fs::read_to_string(process.join("fdinfo").join(descriptor.file_name())).unwrap_or_default();
            let flags = flags.lines().find_map(|line| line.strip_prefix("flags:"));
            let mode = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(3) & 3;
            if mode != 0 {
                found.extend(fs::read_link(descriptor.path()));
            }
        }
        let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
        let shared = maps.lines().filter(|line| line.split_ascii_whitespace().nth(1).is_some_and(|p| p.contains("ws")));
        found.extend(shared.filter_map(|line| line.split_once('/')).map(|(_, path)| PathBuf::from(format!("/{path}"))));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_of_a_clone_can_write_to_its_source() {
    let Some(disk) = Disk::make("xfs", 2048) else { return };
    let lab = Lab::start_in(&disk.path, |make| vec![node(make, "a", None, &[])]).await;
    let source = lab.cluster.node("a").expect("a node").dir.clone();
    let clone = lab.clone(&lab.source("a"), &Recipe { method: Method::Reflink, ..copy() }, "c").await;
    let load = lab.load_on(clone.host(), &clone.login("pgbench"));
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen.extend(writable(clone.data()));
    }
    drop(load);
    let within = |path: &&PathBuf| path.starts_with(clone.data());
    assert!(seen.iter().filter(within).count() > 5, "too few to be believed: {seen:?}");
    let theirs: Vec<_> = seen.iter().filter(|path| path.starts_with(&source)).collect();
    assert!(theirs.is_empty(), "{theirs:?}");
    // The source itself has some: it would have been seen.
    assert!(writable(&source).iter().any(|path| path.starts_with(&source)));
    assert!(clone.destroy().await.left.is_empty());
    lab.end().await;
}

/// On a full file system the first that needs room for its WAL goes down, and that may be the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_not_cloned_onto_the_last_of_its_room() {
    let Some(disk) = Disk::make("xfs", 700) else { return };
    let lab = Lab::start_in(&disk.path, |make| vec![node(make, "a", None, &[])]).await;
    let (source, client) = (lab.source("a"), lab.connect("a").await);
    let free = |path: &Path| pgbench_rs::base::disk::free(path).expect("its room");
    let ballast = lab.place.dir().join("ballast");
    let file = fs::File::create(&ballast).expect("a file");
    let left = 60 << 20;
    let length = (free(&disk.path) - left) as i64;
    nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, length).expect("filled");
    let before = lab.left();
    for method in [Method::Copy, Method::Reflink, Method::Basebackup] {
        let attempt = lab.attempt(&source, &Recipe { method, ..copy() }, "c").await;
        let error = attempt.outcome.expect_err("refused").to_string();
        assert!(error.contains("is to be left to the source"), "{error}");
        assert_eq!(lab.left(), before);
    }
    client.batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n").await.expect("the source goes on");
    // What fits is made.
    let recipe = Recipe { method: Method::Reflink, reserve: pgbench_rs::base::units::Size(16 << 20), ..copy() };
    let clone = lab.clone(&source, &recipe, "c").await;
    // And then it can use up the room: this is what the reserve is for.
    let cloned = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    let fill = "CREATE TABLE f AS SELECT repeat('x', 2000) AS x FROM generate_series(1, 200000)";
    assert!(cloned.batch_execute(fill).await.is_err());
    drop(cloned);
    assert!(clone.destroy().await.left.is_empty());
    drop(file);
    fs::remove_file(&ballast).expect("removed");
    let client = lab.connect("a").await;
    client.batch_execute("INSERT INTO t VALUES (0)").await.expect("the source has survived");
    drop(client);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_in_use_is_destroyed_and_many_live_beside_each_other() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let (source, beats) = (lab.source("a"), lab.beats("a").await);
    let before = lab.left();
    let mark = Mark::take(&source, Some(&Beats::watermark())).await.expect("a mark");
    let recipe = copy();
    let names = ["c1", "c2", "c3", "c4"];
    let (one, two) = (lab.attempt(&source, &recipe, names[0]), lab.attempt(&source, &recipe, names[1]));
    let frozen = Recipe { protect: Protect::Freeze, ..copy() };
    let (three, four) = (lab.attempt(&source, &frozen, names[2]), lab.attempt(&source, &frozen, names[3]));
    let (one, two, three, four) = tokio::join!(one, two, three, four);
    let mut clones = Vec::new();
    for attempt in [one, two, three, four] {
        println!("{}", told(&attempt));
        clones.push(attempt.outcome.unwrap_or_else(|error| panic!("{error}")));
    }
    for clone in &clones {
        let worth = clone.worth(&mark, Checks::default()).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(worth.is_whole() && worth.rows_lost == Some(0), "{worth:?}");
    }
    let again = lab.attempt(&source, &recipe, names[0]).await;
    assert!(again.outcome.expect_err("the name is taken").to_string().contains("already exists"));
    let busy = clones[0].connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    let sleeping = tokio::spawn(async move { busy.batch_execute("SELECT pg_sleep(600)").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for clone in &clones {
        let destroyed = clone.destroy().await;
        assert!(destroyed.left.is_empty(), "{destroyed:?}");
        assert!(clone.destroy().await.left.is_empty(), "a second time does nothing");
    }
    assert!(sleeping.await.expect("a task").is_err());
    assert_eq!(lab.left(), before);
    drop(beats);
    lab.end().await;
}
