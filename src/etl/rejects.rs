//! Rows that are not loaded: one file of them for each table and pass, so that a rerun of a table replaces what it said
//! before.
//!
//! ```text
//! DIR/title_akas.tsv          line, reason, row         what is no row of the table, and duplicates
//! DIR/title_akas.orphans.tsv                            what refers to rows that are not there
//! ```
//!
//! Tabs, line ends, backslashes and bytes that are no UTF-8 stand in the row as `\t`, `\n`, `\r`, `\\` and `\xHH`, so that it
//! can be had back to the byte.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A row that is not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its line in the file, from 1; absent for rows that come from no file.
    pub line: Option<u64>,
    /// Why.
    pub reason: String,
    /// As it stands in the file, without its line end.
    pub row: Vec<u8>,
}

/// Why a line is no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Too few or too many columns.
    #[error("{found} columns instead of {wanted}")]
    Columns {
        /// So many.
        found: usize,
        /// So many should be.
        wanted: usize,
    },
    /// A field that its column cannot have.
    #[error("{column} is no {wanted}: {found}")]
    Field {
        /// The header's word for it.
        column: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What it is, shortened.
        found: String,
    },
    /// Null in the primary key.
    #[error("{0} is null, and of the primary key")]
    NullKey(&'static str),
    /// Bytes that are no UTF-8.
    #[error("no UTF-8 at byte {0} of the line")]
    Utf8(usize),
    /// U+0000, which PostgreSQL's text cannot hold.
    #[error("a zero byte")]
    Zero,
}

impl Wrong {
    /// Of a field that is not what its column wants.
    pub fn field(column: &'static str, wanted: &'static str, field: &[u8]) -> Wrong {
        Wrong::Field { column, wanted, found: String::from_utf8_lossy(field).chars().take(60).collect() }
    }

    /// Whether a line is text as PostgreSQL has it.
    pub fn check(line: &[u8]) -> Result<(), Wrong> {
        std::str::from_utf8(line).map_err(|error| Wrong::Utf8(error.valid_up_to() + 1))?;
        if line.contains(&0) { Err(Wrong::Zero) } else { Ok(()) }
    }
}

/// The rejects of one table in one pass. The file comes with the first of them, under its name when they are
/// [kept](Rejects::keep).
#[derive(Debug)]
pub struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Rejects {
    /// Those that will stand in `dir` under `name`.
    pub fn new(dir: &Path, name: &str) -> Rejects {
        Rejects { path: dir.join(format!("{name}.tsv")), file: None, count: 0 }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Where they stand once they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one.
    pub fn add(&mut self, reject: &Reject) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                if let Some(dir) = self.path.parent() {
                    fs::create_dir_all(dir)?;
                }
                let mut file = BufWriter::new(File::create(Self::part(&self.path))?);
                file.write_all(b"line\treason\trow\n")?;
                empty.insert(file)
            }
        };
        let line = reject.line.map(|line| line.to_string()).unwrap_or_default();
        writeln!(file, "{line}\t{}\t{}", escaped(reject.reason.as_bytes()), escaped(&reject.row))?;
        self.count += 1;
        Ok(())
    }

    /// Puts the file in its place, and what an earlier load left there goes.
    pub fn keep(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(Self::part(&self.path), &self.path)
    }

    fn part(path: &Path) -> PathBuf {
        path.with_extension("tsv.part")
    }
}

/// What was not kept belongs to a load that failed.
impl Drop for Rejects {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // It is overwritten by the next load if it cannot be removed.
            let _ = fs::remove_file(Self::part(&self.path));
        }
    }
}

/// The lines that stand in the rejects of `name`, if there are any.
pub fn lines(dir: &Path, name: &str) -> io::Result<HashSet<u64>> {
    match fs::read(dir.join(format!("{name}.tsv"))) {
        Ok(text) => Ok(text
            .split(|&byte| byte == b'\n')
            .filter_map(|row| str::from_utf8(row.split(|&byte| byte == b'\t').next()?).ok()?.parse().ok())
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashSet::new()),
        Err(error) => Err(error),
    }
}

/// Bytes as the file has them.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads what [`escaped`] wrote.
    fn read(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, after @ ..] = rest {
            let (byte, length) = match (first, after) {
                (b'\\', [b'x', ..]) => {
                    (u8::from_str_radix(&text[text.len() - after.len()..][1..3], 16).expect("hex"), 4)
                }
                (b'\\', [b't', ..]) => (b'\t', 2),
                (b'\\', [b'n', ..]) => (b'\n', 2),
                (b'\\', [b'r', ..]) => (b'\r', 2),
                (b'\\', [other, ..]) => (*other, 2),
                _ => (*first, 1),
            };
            bytes.push(byte);
            rest = &rest[length..];
        }
        bytes
    }

    proptest! {
        #[test]
        fn a_row_is_had_back_to_the_byte(row in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escaped(&row);
            prop_assert!(!text.contains(['\t', '\n', '\r', '\0']));
            prop_assert_eq!(read(&text), row);
        }
    }

    #[test]
    fn the_file_of_an_earlier_load_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let reject = Reject { line: Some(7), reason: "3 columns".into(), row: b"a\tb\xff".to_vec() };
        let mut first = Rejects::new(dir.path(), "t");
        first.add(&reject).expect("it is written");
        first.keep().expect("it is kept");
        assert_eq!(fs::read_to_string(first.path()).expect("a file"), "line\treason\trow\n7\t3 columns\ta\\tb\\xff\n");
        let mut failed = Rejects::new(dir.path(), "t");
        failed.add(&reject).expect("it is written");
        drop(failed);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "nothing of a load that failed");
        Rejects::new(dir.path(), "t").keep().expect("it is kept");
        assert!(!first.path().exists());
    }
}
