//! What a stable cluster owes: every standby streams from where it should, a primary that was stopped
//! comes back as a standby, nobody else accepts writes, no request stays unanswered.

use super::status::Gone;
use super::{Act, Address, Answer, Fencing, Phase, Turn};
use crate::base::Name;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a rejoined server may take to stream before that is reported.
const REJOIN: Duration = Duration::from_secs(30);

impl Turn<'_> {
    pub(super) fn duties(&mut self) {
        self.expire_request();
        if self.status.phase != Phase::Stable {
            return;
        }
        let others: Vec<Name> = self.spec.nodes.keys().filter(|name| **name != self.status.primary).cloned().collect();
        for name in &others {
            self.rejoin(name);
            self.adopt(name);
            self.repoint(name);
        }
        self.split_brain(&others);
    }

    fn address(&self, node: &str) -> Option<&Address> {
        self.spec.nodes.get(node).map(|member| &member.address)
    }

    /// A standby of a dead standby shall stream from the primary, and goes on doing so when that one is back: it
    /// holds nothing that the primary does not.
    fn adopt(&mut self, name: &Name) {
        let primary = self.status.primary.clone();
        let dead = self.status.known(name).follows.filter(|upstream| *upstream != primary && self.is_dead(upstream));
        let Some(upstream) = dead else { return };
        let text = format!("{upstream}, which {name} follows, {}; {name} shall follow {primary}", self.why(&upstream));
        self.event("failover.upstream_dead", name.clone(), text);
        self.status.remember(name, |known| known.follows = Some(primary));
    }

    fn repoint(&mut self, name: &Name) {
        let known = self.status.known(name);
        let Some(upstream) = known.follows else { return };
        let Some(facts) = self.facts(name, Duration::ZERO).filter(|facts| facts.in_recovery) else { return };
        let address = self.address(&upstream);
        if facts.upstream.as_ref() != address {
            self.status.remember(name, |known| known.repointing = true);
            let act = Act::Repoint { node: name.clone(), upstream };
            if let Some(Err(error)) = self.done.get(&act).map(|done| &done.result) {
                let text = format!("{name} could not be repointed yet: {error}");
                self.event("failover.repoint_failed", name.clone(), text);
            }
            self.act(act);
        } else if facts.streams_from.as_ref() == address && (known.repointing || known.rejoining.is_some()) {
            let kind = if known.rejoining.is_some() { "switchover.rejoined" } else { "failover.repointed" };
            self.status.remember(name, |known| {
                known.repointing = false;
                known.rejoining = None;
            });
            self.event(kind, name.clone(), format!("{name} streams from {upstream}"));
        }
    }

    fn rejoin(&mut self, name: &Name) {
        let known = self.status.known(name);
        let act = Act::Rejoin { node: name.clone(), upstream: self.status.primary.clone() };
        match self.done.remove(&act).map(|done| done.result.clone()) {
            // What was asked before it started again was asked of the old primary.
            Some(Ok(_)) => {
                let since = self.now;
                self.status.remember(name, |known| {
                    known.gone = Some(Gone { since, stopped: false });
                    known.rejoining = Some(since);
                });
            }
            Some(Err(error)) => {
                self.event("switchover.rejoin_failed", name.clone(), format!("{name} did not come back: {error}"));
            }
            None if known.gone.is_some_and(|gone| gone.stopped) => self.act(act),
            None => {}
        }
        if known.rejoining.is_some_and(|since| self.now >= since + REJOIN) {
            self.status.remember(name, |known| known.rejoining = None);
            let text = format!("{name} does not stream from {}; it may need pg_rewind", self.status.primary);
            self.event("switchover.rejoin_stuck", name.clone(), text);
        }
    }

    /// A second server that accepts writes is named; one on an older timeline is fenced again if fences are wanted.
    fn split_brain(&mut self, others: &[Name]) {
        let mut writable = BTreeSet::new();
        for name in others {
            let since = self.status.known(name).gone.map_or(Duration::ZERO, |gone| gone.since);
            let fence = Act::Fence { node: name.clone() };
            if let Some(at) = self.done.remove(&fence).filter(|done| done.result.is_ok()).map(|done| done.at) {
                self.status.remember(name, |known| known.gone = Some(Gone { since: at, stopped: false }));
                continue;
            }
            let Some(facts) = self.facts(name, since).filter(|facts| facts.writable()) else { continue };
            writable.insert(name.clone());
            if self.spec.fencing == Fencing::Required && facts.timeline < self.status.timeline {
                self.act(fence);
            }
        }
        let primary = self.status.primary.clone();
        for name in writable.difference(&self.status.split.clone()) {
            self.event("split_brain", name.clone(), format!("both {primary} and {name} accept writes"));
        }
        self.status.split = writable;
    }

    /// A switchover that never came to its turn is answered too.
    fn expire_request(&mut self) {
        let Some(request) = self.open_request() else { return };
        if self.status.phase != Phase::Stable && self.now >= request.at + request.timeout {
            let reason = "another failover or switchover was under way all the time".to_owned();
            self.event("switchover.refused", request.to.clone(), reason.clone());
            self.status.answer = Some(Answer { id: request.id, result: Err(reason) });
        }
    }
}
