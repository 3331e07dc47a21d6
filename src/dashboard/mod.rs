//! Grafana's dashboards, made from the catalogue of what is sampled. A [`Panel`] is one value; its Flux and its InfluxQL are
//! both generated from that ([`query`]), so that neither can ask for what the other does not. What is written is Grafana's
//! Classic JSON ([`model`]), which is what files are provisioned with:
//!
//! ```text
//! grafana/dashboards/
//!   flux/run.json …       InfluxDB 2
//!   influxql/run.json …   InfluxDB 1, 2 and 3
//! ```
//!
//! The twins are folders and not one folder with a variable: a panel's query is text, and a variable would change the data
//! source alone.

mod boards;
mod model;
pub mod query;

use crate::metric::sampled::{Kind, Measurement, SampledField};
use std::io;
use std::path::{Path, PathBuf};

pub use query::Language;

/// A page of panels.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// Its file's name, and the end of its uid.
    pub name: &'static str,
    /// What people read.
    pub title: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// Whether it has one run, or two beside each other.
    pub scope: Scope,
    /// From left to right, and then below.
    pub panels: Vec<Panel>,
}

/// What the variables at the top choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A run, its variants and its nodes.
    Run,
    /// Two runs, a variant and a trial of each.
    Two,
}

/// One picture with its heading.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its heading.
    pub title: &'static str,
    /// What it shows and how it is made.
    pub about: &'static str,
    /// How it looks.
    pub view: View,
    /// Grafana's name of the unit.
    pub unit: &'static str,
    /// In 24ths of the page.
    pub width: u32,
    /// What is in it.
    pub queries: Vec<Query>,
}

/// How a panel looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Lines over time.
    Lines,
    /// Areas on top of each other.
    Stacked,
    /// The same, as shares of their sum.
    Shares,
    /// Marks over time: of what happens now and then.
    Marks,
    /// One number.
    Number,
    /// How often which value, over time.
    Heat,
    /// A bar for each series, with its total.
    Bars,
    /// Lines over the time since the trial's zero.
    Elapsed,
}

/// A field of a measurement, and what is made of it.
#[derive(Clone, Debug)]
pub struct Query {
    /// What is read.
    pub from: &'static Measurement,
    /// Its field.
    pub field: &'static SampledField,
    /// How values of an interval become one.
    pub by: Fold,
    /// Tags, beside variant, that make a series.
    pub split: &'static [&'static str],
    /// Tags that have to have a value.
    pub only: &'static [(&'static str, &'static str)],
    /// What it is divided by.
    pub per: f64,
    /// What the series is called, beside its tags.
    pub name: &'static str,
}

/// How values of an interval become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Their mean.
    Mean,
    /// The largest: of percentiles, which are never averaged, too.
    Max,
    /// The last one.
    Last,
    /// Their sum: of counts of intervals.
    Sum,
    /// The same, a second.
    PerSecond,
    /// What a counter rose by, a second. Each series by itself, as counters of two servers have nothing to do with each other,
    /// then added up. One that fell was reset: what was counted across that is not known, and no rate.
    Rate,
}

impl Query {
    /// Of the catalogue's `from.field`.
    fn new(from: &'static Measurement, field: &str, by: Fold) -> Query {
        let field = from.fields.iter().find(|known| known.name == field);
        // The boards are constants of this room, and a test makes all of them.
        let field = field.unwrap_or(&UNKNOWN);
        let split: &[&str] = if has_node(from) { &["node"] } else { &[] };
        Query { from, field, by, split, only: &[], per: 1.0, name: field.name }
    }

    /// With another name.
    fn called(self, name: &'static str) -> Query {
        Query { name, ..self }
    }

    /// With a series for each value of these tags.
    fn split(self, split: &'static [&'static str]) -> Query {
        Query { split, ..self }
    }

    /// Of points with these tags alone.
    fn only(self, only: &'static [(&'static str, &'static str)]) -> Query {
        Query { only, ..self }
    }

    /// Divided by `per`.
    fn per(self, per: f64) -> Query {
        Query { per, ..self }
    }
}

/// Whether its points are of a node, and not of the laboratory as a whole.
fn has_node(from: &Measurement) -> bool {
    !["host", "load_ops", "load_latency", "load_latency_buckets", "ledger"].contains(&from.name)
}

/// In place of a field that is not in the catalogue.
static UNKNOWN: SampledField = SampledField { name: "", from: &[], kind: Kind::Text, unit: "" };

/// All of them.
pub fn all() -> Vec<Dashboard> {
    vec![
        boards::run::board(),
        boards::replication::board(),
        boards::storage::board(),
        boards::clones::board(),
        boards::hosts::board(),
        boards::compare::board(),
    ]
}

/// Their files: where each lies below the folder, and what is in it.
pub fn files() -> Vec<(PathBuf, String)> {
    let file = |language: Language, board: &Dashboard| {
        let path = Path::new(language.name()).join(format!("{}.json", board.name));
        // A JSON value cannot fail to be written.
        (path, format!("{:#}\n", model::dashboard(board, language)))
    };
    let boards = all();
    let both = [Language::Flux, Language::InfluxQl].into_iter();
    both.flat_map(|language| boards.iter().map(move |board| file(language, board))).collect()
}

/// Writes them below `dir`; gives their paths.
///
/// # Errors
/// The path that could not be written, and why.
pub fn write(dir: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut written = Vec::new();
    for (below, text) in files() {
        let path = dir.join(below);
        let folder = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text)).map_err(|e| (path.clone(), e))?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
