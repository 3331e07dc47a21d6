//! Campaigns of thin clones: whom they clone and when, and what cannot be had of such a server.

use super::traffic::{positive, target};
use super::{Findings, Part};
use crate::clone::{Method, Mode, Protect, settings};
use crate::disk::Format;
use crate::driver::Driver;
use crate::probe::clones::Campaign;
use crate::scenario::near::did_you_mean;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario};

pub(super) fn clones(scenario: &Scenario, findings: &mut Findings) {
    for (name, campaign) in &scenario.clone {
        findings.name(&["clone", name], Part::Key, name);
        times(scenario, name, campaign, findings);
        if target(scenario, &["clone", name, "of"], &campaign.of, findings) {
            source(scenario, name, campaign, findings);
        }
        recipe(scenario, name, campaign, findings);
        quota(scenario, name, campaign, findings);
        load(scenario, name, campaign, findings);
    }
}

fn times(scenario: &Scenario, name: &str, campaign: &Campaign, findings: &mut Findings) {
    let phases = || scenario.phase.iter().map(|phase| phase.name.as_str());
    if !phases().any(|phase| phase == campaign.phase) {
        let hint = did_you_mean(&campaign.phase, phases()).unwrap_or_default();
        findings.value(&["clone", name, "phase"], format!("there is no phase `{}`", campaign.phase), hint);
    }
    if campaign.at_once == 0 {
        findings.value(&["clone", name, "at_once"], "a round has at least one clone", "write 1 or more");
    }
    if campaign.rounds == Some(0) {
        let hint = "write 1 or more, or leave it out for as many as there is time for";
        findings.value(&["clone", name, "rounds"], "in no round nothing is cloned", hint);
    }
    if let Some(every) = campaign.every {
        positive(&["clone", name, "every"], every, findings);
    }
}

/// What cannot be cloned, and where its clones cannot run.
fn source(scenario: &Scenario, name: &str, campaign: &Campaign, findings: &mut Findings) {
    let nodes = scenario.nodes();
    let Some(node) = meant(&nodes, &campaign.of) else {
        let hint = "name one of them, or `@primary`";
        return findings.value(&["clone", name, "of"], "a clone is of one server", hint);
    };
    let of = ["clone", name, "of"];
    if node.driver.external().is_some() {
        let message = format!("the data directory of `{}` is not here: somebody else runs it", node.name);
        let hint = "on the machine where it lies: `pgbench-rs clone create --from CONNINFO --data-dir DIR`";
        findings.value(&of, message, hint);
    }
    if super::remote::is_remote(node) {
        let message = format!("the data directory of `{}` is on its engine's machine", node.name);
        findings.value(&of, message, "clone servers whose engine is this machine's");
    }
    match &campaign.driver {
        Some(Driver::External(_)) => {
            let message = "nobody else runs a clone that is made here";
            findings.value(&["clone", name, "driver"], message, "let it be `process` or `docker`");
        }
        Some(Driver::Docker(docker)) if docker.is_remote() == Some(true) => {
            let message = "a clone lies here, and its server would be on another machine";
            findings.value(&["clone", name, "driver"], message, "leave `host` out: the engine of this machine");
        }
        _ => {}
    }
    if campaign.recipe.protect == Protect::Stopped {
        let message = "a node of a scenario runs while it is cloned";
        findings.value(&["clone", name, "recipe", "protect"], message, "let it be `auto`, `backup` or `freeze`");
    }
}

fn recipe(scenario: &Scenario, name: &str, campaign: &Campaign, findings: &mut Findings) {
    let recipe = &campaign.recipe;
    for setting in recipe.settings.keys().filter(|setting| settings::is_reserved(setting)) {
        let message = format!("`{setting}` is what keeps a clone to itself");
        findings.key(&["clone", name, "recipe", "settings", setting], message, "leave it out");
    }
    let pgbench = !scenario.load.is_empty() || campaign.load.is_some();
    if recipe.query.as_ref().is_some_and(|query| query.contains("pgbench_")) && !pgbench {
        let message = "pgbench's tables are there for loads, and there is none";
        findings.value(&["clone", name, "recipe", "query"], message, "add a `[load.NAME]`");
    }
    if let (Mode::Precooked(_), Some(query)) = (recipe.mode, &recipe.query)
        && query.trim().is_empty()
    {
        findings.value(&["clone", name, "recipe", "query"], "there is no query", "leave it out, or write one");
    }
}

/// Only ZFS limits what a clone has of its own.
fn quota(scenario: &Scenario, name: &str, campaign: &Campaign, findings: &mut Findings) {
    let Some(quota) = campaign.recipe.quota else { return };
    let at = ["clone", name, "recipe", "quota"];
    if quota.0 == 0 {
        findings.value(&at, "a clone of 0 bytes writes nothing", "leave it out for all there is");
    }
    let disk = meant(&scenario.nodes(), &campaign.of).and_then(|node| node.disk).map(|disk| disk.format);
    let elsewhere = match (campaign.recipe.method, disk) {
        (Method::Auto | Method::Zfs, None | Some(Format::Zfs)) => return,
        (Method::Auto | Method::Zfs, Some(format)) => format!("the disk of its source is {format}"),
        (method, _) => format!("`{method}` cannot limit what a clone has of its own"),
    };
    let hint = "put the source on ZFS (`disk = { …, fs = \"zfs\" }`), or leave `quota` out: clones end when less than \
                `reserve` is left";
    findings.value(&at, elsewhere, hint);
}

fn load(scenario: &Scenario, name: &str, campaign: &Campaign, findings: &mut Findings) {
    let Some(load) = &campaign.load else { return };
    let at = |key: &'static str| ["clone", name, "load", key];
    if load.clients == 0 {
        findings.value(&at("clients"), "a load has at least one client", "write 1 or more");
    }
    super::traffic::profile(&["clone", name, "load"], &load.profile, findings);
    if campaign.lasts.is_zero() {
        let message = "clones end as soon as they were checked, and there is no time for a load";
        findings.key(&["clone", name, "load"], message, "say with `lasts` how long they live");
    }
    if load.mix.needs_imdb() {
        let hint = "use `tpcb`, `simple_update`, `select_only`, or these `weighted`";
        findings.value(&[&at("mix")[..], &["kind"]].concat(), "clones get no reads of IMDb's tables", hint);
    }
    let scales = scenario.load.values().filter_map(|other| other.mix.scale());
    if let (Some(own), Some(scale)) = (load.mix.scale(), scales.clone().next())
        && own != scale
    {
        let message = format!("the source has pgbench's tables in scale {scale}");
        let path = [&at("mix")[..], &["scale"]].concat();
        findings.value(&path, message, "a clone has the same; give it that scale");
    }
    if load.mix.books().is_some() {
        findings.value(&at("mix"), "a clone has no load on books", "give it one on pgbench's tables");
    }
}

/// The node that is cloned when the trial begins as it is written.
fn meant<'n>(nodes: &'n [NodePlan], of: &str) -> Option<&'n NodePlan> {
    match of {
        "@primary" => nodes.iter().find(|node| node.role == Role::Primary),
        "@standbys" => None,
        name => nodes.iter().find(|node| node.name == name),
    }
}
