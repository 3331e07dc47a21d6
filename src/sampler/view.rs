//! The statements that the sampler runs. Columns come from the catalogue of sampled fields and are
//! intersected with what the server has, so that a major version with other columns costs columns, never
//! a view.

use crate::metric::Field;
use crate::metric::sampled::{ASH, DATABASE, Kind, Measurement, POSITIONS, REPLICATION, SampledField, WAL};
use std::collections::BTreeMap;
use tokio_postgres::Row;

/// Columns of a view by name, with their types as `format_type` prints them.
pub(super) type Columns = BTreeMap<String, String>;

/// The views whose columns differ between versions.
pub(super) const VIEWS: [&Measurement; 3] = [&REPLICATION, &DATABASE, &WAL];

/// Name and columns of those views on this server.
pub(super) const CATALOGUE_SQL: &str = "\
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
    WHERE c.relnamespace = 'pg_catalog'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped \
    AND c.relname IN ('pg_stat_replication', 'pg_stat_database', 'pg_stat_wal')";

/// A walsender's state says nothing about load, and neither do sessions of ours; but loads are ours too.
const ASH_SQL: &str = "\
    SELECT state::text, coalesce(wait_event_type, 'CPU')::text, count(*)::int8 AS sessions \
    FROM pg_catalog.pg_stat_activity \
    WHERE state IS NOT NULL AND backend_type <> 'walsender' AND pid <> pg_backend_pid() \
    AND application_name NOT LIKE 'pgbench-rs %' \
    AND (application_name NOT LIKE 'pgbr-%' OR application_name LIKE 'pgbr-load%') \
    GROUP BY 1, 2";

const POSITIONS_SQL: &str = "\
    SELECT r AS in_recovery, \
    CASE WHEN NOT r THEN (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8 END AS current_lsn_bytes, \
    CASE WHEN r THEN (pg_last_wal_receive_lsn() - '0/0'::pg_lsn)::int8 END AS received_lsn_bytes, \
    CASE WHEN r THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8 END AS replayed_lsn_bytes, \
    CASE WHEN r THEN pg_is_wal_replay_paused() END AS replay_paused, \
    extract(epoch FROM pg_postmaster_start_time())::float8 AS postmaster_start_seconds \
    FROM pg_is_in_recovery() AS r";

/// A statement and what its columns are: first the tags, then the fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) name: &'static str,
    pub(super) sql: String,
    tags: &'static [&'static str],
    fields: Vec<(&'static str, Kind)>,
}

/// A row: its tags and fields; what was NULL is absent.
pub(super) type Read = (Vec<(&'static str, String)>, Vec<(&'static str, Field)>);

impl View {
    /// `pg_ash`.
    pub(super) fn ash() -> View {
        View::whole(&ASH, ASH_SQL)
    }

    /// `pg_replication`.
    pub(super) fn positions() -> View {
        View::whole(&POSITIONS, POSITIONS_SQL)
    }

    fn whole(of: &'static Measurement, sql: &str) -> View {
        let fields = of.fields.iter().map(|field| (field.name, field.kind)).collect();
        View { name: of.name, sql: sql.into(), tags: of.tags, fields }
    }

    /// One of [`VIEWS`] with the fields that this server has, and the names (`view.column`) of those that it
    /// has not. No view when there is nothing left to read.
    pub(super) fn of(wanted: &'static Measurement, has: &Columns) -> (Option<View>, Vec<String>) {
        let (present, absent): (Vec<&SampledField>, Vec<_>) =
            wanted.fields.iter().partition(|field| has.contains_key(field.name));
        let absent = absent.iter().map(|field| format!("{}.{}", wanted.name, field.name)).collect();
        if present.is_empty() {
            return (None, absent);
        }
        let tags = wanted.tags.iter().map(|tag| format!("{tag}::text"));
        let fields = present.iter().map(|field| format!("{} AS {}", expression(field, &has[field.name]), field.name));
        let list = tags.chain(fields).collect::<Vec<_>>().join(", ");
        let name = wanted.name;
        let sql = if name == REPLICATION.name {
            // A sender that has not yet noticed its standby's death may linger beside the new one.
            format!(
                "SELECT DISTINCT ON (application_name) {list} FROM pg_catalog.{name} \
                 ORDER BY application_name, backend_start DESC, pid DESC"
            )
        } else if name == DATABASE.name {
            format!("SELECT {list} FROM pg_catalog.{name} WHERE datname = current_database()")
        } else {
            format!("SELECT {list} FROM pg_catalog.{name}")
        };
        let fields = present.iter().map(|field| (field.name, field.kind)).collect();
        (Some(View { name, sql, tags: wanted.tags, fields }), absent)
    }

