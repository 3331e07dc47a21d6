//! What trials start from: the templates that a plan needs, found in the work directory's store or made.

use super::Lab;
use super::progress::Progress;
use super::signals::Stop;
use crate::base::units::{Size, human};
use crate::cluster::template::{FillError, Template};
use crate::cluster::templates::{Store, Wants};
use crate::driver::{Make, Setup};
use crate::etl;
use crate::etl::load::{self, Loaded, Order, Settings};
use crate::etl::source::Source;
use crate::fault::load::Sets;
use crate::pg::{Host, Login, Secret, conf};
use crate::plan::{self, Plan};
use crate::probe::{ledger, visibility};
use crate::record;
use crate::scenario::{Data, Scenario};
use anyhow::Context;
use serde_json::json;
use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// Why templates on engines of other machines, and servers of somebody else's, are not kept here.
const ELSEWHERE: &str = "the servers are on another machine";
/// How often it is said how far a load is.
const SHOW: Duration = Duration::from_secs(1);

/// What becomes of templates when the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// They are kept for later runs, and taken from earlier ones.
    pub keep: bool,
    /// Most that all of the work directory may take up in the end.
    pub limit: Size,
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping { keep: true, limit: Size(20 << 30) }
    }
}

/// The templates of a run.
pub struct Templates {
    /// Where they are kept; or why they are not, so that each run loads again.
    store: Result<Store, String>,
    limit: Size,
    ready: BTreeMap<Need, Template>,
}

/// What a trial starts from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Scale of pgbench's tables.
    scale: Option<u32>,
    /// Data sets: name, and all that their rows and tables depend on, as JSON.
    data: Vec<(String, String)>,
    /// What makes its servers; see [`Make::key`].
    make: String,
}

impl Need {
    /// What those nodes of a scenario need that `make` makes; `check` has seen to it that its loads agree on a scale.
    pub fn of(scenario: &Scenario, make: &Make) -> anyhow::Result<Need> {
        let key = |(name, data): (&String, &Data)| {
            let source = data.source().with_context(|| format!("the data set `{name}`"))?;
            let tables = source.tables();
            let keys: Vec<String> = (0..tables.len()).map(|table| source.key(table)).collect();
            // The tables as they will be, so that a change of ours to a schema is another template.
            let schema = format!("{tables:?}");
            let key = json!({ "source": source.name(), "keys": keys, "schema": schema, "load": data.settings() });
            Ok((name.clone(), key.to_string()))
        };
        let data = scenario.loaded_before().map(key).collect::<anyhow::Result<_>>()?;
        Ok(Need { scale: scenario.filled(), data, make: make.key() })
    }

    /// A word for people, of which names of directories are made.
    fn label(&self) -> String {
        let scale = self.scale.map(|scale| format!("pgbench{scale}"));
        let words: Vec<String> = scale.into_iter().chain(self.data.iter().map(|(name, _)| name.clone())).collect();
        if words.is_empty() { "empty".to_owned() } else { words.join("-") }
    }

    /// What is loaded, for the key.
    fn data(&self) -> Vec<serde_json::Value> {
        let scale = self.scale.iter().map(|scale| json!({ "pgbench": { "scale": scale } }));
        scale.chain(self.data.iter().map(|(name, key)| json!({ name: key }))).collect()
    }
}

/// What fills a template.
struct Filling {
    scale: Option<u32>,
    sets: Vec<(String, Source, Settings)>,
    login: Login,
    rejects: PathBuf,
    progress: Arc<Progress>,
}

impl Filling {
    async fn fill(self, client: Client, host: Host) -> Result<serde_json::Value, FillError> {
        if let Some(scale) = self.scale {
            let say = |rows, of| self.progress.doing(&format!("filling pgbench's tables: {rows} of {of} accounts"));
            etl::pgbench::fill(&client, scale, say).await?;
        }
        let mut loaded = serde_json::Map::new();
        for (name, source, settings) in &self.sets {
            let done = self.load(name, source, settings, &host).await?;
            loaded.insert(name.clone(), serde_json::to_value(done)?);
        }
        ledger::prepare(&client).await?;
        visibility::prepare(&client).await?;
        Ok(loaded.into())
    }

    async fn load(&self, name: &str, source: &Source, settings: &Settings, host: &Host) -> Result<Loaded, FillError> {
        let far = Arc::new(load::Progress::new(source));
        let order = Order {
            source: source.clone(),
            host: host.clone(),
            login: self.login.clone(),
            settings: settings.clone(),
            rejects: self.rejects.join(name),
            progress: far.clone(),
        };
        let mut loading = pin!(load::load(order, pending()));
        loop {
            tokio::select! {
                loaded = &mut loading => return Ok(loaded?),
                () = tokio::time::sleep(SHOW) => {
                    let now = far.now();
                    let left = now.remaining().map_or(String::new(), |left| format!(", {} left", human(left)));
                    self.progress.doing(&format!("loading {name}: {} rows{left}", now.rows));
                }
            }
        }
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
        let not = |why: &str| Templates { store: Err(why.to_owned()), limit: keeping.limit, ready: BTreeMap::new() };
        if !keeping.keep {
            return Ok((not("--no-template-cache"), conf::random_password()));
        }
        if !plan.variants.iter().any(|variant| variant.scenario.has_servers_here()) {
            return Ok((not(ELSEWHERE), conf::random_password()));
        }
        std::fs::create_dir_all(&setup.work).with_context(|| format!("cannot make {}", setup.work.display()))?;
        let store = Store::open(&setup.work)?;
        if let Some(why) = store.refuses()? {
            progress.say(&format!("templates are not kept: {why}"));
            return Ok((not(why), conf::random_password()));
        }
        let password = store.password()?;
        Ok((Templates { store: Ok(store), limit: keeping.limit, ready: BTreeMap::new() }, password))
    }

