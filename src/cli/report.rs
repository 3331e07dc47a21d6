//! `pgbench-rs report`: the summary of a results folder.

use crate::report::{exit_code, summarize, terminal};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the summary of a results folder again.
#[derive(Debug, Args)]
pub struct Report {
    /// The results folder of a run
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Report {
    /// Prints it; the exit code is the run's.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let summary = summarize(&super::record(&self.dir)?);
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&summary)?)?;
        } else {
            write!(out, "{}", terminal(&summary))?;
        }
        Ok(ExitCode::from(exit_code(&summary)))
    }
}
