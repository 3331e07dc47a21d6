//! Data into real servers: each row of the files is in the table as it stands in the file, or among the rejects.

mod ended;
mod fetched;
mod files;
mod hostile;
mod job;
mod pgbench;
mod settings;
mod synthetic;

use super::fixture::Primary;
use files::{Folder, LIMIT};
use pgbench_rs::etl::imdb::{Files, Schema, schema::FILES};
use pgbench_rs::etl::load::{LoadError, Loaded, LoadedTable, Order, Progress, Settings, load};
use pgbench_rs::etl::source::Source;
use pgbench_rs::pg::connect::connect;
use std::sync::Arc;
use tokio_postgres::Client;

/// Settings that make a test server start at once and not write more than it must.
const SMALL: [&str; 3] = ["fsync=off", "shared_buffers=16MB", "autovacuum=off"];

fn order(primary: &Primary, folder: &Folder, schema: Schema, settings: Settings) -> Order {
    let source = Source::Imdb(Files::open(folder.path(), schema).unwrap_or_else(|error| panic!("{error}")));
    Order {
        progress: Arc::new(Progress::new(&source)),
        source,
        host: primary.host.clone(),
        login: primary.login("test"),
        settings,
        rejects: folder.path().join("rejects"),
    }
}

async fn try_load(primary: &Primary, folder: &Folder, schema: Schema, settings: Settings) -> Result<Loaded, LoadError> {
    let loading = load(order(primary, folder, schema, settings), std::future::pending());
    tokio::time::timeout(LIMIT, loading).await.expect("it ends")
}

async fn loaded(primary: &Primary, folder: &Folder, schema: Schema, settings: Settings) -> Loaded {
    try_load(primary, folder, schema, settings).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn client(primary: &Primary) -> Client {
    connect(&primary.host, &primary.login("test"), LIMIT).await.expect("a connection")
}

fn of<'l>(loaded: &'l Loaded, name: &str) -> &'l LoadedTable {
    loaded.tables.iter().find(|table| table.name == name).expect("a table")
}

/// The rows of a table as lines of its file, in the order in which they were copied.
async fn lines(client: &Client, file: &str, schema: Schema) -> Vec<String> {
    let shape = FILES.iter().find(|shape| shape.file == file).expect("a file");
    let table = shape.table(schema);
    let field = |column: &pgbench_rs::etl::table::Column| {
        use pgbench_rs::etl::table::ColumnType;
        let text = match column.of {
            ColumnType::TextArray => format!("array_to_string({}, ',')", column.name),
            ColumnType::Bool => format!("{}::int::text", column.name),
            _ => format!("{}::text", column.name),
        };
        format!("coalesce({text}, '\\N')")
    };
    let fields: Vec<String> = table.columns.iter().map(field).collect();
    let select = format!("SELECT concat_ws(E'\\t', {}) FROM {} ORDER BY ctid", fields.join(", "), table.name);
    client.query(&select, &[]).await.expect("rows").iter().map(|row| row.get(0)).collect()
}
