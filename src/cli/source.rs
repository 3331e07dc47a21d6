//! The scenario that a command is about: a file or a shipped one, and what the command line lays over it.

use super::Usage;
use crate::scenario::read::{Document, read};
use crate::scenario::{Source, near, shipped};
use clap::Args;
use std::path::Path;

/// Which scenario, and what is changed in it.
#[derive(Debug, Args)]
pub struct ScenarioArgs {
    /// A scenario file, or the name of a shipped scenario (see `list`)
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    /// Set what stands at a path of the scenario, such as `load.app.clients=16` or `phase.kill.lasts=20s`
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// How servers exist, instead of the scenario's way: `process` or `docker`
    #[arg(long, value_name = "KIND")]
    driver: Option<String>,
    /// Image of the servers' containers; `{version}` stands for the major version. Implies `--driver docker`
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Repetitions of each variant, instead of the scenario's
    #[arg(long, value_name = "N")]
    trials: Option<u32>,
    /// End before that many once the first metric of the answer is known within so many per cent in every variant
    #[arg(long, value_name = "PERCENT")]
    within: Option<f64>,
}

impl ScenarioArgs {
    /// Its text with everything laid over it.
    pub fn source(&self) -> anyhow::Result<Source> {
        let trials = self.trials.map(|trials| format!("trials={trials}"));
        let within = self.within.map(|within| format!("stop.within={within}%"));
        let sets = self.driver().into_iter().chain(self.sets.iter().cloned()).chain(trials).chain(within);
        Ok(find(&self.scenario)?.with_sets(sets))
    }

    /// What `--driver` and `--image` set. Before all else, so that `--set driver.host=…` goes over it.
    fn driver(&self) -> Option<String> {
        let kind = self.driver.as_deref().or(self.image.as_ref().map(|_| "docker"))?;
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let image = self.image.as_deref().map(|image| format!(", image = {}", quoted(image))).unwrap_or_default();
        Some(format!("driver={{ kind = {}{image} }}", quoted(kind)))
    }

    /// Read and checked.
    pub fn read(&self) -> anyhow::Result<(Source, Document)> {
        let source = self.source()?;
        let document = read(&source)?;
        Ok((source, document))
    }
}

/// A file, or a shipped scenario. What looks like a path is a file; a name goes to a file only when
/// nothing shipped is called so.
pub fn find(name: &str) -> anyhow::Result<Source> {
    if let Some(shipped) = shipped::find(name) {
        return Ok(shipped.source());
    }
    let path = Path::new(name);
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let hint = near(name, shipped::SHIPPED.iter().map(|shipped| shipped.name))
                .map_or("`pgbench-rs list` shows the shipped scenarios".to_owned(), |near| {
                    format!("did you mean `{near}`?")
                });
            Err(Usage(format!("no file and no shipped scenario is called `{name}`\n\nhint: {hint}")).into())
        }
        Err(error) => Err(Usage(format!("cannot read {name}: {error}")).into()),
    }
}
