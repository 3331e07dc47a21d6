//! What publications and subscriptions come to: each on its node, with what the probes need of them.

use super::{Node, Role, Scenario, Step};
use crate::base::Name;
use crate::cluster::logical::{Part, Publication, PublicationSpec, Subscription, SubscriptionSpec, Tables};
use crate::fault::Fault;
use crate::pg::version::Major;
use crate::probe::{ledger, visibility};
use indexmap::IndexMap;
use std::collections::BTreeMap;

/// The version that brought row filters and column lists.
pub const FILTERS: Major = Major(15);

/// The version whose standbys can decode.
pub const DECODING_ON_STANDBYS: Major = Major(16);

/// Workers that a subscription may have at once: one that applies, two that copy tables, two beside the first.
const WORKERS: usize = 5;

impl Scenario {
    /// The publications, with the probe's table in each where there is a probe: its rows take the way of all others.
    /// `majors` are the nodes' versions.
    pub fn publications(&self, majors: &BTreeMap<Name, Major>) -> Vec<PublicationSpec> {
        let spec = |(name, publication): (&Name, &Publication)| {
            let mut tables = publication.tables.clone();
            if let (Tables::Listed(listed), true) = (&mut tables, self.ledger_goes_by().as_ref() == Some(name)) {
                listed.insert(ledger::TABLE.to_owned(), Part::default());
            }
            if let (Tables::Listed(listed), true) = (&mut tables, self.probe.visibility.is_some()) {
                let rows = self.marks(name).iter().map(|row| format!("'{row}'")).collect::<Vec<_>>().join(", ");
                let filters = majors.get(&publication.on).is_some_and(|major| *major >= FILTERS);
                let filter = filters.then(|| format!("name IN ({rows})"));
                listed.insert(visibility::TABLE.to_owned(), Part { filter, columns: None });
            }
            PublicationSpec { name: name.clone(), on: publication.on.clone(), tables }
        };
        self.publication.iter().map(spec).collect()
    }

    /// The subscriptions, one for each node that a `to` stands for. Those of several nodes are called as their entry
    /// and the node.
    pub fn subscriptions(&self) -> Vec<SubscriptionSpec> {
        let nodes = self.nodes();
        let mut all = Vec::new();
        for (name, subscription) in &self.subscription {
            let on = subscription.publications.first().and_then(|first| self.publication.get(first)).map(|of| &of.on);
            let Some(from) = subscription.from.as_ref().or(on) else { continue };
            let targets: Vec<_> =
                nodes.iter().filter(|node| [&node.name, &node.entry].contains(&&subscription.to)).collect();
            for to in &targets {
                let called = |base: &str| match targets.len() {
                    1 => base.to_owned(),
                    _ => format!("{base}_{}", to.name),
                };
                all.push(SubscriptionSpec {
                    name: called(name),
                    from: from.clone(),
                    to: to.name.clone(),
                    publications: subscription.publications.clone(),
                    slot: called(subscription.slot.as_deref().unwrap_or(name)),
                    copy: subscription.copy,
                    options: subscription.options().into_iter().map(|(name, value, _)| (name, value)).collect(),
                });
            }
        }
        all
    }

    /// The publication by which the ledger's rows come to a node that takes over, whose loss is to be seen.
    fn ledger_goes_by(&self) -> Option<Name> {
        let successors = self.probe.ledger.as_ref().map(|_| self.successors())?;
        let all = self.subscriptions();
        let own = all.iter().find(|one| successors.contains(&one.to))?;
        own.publications.first().cloned()
    }

    /// The rows of the probe's table that a publication carries: its own where the primary's group writes it, else those
    /// that its node gets.
    pub fn marks(&self, publication: &str) -> Vec<Name> {
        let mut marks = Vec::new();
        self.gather(publication, &mut Vec::new(), &mut marks);
        marks
    }

    fn gather(&self, publication: &str, seen: &mut Vec<Name>, marks: &mut Vec<Name>) {
        let Some(written) = self.publication.get(publication) else { return };
        if seen.iter().any(|name| name == publication) {
            return;
        }
        seen.push(publication.to_owned());
        let fed = |node: &str| self.nodes().iter().any(|one| one.name == node && one.role == Role::Subscriber);
        if !fed(&written.on) {
            return marks.push(publication.to_owned());
        }
        for subscription in self.subscriptions().iter().filter(|one| one.to == written.on) {
            subscription.publications.iter().for_each(|name| self.gather(name, seen, marks));
        }
    }

    /// The role at the head of a node's physical group: a subscriber's standby needs what that one has.
    pub(super) fn head(&self, node: &Node) -> Role {
        let mut head = node;
        // In a circle, which `check` refuses, this ends anyway.
        for _ in &self.node {
            let Some(upstream) = &head.follows else { break };
            let is_it = |(entry, other): &(&Name, &Node)| {
                let number = upstream.strip_prefix(entry.as_str());
                let counted = other.count.is_some() && number.is_some_and(|number| number.parse::<u32>().is_ok());
                *entry == upstream || counted
            };
            match self.node.iter().find(is_it) {
                Some((_, upstream)) => head = upstream,
                None => break,
            }
        }
        head.role
    }

