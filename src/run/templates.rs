//! What trials start from: the templates that a plan needs, found in the work directory's store or made.

use super::Lab;
use super::progress::Progress;
use super::signals::Stop;
use crate::base::units::{Size, human};
use crate::cluster::template::{FillError, Template};
use crate::cluster::templates::{Store, Wants};
use crate::driver::{Make, Setup};
use crate::etl;
use crate::pg::{Secret, conf};
use crate::plan::Plan;
use crate::probe::{ledger, visibility};
use crate::record;
use crate::scenario::Scenario;
use anyhow::Context;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// What becomes of templates when the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// They are kept for later runs, and taken from earlier ones.
    pub keep: bool,
    /// Most that all of the work directory may take up in the end.
    pub limit: Size,
}

/// The templates of a run.
pub struct Templates {
    /// Where they are kept, if they are.
    store: Option<Store>,
    limit: Size,
    ready: BTreeMap<Need, Template>,
}

/// What a trial starts from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Scale of pgbench's tables.
    scale: Option<u32>,
    /// What makes its servers; see [`Make::key`].
    make: String,
}

impl Need {
    /// What a scenario needs; `check` has seen to it that its loads agree on a scale, and its nodes on a version.
    pub fn of(scenario: &Scenario, make: &Make) -> Need {
        Need { scale: scenario.scale(), make: make.key() }
    }

    /// A word for people, of which names of directories are made.
    fn label(&self) -> String {
        self.scale.map_or("empty".to_owned(), |scale| format!("pgbench{scale}"))
    }

    /// What is loaded, for the key.
    fn data(&self) -> Vec<serde_json::Value> {
        self.scale.iter().map(|scale| json!({ "pgbench": { "scale": scale } })).collect()
    }

    async fn fill(self, client: Client, progress: Arc<Progress>) -> Result<(), FillError> {
        if let Some(scale) = self.scale {
            let say = |rows, of| progress.doing(&format!("filling pgbench's tables: {rows} of {of} accounts"));
            etl::pgbench::fill(&client, scale, say).await?;
        }
        ledger::prepare(&client).await?;
        visibility::prepare(&client).await?;
        Ok(())
    }
}

impl Templates {
    /// The store of the work directory, as far as the plan has use for it, and the password of the run's servers.
    pub fn open(
        keeping: Keeping,
        plan: &Plan,
        setup: &Setup,
        progress: &Progress,
    ) -> anyhow::Result<(Templates, Secret)> {
        let mut templates = Templates { store: None, limit: keeping.limit, ready: BTreeMap::new() };
        let ours = plan.variants.iter().any(|variant| variant.scenario.has_processes());
        if !keeping.keep || !ours {
            return Ok((templates, conf::random_password()));
        }
        std::fs::create_dir_all(&setup.work).with_context(|| format!("cannot make {}", setup.work.display()))?;
        let store = Store::open(&setup.work)?;
        if let Some(why) = store.refuses()? {
            progress.say(&format!("templates are not kept: {why}"));
            return Ok((templates, conf::random_password()));
        }
        let password = store.password()?;
        templates.store = Some(store);
        Ok((templates, password))
    }

    /// The template that a scenario needs, if it is ready.
    pub fn get(&self, need: &Need) -> Option<&Template> {
        self.ready.get(need)
    }

    /// Lets go of all of them; what the store then holds beyond its limit is removed. What could not be is said.
    pub fn close(self, progress: &Progress) {
        let Templates { store, limit, ready } = self;
        drop(ready);
        let Some(store) = store else { return };
        match store.prune(limit.0) {
            Ok(pruned) => {
                for (name, bytes) in &pruned.removed {
                    progress
                        .say(&format!("removed the template {name} ({}): more than {limit} are kept", Size(*bytes)));
                }
            }
            Err(error) => progress.say(&format!("warning: {error}")),
        }
    }
}

impl Lab {
    /// Makes the template that a scenario needs ready, unless it is.
    pub(super) async fn template(&mut self, scenario: &Scenario, stop: &Stop) -> anyhow::Result<()> {
        if scenario.is_external() {
            return Ok(());
        }
        let make = self.makes.of_all(scenario)?.clone();
        let need = Need::of(scenario, &make);
        if self.templates.ready.contains_key(&need) {
            return Ok(());
        }
        let mut stop = stop.clone();
        let template = tokio::select! {
            template = self.make_template(&need, &make) => template?,
            () = stop.wait() => return Ok(()),
        };
        self.progress.say(&in_words(&need.label(), &template));
        self.templates.ready.insert(need, template);
        Ok(())
    }

    async fn make_template(&self, need: &Need, make: &Make) -> anyhow::Result<Template> {
        let progress = self.progress.clone();
        let fill = {
            let (need, progress) = (need.clone(), progress.clone());
            move |client: Client| need.fill(client, progress)
        };
        let template = match (&self.templates.store, make) {
            (Some(store), Make::Process(_)) => {
                let wants = Wants::new(make, self.place.uid(), need.data());
                let label = need.label();
                Template::kept(&self.place, (store, &label, &wants), make, fill, |line| progress.doing(line)).await?
            }
            _ => {
                let mut name = need.label();
                if self.templates.ready.keys().any(|other| other.make != need.make) {
                    name += &format!("-{}", make.label());
                }
                progress.doing(&format!("making the template {name}"));
                Template::build(&self.place, &name, make, fill).await?
            }
        };
        Ok(template)
    }

    /// For the record: what trials started from.
    pub(super) fn started_from(&self) -> Vec<record::Template> {
        self.templates.ready.iter().map(|(need, template)| recorded(need, template)).collect()
    }
}

/// What a template is, and how nodes come by its data.
fn in_words(label: &str, template: &Template) -> String {
    let of = match template.held() {
        Some(held) => {
            let name = held.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let took = human(Duration::from_secs_f64(held.card.took));
            format!("template {name} ({}, made in {took} at {})", Size(held.card.bytes), held.card.made_at)
        }
        None => format!("template {label}, of this run alone"),
    };
    match template.choice() {
        Some(choice) => format!("{of}; nodes come by `{}`: {}", choice.driver, choice.why),
        None => format!("{of}; nodes are copied by their engine"),
    }
}

fn recorded(need: &Need, template: &Template) -> record::Template {
    let held = template.held();
    record::Template {
        name: held.map_or_else(
            || need.label(),
            |held| held.dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        ),
        kept: held.is_some(),
        data: need.data(),
        made_at: held.map(|held| held.card.made_at.clone()),
        made_by_run: held.map(|held| held.card.run.clone()),
        bytes: held.map(|held| held.card.bytes),
        method: template.choice().map(|choice| choice.driver.to_string()),
        why: template.choice().map(|choice| choice.why.clone()),
    }
}
