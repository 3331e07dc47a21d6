//! An apply conflict: a row that the publisher inserts is on the subscriber already, so that its worker fails with a
//! duplicate key, starts again and fails again, and nothing more is applied until somebody resolves it.
//!
//! Somebody who should not write there puts a row with a new key on the subscriber, and then the publisher gets the same.
//! It is resolved as an administrator would: the row is removed from the subscriber, and a subscription that its error
//! has disabled is enabled.

use super::disable_subscription::{enable, run, session};
use super::{FaultError, Reach, Undo};
use crate::cluster::logical::{Published, SubscriptionSpec, published};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

/// How far beyond the largest key the new one is, so that no row of the load gets it.
const BEYOND: i64 = 1_000_000;

/// Settings of [`super::Fault::ApplyConflict`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyConflict {
    /// Of which subscription.
    pub of: String,
    /// The table, whose primary key is one column of whole numbers.
    pub table: String,
}

/// A row that is on both sides.
#[derive(Clone, Debug)]
pub struct Conflict {
    spec: SubscriptionSpec,
    /// Removes it.
    delete: String,
}

impl ApplyConflict {
    pub(super) async fn inject(&self, spec: SubscriptionSpec, reach: &Reach) -> Result<Undo, FaultError> {
        let publisher = session(&spec.from, reach).await?;
        let subscriber = session(&spec.to, reach).await?;
        let failed = |why: String| FaultError::failed("cannot make a conflict on", &spec.to, why);
        let sql = |error: tokio_postgres::Error| failed(crate::pg::connect::in_words(&error));
        let parts = published(&publisher, &spec.publications).await.map_err(sql)?;
        let part = parts.iter().find(|part| part.name == self.table);
        let part = part.ok_or_else(|| failed(format!("its publications have no table {}", self.table)))?;
        let (row, delete) = choose(&publisher, part).await.map_err(sql)?.ok_or_else(|| {
            failed(format!("{} has no row that is published, or no primary key of one column", self.table))
        })?;
        let insert = format!("INSERT INTO {} SELECT ({}::{}).*", part.table, literal(&row), part.table);
        run(&subscriber, &spec.to, &insert).await?;
        match run(&publisher, &spec.from, &insert).await {
            Ok(()) => Ok(Undo::Resolve(Conflict { spec, delete })),
            Err(error) => {
                run(&subscriber, &spec.to, &delete).await?;
                Err(error)
            }
        }
    }
}

/// A published row with a new key, printed, and the statement that removes it.
async fn choose(client: &Client, part: &Published) -> Result<Option<(String, String)>, tokio_postgres::Error> {
    let key = "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a \
               ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]) \
               WHERE i.indrelid = $1::text::regclass AND i.indisprimary";
    let columns: Vec<String> = client.query(key, &[&part.table]).await?.iter().map(|row| row.get(0)).collect();
    let [column] = columns.as_slice() else { return Ok(None) };
    let (table, key, filter) = (&part.table, ident(column), part.filter.as_deref().unwrap_or("true"));
    let choose = format!(
        "SELECT jsonb_populate_record(t, jsonb_build_object($1::text, new.key))::text, new.key \
         FROM {table} AS t, (SELECT max({key})::int8 + {BEYOND} AS key FROM {table}) AS new WHERE {filter} LIMIT 1"
    );
    let row = client.query_opt(&choose, &[column]).await?;
    Ok(row.map(|row| (row.get(0), format!("DELETE FROM {table} WHERE {key} = {}", row.get::<_, i64>(1)))))
}

/// Removes the row from the subscriber and lets the subscription go on.
pub(super) async fn resolve(conflict: &Conflict, reach: &Reach) -> Result<(), FaultError> {
    let Conflict { spec, delete } = conflict;
    run(&session(&spec.to, reach).await?, &spec.to, delete).await?;
    enable(spec, reach).await
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
