//! A file of lines, plain or gzip, read once from its beginning to its end; hashed as it is read.

use super::source::{Digest, SourceError};
use flate2::bufread::MultiGzDecoder;
use memchr::{memchr, memrchr};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Lines come in blocks of about this size: they and the chunk made of them fit into a core's own cache.
const BLOCK: usize = 256 << 10;
/// Longest line: more is no line of data, and would have to fit into memory.
pub const LONGEST: usize = 16 << 20;
/// What is shown of a longer one.
const SHOWN: usize = 1024;
/// How much of a compressed file is read at once.
const COMPRESSED: usize = 64 << 10;

/// A file's lines.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    from: Stored,
    buffer: Vec<u8>,
    /// Where the bytes in the buffer end.
    end: usize,
    /// How many of them were given out.
    given: usize,
    /// Whether there are no more.
    is_over: bool,
}

/// Some whole lines.
#[derive(Debug)]
pub enum Block<'b> {
    /// Each with its line end, which only a file's last may lack.
    Lines(&'b [u8]),
    /// One that is longer than [`LONGEST`], of which this is the beginning.
    TooLong(&'b [u8]),
    /// The file is over.
    End,
}

impl Lines {
    /// Opens it; `.gz` at the end of its name says that it is compressed.
    pub fn open(path: &Path) -> Result<Lines, SourceError> {
        let file = File::open(path).map_err(|why| SourceError::Read { path: path.to_owned(), why })?;
        let file = Hashing { file, hash: blake3::Hasher::new(), read: 0 };
        let from = match path.extension().is_some_and(|extension| extension == "gz") {
            true => Stored::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(COMPRESSED, file)))),
            false => Stored::Plain(Box::new(file)),
        };
        Ok(Lines { path: path.to_owned(), from, buffer: vec![0; BLOCK], end: 0, given: 0, is_over: false })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next whole lines.
    pub fn block(&mut self) -> Result<Block<'_>, SourceError> {
        self.buffer.copy_within(self.given..self.end, 0);
        self.end -= self.given;
        self.given = 0;
        loop {
            self.read()?;
            if let Some(last) = memrchr(b'\n', &self.buffer[..self.end]) {
                self.given = last + 1;
            } else if self.is_over {
                self.given = self.end;
            } else if self.end < LONGEST {
                self.buffer.resize((self.buffer.len() * 2).min(LONGEST), 0);
                continue;
            } else {
                return self.skip();
            }
            return Ok(match self.given {
                0 => Block::End,
                given => Block::Lines(&self.buffer[..given]),
            });
        }
    }

    /// Goes to the end of a line that is too long.
    fn skip(&mut self) -> Result<Block<'_>, SourceError> {
        let shown = self.buffer[..SHOWN].to_vec();
        while !self.is_over {
            self.end = 0;
            self.read()?;
            if let Some(at) = memchr(b'\n', &self.buffer[..self.end]) {
                self.buffer.copy_within(at + 1..self.end, SHOWN);
                self.end = SHOWN + self.end - at - 1;
                self.buffer[..SHOWN].copy_from_slice(&shown);
                self.given = SHOWN;
                return Ok(Block::TooLong(&self.buffer[..SHOWN]));
            }
        }
        self.buffer[..SHOWN].copy_from_slice(&shown);
        (self.end, self.given) = (SHOWN, SHOWN);
        Ok(Block::TooLong(&self.buffer[..SHOWN]))
    }

    /// Fills the buffer.
    fn read(&mut self) -> Result<(), SourceError> {
        while !self.is_over && self.end < self.buffer.len() {
            match self.from.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.is_over = true,
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SourceError::Read { path: self.path.clone(), why: self.in_words(error) }),
            }
        }
        Ok(())
    }

    fn in_words(&self, error: io::Error) -> io::Error {
        let why = match (&self.from, error.kind()) {
            (Stored::Gzip(_), io::ErrorKind::UnexpectedEof) => {
                format!("its compressed bytes end after {} in the middle\nhint: get it anew", self.position())
            }
            (Stored::Gzip(_), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                format!(
                    "its compressed bytes are damaged ({error}), before byte {}\nhint: get it anew",
                    self.position()
                )
            }
            _ => return error,
        };
        io::Error::new(error.kind(), why)
    }

    /// Bytes of the file that were read.
    pub fn position(&self) -> u64 {
        self.from.hashing().read
    }

    /// What was read.
    pub fn digest(self) -> Digest {
        let Hashing { hash, read, .. } = match self.from {
            Stored::Plain(file) => *file,
            Stored::Gzip(gzip) => gzip.into_inner().into_inner(),
        };
        Digest { path: self.path, bytes: read, blake3: hash.finalize().to_string() }
    }
}

#[derive(Debug)]
enum Stored {
    Plain(Box<Hashing>),
    Gzip(Box<MultiGzDecoder<BufReader<Hashing>>>),
}

