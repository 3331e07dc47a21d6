//! Reading a table on both servers and naming the first rows that differ.
//!
//! Rows are dealt into buckets by a hash of their key. Each server counts a bucket's rows and adds up their hashes, which
//! no order of rows changes; only buckets that differ are read row by row.

use super::Compared;
use crate::base::Name;
use crate::cluster::logical::{Published, published};
use crate::pg::connect::{connect, in_words};
use crate::pg::{Host, Login};
use crate::probe::stream::{By, Stream};
use crate::probe::{ledger, visibility};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Client;

/// Longest time for connecting.
const CONNECT: Duration = Duration::from_secs(5);
/// Buckets that are read row by row, and keys that are named, of each table.
const BUCKETS_READ: usize = 4;
const KEYS_NAMED: usize = 5;

/// Sessions that print every value alike, whatever their server's settings are.
const ALIKE: &str = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; \
                     SET extra_float_digits = 1; SET bytea_output = 'hex'";

/// All ordinary tables of users, with all their columns.
const EVERYTHING: &str = "\
    SELECT format('%I.%I', n.nspname, c.relname), c.relname::text, \
    (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a \
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1";

/// Columns of a table's primary key in their order.
const KEY: &str = "\
    SELECT array_agg(a.attname::text ORDER BY k.position) FROM pg_index i \
    CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position) \
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
    WHERE i.indrelid = $1::text::regclass AND i.indisprimary";

/// Rows and checksum by bucket.
type Sums = BTreeMap<i32, (i64, String)>;

/// A table as one stream brings it.
struct Table {
    table: String,
    name: String,
    columns: Vec<String>,
    key: Vec<String>,
    /// Of the source: the rows that are brought; absent: all.
    filter: Option<String>,
    /// Of the target: the rows that are compared; absent: all, for nobody else brings any.
    own: Option<String>,
}

/// Compares what the streams to one node bring there with what their source has; `others` are all other streams to it.
/// An error is one of reading, in words.
pub async fn compare(
    stream: &Stream,
    others: &[Stream],
    (from, to): (&Host, &Host),
    login: &Login,
) -> Result<Compared, String> {
    let (source, target) = (session(from, login).await?, session(to, login).await?);
    let mut compared = Compared::default();
    for table in tables(stream, others, &source).await.map_err(|error| in_words(&error))? {
        let said = |error: tokio_postgres::Error| format!("table {}: {}", table.name, in_words(&error));
        let wanted = table.sums(&source, table.filter.as_deref()).await.map_err(said)?;
        let found = table.sums(&target, table.own.as_deref()).await.map_err(said)?;
        let count = |sums: &Sums| sums.values().map(|(rows, _)| *rows as u64).sum::<u64>();
        compared.rows += count(&wanted);
        if wanted != found {
            let keys = table.differing(&source, &target, (&wanted, &found)).await.map_err(said)?;
            compared.differences.push(format!(
                "{} differs: {} rows on {}, {} on {}; {keys}",
                table.name,
                count(&wanted),
                from.node,
                count(&found),
                to.node
            ));
        }
    }
    Ok(compared)
}

async fn session(host: &Host, login: &Login) -> Result<Client, String> {
    let client = connect(host, login, CONNECT).await.map_err(|error| error.to_string())?;
    client.batch_execute(ALIKE).await.map_err(|error| in_words(&error))?;
    Ok(client)
}

async fn tables(stream: &Stream, others: &[Stream], source: &Client) -> Result<Vec<Table>, tokio_postgres::Error> {
    let By::Subscription { publications, .. } = &stream.by else {
        let rows = source.query(EVERYTHING, &[]).await?;
        let mut tables = Vec::new();
        for row in rows {
            let (table, name, columns): (String, String, Option<Vec<String>>) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let key = key(source, &table).await?;
            tables.push(Table { table, name, columns: columns.unwrap_or_default(), key, filter: None, own: None });
        }
        return Ok(tables);
    };
    let mut brought: BTreeMap<String, Vec<Published>> = BTreeMap::new();
    // Rows of the probes come on by ways of their own.
    let is_probe = |name: &str| [visibility::TABLE, ledger::TABLE].contains(&name);
    for part in published(source, publications).await?.into_iter().filter(|part| !is_probe(&part.name)) {
        brought.entry(part.table.clone()).or_default().push(part);
    }
    let mut shared = Vec::new();
    for other in others {
        if let By::Subscription { publications, .. } = &other.by {
            // On another publisher the same names may stand for other things; then rows are told apart by the filter.
            let theirs = if other.from == stream.from { published(source, publications).await? } else { Vec::new() };
            shared.push((other.from == stream.from, theirs));
        }
    }
    let mut tables = Vec::new();
    for (table, parts) in brought {
        let filter = filter_of(&parts);
        let alone = shared.iter().all(|(same, theirs)| *same && !theirs.iter().any(|part| part.table == table));
        let key = key(source, &table).await?;
        let Some(first) = parts.into_iter().next() else { continue };
        let own = if alone { None } else { filter.clone() };
        tables.push(Table { table, name: first.name, columns: first.columns, key, filter, own });
    }
    Ok(tables)
}

