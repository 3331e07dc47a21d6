//! What goes for the run as a whole: its answer, its axes, what is claimed.

use super::{Finding, Findings, Part};
use crate::base::units::Time;
use crate::fault::Fault;
use crate::manager::{Fence, Manager};
use crate::metric::catalogue::{METRICS, find};
use crate::scenario::near::{did_you_mean, list, near};
use crate::scenario::read::Combination;
use crate::scenario::{Bound, Claim, Phase, Scenario, Stopping};
use std::collections::BTreeSet;

/// Judges what is said once for all variants.
pub(in crate::scenario) fn design(scenario: &Scenario, damaged: &BTreeSet<String>) -> Vec<Finding> {
    let whole = |keys: &[&str]| keys.iter().all(|key| !damaged.contains(*key));
    let mut findings = Findings::default();
    if whole(&["name"]) {
        findings.name(&["name"], Part::Value, &scenario.name);
    }
    if whole(&["question"]) && scenario.question.trim().is_empty() {
        findings.value(&["question"], "there is no question", "ask in a sentence what the run is to answer");
    }
    if whole(&["trials"]) && scenario.trials == 0 {
        findings.value(&["trials"], "there is nothing to run in 0 trials", "write 1 or more");
    }
    if let Some(stop) = scenario.stop.as_ref().filter(|_| whole(&["stop", "answer", "trials"])) {
        stops(scenario, stop, &mut findings);
    }
    for (i, name) in scenario.answer.iter().enumerate().filter(|_| whole(&["answer"])) {
        metric(&["answer", &i.to_string()], Part::Value, name, &mut findings);
    }
    if whole(&["vary"]) {
        axes(scenario, &mut findings);
        super::sinks::varied(scenario, &mut findings);
    }
    if whole(&["vary", "design"]) {
        skips(scenario, &mut findings);
    }
    for (i, claim) in scenario.claim.iter().enumerate().filter(|_| whole(&["claim"])) {
        judge(scenario, &i.to_string(), claim, damaged, &mut findings);
    }
    findings.0
}

/// `[stop]`.
fn stops(scenario: &Scenario, stop: &Stopping, findings: &mut Findings) {
    if stop.within.0 <= 0.0 {
        findings.value(
            &["stop", "within"],
            "no number of trials would be enough",
            "write a share above 0, such as `2%`",
        );
    }
    if stop.at_least < 2 {
        findings.value(
            &["stop", "at_least"],
            "a single trial has no interval",
            "write 2 or more; fewer than 5 stop too early often",
        );
    } else if stop.at_least > scenario.trials {
        let message = format!("`trials` ends it after {}, before there are {}", scenario.trials, stop.at_least);
        findings.key(&["stop"], message, "let `trials` be the most that you have time for, or lower `at_least`");
    }
    match &stop.metric {
        Some(name) => metric(&["stop", "metric"], Part::Value, name, findings),
        None if scenario.answer.is_empty() => {
            findings.key(&["stop"], "there is no metric to look at", "name one: `metric = \"load.tps\"`");
        }
        None => {}
    }
}

/// `[valid]`, which a level may change.
pub(super) fn valid(scenario: &Scenario, findings: &mut Findings) {
    for (name, limits) in &scenario.valid {
        metric(&["valid", name], Part::Key, name, findings);
        bound(&["valid", name], limits, findings);
    }
}

fn metric(path: &[&str], part: Part, name: &str, findings: &mut Findings) {
    if find(name).is_some() {
        return;
    }
    let hint = match near(name, METRICS.iter().map(|metric| metric.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if !last_part(name).is_empty() => format!("did you mean one of {}?", list(last_part(name))),
        None => {
            let room = name.split('.').next().unwrap_or_default();
            let same: Vec<_> = METRICS.iter().map(|metric| metric.name).filter(|name| name.starts_with(room)).collect();
            let rooms: BTreeSet<_> = METRICS.iter().filter_map(|metric| metric.name.split('.').next()).collect();
            match same.is_empty() {
                true => format!("metrics begin with {}", list(rooms)),
                false => format!("there is {}", list(same)),
            }
        }
    };
    findings.0.push(Finding::new(path, part, format!("there is no metric `{name}`"), Some(hint)));
}

/// Metrics whose last part has the last part of `name` in it.
fn last_part(name: &str) -> Vec<&'static str> {
    let last = |name: &'_ str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let typed = last(name);
    let alike = METRICS.iter().map(|metric| metric.name).filter(|name| last(name).contains(&typed));
    alike.filter(|_| typed.len() > 2).collect()
}

fn bound(path: &[&str], bound: &Bound, findings: &mut Findings) {
    match (bound.min, bound.max) {
        (None, None) => findings.key(path, "nothing is demanded", "give `min`, `max` or both"),
        (Some(min), Some(max)) if min.0 > max.0 => {
            let path = [path, &["min"]].concat();
            findings.value(&path, format!("`min` ({}) is above `max` ({})", min.0, max.0), "swap them");
        }
        _ => {}
    }
}

