//! `pgbench-rs list`: the shipped scenarios.

use crate::scenario::shipped;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// List the shipped scenarios and their questions.
#[derive(Debug, Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    /// Prints them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        if self.json {
            let all: Vec<_> = shipped::SHIPPED
                .iter()
                .map(|s| serde_json::json!({"name": s.name, "question": s.question(), "text": s.text}))
                .collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        } else {
            for scenario in shipped::SHIPPED {
                writeln!(out, "{:<16} {}", scenario.name, scenario.question())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
