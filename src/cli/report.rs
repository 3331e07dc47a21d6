//! `pgbench-rs report`: the summary of a results folder.

use crate::{record, report};
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
        let record = record::read(&self.dir)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&report::json(&record))?)?;
        } else {
            write!(out, "{}", report::terminal(&record))?;
        }
        Ok(ExitCode::from(report::exit_code(&record)))
    }
}
