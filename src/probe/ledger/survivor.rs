//! Reading what is left on the server that the trial ended with.

use super::TABLE;
use super::book::Book;
use super::verdict::{Survivor, Verdict};
use crate::pg::connect::connect;
use crate::pg::{Host, Login};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;

/// Longest time to find a server that accepts writes; a failover that is under way may still end.
const FIND: Duration = Duration::from_secs(10);
/// Longest time for one server to answer whether it does.
const ANSWER: Duration = Duration::from_secs(1);
/// Time between two rounds of asking.
const ROUND: Duration = Duration::from_millis(100);
/// Longest time to read the table.
const READ: Duration = Duration::from_secs(60);
/// Rows that are held at once.
const CHUNK: i32 = 10_000;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoVerdict {
    #[error("no server accepted writes within {FIND:?}, so nobody can say what survived")]
    NoSurvivor,
    #[error("cannot read {TABLE} on {node}: {source}")]
    Query { node: String, source: tokio_postgres::Error },
    #[error("reading {TABLE} on {node} took longer than {READ:?}")]
    TooSlow { node: String },
}

/// A server that is not in recovery.
pub(super) struct Writable {
    pub(super) host: Host,
    pub(super) timeline: u32,
    client: Client,
}

/// The servers that accept writes, the one on the highest timeline first: after a failover without fencing
/// there may be two, and the one that was promoted last is the one that survives.
pub(super) async fn find(hosts: &[Host], login: &Login) -> Result<Vec<Writable>, NoVerdict> {
    let limit = Instant::now() + FIND;
    loop {
        let mut asked: JoinSet<Option<Writable>> = JoinSet::new();
        for host in hosts {
            let (host, login) = (host.clone(), login.clone());
            asked.spawn(async move { timeout(ANSWER, writable(host, &login)).await.ok().flatten() });
        }
        let mut found: Vec<Writable> = asked.join_all().await.into_iter().flatten().collect();
        found.sort_by_key(|server| std::cmp::Reverse(server.timeline));
        if !found.is_empty() {
            return Ok(found);
        }
        if Instant::now() >= limit {
            return Err(NoVerdict::NoSurvivor);
        }
        sleep(ROUND).await;
    }
}

async fn writable(host: Host, login: &Login) -> Option<Writable> {
    let client = connect(&host, login, ANSWER).await.ok()?;
    // A WAL file's name begins with its timeline. The control file knows of a new one only after a checkpoint.
    let sql = "SELECT CASE WHEN NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' \
               THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END";
    let timeline: Option<String> = client.query_one(sql, &[]).await.ok()?.try_get(0).ok()?;
    let timeline = u32::from_str_radix(&timeline?, 16).ok()?;
    Some(Writable { host, timeline, client })
}

/// Holds `book` against the rows of `survivor`, which are read in order, a few at a time.
pub(super) async fn judge(survivor: &mut Writable, book: &Book) -> Result<Verdict, NoVerdict> {
    let node = survivor.host.node.clone();
    match timeout(READ, read(&mut survivor.client, book)).await {
        Ok(Ok(verdict)) => Ok(verdict),
        Ok(Err(source)) => Err(NoVerdict::Query { node, source }),
        Err(_) => Err(NoVerdict::TooSlow { node }),
    }
}

async fn read(client: &mut Client, book: &Book) -> Result<Verdict, tokio_postgres::Error> {
    let mut survivor = Survivor::new(book);
    let transaction = client.transaction().await?;
    let sql = format!("SELECT writer, seq, count(*) FROM {TABLE} GROUP BY writer, seq ORDER BY writer, seq");
    let portal = transaction.bind(&sql, &[]).await?;
    loop {
        let rows = transaction.query_portal(&portal, CHUNK).await?;
        for row in &rows {
            survivor.holds(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        }
        if rows.len() < CHUNK as usize {
            break;
        }
    }
    transaction.commit().await?;
    Ok(survivor.verdict())
}
