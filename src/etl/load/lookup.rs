//! The lines of rows that the server refused, found by reading their file once more.

use super::error::LoadError;
use super::work::Work;
use crate::etl::rejects::Reject;
use crate::etl::source::Source;
use std::collections::{HashMap, HashSet};

/// Values of some columns, as text.
pub type Key = Vec<String>;

/// Rows that are looked for.
#[derive(Debug)]
pub struct Wanted {
    /// By these columns.
    pub columns: Vec<String>,
    /// How many rows there are of each value of these.
    pub rows: HashMap<Key, u64>,
    /// Whether the first row of each value is none of them.
    pub skip_first: bool,
    /// Why they are rejected.
    pub reason: String,
    /// Lines that are none of them.
    pub not: HashSet<u64>,
}

/// A reject for each row that is wanted: with its line where the file has it, and else with the values alone.
pub async fn look_up(work: &Work, nth: usize, wanted: Wanted) -> Result<Vec<Reject>, LoadError> {
    let table = &work.tables[nth];
    let place = |column: &String| table.columns.iter().position(|c| c.name == *column);
    let columns: Vec<usize> = wanted.columns.iter().filter_map(place).collect();
    let source = work.order.source.clone();
    let reading = tokio::task::spawn_blocking(move || search(&source, nth, &columns, wanted));
    let read = reading.await.map_err(|error| LoadError::Broken(format!("reading {} again: {error}", table.name)))?;
    read.map_err(|source| LoadError::Source { table: table.name.clone(), source })
}

fn search(
    source: &Source,
    nth: usize,
    columns: &[usize],
    mut wanted: Wanted,
) -> Result<Vec<Reject>, crate::etl::source::SourceError> {
    let mut found = Vec::new();
    let mut seen: HashSet<Key> = HashSet::new();
    let mut left: u64 = wanted.rows.values().sum();
    source.look(nth, columns, |line, key, row| {
        let Some(rows) = wanted.rows.get_mut(key).filter(|rows| **rows > 0) else { return left > 0 };
        if wanted.not.contains(&line) || (wanted.skip_first && seen.insert(key.clone())) {
            return true;
        }
        *rows -= 1;
        left -= 1;
        let reason = format!("{}: {}", wanted.reason, key.join(", "));
        found.push(Reject { line: Some(line), reason, row: row.to_vec() });
        left > 0
    })?;
    for (key, rows) in wanted.rows {
        let reject = Reject { line: None, reason: format!("{}: {}", wanted.reason, key.join(", ")), row: Vec::new() };
        found.extend(std::iter::repeat_n(reject, rows as usize));
    }
    Ok(found)
}
