//! Whether each server takes as many sessions as may be opened on it.

use super::Findings;
use crate::manager::Manager;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario};

/// PostgreSQL's default of `max_connections`.
const DEFAULT: u64 = 100;
/// Room for the sessions that are not counted one by one: the manager and its actions, sampler, probes, faults,
/// searches for the primary, and the three that `superuser_reserved_connections` keeps. WAL senders are not among
/// them.
const OTHERS: u64 = 15;

/// Sessions that one part of a scenario may open on one node, and where their number is written.
struct Demand<'s> {
    path: Vec<&'s str>,
    sessions: u64,
}

pub(super) fn sessions(scenario: &Scenario, findings: &mut Findings) {
    let nodes = scenario.nodes();
    let mut worst: Option<(u64, u64, &NodePlan, Vec<Demand<'_>>)> = None;
    for node in &nodes {
        let limit = node.settings.get("max_connections").map_or(Some(DEFAULT), |limit| limit.trim().parse().ok());
        // What is no number is for the server to refuse.
        let Some(limit) = limit else { continue };
        let demands = demands(scenario, node, &nodes);
        let needed = OTHERS + demands.iter().map(|demand| demand.sessions).sum::<u64>();
        if needed > limit && worst.as_ref().is_none_or(|(before, ..)| needed > *before) {
            worst = Some((needed, limit, node, demands));
        }
    }
    let Some((needed, limit, node, demands)) = worst else { return };
    let Some(most) = demands.into_iter().max_by_key(|demand| demand.sessions) else { return };
    let message = format!("up to {needed} sessions may be on `{}`, whose `max_connections` is {limit}", node.name);
    findings.value(
        &most.path,
        message,
        format!("set `postgres.settings.max_connections = {needed}`, or ask for fewer"),
    );
}

/// What may come to `node`, in this role or in one that it is promoted to.
fn demands<'s>(scenario: &'s Scenario, node: &NodePlan, nodes: &[NodePlan]) -> Vec<Demand<'s>> {
    let standbys = nodes.iter().filter(|node| node.role == Role::Standby).count().max(1) as u64;
    let promotes = matches!(scenario.manager, Manager::Builtin(_));
    let writable = node.role == Role::Primary || (promotes && node.priority > 0);
    let mut demands = Vec::new();
    for (name, load) in &scenario.load {
        // A pool may open all of its connections on one server; clients of their own are dealt out.
        let (key, all, dealt) = match load.pool {
            Some(pool) => ("pool", u64::from(pool), u64::from(pool)),
            None => ("clients", u64::from(load.clients), u64::from(load.clients).div_ceil(standbys)),
        };
        let sessions = match load.to.as_str() {
            "@primary" if writable => all,
            "@standbys" if node.role == Role::Standby => dealt,
            to if *to == node.name => all,
            _ => continue,
        };
        demands.push(Demand { path: vec!["load", name, key], sessions });
    }
    if let Some(ledger) = scenario.probe.ledger.as_ref().filter(|_| writable) {
        demands.push(Demand { path: vec!["probe", "ledger", "writers"], sessions: u64::from(ledger.writers) });
    }
    demands
}
