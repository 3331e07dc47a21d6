//! What differs between two runs, besides what is compared.

use crate::record::Record;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Something that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is: `host.cpu`, `server`, `setting.a.fsync`, `scenario.load.app.clients`.
    pub what: String,
    /// In A.
    pub a: String,
    /// In B.
    pub b: String,
    /// Whether the runs asked different questions, so that no ratio means anything.
    pub grave: bool,
}

/// Parts of a scenario that decide what is measured.
const GRAVE: [&str; 3] = ["phase", "load", "probe"];

/// All that differs between `variant` of `a` and of `b`, as far as the records know.
pub fn differences(a: &Record, b: &Record, variant: &str) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut note = |what: &str, a: String, b: String, grave: bool| {
        if a != b {
            found.push(Difference { what: what.to_owned(), a, b, grave });
        }
    };
    let (of_a, of_b) = (facts(a), facts(b));
    note("scenario", a.manifest.scenario.clone(), b.manifest.scenario.clone(), true);
    for (what, value) in &of_a {
        note(what, value.clone(), of_b.get(what).cloned().unwrap_or_default(), false);
    }
    let empty = BTreeMap::new();
    let settings = |record: &Record| record.manifest.settings.get(variant).unwrap_or(&empty).clone();
    let (of_a, of_b) = (settings(a), settings(b));
    let names: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
    let or_default = |value: Option<&String>| value.cloned().unwrap_or_else(|| "the default".into());
    for name in names {
        note(&format!("setting.{name}"), or_default(of_a.get(name)), or_default(of_b.get(name)), false);
    }
    let (of_a, of_b) = (scenario(a, variant), scenario(b, variant));
    let paths: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
    let or_absent = |value: Option<&String>| value.cloned().unwrap_or_else(|| "absent".into());
    for path in paths {
        let grave = GRAVE.iter().any(|part| path.split('.').next() == Some(part));
        note(&format!("scenario.{path}"), or_absent(of_a.get(path)), or_absent(of_b.get(path)), grave);
    }
    found
}

/// Facts of the machine and of the programs.
fn facts(record: &Record) -> BTreeMap<&'static str, String> {
    let (manifest, host) = (&record.manifest, &record.manifest.host);
    let text = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "not known".into());
    let number = |fact: Option<u64>| fact.map_or_else(|| "not known".into(), |fact| fact.to_string());
    let servers: Vec<&str> = manifest.servers.iter().map(|server| server.version.as_str()).collect();
    BTreeMap::from([
        ("host.name", text(&host.name)),
        ("host.os", text(&host.os)),
        ("host.kernel", text(&host.kernel)),
        ("host.cpu", text(&host.cpu)),
        ("host.cores", number(host.cores.map(|cores| cores as u64))),
        // Kernels reserve a little more or less from boot to boot.
        ("host.memory", number(host.memory.map(|bytes| bytes >> 28)) + " × 256 MB"),
        ("host.file_system", text(&host.work_file_system)),
        ("server", servers.join(", ")),
        ("driver", manifest.driver.clone()),
        ("pgbench-rs", manifest.revision.clone().unwrap_or_else(|| manifest.version.clone())),
    ])
}

/// The scenario of a variant, as paths and values. Words about it and the number of trials do not matter.
fn scenario(record: &Record, variant: &str) -> BTreeMap<String, String> {
    let mut paths = BTreeMap::new();
    let variants = record.manifest.plan.get("variants").and_then(Value::as_array);
    let found =
        variants.and_then(|all| all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(variant)));
    if let Some(scenario) = found.and_then(|found| found.get("scenario")) {
        flatten(scenario, String::new(), &mut paths);
    }
    for words in ["name", "question", "about", "trials", "stop", "answer", "seed"] {
        paths.retain(|path, _| path.split('.').next() != Some(words));
    }
    paths
}

/// A nested value as dotted paths; entries of a list go by their `name` where they have one.
fn flatten(value: &Value, path: String, into: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Null => {}
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(value, below(key), into)),
        Value::Array(entries) => {
            for (i, entry) in entries.iter().enumerate() {
                let name = entry.get("name").and_then(Value::as_str).map_or_else(|| i.to_string(), ToOwned::to_owned);
                flatten(entry, below(&name), into);
            }
        }
        Value::String(text) => drop(into.insert(path, text.clone())),
        other => drop(into.insert(path, other.to_string())),
    }
}
