//! `[data.NAME]`: what is loaded, before the servers of a trial exist or by a step of it.

use super::{Scenario, Step};
use crate::base::Name;
use crate::etl::imdb::{Files, Schema, schema};
use crate::etl::load::{Indexes, Settings};
use crate::etl::pgbench;
use crate::etl::source::{Source, SourceError};
use crate::etl::synthetic::{Synthetic, Which, source::Tables};
use crate::etl::tables::{self, Shape, shape::Table};
use crate::fault::Fault;
use crate::workload::queries::{self, Answer};
use indexmap::IndexMap;
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
    /// Tables of the user's own, synthetic.
    Tables(UserTables),
    /// pgbench's own tables.
    Pgbench(PgbenchTables),
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

/// Synthetic rows for tables of the user's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserTables {
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// The tables by name.
    pub tables: IndexMap<String, Table>,
    /// How they are loaded.
    #[serde(default)]
    pub load: Settings,
}

/// pgbench's own tables, as a data set: for loads of them that are measured, or done otherwise than a mix's `scale` does it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgbenchTables {
    /// 100,000 accounts for each.
    pub scale: u32,
    /// How they are loaded.
    #[serde(default)]
    pub load: Settings,
}

impl UserTables {
    /// The tables as they are written in a file of their own.
    pub fn shape(&self) -> Shape {
        Shape { seed: self.seed, tables: self.tables.clone() }
    }
}

impl Data {
    /// Opens the source of its rows.
    pub fn source(&self) -> Result<Source, SourceError> {
        match self {
            Data::Imdb(files) => Files::open(&files.from, files.schema).map(Source::Imdb),
            Data::SyntheticImdb(data) => Ok(Source::SyntheticImdb(Tables::new(data.of(), data.schema))),
            Data::Tables(data) => Ok(Source::Tables(tables::Tables::new(data.shape()))),
            Data::Pgbench(data) => Ok(Source::Pgbench(pgbench::source::Tables::new(data.scale))),
        }
    }

    /// How it is loaded.
    pub fn settings(&self) -> &Settings {
        match self {
            Data::Imdb(files) => &files.load,
            Data::SyntheticImdb(data) => &data.load,
            Data::Tables(data) => &data.load,
            Data::Pgbench(data) => &data.load,
        }
    }

    /// Of IMDb's tables, real or synthetic, their schema.
    pub fn imdb(&self) -> Option<Schema> {
        match self {
            Data::Imdb(files) => Some(files.schema),
            Data::SyntheticImdb(data) => Some(data.schema),
            Data::Tables(_) | Data::Pgbench(_) => None,
        }
    }

    /// The names of its tables.
    pub fn names(&self) -> Vec<String> {
        match self {
            Data::Imdb(_) | Data::SyntheticImdb(_) => {
                schema::tables(Schema::default()).into_iter().map(|table| table.name).collect()
            }
            Data::Tables(data) => data.tables.keys().cloned().collect(),
            Data::Pgbench(_) => pgbench::NAMES.map(str::to_owned).into(),
        }
    }

    /// How many titles and people the synthetic tables of IMDb have: their keys have no gaps.
    pub fn counted(&self) -> Option<(u64, u64)> {
        match self {
            Data::Imdb(_) | Data::Tables(_) | Data::Pgbench(_) => None,
            Data::SyntheticImdb(data) => Some((data.of().rows(Which::Titles), data.of().rows(Which::Names))),
        }
    }

    /// What the analytical joins come to on it, where that is known.
    pub fn answers(&self) -> Option<Vec<Answer>> {
        match self {
            Data::Imdb(_) | Data::Tables(_) | Data::Pgbench(_) => None,
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
            Data::Tables(data) => {
                let rows = |(name, table): (&String, &Table)| format!("{name} ({} rows)", table.rows);
                let tables: Vec<String> = data.tables.iter().map(rows).collect();
                format!("synthetic {}, seed {}", tables.join(", "), data.seed)
            }
            Data::Pgbench(data) => format!("pgbench's tables of scale {}", data.scale),
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
    pub fn loaded_by_steps<'s>(&'s self) -> Vec<&'s str> {
        let steps = self.phase.iter().flat_map(|phase| phase.steps.values());
        let loads = |step: &'s Step| match &step.act {
            Fault::Load(load) => Some(load.data.as_str()),
            _ => None,
        };
        steps.filter_map(loads).collect()
    }

    /// The scale at which pgbench's tables are filled because a load wants them and no data set brings them.
    pub fn filled(&self) -> Option<u32> {
        let brought = self.data.values().any(|data| matches!(data, Data::Pgbench(_)));
        self.scale().filter(|_| !brought)
    }

    /// The data sets that are loaded before the servers of a trial exist: all that no step loads.
    pub fn loaded_before(&self) -> impl Iterator<Item = (&Name, &Data)> {
        let later = self.loaded_by_steps();
        self.data.iter().filter(move |(name, _)| !later.contains(&name.as_str()))
    }
}
