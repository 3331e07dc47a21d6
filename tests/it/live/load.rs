//! Loads and the wire protocol against a real server.

use super::fixture::Primary;
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::units::Time;
use pgbench_rs::etl;
use pgbench_rs::metric::{Points, Value};
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::wire::{Lost, Param, TransactionStatus, Wire, WireError};
use pgbench_rs::pg::{Host, Login, Secret};
use pgbench_rs::workload::mix::{Mix, Scale, Transaction, Weighted};
use pgbench_rs::workload::profile::{Arrivals, Closed, Open, Profile};
use pgbench_rs::workload::{Load, LoadError, Outcome, Running, Setup, Target};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

const LIMIT: Duration = Duration::from_secs(10);
const QUICK: &[&str] = &["fsync=off", "autovacuum=off"];
const SCALE: Scale = Scale { scale: 1 };

async fn filled(server: &Primary) -> Client {
    let client = connect(&server.host, &server.login("test"), LIMIT).await.expect("a connection");
    etl::pgbench::fill(&client, SCALE.scale, |_, _| {}).await.expect("pgbench's tables");
    client
}

fn load(mix: Mix, profile: Profile) -> Load {
    Load { mix, profile, clients: 8, threads: 2, to: "@primary".into(), timeout: None, site: None, pool: None }
}

fn closed() -> Profile {
    Profile::Closed(Closed {})
}

fn open(rate: f64) -> Profile {
    Profile::Open(Open { rate, arrivals: Arrivals::Constant })
}

/// Starts a load; the directory holds its latency log.
async fn start(name: &str, load: &Load, server: &Primary) -> (Running, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let running = Running::start(load, setup(name, server, &dir)).await.expect("the load starts");
    running.phase("all");
    (running, dir)
}

fn setup(name: &str, server: &Primary, dir: &tempfile::TempDir) -> Setup {
    Setup {
        name: name.into(),
        target: Target::Writable(vec![server.host.clone()]),
        login: server.login(name),
        clock: Clock::start(),
        points: Points::channel(1000).0,
        seed: 7,
        log: dir.path().join(format!("{name}.hlog")),
    }
}

