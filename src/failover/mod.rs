//! Failover and switchover as a pure function: [`step`] takes the time, the specification, what was
//! decided before and what was observed, and gives the next status, the actions to carry out, the events
//! to record and when to ask again. It reads no clock, does no IO and draws no random numbers, so every
//! decision can be repeated from its inputs.
//!
//! ```text
//!  unplanned                                      planned
//!
//!  Stable ── a check is missed ──▶ Suspect        Stable ── request, prechecks ──▶ CatchUp
//!    ▲ ▲                              │ k misses    ▲  ▲                             │ the checkpoint's WAL arrived
//!    │ └───── it answers again ───────┤             │  └── too late: nothing done ────┤
//!    │                                ▼             │                                ▼
//!    │                             Collect ◀─┐      └─ RollBack ◀── too late ──── StopOld
//!    │        who holds how much?     │      │             ▲                         │ shutdown checkpoint at X
//!    │                                ▼      │             └─────── too late ──── VerifyTarget
//!    │       Blocked ◀── nobody ── elected   │                                       │ target holds X
//!    │    needs an operator           │      │                                       ▼
//!    │                              Fence ───┘ asks again: until now it could        │
//!    │                                         still acknowledge writes              │
//!    └──── it accepts writes ─────  Promote ◀────────────────────────────────────────┘
//! ```
//!
//! Rules that hold in every state:
//!
//! - **Absence of observations is ignorance, not death.** A miss is a check that failed by its own deadline.
//!   Observations carry when they were asked for; old ones count for nothing, so a manager that was itself
//!   stalled promotes nobody on what it knew before.
//! - **A server that answers is not dead.** Refused logins and failed queries are reported, never missed;
//!   "starting up" (SQLSTATE 57P03) becomes a miss only after [`Spec::patience`].
//! - **No promotion without proof** that the old primary can acknowledge nothing more: [`Phase::Promote`]
//!   cannot be built without a [`Proof`]. [`Fence::None`](Fencing::None) is the named exception.
//! - **One node is promoted per [`Epoch`].** Actions carry theirs and may be repeated without harm.
//! - The election comes before the fence, so that a primary is never killed for nobody, and is repeated on
//!   facts asked for after it, since the old primary could acknowledge writes until then.
//! - What other standbys report about the old primary (they "still stream from it") is recorded and decides
//!   nothing: a frozen server looks alive to them until `wal_receiver_timeout`.
//!
//! Repointing the other standbys, those of a standby that died too, and bringing a cleanly stopped primary back are duties of the stable
//! state (`duties`), so they also reach servers that were away during the failover.

mod duties;
pub mod elect;
mod health;
pub mod observed;
#[cfg(test)]
mod ordeal;
mod planned;
pub mod quorum;
pub mod status;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod unplanned;

pub use observed::{Completion, Done, Facts, Failure, Observed, Request, Seen};
pub use status::{Answer, Blocked, Episode, Phase, Proof, Status};

use crate::base::Name;
use crate::metric::Event;
use crate::pg::standby_names::StandbyNames;
use elect::{Candidate, Order};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A WAL timeline, as `pg_control_checkpoint()` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timeline(pub u32);

/// Counts promotions; at most one node is promoted in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timeline {}", self.0)
    }
}

/// A server's address, as `primary_conninfo` and `pg_stat_wal_receiver` name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What is wanted, constant for the life of a manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The servers.
    pub nodes: BTreeMap<Name, Member>,
    /// Time between checks of one server.
    pub every: Duration,
    /// Longest one check may take.
    pub timeout: Duration,
    /// Consecutive misses until the primary is confirmed dead.
    pub misses: u32,
    /// `false`: promote only when a switchover is asked for.
    pub automatic: bool,
    /// What must be proven before a promotion.
    pub fencing: Fencing,
    /// What an acknowledgement waits for; absent: for no standby.
    pub synchronous: Option<StandbyNames>,
}

