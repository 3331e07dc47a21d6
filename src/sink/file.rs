//! `metrics.lp.gz`: line protocol in gzip, a member for each trial, so that the file grows by appending
//! and any gzip reader sees one stream. It is flushed to a byte boundary every second: when the harness is
//! killed, all whole lines up to then can be read (`zcat` prints them and then complains of the end).

use super::WriteError;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Appends a gzip member to a file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    gzip: GzEncoder<std::fs::File>,
}

impl File {
    /// Opens `path`, made if it is not there, and begins a member at its end.
    pub fn append(path: impl AsRef<Path>) -> Result<File, WriteError> {
        let path = path.as_ref().to_owned();
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(WriteError::at(&path))?;
        Ok(File { path, gzip: GzEncoder::new(file, Compression::fast()) })
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        self.gzip.write_all(lines).map_err(WriteError::at(&self.path))
    }

    pub(super) fn flush(&mut self) -> Result<(), WriteError> {
        self.gzip.flush().map_err(WriteError::at(&self.path))
    }

    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.gzip.try_finish().map_err(WriteError::at(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::MultiGzDecoder;
    use std::io::Read;

    #[test]
    fn trials_follow_each_other_in_one_stream() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.lp.gz");
        for line in [&b"a x=1i 1\n"[..], b"b x=1i 2\n"] {
            let mut file = File::append(&path).unwrap();
            file.write(line).unwrap();
            file.finish().unwrap();
        }
        let mut text = String::new();
        MultiGzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a x=1i 1\nb x=1i 2\n");
    }

    #[test]
    fn a_killed_harness_leaves_a_readable_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.lp.gz");
        let mut file = File::append(&path).unwrap();
        file.write(b"a x=1i 1\n").unwrap();
        file.flush().unwrap();
        file.write(b"a x=1i 2\n").unwrap();
        // What a SIGKILL leaves: the bytes that are in the file now, and no end of the member.
        let left = std::fs::read(&path).unwrap();
        let mut text = Vec::new();
        let end = MultiGzDecoder::new(left.as_slice()).read_to_end(&mut text);
        assert!(end.is_err(), "the member is not finished");
        assert_eq!(text, b"a x=1i 1\n");
    }
}
