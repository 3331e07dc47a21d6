//! Data sets: who loads them, and who reads them.

use super::{Findings, Part};
use crate::etl::imdb::Schema;
use crate::etl::load::Indexes;
use crate::etl::pgbench::source::SCALES as SCALES_OF_PGBENCH;
use crate::etl::synthetic::SCALES;
use crate::etl::tables;
use crate::fault::Fault;
use crate::scenario::near::did_you_mean;
use crate::scenario::{Data, Phase, Scenario};

pub(super) fn data(scenario: &Scenario, findings: &mut Findings) {
    for (name, data) in &scenario.data {
        findings.name(&["data", name], Part::Key, name);
        let load = ["data", name, "load"];
        if data.settings().streams == Some(0) || data.settings().streams_per_table == 0 {
            findings.key(&load, "nothing comes by 0 streams", "write 1 or more");
        }
        if let Data::SyntheticImdb(of) = data
            && !SCALES.contains(&of.scale)
        {
            let hint = format!("write one from {} to {}; 1 is IMDb's size", SCALES.start(), SCALES.end());
            findings.value(&["data", name, "scale"], format!("a scale of {} cannot be made", of.scale), hint);
        }
        if let Data::Pgbench(of) = data {
            pgbench(scenario, name, of.scale, findings);
        }
        if let Data::Tables(of) = data {
            for wrong in tables::check::check(&of.shape()) {
                let path = ["data", name, "tables"].into_iter().chain(wrong.path.iter().map(String::as_str));
                findings.value(&path.collect::<Vec<_>>(), wrong.message, wrong.hint);
            }
        }
        if scenario.is_external() {
            let hint = "load it with `pgbench-rs load --to …`, and leave it out here";
            findings.key(&["data", name], "servers that somebody else runs are not loaded by a scenario", hint);
        }
    }
    twice(scenario, findings);
}

/// pgbench's tables as a data set: loads use the same ones, and need them when they begin.
fn pgbench(scenario: &Scenario, name: &str, scale: u32, findings: &mut Findings) {
    let path = ["data", name, "scale"];
    if !SCALES_OF_PGBENCH.contains(&scale) {
        let hint = format!("write one from {} to {}", SCALES_OF_PGBENCH.start(), SCALES_OF_PGBENCH.end());
        findings.value(&path, format!("there are no tables of scale {scale}"), hint);
        return;
    }
    let Some(wanted) = scenario.scale() else { return };
    if scenario.loaded_by_steps().contains(&name) {
        let message = "a load wants pgbench's tables before this step makes them";
        findings.key(&["data", name], message, "leave the step out, or measure it without that load");
    } else if wanted != scale {
        let message = format!("a load wants pgbench's tables of scale {wanted}, and these are of scale {scale}");
        findings.value(&path, message, "write the same `scale` in both places");
    }
}

/// Data sets with the same tables.
fn twice(scenario: &Scenario, findings: &mut Findings) {
    let mut before: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, data) in scenario.loaded_before() {
        let names = data.names();
        let first = before.iter().find(|(_, others)| others.iter().any(|other| names.contains(other)));
        if let Some((first, _)) = first {
            let message = format!("`{name}` has the tables that `{first}` has");
            findings.key(&["data", name], message, "tables are there once; leave one of the two to a step");
        }
        before.push((name, names));
    }
}

/// Steps that load.
pub(super) fn steps(scenario: &Scenario, findings: &mut Findings) {
    let mut loaded: Vec<&str> = Vec::new();
    for (i, phase) in scenario.phase.iter().enumerate() {
        let index = i.to_string();
        until(&index, phase, findings);
        for (name, step) in &phase.steps {
            let Fault::Load(load) = &step.act else { continue };
            let path = ["phase", index.as_str(), "do", name, "act", "data"];
            if !scenario.data.contains_key(&load.data) {
                let hint = did_you_mean(&load.data, scenario.data.keys().map(String::as_str));
                let hint = hint.unwrap_or_else(|| "add a `[data.NAME]`".to_owned());
                findings.value(&path, format!("there is no data set `{}`", load.data), hint);
            }
            if step.lasts.is_some() || step.every.is_some() {
                let key = if step.lasts.is_some() { "for" } else { "every" };
                let path = ["phase", index.as_str(), "do", name, key];
                findings.key(&path, "a load is not undone and does not come again", "leave it out");
            }
            if loaded.contains(&load.data.as_str()) {
                findings.value(&path, format!("`{}` was loaded before", load.data), "load each data set once");
            }
            loaded.push(&load.data);
        }
    }
}

fn until(index: &str, phase: &Phase, findings: &mut Findings) {
    let Some(until) = &phase.until else { return };
    let path = ["phase", index, "until"];
    match phase.steps.get(until) {
        None => {
            let hint = did_you_mean(until, phase.steps.keys().map(String::as_str));
            let hint = hint.unwrap_or_else(|| "name a step of this phase, such as a `do.load`".to_owned());
            findings.value(&path, format!("`{}` has no step `{until}`", phase.name), hint);
        }
        Some(step) if !matches!(step.act, Fault::Load(_)) => {
            let hint = "leave `until` out: the phase then lasts as long as it says";
            findings.value(&path, format!("`{until}` has no end to wait for"), hint);
        }
        Some(_) => {}
    }
}

/// Loads that read IMDb's tables.
pub(super) fn readers(scenario: &Scenario, findings: &mut Findings) {
    for (name, _) in scenario.load.iter().filter(|(_, load)| load.mix.needs_imdb()) {
        let path = ["load", name, "mix", "kind"];
        let there = scenario.loaded_before().find(|(_, data)| data.imdb().is_some());
        let hint = "such as `[data.imdb]` with `kind = \"synthetic_imdb\"` and `scale = 0.001`";
        match there {
            None => findings.value(&path, "no data set brings IMDb's tables before the load begins", hint),
            Some((data, set)) if set.imdb() != Some(Schema::Typed) => {
                let message = format!("it reads typed columns, and those of `{data}` are text");
                findings.value(&["data", data, "schema"], message, "leave `schema` out");
            }
            Some((data, set)) if set.settings().indexes == Indexes::None || !set.settings().primary_keys => {
                let message = format!("`{name}` looks up rows of `{data}`, which has no indexes");
                findings.value(&["data", data, "load"], message, "leave `indexes` and `primary_keys` as they are");
            }
            Some(_) => {}
        }
    }
}
