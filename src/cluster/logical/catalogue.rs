//! What a publisher says that it publishes.

use crate::base::Name;
use tokio_postgres::{Client, Error};

/// A table of a publication, as `pg_publication_tables` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The table with its schema, quoted.
    pub table: String,
    /// Its name alone, as people say it.
    pub name: String,
    /// The columns that are published, in their order.
    pub columns: Vec<String>,
    /// The row filter in SQL, parenthesised.
    pub filter: Option<String>,
}

/// Versions before 15 know neither column lists nor row filters, and no columns for them; the publisher's are then all.
const TABLES: &str = "\
    SELECT format('%I.%I', p.schemaname, p.tablename), p.tablename::text, \
    (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a \
     WHERE a.attrelid = format('%I.%I', p.schemaname, p.tablename)::regclass AND a.attnum > 0 AND NOT a.attisdropped \
     AND a.attgenerated = '' AND (row->'attnames' IS NULL OR row->'attnames' ? a.attname::text)), \
    row->>'rowfilter' \
    FROM pg_publication_tables p, LATERAL to_jsonb(p) AS row WHERE p.pubname = ANY ($1::text[]) ORDER BY 1";

/// The tables of these publications on the server of `client`. A table that several of them publish comes as often.
pub async fn published(client: &Client, publications: &[Name]) -> Result<Vec<Published>, Error> {
    let rows = client.query(TABLES, &[&publications]).await?;
    let one = |row: &tokio_postgres::Row| {
        Ok(Published {
            table: row.try_get(0)?,
            name: row.try_get(1)?,
            columns: row.try_get::<_, Option<Vec<String>>>(2)?.unwrap_or_default(),
            filter: row.try_get(3)?,
        })
    };
    rows.iter().map(one).collect()
}

/// The rows that any of several publications of one table carries, in SQL; absent: all of them.
pub(super) fn any_of<'p>(parts: impl Iterator<Item = &'p Published>) -> Option<String> {
    let filters: Option<Vec<&str>> = parts.map(|part| part.filter.as_deref()).collect();
    filters.map(|filters| filters.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>().join(" OR "))
}
