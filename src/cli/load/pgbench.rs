//! `pgbench-rs load pgbench`.

use super::show::{grouped, tell};
use super::target::{Signals, host, nobody, runtime, word};
use crate::cli::{Interrupted, Usage};
use crate::etl::load::Existing;
use crate::etl::pgbench::{Found, fill, scale_of};
use crate::pg::connect::{connect, in_words};
use crate::pg::pgbench::ACCOUNTS;
use anyhow::{anyhow, bail};
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Longest that connecting may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two lines about how far it is.
const PLAIN: Duration = Duration::from_secs(5);

/// Make pgbench's four tables, as `pgbench -i` does.
#[derive(Debug, Args)]
pub struct Pgbench {
    /// pgbench's scale: 100,000 accounts for each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=21_474))]
    scale: u32,
    /// How the server is reached: a connection string, by libpq's rules
    #[arg(long, value_name = "CONNINFO")]
    to: String,
    /// What becomes of tables of these names that are there already: fail or drop
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = existing)]
    existing: Existing,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn existing(text: &str) -> Result<Existing, String> {
    match word(text)? {
        Existing::Resume => Err("they are filled in one transaction, and there is nothing to resume".to_owned()),
        other => Ok(other),
    }
}

impl Pgbench {
    /// Makes them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let host = host(&self.to)?;
        let began = Instant::now();
        runtime()?.block_on(async {
            let client = connect(&host, &nobody(), LIMIT).await?;
            let found = scale_of(&client).await.map_err(|error| anyhow!("{}", in_words(&error)))?;
            if found != Found::Nothing && self.existing == Existing::Fail {
                bail!(Usage("pgbench's tables are there already\nhint: --existing drop makes them anew".to_owned()));
            }
            let mut said = Instant::now();
            let say = |done, of| {
                if said.elapsed() >= PLAIN {
                    said = Instant::now();
                    tell(&format!("{} of {} accounts", grouped(done), grouped(of)));
                }
            };
            let mut signals = Signals::listen()?;
            tokio::select! {
                filled = fill(&client, self.scale, say) => filled.map_err(|error| anyhow!("{}", in_words(&error))),
                // The session ends, and its transaction with it.
                () = signals.next() => Err(Interrupted.into()),
            }
        })?;
        let (accounts, seconds) = (ACCOUNTS as u64 * u64::from(self.scale), began.elapsed().as_secs_f64());
        let mut out = std::io::stdout().lock();
        if self.json {
            let all = json!({ "scale": self.scale, "accounts": accounts, "seconds": seconds });
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        } else {
            writeln!(
                out,
                "pgbench's tables of scale {}: {} accounts in {seconds:.1} s",
                self.scale,
                grouped(accounts)
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