fn axes(scenario: &Scenario, findings: &mut Findings) {
    for (axis, levels) in &scenario.vary {
        findings.name(&["vary", axis], Part::Key, axis);
        if levels.is_empty() {
            let hint = format!("such as `low = {{ \"load.{axis}.clients\" = 4 }}`");
            findings.key(&["vary", axis], format!("the axis `{axis}` has no levels"), hint);
        }
        for level in levels.keys() {
            findings.name(&["vary", axis, level], Part::Key, level);
        }
    }
}

fn skips(scenario: &Scenario, findings: &mut Findings) {
    for (i, skip) in scenario.design.skip.iter().enumerate() {
        let index = i.to_string();
        if skip.is_empty() {
            let hint = "such as `{ commit = \"off\", standbys = \"0\" }`";
            findings.value(&["design", "skip", &index], "this would skip everything", hint);
        }
        for (axis, level) in skip {
            level_exists(scenario, &["design", "skip", &index, axis], &[], axis, level, findings);
        }
    }
}

/// Whether `axis` has `level`; `below` is where under `path` the level is written.
fn level_exists(scenario: &Scenario, path: &[&str], below: &[&str], axis: &str, level: &str, findings: &mut Findings) {
    let Some(levels) = scenario.vary.get(axis) else {
        let hint = did_you_mean(axis, scenario.vary.keys().map(String::as_str));
        let hint = hint.unwrap_or_else(|| "nothing is varied in this scenario".to_owned());
        return findings.key(path, format!("there is no axis `{axis}`"), hint);
    };
    if !levels.contains_key(level) {
        let hint = did_you_mean(level, levels.keys().map(String::as_str)).unwrap_or_default();
        findings.value(&[path, below].concat(), format!("the axis `{axis}` has no level `{level}`"), hint);
    }
}

fn judge(scenario: &Scenario, index: &str, claim: &Claim, damaged: &BTreeSet<String>, findings: &mut Findings) {
    let path = ["claim", index];
    metric(&["claim", index, "metric"], Part::Value, &claim.metric, findings);
    if let (Some(phase), false) = (&claim.phase, damaged.contains("phase")) {
        let phases = || scenario.phase.iter().map(|phase| phase.name.as_str());
        if !phases().any(|name| name == phase) {
            let hint = did_you_mean(phase, phases());
            findings.value(
                &["claim", index, "phase"],
                format!("there is no phase `{phase}`"),
                hint.unwrap_or_default(),
            );
        }
    }
    for (axis, levels) in claim.when.iter().filter(|_| !damaged.contains("vary")) {
        let path = ["claim", index, "when", axis];
        if levels.is_empty() {
            findings.value(&path, "this claim is about no variant", "name levels, or leave it out for all");
        }
        for (i, level) in levels.iter().enumerate() {
            level_exists(scenario, &path, &[&i.to_string()], axis, level, findings);
        }
    }
    if claim.every_trial.is_none() && claim.median.is_none() {
        findings.key(
            &path,
            "this claims nothing",
            "give `every_trial` or `median`, such as `every_trial = { max = 0 }`",
        );
    }
    for (key, limits) in [("every_trial", &claim.every_trial), ("median", &claim.median)] {
        if let Some(limits) = limits {
            bound(&["claim", index, key], limits, findings);
        }
    }
}

/// Metrics that are asked for and that nothing in any variant concerned measures.
pub(in crate::scenario) fn unmeasured(
    scenario: &Scenario,
    variants: &[Combination],
    damaged: &BTreeSet<String>,
) -> Vec<Finding> {
    let mut findings = Findings::default();
    if !damaged.is_empty() {
        return findings.0;
    }
    let mut ask = |path: &[&str], part, name: &str, concerned: &dyn Fn(&Combination) -> bool| {
        if find(name).is_none() {
            return;
        }
        let mut missing = variants.iter().filter(|variant| concerned(variant)).map(|variant| source(name, variant));
        if let Some(Some(first)) = missing.next()
            && missing.all(|one| one.is_some())
        {
            let message = format!("nothing in this scenario measures `{name}`");
            findings.0.push(Finding::new(path, part, message, Some(first.to_owned())));
        }
    };
    for (i, name) in scenario.answer.iter().enumerate() {
        ask(&["answer", &i.to_string()], Part::Value, name, &|_| true);
    }
    if let Some(name) = scenario.stop.as_ref().and_then(|stop| stop.metric.as_ref()) {
        ask(&["stop", "metric"], Part::Value, name, &|_| true);
    }
    for name in scenario.valid.keys() {
        ask(&["valid", name], Part::Key, name, &|_| true);
    }
    for (i, claim) in scenario.claim.iter().enumerate() {
        let concerned = |variant: &Combination| {
            claim.when.iter().all(|(axis, levels)| variant.levels.iter().any(|(a, l)| a == axis && levels.contains(l)))
        };
        ask(&["claim", &i.to_string(), "metric"], Part::Value, &claim.metric, &concerned);
    }
    findings.0
}

