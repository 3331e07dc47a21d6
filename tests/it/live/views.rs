//! Every view that is sampled, on every version of PostgreSQL that is promised: read while there is something in it.

use super::fixture::server_command;
use super::lab::{self, LIMIT, Lab, Offer};
use super::sampling::as_declared;
use super::versions::offered;
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::Time;
use pgbench_rs::metric::sampled::{
    CLONE, CONTAINER, EVENT, FILE_SYSTEM, HOST, LAG, LAG_VISIBLE, LEDGER, LOAD_BUCKETS, LOAD_LATENCY, LOAD_OPS,
    MEASUREMENTS, SERVER_PROCESSES,
};
use pgbench_rs::metric::{Event, Point, Points};
use pgbench_rs::pg::version::Major;
use pgbench_rs::sampler::{Running, Sample, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_postgres::Client;

/// What others write.
const OF_OTHERS: [&str; 12] = [
    CLONE.name,
    CONTAINER.name,
    EVENT.name,
    FILE_SYSTEM.name,
    HOST.name,
    LAG.name,
    LAG_VISIBLE.name,
    LEDGER.name,
    LOAD_BUCKETS.name,
    LOAD_LATENCY.name,
    LOAD_OPS.name,
    SERVER_PROCESSES.name,
];

/// What a version has of the views, as written down for those that cannot be had here.
fn written(version: Major) -> BTreeMap<String, Vec<String>> {
    let path = format!("{}/src/sampler/columns/{version}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut views: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let (view, column) = line.split_once(' ').expect("a view and a column");
        views.entry(view.to_owned()).or_default().push(column.to_owned());
    }
    views
}

async fn columns(client: &Client, view: &str) -> Vec<String> {
    let sql = "SELECT attname || ' ' || format_type(atttypid, NULL) FROM pg_attribute \
               WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attnum";
    let rows = client.query(sql, &[&view]).await.unwrap_or_else(|error| panic!("{view}: {error}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Things that go on for a while, so that views of progress have something to show.
const SLOW: [&str; 5] = [
    "VACUUM (DISABLE_PAGE_SKIPPING) big",
    "ANALYZE analyzed",
    "CREATE INDEX CONCURRENTLY ON indexed (slow(n))",
    "VACUUM FULL clustered",
    "COPY copied FROM PROGRAM 'echo 1; sleep 20'",
];

const PREPARE: &str = "
    CREATE EXTENSION pg_stat_statements;
    CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_sleep(0.2); RETURN n; END $$;
    CREATE TABLE big AS SELECT n, repeat('x', 1000) AS x FROM generate_series(1, 5000) n;
    CREATE TABLE analyzed AS SELECT * FROM big;
    CREATE TABLE indexed AS SELECT n FROM generate_series(1, 100) n;
    CREATE TABLE clustered (n int); CREATE INDEX ON clustered (slow(n));
    INSERT INTO clustered SELECT generate_series(1, 20);
    CREATE TABLE copied (n int); CREATE TABLE held (n int primary key); INSERT INTO held VALUES (1);
    CREATE PUBLICATION p FOR TABLE held;
    SELECT pg_create_logical_replication_slot('of_s', 'pgoutput');
    BEGIN; UPDATE held SET n = 2; PREPARE TRANSACTION 'x';";

/// A primary and a standby with everything on.
async fn start(offer: &Offer) -> Lab {
    Lab::start(offer, |make| {
        let settings = [
            ("shared_buffers", "16MB"),
            ("fsync", "off"),
            ("wal_level", "logical"),
            ("max_prepared_transactions", "5"),
            ("shared_preload_libraries", "pg_stat_statements"),
        ];
        let node = |name, follows| lab::node(make, name, follows, &settings);
        vec![node("a", None), node("s1", Some("a"))]
    })
    .await
}

/// A subscription of the server to itself, whose table is not there: it has a worker and a state, and errors.
async fn subscribe(lab: &Lab, client: &Client) {
    let (host, login) = (&lab.cluster.node("a").expect("a").host, lab.cluster.login("test"));
    let sql = format!(
        "CREATE SUBSCRIPTION s CONNECTION 'host={} port={} user={} password={} dbname=postgres' \
         PUBLICATION p WITH (create_slot = false, slot_name = 'of_s', copy_data = false)",
        host.host,
        host.port,
        login.user,
        login.password.expose()
    );
    client.batch_execute(&sql).await.expect("a subscription");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_is_read_where_there_is_one() {
    for (version, offer) in offered().await {
        let lab = start(&offer).await;
        let client = lab.connect("a").await;
        // One by one, for a block of several is a transaction.
        for statement in PREPARE.split_inclusive(";\n") {
            client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
        subscribe(&lab, &client).await;
        let written = written(version);
        for (view, expected) in &written {
            assert_eq!(&columns(&client, view).await, expected, "{offer}: {view}");
        }
        let seen = watch(&lab, &offer, version).await;
        let lacks = lacking(version);
        let expected: BTreeSet<&str> =
            MEASUREMENTS.iter().map(|of| of.name).filter(|name| !OF_OTHERS.contains(name)).collect();
        let expected: BTreeSet<&str> = expected.into_iter().filter(|name| !lacks.contains(name)).collect();
        // The program has to be of the server's version or later.
        let missing: Vec<_> = expected.difference(&seen).filter(|name| !name.ends_with("basebackup")).collect();
        assert_eq!(missing, Vec::<&&str>::new(), "{offer}");
        if matches!(offer, Offer::Programs(_)) {
            assert!(seen.contains("pg_stat_progress_basebackup"), "{offer}");
        }
        drop(client);
        lab.end().await;
    }
}

/// Views that a version has not.
fn lacking(version: Major) -> Vec<&'static str> {
    let since = [
        (14, "pg_stat_wal"),
        (14, "pg_stat_replication_slots"),
        (14, "pg_stat_progress_copy"),
        (15, "pg_stat_subscription_stats"),
        (15, "pg_stat_recovery_prefetch"),
        (16, "pg_stat_io"),
    ];
    since.into_iter().filter(|(since, _)| version.0 < *since).map(|(_, view)| view).collect()
}

/// A base backup that takes its time.
fn backup(lab: &Lab) -> std::process::Child {
    let (login, host) = (lab.cluster.login("test"), &lab.cluster.node("a").expect("a").host);
    let mut command = server_command("pg_basebackup");
    command.args(["-h", &host.host, "-p", &host.port.to_string(), "-U", &login.user, "-D", "-", "-Ft", "-X", "none"]);
    command.args(["-c", "fast", "-r", "1M"]).env("PGPASSWORD", login.password.expose());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("pg_basebackup")
}

/// Samples while something goes on; gives the names of what was seen.
async fn watch(lab: &Lab, offer: &Offer, version: Major) -> BTreeSet<&'static str> {
    let (clock, (events, mut told)) = (Clock::start(), mpsc::unbounded_channel());
    let (points, mut sampled) = Points::channel(100_000);
    let sample = Sample { waits: Time::ms(100), every: Time::ms(200), tables: Time::ms(500) };
    let target = |host| Target { host, login: lab.cluster.login("test"), tables: Vec::new() };
    let running = Running::start(lab.cluster.hosts().into_iter().map(target).collect(), &sample, clock, points, events);
    let running = running.await;
    let mut busy = tokio::task::JoinSet::new();
    for statement in SLOW {
        let session = lab.connect("a").await;
        session.batch_execute("SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1").await.expect("SET");
        busy.spawn(async move { session.batch_execute(statement).await });
    }
    let mut backup = matches!(offer, Offer::Programs(_)).then(|| backup(lab));
    let limit = Instant::now() + LIMIT;
    let (mut seen, mut all): (BTreeSet<&str>, Vec<Point>) = (BTreeSet::new(), Vec::new());
    let enough = |seen: &BTreeSet<&str>| {
        let progress = ["vacuum", "analyze", "create_index", "cluster", "basebackup", "copy"];
        let all = progress.iter().filter(|of| backup.is_some() || **of != "basebackup");
        let mut names = all.map(|of| format!("pg_stat_progress_{of}"));
        names.all(|name| seen.contains(name.as_str()) || lacking(version).contains(&name.as_str()))
            && seen.contains("pg_stat_subscription")
    };
    while !(enough(&seen) && clock.elapsed() > Duration::from_secs(3)) && Instant::now() < limit {
        while let Ok(batch) = sampled.try_recv() {
            seen.extend(batch.iter().map(|point| point.measurement));
            all.extend(batch);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if let Some(backup) = &mut backup {
        backup.kill().and_then(|()| backup.wait().map(drop)).expect("it is our child");
    }
    println!("{offer}: {:.1?}, {} points", clock.elapsed(), all.len());
    while let Some(done) = busy.try_join_next() {
        done.expect("a task").unwrap_or_else(|error| panic!("{offer}: {error:?}"));
    }
    let ended = running.stop().await;
    all.iter().for_each(as_declared);
    let failed: Vec<Event> =
        std::iter::from_fn(|| told.try_recv().ok()).filter(|event| event.kind != "sampler.degraded").collect();
    assert!(failed.is_empty(), "{offer}: {failed:?}");
    for view in lacking(version) {
        assert!(ended.absent.contains(view), "{offer}: {view} is not among {:?}", ended.absent);
    }
    let tables: BTreeSet<&String> = all
        .iter()
        .filter(|p| p.measurement == "pg_stat_user_tables")
        .flat_map(|p| &p.tags)
        .map(|(_, tag)| tag)
        .collect();
    assert!(tables.contains(&"big".to_owned()), "{offer}: {tables:?}");
    assert!(all.iter().any(|p| p.measurement == "pg_stat_statements" && p.tags[0].1 == "other"), "{offer}: the rest");
    seen
}
