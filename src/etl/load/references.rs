//! Foreign keys, after all tables: first `NOT VALID` one after the other, as each wants its two tables alone for a moment;
//! then they are validated side by side. Rows that refer to nothing, which the public files have, are rejected.

use super::error::{Doing, LoadError};
use super::fill::{is, run};
use super::lookup::{Key, Wanted, look_up};
use super::state;
use super::work::{Work, keep};
use crate::etl::rejects::{Rejects, lines};
use crate::etl::table::{ForeignKey, Table, quoted};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Adds the foreign keys that are not there yet, `NOT VALID`.
pub async fn add(client: &Client, work: &Work) -> Result<(), LoadError> {
    for (nth, table) in work.tables.iter().enumerate() {
        let began = Instant::now();
        for key in &table.foreign_keys {
            if is_there(client, table, key).await? {
                continue;
            }
            let add = format!(
                "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}) NOT VALID",
                quoted(&table.name),
                quoted(&name(table, key)),
                quoted(&key.column),
                quoted(&key.table),
                quoted(&key.references)
            );
            run(client, &add, &table.name).await?;
            took(work, nth, began.elapsed());
        }
    }
    Ok(())
}

/// As the server would call it.
fn name(table: &Table, key: &ForeignKey) -> String {
    format!("{}_{}_fkey", table.name, key.column)
}

async fn is_there(client: &Client, table: &Table, key: &ForeignKey) -> Result<bool, LoadError> {
    let there =
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(quote_ident($1)) AND conname = $2)";
    let row =
        client.query_one(there, &[&table.name, &name(table, key)]).await.doing(|| format!("{}: keys", table.name))?;
    Ok(row.get(0))
}

fn took(work: &Work, nth: usize, time: Duration) {
    work.done(nth, |done| done.table.foreign_keys = Some(done.table.foreign_keys.unwrap_or_default() + time));
}

/// Tables whose foreign keys can be validated at the same time, in an order in which no validation makes orphans of rows
/// that were validated before: first those that the others refer to. What refers in a circle comes last, as it stands.
pub fn ranks(tables: &[Table]) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = (0..tables.len()).filter(|&nth| !tables[nth].foreign_keys.is_empty()).collect();
    let mut ranks = Vec::new();
    while !left.is_empty() {
        let waits = |&nth: &usize| {
            let others = left.iter().filter(|&&other| other != nth).map(|&other| tables[other].name.as_str());
            others.into_iter().any(|other| tables[nth].foreign_keys.iter().any(|key| key.table == other))
        };
        let (later, now): (Vec<usize>, Vec<usize>) = left.iter().partition(|nth| waits(nth));
        if now.is_empty() {
            ranks.extend(later.into_iter().map(|nth| vec![nth]));
            break;
        }
        ranks.push(now);
        left = later;
    }
    ranks
}

/// Validates the foreign keys of a table, and rejects the rows that refer to nothing.
pub async fn validate(client: &Client, work: &Work, nth: usize) -> Result<(), LoadError> {
    let table = &work.tables[nth];
    let began = Instant::now();
    let mut rejects = Rejects::new(&work.order.rejects, &format!("{}.orphans", table.name));
    let mut taken = None;
    run(client, "BEGIN", &table.name).await?;
    for key in &table.foreign_keys {
        let validate = format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", quoted(&table.name), quoted(&name(table, key)));
        run(client, "SAVEPOINT key", &table.name).await?;
        match run(client, &validate, &table.name).await {
            Err(error) if is(&error, &SqlState::FOREIGN_KEY_VIOLATION) => {
                run(client, "ROLLBACK TO SAVEPOINT key", &table.name).await?;
                let taken = match &mut taken {
                    Some(taken) => taken,
                    // Lines that are rejected already hold the same values, but are no rows.
                    None => taken.insert(
                        lines(&work.order.rejects, &table.name)
                            .map_err(|why| LoadError::Rejects { path: work.order.rejects.clone(), why })?,
                    ),
                };
                orphans(client, work, nth, key, &mut rejects, taken).await?;
                run(client, &validate, &table.name).await?;
            }
            other => other?,
        }
    }
    let orphans = rejects.count();
    if orphans > 0 {
        state::rejected(client, &table.name, orphans).await?;
        // What an earlier load wrote stands where this one found none: its rows are gone from the table as well.
        keep(&mut rejects)?;
    }
    run(client, "COMMIT", &table.name).await?;
    took(work, nth, began.elapsed());
    work.done(nth, |done| {
        done.table.loaded -= orphans;
        done.table.rejected += orphans;
    });
    Ok(())
}

/// Deletes the rows whose `key` refers to nothing, and rejects them.
async fn orphans(
    client: &Client,
    work: &Work,
    nth: usize,
    key: &ForeignKey,
    rejects: &mut Rejects,
    taken: &mut HashSet<u64>,
) -> Result<(), LoadError> {
    let table = &work.tables[nth];
    let (name, column) = (quoted(&table.name), quoted(&key.column));
    let (to, references) = (quoted(&key.table), quoted(&key.references));
    let delete = format!(
        "WITH gone AS (DELETE FROM {name} AS t WHERE t.{column} IS NOT NULL \
             AND NOT EXISTS (SELECT FROM {to} AS r WHERE r.{references} = t.{column}) \
             RETURNING ARRAY[t.{column}::text] AS key) \
         SELECT key, count(*) FROM gone GROUP BY key LIMIT $1"
    );
    let most = work.may_reject().saturating_add(1).min(i64::MAX as u64).cast_signed();
    let rows = client.query(&delete, &[&most]).await.doing(|| format!("{}: finding orphans", table.name))?;
    let rows: HashMap<Key, u64> = rows.iter().map(|row| (row.get(0), row.get::<_, i64>(1).cast_unsigned())).collect();
    if rows.values().sum::<u64>() > work.may_reject() {
        let last = Some((table.name.clone(), format!("{} refers to no row of {}", key.column, key.table)));
        return Err(LoadError::TooMany { limit: work.order.settings.max_rejects, last });
    }
    let wanted = Wanted {
        columns: vec![key.column.clone()],
        rows,
        skip_first: false,
        reason: format!("{} refers to no row of {}", key.column, key.table),
        not: taken.clone(),
    };
    let found = look_up(work, nth, wanted).await?;
    taken.extend(found.iter().filter_map(|reject| reject.line));
    work.reject(&table.name, rejects, &found)
}
