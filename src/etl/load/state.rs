//! What a load leaves in the database about itself, so that another can go on: a row for each table in `pgbench_rs_load`,
//! written in the transaction that completes the table.

use super::error::{Doing, LoadError};
use super::{Existing, Indexes, LoadedTable, Order, Settings};
use crate::etl::source::Digest;
use crate::etl::table::{Table, quoted};
use sha2::{Digest as _, Sha256};
use tokio_postgres::{Client, GenericClient, Row};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS pgbench_rs_load (
    table_name text PRIMARY KEY,
    relation oid NOT NULL,
    is_complete boolean NOT NULL,
    is_analyzed boolean NOT NULL DEFAULT false,
    data text NOT NULL,
    shape text NOT NULL,
    rows_in bigint,
    loaded bigint,
    rejected bigint,
    bytes bigint,
    path text,
    file_bytes bigint,
    blake3 text,
    at timestamptz NOT NULL DEFAULT now())";

/// What is known of a table before it is loaded.
#[derive(Clone, Debug)]
pub enum Before {
    /// It is to be loaded.
    Nothing,
    /// An earlier load completed it.
    Complete {
        /// What that load said, without times.
        table: Box<LoadedTable>,
        /// Whether what follows at the end was done.
        is_analyzed: bool,
    },
}

