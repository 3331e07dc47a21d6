//! `pgbench-rs load job`.

use super::target::Target;
use crate::cli::Usage;
use crate::etl::job::Files;
use crate::etl::source::Source;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Load the 21 tables of the Join Order Benchmark from the CSV files of its authors (imdb.tgz, unpacked).
///
/// They are of IMDb's data of May 2013, for personal and non-commercial use only.
#[derive(Debug, Args)]
pub struct Job {
    /// The folder that has the files
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    target: Target,
}

impl Job {
    /// Loads them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let files = Files::open(&self.from).map_err(|error| Usage(error.to_string()))?;
        self.target.load(Source::Job(files))
    }
}
