//! `pgbench-rs report`: the summary of a results folder, on the terminal or as a page.

use super::Usage;
use crate::record::Record;
use crate::report::compare::{Wanted, runs, terminal as compared};
use crate::report::{exit_code, html, summarize, terminal};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the summary of a results folder again, or make its page again.
///
/// Of two folders it shows both, and how they compare.
#[derive(Debug, Args)]
pub struct Report {
    /// The results folder of a run
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Another one
    #[arg(value_name = "DIR2")]
    other: Option<PathBuf>,
    /// Print JSON
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Write the page: into the folder as report.html, or where you say
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    html: Option<Option<PathBuf>>,
}

impl Report {
    /// Prints or writes it; the exit code is the run's, of two runs the worse.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut records = vec![super::record(&self.dir)?];
        if let Some(other) = &self.other {
            records.push(super::record(other)?);
        }
        let summaries: Vec<_> = records.iter().map(summarize).collect();
        let mut out = std::io::stdout().lock();
        if let Some(file) = &self.html {
            writeln!(out, "{}", self.page(&records, file.as_ref())?.display())?;
        } else if self.json {
            match summaries.as_slice() {
                [summary] => writeln!(out, "{}", serde_json::to_string_pretty(summary)?)?,
                both => writeln!(out, "{}", serde_json::to_string_pretty(both)?)?,
            }
        } else {
            let texts: Vec<String> = summaries.iter().map(terminal).collect();
            write!(out, "{}", texts.join("\n"))?;
            if let [a, b] = records.as_slice() {
                write!(out, "\n{}", comparison(a, b))?;
            }
        }
        Ok(ExitCode::from(summaries.iter().map(exit_code).max().unwrap_or(0)))
    }

    fn page(&self, records: &[Record], file: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
        match (records, file) {
            ([record], None) => Ok(html::write(record)?),
            (records, Some(file)) => {
                html::write_to(&records.iter().collect::<Vec<_>>(), file)?;
                Ok(file.clone())
            }
            _ => {
                Err(Usage("a page about two runs belongs to neither folder\nhint: say where: --html=FILE".into())
                    .into())
            }
        }
    }
}

/// How the variants that both runs have compare.
fn comparison(a: &Record, b: &Record) -> String {
    let wanted = Wanted { margin: 0.05, only: Vec::new() };
    let common = a.plan.variants.iter().filter(|variant| b.plan.variant(&variant.name).is_some());
    let comparisons: Vec<_> = common.map(|variant| runs(a, b, &variant.name, &wanted)).collect();
    if comparisons.is_empty() { "the runs have no variant in common\n".into() } else { compared(&comparisons) }
}
