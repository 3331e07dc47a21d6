//! Where the source stood before a clone was asked for.

use crate::clone::error::SourceError;
use crate::clone::source::Source;
use crate::pg::Lsn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// A table to which rows with ever higher numbers are added, and of which none is taken away: the ledger's, a
/// heartbeat's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// The table, as SQL names it.
    pub table: String,
    /// The column with the number, a whole one.
    pub number: String,
    /// The column that says whose number it is, when several count each for itself.
    #[serde(default)]
    pub of: Option<String>,
}

/// Where the source stood. Everything up to it had been acknowledged and should be in a clone that is asked for later.
#[derive(Clone, Debug)]
pub struct Mark {
    /// What had been flushed to the WAL; of a standby, what had been replayed.
    pub lsn: Lsn,
    /// The source's clock.
    pub at: jiff::Timestamp,
    rows: Option<(Watermark, Rows)>,
}

/// Whose numbers: the highest one, and how many there are.
type Rows = BTreeMap<String, (i64, i64)>;

impl Watermark {
    fn question(&self) -> String {
        let Watermark { table, number, of } = self;
        let of = of.as_ref().map_or_else(|| "''".to_owned(), |of| format!("coalesce({of}::text, '')"));
        format!("SELECT {of}, max({number})::bigint, count(*) FROM {table} GROUP BY 1")
    }

    /// How many rows of `whose` there are up to a number.
    fn below(&self) -> String {
        let Watermark { table, number, of } = self;
        let of = of.as_ref().map_or_else(|| "$2 = ''".to_owned(), |of| format!("coalesce({of}::text, '') = $2"));
        format!("SELECT count(*) FROM {table} WHERE {number} <= $1 AND {of}")
    }
}

impl Mark {
    /// Asks the source where it stands.
    pub async fn take(source: &Source, watermark: Option<&Watermark>) -> Result<Mark, SourceError> {
        let client = source.connect().await?;
        let failed = |what| {
            let node = source.name.clone();
            move |source| SourceError::Sql { node, what, source }
        };
        let rows = match watermark {
            None => None,
            Some(watermark) => {
                let rows =
                    client.query(&watermark.question(), &[]).await.map_err(failed("asking for the watermark"))?;
                Some((watermark.clone(), rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()))
            }
        };
        // Afterwards, so that the rows are surely below it.
        let question = "SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0'::pg_lsn) \
                        ELSE pg_current_wal_flush_lsn() END::text, \
                        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let row = client.query_one(question, &[]).await.map_err(failed("asking where it stands"))?;
        let at = jiff::Timestamp::from_microsecond(row.get(1)).unwrap_or_default();
        Ok(Mark { lsn: row.get::<_, String>(0).parse().unwrap_or_default(), at, rows })
    }

    /// How many of the rows that were there are not in the database of `clone`; absent without a watermark.
    pub(super) async fn lost(&self, clone: &Client) -> Result<Option<u64>, tokio_postgres::Error> {
        let Some((watermark, rows)) = &self.rows else { return Ok(None) };
        let mut lost = 0;
        for (whose, (highest, count)) in rows {
            let found: i64 = clone.query_one(&watermark.below(), &[highest, whose]).await?.get(0);
            lost += u64::try_from(count - found).unwrap_or(0);
        }
        Ok(Some(lost))
    }
}

/// What a server said that could not do what it was asked.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    crate::pg::connect::in_words(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let ledger = Watermark { table: "ledger".into(), number: "seq".into(), of: Some("writer".into()) };
        assert_eq!(
            ledger.question(),
            "SELECT coalesce(writer::text, ''), max(seq)::bigint, count(*) FROM ledger GROUP BY 1"
        );
        let beats = Watermark { table: "beats".into(), number: "n".into(), of: None };
        assert_eq!(beats.below(), "SELECT count(*) FROM beats WHERE n <= $1 AND $2 = ''");
    }
}
