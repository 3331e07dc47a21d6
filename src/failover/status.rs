//! What was decided and is remembered from step to step.

use super::{Act, Action, Epoch, Spec, Timeline};
use crate::base::Name;
use crate::pg::Lsn;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// The memory of the reconciler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Counts promotions.
    pub epoch: Epoch,
    /// The node that accepts writes, or did until the failure that is being dealt with.
    pub primary: Name,
    /// What is under way.
    pub phase: Phase,
    /// What is remembered of each server.
    pub nodes: BTreeMap<Name, Known>,
    /// The timeline that the primary writes, as last seen.
    pub timeline: Timeline,
    /// Where each timeline after the first branched off.
    pub forks: BTreeMap<Timeline, Lsn>,
    /// Where the timeline of a promotion branches off whose number is not yet seen.
    pub forking: Option<Lsn>,
    /// The primary died while it was being promoted: the end of its WAL and the proof of its predecessor's
    /// fence, for the case that it comes back unpromoted.
    pub unfinished: Option<(Lsn, Proof)>,
    /// System identifier of the cluster, once seen.
    pub system: Option<u64>,
    /// Actions that are under way.
    pub in_flight: BTreeSet<Action>,
    /// Actions that ended just now, and when they may be repeated.
    pub not_before: BTreeMap<Act, Duration>,
    /// Writable servers besides the primary.
    pub split: BTreeSet<Name>,
    /// The last switchover request that was answered, and how.
    pub answer: Option<Answer>,
    /// Every failover and switchover so far, the last one perhaps unfinished.
    pub episodes: Vec<Episode>,
}

/// What is remembered of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// When the last check that was counted began.
    pub counted: Option<Duration>,
    /// Checks missed in a row.
    pub misses: u32,
    /// Since when it says that it is starting up.
    pub starting: Option<Duration>,
    /// The newest timeline that it has reported: once its WAL receiver ends, a standby no longer says.
    pub timeline: Timeline,
    /// The node that it shall stream from; absent for the primary.
    pub follows: Option<Name>,
    /// Since when it is down because we made it so.
    pub gone: Option<Gone>,
    /// It was pointed at another upstream and does not stream from there yet.
    pub repointing: bool,
    /// When it was started as a standby, until it streams.
    pub rejoining: Option<Duration>,
    /// What is odd about it, as last reported.
    pub complaint: Option<String>,
}

/// A server that we took down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Checks that began before count for nothing.
    pub since: Duration,
    /// It was stopped in good order, to come back as a standby.
    pub stopped: bool,
}

/// A switchover that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Its request.
    pub id: u64,
    /// The node to promote.
    pub to: Name,
    /// When it shall be given up.
    pub deadline: Duration,
}

/// Where things stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// There is a primary and nothing is under way.
    Stable,
    /// The primary missed a check.
    Suspect {
        /// When the first missed check was known.
        since: Duration,
    },
    /// The primary is confirmed dead; the standbys are asked how much WAL they hold.
    Collect {
        /// Only checks that began from here on count.
        after: Duration,
        /// Until when standbys are waited for.
        deadline: Duration,
        /// Absent before the fence; after it the question is asked again.
        proof: Option<Proof>,
    },
    /// Nobody can be promoted; ends when the reason does.
    Blocked {
        /// Why.
        reason: Blocked,
        /// As in [`Phase::Collect`].
        after: Duration,
        /// As in [`Phase::Collect`].
        proof: Option<Proof>,
    },
    /// The old primary is being fenced.
    Fence {
        /// Who is elected for now.
        candidate: Name,
    },
    /// A standby is being promoted.
    Promote {
        /// Which.
        candidate: Name,
        /// The end of its WAL when it was elected.
        lsn: Lsn,
        /// Why this is safe.
        proof: Proof,
        /// The switchover that this is the end of; absent in a failover.
        switch: Option<Switch>,
    },
    /// The target of a switchover is waited for while the primary still works.
    CatchUp {
        /// Which switchover.
        switch: Switch,
        /// End of the WAL after the checkpoint, once known.
        reach: Option<Lsn>,
    },
    /// The old primary is being stopped.
    StopOld {
        /// Which switchover.
        switch: Switch,
    },
    /// The old primary is stopped; the target must hold all of its WAL.
    VerifyTarget {
        /// Which switchover.
        switch: Switch,
        /// Where the record of the shutdown checkpoint begins.
        shutdown: Lsn,
        /// When the stop was complete.
        stopped: Duration,
        /// Until when the target is waited for.
        deadline: Duration,
    },
    /// The switchover failed; the old primary is being started again.
    RollBack {
        /// Which switchover.
        switch: Switch,
        /// Why it failed.
        reason: String,
    },
}

