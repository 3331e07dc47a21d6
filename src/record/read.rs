//! Reading a results folder, finished or not.

use super::{EventRow, LockRow, Outline, Record, RecordError, SummaryRow, TrialRow};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

/// Reads the results folder `dir`. Of a run that was killed it gives the trials that are whole.
pub fn read(dir: &Path) -> Result<Record, RecordError> {
    let path = dir.join("run.json");
    let json = fs::read(&path).map_err(|source| RecordError::Read { path: path.clone(), source })?;
    let damaged = |error: serde_json::Error| RecordError::Damaged { path: path.clone(), what: error.to_string() };
    let manifest: super::Manifest = serde_json::from_slice(&json).map_err(damaged)?;
    let plan = Outline::deserialize(&manifest.plan).map_err(damaged)?;
    let trials: Vec<TrialRow> = rows(&dir.join("trials.csv"))?;
    let mut values: Vec<SummaryRow> = rows(&dir.join("summary.csv"))?;
    let mut events: Vec<EventRow> = rows(&dir.join("events.csv"))?;
    let mut locks: Vec<LockRow> = rows(&dir.join("lock_edges.csv"))?;
    let whole: HashSet<(&str, u32)> = trials.iter().map(|row| (row.variant.as_str(), row.trial)).collect();
    values.retain(|row| whole.contains(&(row.variant.as_str(), row.trial)));
    events.retain(|row| whole.contains(&(row.variant.as_str(), row.trial)));
    locks.retain(|row| whole.contains(&(row.variant.as_str(), row.trial)));
    Ok(Record { dir: dir.to_owned(), manifest, plan, trials, values, events, locks })
}

/// The rows of a CSV file, but for a last one that was torn by the death of its writer. No file, no rows.
fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RecordError::Read { path: path.to_owned(), source }),
    };
    let mut csv = csv::Reader::from_reader(text.as_slice());
    let mut rows = Vec::new();
    let mut wrong = None;
    for row in csv.deserialize() {
        if let Some(error) = wrong {
            return Err(damaged(path, &error));
        }
        match row {
            Ok(row) => rows.push(row),
            Err(error) => wrong = Some(error),
        }
    }
    match wrong {
        // Only the last row may be torn, and then the file does not end as a row does.
        Some(error) if text.last() == Some(&b'\n') => Err(damaged(path, &error)),
        _ => Ok(rows),
    }
}

fn damaged(path: &Path, error: &csv::Error) -> RecordError {
    RecordError::Damaged { path: path.to_owned(), what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_row_may_be_torn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trials.csv");
        let header = "run_id,variant,trial,position,started_at,status,reason\n";
        let row = "r,only,1,1,2026-01-01T00:00:00Z,ok,\n";
        let read = |text: String| {
            fs::write(&path, text).unwrap();
            rows::<TrialRow>(&path)
        };
        assert_eq!(read(format!("{header}{row}")).unwrap().len(), 1);
        assert_eq!(read(format!("{header}{row}r,only,2")).unwrap().len(), 1);
        let text = read(format!("{header}r,only,2\n{row}")).unwrap_err().to_string();
        assert!(text.contains("trials.csv is damaged") && text.contains("line: 2"), "{text}");
        assert!(read(format!("{header}{row}r,only\n")).is_err());
    }

    #[test]
    fn a_folder_that_is_none_says_so() {
        let text = read(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(text.starts_with("cannot read /nowhere/run.json: No such file"), "{text}");
        assert!(text.contains("\nhint: a results folder is"), "{text}");
    }
}
