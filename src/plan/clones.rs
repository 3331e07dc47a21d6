//! Campaigns of clones in a plan: what is asked for, and what `auto` comes to, as far as that can be known before a run.

use super::Plan;
use super::print::counted;
use crate::base::units::Size;
use crate::clone::Method;
use crate::disk::Format;
use crate::probe::clones::Campaign;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Role, Scenario};
use crate::snapshot::choose::Choice;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What was found out of the directories in which servers' own would be made, by [`NodePlan::dir`]; under none the
/// default one.
pub type Places = BTreeMap<Option<PathBuf>, Choice>;

impl Plan {
    /// The directories of servers that are cloned by whatever way is best there, as keys of [`Places`].
    pub fn unknown_places(&self) -> BTreeSet<Option<PathBuf>> {
        let scenarios = self.variants.iter().map(|variant| &variant.scenario);
        let campaigns =
            scenarios.flat_map(|scenario| scenario.clone.values().map(move |campaign| (scenario, campaign)));
        let automatic = campaigns.filter(|(_, campaign)| campaign.recipe.method == Method::Auto);
        let sources = automatic.filter_map(|(scenario, campaign)| source(scenario, &campaign.of));
        sources.filter(|node| node.disk.is_none()).map(|node| node.dir).collect()
    }
}

/// A campaign in words, without its name.
pub(super) fn in_words(scenario: &Scenario, campaign: &Campaign, places: &Places) -> String {
    let recipe = &campaign.recipe;
    let method = match recipe.method {
        Method::Auto => automatic(source(scenario, &campaign.of).as_ref(), places),
        method => method.to_string(),
    };
    let mut line = format!("of {} in {}, by {method}, {}", campaign.of, campaign.phase, recipe.mode);
    line += &match campaign.rounds {
        Some(rounds) => format!(", {} of {}", counted(rounds as usize, "round"), campaign.at_once),
        None => format!(", rounds of {}", campaign.at_once),
    };
    if let Some(quota) = recipe.quota {
        line += &format!(", at most {quota} of its own each");
    }
    line += &match recipe.reserve {
        Size(0) => ", until the disk is full".to_owned(),
        reserve => format!(", as long as {reserve} are left"),
    };
    if let Some(every) = campaign.every {
        line += &format!(" every {every}");
    }
    if !campaign.lasts.is_zero() {
        line += &format!(", each living for {}", campaign.lasts);
    }
    if let Some(driver) = &campaign.driver {
        line += &format!(", on the driver {}", driver.name());
    }
    line + if campaign.load.is_some() { ", with a load of their own" } else { "" }
}

/// The server that is cloned when the trial begins as it is written.
fn source(scenario: &Scenario, of: &str) -> Option<NodePlan> {
    let is_meant = |node: &NodePlan| node.name == of || of == "@primary" && node.role == Role::Primary;
    scenario.nodes().into_iter().find(is_meant)
}

/// What `auto` comes to, as far as a plan can know.
fn automatic(source: Option<&NodePlan>, places: &Places) -> String {
    if let Some(disk) = source.and_then(|node| node.disk) {
        let best = match disk.format {
            Format::Zfs => Method::Zfs,
            Format::Btrfs => Method::Btrfs,
            Format::Xfs => Method::Reflink,
            Format::Ext4 => Method::Copy,
        };
        return format!("{best} (auto: its disk is {})", disk.format);
    }
    let dir = source.and_then(|node| node.dir.clone());
    let later = "`clones` in run.json says which it was, and why";
    match places.get(&dir) {
        Some(Choice { driver, why, .. }) => {
            let where_to = if dir.is_some() { "" } else { ", unless --work leads elsewhere" };
            format!("{driver} (auto: {why}{where_to}; {later})")
        }
        None => format!("what the file system of its directory allows (auto: chosen in the run; {later})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SnapshotDriver;

    fn node(dir: Option<&str>) -> NodePlan {
        let document = r#"
            name = "n"
            question = "q"
            answer = ["load.tps"]
            [node]
            a = { role = "primary"DIR }
            [[phase]]
            name = "p"
            lasts = "1s"
        "#;
        let dir = dir.map_or_else(String::new, |dir| format!(", dir = \"{dir}\""));
        let scenario: Scenario = toml::from_str(&document.replace("DIR", &dir)).unwrap();
        source(&scenario, "@primary").unwrap()
    }

    #[test]
    fn what_auto_takes_is_said_where_it_is_known() {
        let choice = |driver, why: &str| Choice { driver, file_system: "x".to_owned(), why: why.to_owned() };
        let places = Places::from([
            (Some("/srv/pg".into()), choice(SnapshotDriver::Zfs, "its dataset can be cloned")),
            (None, choice(SnapshotDriver::Copy, "nothing can be shared")),
        ]);
        let later = "`clones` in run.json says which it was, and why)";
        let said = |dir, places| automatic(Some(&node(dir)), places);
        assert_eq!(said(Some("/srv/pg"), &places), format!("zfs (auto: its dataset can be cloned; {later}"));
        let unless = "copy (auto: nothing can be shared, unless --work leads elsewhere; ";
        assert_eq!(said(None, &places), format!("{unless}{later}"));
        let open = "what the file system of its directory allows (auto: chosen in the run; ";
        for (dir, places) in [(Some("/elsewhere"), &places), (None, &Places::new())] {
            assert_eq!(said(dir, places), format!("{open}{later}"));
        }
    }
}
