//! Reads of IMDb's tables, and steps that load them, on a synthetic data set.

use super::fixture;
use super::lab::{self, Offer};
use pgbench_rs::base::clock::Clock;
use pgbench_rs::driver::Make;
use pgbench_rs::etl::imdb::Schema;
use pgbench_rs::etl::load::Settings;
use pgbench_rs::etl::source::Source;
use pgbench_rs::etl::synthetic::{Synthetic, Which, source::Tables};
use pgbench_rs::fault::load::Sets;
use pgbench_rs::fault::{Fault, Load as LoadStep, Reach};
use pgbench_rs::metric::Points;
use pgbench_rs::workload::mix::{OnImdb, Transaction, Weighted};
use pgbench_rs::workload::profile::{Closed, Profile};
use pgbench_rs::workload::queries::{self, Answer};
use pgbench_rs::workload::space::Imdb;
use pgbench_rs::workload::{Load, Mix, Outcome, Running, Setup, Target};
use std::sync::Arc;
use std::time::Duration;

/// The data set whose answers are known.
const OF: Synthetic = Synthetic { scale: 0.001, seed: 1 };

fn value(outcome: &Outcome, metric: &str, subject: &str) -> Option<f64> {
    let found = |v: &&pgbench_rs::metric::Value| v.metric == metric && v.subject.as_deref() == Some(subject);
    outcome.values.iter().filter(|v| v.phase.is_none()).find(found).map(|v| v.value)
}

fn load(mix: Mix) -> Load {
    let profile = Profile::Closed(Closed {});
    Load { mix, profile, clients: 2, threads: 1, to: "@primary".into(), timeout: None, site: None, pool: None }
}

/// Loads by a step with a standby that follows, then reads what was loaded: right answers, and one that is known wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_loads_and_reads_are_right() {
    let Make::Process(programs) = fixture::make(None) else { panic!("processes") };
    let offer = Offer::Programs(programs);
    let lab =
        lab::Lab::start(&offer, |make| vec![lab::node(make, "a", None, &[]), lab::node(make, "s", Some("a"), &[])])
            .await;
    let (events, _inbox) = tokio::sync::mpsc::unbounded_channel();
    let (done, mut loaded) = tokio::sync::mpsc::unbounded_channel();
    let source = Source::SyntheticImdb(Tables::new(OF, Schema::Typed));
    let sets = [("imdb".to_owned(), (source, Settings::default()))].into();
    let dir = tempfile::tempdir().unwrap();
    let data = Sets { sets: Arc::new(sets), rejects: dir.path().to_owned(), done: Some(done) };
    let reach =
        Reach { cluster: lab.cluster.clone(), manager: None, clock: Clock::start(), events, data, values: None };
    let step = Fault::Load(LoadStep { data: "imdb".into() });
    let aim = step.aim(&reach).await.unwrap();
    step.inject(aim, &reach).await.unwrap();

    let done = loaded.try_recv().unwrap();
    assert_eq!(done.lags.iter().map(|lag| lag.node.as_str()).collect::<Vec<_>>(), ["s"]);
    for (which, table) in [(Which::Principals, "title_principals"), (Which::Names, "name_basics")] {
        let of = done.loaded.tables.iter().find(|of| of.name == table).unwrap();
        assert_eq!((of.loaded, of.rejected), (OF.rows(which), 0));
        let standby = lab.connect("s").await;
        let count: i64 = standby.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0);
        assert_eq!(count as u64, OF.rows(which), "the standby has replayed it");
    }
    assert!(done.loaded.wal_bytes > 10 << 20);

    let counted = Some((OF.rows(Which::Titles), OF.rows(Which::Names)));
    let known = queries::answers(OF.scale, OF.seed).unwrap();
    let mut wrong = known.clone();
    wrong[3] = Answer(known[3].0 + 1, known[3].1);
    let client = lab.connect("a").await;
    let run = async |name: &str, mix: Mix, answers: Option<Vec<Answer>>, counted| {
        let imdb = Imdb::sample(&client, counted, answers).await.unwrap();
        let setup = Setup {
            name: name.into(),
            target: Target::Writable(lab.cluster.hosts()),
            login: lab.cluster.login(name),
            clock: Clock::start(),
            points: Points::channel(1000).0,
            seed: 7,
            log: dir.path().join(format!("{name}.hlog")),
        };
        let running = Running::start_on(&load(mix), setup, Some(Arc::new(imdb))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        running.stop().await.unwrap()
    };
    let joins = || Mix::ImdbQueries(OnImdb {});
    let right = run("right", joins(), Some(known), counted).await;
    assert_eq!((value(&right, "load.wrong", "right"), right.account.errors), (Some(0.0), 0));
    for query in queries::ALL {
        assert!(value(&right, "load.answer.rows", &format!("right/{}", query.name)).unwrap() > 0.0, "{}", query.name);
    }
    let name = queries::ALL[3].name;
    let faulty = run("faulty", joins(), Some(wrong), counted).await;
    let errors = value(&faulty, "load.wrong", "faulty").unwrap();
    assert!(errors > 0.0 && faulty.account.errors as f64 == errors && faulty.account.closes());
    assert_eq!(value(&faulty, "load.errors", &format!("faulty/wrong_answer/{name}")), Some(errors));

    let of = [Transaction::ImdbPoint, Transaction::ImdbTitle, Transaction::ImdbPerson, Transaction::ImdbBest];
    let of = of.into_iter().chain([Transaction::ImdbPrefix]).map(|what| (what, 1)).collect();
    let short = run("short", Mix::Weighted(Weighted { scale: 1, of }), None, None).await;
    assert!(short.account.done > 100 && short.account.errors == 0, "{:?}", short.account);
    lab.end().await;
}