/// The load's own value in phase `all`.
fn value(outcome: &Outcome, metric: &str) -> f64 {
    let of = |value: &&Value| {
        value.metric == metric
            && value.phase.as_deref() == Some("all")
            && value.subject.as_deref().is_some_and(|subject| !subject.contains('/'))
    };
    outcome.values.iter().find(of).unwrap_or_else(|| panic!("no {metric} in {outcome:?}")).value
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

/// 200 arrivals a second for 10 s are 2000. Those that arrive during the lock of 3 s wait until its end: the n-th
/// longest wait is 3 s − n/200 s, so the 99th percentile (the 20th longest) is 2.9 s. In a closed loop each client
/// waits once: of thousands of transactions that is far less than one in a hundred.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_3_s_shows_in_the_open_loop_and_hides_in_the_closed_one() {
    let server = Primary::start(QUICK);
    let client = filled(&server).await;
    let (open, _open_dir) = start("open", &load(Mix::SelectOnly(SCALE), open(200.0)), &server).await;
    let begun = std::time::Instant::now();
    let (closed, _closed_dir) = start("closed", &load(Mix::SelectOnly(SCALE), closed()), &server).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.batch_execute("BEGIN; LOCK TABLE pgbench_accounts").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.batch_execute("COMMIT").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ran = begun.elapsed();
    let (open, closed) = (open.stop().await.unwrap(), closed.stop().await.unwrap());

    let p99 = value(&open, "load.response.p99");
    assert!((2.5..3.3).contains(&p99), "open loop: {p99} s");
    let hidden = value(&closed, "load.response.p99");
    assert!(hidden < 0.1, "closed loop: {hidden} s");
    assert!(value(&closed, "load.response.max") > 2.5, "it was there, in the maximum alone");
    assert!(open.account.closes() && closed.account.closes(), "{:?} {:?}", open.account, closed.account);
    let due = value(&open, "load.started") / 200.0;
    assert!((due - ran.as_secs_f64()).abs() < 0.5, "{due} s of arrivals in {ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_closes_when_the_server_dies() {
    let server = Primary::start(QUICK);
    let _client = filled(&server).await;
    let mut open = load(Mix::Tpcb(SCALE), open(400.0));
    open.timeout = Some(Time::ms(500));
    let (open, _open_dir) = start("open", &open, &server).await;
    let (closed, _closed_dir) = start("closed", &load(Mix::SimpleUpdate(SCALE), closed()), &server).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(open.live().done > 0);
    let (open, closed) = (open.stop().await.unwrap(), closed.stop().await.unwrap());
    for (name, account) in [("open", open.account), ("closed", closed.account)] {
        assert!(account.closes(), "{name}: {account:?}");
        assert!(account.done > 0, "{name}: {account:?}");
    }
    assert!(closed.account.errors >= 8, "every busy client lost its connection: {:?}", closed.account);
    assert_eq!(closed.account.unfinished, 8, "each waits for a server: {:?}", closed.account);
    // A second without a server is 400 due transactions, give or take what was under way.
    assert!((300..500).contains(&open.account.unfinished), "{:?}", open.account);
    let outage = closed.throughput.bins().last().expect("bins").0;
    assert!(outage < Duration::from_millis(1700), "nothing completes after the end: {outage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tpcb_leaves_the_books_balanced() {
    let server = Primary::start(QUICK);
    let client = filled(&server).await;
    let of = [(Transaction::Tpcb, 3), (Transaction::SelectOnly, 1)].into_iter().collect();
    let mut mixed = load(Mix::Weighted(Weighted { scale: 1, of }), closed());
    mixed.clients = 5;
    let (running, dir) = start("app", &mixed, &server).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let outcome = running.stop().await.unwrap();

    let sum = number(&client, "SELECT sum(delta)::int8 FROM pgbench_history").await;
    for (table, column) in
        [("pgbench_accounts", "abalance"), ("pgbench_tellers", "tbalance"), ("pgbench_branches", "bbalance")]
    {
        assert_eq!(number(&client, &format!("SELECT sum({column})::int8 FROM {table}")).await, sum, "{table}");
    }
    let rows = number(&client, "SELECT count(*) FROM pgbench_history").await as f64;
    let in_phase = |metric: &str, subject: &str| {
        let of = |v: &&pgbench_rs::metric::Value| v.phase.is_some() && v.subject.as_deref() == Some(subject);
        outcome.values.iter().filter(of).find(|v| v.metric == metric).expect(metric).value
    };
    assert_eq!(outcome.account.errors + outcome.account.unfinished, 0, "{:?}", outcome.account);
    // The share of the phase, of all that was done: a few transactions ended before the phase began.
    let share = in_phase("load.tps", "app/tpcb") / in_phase("load.tps", "app");
    let acked = share * outcome.account.done as f64;
    assert!(rows > 0.0 && (acked - rows).abs() < 10.0, "{rows} rows, {acked} acknowledged");
    let binned: u64 = outcome.throughput.bins().map(|(_, count)| count).sum();
    assert_eq!(binned, outcome.account.done);

    let log = std::fs::read_to_string(dir.path().join("app.hlog")).unwrap();
    for tag in ["Tag=tpcb.response,", "Tag=tpcb.service,", "Tag=select_only.wait,"] {
        assert!(log.contains(tag), "no {tag} in the latency log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_makes_clients_wait_and_says_so() {
    let server = Primary::start(QUICK);
    let client = filled(&server).await;
    let mut pooled = load(Mix::Tpcb(SCALE), closed());
    pooled.pool = Some(2);
    let (running, _dir) = start("pooled", &pooled, &server).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sessions = number(&client, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooled'").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let outcome = running.stop().await.unwrap();
    assert_eq!(sessions, 2);
    assert!(outcome.account.closes() && outcome.account.done > 0, "{:?}", outcome.account);
    assert_eq!(outcome.account.errors, 0);
    assert_eq!(value(&outcome, "load.reconnects"), 0.0);
    // Eight clients, two connections: of every four transactions' time three are spent waiting.
    let (waited, served) = (value(&outcome, "load.pool_wait.p50"), value(&outcome, "load.service.p50"));
    assert!(waited > served, "waited {waited} s for {served} s of service");
}

/// What a failover looks like to clients: one server dies, a while later another one accepts writes.
async fn moves_to_whoever_accepts_writes(pool: Option<u32>) {
    let (old, new) = (Primary::start(QUICK), Primary::start(QUICK));
    let (_, client) = tokio::join!(filled(&old), filled(&new));
    let read_only = |value: &str| format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
    client.batch_execute(&read_only("on")).await.expect("ALTER SYSTEM");
    client.batch_execute("SELECT pg_reload_conf()").await.expect("a reload");
    while number(
        &client,
        "SELECT count(*) FROM pg_settings WHERE name = 'default_transaction_read_only' AND setting = 'on'",
    )
    .await
        == 0
    {}

    let mut load = load(Mix::SimpleUpdate(SCALE), open(200.0));
    load.pool = pool;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let target = Target::Writable(vec![new.host.clone(), old.host.clone()]);
    let running = Running::start(&load, Setup { target, ..setup("app", &old, &dir) }).await.expect("the load starts");
    running.phase("all");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        number(&client, "SELECT count(*) FROM pgbench_history").await,
        0,
        "all goes to the one that takes writes"
    );
    old.kill();
    tokio::time::sleep(Duration::from_millis(700)).await;
    client.batch_execute(&read_only("off")).await.expect("ALTER SYSTEM");
    client.batch_execute("SELECT pg_reload_conf()").await.expect("a reload");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let outcome = running.stop().await.expect("the load ends");

    assert!(outcome.account.closes(), "{:?}", outcome.account);
    let rows = number(&client, "SELECT count(*) FROM pgbench_history").await;
    // What came due during the outage of 0.7 s waited, and was sent afterwards: (0.7 + 1.5) s at 200/s, about.
    assert!(rows > 250, "{rows} {:?}", outcome.account);
    assert!(value(&outcome, "load.reconnects") >= 1.0);
    assert!(value(&outcome, "load.response.max") > 0.5, "the wait counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_move_to_whoever_accepts_writes() {
    moves_to_whoever_accepts_writes(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_moves_to_whoever_accepts_writes() {
    moves_to_whoever_accepts_writes(Some(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_passes_by_a_host_that_hangs() {
    let server = Primary::start(QUICK);
    drop(filled(&server).await);
    // The system takes connections to it, and nobody ever answers, as with a frozen server.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = silent.local_addr().expect("its address").port();
    let hangs = Host::new("hangs", "127.0.0.1", port);
    let hosts = vec![hangs, server.host.clone()];
    for (target, mix) in
        [(Target::Writable(hosts.clone()), Mix::SimpleUpdate(SCALE)), (Target::Nodes(hosts), Mix::SelectOnly(SCALE))]
    {
        let mut load = load(mix, closed());
        load.pool = Some(2);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let setup = Setup { target, ..setup("app", &server, &dir) };
        let running = Running::start(&load, setup).await.expect("the load starts");
        running.phase("all");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let outcome = running.stop().await.expect("the load ends");
        assert!(outcome.account.done > 0 && outcome.account.errors == 0, "{:?}", outcome.account);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_an_error_and_drops_the_connection() {
    let server = Primary::start(QUICK);
    let client = filled(&server).await;
    let mut load = load(Mix::SelectOnly(SCALE), closed());
    load.timeout = Some(Time::ms(300));
    let (running, _dir) = start("app", &load, &server).await;
    client.batch_execute("BEGIN; LOCK TABLE pgbench_accounts").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    client.batch_execute("COMMIT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let outcome = running.stop().await.unwrap();
    let timeouts = outcome.values.iter().find(|v| v.subject.as_deref() == Some("app/timeout")).map(|v| v.value);
    assert!(timeouts.is_some_and(|count| count >= 8.0), "{outcome:?}");
    assert!(value(&outcome, "load.reconnects") >= 8.0);
    assert!(outcome.account.closes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_cannot_start_says_why() {
    let server = Primary::start(QUICK);
    let dir = tempfile::tempdir().unwrap();
    let load = load(Mix::SelectOnly(SCALE), closed());
    let error = Running::start(&load, setup("app", &server, &dir)).await.expect_err("there are no tables");
    assert!(matches!(&error, LoadError::Connect(WireError::Server(e)) if e.sqlstate.as_str() == "42P01"), "{error}");
}

async fn wire(server: &Primary) -> Wire {
    Wire::connect(&server.host, &server.login("wire"), LIMIT).await.expect("a connection")
}

#[tokio::test]
async fn the_wire_tells_errors_from_unknown_outcomes() {
    let server = Primary::start(QUICK);
    let mut one = wire(&server).await;
    let add = one.prepare("SELECT $1::int4 + $2::int8 + length($3)", &[Type::INT4, Type::INT8, Type::TEXT]).await;
    let done = one.execute(&add.unwrap(), &[Param::Int4(1), Param::Int8(2), Param::Text("drei")]).await.unwrap();
    assert_eq!((done.tag.as_str(), done.rows), ("SELECT 1", 1));

    // A definite error: the session goes on, in a failed transaction until that is ended.
    one.simple("BEGIN").await.unwrap();
    let error = one.simple("SELECT 1/0").await.unwrap_err();
    assert!(matches!(&error, WireError::Server(e) if e.sqlstate.as_str() == "22012"), "{error}");
    assert_eq!(one.status(), TransactionStatus::Failed);
    assert_eq!(one.simple("ROLLBACK").await.unwrap().status, TransactionStatus::Idle);

    let warned = one.simple("DO $$ BEGIN RAISE WARNING 'w'; RAISE NOTICE 'n'; END $$").await.unwrap();
    assert_eq!(warned.notices.iter().map(|s| s.to_string()).collect::<Vec<_>>(), ["01000", "00000"]);

    // Time-out: it was sent, so nobody knows; and the connection is of no more use.
    one.set_deadline(Some(std::time::Instant::now() + Duration::from_millis(100)));
    let error = one.simple("SELECT pg_sleep(30)").await.unwrap_err();
    assert!(matches!(error, WireError::Unknown(Lost::TimedOut)), "{error}");
    let error = one.simple("SELECT 1").await.unwrap_err();
    assert!(matches!(error, WireError::NotSent(Lost::Abandoned)), "{error}");
}

#[tokio::test]
async fn the_wire_knows_a_session_that_ended_before_the_statement() {
    let server = Primary::start(QUICK);
    let (mut idle, mut busy, mut other) = (wire(&server).await, wire(&server).await, wire(&server).await);
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name = 'wire' AND pid <> pg_backend_pid()";
    let (slept, ()) = tokio::join!(busy.simple("SELECT pg_sleep(30)"), async {
        // Terminated as soon as it sleeps.
        loop {
            let waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            if other.simple(waits).await.unwrap().rows == 1 {
                break;
            }
        }
        other.simple(kill).await.unwrap();
    });
    let error = slept.unwrap_err();
    assert!(matches!(&error, WireError::Unknown(Lost::Fatal(e)) if e.sqlstate.as_str() == "57P01"), "{error}");

    // The FATAL lies in the socket before anything is sent. It takes the server a moment to end the session.
    while other.simple("SELECT FROM pg_stat_activity WHERE application_name = 'wire'").await.unwrap().rows > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = idle.simple("SELECT 1").await.unwrap_err();
    assert!(matches!(&error, WireError::NotSent(Lost::Fatal(e)) if e.sqlstate.as_str() == "57P01"), "{error}");
}

#[tokio::test]
async fn logins_by_scram_md5_and_password() {
    let dir = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir().unwrap();
    let hba = dir.path().join("pg_hba.conf");
    let rules = "host all postgres 127.0.0.1/32 trust\n\
                 host all scram 127.0.0.1/32 scram-sha-256\n\
                 host all hashed 127.0.0.1/32 md5\n\
                 host all clear 127.0.0.1/32 password\n";
    std::fs::write(&hba, rules).unwrap();
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&hba, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let server = Primary::start(&[&format!("hba_file={}", hba.display())]);
    let admin = connect(&server.host, &server.login("test"), LIMIT).await.unwrap();
    admin
        .batch_execute(
            "CREATE ROLE scram LOGIN PASSWORD 'right'; CREATE ROLE clear LOGIN PASSWORD 'right';
             SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'right';",
        )
        .await
        .unwrap();
    for role in ["scram", "hashed", "clear"] {
        let login = |password| Login { user: role.into(), password: Secret::new(password), ..server.login("wire") };
        let mut wire = Wire::connect(&server.host, &login("right"), LIMIT).await.expect(role);
        assert_eq!(wire.simple("SELECT current_user").await.unwrap().rows, 1);
        let error = Wire::connect(&server.host, &login("wrong"), LIMIT).await.expect_err(role);
        assert!(matches!(&error, WireError::Refused { source, .. } if source.sqlstate.as_str() == "28P01"), "{error}");
        assert!(error.is_authentication() && !error.is_usable());
        let error = Wire::connect(&server.host, &login(""), LIMIT).await.expect_err(role);
        assert!(matches!(error, WireError::Authentication { .. }), "{error}");
    }
    let nowhere = Host { port: 1, ..server.host.clone() };
    let error = Wire::connect(&nowhere, &server.login("wire"), LIMIT).await.expect_err("nobody listens");
    assert!(matches!(error, WireError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn the_tables_are_pgbenchs() {
    let server = Primary::start(QUICK);
    let client = filled(&server).await;
    let describe = "SELECT string_agg(format('%s.%s %s %s %s', c.relname, a.attname,
                        format_type(a.atttypid, a.atttypmod), a.attnotnull, c.reloptions), E'\\n'
                        ORDER BY c.relname, a.attnum)
                    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
                    WHERE c.relname LIKE 'pgbench%' AND c.relkind IN ('r', 'i')";
    let content = "SELECT md5(string_agg(t::text, ',' ORDER BY aid)) FROM pgbench_accounts t";
    let tellers = "SELECT md5(string_agg(t::text, ',' ORDER BY tid)) FROM pgbench_tellers t";
    let branches = "SELECT md5(string_agg(t::text, ',' ORDER BY bid)) FROM pgbench_branches t";
    let sizes = "SELECT format('%s %s', pg_table_size('pgbench_accounts'), pg_indexes_size('pgbench_accounts'))";
    let mut ours: Vec<String> = Vec::new();
    for sql in [describe, content, tellers, branches, sizes] {
        ours.push(client.query_one(sql, &[]).await.unwrap().get(0));
    }
    let made = std::process::Command::new(super::fixture::program_path("pgbench"))
        .args(["-i", "-q", "-h", &server.host.host, "-p", &server.host.port.to_string(), "-U", "postgres", "postgres"])
        .output()
        .expect("pgbench is needed: apt-get install postgresql");
    assert!(made.status.success(), "{made:?}");
    for (sql, ours) in [describe, content, tellers, branches, sizes].into_iter().zip(ours) {
        let theirs: String = client.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(ours, theirs, "{sql}");
    }
}
