//! `metrics.lp.gz`: line protocol in gzip, a member a second, which any gzip reader sees as one stream. Only whole members
//! are left in it: what a full disk takes in part is taken back and tried again, so that the file can be read at any time,
//! also when the harness was killed (but for a member that was just being written).

use super::WriteError;
use super::batch::Batch;
use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes that wait in memory for a full disk; beyond that batches are lost to the file.
const WAITING: usize = 8 << 20;

/// Appends gzip members to a file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: std::fs::File,
    /// Where the last whole member ends.
    end: u64,
    waiting: VecDeque<Batch>,
    /// Behind `end` stands a part of a member.
    torn: bool,
    /// Why batches wait.
    error: Option<WriteError>,
}

/// What became of batches.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Points that are now in the file.
    pub written: u64,
    /// Batches that will never be.
    pub lost: Vec<Batch>,
}

impl File {
    /// Opens `path`, made if it is not there; members are added at its end.
    pub fn append(path: impl AsRef<Path>) -> Result<File, WriteError> {
        let path = path.as_ref().to_owned();
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            let end = file.metadata()?.len();
            Ok((file, end))
        };
        let (file, end) = open().map_err(WriteError::at(&path))?;
        Ok(File { path, file, end, waiting: VecDeque::new(), torn: false, error: None })
    }

    /// Writes the batch, or lets it wait.
    pub(super) fn keep(&mut self, batch: Batch) -> Kept {
        self.waiting.push_back(batch);
        let mut kept = self.retry();
        while self.waiting.iter().map(|batch| batch.gzip.len()).sum::<usize>() > WAITING {
            kept.lost.extend(self.waiting.pop_front());
        }
        kept
    }

    /// Writes what waits, as far as the disk takes it.
    pub(super) fn retry(&mut self) -> Kept {
        let mut kept = Kept::default();
        while let Some(batch) = self.waiting.front() {
            if let Err(source) = self.write(&batch.gzip.clone()) {
                self.error = Some(WriteError { path: self.path.clone(), source });
                return kept;
            }
            kept.written += self.waiting.pop_front().map_or(0, |batch| batch.points);
        }
        kept
    }

    /// The whole member or nothing.
    fn write(&mut self, member: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.end)?;
            self.torn = false;
        }
        let mut rest = member;
        while !rest.is_empty() {
            let written = match self.file.write(rest) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                result => result,
            };
            match written {
                Ok(bytes) => rest = &rest[bytes..],
                Err(error) => {
                    self.torn = rest.len() < member.len() && self.file.set_len(self.end).is_err();
                    return Err(error);
                }
            }
        }
        self.end += member.len() as u64;
        Ok(())
    }

    /// Writes what waits, for the last time; why something was lost.
    pub(super) fn finish(&mut self) -> (Kept, Option<WriteError>) {
        let mut kept = self.retry();
        kept.lost.extend(self.waiting.drain(..));
        (kept, self.error.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::batch;
    use flate2::read::MultiGzDecoder;
    use std::io::Read;

    #[test]
    fn batches_follow_each_other_in_one_stream() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.lp.gz");
        for line in [&b"a x=1i 1\n"[..], b"b x=1i 2\n"] {
            let mut file = File::append(&path).unwrap();
            let kept = file.keep(Batch::new(line));
            assert_eq!((kept.written, kept.lost.len()), (1, 0));
        }
        let mut text = String::new();
        MultiGzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a x=1i 1\nb x=1i 2\n");
    }

    #[test]
    fn what_a_full_disk_refuses_waits_and_then_is_lost_to_the_file_and_named() {
        let mut file = File::append("/dev/full").unwrap();
        assert_eq!(file.keep(Batch::new(b"a x=1i 1\n")).written, 0);
        let (kept, error) = file.finish();
        assert_eq!((kept.written, kept.lost.len()), (0, 1));
        assert_eq!(batch::count(b"a x=1i 1\n"), kept.lost[0].points);
        assert!(error.unwrap().to_string().contains("No space left"));
    }
}
