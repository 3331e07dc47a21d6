//! `[data.NAME]`: what is loaded, before the servers of a trial exist or by a step of it.

use super::Scenario;
use crate::base::Name;
use crate::etl::imdb::{Files, Schema};
use crate::etl::load::{Indexes, Settings};
use crate::etl::source::{Source, SourceError};
use crate::etl::synthetic::{Synthetic, Which, source::Tables};
use crate::fault::Fault;
use crate::workload::queries::{self, Answer};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[data.NAME]`, by its `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// IMDb's seven files.
    Imdb(ImdbFiles),
    /// The same tables, synthetic.
    SyntheticImdb(SyntheticImdb),
}

/// IMDb's seven files, which the user has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImdbFiles {
    /// The folder with them, plain or gzip.
    pub from: PathBuf,
    /// Which types the columns have.
    #[serde(default)]
    pub schema: Schema,
    /// How they are loaded.
    #[serde(default)]
    pub load: Settings,
}

/// The tables of IMDb at any size, with nothing of its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticImdb {
    /// Its size; 1 is IMDb's of February 2026.
    pub scale: f64,
    /// Seed of everything in it.
    #[serde(default)]
    pub seed: u64,
    /// Which types the columns have.
    #[serde(default)]
    pub schema: Schema,
    /// How they are loaded.
    #[serde(default)]
    pub load: Settings,
}

impl SyntheticImdb {
    fn of(&self) -> Synthetic {
        Synthetic { scale: self.scale, seed: self.seed }
    }
}

impl Data {
    /// Opens the source of its rows.
    pub fn source(&self) -> Result<Source, SourceError> {
        match self {
            Data::Imdb(files) => Files::open(&files.from, files.schema).map(Source::Imdb),
            Data::SyntheticImdb(data) => Ok(Source::SyntheticImdb(Tables::new(data.of(), data.schema))),
        }
    }

    /// How it is loaded.
    pub fn settings(&self) -> &Settings {
        match self {
            Data::Imdb(files) => &files.load,
            Data::SyntheticImdb(data) => &data.load,
        }
    }

    /// Of IMDb's tables, real or synthetic, their schema.
    pub fn imdb(&self) -> Option<Schema> {
        match self {
            Data::Imdb(files) => Some(files.schema),
            Data::SyntheticImdb(data) => Some(data.schema),
        }
    }

    /// How many titles and people the synthetic tables of IMDb have: their keys have no gaps.
    pub fn counted(&self) -> Option<(u64, u64)> {
        match self {
            Data::Imdb(_) => None,
            Data::SyntheticImdb(data) => Some((data.of().rows(Which::Titles), data.of().rows(Which::Names))),
        }
    }

    /// What the analytical joins come to on it, where that is known.
    pub fn answers(&self) -> Option<Vec<Answer>> {
        match self {
            Data::Imdb(_) => None,
            Data::SyntheticImdb(data) => queries::answers(data.scale, data.seed),
        }
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        let what = match self {
            Data::Imdb(files) => format!("IMDb's files in {} ({} columns)", files.from.display(), files.schema),
            Data::SyntheticImdb(data) => {
                format!("synthetic IMDb of scale {}, seed {} ({} columns)", data.scale, data.seed, data.schema)
            }
        };
        let settings = self.settings();
        let indexes = match settings.indexes {
            Indexes::After => "indexes after the rows",
            Indexes::Before => "indexes before the rows",
            Indexes::None => "without indexes",
        };
        let streams = settings.streams.map_or(String::new(), |streams| format!(", {streams} streams"));
        format!("{what}, {indexes}{streams}")
    }
}

impl Scenario {
    /// Names of the data sets that steps load into the standing cluster.
    pub fn loaded_by_steps(&self) -> Vec<&str> {
        let steps = self.phase.iter().flat_map(|phase| phase.steps.values());
        let load = |act| match act {
            &Fault::Load(ref load) => Some(load.data.as_str()),
            _ => None,
        };
        steps.filter_map(|step| load(&step.act)).collect()
    }

    /// The data sets that are loaded before the servers of a trial exist: all that no step loads.
    pub fn loaded_before(&self) -> impl Iterator<Item = (&Name, &Data)> {
        let later = self.loaded_by_steps();
        self.data.iter().filter(move |(name, _)| !later.contains(&name.as_str()))
    }
}
