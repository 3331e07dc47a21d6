//! `pgbench-rs export`: a results folder as CSV or JSON.

use crate::report::export::{Form, What, export};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print a results folder's rows as CSV (or JSON) for other tools.
///
/// `summary`: one value a row; `events`: dated happenings; `trials`: one row a trial; `latency`: percentiles
/// from the interval logs; `samples`: every sampled value.
#[derive(Debug, Args)]
pub struct Export {
    /// The results folder of a run
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Which rows
    #[arg(long, value_enum, default_value_t = Rows::Summary)]
    what: Rows,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which rows are printed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Rows {
    Summary,
    Events,
    Trials,
    Latency,
    Samples,
}

impl Export {
    /// Prints them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let record = super::record(&self.dir)?;
        let what = match self.what {
            Rows::Summary => What::Summary,
            Rows::Events => What::Events,
            Rows::Trials => What::Trials,
            Rows::Latency => What::Latency,
            Rows::Samples => What::Samples,
        };
        let form = if self.json { Form::Json } else { Form::Csv };
        export(&record, what, form, &mut std::io::stdout().lock())?;
        Ok(ExitCode::SUCCESS)
    }
}
