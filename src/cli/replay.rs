//! `pgbench-rs replay`: the points of a results folder, sent to a server.

use super::Usage;
use super::destination::DestinationArgs;
use crate::record::{Record, write_manifest};
use crate::run::tell;
use crate::sink::{self, Destination, Pace, Say};
use anyhow::Context;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Send the points of a results folder to InfluxDB or VictoriaMetrics.
///
/// As often as wanted: the same points overwrite each other. To a sink of the run's own scenario only what it did not
/// get is sent, and `run.json` says then what it has. Exit code 4 if some points did not arrive.
#[derive(Debug, Args)]
pub struct Replay {
    /// The results folder of a run
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Name of a `[sink.NAME]` of its scenario, or an address: of VictoriaMetrics, or of InfluxDB
    #[arg(long, value_name = "NAME|URL")]
    to: String,
    #[command(flatten)]
    server: DestinationArgs,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Sends them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut record = super::record(&self.dir)?;
        let (destination, offset) = self.destination(&record)?;
        let door = destination.open()?;
        let say: Say = Arc::new(tell);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sent = sink::replay(door, "replay", &record.dir, offset, Pace::default(), &say);
        let account = runtime.block_on(sent).with_context(|| format!("cannot read {}", record.dir.display()))?;
        if !self.is_address() {
            let before = record.manifest.sinks.get(&self.to);
            let after = before.map_or_else(|| account.clone(), |before| before.resumed(&account));
            record.manifest.sinks.insert(self.to.clone(), after);
            write_manifest(&record.dir, &record.manifest)?;
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&account)?)?;
        } else {
            writeln!(out, "{}: {}", destination.url(), account.in_words())?;
        }
        Ok(ExitCode::from(if account.acknowledged == account.produced { 0 } else { 4 }))
    }

    /// Whether it goes to an address, and not to a sink of the run's scenario.
    fn is_address(&self) -> bool {
        self.to.contains("://")
    }

    /// Where to, and from which byte of the file on.
    fn destination(&self, record: &Record) -> Result<(Destination, u64), Usage> {
        if !self.is_address() {
            let sinks = record.plan.variants.first().map(|variant| &variant.scenario.sinks);
            let Some(sink) = sinks.and_then(|sinks| sinks.get(&self.to)) else {
                let names: Vec<&str> = sinks.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                let known =
                    if names.is_empty() { "it has none".into() } else { format!("it has {}", names.join(", ")) };
                let hint = "or write an address such as `http://127.0.0.1:8086`";
                return Err(Usage(format!("the run has no sink `{}`\nhint: {known}; {hint}", self.to)));
            };
            let offset = record.manifest.sinks.get(&self.to).map_or(0, |account| account.offset);
            return Ok((sink.clone(), offset));
        }
        Ok((self.server.at(&self.to)?, 0))
    }
}
