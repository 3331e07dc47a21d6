//! `pgbench-rs generate`: synthetic data as files.

use super::load::show::{grouped, tell};
use super::load::synthetic::Which;
use crate::base::units::{Size, human};
use crate::etl::synthetic::Generator;
use crate::etl::synthetic::files::{Settings, Written, write};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two lines about how far it is.
const PLAIN: Duration = Duration::from_secs(5);

/// Write synthetic data into files.
#[derive(Debug, Args)]
pub struct Generate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Imdb(Imdb),
}

impl Generate {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Imdb(command) => command.run(),
        }
    }
}

/// Write a synthetic IMDb: seven TSV files in IMDb's form, which `load imdb` and others read.
///
/// It has IMDb's shape and nothing of its content, and a note beside the files says so. The same scale and seed give the
/// same files, to the byte.
#[derive(Debug, Args)]
struct Imdb {
    #[command(flatten)]
    which: Which,
    /// The folder for the files; synthetic ones that are there give way
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Compress them
    #[arg(long)]
    gzip: bool,
    /// Threads; default: as many as this machine has CPUs
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZero<usize>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Imdb {
    fn run(self) -> anyhow::Result<ExitCode> {
        let of = self.which.data()?;
        let threads = match self.threads {
            Some(threads) => threads.get(),
            None => std::thread::available_parallelism().map_or(2, usize::from),
        };
        let began = Instant::now();
        let (mut rows, mut bytes, mut said) = (0, 0, began);
        let written =
            write(&Generator::new(of), &self.to, Settings { gzip: self.gzip, threads }, |which, more, size| {
                rows += more;
                bytes += size;
                if said.elapsed() >= PLAIN {
                    said = Instant::now();
                    let elapsed = human(began.elapsed());
                    tell(&format!("{}: {} rows, {} in {elapsed}", which.name(), grouped(rows), Size(bytes)));
                }
            })
            .context("generating")?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let file = |file: &Written| json!({ "path": file.path, "rows": file.rows, "bytes": file.bytes });
            let files: Vec<_> = written.iter().map(file).collect();
            let seconds = began.elapsed().as_secs_f64();
            let all =
                json!({ "note": of.note(), "scale": of.scale, "seed": of.seed, "seconds": seconds, "files": files });
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        } else {
            for file in &written {
                writeln!(out, "{}: {} rows, {}", file.path.display(), grouped(file.rows), Size(file.bytes))?;
            }
            writeln!(out, "{}: {} rows, {} in {}", of.note(), grouped(rows), Size(bytes), human(began.elapsed()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
