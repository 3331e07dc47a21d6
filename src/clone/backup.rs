//! The backup interface: what makes a copy good that was made while the server wrote (the manual's "Making a Base Backup
//! Using the Low Level API").

use super::error::{CloneError, SourceError, io_at};
use super::fence::Fence;
use super::source::{Checkpointed, Source};
use crate::pg::Lsn;
use crate::pg::control::CONTROL_FILE;
use crate::pg::control_file::ControlFile;
use rand::RngExt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use tokio_postgres::Client;

/// A backup under way. Dropping it ends its session, and the server forgets it.
#[derive(Debug)]
pub(super) struct Backup {
    client: Client,
    node: String,
    functions: Functions,
    /// The checkpoint with which it began.
    pub checkpointed: Checkpointed,
    /// Why the server is not kept from removing WAL meanwhile.
    pub unreserved: Option<String>,
}

/// What a backup leaves behind.
#[derive(Debug)]
pub(super) struct Label {
    /// The text of `backup_label`.
    pub text: String,
    /// From where recovery reads.
    pub start: Lsn,
    /// Up to where it must come.
    pub stop: Lsn,
}

/// The functions of the interface, as they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Functions {
    start: &'static str,
    stop: &'static str,
}

impl Functions {
    /// Before 15 they have other names, and what they do besides must be declined (the manual of 14, section 26.3.3): the
    /// exclusive way, and on ending the wait for the archive.
    fn of(major: u32) -> Functions {
        match major {
            ..15 => Functions { start: "pg_start_backup($1, true, false)", stop: "pg_stop_backup(false, false)" },
            _ => Functions { start: "pg_backup_start($1, true)", stop: "pg_backup_stop(false)" },
        }
    }
}

impl Backup {
    /// Begins one with a checkpoint at once, in a session of its own. A temporary replication slot keeps the WAL from
    /// then on, if there is one to be had.
    pub async fn begin(source: &Source, major: u32) -> Result<Backup, SourceError> {
        let client = source.connect().await?;
        let before = source.control()?;
        let slot = format!("pgbench_rs_{:016x}", rand::rng().random::<u64>());
        let reserve = "SELECT pg_create_physical_replication_slot($1, true, true)";
        let unreserved =
            client.execute(reserve, &[&slot]).await.err().map(|error| crate::pg::connect::in_words(&error));
        let functions = Functions::of(major);
        let began = client.execute(&format!("SELECT {}", functions.start), &[&"pgbench-rs clone"]).await;
        began.map_err(|error| sql(&source.name, "beginning a backup", error))?;
        let checkpointed = Checkpointed::between(&before, &source.control()?);
        Ok(Backup { client, node: source.name.clone(), functions, checkpointed, unreserved })
    }

    /// Ends it. The slot is there until this is dropped.
    pub async fn end(&self) -> Result<Label, CloneError> {
        let question = format!("SELECT lsn::text, labelfile FROM {}", self.functions.stop);
        let row = self.client.query_one(&question, &[]).await;
        let row = row.map_err(|error| sql(&self.node, "ending the backup", error))?;
        let text: String = row.get(1);
        let stop: String = row.get(0);
        let start = start_of(&text).ok_or(CloneError::Label("where the WAL begins"))?;
        Ok(Label { start, stop: stop.parse().map_err(|_| CloneError::Label("where the WAL ends"))?, text })
    }
}

fn sql(node: &str, what: &'static str, source: tokio_postgres::Error) -> SourceError {
    SourceError::Sql { node: node.to_owned(), what, source }
}

