//! `pgbench-rs dashboards`: Grafana's dashboards, written.

use crate::dashboard;
use crate::sink::WriteError;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the Grafana dashboards for what is sampled.
///
/// Six, linked to each other, in Flux and in InfluxQL: a folder each, for Grafana's file provisioning.
#[derive(Debug, Args)]
pub struct Dashboards {
    /// The folder; files of the same names are replaced
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Dashboards {
    /// Writes them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let written = dashboard::write(&self.dir).map_err(|(path, source)| WriteError { path, source })?;
        let mut out = std::io::stdout().lock();
        for path in written {
            writeln!(out, "{}", path.display())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
