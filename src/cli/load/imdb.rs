//! `pgbench-rs load imdb`.

use super::show;
use super::target::{Target, runtime, word};
use crate::cli::{Interrupted, Usage};
use crate::etl::imdb::fetch::{ADDRESS, fetch};
use crate::etl::imdb::{Files, Schema};
use crate::etl::source::Source;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Load IMDb's seven public files: name.basics, title.akas, title.basics, title.crew, title.episode, title.principals,
/// title.ratings, each as .tsv or .tsv.gz.
///
/// IMDb gives them for personal and non-commercial use only, and they must not be handed on
/// (<https://developer.imdb.com/non-commercial-datasets/>). They are about 2 GB compressed and some 200 million rows.
#[derive(Debug, Args)]
pub struct Imdb {
    /// The folder that has the files
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// First get those that are missing from IMDb, by which you say that your use is personal and non-commercial. What was
    /// cut goes on where it ended
    #[arg(long)]
    fetch: bool,
    /// Where to get them instead of from IMDb itself, such as a mirror of your own
    #[arg(long, value_name = "URL", default_value = ADDRESS, requires = "fetch")]
    fetch_from: String,
    /// Types of the columns: typed (integers, booleans, arrays, JSON) or text (all of them text)
    #[arg(long, value_name = "SCHEMA", default_value = "typed", value_parser = word::<Schema>)]
    schema: Schema,
    #[command(flatten)]
    target: Target,
}

impl Imdb {
    /// Loads them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.fetch {
            runtime()?.block_on(self.get())?;
        }
        let files = Files::open(&self.from, self.schema).map_err(|error| Usage(error.to_string()))?;
        self.target.load(Source::Imdb(files))
    }

    async fn get(&self) -> anyhow::Result<()> {
        let mut signals = super::target::Signals::listen()?;
        let shown = show::Fetching::new();
        tokio::select! {
            done = fetch(&self.fetch_from, &self.from, |fetching| shown.say(fetching)) => Ok(done?),
            () = signals.next() => Err(Interrupted.into()),
        }
    }
}