    /// Reads a row of this statement.
    pub(super) fn read(&self, row: &Row) -> Result<Read, tokio_postgres::Error> {
        let mut tags = Vec::with_capacity(self.tags.len());
        for (i, tag) in self.tags.iter().enumerate() {
            tags.extend(row.try_get::<_, Option<String>>(i)?.map(|text| (*tag, text)));
        }
        let mut fields = Vec::with_capacity(self.fields.len());
        for (i, (name, kind)) in (self.tags.len()..).zip(&self.fields) {
            let field = match kind {
                Kind::Counter | Kind::Gauge => row.try_get::<_, Option<i64>>(i)?.map(Field::Int),
                Kind::Total | Kind::Real => row.try_get::<_, Option<f64>>(i)?.map(Field::Float),
                Kind::Truth => row.try_get::<_, Option<bool>>(i)?.map(Field::Bool),
                Kind::Text => row.try_get::<_, Option<String>>(i)?.map(Field::Text),
            };
            fields.extend(field.map(|field| (*name, field)));
        }
        Ok((tags, fields))
    }
}

/// The column in the type that its field has for ever, whatever this server's type is.
fn expression(field: &SampledField, column_type: &str) -> String {
    let column = field.name;
    match (field.kind, column_type) {
        (Kind::Counter | Kind::Gauge, "pg_lsn") => format!("({column} - '0/0'::pg_lsn)::int8"),
        (Kind::Counter | Kind::Gauge, _) => format!("{column}::int8"),
        (Kind::Total | Kind::Real, "interval" | "timestamp with time zone") => {
            format!("extract(epoch FROM {column})::float8")
        }
        (Kind::Total | Kind::Real, _) => format!("{column}::float8"),
        (Kind::Truth, _) => format!("{column}::bool"),
        (Kind::Text, _) => format!("{column}::text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(list: &[(&str, &str)]) -> Columns {
        list.iter().map(|(name, kind)| (name.to_string(), kind.to_string())).collect()
    }

    #[test]
    fn a_column_that_the_server_lacks_costs_that_column() {
        let has = columns(&[
            ("wal_records", "bigint"),
            ("wal_bytes", "numeric"),
            ("stats_reset", "timestamp with time zone"),
        ]);
        let (view, absent) = View::of(&WAL, &has);
        assert_eq!(
            view.unwrap().sql,
            "SELECT wal_records::int8 AS wal_records, wal_bytes::int8 AS wal_bytes, \
             extract(epoch FROM stats_reset)::float8 AS stats_reset FROM pg_catalog.pg_stat_wal"
        );
        assert_eq!(absent.len(), WAL.fields.len() - 3);
        assert!(absent.contains(&"pg_stat_wal.wal_sync".to_owned()));
    }

    #[test]
    fn a_view_that_the_server_lacks_is_not_asked_for() {
        let (view, absent) = View::of(&WAL, &Columns::new());
        assert_eq!(view, None);
        assert_eq!(absent.len(), WAL.fields.len());
    }

    #[test]
    fn lsns_and_lags_become_numbers() {
        let has = columns(&[("sent_lsn", "pg_lsn"), ("write_lag", "interval"), ("state", "text")]);
        let sql = View::of(&REPLICATION, &has).0.unwrap().sql;
        let start = "SELECT DISTINCT ON (application_name) application_name::text, state::text AS state, \
                     (sent_lsn - '0/0'::pg_lsn)::int8 AS sent_lsn, extract(epoch FROM write_lag)::float8 AS write_lag FROM";
        assert!(sql.starts_with(start), "{sql}");
    }

    #[test]
    fn fixed_statements_name_the_catalogues_fields_in_order() {
        for (view, measurement) in [(View::ash(), &ASH), (View::positions(), &POSITIONS)] {
            let mut rest = view.sql.as_str();
            for field in measurement.fields {
                let name = format!(" AS {}", field.name);
                let at = rest.find(&name).unwrap_or_else(|| panic!("{} not in order in {}", field.name, view.sql));
                rest = &rest[at + name.len()..];
            }
        }
    }
}
