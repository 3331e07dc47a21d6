//! The statements that the sampler runs: what is [wanted](super::wanted) intersected with what the server has, so that a
//! major version with other columns costs columns, never a view.

use super::wanted::{Group, Shape, WANTED, Wanted};
use crate::metric::Field;
use crate::metric::sampled::{Kind, SampledField};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;

/// A view of the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// Its schema, quoted.
    pub(super) schema: String,
    /// Its columns by name, with their types as `format_type` prints them.
    pub(super) columns: BTreeMap<String, String>,
}

/// What a server has, by name of the view.
pub(super) type Has = BTreeMap<String, Known>;

/// Schema, name and columns of the statistics views of this server. An extension's view is in a schema of its own.
pub(super) const CATALOGUE_SQL: &str = "\
    SELECT quote_ident(n.nspname), c.relname::text, a.attname::text, format_type(a.atttypid, NULL) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
    WHERE c.relkind = 'v' AND a.attnum > 0 AND NOT a.attisdropped \
    AND (n.nspname = 'pg_catalog' AND (c.relname LIKE 'pg\\_stat%' OR c.relname IN ('pg_replication_slots', 'pg_locks')) \
    OR c.relname = 'pg_stat_statements' AND EXISTS \
    (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = c.relname AND e.extnamespace = n.oid))";

/// A statement and what its columns are: first the tags, then the fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) name: &'static str,
    pub(super) group: Group,
    pub(super) sql: String,
    tags: &'static [&'static str],
    fields: Vec<(&'static str, Kind)>,
}

/// A row: its tags and fields; what was NULL is absent.
pub(super) type Read = (Vec<(&'static str, String)>, Vec<(&'static str, Field)>);

impl View {
    /// What is wanted with what this server has of it, and the names of what it has not: `view.column`, or the view
    /// when there is nothing of it. `relations` is an expression for the oids of the tables that are of interest.
    pub(super) fn of(wanted: &Wanted, has: &Has, relations: &str) -> (Option<View>, Vec<String>) {
        let of = wanted.of;
        let view = |sql, fields| View { name: of.name, group: wanted.group, sql, tags: of.tags, fields };
        if let Shape::Whole(sql) = wanted.shape {
            let fields = of.fields.iter().map(|field| (field.name, field.kind)).collect();
            return (Some(view(sql.replace("RELATIONS", relations), fields)), Vec::new());
        }
        let found = wanted.views().iter().find_map(|name| Some((*name, has.get(*name)?)));
        let Some((name, known)) = found else { return (None, vec![of.name.to_owned()]) };
        let mut absent = Vec::new();
        let mut list = tags(wanted);
        let mut fields = Vec::new();
        for field in of.fields {
            match field.sources().find(|source| columns(source).all(|column| known.columns.contains_key(column))) {
                Some(source) => {
                    let column_type = known.columns.get(source).map_or("", String::as_str);
                    let expression = expression(field, source, column_type, wanted.fold());
                    list.push(format!("{expression} AS {}", field.name));
                    fields.push((field.name, field.kind));
                }
                None => absent.push(format!("{}.{}", of.name, field.name)),
            }
        }
        if fields.is_empty() {
            return (None, vec![of.name.to_owned()]);
        }
        let from = format!("{}.{name}", known.schema);
        let sql = statement(wanted, &list.join(", "), &from).replace("RELATIONS", relations);
        (Some(view(sql, fields)), absent)
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

/// The columns of sampled views that the catalogue does not know, as `view.column`: those of a version that came later.
pub(super) fn unknown(has: &Has) -> BTreeSet<String> {
    let mut known: BTreeSet<(&str, &str)> = BTreeSet::new();
    for wanted in WANTED {
        let Some(view) = wanted.views().iter().find(|view| has.contains_key(**view)) else { continue };
        let tags = wanted.of.tags.iter().chain(wanted.tags).copied();
        let sources = wanted.of.fields.iter().flat_map(SampledField::sources).chain(tags);
        known.extend(sources.flat_map(columns).chain(wanted.left_out.iter().copied()).map(|column| (*view, column)));
    }
    let views: BTreeSet<&str> = known.iter().map(|(view, _)| *view).collect();
    let all = has.iter().filter(|(view, _)| views.contains(view.as_str()));
    let all = all.flat_map(|(view, known)| known.columns.keys().map(move |column| (view.as_str(), column.as_str())));
    all.filter(|column| !known.contains(column)).map(|(view, column)| format!("{view}.{column}")).collect()
}

impl Wanted {
    /// The aggregate that makes one of several rows.
    fn fold(&self) -> Option<&'static str> {
        match self.shape {
            Shape::Folded(fold, _) => Some(fold),
            Shape::Top(_) => Some("sum"),
            Shape::Rows(_) | Shape::First(_) | Shape::Whole(_) => None,
        }
    }
}

/// The expressions of the tags.
fn tags(wanted: &Wanted) -> Vec<String> {
    let expressions = if wanted.tags.is_empty() { wanted.of.tags } else { wanted.tags };
    expressions.iter().map(|tag| format!("{tag}::text")).collect()
}

fn statement(wanted: &Wanted, list: &str, from: &str) -> String {
    let tags = wanted.of.tags.len();
    let grouped = (1..=tags).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let sql = match wanted.shape {
        Shape::Rows(tail) => format!("SELECT {list} FROM {from} {tail}"),
        Shape::First(order) => {
            let tags = wanted.of.tags.join(", ");
            format!("SELECT DISTINCT ON ({tags}) {list} FROM {from} ORDER BY {tags}, {order}")
        }
        Shape::Folded(_, tail) => format!("SELECT {list} FROM {from} {tail} GROUP BY {grouped}"),
        Shape::Top(n) => format!(
            "SELECT {list} FROM (SELECT *, CASE WHEN row_number() OVER (ORDER BY total_exec_time DESC, queryid) <= {n} \
             THEN queryid::text ELSE 'other' END AS top FROM {from}(false) \
             WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) AS statements \
             GROUP BY top"
        ),
        Shape::Whole(sql) => sql.to_owned(),
    };
    sql.trim_end().to_owned()
}

/// The columns in an expression: its words in lower case that are no functions.
fn columns(expression: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression.split_inclusive(move |c| !is_word(c)).filter_map(move |piece| {
        let word = piece.trim_end_matches(|c| !is_word(c));
        let is_column = word.starts_with(|c: char| c.is_ascii_lowercase()) && !piece.ends_with('(');
        is_column.then_some(word)
    })
}

/// The source in the type that its field has for ever, whatever this server's type is.
fn expression(field: &SampledField, source: &str, column_type: &str, fold: Option<&str>) -> String {
    let inner = match (field.kind, column_type) {
        (Kind::Counter | Kind::Gauge, "pg_lsn") => format!("({source} - '0/0'::pg_lsn)"),
        (Kind::Total | Kind::Real, "interval" | "timestamp with time zone") => format!("extract(epoch FROM {source})"),
        // A computed one.
        (_, "") => format!("({source})"),
        _ => source.to_owned(),
    };
    let folded = match fold {
        // It counts the rows itself.
        Some(_) if source.starts_with("count(") => inner,
        Some(fold) => format!("{fold}({inner})"),
        None => inner,
    };
    let to = match field.kind {
        Kind::Counter | Kind::Gauge => "int8",
        Kind::Total | Kind::Real => "float8",
        Kind::Truth => "bool",
        Kind::Text => "text",
    };
    format!("{folded}::{to}")
}

#[cfg(test)]
mod tests;
