//! Every version of PostgreSQL that this machine offers: the same cluster, watched, killed and promoted, and the
//! table of settings held against what its servers say.

use super::fixture::not_run;
use super::lab::{self, HOW, LIMIT, Lab, Offer};
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::Time;
use pgbench_rs::manager::{self, Builtin, Detect, Fence};
use pgbench_rs::metric::{Event, Points, Value};
use pgbench_rs::pg::programs::Installed;
use pgbench_rs::pg::settings;
use pgbench_rs::pg::standby_names::StandbyNames;
use pgbench_rs::pg::version::Major;
use pgbench_rs::probe::{Ledger, ledger};
use pgbench_rs::sampler::{self, Sample};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_postgres::Client;

/// Those of which it is promised that everything works.
const PROMISED: [u32; 3] = [15, 17, 18];

/// One of each major version that is installed here, and the images of those that are promised.
pub async fn offered() -> Vec<(Major, Offer)> {
    let installed = Installed::find(&[]).unwrap_or_else(|error| panic!("{error}"));
    let mut seen = BTreeSet::new();
    let programs = installed.iter().filter(|programs| seen.insert(programs.major())).cloned();
    let mut offered: Vec<_> = programs.map(|programs| (programs.major(), Offer::Programs(programs))).collect();
    for major in PROMISED {
        match lab::image(major).await {
            Some(offer) => offered.push((Major(major), offer)),
            None => not_run(&format!("PostgreSQL {major} in containers"), HOW),
        }
        if !offered.iter().any(|(offered, _)| *offered == Major(major)) {
            let how = format!("apt-get install postgresql-{major}, or {HOW}");
            not_run(&format!("PostgreSQL {major}"), &how);
        }
    }
    offered
}

/// A primary `a` and the standbys `s1` and `s2`.
async fn start(offer: &Offer) -> Lab {
    let lab = Lab::start(offer, |make| {
        let settings =
            [("shared_buffers", "16MB"), ("fsync", "off"), ("synchronous_standby_names", "ANY 1 (a, s1, s2)")];
        let node = |name, follows| lab::node(make, name, follows, &settings);
        vec![node("a", None), node("s1", Some("a")), node("s2", Some("a"))]
    });
    let lab = lab.await;
    assert_eq!(lab.cluster.unconfirmed, [], "settings that {offer} does not confirm");
    lab
}

/// A row of `pg_settings`.
struct Known {
    context: String,
    kind: String,
    value: String,
    min: Option<String>,
    max: Option<String>,
    words: Option<Vec<String>>,
}

async fn pg_settings(client: &Client) -> BTreeMap<String, Known> {
    let sql = "SELECT name, context, vartype, setting, min_val, max_val, enumvals FROM pg_settings \
               WHERE name NOT LIKE '%.%'";
    let rows = client.query(sql, &[]).await.expect("pg_settings");
    let known = |row: &tokio_postgres::Row| Known {
        context: row.get(1),
        kind: row.get(2),
        value: row.get::<_, Option<String>>(3).unwrap_or_default(),
        min: row.get(4),
        max: row.get(5),
        words: row.get(6),
    };
    rows.iter().map(|row| (row.get::<_, String>(0), known(row))).collect()
}

