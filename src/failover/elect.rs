//! Who becomes primary: of the standbys that may, the one on the newest timeline, then the one with most
//! WAL, then by priority, then by name.
//!
//! With synchronous standbys nobody is elected who may lack an acknowledged write. The quorum covers what
//! was acknowledged by the lost primary; what it inherited ends where its timeline begins, so the winner
//! must reach at least there.

use super::quorum::reporters;
use super::{Blocked, Timeline, Turn};
use crate::base::Name;
use crate::pg::Lsn;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A standby that reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub name: Name,
    /// The newest timeline that it received.
    pub timeline: Timeline,
    /// The greatest of what it received and replayed.
    pub lsn: Lsn,
    /// Rank among equals; 0 may not be promoted.
    pub priority: u32,
}

/// How candidates compare; the greatest wins.
pub(super) type Order = fn(&Candidate, &Candidate) -> Ordering;

impl Candidate {
    /// Timeline, LSN, priority, name (earlier in the alphabet wins).
    pub fn order(a: &Candidate, b: &Candidate) -> Ordering {
        a.wal().cmp(&b.wal()).then(a.priority.cmp(&b.priority)).then_with(|| b.name.cmp(&a.name))
    }

    fn wal(&self) -> (Timeline, Lsn) {
        (self.timeline, self.lsn)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (timeline {}, {})", self.name, self.timeline.0, self.lsn)
    }
}

/// What the reports allow.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Reports are missing that may still come.
    Wait,
    /// The winner, and all who stood, best first.
    Elected(Candidate, Vec<Candidate>),
    /// Nobody can be promoted.
    Blocked(Blocked),
}

impl Turn<'_> {
    /// The verdict on checks that began not before `after`. Until it is `late`, every standby is waited for
    /// that is not itself dead by the rule that goes for the primary; and if the primary is `gone`, also
    /// until none streams from it any more: what it sent may still be on its way to the disk.
    pub(super) fn verdict(&self, after: Duration, gone: bool, late: bool) -> Verdict {
        let standbys: Vec<&Name> = self.standbys().collect();
        let mut reports = Vec::new();
        let mut passed_over = BTreeMap::new();
        for name in &standbys {
            match self.report(name, after) {
                Ok(candidate) => reports.push(candidate),
                Err(reason) => _ = passed_over.insert((*name).clone(), reason),
            }
        }
        let primary = self.spec.nodes.get(&self.status.primary).map(|member| &member.address);
        let missing = |name: &&Name| match self.facts(name, after) {
            None => self.status.known(name).misses < self.spec.misses,
            Some(facts) => gone && facts.streams_from.is_some() && facts.streams_from.as_ref() == primary,
        };
        if !late && standbys.iter().any(missing) {
            return Verdict::Wait;
        }
        if let Some(blocked) = self.below_quorum(&reports) {
            return if late { Verdict::Blocked(blocked) } else { Verdict::Wait };
        }
        let (mut able, unable): (Vec<_>, Vec<_>) = reports.into_iter().partition(|c| c.priority > 0);
        able.sort_by(|a, b| (self.order)(b, a));
        let Some(winner) = able.first().cloned() else {
            passed_over.extend(unable.into_iter().map(|c| (c.name, "has priority 0".to_owned())));
            return Verdict::Blocked(Blocked::NoCandidate(passed_over));
        };
        match self.below_promise(&winner, &unable) {
            Some(blocked) => Verdict::Blocked(blocked),
            None => Verdict::Elected(winner, able),
        }
    }

    /// Whether `winner` may lack acknowledged writes though a quorum reports. Without synchronous standbys
    /// such writes can be lost anyway, and being up counts for more.
    fn below_promise(&self, winner: &Candidate, unable: &[Candidate]) -> Option<Blocked> {
        let synchronous = self.spec.synchronous.as_ref()?;
        if let Some(ahead) = unable.iter().find(|c| c.wal() > winner.wal() && synchronous.contains(&c.name)) {
            return Some(Blocked::Ahead(ahead.name.clone()));
        }
        let fork = self.status.forking.or_else(|| self.status.forks.values().next_back().copied())?;
        let (node, at) = (winner.name.clone(), winner.lsn);
        (at < fork).then_some(Blocked::Behind { node, at, fork })
    }

    /// The servers that could hold acknowledged writes: all but the primary and what we took down.
    pub(super) fn standbys(&self) -> impl Iterator<Item = &Name> {
        let primary = &self.status.primary;
        self.spec.nodes.keys().filter(move |name| *name != primary && self.status.known(name).gone.is_none())
    }

    /// What `name` says, as a candidate, or why that does not count.
    pub(super) fn report(&self, name: &str, after: Duration) -> Result<Candidate, String> {
        let seen = self.seen(name, after).ok_or("has not been heard of")?;
        let facts = seen.result.as_ref().map_err(|failure| failure.to_string())?;
        let timeline = facts.timeline.max(self.status.known(name).timeline);
        let lsn = facts.position();
        // A promotion may have opened a timeline before its number was seen.
        let newest = self.status.timeline.0 + u32::from(self.status.forking.is_some());
        let forks = self.status.forks.range((std::ops::Bound::Excluded(timeline), std::ops::Bound::Unbounded));
        let left_at = forks.map(|(_, lsn)| *lsn).min();
        if !facts.in_recovery {
            Err("is no standby".to_owned())
        } else if self.status.system.is_some_and(|system| system != facts.system) {
            Err(format!("belongs to another cluster (system identifier {})", facts.system))
        } else if self.status.timeline.0 > 0 && timeline.0 > newest {
            Err(format!("is on {timeline}, newer than the primary's"))
        } else if let Some(fork) = left_at.filter(|fork| lsn > *fork) {
            Err(format!("has diverged: {timeline} was left at {fork} and it is at {lsn}"))
        } else {
            let priority = self.spec.nodes.get(name).map_or(0, |member| member.priority);
            Ok(Candidate { name: name.to_owned(), timeline, lsn, priority })
        }
    }

    /// Whether too few report; without synchronous standbys one is enough.
    fn below_quorum(&self, reports: &[Candidate]) -> Option<Blocked> {
        let synchronous = self.spec.synchronous.as_ref()?;
        let have = reports.iter().filter(|c| synchronous.contains(&c.name)).count();
        let need = reporters(synchronous, self.standbys().filter(|name| synchronous.contains(name)).count());
        (have < need).then_some(Blocked::Quorum { have, need })
    }
}
