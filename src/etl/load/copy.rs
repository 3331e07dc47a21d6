//! One `COPY`: a thread reads and encodes, a session sends, and between them wait a few chunks and no more.

use super::error::{Doing, LoadError};
use super::work::Work;
use crate::etl::chunk::{Chunk, FULL};
use crate::etl::rejects::{Reject, Rejects};
use crate::etl::source::{Digest, Part, Source, SourceError};
use crate::etl::table::{Table, quoted};
use bytes::Bytes;
use futures_util::SinkExt;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::Client;

/// Chunks that wait between reading and sending: enough that neither stands still for the other's every hiccup.
const WAITING: usize = 2;

/// Who waits for rows looks so often whether the server is still there.
const LOOK: Duration = Duration::from_secs(1);

/// What a copy came to.
#[derive(Debug, Default)]
pub struct Copied {
    /// Rows that the server took.
    pub rows: u64,
    /// Rows that are none.
    pub rejected: u64,
    /// Bytes read, or sent where the source stores none.
    pub bytes: u64,
    /// The file.
    pub file: Option<Digest>,
}

#[derive(Debug)]
struct Batch {
    rows: Bytes,
    count: u64,
    rejected: Vec<Reject>,
    /// Where the source is now.
    position: u64,
    /// Whether it is the last: without it the rows are not all there.
    is_last: bool,
}

/// Copies a part of a table's rows.
pub async fn copy(
    client: &Client,
    work: &Work,
    nth: usize,
    part: Part,
    freeze: bool,
    rejects: &mut Rejects,
) -> Result<Copied, LoadError> {
    let table = &work.tables[nth];
    let (send, batches) = mpsc::channel(WAITING);
    let source = work.order.source.clone();
    let reading = tokio::task::spawn_blocking(move || read(&source, nth, part, &send));
    let copied = match send_all(client, work, table, freeze, rejects, batches).await {
        Ok(Some(copied)) => copied,
        // Reading has failed, and says why.
        Ok(None) => Copied::default(),
        // The thread ends by itself when it wants to pass on what it reads.
        Err(error) => return Err(error),
    };
    let read = reading.await.map_err(|error| LoadError::Broken(format!("reading for {}: {error}", table.name)))?;
    let file = read.map_err(|source| LoadError::Source { table: table.name.clone(), source })?;
    Ok(Copied { file, ..copied })
}

/// Reads all rows, on a thread that may wait for files and for chunks to be sent.
fn read(source: &Source, nth: usize, part: Part, send: &mpsc::Sender<Batch>) -> Result<Option<Digest>, SourceError> {
    let mut rows = source.open(nth, part)?;
    let mut chunk = Chunk::with_capacity(FULL + FULL / 2);
    loop {
        let is_more = rows.fill(&mut chunk)?;
        let count = chunk.rows();
        let (rejected, position) = (rows.rejected(), rows.position());
        let batch = Batch { rows: chunk.take().into(), count, rejected, position, is_last: !is_more };
        if send.blocking_send(batch).is_err() {
            // Who sends has failed, and says so.
            return Ok(None);
        }
        if !is_more {
            return Ok(rows.digest());
        }
    }
}

/// Sends what is read; nothing comes of it when reading ends early.
async fn send_all(
    client: &Client,
    work: &Work,
    table: &Table,
    freeze: bool,
    rejects: &mut Rejects,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<Option<Copied>, LoadError> {
    let doing = || format!("copying {}", table.name);
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let freeze = if freeze { ", FREEZE" } else { "" };
    let format = work.order.source.format();
    let (name, columns) = (quoted(&table.name), columns.join(", "));
    let copy = format!("COPY {name} ({columns}) FROM STDIN (FORMAT {}{freeze})", format.name());
    let mut sink = pin!(client.copy_in::<_, Bytes>(&copy).await.doing(doing)?);
    sink.feed(Bytes::from_static(format.header())).await.doing(doing)?;
    let (mut copied, mut sent, mut is_whole) = (Copied::default(), 0, false);
    while let Some(batch) = next(client, table, &mut batches).await? {
        let bytes = batch.rows.len() as u64;
        if !batch.rows.is_empty() {
            sink.feed(batch.rows).await.doing(doing)?;
        }
        sent += batch.count;
        work.reject(&table.name, rejects, &batch.rejected)?;
        copied.rejected += batch.rejected.len() as u64;
        // What is not stored is measured as it is sent.
        let position = if batch.position == 0 { copied.bytes + bytes } else { batch.position };
        work.order.progress.copied(batch.count, position - copied.bytes, batch.rejected.len() as u64);
        copied.bytes = position;
        is_whole = batch.is_last;
    }
    if !is_whole {
        // The sink goes, and the server is told that the copy failed.
        return Ok(None);
    }
    sink.feed(Bytes::from_static(format.trailer())).await.doing(doing)?;
    copied.rows = sink.finish().await.doing(doing)?;
    if copied.rows != sent {
        return Err(LoadError::Count { table: table.name.clone(), sent, taken: copied.rows });
    }
    Ok(Some(copied))
}

/// The next batch. Who only waits for it would not see that the server is gone.
async fn next(client: &Client, table: &Table, batches: &mut mpsc::Receiver<Batch>) -> Result<Option<Batch>, LoadError> {
    loop {
        match tokio::time::timeout(LOOK, batches.recv()).await {
            Ok(batch) => return Ok(batch),
            Err(_) if client.is_closed() => {
                return Err(LoadError::Broken(format!("copying {}: the server closed the connection", table.name)));
            }
            Err(_) => {}
        }
    }
}
