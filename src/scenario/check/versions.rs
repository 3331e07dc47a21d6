//! What depends on the server's version: who can stream from whom, which settings there are and what they take.
//!
//! A node without a version gets the newest that there is, which only the machine can say: of its settings those are
//! judged that no version has or takes, and the rest when the run begins.

use super::Findings;
use super::settings::{is_plain, path_of};
use crate::cluster::settings::reserved;
use crate::pg::settings::{missing, names, successor, unknown, wrong};
use crate::pg::version::Major;
use crate::scenario::Scenario;
use crate::scenario::near::near;
use crate::scenario::topology::NodePlan;
use std::collections::BTreeSet;

/// A standby replays what its primary writes, which only its own version can read.
pub(super) fn versions(scenario: &Scenario, findings: &mut Findings) {
    let nodes = scenario.nodes();
    for (entry, node) in &scenario.node {
        let version = node.version.or(scenario.postgres.version);
        let upstream = nodes.iter().find(|other| Some(&other.name) == node.follows.as_ref());
        let Some(upstream) = upstream.filter(|upstream| upstream.version != version) else { continue };
        let path: &[&str] = match node.version {
            Some(_) => &["node", entry, "version"],
            None => &["node", entry, "follows"],
        };
        let own =
            |version: Option<Major>| version.map_or("of no given version".to_owned(), |v| format!("of version {v}"));
        let message = format!(
            "`{entry}` is {} and streams from `{}`, which is {}: a standby has its primary's version",
            own(version),
            upstream.name,
            own(upstream.version)
        );
        let either = upstream.version.or(version).map_or_else(String::new, |version| version.to_string());
        findings.value(path, message, format!("give both the same, such as by `postgres.version = \"{either}\"`"));
    }
}

/// Settings that a node's version does not have, and values that it does not take; each is said once.
pub(super) fn settings(scenario: &Scenario, nodes: &[NodePlan], findings: &mut Findings) {
    let mut said = BTreeSet::new();
    for node in nodes {
        for (setting, value) in
            node.settings.iter().filter(|(setting, _)| is_plain(setting) && reserved(setting).is_none())
        {
            let path = path_of(scenario, node, setting);
            if !said.insert((path.join("."), node.version)) {
                continue;
            }
            let missing = match node.version {
                Some(version) => missing(setting, version),
                None => unknown(setting),
            };
            if let Some(missing) = missing {
                let meant = near(setting, names()).filter(|_| missing.has.is_none() && successor(setting).is_none());
                let hint = meant.map_or_else(|| missing.hint(), |meant| format!("did you mean `{meant}`?"));
                findings.key(&path, missing.to_string(), hint);
            } else if let Some(wrong) = wrong(setting, value, node.version).filter(|_| !judged_elsewhere(setting)) {
                findings.value(&path, wrong.message, wrong.hint);
            }
        }
    }
}

/// Settings of which more can be said than that their value is none.
fn judged_elsewhere(setting: &str) -> bool {
    setting == "synchronous_commit"
}
