//! `pgbench-rs history`: how a scenario's metrics went over many runs, and where they changed.

use super::Usage;
use crate::driver::start::whole;
use crate::metric::catalogue;
use crate::record::{Record, read};
use crate::report::history::{History as Found, Wanted, exit_code, history, terminal};
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show how a scenario's metrics went over many runs, and where their level changed.
///
/// Runs of other machines, versions of PostgreSQL, loads or phases stand apart. Exit codes: 0 no change for the worse among
/// the newest runs, 1 one, 3 it cannot be told.
#[derive(Debug, Args)]
pub struct History {
    /// The scenario's name
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    /// Results folders, or folders of them; default: results
    #[arg(value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Look at these metrics, instead of those of the scenario's answer
    #[arg(long, value_name = "METRIC", value_delimiter = ',')]
    only: Vec<String>,
    /// Make one series of the runs of all machines and versions, and say what differs where
    #[arg(long)]
    mix: bool,
    /// A change for the worse counts while it lies in so many of the newest runs
    #[arg(long, value_name = "RUNS", default_value_t = 5)]
    recent: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl History {
    /// Prints it, and says by its exit code what it came to.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(metric) = self.only.iter().find(|metric| catalogue::find(metric).is_none()) {
            return Err(Usage(format!("--only {metric}: there is no such metric\nhint: the README lists them")).into());
        }
        let found = self.found()?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
        } else {
            write!(out, "{}", terminal(&found))?;
        }
        Ok(ExitCode::from(exit_code(&found)))
    }

    fn found(&self) -> Result<Found, Usage> {
        let default = [PathBuf::from("results")];
        let dirs: &[PathBuf] = if self.dirs.is_empty() { &default } else { &self.dirs };
        let (mut records, mut left_out) = (Vec::<Record>::new(), Vec::new());
        for dir in dirs {
            for folder in folders(dir).map_err(|error| Usage(format!("cannot read {}: {error}", dir.display())))? {
                match read(&folder) {
                    Ok(record) if record.manifest.scenario == self.scenario => {
                        // Named twice is still one run.
                        if !records.iter().any(|known| known.manifest.run_id == record.manifest.run_id) {
                            records.push(record);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => left_out.push(whole(&error)),
                }
            }
        }
        if records.is_empty() {
            let places: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            let (scenario, places) = (&self.scenario, places.join(", "));
            let unread = if left_out.is_empty() { String::new() } else { format!("\n{}", left_out.join("\n")) };
            return Err(Usage(format!(
                "no run of {scenario} in {places}{unread}\nhint: `pgbench-rs run {scenario}` makes one; other folders may be named"
            )));
        }
        let wanted = Wanted { only: self.only.clone(), mix: self.mix, recent: self.recent };
        Ok(history(&self.scenario, records, left_out, &wanted))
    }
}

/// The results folders that `dir` is or holds, or that stand one below (`results/<date and machine>/<run>`).
fn folders(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    if dir.join("run.json").is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let below = |dir: &Path| -> std::io::Result<Vec<PathBuf>> {
        let mut all = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        all.retain(|path| path.is_dir());
        all.sort();
        Ok(all)
    };
    let mut found = Vec::new();
    for path in below(dir)? {
        if path.join("run.json").is_file() {
            found.push(path);
        } else {
            found.extend(below(&path)?.into_iter().filter(|path| path.join("run.json").is_file()));
        }
    }
    Ok(found)
}