impl Phase {
    /// When the phase is given up, if it is.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Phase::Collect { deadline, .. } | Phase::VerifyTarget { deadline, .. } => Some(*deadline),
            Phase::CatchUp { switch, .. } => Some(switch.deadline),
            _ => None,
        }
    }

    /// The switchover that is under way.
    pub(super) fn switch(&self) -> Option<&Switch> {
        match self {
            Phase::Promote { switch, .. } => switch.as_ref(),
            Phase::CatchUp { switch, .. }
            | Phase::StopOld { switch }
            | Phase::VerifyTarget { switch, .. }
            | Phase::RollBack { switch, .. } => Some(switch),
            _ => None,
        }
    }

    /// Whether the next fact is waited for, not only watched for.
    pub(super) fn waits_for_facts(&self) -> bool {
        matches!(
            self,
            Phase::Collect { .. } | Phase::CatchUp { .. } | Phase::VerifyTarget { .. } | Phase::Promote { .. }
        )
    }
}

/// Why the old primary can acknowledge nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proof {
    /// It was fenced.
    Fenced {
        /// When the proof was complete.
        at: Duration,
        /// The proof.
        text: String,
    },
    /// It was stopped in good order and the promoted node holds all of its WAL.
    Stopped {
        /// When the stop was complete.
        at: Duration,
        /// Where the record of the shutdown checkpoint begins.
        shutdown: Lsn,
    },
    /// Nobody knows. Unsafe: both may accept writes.
    Unfenced,
}

/// Why nobody can be promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blocked {
    /// Only switchovers are wanted.
    NotAutomatic,
    /// Too few standbys report to be sure that an acknowledged write is among what they hold.
    Quorum {
        /// Standbys that report.
        have: usize,
        /// Standbys that must.
        need: usize,
    },
    /// No standby may be promoted; each with the reason.
    NoCandidate(BTreeMap<Name, String>),
    /// A standby that may not be promoted holds more WAL than any that may, perhaps acknowledged writes.
    Ahead(Name),
    /// The best candidate lacks WAL that the lost primary began with, perhaps writes that were acknowledged
    /// under the one before: of these, an acknowledgement said nothing about today's standbys.
    Behind {
        /// Who would be elected.
        node: Name,
        /// The end of its WAL.
        at: Lsn,
        /// Where the lost primary's timeline branched off.
        fork: Lsn,
    },
    /// The old primary could not be fenced.
    FenceFailed(String),
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blocked::NotAutomatic => f.write_str("automatic failover is off"),
            Blocked::Quorum { have, need } => write!(
                f,
                "{have} synchronous standby(s) report and {need} must, to be sure of every acknowledged write"
            ),
            Blocked::NoCandidate(reasons) if reasons.is_empty() => f.write_str("no standby reports"),
            Blocked::NoCandidate(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(|(node, reason)| format!("{node} {reason}")).collect();
                write!(f, "no standby may be promoted: {}", reasons.join("; "))
            }
            Blocked::Ahead(node) => {
                write!(
                    f,
                    "{node} may not be promoted but holds more WAL than any that may, perhaps acknowledged writes"
                )
            }
            Blocked::Behind { node, at, fork } => write!(
                f,
                "{node}, the best candidate, ends at {at} and lacks WAL up to {fork}, perhaps acknowledged writes"
            ),
            Blocked::FenceFailed(error) => write!(f, "the old primary is not fenced: {error}"),
        }
    }
}

/// How a switchover request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which request.
    pub id: u64,
    /// The new primary, or why there is none.
    pub result: Result<Name, String>,
}

/// The instants of one failover or switchover, as far as it got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// When a switchover was asked for; absent: it was a failover.
    pub requested: Option<Duration>,
    /// The primary it began with.
    pub from: Name,
    /// The node that was elected (last, if twice) or asked for.
    pub to: Option<Name>,
    /// The first missed check was known.
    pub suspected: Option<Duration>,
    /// The primary was confirmed dead.
    pub confirmed: Option<Duration>,
    /// A standby was elected.
    pub elected: Option<Duration>,
    /// The proof of the fence was complete, or the old primary was stopped.
    pub fenced: Option<Duration>,
    /// The new primary accepted writes.
    pub promoted: Option<Duration>,
    /// It ended without a promotion: the primary answered again, or the switchover was rolled back.
    pub given_up: Option<Duration>,
}

impl Status {
    /// The status to begin with: all is well and `primary` is the node that accepts writes.
    pub fn new(spec: &Spec, primary: &str) -> Status {
        let known = |(name, member): (&Name, &super::Member)| {
            (name.clone(), Known { follows: member.follows.clone(), ..Known::default() })
        };
        Status {
            epoch: Epoch(0),
            primary: primary.to_owned(),
            phase: Phase::Stable,
            nodes: spec.nodes.iter().map(known).collect(),
            timeline: Timeline(0),
            forks: BTreeMap::new(),
            forking: None,
            unfinished: None,
            system: None,
            in_flight: BTreeSet::new(),
            not_before: BTreeMap::new(),
            split: BTreeSet::new(),
            answer: None,
            episodes: Vec::new(),
        }
    }

    /// What is remembered of `node`; nodes outside the specification have no memory.
    pub(super) fn known(&self, node: &str) -> Known {
        self.nodes.get(node).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of `node`.
    pub(super) fn remember(&mut self, node: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.nodes.get_mut(node) {
            change(known);
        }
    }

    /// Changes the unfinished episode.
    pub(super) fn episode(&mut self, change: impl FnOnce(&mut Episode)) {
        if let Some(episode) = self.episodes.last_mut() {
            change(episode);
        }
    }
}
