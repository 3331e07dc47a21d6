//! Counting missed checks, and what else a check teaches: timelines, oddities.

use super::{Facts, Failure, Turn};
use crate::base::Name;
use std::time::Duration;

impl Turn<'_> {
    /// Takes in every check that was not counted yet.
    pub(super) fn watch(&mut self) {
        let observed = self.observed;
        for (name, seen) in &observed.nodes {
            let Some(known) = self.status.nodes.get(name) else { continue };
            let counted = known.counted.is_some_and(|at| seen.asked <= at);
            let before_it_went = known.gone.is_some_and(|gone| seen.asked < gone.since);
            if counted || before_it_went || self.seen(name, Duration::ZERO).is_none() {
                continue;
            }
            self.status.remember(name, |known| known.counted = Some(seen.asked));
            match &seen.result {
                Ok(facts) => self.answered(name, facts, seen.asked),
                Err(failure) => self.failed(name, failure, seen.answered),
            }
        }
    }

    fn answered(&mut self, name: &Name, facts: &Facts, asked: Duration) {
        let is_primary = *name == self.status.primary;
        self.status.remember(name, |known| {
            known.misses = 0;
            known.starting = None;
            known.gone = None;
            known.timeline = known.timeline.max(facts.timeline);
        });
        if is_primary && !facts.in_recovery {
            self.status.system.get_or_insert(facts.system);
            if facts.timeline > self.status.timeline {
                if let Some(lsn) = self.status.forking.take() {
                    self.status.forks.insert(facts.timeline, lsn);
                }
                self.status.timeline = facts.timeline;
            }
        }
        let promoted = self.status.episodes.last().and_then(|episode| episode.promoted);
        let complaint = match self.status.system {
            _ if is_primary && facts.in_recovery && promoted.is_none_or(|at| asked > at) => {
                Some("is in recovery, though it should accept writes".to_owned())
            }
            Some(system) if system != facts.system => {
                Some(format!("belongs to another cluster (system identifier {})", facts.system))
            }
            _ => None,
        };
        self.complain(name, complaint);
    }

    fn failed(&mut self, name: &Name, failure: &Failure, at: Duration) {
        let patience = self.spec.patience();
        match failure {
            Failure::Unreachable | Failure::Timeout => self.status.remember(name, |known| known.misses += 1),
            Failure::Starting => self.status.remember(name, |known| {
                let since = *known.starting.get_or_insert(at);
                known.misses += u32::from(at >= since + patience);
            }),
            Failure::Authentication | Failure::QueryFailed { .. } => {
                self.status.remember(name, |known| {
                    known.misses = 0;
                    known.starting = None;
                });
                self.complain(name, Some(format!("{failure}: it is there, so that is no missed check")));
            }
        }
    }

    /// Reports what is odd about a server, once.
    fn complain(&mut self, name: &Name, complaint: Option<String>) {
        if self.status.known(name).complaint == complaint {
            return;
        }
        if let Some(text) = &complaint {
            self.event("failover.check", name.clone(), format!("{name} {text}"));
        }
        self.status.remember(name, |known| known.complaint = complaint);
    }

    /// Whether `node` missed as many checks in a row as make it dead, the last one lately.
    pub(super) fn is_dead(&self, node: &str) -> bool {
        self.status.known(node).misses >= self.spec.misses && self.missed_lately(node)
    }

    /// Whether the newest check of `node` was missed, lately.
    pub(super) fn missed_lately(&self, node: &str) -> bool {
        self.status.known(node).misses > 0 && self.seen(node, Duration::ZERO).is_some_and(|seen| seen.result.is_err())
    }
}
