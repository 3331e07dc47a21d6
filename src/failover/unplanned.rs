//! The failover: from the first missed check to a new primary.

use super::elect::{Candidate, Verdict};
use super::status::{Gone, Switch};
use super::{Act, Blocked, Done, Episode, Fencing, Phase, Proof, Turn};
use crate::base::Name;
use crate::pg::Lsn;
use std::time::Duration;

impl Turn<'_> {
    pub(super) fn stable(&mut self) -> Option<Phase> {
        let primary = self.status.primary.clone();
        if !self.missed_lately(&primary) {
            return self.requested();
        }
        self.event("failover.suspect", primary.clone(), format!("{primary} missed a check: it {}", self.why(&primary)));
        self.status.episodes.push(Episode { from: primary, suspected: Some(self.now), ..Episode::default() });
        Some(Phase::Suspect { since: self.now })
    }

    pub(super) fn suspect(&mut self) -> Option<Phase> {
        let primary = self.status.primary.clone();
        if self.status.known(&primary).misses == 0 {
            return Some(self.cleared());
        }
        self.is_dead(&primary).then(|| self.confirm(&primary))
    }

    /// The primary is dead as far as we can tell.
    pub(super) fn confirm(&mut self, primary: &Name) -> Phase {
        let (misses, why) = (self.status.known(primary).misses, self.why(primary));
        self.event(
            "failover.confirmed",
            primary.clone(),
            format!("{primary} missed {misses} checks in a row: it {why}"),
        );
        let address = self.spec.nodes.get(primary).map(|member| &member.address);
        let streams = |name: &&Name| {
            self.facts(name, Duration::ZERO)
                .is_some_and(|facts| facts.streams_from.is_some() && facts.streams_from.as_ref() == address)
        };
        let streaming: Vec<Name> = self.standbys().filter(streams).cloned().collect();
        if !streaming.is_empty() {
            let text = format!("{} last said that they still stream from {primary}", streaming.join(", "));
            self.event("failover.contradicted", primary.clone(), text);
        }
        let now = self.now;
        self.status.episode(|episode| episode.confirmed = Some(now));
        if self.spec.automatic {
            Phase::Collect { after: now, deadline: now + self.spec.collect_for(), proof: None }
        } else {
            self.block(Blocked::NotAutomatic, now, None)
        }
    }

    pub(super) fn collect(&mut self, after: Duration, deadline: Duration, proof: Option<Proof>) -> Option<Phase> {
        if proof.is_none() && self.primary_answers() {
            return Some(self.cleared());
        }
        match self.verdict(after, proof.is_some(), self.now >= deadline) {
            Verdict::Wait => None,
            Verdict::Elected(winner, ranked) => Some(self.elected(winner, &ranked, proof)),
            Verdict::Blocked(reason) => Some(self.block(reason, after, proof)),
        }
    }

    pub(super) fn blocked(&mut self, reason: Blocked, after: Duration, proof: Option<Proof>) -> Option<Phase> {
        if proof.is_none() && self.primary_answers() {
            return Some(self.cleared());
        }
        let now = self.now;
        match reason {
            Blocked::NotAutomatic => None,
            Blocked::FenceFailed(_) => {
                let primary = self.status.primary.clone();
                let again = !self.status.not_before.contains_key(&Act::Fence { node: primary });
                again.then(|| Phase::Collect { after: now, deadline: now + self.spec.collect_for(), proof: None })
            }
            _ => match self.verdict(after, proof.is_some(), true) {
                Verdict::Wait => None,
                Verdict::Elected(winner, ranked) => Some(self.elected(winner, &ranked, proof)),
                Verdict::Blocked(now_because) if now_because == reason => None,
                Verdict::Blocked(reason) => Some(Phase::Blocked { reason, after, proof }),
            },
        }
    }

    pub(super) fn fence(&mut self, candidate: Name) -> Option<Phase> {
        let old = self.status.primary.clone();
        let act = Act::Fence { node: old.clone() };
        let Some(done) = self.done.remove(&act) else {
            self.act(act);
            return None;
        };
        match &done.result {
            Err(error) => {
                self.event("failover.fence_failed", old.clone(), format!("{old} could not be fenced: {error}"));
                Some(self.block(Blocked::FenceFailed(error.clone()), self.now, None))
            }
            Ok(what) => {
                let text = match what {
                    Done::Fenced(proof) => proof.clone(),
                    _ => "fenced".to_owned(),
                };
                let at = done.at;
                self.status.remember(&old, |known| known.gone = Some(Gone { since: at, stopped: false }));
                self.status.episode(|episode| episode.fenced = Some(at));
                self.event("failover.fenced", old.clone(), format!("{old}: {text}; {candidate} is asked again"));
                let proof = Some(Proof::Fenced { at, text });
                Some(Phase::Collect { after: at, deadline: self.now + self.spec.collect_for(), proof })
            }
        }
    }

    pub(super) fn promote(&mut self, name: Name, lsn: Lsn, proof: Proof, switch: Option<Switch>) -> Option<Phase> {
        let act = Act::Promote { node: name.clone() };
        let done = self.done.remove(&act);
        let mut accepts = self.facts(&name, Duration::ZERO).filter(|facts| facts.writable()).map(|_| self.now);
        match done.map(|done| (done.at, &done.result)) {
            Some((at, Ok(_))) => accepts = Some(at),
            Some((_, Err(error))) => {
                self.event("failover.promote_failed", name.clone(), format!("{name} is not promoted yet: {error}"));
            }
            None => {}
        }
        if let Some(at) = accepts {
            self.status.episode(|episode| episode.promoted = Some(at));
            let how = match &proof {
                Proof::Unfenced => ", and nobody knows whether its predecessor still does",
                Proof::Fenced { .. } | Proof::Stopped { .. } => "",
            };
            let kind = if switch.is_some() { "switchover.promoted" } else { "failover.promoted" };
            self.event(kind, name.clone(), format!("{name} accepts writes{how}"));
            self.answer(switch.as_ref(), Ok(name.clone()));
            self.take_over(&name, lsn);
            self.status.unfinished = None;
            return Some(Phase::Stable);
        }
        if self.is_dead(&name) {
            // It may have accepted writes before it died, so it is now the primary that was lost.
            let reason = format!("{name} died while it was being promoted");
            if switch.is_some() {
                self.event("switchover.given_up", name.clone(), reason.clone());
            }
            self.answer(switch.as_ref(), Err(reason));
            self.take_over(&name, lsn);
            self.status.unfinished = Some((lsn, proof));
            self.abandon(&name);
            self.status.episodes.push(Episode { from: name.clone(), suspected: Some(self.now), ..Episode::default() });
            return Some(self.confirm(&name));
        }
        self.act(act);
        None
    }

    fn elected(&mut self, winner: Candidate, ranked: &[Candidate], proof: Option<Proof>) -> Phase {
        let before = self.status.episodes.last().and_then(|episode| episode.to.clone());
        let others: Vec<_> = ranked.iter().skip(1).map(Candidate::to_string).collect();
        let over = if others.is_empty() { "alone".to_owned() } else { format!("before {}", others.join(", ")) };
        if proof.is_none() || before.as_ref() != Some(&winner.name) {
            self.event("failover.elected", winner.name.clone(), format!("{winner} is elected, {over}"));
        }
        let (now, to) = (self.now, winner.name.clone());
        self.status.episode(|episode| {
            episode.to = Some(to);
            episode.elected.get_or_insert(now);
        });
        match (proof, self.spec.fencing) {
            (Some(proof), _) => self.begin_promotion(winner.name, winner.lsn, proof, None),
            (None, Fencing::Required) => Phase::Fence { candidate: winner.name },
            (None, Fencing::None) => {
                let old = self.status.primary.clone();
                self.event(
                    "failover.unfenced",
                    old.clone(),
                    format!("unsafe: {old} is not fenced, as `fence = \"none\"` wants"),
                );
                self.begin_promotion(winner.name, winner.lsn, Proof::Unfenced, None)
            }
        }
    }

    /// Opens the epoch in which `candidate` alone is promoted.
    pub(super) fn begin_promotion(&mut self, candidate: Name, lsn: Lsn, proof: Proof, switch: Option<Switch>) -> Phase {
        self.status.unfinished = None;
        self.status.epoch.0 += 1;
        Phase::Promote { candidate, lsn, proof, switch }
    }

    /// `new` is the primary from here on; who streamed from the old one shall stream from it.
    fn take_over(&mut self, new: &Name, lsn: Lsn) {
        let old = std::mem::replace(&mut self.status.primary, new.clone());
        for (name, known) in &mut self.status.nodes {
            if name == new {
                known.follows = None;
            } else if *name == old || known.follows.as_ref() == Some(&old) {
                known.follows = Some(new.clone());
            }
        }
        self.status.forking = Some(lsn);
    }

    fn block(&mut self, reason: Blocked, after: Duration, proof: Option<Proof>) -> Phase {
        self.event("failover.blocked", self.status.primary.clone(), format!("blocked, needs an operator: {reason}"));
        Phase::Blocked { reason, after, proof }
    }

    /// The primary answers again before anything was done to it.
    fn cleared(&mut self) -> Phase {
        let (now, primary) = (self.now, self.status.primary.clone());
        self.status.episode(|episode| episode.given_up = Some(now));
        self.event("failover.cleared", primary.clone(), format!("{primary} answers again"));
        let unpromoted = self.facts(&primary, Duration::ZERO).is_some_and(|facts| facts.in_recovery);
        match self.status.unfinished.take() {
            // Still in the epoch that was opened for it.
            Some((lsn, proof)) if unpromoted => Phase::Promote { candidate: primary, lsn, proof, switch: None },
            _ => Phase::Stable,
        }
    }

    fn primary_answers(&self) -> bool {
        let primary = &self.status.primary;
        self.status.known(primary).misses == 0 && self.seen(primary, Duration::ZERO).is_some()
    }

    /// What the newest check of `node` failed with.
    pub(super) fn why(&self, node: &str) -> String {
        match self.observed.nodes.get(node).map(|seen| &seen.result) {
            Some(Err(failure)) => failure.to_string(),
            Some(Ok(_)) => "answers".to_owned(),
            None => "has not been heard of".to_owned(),
        }
    }
}
