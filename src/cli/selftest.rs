//! `pgbench-rs selftest`: what this machine calls different that is not, and what it would not see.

use super::Usage;
use crate::plan::expand;
use crate::report::selftest::{selftest, terminal};
use crate::run::{Keeping, Options, run};
use crate::scenario::read::read;
use crate::scenario::shipped;
use anyhow::Context;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Run the same thing against itself, and say how often it is called different and what would not be seen.
///
/// It runs the shipped scenario `selftest` (about 4 minutes), or reads what a run with two variants that are alike has
/// left.
#[derive(Debug, Args)]
pub struct Selftest {
    /// The results folder of a run whose first two variants are alike, instead of running
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Rounds of one trial a side
    #[arg(long, value_name = "N", default_value_t = 30, conflicts_with = "dir")]
    trials: u32,
    /// Where the results folder goes
    #[arg(long, value_name = "DIR", default_value = "results", conflicts_with = "dir")]
    out: PathBuf,
    /// Where data directories go; default: a folder of this user's own in /var/tmp
    #[arg(long, value_name = "DIR", conflicts_with = "dir")]
    work: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Selftest {
    /// Runs if it must, and prints what it comes to.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => self.carry_out()?,
        };
        let tests = selftest(&super::record(&dir)?);
        if tests.is_empty() {
            let what = "has no two variants with at least two rounds that count";
            return Err(Usage(format!("{} {what}", dir.display())).into());
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&tests)?)?;
        } else {
            write!(out, "{}", terminal(&tests))?;
            writeln!(out, "record: {}", dir.display())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The results folder of a run made for this.
    fn carry_out(&self) -> anyhow::Result<PathBuf> {
        let scenario = shipped::find("selftest").context("the scenario `selftest` is not shipped")?;
        let source = scenario.source().with_sets([format!("trials={}", self.trials)]);
        let plan = expand(&read(&source)?);
        let options = Options {
            out: self.out.clone(),
            work: self.work.clone(),
            postgres: Vec::new(),
            server_user: None,
            start_limit: Duration::from_secs(60),
            keep: false,
            templates: Keeping::default(),
            command: std::env::args().collect(),
            program: std::env::current_exe().context("cannot tell which file this program is")?,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let done = runtime.block_on(run(&source, &plan, &options))?;
        if done.interrupted { Err(super::Interrupted.into()) } else { Ok(done.dir) }
    }
}
