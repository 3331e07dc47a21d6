//! `pgbench-rs clean`: removes what dead runs left, and nothing else.

use super::template::{Row, known_runs};
use crate::base::index::Index;
use crate::base::inventory::Thing;
use crate::base::units::Size;
use crate::clean::{PastRun, Remains, runs};
use crate::cluster::templates::Store;
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Remove what dead runs left behind: servers still running, data directories, mounts, datasets and pools of ZFS, control groups,
/// network namespaces and devices, and on container engines what bears the run's label.
///
/// Only what stands in the inventory of a run whose harness is gone is touched, and templates that a run which is not known
/// any more left half made. What was kept on purpose (`run --keep`) is listed apart and stays, unless `--kept` is given;
/// templates are listed and stay.
#[derive(Debug, Args)]
pub struct Clean {
    /// Only list, remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove what was kept on purpose as well
    #[arg(long)]
    kept: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is left of a run, and what was done about it.
#[derive(Debug, Default, Serialize)]
struct Cleaned {
    run: String,
    inventory: PathBuf,
    /// Its harness still runs; nothing of it is touched.
    alive: bool,
    directories: Vec<PathBuf>,
    processes: Vec<i32>,
    /// Mounts, control groups, network namespaces and devices; containers, their networks and volumes; in words.
    others: Vec<String>,
    kept_directories: Vec<PathBuf>,
    kept_processes: Vec<i32>,
    kept_others: Vec<String>,
    killed: usize,
    removed: Vec<PathBuf>,
    undone: Vec<String>,
    errors: Vec<String>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct All {
    /// Runs of which something may be left.
    runs: Vec<Cleaned>,
    /// What is kept for later runs.
    templates: Vec<Row>,
    /// Templates that were never finished, of runs that are not known any more; removed, unless only listed.
    half_made: Vec<PathBuf>,
}

impl Clean {
    /// Lists and removes; exit code 4 when something could not be removed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let index = Index::of_user().context("cannot open the list of this user's runs")?;
        let runs = runs(&index).context("cannot read the list of this user's runs")?;
        let cleaned: Vec<Cleaned> = runs.iter().map(|run| self.one(run)).collect();
        let code = ExitCode::from(if cleaned.iter().all(|run| run.errors.is_empty()) { 0 } else { 4 });
        let stores = Store::all_of_user().context("cannot read the list of this user's templates")?;
        let half_made = self.half_made(&stores)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let mut all = All { runs: cleaned, templates: Vec::new(), half_made };
            for store in &stores {
                all.templates.extend(store.list()?.into_iter().map(Row::from));
            }
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
            return Ok(code);
        }
        if cleaned.is_empty() && half_made.is_empty() {
            writeln!(out, "nothing is left of any run")?;
        }
        for run in &cleaned {
            self.print(run, &mut out)?;
        }
        for dir in &half_made {
            let did = if self.dry_run { "left    " } else { "removed " };
            writeln!(out, "{did} {}, a template that was never finished", dir.display())?;
        }
        templates(&stores, &mut out)?;
        Ok(code)
    }

    fn half_made(&self, stores: &[Store]) -> anyhow::Result<Vec<PathBuf>> {
        let (known, mut all) = (known_runs()?, Vec::new());
        for store in stores {
            all.extend(if self.dry_run { store.forsaken(&known)? } else { store.sweep(&known)? });
        }
        Ok(all)
    }

    fn one(&self, run: &PastRun) -> Cleaned {
        let mut cleaned = Cleaned {
            run: run.owner.run.clone(),
            inventory: run.inventory.clone(),
            alive: run.alive,
            ..Cleaned::default()
        };
        match &run.remains {
            Ok(remains) => cleaned.list(remains),
            Err(why) => {
                cleaned.errors.push(format!("{why}; what it created is not known any more, so it is only forgotten"));
                if !self.dry_run
                    && !run.alive
                    && let Err(error) = run.forget()
                {
                    cleaned.errors.push(error.to_string());
                }
                return cleaned;
            }
        }
        if !self.dry_run && !run.alive {
            match run.remove(self.kept) {
                Ok(undone) => {
                    cleaned.killed = undone.killed;
                    cleaned.removed = undone.removed;
                    cleaned.undone = undone.undone.iter().map(Thing::to_string).chain(undone.labelled).collect();
                    cleaned.errors.extend(undone.errors);
                }
                Err(error) => cleaned.errors.push(error.to_string()),
            }
        }
        cleaned
    }

    fn print(&self, run: &Cleaned, out: &mut impl Write) -> std::io::Result<()> {
        if run.alive {
            return writeln!(out, "{}: still running, nothing touched", run.run);
        }
        writeln!(out, "{}: {}", run.run, run.inventory.display())?;
        let would = if self.dry_run { "left   " } else { "was left" };
        for pid in &run.processes {
            writeln!(out, "  {would} process {pid}")?;
        }
        for path in &run.directories {
            writeln!(out, "  {would} {}", path.display())?;
        }
        for other in &run.others {
            writeln!(out, "  {would} {other}")?;
        }
        let kept = if self.kept && !self.dry_run { "was kept" } else { "kept    " };
        for pid in &run.kept_processes {
            writeln!(out, "  {kept} process {pid}")?;
        }
        for path in &run.kept_directories {
            writeln!(out, "  {kept} {}", path.display())?;
        }
        for other in &run.kept_others {
            writeln!(out, "  {kept} {other}")?;
        }
        if !self.dry_run {
            let (directories, others) = (run.removed.len(), run.undone.len());
            writeln!(
                out,
                "  killed {} processes, removed {directories} directories{}",
                run.killed,
                and_others(others)
            )?;
        }
        for error in &run.errors {
            writeln!(out, "  error: {error}")?;
        }
        if run.keeps_something() && !self.kept {
            writeln!(out, "  hint: `pgbench-rs clean --kept` removes what was kept, too")?;
        }
        Ok(())
    }
}

/// What is kept for later runs, which is nobody's remains.
fn templates(stores: &[Store], out: &mut impl Write) -> anyhow::Result<()> {
    for store in stores {
        let all = store.list()?;
        let bytes: u64 = all.iter().filter_map(|kept| Some(kept.card.as_ref()?.bytes)).sum();
        if !all.is_empty() {
            let (count, dir) = (all.len(), store.dir().display());
            writeln!(out, "kept     {count} templates of {} in {dir} (`pgbench-rs template prune`)", Size(bytes))?;
        }
    }
    Ok(())
}

/// Most runs have none.
fn and_others(count: usize) -> String {
    if count == 0 {
        String::new()
    } else {
        format!(", and {count} mounts, datasets, pools, control groups, networks, devices, containers and volumes")
    }
}

impl Cleaned {
    fn keeps_something(&self) -> bool {
        !self.kept_processes.is_empty() || !self.kept_directories.is_empty() || !self.kept_others.is_empty()
    }

    fn list(&mut self, remains: &Remains) {
        for directory in &remains.directories {
            let list = if directory.kept { &mut self.kept_directories } else { &mut self.directories };
            list.push(directory.what.clone());
        }
        for process in &remains.processes {
            let list = if process.kept { &mut self.kept_processes } else { &mut self.processes };
            list.push(process.what.identity.pid);
        }
        for other in &remains.others {
            let list = if other.kept { &mut self.kept_others } else { &mut self.others };
            list.push(other.what.to_string());
        }
        for labelled in &remains.labelled {
            let list = if labelled.kept { &mut self.kept_others } else { &mut self.others };
            list.push(labelled.what.to_string());
        }
        self.errors.extend(remains.unasked.iter().cloned());
    }
}
