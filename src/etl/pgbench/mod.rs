//! pgbench's four tables, as `pgbench -i` makes them (`initCreateTables`, `initGenerateData` and `initCreatePKeys` of
//! `src/bin/pgbench/pgbench.c`), so that figures compare line for line.

pub mod source;

use super::chunk::{Chunk, FULL, Format};
use super::table::ColumnType;
use crate::pg::connect::in_words;
use crate::pg::pgbench::{ACCOUNTS, BIGINT_SCALE, BRANCHES, TELLERS};
use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::pin;
use tokio_postgres::{Client, Error};

/// Makes pgbench's tables anew at `scale` and fills them: 1 branch, 10 tellers and 100,000 accounts for each unit.
/// `progress` is told how many of how many accounts are there.
///
/// One transaction creates, copies and indexes, so that rows are frozen as they come and, under `wal_level = minimal`,
/// are not logged either; statistics and the visibility map follow by `VACUUM ANALYZE`. What stood there under these
/// names is dropped.
pub async fn fill(client: &Client, scale: u32, mut progress: impl FnMut(u64, u64)) -> Result<(), Error> {
    let account = if scale < BIGINT_SCALE { ColumnType::Int4 } else { ColumnType::Int8 };
    client.batch_execute("BEGIN").await?;
    let filled = async {
        client.batch_execute(&tables(account)).await?;
        branches_and_tellers(client, scale).await?;
        accounts(client, scale, account, &mut progress).await?;
        client
            .batch_execute(
                "ALTER TABLE pgbench_branches ADD PRIMARY KEY (bid);
                 ALTER TABLE pgbench_tellers ADD PRIMARY KEY (tid);
                 ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid);",
            )
            .await
    };
    if let Err(error) = filled.await {
        // The first error is the one to tell; a rollback that fails ends with the session anyway.
        let _ = client.batch_execute("ROLLBACK").await;
        return Err(error);
    }
    client.batch_execute("COMMIT").await?;
    for table in ["pgbench_branches", "pgbench_tellers", "pgbench_accounts", "pgbench_history"] {
        client.batch_execute(&format!("VACUUM ANALYZE {table}")).await?;
    }
    Ok(())
}

/// pgbench's tables of a database, as the role finds them in its `search_path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// None of the four.
    Nothing,
    /// All four, whole, of this scale.
    Scale(u32),
    /// Something else under one of their names, and what.
    Other(String),
}

/// Whose pgbench's tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// They were there.
    Theirs,
    /// They were made, and are to be [dropped](drop_tables) in the end.
    Ours,
}

/// Why pgbench's tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// There are others under their names, which are not touched.
    #[error(
        "the database holds {found}, and tables of scale {scale} are wanted\n\
         hint: another dbname, or an empty schema first in the role's search_path, or the scale that is there"
    )]
    Other {
        /// What is there.
        found: String,
        /// What is wanted.
        scale: u32,
    },
    /// The database refuses it.
    #[error("pgbench's tables: {}", in_words(.0))]
    Sql(#[from] Error),
}

/// Their names.
pub const NAMES: [&str; 4] = ["pgbench_branches", "pgbench_tellers", "pgbench_accounts", "pgbench_history"];

/// What is there of pgbench's tables. A scale is believed when branches, tellers and accounts agree on it.
pub async fn scale_of(client: &Client) -> Result<Found, Error> {
    let there = "SELECT count(to_regclass(name)) FROM unnest($1::text[]) AS name";
    match client.query_one(there, &[&NAMES.as_slice()]).await?.try_get::<_, i64>(0)? {
        0 => return Ok(Found::Nothing),
        4 => {}
        some => return Ok(Found::Other(format!("{some} of pgbench's four tables"))),
    }
    let count = "SELECT (SELECT count(*) FROM pgbench_branches), (SELECT count(*) FROM pgbench_tellers), \
                 (SELECT coalesce(max(aid), 0)::int8 FROM pgbench_accounts)";
    let row = client.query_one(count, &[]).await?;
    let (branches, tellers, accounts): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let scale = branches / BRANCHES;
    let agree = scale > 0 && tellers == scale * TELLERS && accounts == scale * ACCOUNTS;
    Ok(match u32::try_from(scale) {
        Ok(scale) if agree => Found::Scale(scale),
        _ => Found::Other(format!(
            "pgbench's tables with {branches} branches, {tellers} tellers and {accounts} accounts, which is no scale"
        )),
    })
}

