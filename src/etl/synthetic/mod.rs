//! A synthetic IMDb: the seven tables at any size, with the real ones' shape and nothing of their content. Whatever it is
//! written to calls it synthetic.
//!
//! What a row holds is `hash(seed, table, column, row)` ([`random`](super::random)). References are computed, not looked up:
//! people get parts by Zipf's distribution, `title.crew` names those that `title.principals` has as directors and writers,
//! an episode's series is a series, and well-known titles have more cast, more other titles and more votes. What is not as
//! in IMDb: numbers of titles and people have no gaps; `title.crew` has a row for each title and none more; a list of types
//! or attributes in `title.akas` has one entry.
//!
//! ```text
//! Synthetic {scale, seed} ─▶ World ─▶ rows a..b of a table ─▶ Lines (TSV) ─▶ files
//!                                                          └▶ Encoder ─▶ Chunk (COPY)
//! ```

mod akas;
mod blocks;
mod crew;
mod episodes;
mod fields;
pub mod files;
mod names;
mod principals;
mod ratings;
pub mod source;
mod titles;
mod words;
mod world;

use super::chunk::Chunk;
use super::table::ColumnType;
use fields::{Encoder, Fields, Lines};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use world::World;

/// Which synthetic data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// Its size; 1 is IMDb's of February 2026.
    pub scale: f64,
    /// Seed of everything in it.
    #[serde(default)]
    pub seed: u64,
}

/// The scales that can be made: of the smallest, titles fill a block; of the largest, numbers of titles are still `integer`s.
pub const SCALES: std::ops::RangeInclusive<f64> = 0.00001..=100.0;

/// One of the seven tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// `name.basics`.
    Names,
    /// `title.basics`.
    Titles,
    /// `title.akas`.
    Akas,
    /// `title.crew`.
    Crew,
    /// `title.episode`.
    Episodes,
    /// `title.principals`.
    Principals,
    /// `title.ratings`.
    Ratings,
}

impl Which {
    /// All seven.
    pub const ALL: [Which; 7] =
        [Which::Names, Which::Titles, Which::Akas, Which::Crew, Which::Episodes, Which::Principals, Which::Ratings];

    /// Its name, as IMDb's file has it.
    pub fn name(self) -> &'static str {
        match self {
            Which::Names => "name.basics",
            Which::Titles => "title.basics",
            Which::Akas => "title.akas",
            Which::Crew => "title.crew",
            Which::Episodes => "title.episode",
            Which::Principals => "title.principals",
            Which::Ratings => "title.ratings",
        }
    }

    /// Rows at scale 1: those of IMDb's files of 2026-02-28; of `title.crew`, which has some more there, those of
    /// `title.basics`.
    pub fn full(self) -> u64 {
        match self {
            Which::Names => 15_122_182,
            Which::Titles | Which::Crew => 12_323_467,
            Which::Akas => 55_294_765,
            Which::Episodes => 9_514_619,
            Which::Principals => 98_073_271,
            Which::Ratings => 1_641_397,
        }
    }
}

impl Synthetic {
    /// How many rows a table has.
    pub fn rows(&self, which: Which) -> u64 {
        ((which.full() as f64 * self.scale).round() as u64).max(1)
    }

    /// What it is called wherever it goes.
    pub fn note(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "synthetic IMDb, scale {}, seed {}, made by pgbench-rs {version}; no data of IMDb",
            self.scale, self.seed
        )
    }
}

/// Makes the rows of a synthetic data set. Copies share what they compute from.
#[derive(Clone, Debug)]
pub struct Generator {
    of: Synthetic,
    world: Arc<World>,
}

impl Generator {
    /// Of a data set; its scale lies within [`SCALES`].
    pub fn new(of: Synthetic) -> Generator {
        Generator { of, world: Arc::new(World::new(&of)) }
    }

    /// The data set.
    pub fn of(&self) -> &Synthetic {
        &self.of
    }

    /// Appends rows as lines of IMDb's file.
    pub fn lines(&self, which: Which, rows: Range<u64>, into: &mut Vec<u8>) {
        let mut lines = Lines { bytes: std::mem::take(into) };
        self.write(which, rows, &mut lines);
        *into = lines.bytes;
    }

    /// Appends rows to a chunk, in columns of these `types`; in those of type `text` fields are as in the file.
    pub fn encode(&self, which: Which, rows: Range<u64>, types: &[ColumnType], into: &mut Chunk) {
        self.write(which, rows, &mut Encoder::new(into, types));
    }

    fn write(&self, which: Which, rows: Range<u64>, out: &mut impl Fields) {
        let rows = rows.start..rows.end.min(self.of.rows(which));
        if rows.is_empty() {
            return;
        }
        match which {
            Which::Names => names::rows(&self.world, rows, out),
            Which::Titles => titles::rows(&self.world, rows, out),
            Which::Akas => akas::rows(&self.world, rows, out),
            Which::Crew => crew::rows(&self.world, rows, out),
            Which::Episodes => episodes::rows(&self.world, rows, out),
            Which::Principals => principals::rows(&self.world, rows, out),
            Which::Ratings => ratings::rows(&self.world, rows, out),
        }
    }
}

#[cfg(test)]
mod tests;