/// A server that may take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where it listens.
    pub address: Address,
    /// Rank among equals, higher first; 0 is never promoted.
    pub priority: u32,
    /// The node it streams from at the start; absent for the primary.
    pub follows: Option<Name>,
}

/// What must be proven of the old primary before another is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fencing {
    /// That it is gone.
    Required,
    /// Nothing. Unsafe.
    None,
}

impl Spec {
    /// An observation that was asked for longer ago is no ground for a decision: two rounds of checks.
    pub fn stale_after(&self) -> Duration {
        (self.every + self.timeout) * 2
    }

    /// How long standbys are waited for in [`Phase::Collect`]: every one of them can be asked twice.
    pub fn collect_for(&self) -> Duration {
        self.stale_after().max(Duration::from_secs(1))
    }

    /// How long a server may say that it is starting up before that counts as a miss: crash recovery of a
    /// primary whose backend died is usually shorter than a failover is worth.
    pub fn patience(&self) -> Duration {
        (self.timeout * 10).max(Duration::from_secs(5))
    }
}

/// Least time between two tries of the same action.
pub const RETRY: Duration = Duration::from_secs(1);

/// Something to be done to a server. Doing it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Action {
    /// The epoch in which it was decided.
    pub epoch: Epoch,
    /// What.
    pub act: Act,
}

/// What can be done to a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Act {
    /// Make sure that it can acknowledge nothing, and prove it.
    Fence {
        /// The old primary.
        node: Name,
    },
    /// End its recovery; done when it accepts writes.
    Promote {
        /// The elected standby.
        node: Name,
    },
    /// Let it stream from another server.
    Repoint {
        /// A standby.
        node: Name,
        /// Where its WAL shall come from.
        upstream: Name,
    },
    /// `CHECKPOINT`, so that the stop that follows is short.
    Checkpoint {
        /// The primary.
        node: Name,
    },
    /// A fast shutdown: what is left of the WAL is sent to connected standbys first.
    Stop {
        /// The primary.
        node: Name,
        /// Until when it may take.
        until: Duration,
    },
    /// Start it again as the primary that it was.
    Start {
        /// The old primary.
        node: Name,
    },
    /// Start it as a standby.
    Rejoin {
        /// The old primary, stopped.
        node: Name,
        /// The new primary.
        upstream: Name,
    },
}

impl Act {
    /// The server that it is done to.
    pub fn node(&self) -> &Name {
        match self {
            Act::Fence { node }
            | Act::Promote { node }
            | Act::Repoint { node, .. }
            | Act::Checkpoint { node }
            | Act::Stop { node, .. }
            | Act::Start { node }
            | Act::Rejoin { node, .. } => node,
        }
    }
}

/// What [`step`] decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What to hand to the next step.
    pub status: Status,
    /// What to carry out, concurrently; each is answered by a [`Completion`].
    pub actions: Vec<Action>,
    /// What to record.
    pub events: Vec<Event>,
    /// When to ask again at the latest, also if nothing is observed until then.
    pub wake_in: Duration,
    /// Facts asked for from now on are waited for: check all servers at once instead of at the next tick.
    pub check_now: bool,
}

/// Decides what to do at `now`. Completions in `observed` are to be shown exactly once; the rest is a state
/// that may be shown any number of times.
pub fn step(now: Duration, spec: &Spec, status: &Status, observed: &Observed) -> Step {
    step_by(Candidate::order, now, spec, status, observed)
}

/// [`step`] with another order of candidates, so that tests can show what a wrong one does.
fn step_by(order: Order, now: Duration, spec: &Spec, status: &Status, observed: &Observed) -> Step {
    let mut turn = Turn {
        now,
        spec,
        observed,
        order,
        status: status.clone(),
        done: BTreeMap::new(),
        out: Vec::new(),
        events: Vec::new(),
    };
    turn.take_completions();
    turn.watch();
    while turn.advance() {}
    turn.duties();
    let check_now =
        turn.status.phase.waits_for_facts() && (turn.status.phase != status.phase || !observed.completions.is_empty());
    let wake_in = turn.wake_in();
    Step { status: turn.status, actions: turn.out, events: turn.events, wake_in, check_now }
}

