//! Synthetic data in real servers: the same rows by file and by COPY, and references that hold.

use super::super::fixture::Primary;
use super::files::LIMIT;
use super::{SMALL, client, lines};
use pgbench_rs::etl::imdb::{Files, Schema, schema::FILES};
use pgbench_rs::etl::load::{ForeignKeys, Loaded, Order, Progress, Settings, load};
use pgbench_rs::etl::source::Source;
use pgbench_rs::etl::synthetic::{Generator, Synthetic, files, source};
use pgbench_rs::etl::tables::Tables;
use pgbench_rs::scenario;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use tokio_postgres::Client;

const OF: Synthetic = Synthetic { scale: 0.0005, seed: 3 };

async fn loaded(primary: &Primary, dir: &Path, source: Source, settings: Settings) -> Loaded {
    let progress = Arc::new(Progress::new(&source));
    let (host, login, rejects) = (primary.host.clone(), primary.login("test"), dir.join("rejects"));
    let order = Order { progress, source, host, login, settings, rejects };
    let loading = load(order, std::future::pending());
    let loaded = tokio::time::timeout(LIMIT, loading).await.expect("it ends").unwrap_or_else(|error| panic!("{error}"));
    assert!(loaded.tables.iter().all(|table| table.rejected == 0 && table.loaded > 0), "{loaded:?}");
    loaded
}

fn write(dir: &Path, gzip: bool) {
    let settings = files::Settings { gzip, threads: 2 };
    files::write(&Generator::new(OF), dir, settings, |_, _, _| {}).expect("written");
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, query: &str) -> T {
    client.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
}

#[tokio::test]
async fn copied_rows_are_those_of_the_files() {
    let primary = Primary::start(&SMALL);
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), true);
    let client = client(&primary).await;
    client.batch_execute("CREATE SCHEMA copied").await.expect("a schema");
    let settings = || Settings { foreign_keys: ForeignKeys::Checked, streams_per_table: 2, ..Settings::default() };
    let typed = source::Tables::new(OF, Schema::Typed);
    loaded(&primary, dir.path(), Source::SyntheticImdb(typed), settings()).await;
    let note: String = one(&client, "SELECT obj_description('title_principals'::regclass)").await;
    assert!(note.starts_with("synthetic IMDb, scale 0.0005, seed 3"), "{note}");
    let keys: i64 = one(&client, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated").await;
    assert_eq!(keys, 7);
    for file in &FILES {
        let table = file.table(Schema::Typed).name;
        client.batch_execute(&format!("ALTER TABLE {table} SET SCHEMA copied")).await.expect("moved");
    }
    client.batch_execute("DROP TABLE pgbench_rs_load").await.expect("dropped");
    let read = Source::Imdb(Files::open(dir.path(), Schema::Typed).expect("the files"));
    loaded(&primary, dir.path(), read, Settings::default()).await;
    for file in &FILES {
        let table = file.table(Schema::Typed).name;
        let [copied, read]: [i64; 2] = [
            one(&client, &format!("SELECT count(*) FROM copied.{table}")).await,
            one(&client, &format!("SELECT count(*) FROM public.{table}")).await,
        ];
        let other = format!("SELECT count(*) FROM (TABLE copied.{table} EXCEPT ALL TABLE public.{table}) AS other");
        assert_eq!((copied, one::<i64>(&client, &other).await), (read, 0), "{table}");
    }
}

#[tokio::test]
async fn columns_of_text_are_the_files_fields() {
    let primary = Primary::start(&SMALL);
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), false);
    let text = Source::SyntheticImdb(source::Tables::new(OF, Schema::Text));
    loaded(&primary, dir.path(), text, Settings::default()).await;
    let client = client(&primary).await;
    for file in &FILES {
        let written = std::fs::read_to_string(dir.path().join(format!("{}.tsv", file.file))).expect("the file");
        let there = lines(&client, file.file, Schema::Text).await;
        assert!(written.lines().skip(1).eq(there.iter().map(String::as_str)), "{}", file.file);
    }
}

const SHOP: &str = r#"
seed = 5

[tables.customer]
rows        = 500
primary_key = ["id"]
columns.id     = { type = "bigint", values = { kind = "sequence", start = 1000, step = 3 } }
columns.name   = { type = "text", values = { kind = "text", min = 2, max = 4, words = ["Ada", "O'Neill", "Ω", "\"x\""] } }
columns.code   = { type = "char(6)", values = { kind = "text", min = 6, max = 6, alphabet = "ABC123" } }
columns.vip    = { type = "boolean", nulls = 0.5, values = { kind = "choice", weights = { true = 1, false = 3 } } }
columns.born   = { type = "date", values = { kind = "uniform", min = "1950-01-01", max = "2005-12-31" } }

[tables."order line"]
rows        = 20_000
primary_key = ["order_id", "line"]
indexes.lines_of_customer = ["customer_id", "at"]
columns.order_id    = { type = "integer", values = { kind = "sequence", each = 4 } }
columns.line        = { type = "smallint", values = { kind = "sequence", cycle = 4 } }
columns.customer_id = { type = "bigint", references = "customer.id", values = { kind = "zipf", exponent = 1.0 } }
columns.at          = { type = "timestamptz", values = { kind = "uniform", min = "2024-01-01", max = "2024-12-31", rising = true } }
columns.price       = { type = "double precision", values = { kind = "gaussian", mean = 80, deviation = 10, min = 50 } }
columns.amount      = { type = "integer", values = { kind = "zipf", exponent = 2, distinct = 100, start = 1 } }
columns.weight      = { type = "real", values = { kind = "uniform", min = 0.5, max = 2 } }
"#;

