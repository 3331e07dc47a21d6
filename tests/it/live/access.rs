//! Servers of somebody else's: connection strings, TLS, roles that are no superusers, commands.

#![expect(clippy::unwrap_used, reason = "a test's own functions may fail it, as its body may")]

pub mod authority;

use super::fixture::Primary;
use authority::{Authority, private, server};
use pgbench_rs::base::clock::Clock;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::base::units::Time;
use pgbench_rs::cluster::settings;
use pgbench_rs::driver::external::{External, ExternalServer};
use pgbench_rs::driver::outcome::SignalError;
use pgbench_rs::driver::{self, Part, Setup, Shutdown, Workplace};
use pgbench_rs::etl::pgbench::{Found, Whose, drop_tables, ready, scale_of};
use pgbench_rs::metric::Points;
use pgbench_rs::pg::connect::{connect, in_words};
use pgbench_rs::pg::conninfo::{Environment, resolve};
use pgbench_rs::pg::programs::Installed;
use pgbench_rs::pg::wire::{Param, Wire};
use pgbench_rs::pg::{Host, Login, Secret};
use pgbench_rs::probe::{Ledger, ledger, visibility};
use pgbench_rs::sampler::{self, Running, Sample};
use pgbench_rs::workload::mix::{Mix, Scale};
use pgbench_rs::workload::profile::{Closed, Profile};
use pgbench_rs::workload::{self, Load, Target};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;

const LIMIT: Duration = Duration::from_secs(10);

const RULES: &str = "\
hostssl all certified 127.0.0.1/32 cert
hostssl all secret 127.0.0.1/32 scram-sha-256
hostssl all only_tls 127.0.0.1/32 trust
hostnossl all only_plain 127.0.0.1/32 trust
host all postgres 127.0.0.0/8 trust
";

fn at_home(home: &Path, variables: &[(&str, &str)]) -> Environment {
    Environment {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        home: Some(home.to_owned()),
        user: Some("postgres".to_owned()),
    }
}

/// The run's own login, of which a connection string leaves the application's name alone.
fn login() -> Login {
    Login {
        user: "nobody".into(),
        password: Secret::new("of the run"),
        dbname: "nothing".into(),
        application_name: "pgbr-test".into(),
    }
}

/// Logs in with both clients, which must agree. Gives whether it was encrypted, or what was said.
async fn logged_in(host: &Host) -> Result<bool, String> {
    let ssl = "SELECT 1 FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    let client = connect(host, &login(), LIMIT).await;
    let wire = Wire::connect(host, &login(), LIMIT).await;
    match (client, wire) {
        (Ok(client), Ok(mut wire)) => {
            let encrypted = wire.simple(ssl).await.unwrap().rows == 1;
            assert_eq!(client.query_opt(ssl, &[]).await.unwrap().is_some(), encrypted);
            Ok(encrypted)
        }
        (Err(one), Err(other)) => Err(format!("{one}\n{other}")),
        (one, other) => panic!("the clients do not agree: {one:?} {other:?}"),
    }
}

async fn roles(server: &Primary) {
    let admin = connect(&server.host, &server.login("test"), LIMIT).await.expect("a connection");
    let roles = "CREATE ROLE certified LOGIN; CREATE ROLE secret LOGIN PASSWORD 'right'; \
                 CREATE ROLE only_tls LOGIN; CREATE ROLE only_plain LOGIN";
    admin.batch_execute(roles).await.unwrap();
}

