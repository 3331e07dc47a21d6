//! One table: created, copied into, keyed and indexed, in one transaction where that can be.

use super::copy::{Copied, copy};
use super::error::{Doing, LoadError};
use super::work::{Work, keep};
use super::{Indexes, LoadedTable, duplicates, state};
use crate::etl::rejects::Rejects;
use crate::etl::source::Part;
use crate::etl::table::{Table, quoted};
use postgres_protocol::escape::escape_literal;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Loads a table in one transaction.
pub async fn whole(client: &Client, work: &Work, nth: usize) -> Result<(), LoadError> {
    let indexes = work.order.settings.indexes;
    let done = match attempt(client, work, nth, indexes).await {
        // With the key there first, a duplicate ends the copy: they can be found only where the key comes last.
        Err(Attempt { error, rejected }) if indexes == Indexes::Before && is_duplicate(&error) => {
            work.unreject(rejected);
            run(client, "ROLLBACK", &work.tables[nth].name).await?;
            attempt(client, work, nth, Indexes::After).await.map_err(|attempt| attempt.error)?
        }
        other => other.map_err(|attempt| attempt.error)?,
    };
    work.done(nth, |all| all.table = done);
    Ok(())
}

/// An attempt that failed, and how many rejects it had counted.
struct Attempt {
    error: LoadError,
    rejected: u64,
}

async fn attempt(client: &Client, work: &Work, nth: usize, indexes: Indexes) -> Result<LoadedTable, Attempt> {
    let table = &work.tables[nth];
    let mut rejects = Rejects::new(&work.order.rejects, &table.name);
    let filled = async {
        let mut done = LoadedTable { name: table.name.clone(), key: work.order.source.key(nth), ..Default::default() };
        let began = Instant::now();
        run(client, "BEGIN", &table.name).await?;
        create(client, work, table, indexes).await?;
        done.create = Some(began.elapsed());
        let began = Instant::now();
        let copied = copy(client, work, nth, Part::WHOLE, work.order.settings.freeze, &mut rejects).await?;
        done.copy = Some(began.elapsed());
        take(&mut done, copied);
        finish(client, work, nth, indexes, &mut done, &mut rejects).await?;
        Ok(done)
    };
    filled.await.map_err(|error| Attempt { error, rejected: rejects.count() })
}

fn take(done: &mut LoadedTable, copied: Copied) {
    done.rows_in += copied.rows + copied.rejected;
    done.loaded += copied.rows;
    done.rejected += copied.rejected;
    done.bytes += copied.bytes;
    done.file = copied.file;
}

/// Keys, indexes and the state, and the end of the transaction.
async fn finish(
    client: &Client,
    work: &Work,
    nth: usize,
    indexes: Indexes,
    done: &mut LoadedTable,
    rejects: &mut Rejects,
) -> Result<(), LoadError> {
    let table = &work.tables[nth];
    if indexes != Indexes::Before {
        done.primary_key = timed(primary_key(client, work, nth, done, rejects)).await?;
    }
    if indexes == Indexes::After {
        done.indexes = timed(build(client, table)).await?;
    }
    work.complete(client, nth, done).await?;
    keep(rejects)?;
    // Orphans of an earlier load are none of this one's.
    keep(&mut Rejects::new(&work.order.rejects, &format!("{}.orphans", table.name)))?;
    run(client, "COMMIT", &table.name).await
}

/// Runs it and says how long it took, if it did anything.
async fn timed(work: impl Future<Output = Result<bool, LoadError>>) -> Result<Option<Duration>, LoadError> {
    let began = Instant::now();
    Ok(work.await?.then(|| began.elapsed()))
}

async fn create(client: &Client, work: &Work, table: &Table, indexes: Indexes) -> Result<(), LoadError> {
    run(client, &table.create(), &table.name).await?;
    if let Some(note) = work.order.source.note() {
        let comment = format!("COMMENT ON TABLE {} IS {}", quoted(&table.name), escape_literal(&note));
        run(client, &comment, &table.name).await?;
    }
    if indexes == Indexes::Before {
        if let Some(key) = key(work, table) {
            run(client, &key, &table.name).await?;
        }
        build(client, table).await?;
    }
    Ok(())
}

