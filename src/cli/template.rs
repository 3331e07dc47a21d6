//! `pgbench-rs template`: the loaded data directories that runs keep for later ones.

use super::Usage;
use crate::base::index::Index;
use crate::base::units::{Size, human};
use crate::cluster::templates::{Kept, STORE, Store, StoreError};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// List or remove the loaded data directories that runs keep, so that later runs need not load the same data again.
#[derive(Debug, Args)]
pub struct Template {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them, the least recently used first
    List(List),
    /// Remove the least recently used ones until the rest fits; those in use stay
    Prune(Prune),
    /// Remove one
    Remove(Remove),
}

/// Which store is meant.
#[derive(Debug, Args)]
struct Where {
    /// The work directory whose templates are meant; default: all of this user's
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    of: Where,
}

#[derive(Debug, Args)]
struct Prune {
    /// Most that those of one work directory may take up
    #[arg(long, value_name = "SIZE", default_value_t = Size(0))]
    to: Size,
    #[command(flatten)]
    of: Where,
}

#[derive(Debug, Args)]
struct Remove {
    /// Its name, or how that begins
    name: String,
    #[command(flatten)]
    of: Where,
}

/// A template, as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    dir: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Vec<serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by_run: Option<String>,
    used_seconds_ago: f64,
}

impl Template {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run(),
            Command::Prune(prune) => prune.run(),
            Command::Remove(remove) => remove.run(),
        }
    }
}

impl Where {
    fn stores(&self) -> anyhow::Result<Vec<Store>> {
        match &self.work {
            // A work directory without a store is to be told from an empty one.
            Some(work) if !work.join(STORE).is_dir() => {
                Err(Usage(format!("{} has no templates: no run has kept any there", work.display())).into())
            }
            Some(work) => Ok(vec![Store::in_work(&std::fs::canonicalize(work)?)?]),
            None => Store::all_of_user().context("cannot read the list of this user's templates"),
        }
    }
}

impl List {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut rows = Vec::new();
        for store in self.of.stores()? {
            rows.extend(store.list()?.into_iter().map(Row::from));
        }
        let mut out = std::io::stdout().lock();
        if self.of.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        } else if rows.is_empty() {
            writeln!(out, "there are no templates")?;
        }
        for row in rows.iter().filter(|_| !self.of.json) {
            let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "what is left of one".to_owned());
            let size = row.bytes.map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string());
            let used = human(Duration::from_secs_f64(row.used_seconds_ago));
            let (version, dir) = (known(&row.version), row.dir.display());
            writeln!(out, "{}  {size}  PostgreSQL {version}  used {used} ago  {dir}", row.name)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Tells which runs stand in this user's index: what they left is for `clean` to undo.
pub(super) fn known_runs() -> anyhow::Result<impl Fn(&str) -> bool> {
    let index = Index::of_user().context("cannot open the list of this user's runs")?;
    let entries = index.entries().context("cannot read the list of this user's runs")?;
    let runs: Vec<String> = entries.into_iter().map(|(_, entry)| entry.owner.run).collect();
    Ok(move |run: &str| runs.iter().any(|known| known == run))
}

impl Prune {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let mut all = Vec::new();
        let known = known_runs()?;
        for store in self.of.stores()? {
            let half_made = store.sweep(&known)?;
            let pruned = store.prune(self.to.0)?;
            if !self.of.json {
                for dir in &half_made {
                    writeln!(out, "removed {}, which was never finished", dir.display())?;
                }
                for (name, bytes) in &pruned.removed {
                    writeln!(out, "removed {name} ({})", Size(*bytes))?;
                }
                let in_use = (pruned.in_use > 0).then(|| format!(", of it {} in use", Size(pruned.in_use)));
                let (left, dir) = (Size(pruned.left), store.dir().display());
                writeln!(out, "{left} left in {dir}{}", in_use.unwrap_or_default())?;
            }
            let removed: Vec<&String> = pruned.removed.iter().map(|(name, _)| name).collect();
            let (left, in_use) = (pruned.left, pruned.in_use);
            all.push(serde_json::json!({
                "store": store.dir(), "removed": removed, "half_made": half_made,
                "left_bytes": left, "in_use_bytes": in_use
            }));
        }
        if self.of.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Remove {
    fn run(self) -> anyhow::Result<ExitCode> {
        let unknown = || StoreError::Unknown(self.name.clone());
        for store in self.of.stores()? {
            let kept = match store.remove(&self.name) {
                Err(StoreError::Unknown(_)) => continue,
                removed => removed.map_err(|error| Usage(error.to_string()))?,
            };
            let mut out = std::io::stdout().lock();
            if self.of.json {
                writeln!(out, "{}", serde_json::to_string_pretty(&Row::from(kept))?)?;
            } else {
                writeln!(out, "removed {}", kept.dir.display())?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Err(Usage(unknown().to_string()).into())
    }
}

impl From<Kept> for Row {
    fn from(kept: Kept) -> Row {
        let ago = SystemTime::now().duration_since(kept.used).unwrap_or_default();
        let card = kept.card.as_ref();
        Row {
            name: kept.name,
            dir: kept.dir,
            bytes: card.map(|card| card.bytes),
            version: card.map(|card| card.wants.version().to_owned()),
            data: card.map(|card| card.wants.data().to_vec()),
            made_at: card.map(|card| card.made_at.clone()),
            made_by_run: card.map(|card| card.run.clone()),
            used_seconds_ago: ago.as_secs_f64(),
        }
    }
}
