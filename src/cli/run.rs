//! `pgbench-rs run`: does everything that a scenario says, and answers its question.

use super::source::ScenarioArgs;
use crate::base::units::{Size, Time};
use crate::plan::expand;
use crate::record;
use crate::report::{exit_code, summarize, terminal};
use crate::run::{Keeping, Options, run};
use anyhow::Context;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a scenario: set up its servers, drive its load, inject its faults, measure, tear down, answer.
///
/// The summary goes to stdout, progress to stderr, everything that was observed to a results folder. Ctrl-C
/// ends the phase, tears down and keeps the finished trials; a second one stops hard.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Where the results folder goes
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// Where data directories go; default: a folder of this user's own in /var/tmp
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Directory of PostgreSQL's programs, instead of looking for them; once for each version
    #[arg(long, value_name = "DIR")]
    postgres: Vec<PathBuf>,
    /// System user that servers run as when started as root; default: postgres
    #[arg(long, value_name = "USER")]
    server_user: Option<String>,
    /// How long a server may take to start, and a standby to stream
    #[arg(long, value_name = "TIME", default_value_t = Time::s(60))]
    start_limit: Time,
    /// Leave the servers of the last trial up and print how to connect
    #[arg(long)]
    keep: bool,
    /// Load the data for this run alone: take none that earlier runs kept, and keep none
    #[arg(long)]
    no_template_cache: bool,
    /// Most that loaded data kept for later runs may take up in the work directory; the least recently used goes first
    #[arg(long, value_name = "SIZE", default_value_t = Keeping::default().limit, conflicts_with = "no_template_cache")]
    templates_limit: Size,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

impl Run {
    /// Runs it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (source, document) = self.scenario.read()?;
        let plan = expand(&document);
        let options = Options {
            out: self.out,
            work: self.work,
            postgres: self.postgres,
            server_user: self.server_user,
            start_limit: *self.start_limit,
            keep: self.keep,
            templates: Keeping { keep: !self.no_template_cache, limit: self.templates_limit },
            command: std::env::args().collect(),
            program: std::env::current_exe().context("cannot tell which file this program is")?,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let done = runtime.block_on(run(&source, &plan, &options))?;
        let summary = summarize(&record::read(&done.dir)?);
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&summary)?)?;
        } else {
            write!(out, "{}", terminal(&summary))?;
        }
        let mut kept: Vec<String> = done.kept.iter().map(|line| format!("kept up: {line}")).collect();
        if !kept.is_empty() {
            kept.push("hint: `pgbench-rs clean --kept` ends them".into());
        }
        for line in kept {
            // They are no part of the data that --json prints.
            if self.json { writeln!(std::io::stderr(), "{line}")? } else { writeln!(out, "{line}")? }
        }
        Ok(ExitCode::from(if done.interrupted { 130 } else { exit_code(&summary) }))
    }
}
