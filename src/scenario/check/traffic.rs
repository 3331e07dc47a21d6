//! Loads, probes, the manager and the sampler.

use super::nodes::no_node;
use super::{Findings, Part};
use crate::base::units::Time;
use crate::manager::Manager;
use crate::scenario::near::near;
use crate::scenario::{Role, Scenario};
use crate::workload::{Load, Mix, Profile};

/// The roles that loads and faults can be aimed at.
pub(super) const ROLES: [&str; 2] = ["@primary", "@standbys"];

pub(super) fn loads(scenario: &Scenario, findings: &mut Findings) {
    for (name, load) in &scenario.load {
        findings.name(&["load", name], Part::Key, name);
        one_load(name, load, findings);
    }
    let mut scales = scenario.load.iter().filter_map(|(name, load)| Some((name, load.mix.scale()?)));
    let Some((first, scale)) = scales.next() else { return };
    for (name, other) in scales.filter(|(_, other)| *other != scale) {
        findings.value(
            &["load", name, "mix", "scale"],
            format!("`{name}` wants scale {other} of the data that `{first}` wants in scale {scale}"),
            "all loads use the same tables; give them one scale",
        );
    }
}

fn one_load(name: &str, load: &Load, findings: &mut Findings) {
    if load.clients == 0 {
        findings.value(&["load", name, "clients"], "a load has at least one client", "write 1 or more");
    }
    if load.threads == 0 || load.threads > load.clients.max(1) {
        let message = format!("{} threads for {} clients", load.threads, load.clients);
        findings.value(&["load", name, "threads"], message, "write at least 1, and not more than clients");
    }
    if load.pool == Some(0) {
        findings.value(
            &["load", name, "pool"],
            "a pool has at least one connection",
            "write 1 or more, or leave it out",
        );
    }
    if load.timeout.is_some_and(|timeout| timeout.is_zero()) {
        findings.value(&["load", name, "timeout"], "nothing can be done in no time", "leave it out for no limit");
    }
    if load.mix.scale() == Some(0) {
        findings.value(&["load", name, "mix", "scale"], "pgbench's scale is at least 1", "write 1 or more");
    }
    if load.pool.is_some() && load.mix.in_turn() {
        let hint = "leave out `pool`: each client then has a connection of its own";
        findings.key(&["load", name, "pool"], "answers that come through a pool are not checked", hint);
    }
    if let Profile::Open(open) = &load.profile
        && !(open.rate.is_finite() && open.rate > 0.0)
    {
        let message = format!("{} is no rate", open.rate);
        findings.value(&["load", name, "profile", "rate"], message, "transactions per second, above 0");
    }
    if let Mix::Weighted(several) = &load.mix
        && several.of.values().all(|weight| *weight == 0)
    {
        let message = "no transaction has a weight";
        findings.value(&["load", name, "mix", "of"], message, "such as `of = { tpcb = 1, select_only = 9 }`");
    }
}

/// Who is aimed at.
pub(super) fn targets(scenario: &Scenario, findings: &mut Findings) {
    for (name, load) in &scenario.load {
        let path = ["load", name, "to"];
        if !target(scenario, &path, &load.to, findings) {
            continue;
        }
        let node = scenario.nodes().into_iter().find(|node| node.name == load.to);
        let standby = load.to == ROLES[1] || node.is_some_and(|node| node.role == Role::Standby);
        let writing = load.mix.transactions().into_iter().find(|(what, weight)| *weight > 0 && what.writes());
        if let (true, Some((what, _))) = (standby, writing) {
            findings.value(
                &path,
                format!("`{}` writes, and a standby takes no writes", what.name()),
                "aim it at `@primary`, or use `select_only`",
            );
        }
    }
}

/// Judges a target; whether it is there.
pub(super) fn target(scenario: &Scenario, path: &[&str], target: &str, findings: &mut Findings) -> bool {
    let nodes = scenario.nodes();
    if target == ROLES[1] && !nodes.iter().any(|node| node.role == Role::Standby) {
        findings.value(path, "there is no standby", "add one, such as `s = { role = \"standby\", follows = \"a\" }`");
        return false;
    }
    if ROLES.contains(&target) || nodes.iter().any(|node| node.name == target) {
        return true;
    }
    match target.strip_prefix('@') {
        Some(_) => {
            let hint = match near(target, ROLES) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "the roles are `@primary` and `@standbys`".to_owned(),
            };
            findings.value(path, format!("there is no role `{target}`"), hint);
        }
        None => findings.value(path, format!("there is no node `{target}`"), {
            let hint = no_node(target, scenario);
            if hint.starts_with("the nodes") { format!("{hint}; the roles `@primary` and `@standbys`") } else { hint }
        }),
    }
    false
}

pub(super) fn probes(scenario: &Scenario, findings: &mut Findings) {
    if let Some(ledger) = &scenario.probe.ledger {
        if ledger.writers == 0 {
            findings.value(&["probe", "ledger", "writers"], "the ledger has at least one writer", "write 1 or more");
        }
        if !(ledger.rate.is_finite() && ledger.rate > 0.0) {
            let message = format!("{} is no rate", ledger.rate);
            findings.value(&["probe", "ledger", "rate"], message, "writes per second of all writers, above 0");
        }
        positive(&["probe", "ledger", "timeout"], ledger.timeout, findings);
    }
    if let Some(visibility) = &scenario.probe.visibility {
        if !scenario.nodes().iter().any(|node| node.role == Role::Standby) {
            let hint = "add a standby, or leave out `[probe.visibility]`";
            findings.key(&["probe", "visibility"], "there is no standby on which to look", hint);
        }
        positive(&["probe", "visibility", "every"], visibility.every, findings);
        positive(&["probe", "visibility", "poll"], visibility.poll, findings);
        if visibility.poll > visibility.every {
            let message = format!("polls every {} for a write every {}", visibility.poll, visibility.every);
            findings.value(&["probe", "visibility", "poll"], message, "poll more often than you write");
        }
    }
}

pub(super) fn manager_and_sampling(scenario: &Scenario, findings: &mut Findings) {
    if let Manager::Builtin(builtin) = &scenario.manager {
        positive(&["manager", "detect", "every"], builtin.detect.every, findings);
        positive(&["manager", "detect", "timeout"], builtin.detect.timeout, findings);
        if builtin.detect.misses == 0 {
            let message = "a server that missed no check is not dead";
            findings.value(&["manager", "detect", "misses"], message, "write 1 or more");
        }
    }
    positive(&["sample", "every"], scenario.sample.every, findings);
    positive(&["sample", "waits"], scenario.sample.waits, findings);
    positive(&["sample", "tables"], scenario.sample.tables, findings);
}

/// A duration that must not be zero.
pub(super) fn positive(path: &[&str], time: Time, findings: &mut Findings) {
    if time.is_zero() {
        findings.value(
            path,
            format!("`{}` is zero", path[path.len() - 1]),
            "write a duration above 0, such as \"100ms\"",
        );
    }
}