/// The statement that makes the primary key.
fn key(work: &Work, table: &Table) -> Option<String> {
    let columns: Vec<String> = table.primary_key.iter().map(|column| quoted(column)).collect();
    let is_wanted = work.order.settings.primary_keys && !columns.is_empty();
    is_wanted.then(|| format!("ALTER TABLE {} ADD PRIMARY KEY ({})", quoted(&table.name), columns.join(", ")))
}

/// Makes the primary key; what stands in its way is rejected.
async fn primary_key(
    client: &Client,
    work: &Work,
    nth: usize,
    done: &mut LoadedTable,
    rejects: &mut Rejects,
) -> Result<bool, LoadError> {
    let table = &work.tables[nth];
    let Some(key) = key(work, table) else { return Ok(false) };
    run(client, "SAVEPOINT key", &table.name).await?;
    match run(client, &key, &table.name).await {
        Err(error) if is_duplicate(&error) => {
            run(client, "ROLLBACK TO SAVEPOINT key", &table.name).await?;
            let extra = duplicates::reject(client, work, nth, rejects).await?;
            done.loaded -= extra;
            done.rejected += extra;
            run(client, &key, &table.name).await?;
        }
        other => other?,
    }
    Ok(true)
}

async fn build(client: &Client, table: &Table) -> Result<bool, LoadError> {
    for index in &table.indexes {
        let create = format!("CREATE INDEX {} ON {} {}", quoted(&index.name), quoted(&table.name), index.definition);
        run(client, &create, &table.name).await?;
    }
    Ok(!table.indexes.is_empty())
}

/// Creates a table that several transactions will fill.
pub async fn begin(client: &Client, work: &Work, nth: usize) -> Result<(), LoadError> {
    let table = &work.tables[nth];
    let began = Instant::now();
    run(client, "BEGIN", &table.name).await?;
    create(client, work, table, work.order.settings.indexes).await?;
    state::begun(client, &work.order, nth, table).await?;
    run(client, "COMMIT", &table.name).await?;
    work.done(nth, |all| all.table.create = Some(began.elapsed()));
    Ok(())
}

/// Copies a part of a table. The last to end makes the keys and indexes.
pub async fn part(client: &Client, work: &Work, nth: usize, part: Part) -> Result<(), LoadError> {
    let table = &work.tables[nth];
    let began = work.done(nth, |all| *all.began.get_or_insert_with(Instant::now));
    let mut rejects = Rejects::new(&work.order.rejects, &format!("{}.{}", table.name, part.number));
    let copied = copy(client, work, nth, part, false, &mut rejects).await?;
    keep(&mut rejects)?;
    let last = work.done(nth, |all| {
        take(&mut all.table, copied);
        all.parts += 1;
        all.table.copy = Some(began.elapsed());
        (all.parts == part.of).then(|| all.table.clone())
    });
    let Some(mut done) = last else { return Ok(()) };
    let mut rejects = Rejects::new(&work.order.rejects, &table.name);
    run(client, "BEGIN", &table.name).await?;
    finish(client, work, nth, work.order.settings.indexes, &mut done, &mut rejects).await?;
    work.done(nth, |all| all.table = done);
    Ok(())
}

/// Runs a statement for a table.
pub async fn run(client: &Client, statement: &str, table: &str) -> Result<(), LoadError> {
    client.batch_execute(statement).await.doing(|| format!("{table}: {statement}"))
}

fn is_duplicate(error: &LoadError) -> bool {
    is(error, &SqlState::UNIQUE_VIOLATION)
}

/// Whether it was this that the server said.
pub fn is(error: &LoadError, state: &SqlState) -> bool {
    matches!(error, LoadError::Sql { source, .. } if source.code() == Some(state))
}