fn fences(scenario: &Scenario) -> bool {
    matches!(&scenario.manager, Manager::Builtin(builtin) if builtin.fence != Fence::None)
}

fn may_be_steady(phase: &Phase) -> bool {
    phase.warm_up.is_some() || phase.steps.is_empty() && phase.lasts >= Time::s(8)
}

/// What would have to be added for `metric` to be measured; `None` if it is.
fn source(metric: &str, variant: &Combination) -> Option<&'static str> {
    let scenario = &variant.scenario;
    let truth = scenario.probe.truth.is_some() || !scenario.subscription.is_empty();
    let open = |metric: &str| metric.starts_with("generator.late") || metric.starts_with("load.wait");
    let (there, hint) = match metric.split('.').next()? {
        "ledger" if metric == "ledger.lost_after_fence" => (
            scenario.probe.ledger.is_some() && scenario.measured().is_some() && fences(scenario),
            "it takes `[probe.ledger]`, a step, and a `[manager]` that fences",
        ),
        "ledger" => (scenario.probe.ledger.is_some(), "add `[probe.ledger]`"),
        "failover" if metric.starts_with("failover.write_outage") => (
            scenario.probe.ledger.is_some() && scenario.measured().is_some(),
            "the outage spans a step and is seen by `[probe.ledger]`; add what is missing",
        ),
        "failover" => (
            matches!(scenario.manager, Manager::Builtin(_)) && scenario.measured().is_some(),
            "it takes a step and `[manager]` with `kind = \"builtin\"`",
        ),
        "switchover" => (
            scenario
                .phase
                .iter()
                .flat_map(|phase| phase.steps.values())
                .any(|step| matches!(step.act, Fault::Switchover(_)))
                && matches!(scenario.manager, Manager::Builtin(_)),
            "it takes `[manager]` with `kind = \"builtin\"` and a step with `act = { kind = \"switchover\" }`",
        ),
        "bloat" | "standby" if metric != "standby.streaming" => (scenario.probe.bloat.is_some(), "add `[probe.bloat]`"),
        "cutover" => {
            (!scenario.successors().is_empty(), "add a step with `act = { kind = \"cutover\", to = \"NODE\" }`")
        }
        "etl" => {
            (!scenario.loaded_by_steps().is_empty(), "add a step with `act = { kind = \"load\", data = \"NAME\" }`")
        }
        "clone" => (!scenario.clone.is_empty(), "add a `[clone.NAME]`"),
        "logical" => (!scenario.subscription.is_empty(), "add a `[subscription.NAME]`"),
        "lag" if metric == "lag.drained" => (truth, "add `[probe.truth]`"),
        "truth" => (truth, "add `[probe.truth]`"),
        "lag" if metric.starts_with("lag.heartbeat") => (
            scenario.probe.lag.is_some() && scenario.probe.visibility.is_some(),
            "add `[probe.lag]`, and `[probe.visibility]`, whose markers are the heartbeat",
        ),
        "lag" if !metric.starts_with("lag.visible") => (scenario.probe.lag.is_some(), "add `[probe.lag]`"),
        "lag" => (scenario.probe.visibility.is_some(), "add `[probe.visibility]`"),
        "load" if metric.starts_with("load.pool_wait") => {
            (scenario.load.values().any(|load| load.pool.is_some()), "give a load a `pool`")
        }
        "load" if metric == "load.wrong" || metric.starts_with("load.answer") => (
            scenario.load.values().any(|load| load.mix.in_turn()),
            "add a load with `mix = { kind = \"imdb_queries\" }`",
        ),
        "load" | "generator" if open(metric) => (
            scenario.load.values().any(|load| load.profile.open().is_some()),
            "only an open loop has due instants: `profile = { kind = \"open\", rate = … }`",
        ),
        "load" if metric == "load.recovered" => {
            (!scenario.load.is_empty() && scenario.measured().is_some(), "it takes a `[load.NAME]` and a step")
        }
        "load" if ["load.warm_up", "load.unsteady"].contains(&metric) || metric.starts_with("load.steady.") => (
            !scenario.load.is_empty() && scenario.phase.iter().any(may_be_steady),
            "it takes a `[load.NAME]`, and a phase without steps of 8 s or more, or one with `warm_up`",
        ),
        "load" | "generator" => (!scenario.load.is_empty(), "add a `[load.NAME]`"),
        "standby" => (scenario.measured().is_some(), "it counts from a step; add one"),
        _ => (true, ""),
    };
    (!there).then_some(hint)
}
