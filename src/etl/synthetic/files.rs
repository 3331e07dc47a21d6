//! The seven tables as TSV files, written by several threads: the same bytes by any number of them.
//!
//! ```text
//! DIR/name.basics.tsv[.gz] … title.ratings.tsv[.gz]
//! DIR/SYNTHETIC.txt        what this is: the scale, the seed
//! ```

use super::{Generator, Which, source};
use flate2::{Compression, write::GzEncoder};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Rows that a thread makes at a time. A compressed file has a gzip member for each such part, so this is part of what
/// its bytes are.
const PART: u64 = 20_000;

/// How files are written.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether they are compressed.
    pub gzip: bool,
    /// By how many threads, at least one.
    pub threads: usize,
}

/// A file that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Which table.
    pub which: Which,
    /// The file.
    pub path: PathBuf,
    /// Lines below its header.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// One could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There are others under these names, which may be IMDb's own.
    #[error("{} is there, and no {NOTE} beside it says that it is synthetic\nhint: choose another folder", .0.display())]
    Others(PathBuf),
}

/// The note's name.
const NOTE: &str = "SYNTHETIC.txt";

/// Writes the seven files and a note into `dir`, which is made; `progress` is told of each part how many rows it has and
/// how many bytes. Synthetic files that are there give way; a file is whole when it bears its name.
pub fn write(
    generator: &Generator,
    dir: &Path,
    settings: Settings,
    mut progress: impl FnMut(Which, u64, u64),
) -> Result<Vec<Written>, FileError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| FileError::Write { path, source }
    };
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    let note = dir.join(NOTE);
    for old in
        Which::ALL.iter().flat_map(|which| ["tsv", "tsv.gz"].map(|end| dir.join(format!("{}.{end}", which.name()))))
    {
        match old.exists() {
            true if !note.exists() => return Err(FileError::Others(old)),
            true => std::fs::remove_file(&old).map_err(at(&old))?,
            false => {}
        }
    }
    std::fs::write(&note, generator.of().note() + "\n").map_err(at(&note))?;
    let mut all = Vec::new();
    for which in Which::ALL {
        let end = if settings.gzip { "tsv.gz" } else { "tsv" };
        let path = dir.join(format!("{}.{end}", which.name()));
        let unfinished = dir.join(format!("{}.{end}.unfinished", which.name()));
        let bytes = write_file(generator, which, &unfinished, settings, &mut progress).map_err(at(&unfinished))?;
        std::fs::rename(&unfinished, &path).map_err(at(&path))?;
        all.push(Written { which, path, rows: generator.of().rows(which), bytes });
    }
    Ok(all)
}

/// Each thread makes every so-manieth part, and holds one that is done; they are asked in turn.
fn write_file(
    generator: &Generator,
    which: Which,
    path: &Path,
    settings: Settings,
    progress: &mut impl FnMut(Which, u64, u64),
) -> io::Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 16, File::create(path)?);
    let threads = settings.threads.max(1) as u64;
    let parts = generator.of().rows(which).div_ceil(PART);
    std::thread::scope(|scope| {
        let done: Vec<Receiver<io::Result<Part>>> = (0..threads.min(parts))
            .map(|thread| {
                let (tell, done) = sync_channel(1);
                scope.spawn(move || {
                    make(generator, which, settings.gzip, (thread..parts).step_by(threads as usize), &tell)
                });
                done
            })
            .collect();
        let mut bytes = 0;
        for part in 0..parts {
            let part = done[(part % threads) as usize].recv().map_err(io::Error::other)??;
            file.write_all(&part.bytes)?;
            bytes += part.bytes.len() as u64;
            progress(which, part.rows, part.bytes.len() as u64);
        }
        file.flush()?;
        file.get_ref().sync_all()?;
        Ok(bytes)
    })
}

struct Part {
    bytes: Vec<u8>,
    rows: u64,
}

fn make(
    generator: &Generator,
    which: Which,
    gzip: bool,
    parts: impl Iterator<Item = u64>,
    tell: &SyncSender<io::Result<Part>>,
) {
    let mut lines = Vec::new();
    for part in parts {
        let rows = part * PART..((part + 1) * PART).min(generator.of().rows(which));
        if part == 0 {
            lines.extend_from_slice(source::shape(which).header().as_bytes());
            lines.push(b'\n');
        }
        generator.lines(which, rows.clone(), &mut lines);
        let bytes = if gzip { compressed(&lines) } else { Ok(std::mem::take(&mut lines)) };
        lines.clear();
        // The writer has broken off, and says why.
        let Ok(()) = tell.send(bytes.map(|bytes| Part { bytes, rows: rows.end - rows.start })) else { return };
    }
}

/// A gzip member; several, one after the other, are a file.
fn compressed(lines: &[u8]) -> io::Result<Vec<u8>> {
    let mut member = GzEncoder::new(Vec::with_capacity(lines.len() / 3), Compression::fast());
    member.write_all(lines)?;
    member.finish()
}
