//! Rows whose primary key another row has: all but the first are rejected. The server finds them, as it can sort what
//! does not fit into memory; their lines come from the file, which is read once more.

use super::error::{Doing, LoadError};
use super::lookup::{Key, Wanted, look_up};
use super::work::Work;
use crate::etl::rejects::Rejects;
use crate::etl::table::quoted;
use std::collections::HashMap;
use tokio_postgres::Client;

/// Deletes the duplicates of a table without its key, rejects them, and says how many they were.
///
/// In the order in which they were copied the first row of a key stays: with one stream that is the file's order.
pub async fn reject(client: &Client, work: &Work, nth: usize, rejects: &mut Rejects) -> Result<u64, LoadError> {
    let table = &work.tables[nth];
    let name = quoted(&table.name);
    let columns: Vec<String> = table.primary_key.iter().map(|column| quoted(column)).collect();
    let (keys, texts) = (columns.join(", "), columns.iter().map(|c| format!("t.{c}::text")).collect::<Vec<_>>());
    // As many as may be rejected, and one that is too many.
    let most = work.may_reject().saturating_add(1).min(i64::MAX as u64).cast_signed();
    let delete = format!(
        "WITH extra AS (SELECT at FROM (SELECT ctid AS at, row_number() OVER (PARTITION BY {keys} ORDER BY ctid) AS nth \
             FROM {name}) AS numbered WHERE nth > 1 LIMIT $1), \
         gone AS (DELETE FROM {name} AS t USING extra WHERE t.ctid = extra.at RETURNING ARRAY[{}] AS key) \
         SELECT key, count(*) FROM gone GROUP BY key",
        texts.join(", ")
    );
    let rows = client.query(&delete, &[&most]).await.doing(|| format!("{}: finding duplicates", table.name))?;
    let mut extra = HashMap::new();
    for row in rows {
        extra.insert(row.get::<_, Key>(0), row.get::<_, i64>(1).cast_unsigned());
    }
    let wanted = Wanted {
        columns: table.primary_key.clone(),
        rows: extra,
        // The first of each stays.
        skip_first: true,
        reason: format!("duplicate of ({})", table.primary_key.join(", ")),
        not: Default::default(),
    };
    let found = look_up(work, nth, wanted).await?;
    work.reject(&table.name, rejects, &found)?;
    Ok(found.len() as u64)
}
