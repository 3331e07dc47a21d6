//! pgbench's tables by the loader: as `pgbench -i` makes them, in parts, and with what the loader can do besides.

use super::super::fixture::{Primary, program_path};
use super::files::LIMIT;
use super::{SMALL, client};
use pgbench_rs::etl::load::{ForeignKeys, Indexes, Loaded, Order, Progress, Settings, load};
use pgbench_rs::etl::pgbench::source::Tables;
use pgbench_rs::etl::source::Source;
use std::sync::Arc;
use tokio_postgres::Client;

/// Columns, keys and rows.
const LOOK: [&str; 5] = [
    "SELECT string_agg(format('%s.%s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull), \
     E'\\n' ORDER BY c.relname, a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
     WHERE c.relname LIKE 'pgbench%' AND c.relname NOT LIKE 'pgbench_rs%' AND c.relkind IN ('r', 'i')",
    "SELECT md5(string_agg(t::text, ',' ORDER BY aid)) FROM pgbench_accounts t",
    "SELECT md5(string_agg(t::text, ',' ORDER BY tid)) FROM pgbench_tellers t",
    "SELECT md5(string_agg(t::text, ',' ORDER BY bid)) FROM pgbench_branches t",
    "SELECT count(*)::text FROM pgbench_history",
];

async fn look(client: &Client) -> Vec<String> {
    let mut seen = Vec::new();
    for sql in LOOK {
        seen.push(client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0));
    }
    seen
}

async fn loaded(primary: &Primary, settings: Settings) -> Loaded {
    let source = Source::Pgbench(Tables::new(2));
    let dir = tempfile::tempdir().expect("a directory");
    let progress = Arc::new(Progress::new(&source));
    let (host, login, rejects) = (primary.host.clone(), primary.login("test"), dir.path().join("rejects"));
    let loading = load(Order { progress, source, host, login, settings, rejects }, std::future::pending());
    tokio::time::timeout(LIMIT, loading).await.expect("it ends").unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loader_makes_what_pgbench_makes() {
    let primary = Primary::start(&SMALL);
    let client = client(&primary).await;
    let whole = loaded(&primary, Settings::default()).await;
    let rows: Vec<(&str, u64)> = whole.tables.iter().map(|table| (table.name.as_str(), table.loaded)).collect();
    let known = [("branches", 2), ("tellers", 20), ("accounts", 200_000), ("history", 0)];
    assert_eq!(
        rows,
        known.map(|(name, rows)| (format!("pgbench_{name}"), rows)).each_ref().map(|(n, r)| (n.as_str(), *r))
    );
    let by_one = look(&client).await;
    let drop =
        "DROP TABLE pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history, pgbench_rs_load CASCADE";
    client.batch_execute(drop).await.expect("dropped");
    let settings = Settings {
        streams: Some(3),
        streams_per_table: 3,
        indexes: Indexes::Before,
        foreign_keys: ForeignKeys::Checked,
        ..Settings::default()
    };
    loaded(&primary, settings).await;
    assert_eq!(look(&client).await, by_one, "in parts");
    let keys = "SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint \
                WHERE contype = 'f' AND convalidated AND conrelid::regclass::text LIKE 'pgbench%'";
    let keys: String = client.query_one(keys, &[]).await.expect("keys").get(0);
    assert_eq!(keys.split(' ').count(), 5, "{keys}");
    client.batch_execute(drop).await.expect("dropped");
    let port = primary.host.port.to_string();
    let made = std::process::Command::new(program_path("pgbench"))
        .args(["-i", "-q", "-s", "2", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "postgres"])
        .output()
        .expect("pgbench is needed: apt-get install postgresql");
    assert!(made.status.success(), "{made:?}");
    assert_eq!(look(&client).await, by_one, "by pgbench itself");
}
