//! `pgbench-rs load tables`.

use super::target::Target;
use crate::cli::Usage;
use crate::etl::source::Source;
use crate::etl::tables::Tables;
use crate::scenario;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Load synthetic rows into tables of your own, which a file describes: columns, types, distributions, references.
///
/// A table is written like this:
///
///   [tables.orders]
///   rows        = 100_000
///   primary_key = ["id"]
///   columns.id          = { type = "bigint", values = { kind = "sequence" } }
///   columns.customer_id = { type = "bigint", references = "customer.id", values = { kind = "zipf", exponent = 0.9 } }
///   columns.status      = { type = "text", values = { kind = "choice", weights = { open = 1, paid = 9 } } }
///
/// Kinds of values: sequence, uniform, zipf, gaussian, choice, text. The same file gives the same rows, to the byte.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct UserTables {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    target: Target,
}

impl UserTables {
    /// Loads them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let name = self.file.display().to_string();
        let text =
            std::fs::read_to_string(&self.file).map_err(|error| Usage(format!("cannot read {name}: {error}")))?;
        let shape = scenario::tables::read(&scenario::Source::new(name, text))?;
        self.target.load(Source::Tables(Tables::new(shape)))
    }
}
