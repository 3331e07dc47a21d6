//! What cannot mean what it says. Pure: from the types alone; where a thing stands in the text is
//! found from its path afterwards.

mod claims;
mod clones;
mod data;
mod drivers;
mod externals;
mod logical;
mod nodes;
mod phases;
mod remote;
mod sessions;
mod settings;
mod sinks;
mod traffic;
mod versions;
mod ways;

use super::Scenario;
pub(super) use claims::{design, unmeasured};
use std::collections::BTreeSet;

/// Something wrong at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub path: Vec<String>,
    pub part: Part,
    pub message: String,
    pub hint: Option<String>,
}

/// What of a path is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl Finding {
    pub fn new(path: &[&str], part: Part, message: String, hint: Option<String>) -> Self {
        Finding { path: path.iter().map(|name| (*name).to_owned()).collect(), part, message, hint }
    }
}

/// Findings being gathered.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// The value at `path` is wrong.
    fn value(&mut self, path: &[&str], message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Finding::new(path, Part::Value, message.into(), Some(hint.into())));
    }

    /// The key at `path` is wrong, or the table that it heads.
    fn key(&mut self, path: &[&str], message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Finding::new(path, Part::Key, message.into(), Some(hint.into())));
    }

    /// `name` is used as a folder's name, in CSV cells and in the names of variants.
    fn name(&mut self, path: &[&str], part: Part, name: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            let hint = "use letters, digits, `_`, `-` and `.`".to_owned();
            self.0.push(Finding::new(path, part, format!("`{name}` cannot be a name"), Some(hint)));
        }
    }
}

/// Judges one variant; nothing is said about what is in the top-level keys `damaged`, which did not all read.
pub(super) fn variant(scenario: &Scenario, damaged: &BTreeSet<String>) -> Vec<Finding> {
    let whole = |keys: &[&str]| keys.iter().all(|key| !damaged.contains(*key));
    let mut findings = Findings::default();
    if whole(&["node"]) {
        nodes::nodes(scenario, &mut findings);
    }
    if whole(&["node", "driver"]) {
        drivers::drivers(scenario, &mut findings);
    }
    if whole(&["node", "driver", "manager"]) {
        externals::externals(scenario, &mut findings);
    }
    if whole(&["node", "link", "load", "probe", "manager"]) {
        ways::links(scenario, &mut findings);
        remote::remote(scenario, &mut findings);
    }
    if whole(&["node", "postgres"]) {
        versions::versions(scenario, &mut findings);
        settings::settings(scenario, &mut findings);
    }
    if whole(&["node", "driver", "postgres", "publication", "subscription", "load"]) {
        logical::logical(scenario, &mut findings);
    }
    if whole(&["data", "phase", "node", "driver"]) {
        data::data(scenario, &mut findings);
        data::steps(scenario, &mut findings);
    }
    if whole(&["data", "phase", "load"]) {
        data::readers(scenario, &mut findings);
    }
    if whole(&["load"]) {
        traffic::loads(scenario, &mut findings);
    }
    if whole(&["load", "node"]) {
        traffic::targets(scenario, &mut findings);
    }
    if whole(&["probe", "node", "subscription"]) {
        traffic::probes(scenario, &mut findings);
        traffic::streams(scenario, &mut findings);
    }
    if whole(&["load", "probe", "node", "postgres", "manager"]) {
        sessions::sessions(scenario, &mut findings);
    }
    if whole(&["manager", "sample"]) {
        traffic::manager_and_sampling(scenario, &mut findings);
    }
    if whole(&["sink"]) {
        sinks::sinks(scenario, &mut findings);
    }
    if whole(&["phase"]) {
        phases::phases(scenario, &mut findings);
    }
    if whole(&["phase", "node", "driver", "load", "probe", "manager", "subscription", "publication"]) {
        phases::faults(scenario, &mut findings);
    }
    if whole(&["clone", "phase", "node", "driver", "load"]) {
        clones::clones(scenario, &mut findings);
    }
    if whole(&["valid"]) {
        claims::valid(scenario, &mut findings);
    }
    findings.0
}
