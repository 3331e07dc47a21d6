//! What was run, on what, with which settings: enough to do it again.

use super::super::Summary;
use super::{escape, table};
use crate::record::{Record, RunStatus};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The page's first lines.
pub(super) fn head(summary: &Summary, record: &Record, of_several: bool) -> String {
    let manifest = &record.manifest;
    let status = match manifest.status {
        RunStatus::Finished => String::new(),
        RunStatus::Running => " · <b class=\"bad\">the run has no end</b>".into(),
        RunStatus::Interrupted => " · <b class=\"bad\">interrupted</b>".into(),
        RunStatus::Failed => " · <b class=\"bad\">the run failed</b>".into(),
    };
    let date = manifest.started_at.split(['T']).next().unwrap_or_default();
    let run = if of_several { format!(" <small>{}</small>", escape(&summary.run_id)) } else { String::new() };
    let heading = escape(&summary.scenario) + &run;
    format!(
        "<header>\n<h1>{heading}</h1>\n<p class=\"facts\">{} · PostgreSQL {} · {} · {}{status}</p>\n</header>\n",
        escape(date),
        escape(&summary.server),
        escape(&summary.machine),
        escape(&summary.loads.join("; "))
    )
}

/// Machine, versions, settings, the scenario as written.
pub(super) fn html(record: &Record) -> String {
    let manifest = &record.manifest;
    let host = &manifest.host;
    let mut facts: Vec<(&str, String)> = Vec::new();
    let mut fact = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    fact("run", Some(manifest.run_id.clone()));
    fact("started", Some(manifest.started_at.clone()));
    fact("ended", manifest.ended_at.clone());
    fact("command", Some(manifest.command.join(" ")));
    fact(
        "pgbench-rs",
        Some(format!(
            "{}{}",
            manifest.version,
            manifest.revision.as_ref().map_or_else(String::new, |r| format!(" ({r})"))
        )),
    );
    fact("servers are", Some(manifest.driver.clone()));
    for server in &manifest.servers {
        let image = server.image.as_ref().map_or_else(String::new, |image| format!(", {image}"));
        fact("PostgreSQL", Some(format!("{}{image}", server.version)));
    }
    fact("machine", host.name.clone());
    fact("system", host.os.clone());
    fact("kernel", host.kernel.clone());
    fact("processor", host.cpu.clone());
    fact("cores", host.cores.map(|cores| cores.to_string()));
    fact("memory", host.memory.map(|bytes| super::super::humane::number("bytes", bytes as f64)));
    fact("data directories on", host.work_file_system.clone());
    let facts: String = facts.iter().fold(String::new(), |mut out, (name, value)| {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escape(value));
        out
    });
    format!(
        "<dl class=\"setting\">{facts}</dl>\n<h3>Settings that are not the server's defaults</h3>\n{}\n<details><summary>The \
         scenario as it was written</summary><pre>{}</pre></details>",
        settings(&manifest.settings),
        escape(&manifest.scenario_text)
    )
}

/// One table of all variants; of a setting that is the same in all of them one value.
fn settings(by_variant: &indexmap::IndexMap<String, BTreeMap<String, String>>) -> String {
    let names: std::collections::BTreeSet<&String> = by_variant.values().flat_map(BTreeMap::keys).collect();
    if names.is_empty() {
        return "<p>None are recorded.</p>".into();
    }
    let value = |settings: &BTreeMap<String, String>, name: &String| {
        settings.get(name).map_or_else(|| "the default".to_owned(), |value| escape(value))
    };
    let rows: Vec<_> = names
        .iter()
        .map(|name| {
            let values: Vec<String> = by_variant.values().map(|settings| value(settings, name)).collect();
            let alike = values.iter().all(|value| *value == values[0]);
            let cell = if alike {
                values[0].clone()
            } else {
                let each =
                    by_variant.keys().zip(&values).map(|(variant, value)| format!("{}: {value}", escape(variant)));
                each.collect::<Vec<_>>().join("<br>")
            };
            (escape(name), vec![cell])
        })
        .collect();
    table("settings", &["setting".to_owned(), "value".to_owned()], &rows)
}