    /// The settings of a node whose group has this role at its head, with what logical replication needs where they do not say: a publisher's WAL that can be
    /// decoded, workers for all subscriptions, and of a subscriber when it last applied something.
    pub(super) fn with_logical(
        &self,
        head: Role,
        settings: impl Iterator<Item = (String, String)>,
    ) -> IndexMap<String, String> {
        let mut settings: IndexMap<String, String> = settings.collect();
        let mut wanted = |name: &str, value: String| _ = settings.entry(name.to_owned()).or_insert(value);
        if !self.publication.is_empty() {
            wanted("wal_level", "logical".to_owned());
        }
        if head == Role::Subscriber {
            wanted("track_commit_timestamp", "on".to_owned());
            let workers = WORKERS * self.subscription.len().max(1);
            wanted("max_logical_replication_workers", workers.to_string());
            wanted("max_worker_processes", (workers + 8).to_string());
        }
        let slots = self.slots();
        if head != Role::Subscriber && slots > 10 {
            wanted("max_replication_slots", slots.to_string());
            wanted("max_wal_senders", slots.to_string());
        }
        settings
    }

    /// Slots and senders that a publisher may need at once: each subscription's own and two while it copies.
    fn slots(&self) -> usize {
        let of = |name: &Name| {
            let count = self.node.get(name).and_then(|node| node.count);
            count.unwrap_or(1) as usize
        };
        let subscribers: usize = self.subscription.values().map(|subscription| of(&subscription.to)).sum();
        let standbys = self.node.values().filter(|node| node.role == Role::Standby).count();
        if subscribers == 0 { 0 } else { 3 * subscribers + standbys + 5 }
    }
}

impl Scenario {
    /// What its loads write on the primary: load and table.
    pub fn written(&self) -> Vec<(&str, &'static str)> {
        let to_primary =
            |to: &str| to == "@primary" || self.node.get(to).is_some_and(|node| node.role == Role::Primary);
        let loads = self.load.iter().filter(|(_, load)| to_primary(&load.to));
        loads.flat_map(|(name, load)| load.mix.writes().into_iter().map(move |table| (name.as_str(), table))).collect()
    }

    /// Whether the nodes, whose versions are `majors`, have all that publications and subscriptions ask for, as `check`
    /// says of versions that are written.
    pub fn fits(&self, majors: &BTreeMap<Name, Major>) -> Result<(), String> {
        let lacks = |node: &str, since: Major| majors.get(node).copied().filter(|major| *major < since);
        let said = |node: &str, major: Major, what: String, since: Major| {
            Err(format!("node `{node}`: PostgreSQL {major} has no {what}\n\nhint: it came with version {since}"))
        };
        for (name, publication) in &self.publication {
            for (what, table, since) in publication.needs() {
                if let Some(major) = lacks(&publication.on, since) {
                    let what = format!("`{what}`, which publication `{name}` has for `{table}`");
                    return said(&publication.on, major, what, since);
                }
            }
        }
        for spec in self.subscriptions() {
            let standby = self.nodes().iter().any(|node| node.name == spec.from && node.role == Role::Standby);
            if let (true, Some(major)) = (standby, lacks(&spec.from, DECODING_ON_STANDBYS)) {
                return said(&spec.from, major, "decoding on a standby".to_owned(), DECODING_ON_STANDBYS);
            }
        }
        for (name, subscription) in &self.subscription {
            for (option, value, since) in subscription.options() {
                let ends = self.ends(subscription, option);
                if let Some((node, major)) = ends.iter().find_map(|node| Some((node, lacks(node, since)?))) {
                    return said(node, major, format!("`{option} = {value}`, which subscription `{name}` has"), since);
                }
            }
        }
        Ok(())
    }

    /// The nodes that must know a setting of a subscription: its subscribers, and its publisher, which would silently
    /// leave out what it does not know.
    pub fn ends(&self, subscription: &Subscription, option: &str) -> Vec<Name> {
        let nodes = self.nodes();
        let to = nodes.iter().filter(|node| [&node.name, &node.entry].contains(&&subscription.to));
        let on = subscription.publications.first().and_then(|first| self.publication.get(first)).map(|of| &of.on);
        // An error is the subscriber's own.
        let from = subscription.from.as_ref().or(on).filter(|_| option != "disable_on_error");
        to.map(|node| node.name.clone()).chain(from.cloned()).collect()
    }

    /// The nodes that a cutover moves clients to.
    pub fn successors(&self) -> Vec<Name> {
        let steps = self.phase.iter().flat_map(|phase| phase.steps.values());
        let to = |step: &Step| match &step.act {
            Fault::Cutover(cutover) => Some(cutover.to.clone()),
            _ => None,
        };
        steps.filter_map(to).collect()
    }

    /// What a reader may not have meant: a published table that gets no write, a written one that is not published.
    pub fn notes(&self) -> Vec<String> {
        let primary = self.nodes().into_iter().find(|node| node.role == Role::Primary).map(|node| node.name);
        let of_primary = || self.publication.iter().filter(|(_, one)| Some(&one.on) == primary.as_ref());
        if of_primary().next().is_none() || of_primary().any(|(_, one)| one.tables == Tables::All) {
            return Vec::new();
        }
        let written = self.written();
        let mut notes = Vec::new();
        for (name, publication) in of_primary() {
            let Tables::Listed(tables) = &publication.tables else { continue };
            let idle = tables.keys().filter(|table| !written.iter().any(|(_, one)| one == table));
            notes.extend(idle.map(|table| format!("publication `{name}` has `{table}`, which no load writes")));
        }
        let published = |table: &str| {
            of_primary().any(|(_, one)| matches!(&one.tables, Tables::Listed(tables) if tables.contains_key(table)))
        };
        let skipped = written.iter().filter(|(_, table)| !published(table));
        notes.extend(skipped.map(|(load, table)| {
            format!("load `{load}` writes `{table}`, which is in no publication: it is decoded and skipped")
        }));
        notes
    }
}
