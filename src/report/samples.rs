//! `metrics.lp.gz`, read back.

use crate::record::RecordError;
use flate2::read::MultiGzDecoder;
use influxdb_line_protocol::{FieldValue, ParsedLine, parse_lines};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

/// Calls `each` with every point of the results folder `dir`; no file, no points. A file that its writer did not end is
/// read as far as it goes.
pub(super) fn lines(
    dir: &Path,
    mut each: impl FnMut(&ParsedLine<'_>) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let path = &dir.join("metrics.lp.gz");
    let failed = |source| RecordError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut from = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
    let mut line = String::new();
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        match from.read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // The writer was killed: what it had not flushed is not there.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        for parsed in parse_lines(&line) {
            match parsed {
                Ok(parsed) => each(&parsed)?,
                Err(_) if !line.ends_with('\n') => return Ok(()),
                Err(error) => {
                    let what = format!("line {number}: {error}");
                    return Err(RecordError::Damaged { path: path.to_owned(), what });
                }
            }
        }
    }
}

/// A tag's value; empty where there is none.
pub(super) fn tag(line: &ParsedLine<'_>, name: &str) -> String {
    line.tag_value(name).map_or_else(String::new, ToString::to_string)
}

/// A field as a number; none of text and truth values.
pub(super) fn number(line: &ParsedLine<'_>, name: &str) -> Option<f64> {
    match line.field_value(name)? {
        FieldValue::I64(value) => Some(*value as f64),
        FieldValue::U64(value) => Some(*value as f64),
        FieldValue::F64(value) => Some(*value),
        FieldValue::String(_) | FieldValue::Boolean(_) => None,
    }
}
