//! `pgbench-rs check`: everything that is wrong with scenario files.

use super::source::find;
use crate::base::units::counted;
use crate::scenario::read::read;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Check scenario files: every problem at once, with file, line, column and what would be right.
#[derive(Debug, Args)]
pub struct Check {
    /// Scenario files, or names of shipped scenarios
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<String>,
    /// Set what stands at a path of each scenario
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// Print the problems as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Checks each; exit code 2 when anything is wrong.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut problems = Vec::new();
        let mut out = std::io::stdout().lock();
        for name in &self.scenarios {
            match read(&find(name)?.with_sets(&self.sets)) {
                Ok(document) if !self.json => {
                    let variants = counted(document.combinations.len(), "variant");
                    let trials = counted(document.scenario.trials as usize, "trial");
                    writeln!(out, "{name}: fine ({variants}, {trials} each)")?;
                }
                Ok(_) => {}
                Err(errors) => {
                    if !self.json {
                        writeln!(std::io::stderr(), "{errors}")?;
                    }
                    problems.extend(errors.problems().to_vec());
                }
            }
        }
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&problems)?)?;
        }
        Ok(ExitCode::from(if problems.is_empty() { 0 } else { 2 }))
    }
}
