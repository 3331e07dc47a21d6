//! `pgbench-rs plan`: everything that a run would do; does nothing.

use super::source::ScenarioArgs;
use crate::base::mask::{mask, mask_json};
use crate::driver::default_work_path;
use crate::plan::{Places, Printed, expand};
use crate::snapshot::choose;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
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
            let printed = Printed { plan: &plan, places: &places(&plan) };
            write!(out, "{}", mask(&printed.to_string()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How the directories of a plan can be cloned, where that can be told: a run says it in any case.
fn places(plan: &crate::plan::Plan) -> Places {
    let look = |dir: Option<PathBuf>| {
        let place = dir.clone().unwrap_or_else(default_work_path);
        let standing = place.ancestors().find(|dir| dir.is_dir())?;
        Some((dir, choose::look(standing).ok()?))
    };
    plan.unknown_places().into_iter().filter_map(look).collect()
}