/// One call of [`step`]: its inputs, and what it has decided so far.
struct Turn<'a> {
    now: Duration,
    spec: &'a Spec,
    observed: &'a Observed,
    order: Order,
    status: Status,
    /// What ended since the last step, by what it was.
    done: BTreeMap<Act, &'a Completion>,
    out: Vec<Action>,
    events: Vec<Event>,
}

impl<'a> Turn<'a> {
    /// Takes the transition that is due, if one is. `true`: look again from the new phase.
    fn advance(&mut self) -> bool {
        let next = match self.status.phase.clone() {
            Phase::Stable => self.stable(),
            Phase::Suspect { .. } => self.suspect(),
            Phase::Collect { after, deadline, proof } => self.collect(after, deadline, proof),
            Phase::Blocked { reason, after, proof } => self.blocked(reason, after, proof),
            Phase::Fence { candidate } => self.fence(candidate),
            Phase::Promote { candidate, lsn, proof, switch } => self.promote(candidate, lsn, proof, switch),
            Phase::CatchUp { switch, reach } => self.catch_up(switch, reach),
            Phase::StopOld { switch } => self.stop_old(switch),
            Phase::VerifyTarget { switch, shutdown, stopped, deadline } => {
                self.verify_target(switch, shutdown, stopped, deadline)
            }
            Phase::RollBack { switch, reason } => self.roll_back(switch, reason),
        };
        match next {
            Some(phase) => {
                self.status.phase = phase;
                true
            }
            None => false,
        }
    }

    /// Answers of actions that this status is waiting for; others are too late to matter.
    fn take_completions(&mut self) {
        let now = self.now;
        self.status.not_before.retain(|_, at| *at > now);
        for completion in &self.observed.completions {
            if self.status.in_flight.remove(&completion.action) {
                // Also when it went well: what it changed takes a check to be seen.
                self.status.not_before.insert(completion.action.act.clone(), now + RETRY);
                self.done.insert(completion.action.act.clone(), completion);
            }
        }
    }

    /// Wants `act` done in the current epoch: asks for it unless it is under way or ended just now.
    fn act(&mut self, act: Act) {
        if self.status.not_before.contains_key(&act) {
            return;
        }
        let action = Action { epoch: self.status.epoch, act };
        if self.status.in_flight.insert(action.clone()) {
            self.out.push(action);
        }
    }

    /// Forgets what is under way on `node`: the answers will be ignored.
    fn abandon(&mut self, node: &str) {
        self.status.in_flight.retain(|action| action.act.node() != node);
    }

    fn event(&mut self, kind: &'static str, node: impl Into<Option<Name>>, text: String) {
        self.events.push(Event { elapsed: self.now, kind, node: node.into(), text });
    }

    /// The newest facts of `node`, when they were asked for not before `after` and are not stale.
    fn facts(&self, node: &str, after: Duration) -> Option<&'a Facts> {
        let seen = self.seen(node, after)?;
        seen.result.as_ref().ok()
    }

    /// The newest check of `node`, whatever its result, under the same conditions.
    fn seen(&self, node: &str, after: Duration) -> Option<&'a Seen> {
        let seen = self.observed.nodes.get(node)?;
        (seen.asked >= after && seen.asked + self.spec.stale_after() >= self.now).then_some(seen)
    }

    fn wake_in(&self) -> Duration {
        let deadlines = self.status.phase.deadline().into_iter().chain(self.status.not_before.values().copied());
        let next = deadlines.filter(|at| *at > self.now).min();
        next.map_or(self.spec.stale_after(), |at| (at - self.now).min(self.spec.stale_after()))
    }
}
