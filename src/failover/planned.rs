//! The switchover: a planned change of primary that loses nothing, or does not happen.
//!
//! The order is the simplest honest one. A `CHECKPOINT` makes the stop short, and its WAL must arrive at
//! the target before anything is stopped: a target whose WAL receiver hangs is found out while clients
//! still write. A fast shutdown then ends all sessions, sends what is left to connected standbys and writes
//! a shutdown checkpoint; only a target that holds that record is promoted. Otherwise the old primary is
//! started again.

use super::elect::Candidate;
use super::status::{Gone, Switch};
use super::{Act, Answer, Done, Episode, Phase, Proof, Request, Turn};
use crate::base::Name;
use crate::pg::Lsn;
use std::time::Duration;

/// The target may lag by a WAL segment when the old primary is stopped; it gets the rest during the stop.
const LAG: i64 = 16 << 20;

/// Outcome of the checks before a switchover.
enum Precheck {
    Wait,
    Fit(Name),
    Unfit(String),
}

impl Turn<'_> {
    /// Begins the switchover that is asked for, if one is.
    pub(super) fn requested(&mut self) -> Option<Phase> {
        let request = self.open_request()?;
        match self.precheck(&request) {
            Precheck::Wait => None,
            Precheck::Unfit(reason) => {
                self.event("switchover.refused", request.to.clone(), reason.clone());
                self.status.answer = Some(Answer { id: request.id, result: Err(reason) });
                None
            }
            Precheck::Fit(to) => {
                let from = self.status.primary.clone();
                self.event("switchover.begun", to.clone(), format!("{to} shall take over from {from}"));
                let (requested, to_) = (Some(request.at), Some(to.clone()));
                self.status.episodes.push(Episode { requested, from, to: to_, ..Episode::default() });
                let switch = Switch { id: request.id, to, deadline: request.at + request.timeout };
                Some(Phase::CatchUp { switch, reach: None })
            }
        }
    }

    /// The request that is neither answered nor under way.
    pub(super) fn open_request(&self) -> Option<Request> {
        let request = self.observed.request.as_ref()?;
        let answered = self.status.answer.as_ref().is_some_and(|answer| answer.id >= request.id);
        let under_way = self.status.phase.switch().is_some_and(|switch| switch.id == request.id);
        (!answered && !under_way).then(|| request.clone())
    }

    fn precheck(&self, request: &Request) -> Precheck {
        let primary = &self.status.primary;
        let names: Vec<&Name> = match &request.to {
            Some(to) if to == primary => return Precheck::Unfit(format!("{to} is the primary already")),
            Some(to) if !self.spec.nodes.contains_key(to) => {
                return Precheck::Unfit(format!("there is no node `{to}`"));
            }
            Some(to) => vec![to],
            None => self.standbys().collect(),
        };
        let unseen = |name: &Name| self.seen(name, request.at).is_none();
        if (unseen(primary) || names.iter().any(|name| unseen(name))) && self.now < request.at + request.timeout {
            return Precheck::Wait;
        }
        let mut fit = Vec::new();
        let mut unfit = Vec::new();
        for name in names {
            match self.fit(name, request.at) {
                Ok(candidate) => fit.push(candidate),
                Err(reason) => unfit.push(format!("{name} {reason}")),
            }
        }
        match fit.into_iter().max_by(self.order) {
            Some(best) => Precheck::Fit(best.name),
            None if unfit.is_empty() => Precheck::Unfit("there is no standby".to_owned()),
            None => Precheck::Unfit(unfit.join("; ")),
        }
    }

    /// Whether `name` streams from the primary, as both of them say.
    fn fit(&self, name: &Name, after: Duration) -> Result<Candidate, String> {
        let primary = &self.status.primary;
        let candidate = self.report(name, after)?;
        let address = self.spec.nodes.get(primary).map(|member| &member.address);
        let streams = self.facts(name, after).is_some_and(|facts| facts.streams_from.as_ref() == address);
        let listed = self.facts(primary, after).is_some_and(|facts| facts.senders.contains(name));
        if candidate.priority == 0 {
            Err("has priority 0".to_owned())
        } else if !streams || !listed {
            Err(format!("does not stream from {primary}"))
        } else {
            Ok(candidate)
        }
    }

    pub(super) fn catch_up(&mut self, switch: Switch, reach: Option<Lsn>) -> Option<Phase> {
        let primary = self.status.primary.clone();
        if self.is_dead(&primary) {
            self.give_up(&switch, format!("{primary} died before it was stopped"), "switchover.given_up");
            self.status.episodes.push(Episode {
                from: primary.clone(),
                suspected: Some(self.now),
                ..Episode::default()
            });
            return Some(self.confirm(&primary));
        }
        let checkpoint = Act::Checkpoint { node: primary.clone() };
        let Some(reach) = reach else {
            match self.done.remove(&checkpoint).map(|done| done.result.clone()) {
                Some(Ok(Done::At(lsn))) => return Some(Phase::CatchUp { switch, reach: Some(lsn) }),
                Some(Err(error)) => {
                    self.event("switchover.checkpoint_failed", primary, format!("no checkpoint yet: {error}"));
                }
                _ => self.act(checkpoint),
            }
            return self.too_late(&switch, "no checkpoint was made");
        };
        let target = self.facts(&switch.to, Duration::ZERO).map(super::Facts::position);
        let end = self.facts(&primary, Duration::ZERO).and_then(|facts| facts.current);
        match (target, end) {
            (Some(target), Some(end)) if target >= reach && end.bytes_since(target) <= LAG => {
                let mut switch = switch;
                switch.deadline = switch.deadline.max(self.now + self.spec.collect_for());
                Some(Phase::StopOld { switch })
            }
            _ => self.too_late(&switch, &format!("{} did not receive the WAL up to {reach}", switch.to)),
        }
    }

    /// Past the deadline, while the old primary still works, there is nothing to undo.
    fn too_late(&mut self, switch: &Switch, reason: &str) -> Option<Phase> {
        if self.now < switch.deadline {
            return None;
        }
        let primary = self.status.primary.clone();
        self.abandon(&primary);
        self.give_up(switch, format!("{reason} in time; {primary} was not stopped"), "switchover.rolled_back");
        Some(Phase::Stable)
    }

    pub(super) fn stop_old(&mut self, switch: Switch) -> Option<Phase> {
        let old = self.status.primary.clone();
        let act = Act::Stop { node: old.clone(), until: switch.deadline };
        let Some(done) = self.done.remove(&act) else {
            self.act(act);
            return None;
        };
        match &done.result {
            Ok(Done::At(shutdown)) => {
                let (stopped, shutdown) = (done.at, *shutdown);
                self.status.remember(&old, |known| known.gone = Some(Gone { since: stopped, stopped: true }));
                self.status.episode(|episode| episode.fenced = Some(stopped));
                self.event(
                    "switchover.stopped",
                    old.clone(),
                    format!("{old} stopped with its last checkpoint at {shutdown}"),
                );
                let deadline = switch.deadline.max(self.now + self.spec.collect_for());
                Some(Phase::VerifyTarget { switch, shutdown, stopped, deadline })
            }
            Ok(_) => Some(Phase::RollBack { switch, reason: format!("{old} did not say where its WAL ends") }),
            Err(error) => Some(Phase::RollBack { switch, reason: format!("{old} did not stop in time: {error}") }),
        }
    }

    pub(super) fn verify_target(
        &mut self,
        switch: Switch,
        shutdown: Lsn,
        stopped: Duration,
        deadline: Duration,
    ) -> Option<Phase> {
        // The record begins at `shutdown`, so who holds it has WAL beyond that.
        match self.report(&switch.to, stopped) {
            Ok(target) if target.lsn > shutdown => {
                let proof = Proof::Stopped { at: stopped, shutdown };
                let now = self.now;
                self.status.episode(|episode| episode.elected = Some(now));
                self.event(
                    "switchover.verified",
                    switch.to.clone(),
                    format!("{target} holds the shutdown checkpoint at {shutdown}"),
                );
                Some(self.begin_promotion(switch.to.clone(), target.lsn, proof, Some(switch)))
            }
            _ if self.now < deadline => None,
            Ok(target) => {
                let reason = format!("{target} does not hold the shutdown checkpoint at {shutdown}");
                Some(Phase::RollBack { switch, reason })
            }
            Err(reason) => {
                let reason = format!("{} {reason}", switch.to);
                Some(Phase::RollBack { switch, reason })
            }
        }
    }

    pub(super) fn roll_back(&mut self, switch: Switch, reason: String) -> Option<Phase> {
        let old = self.status.primary.clone();
        let act = Act::Start { node: old.clone() };
        let Some(done) = self.done.remove(&act) else {
            self.act(act);
            return None;
        };
        let at = done.at;
        self.status.remember(&old, |known| {
            known.gone = None;
            known.misses = 0;
            known.counted = Some(at);
        });
        match &done.result {
            Ok(_) => {
                self.give_up(&switch, format!("{reason}; {old} is the primary again"), "switchover.rolled_back");
                Some(Phase::Stable)
            }
            Err(error) => {
                let reason = format!("{reason}; and {old} could not be started again: {error}");
                self.give_up(&switch, reason, "switchover.given_up");
                self.status.episodes.push(Episode { from: old.clone(), suspected: Some(at), ..Episode::default() });
                Some(self.confirm(&old))
            }
        }
    }

    fn give_up(&mut self, switch: &Switch, reason: String, kind: &'static str) {
        let now = self.now;
        self.status.episode(|episode| episode.given_up = Some(now));
        self.event(kind, switch.to.clone(), reason.clone());
        self.answer(Some(switch), Err(reason));
    }

    pub(super) fn answer(&mut self, switch: Option<&Switch>, result: Result<Name, String>) {
        if let Some(switch) = switch {
            self.status.answer = Some(Answer { id: switch.id, result });
        }
    }
}
