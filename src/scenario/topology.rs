//! What a scenario comes to once counts, roles and times are resolved.

use super::{Role, Scenario, Step};
use crate::base::Name;
use crate::disk::OwnDisk;
use crate::driver::Driver;
use crate::driver::docker::Limits;
use crate::fault::Fault;
use crate::pg::version::Major;
use indexmap::IndexMap;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// A server to be built.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodePlan {
    /// Its name; with a `count`, that of its entry and a number from 1.
    pub name: Name,
    /// The entry of `[node]` it comes from.
    pub entry: Name,
    /// What it is when the cluster starts.
    pub role: Role,
    /// The node that it streams from.
    pub follows: Option<Name>,
    /// Where it stands.
    pub site: Option<String>,
    /// Whether it uses a physical replication slot.
    pub slot: bool,
    /// Rank in an election; 0 is never promoted.
    pub priority: u32,
    /// Its settings, its own over those of all: values as `SHOW` takes them, without quotes, `@nodes` resolved.
    pub settings: IndexMap<String, String>,
    /// The folder in which its data directory is made, if not under `--work`.
    pub dir: Option<PathBuf>,
    /// How it exists.
    pub driver: Driver,
    /// Its major version, when one is asked for.
    pub version: Option<Major>,
    /// What its container may use.
    pub limits: Limits,
    /// A file system of its own.
    pub disk: Option<OwnDisk>,
}

/// What stands in a setting for the quoted names of all nodes.
pub const ALL_NODES: &str = "@nodes";

/// An instant at which a step acts.
#[derive(Clone, Copy, Debug)]
pub struct Due<'s> {
    /// From the start of the phase.
    pub at: Duration,
    /// When it is undone, from the start of the phase; absent: at the end of the trial.
    pub until: Option<Duration>,
    /// The step's name.
    pub name: &'s str,
    /// The step.
    pub step: &'s Step,
}

/// The step from which outages are measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'s> {
    /// Index into [`Scenario::phase`].
    pub phase: usize,
    /// The step's name; of its repetitions the first counts.
    pub name: &'s str,
    /// The step.
    pub step: &'s Step,
}

impl Scenario {
    /// The servers, counts expanded, in the order of the file.
    pub fn nodes(&self) -> Vec<NodePlan> {
        let names: Vec<(Name, &Name)> = self.node.iter().flat_map(|(entry, node)| names(entry, node.count)).collect();
        let all = names.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let plan = |(name, entry): (Name, &Name)| {
            let node = self.node.get(entry)?;
            let settings = self.postgres.settings.iter().chain(&node.settings);
            Some(NodePlan {
                name,
                entry: entry.clone(),
                role: node.role,
                follows: node.follows.clone(),
                site: node.site.clone(),
                slot: node.slot,
                priority: node.priority,
                settings: self.with_logical(
                    self.head(node),
                    settings
                        .map(|(setting, value)| (setting.to_lowercase(), value.to_string().replace(ALL_NODES, &all))),
                ),
                dir: node.dir.clone(),
                driver: node.driver.clone().unwrap_or_else(|| self.driver.clone()),
                version: node.version.or(self.postgres.version),
                limits: Limits { memory: node.memory, cpus: node.cpus, shm_size: node.shm_size },
                disk: node.disk,
            })
        };
        names.into_iter().filter_map(plan).collect()
    }

    /// Whether somebody else runs its servers; `check` has seen to it that all are of one kind.
    pub fn is_external(&self) -> bool {
        self.nodes().iter().any(|node| node.driver.external().is_some())
    }

    /// Whether any of its servers is on this machine, as far as the scenario says.
    pub fn has_servers_here(&self) -> bool {
        self.nodes().iter().any(|node| match &node.driver {
            Driver::Process(_) => true,
            Driver::Docker(docker) => docker.is_remote() != Some(true),
            Driver::External(_) => false,
        })
    }

    /// The scale of pgbench's tables that its loads, and those of its clones, want; absent without any.
    pub fn scale(&self) -> Option<u32> {
        let of_clones = self.clone.values().filter_map(|campaign| campaign.load.as_ref()?.mix.scale());
        self.load.values().filter_map(|load| load.mix.scale()).chain(of_clones).max()
    }

    /// How many books its loads want; absent when they are about other things.
    pub fn books(&self) -> Option<u32> {
        self.load.values().filter_map(|load| load.mix.books()).max()
    }

    /// The step from which outages are measured: the one marked so, or the only one there is.
    pub fn measured(&self) -> Option<Measured<'_>> {
        let steps = || {
            let phases = self.phase.iter().enumerate();
            let all = phases
                .flat_map(|(phase, one)| one.steps.iter().map(move |(name, step)| Measured { phase, name, step }));
            // Nobody is out of order while data comes in.
            all.filter(|measured| !matches!(measured.step.act, Fault::Load(_)))
        };
        steps().find(|measured| measured.step.measured).or_else(|| {
            let mut all = steps();
            all.next().filter(|_| all.next().is_none())
        })
    }

    /// How long all phases last together.
    pub fn lasts(&self) -> Duration {
        self.phase.iter().map(|phase| phase.lasts.0).sum()
    }
}

impl super::Phase {
    /// Its name and how long it lasts.
    pub fn in_words(&self) -> String {
        match &self.until {
            Some(step) => format!("{} until {step} is done, for {} at most", self.name, self.lasts),
            None => format!("{} for {}", self.name, self.lasts),
        }
    }

    /// When its steps act, in the order of time, repetitions included.
    pub fn schedule(&self) -> Vec<Due<'_>> {
        let mut schedule: Vec<Due<'_>> = Vec::new();
        for (name, step) in &self.steps {
            let mut at = step.at.0;
            loop {
                schedule.push(Due { at, until: step.lasts.map(|lasts| at + lasts.0), name, step });
                match step.every {
                    Some(every) if !every.is_zero() && at + every.0 < self.lasts.0 => at += every.0,
                    _ => break,
                }
            }
        }
        schedule.sort_by_key(|due| due.at);
        schedule
    }
}

fn names(entry: &Name, count: Option<u32>) -> Vec<(Name, &Name)> {
    match count {
        None => vec![(entry.clone(), entry)],
        Some(count) => (1..=count).map(|number| (format!("{entry}{number}"), entry)).collect(),
    }
}
