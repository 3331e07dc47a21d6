//! A clone that writes without end, on the file system of its source: what it does to that, and that it is ended before.

use super::super::lab::{LIMIT, node};
use super::lab::{Disk, Lab};
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::{Size, Time};
use pgbench_rs::clone::{Method, Recipe};
use pgbench_rs::metric::{Event, Points};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::{Host, Login};
use pgbench_rs::probe::clones::{Bench, Campaign, Ended, Running};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const PHASE: &str = "explore";

/// A campaign of one clone that lives for long, and the events of it.
fn begun(lab: &Lab, reserve: Size) -> (Running, UnboundedReceiver<Event>) {
    let recipe = Recipe { method: Method::Reflink, reserve, ..Recipe::default() };
    let campaign = Campaign {
        of: "a".to_owned(),
        phase: PHASE.to_owned(),
        recipe,
        driver: None,
        at_once: 1,
        rounds: Some(1),
        every: None,
        lasts: Time::s(600),
        load: None,
        check: Default::default(),
    };
    let (events, told) = unbounded_channel();
    let logs = lab.place.dir().join("logs");
    fs::create_dir_all(&logs).expect("a directory");
    super::super::fixture::open_to_all(&logs);
    let bench = Bench {
        place: lab.place.clone(),
        cluster: lab.cluster.clone(),
        make: lab.make.clone(),
        watermark: None,
        clock: Clock::start(),
        events,
        points: Points::channel(100).0,
        seed: 1,
        latency: logs.clone(),
        logs,
    };
    let running = Running::start("c", &campaign, bench);
    running.phase(PHASE);
    (running, told)
}

/// A session on the clone, as soon as it takes one: what its server says of itself, for the campaign says it at the end.
async fn cloned(lab: &Lab) -> Client {
    let dir = lab.cluster.node("a").expect("a node").dir.parent().expect("its place").join("clone-c-1/data");
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < LIMIT, "there is no clone in {}", dir.display());
        if let Some(client) = session(&dir, lab.cluster.login("test")).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn session(dir: &Path, login: Login) -> Option<Client> {
    let text = fs::read_to_string(dir.join("postmaster.pid")).ok()?;
    let port = text.lines().nth(3)?.parse().ok()?;
    connect(&Host::new("c", "127.0.0.1", port), &login, LIMIT).await.ok()
}

/// Writes until that fails. Each statement is a transaction, so that what it wrote stays.
async fn fills(client: &Client) -> tokio_postgres::Error {
    let setup = "SET synchronous_commit = off; CREATE TABLE f (x text)";
    client.batch_execute(setup).await.expect("a table");
    loop {
        let more = "INSERT INTO f SELECT repeat(md5(n::text), 60) FROM generate_series(1, 2000) AS n";
        if let Err(error) = client.batch_execute(more).await {
            return error;
        }
    }
}

/// What comes of writing some 40 MB to the source.
async fn source_writes(client: &Client) -> Result<(), tokio_postgres::Error> {
    let table = "CREATE TABLE s AS SELECT repeat(md5(n::text), 60) AS x FROM generate_series(1, 20000) AS n";
    client.batch_execute(table).await
}

async fn ended(lab: Lab, running: Running) -> Ended {
    let ended = running.stop().await;
    lab.end().await;
    ended
}

fn value(ended: &Ended, metric: &str) -> Option<f64> {
    ended.values.iter().find(|value| value.metric == metric && value.subject.as_deref() == Some("c")).map(|v| v.value)
}

async fn lab(disk: &Disk) -> Lab {
    let settings = [("max_wal_size", "64MB"), ("min_wal_size", "32MB")];
    Lab::start_in(&disk.path, |make| vec![node(make, "a", None, &settings)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_reserve_the_source_finds_its_disk_full() {
    let Some(disk) = Disk::make("xfs", 700) else { return };
    let lab = lab(&disk).await;
    let source = lab.connect("a").await;
    let (running, _told) = begun(&lab, Size(0));
    let clone = cloned(&lab).await;
    println!("the clone: {}", fills(&clone).await);
    let full = source_writes(&source).await.expect_err("nothing is left for it");
    println!("the source: {full:?}");
    assert!(full.code() == Some(&SqlState::DISK_FULL) || full.is_closed(), "{full:?}");
    drop((clone, source));
    let ended = ended(lab, running).await;
    assert_eq!(value(&ended, "clone.made"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_reserve_the_clone_ends_and_the_source_goes_on() {
    let Some(disk) = Disk::make("xfs", 700) else { return };
    let lab = lab(&disk).await;
    let source = lab.connect("a").await;
    let (running, mut told) = begun(&lab, Size(100 << 20));
    let clone = cloned(&lab).await;
    let error = fills(&clone).await;
    // Killed, and not told by the system.
    assert!(error.is_closed() || error.code() != Some(&SqlState::DISK_FULL), "{error:?}");
    source_writes(&source).await.unwrap_or_else(|error| panic!("the source did not survive: {error:?}"));
    let mut events = Vec::new();
    while !events.iter().any(|event: &Event| event.kind == "clone.evicted") {
        let event = tokio::time::timeout(LIMIT, told.recv()).await.expect("it is said").expect("a campaign");
        events.push(event);
    }
    let evicted = events.last().expect("an event");
    assert!(evicted.text.starts_with("c/1: only ") && evicted.text.contains("of 100MB"), "{evicted:?}");
    assert_eq!(evicted.node.as_deref(), Some("a"));
    drop((clone, source));
    let ended = ended(lab, running).await;
    assert_eq!((value(&ended, "clone.made"), value(&ended, "clone.failed")), (Some(0.0), Some(1.0)));
    assert!(ended.problems.is_empty() && value(&ended, "clone.ready").is_some(), "{:?}", ended.problems);
    let [way] = &ended.ways[..] else { panic!("{:?}", ended.ways) };
    assert_eq!((way.method.as_deref(), way.protocol.as_deref()), (Some("reflink"), Some("backup")));
}
