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
    profile(&["load", name], &load.profile, findings);
    if let Mix::Books(books) = &load.mix
        && (books.inserts, books.reads) == (0, 0)
    {
        findings.value(&["load", name, "mix"], "no transaction has a weight", "such as `inserts = 1, reads = 4`");
    }
    if let Mix::Books(books) = &load.mix
        && books.rows == 0
    {
        findings.value(&["load", name, "mix", "rows"], "an insert brings at least one book", "write 1 or more");
    }
    if load.mix.books() == Some(0) {
        findings.value(&["load", name, "mix", "books"], "there is no book to read", "write 1 or more");
    }
    if let Mix::Weighted(several) = &load.mix
        && several.of.values().all(|weight| *weight == 0)
    {
        let message = "no transaction has a weight";
        findings.value(&["load", name, "mix", "of"], message, "such as `of = { tpcb = 1, select_only = 9 }`");
    }
}

/// The profile of the load that stands at `load`.
pub(super) fn profile(load: &[&str], profile: &Profile, findings: &mut Findings) {
    let at = |key: &'static str| [load, &["profile", key]].concat();
    let mut rate = |key: &'static str, rate: f64| {
        if !(rate.is_finite() && rate > 0.0) {
            findings.value(&at(key), format!("{rate} is no rate"), "transactions per second, above 0");
        }
    };
    match profile {
        Profile::Closed(_) => {}
        Profile::Open(open) => rate("rate", open.rate),
        Profile::Pulse(pulse) => {
            rate("peak", pulse.peak);
            if !(pulse.hum.is_finite() && pulse.hum >= 0.0) {
                let message = format!("{} is no rate", pulse.hum);
                findings.value(&at("hum"), message, "transactions per second, or 0 for silence between bursts");
            }
            positive(&at("lasts"), pulse.lasts, findings);
            if pulse.lasts > pulse.every {
                let message = format!("a burst of {} every {}", pulse.lasts, pulse.every);
                findings.value(&at("lasts"), message, "a burst ends before the next begins");
            }
        }
        Profile::Cycle(cycle) => {
            rate("rate", cycle.rate);
            if cycle.swings.is_empty() {
                let hint = "such as `swings = [{ by = 50, every = \"10s\" }]`, or `kind = \"open\"`";
                findings.value(&at("swings"), "nothing swings", hint);
            }
            let sum: f64 = cycle.swings.iter().map(|swing| swing.by.abs()).sum();
            if !(sum.is_finite() && sum <= cycle.rate) {
                let message = format!("swings of {sum} about a mean of {}", cycle.rate);
                findings.value(&at("swings"), message, "no rate is below 0: together at most the mean");
            }
            if cycle.swings.iter().any(|swing| swing.every.is_zero()) {
                findings.value(&at("swings"), "a swing has no period", "write `every`, such as \"10s\"");
            }
        }
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
                "aim it at `@primary`, or let it only read",
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
        if !scenario.nodes().iter().any(|node| node.role != Role::Primary) {
            let hint = "add a standby or a subscriber, or leave out `[probe.visibility]`";
            findings.key(&["probe", "visibility"], "there is no standby or subscriber on which to look", hint);
        }
        positive(&["probe", "visibility", "every"], visibility.every, findings);
        positive(&["probe", "visibility", "poll"], visibility.poll, findings);
        if visibility.poll > visibility.every {
            let message = format!("polls every {} for a write every {}", visibility.poll, visibility.every);
            findings.value(&["probe", "visibility", "poll"], message, "poll more often than you write");
        }
    }
}

/// The probes of lag and truth.
pub(super) fn streams(scenario: &Scenario, findings: &mut Findings) {
    let alone = !scenario.nodes().iter().any(|node| node.role != Role::Primary);
    for (name, there) in [("lag", scenario.probe.lag.is_some()), ("truth", scenario.probe.truth.is_some())] {
        if alone && there {
            let hint = format!("add a standby or a subscriber, or leave out `[probe.{name}]`");
            findings.key(&["probe", name], "there is nobody to whom changes come", hint);
        }
    }
    if let Some(lag) = &scenario.probe.lag {
        positive(&["probe", "lag", "every"], lag.every, findings);
    }
    if let Some(truth) = &scenario.probe.truth {
        positive(&["probe", "truth", "catch_up"], truth.catch_up, findings);
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