/// The table's shape as this load makes it, in a short text that is equal only for equal ones.
pub fn shape(table: &Table, settings: &Settings) -> String {
    let key = settings.primary_keys.then_some(&table.primary_key);
    let indexes = (settings.indexes != Indexes::None).then_some(&table.indexes);
    let hash = Sha256::digest(format!("{} {key:?} {indexes:?}", table.create()));
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What rows a table holds.
pub fn data(order: &Order, table: usize) -> String {
    format!("{} {}", order.source.name(), order.source.key(table))
}

/// Finds out what is there, and drops what [`Existing`] says: afterwards the tables that are [`Before::Nothing`] are not.
pub async fn prepare(client: &Client, order: &Order, tables: &[Table]) -> Result<Vec<Before>, LoadError> {
    let state = || "the state of earlier loads".to_owned();
    client.batch_execute(&format!("SET client_min_messages = warning; {CREATE}")).await.doing(state)?;
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let there = "SELECT name, c.oid AS now, s.* FROM unnest($1::text[]) WITH ORDINALITY AS n (name, nth) \
                 LEFT JOIN pg_class c ON c.oid = to_regclass(quote_ident(name)) \
                 LEFT JOIN pgbench_rs_load s ON s.table_name = name ORDER BY nth";
    let rows = client.query(there, &[&names]).await.doing(state)?;
    let mut before = Vec::new();
    let (mut found, mut to_drop) = (Vec::new(), Vec::new());
    for ((nth, row), table) in rows.iter().enumerate().zip(tables) {
        let is_there = row.get::<_, Option<u32>>("now").is_some();
        let was = match order.settings.existing {
            Existing::Resume if is_there => look(row, order, nth, table)?,
            _ => Before::Nothing,
        };
        if is_there && matches!(was, Before::Nothing) {
            found.push(table.name.clone());
            to_drop.push(quoted(&table.name));
        }
        before.push(was);
    }
    if order.settings.existing == Existing::Fail && !found.is_empty() {
        return Err(LoadError::Exists(found));
    }
    let gone: Vec<&str> = tables
        .iter()
        .zip(&before)
        .filter(|(_, b)| matches!(b, Before::Nothing))
        .map(|(t, _)| t.name.as_str())
        .collect();
    if !to_drop.is_empty() {
        // A key that refers to one of them goes with it, and is made again in its time.
        unlink(client, &gone).await?;
        let drop = format!("DROP TABLE {}", to_drop.join(", "));
        client.batch_execute(&drop).await.doing(|| "dropping what was there".into())?;
    }
    client.execute("DELETE FROM pgbench_rs_load WHERE table_name = ANY($1)", &[&gone]).await.doing(state)?;
    Ok(before)
}

/// Drops the foreign keys that refer to these tables from tables that earlier loads made.
async fn unlink(client: &Client, tables: &[&str]) -> Result<(), LoadError> {
    let keys = "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint \
                WHERE contype = 'f' AND conparentid = 0 AND conrelid IN (SELECT relation FROM pgbench_rs_load) \
                AND confrelid IN (SELECT to_regclass(quote_ident(name)) FROM unnest($1::text[]) AS name)";
    let rows = client.query(keys, &[&tables]).await.doing(|| "foreign keys that are there".into())?;
    for row in rows {
        let drop: String = row.get(0);
        client.batch_execute(&drop).await.doing(|| drop.clone())?;
    }
    Ok(())
}

/// What an earlier load says of a table that is there.
fn look(row: &Row, order: &Order, nth: usize, table: &Table) -> Result<Before, LoadError> {
    let other = |why| LoadError::Other { table: table.name.clone(), why };
    let Some(is_complete) = row.get::<_, Option<bool>>("is_complete") else {
        return Err(other("no load made it"));
    };
    if row.get::<_, Option<u32>>("relation") != row.get("now") {
        return Err(other("it was made anew since it was loaded"));
    }
    if !is_complete {
        return Ok(Before::Nothing);
    }
    if row.get::<_, String>("data") != data(order, nth) {
        return Err(other("was loaded from other data"));
    }
    if row.get::<_, String>("shape") != shape(table, &order.settings) {
        return Err(other("was loaded with another schema, or other keys or indexes"));
    }
    let count = |column: &str| row.get::<_, Option<i64>>(column).map(i64::cast_unsigned);
    let file = match (row.get::<_, Option<String>>("path"), count("file_bytes"), row.get("blake3")) {
        (Some(path), Some(bytes), Some(blake3)) => Some(Digest { path: path.into(), bytes, blake3 }),
        _ => None,
    };
    let (Some(rows_in), Some(loaded), Some(rejected), Some(bytes)) =
        (count("rows_in"), count("loaded"), count("rejected"), count("bytes"))
    else {
        return Err(other("nothing says how many rows it got"));
    };
    let loaded = LoadedTable {
        name: table.name.clone(),
        kept: true,
        key: order.source.key(nth),
        rows_in,
        loaded,
        rejected,
        bytes,
        file,
        ..LoadedTable::default()
    };
    Ok(Before::Complete { table: Box::new(loaded), is_analyzed: row.get("is_analyzed") })
}

/// A table was created that several transactions will fill.
pub async fn begun(client: &Client, order: &Order, nth: usize, table: &Table) -> Result<(), LoadError> {
    let insert = "INSERT INTO pgbench_rs_load (table_name, relation, is_complete, data, shape) \
                  VALUES ($1, to_regclass(quote_ident($1))::oid, false, $2, $3)";
    let (data, shape) = (data(order, nth), shape(table, &order.settings));
    client.execute(insert, &[&table.name, &data, &shape]).await.doing(|| format!("the state of {}", table.name))?;
    Ok(())
}

/// A table is complete but for foreign keys and statistics.
pub async fn complete(
    client: &Client,
    order: &Order,
    nth: usize,
    table: &Table,
    done: &LoadedTable,
) -> Result<(), LoadError> {
    let insert = "INSERT INTO pgbench_rs_load (table_name, relation, is_complete, data, shape, rows_in, loaded, \
                  rejected, bytes, path, file_bytes, blake3) \
                  VALUES ($1, to_regclass(quote_ident($1))::oid, true, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                  ON CONFLICT (table_name) DO UPDATE SET is_complete = true, rows_in = $4, loaded = $5, \
                  rejected = $6, bytes = $7, path = $8, file_bytes = $9, blake3 = $10, at = now()";
    let (data, shape) = (data(order, nth), shape(table, &order.settings));
    let counts = [done.rows_in, done.loaded, done.rejected, done.bytes].map(u64::cast_signed);
    let path = done.file.as_ref().map(|file| file.path.display().to_string());
    let bytes = done.file.as_ref().map(|file| file.bytes.cast_signed());
    let blake3 = done.file.as_ref().map(|file| file.blake3.as_str());
    client
        .execute(
            insert,
            &[&table.name, &data, &shape, &counts[0], &counts[1], &counts[2], &counts[3], &path, &bytes, &blake3],
        )
        .await
        .doing(|| format!("the state of {}", table.name))?;
    Ok(())
}

/// So many rows of a complete table were rejected after all.
pub async fn rejected(client: &impl GenericClient, table: &str, orphans: u64) -> Result<(), LoadError> {
    let update = "UPDATE pgbench_rs_load SET loaded = loaded - $2, rejected = rejected + $2 WHERE table_name = $1";
    client.execute(update, &[&table, &orphans.cast_signed()]).await.doing(|| format!("the state of {table}"))?;
    Ok(())
}

/// What follows at the end was done.
pub async fn analyzed(client: &Client, table: &str) -> Result<(), LoadError> {
    let update = "UPDATE pgbench_rs_load SET is_analyzed = true WHERE table_name = $1";
    client.execute(update, &[&table]).await.doing(|| format!("the state of {table}"))?;
    Ok(())
}