/// Holds what each connection string comes to: `tls`, `plain`, or a piece of what is said.
async fn holds(server: &Primary, around: &Environment, cases: &[(&str, &str)]) {
    for (conninfo, expected) in cases {
        let conninfo = format!("port={} dbname=postgres {conninfo}", server.host.port);
        let found = match resolve(&conninfo, around) {
            Ok(resolved) => logged_in(&resolved.into_host("a")).await,
            Err(error) => Err(error.to_string()),
        };
        match (&found, *expected) {
            (Ok(true), "tls") | (Ok(false), "plain") => {}
            (Err(said), text) if text.len() > 5 && said.contains(text) => {}
            _ => panic!("{conninfo}: expected {expected}, found {found:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sslmode_against_right_and_wrong_certificates() {
    let home = tempfile::tempdir().unwrap();
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let server = server(&right.sign("server", &["localhost"]), &right, RULES);
    roles(&server).await;
    private(&home.path().join("right.crt"), &right.pem);
    private(&home.path().join("wrong.crt"), &wrong.pem);
    let (r, w) = (home.path().join("right.crt"), home.path().join("wrong.crt"));
    let (r, w) = (r.display(), w.display());
    let with = |text: &str| text.replace("RIGHT", &r.to_string()).replace("WRONG", &w.to_string());
    let cases = [
        ("host=localhost sslmode=disable", "plain"),
        ("host=localhost sslmode=allow", "plain"),
        ("host=localhost", "tls"),
        ("host=localhost sslmode=require", "tls"),
        ("host=localhost sslmode=verify-ca", "root.crt does not exist"),
        ("host=localhost sslmode=verify-ca sslrootcert=RIGHT", "tls"),
        ("host=localhost sslmode=verify-full sslrootcert=RIGHT", "tls"),
        ("host=localhost sslmode=verify-full sslrootcert=RIGHT sslnegotiation=postgres sslsni=0", "tls"),
        ("host=localhost sslmode=verify-full sslrootcert=RIGHT ssl_max_protocol_version=TLSv1.2", "tls"),
        ("host=127.0.0.1 sslmode=verify-full sslrootcert=RIGHT", "is for localhost, server, not for 127.0.0.1"),
        ("host=127.0.0.1 sslmode=verify-ca sslrootcert=RIGHT", "tls"),
        (
            "host=db.example hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=RIGHT",
            "is for localhost, not for db.example",
        ),
        ("host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=RIGHT", "tls"),
        ("host=localhost sslmode=verify-ca sslrootcert=WRONG", "is not signed by any of"),
        ("host=localhost sslmode=verify-full sslrootcert=WRONG", "is not signed by any of"),
        // As libpq: roots that are there are used, and a failed handshake lets `prefer` go on without.
        ("host=localhost sslmode=require sslrootcert=WRONG", "is not signed by any of"),
        ("host=localhost sslmode=prefer sslrootcert=WRONG", "plain"),
        ("host=localhost sslmode=verify-full sslrootcert=system", "is not signed by any of this system's roots"),
        // The server takes these users one way only.
        ("host=localhost user=only_tls sslmode=allow", "tls"),
        ("host=localhost user=only_tls sslmode=disable", "no pg_hba.conf entry"),
        ("host=localhost user=only_plain sslmode=prefer", "plain"),
        ("host=localhost user=only_plain sslmode=require", "no pg_hba.conf entry"),
    ];
    let cases = cases.map(|(conninfo, expected)| (with(conninfo), expected));
    let cases: Vec<_> = cases.iter().map(|(conninfo, expected)| (conninfo.as_str(), *expected)).collect();
    holds(&server, &at_home(home.path(), &[]), &cases).await;
    // The default root file makes `require` a `verify-ca`.
    private(&home.path().join(".postgresql/root.crt"), &wrong.pem);
    holds(&server, &at_home(home.path(), &[]), &[("host=localhost sslmode=require", "is not signed by any of")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_have_expired_or_are_roots_themselves_and_servers_without() {
    let home = tempfile::tempdir().unwrap();
    let right = Authority::new("right");
    let root = home.path().join(".postgresql/root.crt");
    private(&root, &right.pem);
    let around = at_home(home.path(), &[]);
    let old = server(&right.sign_until("localhost", &[], 2002), &right, RULES);
    holds(
        &old,
        &around,
        &[
            ("host=localhost sslmode=require sslrootcert=/nowhere", "tls"),
            ("host=localhost sslmode=verify-ca", "certificate has expired"),
        ],
    )
    .await;
    // Its name stands in the subject alone, and it is trusted as it is.
    let own = right.sign("localhost", &[]);
    let named = server(&own, &right, RULES);
    holds(&named, &around, &[("host=localhost sslmode=verify-full", "tls")]).await;
    private(&root, &own.certificate);
    holds(&named, &around, &[("host=localhost sslmode=verify-full", "tls")]).await;
    let plain = Primary::start(&["fsync=off"]);
    holds(
        &plain,
        &around,
        &[
            ("host=localhost", "plain"),
            ("host=localhost sslmode=allow", "plain"),
            ("host=localhost sslmode=require", "the server does not support TLS, which sslmode=require requires"),
            ("host=localhost sslmode=verify-full", "does not support TLS"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_by_certificate_password_file_and_service() {
    let home = tempfile::tempdir().unwrap();
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let server = server(&right.sign("localhost", &[]), &right, RULES);
    roles(&server).await;
    for (name, signed) in [("mine", right.sign("certified", &[])), ("other", wrong.sign("certified", &[]))] {
        private(&home.path().join(format!("{name}.crt")), &signed.certificate);
        private(&home.path().join(format!("{name}.key")), &signed.key);
    }
    let dir = home.path().display();
    let port = server.host.port;
    let by = |name: &str| {
        format!("host=localhost user=certified sslmode=require sslcert={dir}/{name}.crt sslkey={dir}/{name}.key")
    };
    private(&home.path().join(".pgpass"), &format!("localhost:{port}:*:secret:right\n*:*:*:*:wrong\n"));
    private(&home.path().join(".pg_service.conf"), "[lab]\nhost=localhost\nuser=secret\nsslmode=require\n");
    let (mine, other) = (by("mine"), by("other"));
    let cases = [
        (mine.as_str(), "tls"),
        (other.as_str(), "the server refuses the certificate"),
        ("host=localhost user=certified sslmode=require", "connection requires a valid client certificate"),
        ("service=lab", "tls"),
        ("service=lab passfile=/nowhere", "password"),
        ("service=lab password=wrong", "password authentication failed for user \"secret\""),
        ("service=other", "service `other` is not defined in"),
        ("host=no-such-host.invalid", "cannot find the address of `no-such-host.invalid`"),
        ("host=localhost port=1", "onnection refused"),
        ("host=localhost dbname=nowhere", "database \"nowhere\" does not exist"),
    ];
    holds(&server, &at_home(home.path(), &[]), &cases).await;
}

#[tokio::test]
async fn unix_sockets_and_local_addresses() {
    let sockets = tempfile::Builder::new().prefix("pgbench-rs-test-").tempdir().unwrap();
    super::fixture::open_to_all(sockets.path());
    let settings = ["fsync=off", &format!("unix_socket_directories={}", sockets.path().display())];
    let server = Primary::start_with(&settings, |data| {
        // In place, so that it stays the server user's own.
        let rules = "local all all trust\nhost all all 127.0.0.0/8 trust\n";
        std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
    });
    let around = at_home(sockets.path(), &[("PGHOST", sockets.path().to_str().unwrap())]);
    holds(&server, &around, &[("", "plain"), ("sslmode=require", "plain"), ("host=/nowhere", "/nowhere/.s.PGSQL.")])
        .await;

    let from = Host { from: Some([127, 0, 0, 9].into()), ..server.host.clone() };
    let client = connect(&from, &server.login("test"), LIMIT).await.unwrap();
    let seen: String = client.query_one("SELECT host(inet_client_addr())", &[]).await.unwrap().get(0);
    assert_eq!(seen, "127.0.0.9");
    let mut wire = Wire::connect(&from, &server.login("test"), LIMIT).await.unwrap();
    assert_eq!(wire.simple("SELECT 1 WHERE inet_client_addr() = '127.0.0.9'").await.unwrap().rows, 1);
    let nowhere = Host { from: Some([192, 0, 2, 1].into()), ..server.host.clone() };
    let error = connect(&nowhere, &server.login("test"), LIMIT).await.unwrap_err().to_string();
    assert!(error.contains("cannot connect from 192.0.2.1"), "{error}");
}

fn load(name: &str, pool: Option<u32>) -> (Load, String) {
    let mix = Mix::Tpcb(Scale { scale: 1 });
    let load = Load {
        site: None,
        mix,
        profile: Profile::Closed(Closed {}),
        clients: 4,
        threads: 1,
        to: "@primary".into(),
        timeout: None,
        pool,
    };
    (load, name.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_paths_over_tls() {
    let home = tempfile::tempdir().unwrap();
    let right = Authority::new("right");
    let server = server(&right.sign("localhost", &[]), &right, RULES);
    private(&home.path().join("root.crt"), &right.pem);
    let conninfo = format!(
        "host=localhost port={} dbname=postgres sslmode=verify-full sslrootcert={}/root.crt",
        server.host.port,
        home.path().display()
    );
    let host = Host {
        from: Some([127, 0, 0, 9].into()),
        ..resolve(&conninfo, &at_home(home.path(), &[])).unwrap().into_host("a")
    };
    let client = connect(&host, &login(), LIMIT).await.unwrap();
    assert_eq!(scale_of(&client).await.unwrap(), Found::Nothing);
    assert_eq!(ready(&client, 1, |_, _| {}).await.unwrap(), Whose::Ours);
    assert_eq!(ready(&client, 1, |_, _| {}).await.unwrap(), Whose::Theirs);
    let error = ready(&client, 2, |_, _| {}).await.unwrap_err().to_string();
    assert!(error.starts_with("the database holds pgbench's tables of scale 1, and tables of scale 2"), "{error}");

    let mut wire = Wire::connect(&host, &login(), LIMIT).await.unwrap();
    let select = wire.prepare("SELECT abalance FROM pgbench_accounts WHERE aid = $1", &[]).await.unwrap();
    for aid in 1..=500 {
        assert_eq!(wire.execute(&select, &[Param::Int4(aid)]).await.unwrap().rows, 1);
    }
    // Far more than one TLS record each way.
    assert_eq!(
        wire.simple(&format!("SELECT repeat('x', 10000000), '{}'", "y".repeat(1_000_000))).await.unwrap().rows,
        1
    );

    ledger::prepare(&client).await.unwrap();
    let (clock, (events, _told), points) = (Clock::start(), unbounded_channel(), Points::channel(1000));
    let settings = Ledger { writers: 4, rate: 200.0, timeout: Time::s(5), sites: Vec::new() };
    let sites = [vec![host.clone()]];
    let writing =
        ledger::Running::start(&settings, &sites, vec![host.clone()], login(), clock, events, points.0.clone());
    let writing = writing.await.expect("the ledger starts");
    for pool in [None, Some(2)] {
        let (load, name) = load("load", pool);
        let setup = workload::Setup {
            name,
            target: Target::Writable(vec![host.clone()]),
            login: login(),
            clock,
            points: points.0.clone(),
            seed: 7,
            log: home.path().join(format!("{pool:?}.hlog")),
        };
        let running = workload::Running::start(&load, setup).await.unwrap_or_else(|error| panic!("{error}"));
        running.phase("all");
        tokio::time::sleep(Duration::from_millis(700)).await;
        let others = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                      WHERE application_name = 'pgbr-test' AND (NOT ssl OR host(client_addr) <> '127.0.0.9')";
        assert_eq!(client.query_one(others, &[]).await.unwrap().get::<_, i64>(0), 0, "all encrypted, from there");
        let outcome = running.stop().await.unwrap();
        assert!(outcome.account.closes() && outcome.account.done > 50, "{:?}", outcome.account);
        assert_eq!(outcome.account.errors, 0);
    }
    let values = writing.halt().await.verdict().await.0;
    let count = |name: &str| values.iter().find(|value| value.metric == name && value.subject.is_none()).unwrap().value;
    assert!(count("ledger.acked") > 100.0 && count("ledger.acked_lost") == 0.0, "{values:?}");

    ledger::drop_table(&client).await.unwrap();
    drop_tables(&client).await.unwrap();
    let left = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'pgbench%'";
    assert_eq!(client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_no_superuser() {
    let server = Primary::start(&["fsync=off", "shared_buffers=20MB"]);
    let admin = connect(&server.host, &server.login("test"), LIMIT).await.unwrap();
    let roles = "CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher; CREATE ROLE stranger LOGIN; \
                 REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    admin.batch_execute(roles).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    for (role, limited) in [("watcher", false), ("stranger", true)] {
        let conninfo = format!("host=127.0.0.1 port={} dbname=postgres user={role}", server.host.port);
        let host = resolve(&conninfo, &at_home(home.path(), &[])).unwrap().into_host("a");
        let ((sender, mut points), (events, mut told)) = (Points::channel(1000), unbounded_channel());
        let sample = Sample { waits: Time::ms(100), every: Time::ms(200), tables: Time::s(1) };
        let target = sampler::Target { host: host.clone(), login: login(), tables: Vec::new() };
        let running = Running::start(vec![target], &sample, Clock::start(), sender, events).await;
        let mut seen = Vec::new();
        let enough = async {
            while seen.iter().filter(|name| **name == "pg_replication").count() < 3 {
                seen.extend(points.recv().await.unwrap().iter().map(|point| point.measurement));
            }
        };
        tokio::time::timeout(LIMIT, enough).await.expect("points");
        let absent = running.stop().await.absent;
        let told: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).map(|event| event.kind).collect();
        assert_eq!(told, if limited { vec!["sampler.limited"] } else { vec![] });
        assert_eq!(seen.contains(&"pg_ash"), !limited, "{seen:?}");
        assert_eq!(absent.iter().any(|view| view.starts_with("pg_ash (needs")), limited, "{absent:?}");

        let client = connect(&host, &login(), LIMIT).await.unwrap();
        assert_eq!(settings::changed(&client).await.unwrap()["shared_buffers"], "20MB");
        let error = in_words(&ledger::prepare(&client).await.unwrap_err());
        assert!(error.starts_with("permission denied for schema public") && error.contains("hint: GRANT"), "{error}");
        let error = ready(&client, 1, |_, _| {}).await.unwrap_err().to_string();
        assert!(error.contains("hint: GRANT CREATE ON SCHEMA"), "{error}");
        let own = format!("CREATE SCHEMA {role} AUTHORIZATION {role}");
        admin.batch_execute(&own).await.unwrap();
        ledger::prepare(&client).await.unwrap();
        visibility::prepare(&client).await.unwrap();
        ledger::drop_table(&client).await.unwrap();
        visibility::drop_table(&client).await.unwrap();
    }
}

/// A run to which a server can belong.
async fn place(root: &Path) -> Arc<Workplace> {
    let inventory = Inventory::create(&Index::at(root.join("state")), &root.join("inventory.jsonl"), "run-1").unwrap();
    let setup = Setup {
        run: "run-1".to_owned(),
        installed: Installed::find(&[]).expect("PostgreSQL"),
        user: driver::server_user(None, false).expect("a user for servers"),
        inventory,
        work: root.join("work"),
        logs: root.join("nodes"),
        start_limit: Duration::from_secs(2),
        keep: false,
    };
    Workplace::open(setup).await.expect("a work directory")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_it_is_done_by_its_commands() {
    let root = tempfile::tempdir_in("/var/tmp").unwrap();
    super::fixture::open_to_all(root.path());
    let place = place(root.path()).await;
    let server = Primary::start(&["fsync=off"]);
    let log = root.path().join("log").display().to_string();
    let conninfo = format!("host=127.0.0.1 port={} user=postgres dbname=postgres password=hunter2", server.host.port);
    let none = External { conninfo, promote: None, kill: None, start: None, stop: None, freeze: None, thaw: None };
    let bare = ExternalServer::new(place.clone(), "a", &none).unwrap();
    bare.start().await.unwrap_or_else(|error| panic!("{error}"));
    let said = bare.kill().await.unwrap_err().to_string();
    assert_eq!(
        said,
        "node `a` is somebody else's server, and no command says how to kill it\nhint: kill = \"…\" in its `driver`"
    );
    assert!(matches!(bare.freeze(Part::WalReceiver).await, Err(SignalError::NotOurs { .. })));
    assert!(bare.is_running() && matches!(bare.thaw(Part::Server).await, Ok(0)) && bare.promote(LIMIT).await.is_none());

    let write = |what: &str| {
        Some(format!("echo {what} $PGBENCH_RS_NODE $PGBENCH_RS_PORT $PGBENCH_RS_MODE >>{log}; ! env | grep hunter2"))
    };
    let all = External {
        kill: write("kill"),
        start: write("start"),
        stop: write("stop"),
        freeze: write("freeze"),
        thaw: write("thaw"),
        promote: Some("echo to out; echo to err >&2; exit 3".to_owned()),
        ..none.clone()
    };
    let node = ExternalServer::new(place.clone(), "a", &all).unwrap();
    node.freeze(Part::Server).await.unwrap();
    node.restore().await.unwrap();
    node.stop(Shutdown::Immediate, LIMIT).await.unwrap();
    assert!(!node.is_running());
    node.restore().await.unwrap();
    assert!(node.is_running());
    let error = node.promote(LIMIT).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("failed (exit status: 3)\n    to out\n    to err"), "{error}");
    let port = server.host.port;
    let expected = format!("freeze a {port}\nthaw a {port}\nstop a {port} immediate\n");
    assert_eq!(
        std::fs::read_to_string(&log).unwrap().replace(" \n", "\n"),
        expected,
        "it answers, so nobody starts it"
    );

    drop(server);
    let error = node.start().await.unwrap_err().to_string();
    assert!(error.starts_with("node `a` did not start within") && error.contains("onnection refused"), "{error}");
    let late_commands = External { kill: Some("sleep 60".to_owned()), stop: Some("sleep 60".to_owned()), ..none };
    let late = ExternalServer::new(place.clone(), "a", &late_commands).unwrap();
    let error = late.stop(Shutdown::Fast, Duration::from_millis(200)).await.unwrap_err().to_string();
    assert!(error.contains("was ended after its limit of 200ms") && late.is_running(), "{error}");
    let killed = ExternalServer::new(place, "a", &External { kill: Some("true".to_owned()), ..late_commands }).unwrap();
    killed.kill().await.unwrap();
    let error = killed.restore().await.unwrap_err();
    assert!(error.contains("hint: a command of the scenario ended it and nobody has started it again"), "{error}");
}
