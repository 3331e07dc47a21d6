//! `pgbench-rs clone destroy`.

use super::{remove, shelf};
use crate::cli::Usage;
use crate::clone::shelf::Item;
use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// End clones and remove all of them. What is half made is removed, too; nothing that lacks our mark ever is.
#[derive(Debug, Args)]
pub struct Destroy {
    /// The clones; of one that is not known here, its dataset, as `list` says it
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Those whose time is over
    #[arg(long)]
    expired: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Destroyed {
    name: String,
    removed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Destroy {
    /// Does it; exit code 4 when one could not be removed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.names.is_empty() && !self.expired {
            return Err(Usage("which clone? name it, or say --expired".to_owned()).into());
        }
        let shelf = shelf()?;
        let (all, now) = (shelf.all()?, Timestamp::now());
        // No clone's name has a slash in it, and every dataset's has one.
        let (datasets, names): (Vec<_>, Vec<_>) = self.names.iter().partition(|name| name.contains('/'));
        for name in names {
            if !all.iter().any(|item| item.card.name == *name) {
                shelf.get(name)?;
            }
        }
        let strays = if datasets.is_empty() { Vec::new() } else { shelf.strays(&all)? };
        let mut stray = Vec::new();
        for dataset in datasets {
            let found = strays.iter().find(|stray| stray.told.dataset == *dataset);
            stray.push(found.with_context(|| format!("there is no clone in a dataset {dataset} that nobody knows"))?);
        }
        let wanted = |item: &&Item| self.names.contains(&item.card.name) || (self.expired && item.is_expired(now));
        let mut items: Vec<&Item> = all.iter().filter(wanted).collect();
        // A clone before the base that it was made of.
        items.sort_by(|a, b| b.card.created_at.cmp(&a.card.created_at));
        let mut destroyed = Vec::new();
        for item in items {
            let name = item.card.name.clone();
            destroyed.push(match remove(&shelf, item) {
                Ok(removed) => Destroyed { name, removed, error: None },
                Err(error) => Destroyed { name, removed: Vec::new(), error: Some(format!("{error:#}")) },
            });
        }
        destroyed.extend(stray.into_iter().map(|stray| {
            let (name, dataset) = (stray.told.name.clone(), stray.told.dataset.clone());
            match stray.remove() {
                Ok(()) => Destroyed { name, removed: vec![format!("dataset {dataset}")], error: None },
                Err(error) => Destroyed { name, removed: Vec::new(), error: Some(format!("{dataset}: {error}")) },
            }
        }));
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&destroyed)?)?;
        } else if destroyed.is_empty() {
            writeln!(out, "no clone's time is over")?;
        } else {
            for Destroyed { name, error, .. } in &destroyed {
                match error {
                    None => writeln!(out, "clone `{name}` is gone")?,
                    Some(error) => writeln!(out, "error: {error}")?,
                }
            }
        }
        Ok(ExitCode::from(if destroyed.iter().all(|one| one.error.is_none()) { 0 } else { 4 }))
    }
}
