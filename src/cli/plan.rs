//! `pgbench-rs plan`: everything that a run would do; does nothing.

use super::source::ScenarioArgs;
use crate::base::mask::{mask, mask_json};
use crate::plan::expand;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Print everything that a run would do, how long it takes and what disk it needs; do nothing.
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

impl Plan {
    /// Prints it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (_, document) = self.scenario.read()?;
        let plan = expand(&document);
        let mut out = std::io::stdout().lock();
        if self.json {
            let mut both = serde_json::json!({"plan": plan, "estimate": plan.estimate()});
            mask_json(&mut both);
            writeln!(out, "{}", serde_json::to_string_pretty(&both)?)?;
        } else {
            write!(out, "{}", mask(&plan.to_string()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