/// The rows that any of the publications of one table carries.
fn filter_of(parts: &[Published]) -> Option<String> {
    let filters: Option<Vec<String>> =
        parts.iter().map(|part| part.filter.as_ref().map(|f| format!("({f})"))).collect();
    filters.map(|filters| filters.join(" OR "))
}

async fn key(client: &Client, table: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let row = client.query_one(KEY, &[&table]).await?;
    Ok(row.try_get::<_, Option<Vec<Name>>>(0)?.unwrap_or_default())
}

impl Table {
    fn row(&self) -> String {
        format!("ROW({})::text", list(&self.columns))
    }

    /// What a row is told by: its key, or all of it.
    fn name(&self) -> String {
        if self.key.is_empty() { self.row() } else { format!("ROW({})::text", list(&self.key)) }
    }

    fn from(&self, filter: Option<&str>) -> String {
        let only = filter.map_or_else(String::new, |filter| format!(" WHERE {filter}"));
        format!("FROM {}{only}", self.table)
    }

    /// Count and checksum of each bucket.
    async fn sums(&self, client: &Client, filter: Option<&str>) -> Result<Sums, tokio_postgres::Error> {
        let (name, row, from) = (self.name(), self.row(), self.from(filter));
        let sql = format!(
            "SELECT (hashtextextended({name}, 0) & 1023)::int4, count(*), sum(hashtextextended({row}, 0)::numeric)::text \
             {from} GROUP BY 1"
        );
        let rows = client.query(&sql, &[]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
    }

    /// Names the first rows that differ, in the order of their keys, of the first buckets that do.
    async fn differing(
        &self,
        source: &Client,
        target: &Client,
        (wanted, found): (&Sums, &Sums),
    ) -> Result<String, tokio_postgres::Error> {
        let all = wanted.keys().chain(found.keys());
        let mut buckets: Vec<i32> = all.filter(|bucket| wanted.get(bucket) != found.get(bucket)).copied().collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets.truncate(BUCKETS_READ);
        let here = self.rows(source, self.filter.as_deref(), &buckets).await?;
        let there = self.rows(target, self.own.as_deref(), &buckets).await?;
        Ok(in_words_of(&here, &there))
    }

    async fn rows(
        &self,
        client: &Client,
        filter: Option<&str>,
        buckets: &[i32],
    ) -> Result<Vec<(String, String)>, tokio_postgres::Error> {
        let (name, row) = (self.name(), self.row());
        let bucket = format!("(hashtextextended({name}, 0) & 1023)::int4 = ANY ($1)");
        let only = filter.map_or_else(|| bucket.clone(), |filter| format!("({filter}) AND {bucket}"));
        let order = if self.key.is_empty() { "1".to_owned() } else { list(&self.key) };
        let sql = format!("SELECT {name}, md5({row}) {} ORDER BY {order}", self.from(Some(&only)));
        let rows = client.query(&sql, &[&buckets]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

fn list(columns: &[String]) -> String {
    let quoted: Vec<String> = columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    quoted.join(", ")
}

/// `missing: (5), (7); other: (9)`.
fn in_words_of(here: &[(String, String)], there: &[(String, String)]) -> String {
    let mut left: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, row) in there {
        left.entry(key).or_default().push(row);
    }
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for (key, row) in here {
        match left.get_mut(key.as_str()).and_then(Vec::pop) {
            None => missing.push(key.as_str()),
            Some(theirs) if theirs != row => other.push(key.as_str()),
            Some(_) => {}
        }
    }
    let surplus: Vec<&str> = there
        .iter()
        .map(|(key, _)| key.as_str())
        .filter(|key| left.get_mut(key).and_then(Vec::pop).is_some())
        .collect();
    let said = [("missing", missing), ("with other values", other), ("that the source does not have", surplus)];
    let words = said.into_iter().filter(|(_, keys)| !keys.is_empty()).map(|(what, keys)| {
        let more = if keys.len() > KEYS_NAMED { " and more" } else { "" };
        format!("{what}: {}{more}", keys[..keys.len().min(KEYS_NAMED)].join(", "))
    });
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_in_the_order_of_keys() {
        let rows =
            |all: &[(&str, &str)]| all.iter().map(|(k, r)| ((*k).to_owned(), (*r).to_owned())).collect::<Vec<_>>();
        let here = rows(&[("(1)", "a"), ("(2)", "b"), ("(3)", "c")]);
        assert_eq!(in_words_of(&here, &here), "");
        let there = rows(&[("(1)", "a"), ("(3)", "x"), ("(9)", "y")]);
        assert_eq!(
            in_words_of(&here, &there),
            "missing: (2); with other values: (3); that the source does not have: (9)"
        );
        let twice = rows(&[("(a)", "a"), ("(a)", "a")]);
        assert_eq!(in_words_of(&twice, &twice[..1]), "missing: (a)", "a table without a key may have equal rows");
    }
}