impl Stored {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stored::Plain(file) => file.read(into),
            Stored::Gzip(gzip) => gzip.read(into),
        }
    }

    fn hashing(&self) -> &Hashing {
        match self {
            Stored::Plain(file) => file,
            Stored::Gzip(gzip) => gzip.get_ref().get_ref(),
        }
    }
}

#[derive(Debug)]
struct Hashing {
    file: File,
    hash: blake3::Hasher,
    read: u64,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.hash.update(&into[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// What the system says of a file.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its size.
    pub bytes: u64,
    /// Nanoseconds since 1970.
    changed: u128,
}

impl Stamp {
    /// Asks.
    pub fn of(path: &Path) -> Result<Stamp, SourceError> {
        let read = |why| SourceError::Read { path: path.to_owned(), why };
        let metadata = path.metadata().map_err(read)?;
        let changed = metadata.modified().map_err(read)?.duration_since(std::time::UNIX_EPOCH);
        Ok(Stamp { bytes: metadata.len(), changed: changed.map_or(0, |since| since.as_nanos()) })
    }

    /// In a short text that is equal only for a file that was not changed.
    pub fn key(&self) -> String {
        format!("{}-{}", self.bytes, self.changed)
    }
}

/// `name` in `dir`, or `name.gz`; absent when there is neither.
pub fn find(dir: &Path, name: &str) -> Result<Option<PathBuf>, SourceError> {
    let (plain, gzip) = (dir.join(name), dir.join(format!("{name}.gz")));
    match (plain.exists(), gzip.exists()) {
        (true, true) => Err(SourceError::Twice(plain, gzip)),
        (true, false) => Ok(Some(plain)),
        (false, true) => Ok(Some(gzip)),
        (false, false) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn lines(name: &str, bytes: &[u8]) -> Result<Vec<String>, SourceError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("it is written");
        let mut lines = Lines::open(&path)?;
        let mut all = Vec::new();
        loop {
            match lines.block()? {
                Block::End => return Ok(all),
                Block::TooLong(beginning) => all.push(format!("too long: {}", beginning.len())),
                Block::Lines(block) => all.extend(String::from_utf8_lossy(block).lines().map(str::to_owned)),
            }
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).expect("memory");
        gzip.finish().expect("memory")
    }

    #[test]
    fn every_line_comes_once() {
        let text: String = (0..100_000).map(|n| format!("{n} {}\n", "x".repeat(n % 50))).collect();
        let wanted: Vec<&str> = text.lines().collect();
        assert_eq!(lines("plain.tsv", text.as_bytes()).expect("it is read"), wanted);
        assert_eq!(lines("plain.tsv.gz", &gzip(text.as_bytes())).expect("it is read"), wanted);
        let members: Vec<u8> = text.as_bytes().chunks(1_000_000).flat_map(gzip).collect();
        assert_eq!(lines("members.gz", &members).expect("it is read"), wanted);
    }

    #[test]
    fn lines_of_any_length() {
        let text = format!("a\n{}\n\nb", "x".repeat(3 * BLOCK));
        assert_eq!(lines("t", text.as_bytes()).expect("it is read"), text.lines().collect::<Vec<_>>());
        for after in ["\nb\nc\n", "\n", ""] {
            let text = format!("a\n{}{after}", "x".repeat(LONGEST + BLOCK));
            let wanted: Vec<&str> = ["a", "too long: 1024"].into_iter().chain(after.lines().skip(1)).collect();
            assert_eq!(lines("t", text.as_bytes()).expect("it is read"), wanted);
        }
        assert_eq!(lines("t", b"").expect("it is read"), Vec::<String>::new());
    }

    #[test]
    fn a_compressed_file_that_is_cut_or_damaged_is_an_error() {
        let whole = gzip(&b"one line\n".repeat(10_000));
        for cut in [whole.len() - 1, whole.len() - 8, whole.len() / 2, 5] {
            let error = lines("cut.gz", &whole[..cut]).expect_err("it is cut").to_string();
            assert!(error.contains("cut.gz") && error.contains("in the middle"), "{error}");
        }
        let mut damaged = whole.clone();
        let crc = damaged.len() - 6;
        damaged[crc] ^= 1;
        let error = lines("damaged.gz", &damaged).expect_err("it is damaged").to_string();
        assert!(error.contains("damaged"), "{error}");
        let error = lines("no.gz", b"tconst\tordering\n").expect_err("it is not compressed").to_string();
        assert!(error.contains("damaged"), "{error}");
    }

    #[test]
    fn the_digest_is_the_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").expect("it is written");
        let mut lines = Lines::open(&path).expect("it opens");
        while !matches!(lines.block().expect("it is read"), Block::End) {}
        let digest = lines.digest();
        // As b3sum prints it.
        assert_eq!(digest.blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
        assert_eq!(digest.bytes, 3);
    }
}