/// `START WAL LOCATION: 0/2000028 (file 000000010000000000000002)`
fn start_of(label: &str) -> Option<Lsn> {
    let line = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Puts the WAL that `label` names into the copy, in place of what was copied while it was written, and the label
/// beside it. Of a standby the control file is fetched once more: it says how far recovery must come.
pub(super) fn complete(source: &Path, fence: &Fence, label: &Label, standby: bool) -> Result<(), CloneError> {
    let control = ControlFile::read(source).map_err(SourceError::Control)?;
    if standby {
        refetch(source, fence, CONTROL_FILE)?;
    }
    fence.empty("pg_wal")?;
    let size = u64::from(control.wal_segment_size);
    for (segment, number) in control.segments(label.start, label.stop).zip(label.start.0 / size..) {
        let within = |lsn: Lsn| lsn.0.saturating_sub(number * size).min(size);
        fetch(source, fence, &segment, within(label.start)..within(label.stop), size)?;
    }
    fence.write("backup_label", &label.text)?;
    Ok(())
}

/// Bytes of a page of the WAL: `XLOG_BLCKSZ` as it is built by default, or a multiple of what it is built with.
const PAGE: u64 = 64 << 10;

/// Copies of a segment of the WAL what recovery reads: its first page, by which it is known, and those of `needed`. The
/// rest is a hole: what follows in a segment that is being written, or is left over in one that was ended early, is most
/// of it. A segment that is recycled meanwhile has another name afterwards, and other contents.
fn fetch(source: &Path, fence: &Fence, segment: &str, needed: Range<u64>, size: u64) -> Result<(), CloneError> {
    let dir = source.join("pg_wal");
    let path = dir.join(segment);
    let gone = || CloneError::NoWal { segment: segment.to_owned(), dir: dir.clone() };
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let from = match File::open(&path) {
        Err(error) if missing(&error) => return Err(gone()),
        opened => opened.map_err(io_at(&path))?,
    };
    let to = fence.create(&format!("pg_wal/{segment}"))?;
    let copied = || -> io::Result<()> {
        to.set_len(size)?;
        let (begin, end) = (needed.start / PAGE * PAGE, needed.end.next_multiple_of(PAGE).min(size));
        let mut page = vec![0; PAGE as usize];
        for at in std::iter::once(0).chain((begin..end).step_by(PAGE as usize).filter(|at| *at > 0)) {
            let page = &mut page[..PAGE.min(size - at) as usize];
            from.read_exact_at(page, at)?;
            to.write_all_at(page, at)?;
        }
        Ok(())
    };
    copied().map_err(io_at(&path))?;
    let was = from.metadata().map_err(io_at(&path))?;
    match fs::metadata(&path) {
        Ok(is) if (is.dev(), is.ino()) == (was.dev(), was.ino()) => Ok(()),
        Ok(_) => Err(gone()),
        Err(error) if missing(&error) => Err(gone()),
        Err(error) => Err(io_at(&path)(error)),
    }
}

/// Copies a small file of the source once more.
fn refetch(source: &Path, fence: &Fence, name: &str) -> Result<(), CloneError> {
    let path = source.join(name);
    let mut from = File::open(&path).map_err(io_at(&path))?;
    fence.remove(name)?;
    let mut to = fence.create(name)?;
    io::copy(&mut from, &mut to).map_err(io_at(&path)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_called_as_each_version_has_it() {
        for old in [13, 14] {
            let Functions { start, stop } = Functions::of(old);
            // label, fast, exclusive; exclusive, wait_for_archive
            assert_eq!((start, stop), ("pg_start_backup($1, true, false)", "pg_stop_backup(false, false)"));
        }
        for new in [15, 18] {
            // label, fast; wait_for_archive
            let Functions { start, stop } = Functions::of(new);
            assert_eq!((start, stop), ("pg_backup_start($1, true)", "pg_backup_stop(false)"));
        }
    }

    /// What 14 writes into it as well does not matter.
    #[test]
    fn a_label_of_an_earlier_version_is_understood() {
        let label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
                     CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
                     START TIME: 2024-11-25 08:00:00 UTC\nLABEL: pgbench-rs clone\nSTART TIMELINE: 1\n";
        assert_eq!(start_of(label), Some(Lsn(0x200_0028)));
    }

    #[test]
    fn a_label_says_where_its_wal_begins() {
        let label =
            "START WAL LOCATION: 16/B374D848 (file 0000000100000016000000B3)\nCHECKPOINT LOCATION: 16/B374D880\n";
        assert_eq!(start_of(label), Some(Lsn(0x16_B374_D848)));
        assert_eq!(start_of("CHECKPOINT LOCATION: 0/1\n"), None);
    }
}
