//! A batch: up to five thousand lines of line protocol as one gzip member. It is what `metrics.lp.gz` grows by and what a
//! server is sent, so that nothing is compressed twice and the file ends at a whole line at any time.

use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Most lines in a batch: what servers' manuals recommend.
pub const LINES: usize = 5_000;

/// Lines and what they are compressed.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// A whole gzip member.
    pub gzip: Bytes,
    /// Lines in it.
    pub points: u64,
}

impl Batch {
    pub fn new(lines: &[u8]) -> Batch {
        Batch { gzip: compress(lines), points: count(lines) }
    }

    pub fn lines(&self) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        GzDecoder::new(&*self.gzip).read_to_end(&mut lines)?;
        Ok(lines)
    }
}

/// A gzip member of these lines.
pub(super) fn compress(lines: &[u8]) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
    // Writing into memory cannot fail.
    let _ = gzip.write_all(lines);
    gzip.finish().unwrap_or_default().into()
}

/// How many lines.
pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// A batch that was read back.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// As it stands in the file.
    pub gzip: Bytes,
    /// The lines, each with its newline.
    pub lines: Vec<u8>,
    /// Where the next one begins.
    pub end: u64,
}

/// Bytes that are read at a time; a member that is larger is read whole.
const READ: u64 = 1 << 20;

/// Reads `metrics.lp.gz` batch by batch while it grows.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    /// Where the next member begins.
    at: u64,
    /// Bytes from there on.
    ahead: Bytes,
}

impl Reader {
    /// Reads `path` from `offset` on, where a member begins.
    pub fn open(path: &Path, offset: u64) -> io::Result<Reader> {
        Ok(Reader { file: File::open(path)?, at: offset, ahead: Bytes::new() })
    }

    /// The next whole batch; none if there is none yet.
    pub fn next(&mut self) -> io::Result<Option<Member>> {
        if let Some(member) = self.take()? {
            return Ok(Some(member));
        }
        // What was read may since have been taken back by a full disk: it is read anew.
        let mut size = READ;
        loop {
            self.file.seek(SeekFrom::Start(self.at))?;
            let mut bytes = Vec::new();
            let read = (&self.file).take(size).read_to_end(&mut bytes)? as u64;
            self.ahead = bytes.into();
            if let Some(member) = self.take()? {
                return Ok(Some(member));
            }
            if read < size {
                return Ok(None);
            }
            size *= 4;
        }
    }

    fn take(&mut self) -> io::Result<Option<Member>> {
        if self.ahead.is_empty() {
            return Ok(None);
        }
        let mut gzip = GzDecoder::new(&*self.ahead);
        let mut lines = Vec::new();
        match gzip.read_to_end(&mut lines) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = self.ahead.len() - gzip.into_inner().len();
        self.at += length as u64;
        Ok(Some(Member { gzip: self.ahead.split_to(length), lines, end: self.at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_file_is_read_batch_by_batch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.lp.gz");
        let mut file = File::create(&path).unwrap();
        let mut reader = Reader::open(&path, 0).unwrap();
        assert!(reader.next().unwrap().is_none());
        let (first, second) = (compress(b"a x=1i 1\n"), compress(b"b x=1i 2\nc x=1i 2\n"));
        file.write_all(&first).unwrap();
        file.write_all(&second[..second.len() - 3]).unwrap();
        let member = reader.next().unwrap().unwrap();
        assert_eq!((member.lines.as_slice(), member.end), (&b"a x=1i 1\n"[..], first.len() as u64));
        assert_eq!(member.gzip, first);
        assert!(reader.next().unwrap().is_none(), "half a member is none");
        file.set_len(first.len() as u64).unwrap();
        assert!(reader.next().unwrap().is_none(), "and then it is gone");
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(&compress(b"d x=1i 3\n")).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().lines, b"d x=1i 3\n");
    }

    #[test]
    fn a_member_larger_than_what_is_read_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.lp.gz");
        // What does not compress.
        let mut state = 1u64;
        let mut noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(3 << 20)
        .collect();
        noise.push(b'\n');
        std::fs::write(&path, [compress(&noise), compress(b"a x=1i 1\n")].concat()).unwrap();
        let mut reader = Reader::open(&path, 0).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().lines, noise);
        assert_eq!(reader.next().unwrap().unwrap().lines, b"a x=1i 1\n");
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn what_is_no_gzip_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.lp.gz");
        std::fs::write(&path, b"this was never compressed").unwrap();
        assert!(Reader::open(&path, 0).unwrap().next().is_err());
    }
}
