//! `pgbench-rs load synthetic`.

use super::target::{Target, word};
use crate::cli::Usage;
use crate::etl::imdb::Schema;
use crate::etl::source::Source;
use crate::etl::synthetic::{SCALES, Synthetic, source::Tables};
use clap::Args;
use std::process::ExitCode;

/// Load a synthetic IMDb: the seven tables at any size, made while they are loaded.
///
/// It has IMDb's shape (types, years, genres, skewed votes and cast, nulls, references) and nothing of its content. The
/// same scale and seed give the same rows, to the byte.
#[derive(Debug, Args)]
pub struct SyntheticImdb {
    #[command(flatten)]
    which: Which,
    /// Types of the columns: typed (integers, booleans, arrays, JSON) or text (all of them text)
    #[arg(long, value_name = "SCHEMA", default_value = "typed", value_parser = word::<Schema>)]
    schema: Schema,
    #[command(flatten)]
    target: Target,
}

/// Which synthetic IMDb.
#[derive(Debug, Args)]
pub struct Which {
    /// Its size; 1 is IMDb's of February 2026, 204 million rows
    #[arg(long, value_name = "FACTOR")]
    scale: f64,
    /// Seed of everything in it
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Which {
    /// The data set, if it can be made.
    pub fn data(&self) -> Result<Synthetic, Usage> {
        if SCALES.contains(&self.scale) {
            return Ok(Synthetic { scale: self.scale, seed: self.seed });
        }
        Err(Usage(format!("--scale {}: it can be from {} to {}", self.scale, SCALES.start(), SCALES.end())))
    }
}

impl SyntheticImdb {
    /// Loads it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.target.load(Source::SyntheticImdb(Tables::new(self.which.data()?, self.schema)))
    }
}