    /// The template that a scenario needs, if it is ready.
    pub fn get(&self, need: &Need) -> Option<&Template> {
        self.ready.get(need)
    }

    /// Why what `make` makes is not kept; absent: it is.
    fn refuses(&self, make: &Make) -> Option<&str> {
        match &self.store {
            Err(why) => Some(why),
            Ok(_) => make.is_remote().then_some(ELSEWHERE),
        }
    }

    /// Lets go of all of them; what the store then holds beyond its limit is removed. What could not be is said.
    pub fn close(self, progress: &Progress) {
        let Templates { store, limit, ready } = self;
        drop(ready);
        let Ok(store) = store else { return };
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
    /// Makes the templates that a scenario needs ready, one for each make of its nodes, unless they are.
    pub(super) async fn template(&mut self, scenario: &Scenario, stop: &Stop) -> anyhow::Result<()> {
        if scenario.is_external() {
            return Ok(());
        }
        for node in scenario.nodes() {
            let make = self.makes.of(&node)?.clone();
            let need = Need::of(scenario, &make)?;
            if self.templates.ready.contains_key(&need) {
                continue;
            }
            let mut stop = stop.clone();
            let template = tokio::select! {
                template = self.make_template(scenario, &need, &make) => template?,
                () = stop.wait() => return Ok(()),
            };
            self.progress.say(&in_words(&need.label(), &template, self.templates.refuses(&make)));
            self.templates.ready.insert(need, template);
        }
        Ok(())
    }

    async fn make_template(&self, scenario: &Scenario, need: &Need, make: &Make) -> anyhow::Result<Template> {
        let progress = self.progress.clone();
        let set = |(name, data): (&String, &Data)| Ok((name.clone(), data.source()?, data.settings().clone()));
        let filling = Filling {
            scale: need.scale,
            sets: scenario.loaded_before().map(set).collect::<anyhow::Result<_>>()?,
            login: self.place.login("pgbench-rs fill"),
            rejects: self.dir.join("rejects"),
            progress: progress.clone(),
        };
        let fill = |client: Client, host: Host| filling.fill(client, host);
        let template = match &self.templates.store {
            Ok(store) if !make.is_remote() => {
                let wants = Wants::new(make, self.place.uid(), need.data());
                let label = need.label();
                Template::kept(&self.place, (store, &label, &wants), make, fill, |line| progress.doing(line)).await?
            }
            _ => {
                let mut name = need.label();
                if self.templates.ready.keys().any(|other| other.label() == name) {
                    name += &format!("-{}", self.templates.ready.len());
                }
                progress.doing(&format!("making the template {name}"));
                Template::build_with(&self.place, &name, make, fill).await?.0
            }
        };
        Ok(template)
    }

    /// What steps of a trial load; their sources were opened when the run began.
    pub(super) fn sets(&self, scenario: &Scenario, trial: &plan::Trial) -> anyhow::Result<Sets> {
        let mut sets = BTreeMap::new();
        for name in scenario.loaded_by_steps() {
            let Some(data) = scenario.data.get(name) else { continue };
            let source = data.source().with_context(|| format!("the data set `{name}`"))?;
            sets.insert(name.to_owned(), (source, data.settings().clone()));
        }
        let rejects = self.dir.join("rejects").join(trial.position.to_string());
        Ok(Sets { sets: Arc::new(sets), rejects, done: None })
    }

    /// For the record: what trials started from.
    pub(super) fn started_from(&self) -> Vec<record::Template> {
        let of = |(need, template): (&Need, &Template)| {
            let not_kept = match &self.templates.store {
                Err(why) => Some(why.clone()),
                Ok(_) => template.held().is_none().then(|| ELSEWHERE.to_owned()),
            };
            record::Template { not_kept, ..recorded(need, template) }
        };
        self.templates.ready.iter().map(of).collect()
    }
}

/// What a template is, and how nodes come by its data.
fn in_words(label: &str, template: &Template, refused: Option<&str>) -> String {
    let of = match template.held() {
        Some(held) => {
            let name = held.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let took = human(Duration::from_secs_f64(held.card.took));
            format!("template {name} ({}, made in {took} at {})", Size(held.card.bytes), held.card.made_at)
        }
        None => {
            let why = refused.map_or(String::new(), |why| format!(" ({why})"));
            format!("template {label}, of this run alone{why}")
        }
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
        not_kept: None,
        data: need.data(),
        made_at: held.map(|held| held.card.made_at.clone()),
        made_by_run: held.map(|held| held.card.run.clone()),
        bytes: held.map(|held| held.card.bytes),
        loaded: held.map(|held| held.card.loaded.clone()).filter(|loaded| !loaded.is_null()),
        method: template.choice().map(|choice| choice.driver.to_string()),
        why: template.choice().map(|choice| choice.why.clone()),
    }
}
