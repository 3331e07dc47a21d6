//! `pgbench-rs compare`: is B better or worse than A, and can it be told?

use super::Usage;
use crate::metric::catalogue;
use crate::record::Record;
use crate::report::compare::{Comparison, Wanted, exit_code, markdown, runs, terminal, variants};
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare two results folders, or the variants of one.
///
/// Variants of one run were interleaved and are compared within their rounds; of two runs, variants of the same name
/// are compared. Exit codes: 0 no regression beyond the margin, 1 a regression, 2 these cannot be compared, 3 it
/// cannot be told.
#[derive(Debug, Args)]
pub struct Compare {
    /// The results folder to compare with
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The results folder to compare; absent: the variants of A with each other
    #[arg(value_name = "B")]
    b: Option<PathBuf>,
    /// The variant that the others of a run are compared with; default: its first
    #[arg(long, value_name = "VARIANT", conflicts_with = "b")]
    baseline: Option<String>,
    /// Compare this variant only
    #[arg(long, value_name = "VARIANT")]
    variant: Vec<String>,
    /// What counts as no difference, in per cent either way
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    margin: f64,
    /// Judge these metrics, instead of those of the scenario's answer
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    only: Vec<String>,
    /// Compare runs that did not measure the same thing
    #[arg(long)]
    anyway: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown, for a pull request
    #[arg(long)]
    markdown: bool,
}

impl Compare {
    /// Compares, prints, and says by its exit code what it came to.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if !(self.margin >= 0.0 && self.margin.is_finite()) {
            return Err(Usage(format!("--margin {}: a margin is 0 per cent or more", self.margin)).into());
        }
        if let Some(metric) = self.only.iter().find(|metric| catalogue::find(metric).is_none()) {
            return Err(Usage(format!("--only {metric}: there is no such metric\nhint: the README lists them")).into());
        }
        let wanted = Wanted { margin: self.margin / 100.0, only: self.only.clone() };
        let a = super::record(&self.a)?;
        let comparisons = match &self.b {
            Some(b) => self.two_runs(&a, &super::record(b)?, &wanted)?,
            None => self.one_run(&a, &wanted)?,
        };
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&comparisons)?)?;
        } else {
            let text = if self.markdown { markdown(&comparisons) } else { terminal(&comparisons) };
            write!(out, "{text}")?;
        }
        Ok(ExitCode::from(exit_code(&comparisons)))
    }

    fn one_run(&self, record: &Record, wanted: &Wanted) -> Result<Vec<Comparison>, Usage> {
        let names: Vec<&str> = record.plan.variants.iter().map(|variant| variant.name.as_str()).collect();
        self.known(&names)?;
        let baseline = self.baseline.as_deref().or(names.first().copied()).unwrap_or_default();
        if !names.contains(&baseline) {
            return Err(Usage(no_variant(baseline, &names)));
        }
        let others = names.iter().filter(|name| **name != baseline && self.includes(name));
        let comparisons: Vec<_> = others.map(|other| variants(record, baseline, other, wanted)).collect();
        if comparisons.is_empty() {
            let dir = self.a.display();
            return Err(Usage(format!(
                "nothing to compare {baseline} of {dir} with\nhint: name a second results folder"
            )));
        }
        Ok(comparisons)
    }

    fn two_runs(&self, a: &Record, b: &Record, wanted: &Wanted) -> Result<Vec<Comparison>, Usage> {
        let of_b: Vec<&str> = b.plan.variants.iter().map(|variant| variant.name.as_str()).collect();
        let names: Vec<&str> = a.plan.variants.iter().map(|variant| variant.name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| of_b.contains(name)).collect();
        self.known(&names)?;
        let comparisons: Vec<_> =
            names.iter().filter(|name| self.includes(name)).map(|name| runs(a, b, name, wanted)).collect();
        if comparisons.is_empty() {
            return Err(Usage(
                "the runs have no variant in common\nhint: compare variants of one run with each other".into(),
            ));
        }
        let grave = comparisons.iter().flat_map(|comparison| &comparison.differences).filter(|differs| differs.grave);
        let mut grave: Vec<String> =
            grave.map(|differs| format!("{}: {} in A, {} in B", differs.what, differs.a, differs.b)).collect();
        grave.dedup();
        if !grave.is_empty() && !self.anyway {
            let what = grave.join("\n  ");
            return Err(Usage(format!(
                "these runs did not measure the same thing\n  {what}\nhint: --anyway compares them all the same"
            )));
        }
        Ok(comparisons)
    }

    fn known(&self, names: &[&str]) -> Result<(), Usage> {
        match self.variant.iter().find(|variant| !names.contains(&variant.as_str())) {
            Some(variant) => Err(Usage(no_variant(variant, names))),
            None => Ok(()),
        }
    }

    fn includes(&self, name: &str) -> bool {
        self.variant.is_empty() || self.variant.iter().any(|variant| variant == name)
    }
}

fn no_variant(name: &str, names: &[&str]) -> String {
    format!("there is no variant {name}\nhint: there are {}", names.join(", "))
}