/// Everything in which the table of settings and a server of version `major` do not agree.
async fn disagreements(client: &Client, major: Major) -> Vec<String> {
    let mut wrong = Vec::new();
    let all = pg_settings(client).await;
    for (name, known) in all.into_iter().filter(|(name, _)| settings::is_judged(name)) {
        if settings::missing(&name, major).is_some() {
            wrong.push(format!("{name}: the server has it, the table does not"));
        }
        let refused = |value: &str| settings::wrong(&name, value, Some(major)).is_some();
        if known.context == "internal" {
            if !refused(&known.value) {
                wrong.push(format!("{name}: it cannot be set, the table says it can"));
            }
            continue;
        }
        let words = known.words.iter().flatten();
        for value in [Some(&known.value), known.min.as_ref(), known.max.as_ref()].into_iter().flatten().chain(words) {
            if refused(value) {
                wrong.push(format!("{name}: the server takes {value}, the table does not"));
            }
        }
        // A limit that depends on the build is not in the table.
        if known.kind != "string" && name != "debug_discard_caches" && !refused("no such value") {
            wrong.push(format!("{name}: the table takes anything, the server does not"));
        }
        let above = known.max.as_ref().and_then(|max| max.parse::<i64>().ok()).map(|max| (max + 1).to_string());
        if known.kind == "integer" && name != "debug_discard_caches" && !above.is_some_and(|above| refused(&above)) {
            wrong.push(format!("{name}: the table takes more than the server's {:?}", known.max));
        }
    }
    for name in settings::names().filter(|name| settings::missing(name, major).is_none()) {
        let there = client.query_one("SELECT current_setting($1, true) IS NOT NULL", &[&name]).await;
        if !there.expect("current_setting").get::<_, bool>(0) {
            wrong.push(format!("{name}: the table has it, the server does not"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_is_as_the_tables_say_watched_killed_and_promoted() {
    for (version, offer) in offered().await {
        let (began, lab) = (Instant::now(), start(&offer).await);
        let client = lab.connect("a").await;
        let shown = client.query_one("SHOW server_version_num", &[]).await.expect("SHOW");
        let number: u32 = shown.get::<_, &str>(0).parse().expect("a number");
        assert_eq!(number / 10_000, version.0);
        let wrong = disagreements(&client, version).await;
        assert_eq!(wrong, Vec::<String>::new(), "{offer}: the table of settings is not what it has");
        failover(&lab, version).await;
        lab.end().await;
        println!("{offer}: {:.1?}", began.elapsed());
    }
}

/// Kills the primary under the eyes of manager, sampler and ledger.
async fn failover(lab: &Lab, version: Major) {
    let (clock, (events, mut told)) = (Clock::start(), mpsc::unbounded_channel());
    let (points, mut sampled) = Points::channel(10_000);
    let builtin = Builtin { detect: Detect::default(), fence: Fence::Driver, site: None, automatic: true };
    let synchronous = StandbyNames::parse("ANY 1 (a, s1, s2)").expect("a value");
    let manager = manager::Running::start(builtin, lab.cluster.clone(), synchronous, clock, events.clone()).await;
    let manager = manager.expect("a manager");
    let (hosts, login) = (lab.cluster.hosts(), |name: &str| lab.cluster.login(name));
    let sample = Sample { waits: Time::ms(100), every: Time::ms(200), tables: Time::s(1) };
    let target = |host| sampler::Target { host, login: login("test"), tables: Vec::new() };
    let targets = hosts.iter().cloned().map(target).collect();
    let sampler = sampler::Running::start(targets, &sample, clock, points.clone(), events.clone());
    let sampler = sampler.await;
    let writes = Ledger { writers: 2, rate: 100.0, timeout: Time::s(10), sites: Vec::new() };
    let ledger = ledger::Running::start(
        &writes,
        std::slice::from_ref(&hosts),
        hosts.clone(),
        login("test"),
        clock,
        events,
        points,
    )
    .await;
    let ledger = ledger.expect("a ledger");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let fault = clock.elapsed();
    lab.cluster.node("a").expect("a").kill().await.expect("killed");
    ledger.fault(fault);
    let mut story = Vec::new();
    let repointed = |story: &[Event]| story.iter().any(|event| event.kind == "failover.repointed");
    let limit = Instant::now() + LIMIT;
    while !repointed(&story) || clock.elapsed() < fault + Duration::from_secs(3) {
        assert!(Instant::now() < limit, "no failover of {version}: {story:?}");
        story.extend(std::iter::from_fn(|| told.try_recv().ok()));
        while sampled.try_recv().is_ok() {}
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let verdict = ledger.halt().await.verdict().await.0;
    sampler.stop().await;
    let outcome = manager.stop().await;
    let value =
        |metric: &str| verdict.iter().find(|v| v.metric == metric && v.subject.is_none()).map(|v: &Value| v.value);
    assert_eq!(value("ledger.acked_lost"), Some(0.0), "{version}: {verdict:?}");
    assert!(value("ledger.acked").is_some_and(|acked| acked > 100.0), "{version}: {verdict:?}");
    assert!(value("failover.write_outage").is_some_and(|outage| outage < 20.0), "{version}: {verdict:?}");
    assert_ne!(outcome.primary, "a", "{version}: {story:?}");
    story.extend(std::iter::from_fn(|| told.try_recv().ok()));
    let failed: Vec<&Event> = story.iter().filter(|event| event.kind == "sampler.view_failed").collect();
    assert!(failed.is_empty(), "{version}: {failed:?}");
}