/// Uses pgbench's tables when they are there at `scale`, and [fills](fill) them when there are none. What else stands
/// under their names is left alone.
pub async fn ready(client: &Client, scale: u32, progress: impl FnMut(u64, u64)) -> Result<Whose, ReadyError> {
    match scale_of(client).await? {
        Found::Scale(found) if found == scale => Ok(Whose::Theirs),
        Found::Scale(found) => Err(ReadyError::Other { found: format!("pgbench's tables of scale {found}"), scale }),
        Found::Other(found) => Err(ReadyError::Other { found, scale }),
        Found::Nothing => {
            fill(client, scale, progress).await?;
            Ok(Whose::Ours)
        }
    }
}

/// Drops pgbench's tables; to be done to [ours](Whose::Ours) only.
pub async fn drop_tables(client: &Client) -> Result<(), Error> {
    client.batch_execute(&format!("DROP TABLE IF EXISTS {}", NAMES.join(", "))).await
}

/// The fillers make rows 100 bytes long, as TPC-B wants; fill factor 100 is pgbench's default.
fn tables(account: ColumnType) -> String {
    let aid = account.sql();
    format!(
        "DROP TABLE IF EXISTS pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers;
         CREATE TABLE pgbench_history
             (tid int, bid int, aid {aid}, delta int, mtime timestamp, filler char(22));
         CREATE TABLE pgbench_tellers
             (tid int NOT NULL, bid int, tbalance int, filler char(84)) WITH (fillfactor = 100);
         CREATE TABLE pgbench_accounts
             (aid {aid} NOT NULL, bid int, abalance int, filler char(84)) WITH (fillfactor = 100);
         CREATE TABLE pgbench_branches
             (bid int NOT NULL, bbalance int, filler char(88)) WITH (fillfactor = 100);"
    )
}

/// Theirs have no filler (null), the accounts' is blank.
async fn branches_and_tellers(client: &Client, scale: u32) -> Result<(), Error> {
    let (branches, tellers) = (BRANCHES * i64::from(scale), TELLERS * i64::from(scale));
    client
        .batch_execute(&format!(
            "INSERT INTO pgbench_branches (bid, bbalance) SELECT bid, 0 FROM generate_series(1, {branches}) AS bid;
             INSERT INTO pgbench_tellers (tid, bid, tbalance)
                 SELECT tid, (tid - 1) / {TELLERS} + 1, 0 FROM generate_series(1, {tellers}) AS tid;"
        ))
        .await
}

async fn accounts(
    client: &Client,
    scale: u32,
    account: ColumnType,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), Error> {
    let copy = "COPY pgbench_accounts (aid, bid, abalance, filler) FROM STDIN (FORMAT binary, FREEZE)";
    let mut sink = pin!(client.copy_in::<_, Bytes>(copy).await?);
    sink.send(Bytes::from_static(Format::Binary.header())).await?;
    let mut chunk = Chunk::with_capacity(FULL + FULL / 16);
    let all = ACCOUNTS * i64::from(scale);
    for aid in 1..=all {
        write(&mut chunk, aid, account);
        if chunk.is_full() || aid == all {
            sink.send(chunk.take().into()).await?;
            progress(aid as u64, all as u64);
        }
    }
    sink.send(Bytes::from_static(Format::Binary.trailer())).await?;
    sink.finish().await?;
    Ok(())
}

/// An account: the server pads the empty filler with blanks.
#[inline]
fn write(chunk: &mut Chunk, aid: i64, account: ColumnType) {
    chunk.begin(4);
    match account {
        ColumnType::Int8 => chunk.int8(aid),
        _ => chunk.int4(aid as i32),
    }
    chunk.int4(((aid - 1) / ACCOUNTS + 1) as i32);
    chunk.int4(0);
    chunk.text("");
    chunk.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_numbers_widen_at_the_threshold() {
        assert!(tables(ColumnType::Int4).contains("(aid integer NOT NULL"));
        assert!(tables(ColumnType::Int8).contains("(aid bigint NOT NULL"));
        assert!(tables(ColumnType::Int8).contains("bid int, aid bigint, delta int"));
    }
}
