//! An apply conflict: a row that the publisher inserts is on the subscriber already, so that its worker fails with a
//! duplicate key, starts again and fails again, and nothing more is applied until somebody resolves it.
//!
//! A published row is taken away on the publisher, put back on the subscriber by somebody who should not write there,
//! and then inserted on the publisher again. It is resolved as an administrator would: the row is removed from the
//! subscriber, and a subscription that its error has disabled is enabled.

use super::disable_subscription::{enable, run, session};
use super::{FaultError, Reach, Undo};
use crate::cluster::logical::{Published, SubscriptionSpec, published};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// How long the subscriber may take to lose the row.
const APPLIED: Duration = Duration::from_secs(10);

/// Settings of [`super::Fault::ApplyConflict`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyConflict {
    /// Of which subscription.
    pub of: String,
    /// The table, which has a primary key.
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
        let (row, delete) = choose(&publisher, part)
            .await
            .map_err(sql)?
            .ok_or_else(|| failed(format!("{} has no row that is published, or no primary key", self.table)))?;
        let insert = format!("INSERT INTO {} SELECT ({}::{}).*", part.table, literal(&row), part.table);
        run(&publisher, &spec.from, &delete).await?;
        // Whatever happens from here on, the publisher has the row in the end.
        let there = async {
            gone(&subscriber, &spec, part, &row).await.map_err(&failed)?;
            run(&subscriber, &spec.to, &insert).await
        };
        let put = there.await;
        run(&publisher, &spec.from, &insert).await?;
        put.map(|()| Undo::Resolve(Conflict { spec, delete }))
    }
}

/// A published row, printed, and the statement that removes it.
async fn choose(client: &Client, part: &Published) -> Result<Option<(String, String)>, tokio_postgres::Error> {
    let key = "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a \
               ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]) \
               WHERE i.indrelid = $1::text::regclass AND i.indisprimary";
    let columns: Vec<String> = client.query(key, &[&part.table]).await?.iter().map(|row| row.get(0)).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let same: Vec<String> =
        columns.iter().map(|name| format!("'{}' || quote_literal(t.{})", ident(name) + " = ", ident(name))).collect();
    let filter = part.filter.as_deref().unwrap_or("true");
    let choose =
        format!("SELECT t::text, {} FROM {} AS t WHERE {filter} LIMIT 1", same.join(" || ' AND ' || "), part.table);
    let row = client.query_opt(&choose, &[]).await?;
    Ok(row.map(|row| (row.get(0), format!("DELETE FROM {} WHERE {}", part.table, row.get::<_, String>(1)))))
}

/// Waits until the subscriber has lost the row.
async fn gone(client: &Client, spec: &SubscriptionSpec, part: &Published, row: &str) -> Result<(), String> {
    let columns: Vec<String> = part.columns.iter().map(|name| ident(name)).collect();
    let columns = columns.join(", ");
    let there = format!(
        "SELECT EXISTS (SELECT FROM {0} WHERE ROW({columns}) = (SELECT ROW({columns}) FROM (SELECT ({1}::{0}).*) AS r))",
        part.table,
        literal(row)
    );
    let began = Instant::now();
    while began.elapsed() < APPLIED {
        let found = client.query_one(&there, &[]).await.map_err(|error| crate::pg::connect::in_words(&error))?;
        if !found.get::<_, bool>(0) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("`{}` had not applied a delete after {APPLIED:?}", spec.name))
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
