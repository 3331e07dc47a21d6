//! `pgbench-rs new`: a scenario file to start from.

use super::Usage;
use crate::scenario::{near, shipped};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a scenario file of your own, as a copy of a shipped one.
#[derive(Debug, Args)]
pub struct New {
    /// The file to write; it must not exist
    file: PathBuf,
    /// The shipped scenario to start from
    #[arg(long, value_name = "NAME", default_value = "failover")]
    from: String,
}

impl New {
    /// Writes it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Some(from) = shipped::find(&self.from) else {
            let names = shipped::SHIPPED.iter().map(|shipped| shipped.name);
            let hint = near(&self.from, names.clone()).map_or_else(
                || format!("there are {}", names.collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Usage(format!("no shipped scenario is called `{}`\n\nhint: {hint}", self.from)).into());
        };
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&self.file).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "\n\nhint: choose another name; nothing is overwritten",
                _ => "",
            };
            Usage(format!("cannot write {}: {error}{hint}", self.file.display()))
        })?;
        file.write_all(from.text.as_bytes())?;
        let file = self.file.display();
        writeln!(
            std::io::stdout(),
            "wrote {file}\n\nnext: pgbench-rs check {file}\n      pgbench-rs plan {file}\n      pgbench-rs run {file}"
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