#[tokio::test]
async fn tables_of_the_users_own_hold_what_they_say() {
    let primary = Primary::start(&SMALL);
    let dir = tempfile::tempdir().expect("a directory");
    let shape = || scenario::tables::read(&scenario::Source::new("shop.toml", SHOP)).unwrap_or_else(|e| panic!("{e}"));
    let settings = Settings { foreign_keys: ForeignKeys::Checked, streams_per_table: 3, ..Settings::default() };
    loaded(&primary, dir.path(), Source::Tables(Tables::new(shape())), settings).await;
    let client = client(&primary).await;
    for (what, holds) in [
        ("SELECT (count(*), min(id), max(id)) = (500, 1000, 2497) FROM customer", "a sequence"),
        ("SELECT bool_and(length(code) = 6 AND code ~ '^[ABC123]+$') FROM customer", "letters"),
        ("SELECT bool_and(array_length(string_to_array(name, ' '), 1) BETWEEN 2 AND 4) FROM customer", "words"),
        ("SELECT count(*) FILTER (WHERE vip IS NULL) BETWEEN 190 AND 310 FROM customer", "nulls"),
        ("SELECT bool_and(born BETWEEN '1950-01-01' AND '2005-12-31') FROM customer", "dates"),
        ("SELECT count(*) = 20000 AND count(DISTINCT order_id) = 5000 FROM \"order line\"", "orders of four lines"),
        (
            "SELECT max(n) > 2000 AND count(*) > 400 FROM (SELECT count(*) AS n FROM \"order line\" GROUP BY customer_id) AS c",
            "skew",
        ),
        ("SELECT bool_and(at >= '2024-01-01+00' AND at <= '2024-12-31+00') FROM \"order line\"", "times"),
        (
            "SELECT avg(price) BETWEEN 79 AND 81 AND min(price) >= 50 AND stddev(price) BETWEEN 9 AND 11 FROM \"order line\"",
            "the normal distribution",
        ),
        (
            "SELECT min(amount) = 1 AND max(amount) <= 100 AND avg((amount = 1)::int) BETWEEN 0.58 AND 0.64 FROM \"order line\"",
            "ranks",
        ),
        ("SELECT bool_and(weight BETWEEN 0.5 AND 2) FROM \"order line\"", "a range"),
        (
            "SELECT count(*) = 3 FROM pg_constraint WHERE contype IN ('p', 'f') AND conrelid::regclass::text ~ 'customer|order'",
            "keys",
        ),
        ("SELECT to_regclass('lines_of_customer') IS NOT NULL", "an index"),
        ("SELECT obj_description('customer'::regclass) LIKE 'synthetic, seed 5, %'", "the note"),
    ] {
        assert!(one::<bool>(&client, what).await, "{holds}: {what}");
    }
    // Another time, by another number of streams, the same.
    let digest = "SELECT md5(string_agg(l::text, ',' ORDER BY order_id, line)) FROM \"order line\" AS l";
    let first: String = one(&client, digest).await;
    client.batch_execute("DROP TABLE customer, \"order line\", pgbench_rs_load CASCADE").await.expect("dropped");
    loaded(&primary, dir.path(), Source::Tables(Tables::new(shape())), Settings::default()).await;
    assert_eq!(first, one::<String>(&client, digest).await);
}

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgbench-rs")).args(args).output().expect("it runs")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_commands_load_and_generate() {
    let primary = Primary::start(&SMALL);
    let to = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", primary.host.port);
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    let rejects = at("rejects");
    let made = json(&program(&[
        "generate",
        "imdb",
        "--scale",
        "0.0002",
        "--seed",
        "9",
        "--to",
        &at("imdb"),
        "--gzip",
        "--json",
    ]));
    assert_eq!((made["files"].as_array().map(Vec::len), made["seed"].as_u64()), (Some(7), Some(9)));
    let load = |args: &[&str]| program(&[&["load"], args, &["--to", &to, "--rejects", &rejects, "--json"]].concat());
    let files = json(&load(&["imdb", "--from", &at("imdb")]));
    let args = ["synthetic", "--scale", "0.0002", "--seed", "9", "--existing", "drop"];
    let copied = json(&load(&args));
    let rows = |of: &Value| -> Vec<u64> {
        of["tables"].as_array().expect("tables").iter().filter_map(|table| table["loaded"].as_u64()).collect()
    };
    assert_eq!((rows(&files), copied["source"].as_str()), (rows(&copied), Some("synthetic_imdb")));
    std::fs::write(at("shop.toml"), SHOP).expect("written");
    assert_eq!(rows(&json(&load(&["tables", &at("shop.toml")]))), [500, 20_000]);
    std::fs::write(at("broken.toml"), SHOP.replace("customer.id", "customer.nr").replace("each = 4", "each = 0"))
        .expect("written");
    let broken = load(&["tables", &at("broken.toml")]);
    let said = String::from_utf8_lossy(&broken.stderr);
    assert_eq!(broken.status.code(), Some(2), "{said}");
    assert!(
        said.contains("broken.toml:17:") && said.contains("broken.toml:19:") && said.contains("`customer.nr`"),
        "{said}"
    );
    let filled = json(&program(&["load", "pgbench", "--scale", "2", "--to", &to, "--json"]));
    assert_eq!(filled["accounts"], 200_000);
    let again = program(&["load", "pgbench", "--to", &to]);
    assert_eq!(again.status.code(), Some(2), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(program(&["load", "pgbench", "--to", &to, "--existing", "drop"]).status.success());
    assert_eq!(load(&["synthetic", "--scale", "0"]).status.code(), Some(2));
}
