//! The history of the lock tree: pairs of blocker and waiter that are alike become one episode for as long as there is
//! at least one of them, so that a queue of a minute is a row and not six hundred.

use super::activity::Seen;
use super::lock_tree::LockTree;
use crate::metric::Field;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Episodes that are kept of one node; beyond it they are counted only.
const MOST: usize = 10_000;

/// What makes pairs alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The waiter's `query_id`, where the server computes it.
    pub waiter: Option<i64>,
    /// The blocker's.
    pub blocker: Option<i64>,
    /// What the blocker was doing: a state of `pg_stat_activity`, or `prepared`; empty when it was no session.
    pub blocker_state: String,
    /// What kind of lock was waited for: the wait event, such as `transactionid`, `tuple`, `relation`.
    pub lock: String,
    /// On which table, when that was seen.
    pub relation: Option<String>,
}

/// A stretch of ticks in each of which a pair of this kind was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Where.
    pub node: String,
    /// Due time of the first tick.
    pub began: Duration,
    /// Due time of the last one.
    pub ended: Duration,
    /// Ticks.
    pub ticks: u64,
    /// What made its pairs alike.
    pub pair: Pair,
    /// Most pairs at one tick.
    pub pairs_max: u64,
    /// Longest chain to one of its waiters, where that was known.
    pub depth_max: Option<u64>,
    /// Longest wait of one of its waiters, in seconds, where that was known.
    pub longest_wait: Option<f64>,
}

/// The lock trees of one node, tick by tick.
#[derive(Debug, Default)]
pub(super) struct Episodes {
    node: String,
    open: BTreeMap<Pair, Episode>,
    closed: Vec<Episode>,
    beyond: u64,
    /// Since when each waiter waits, as far as was seen.
    since: BTreeMap<i32, Duration>,
    lasting: bool,
}

impl Episodes {
    pub(super) fn new(node: &str) -> Episodes {
        Episodes { node: node.to_owned(), ..Episodes::default() }
    }

    /// Whether somebody waits for longer than from one tick to the next, so that a look into `pg_locks` is worth its
    /// price.
    pub(super) fn lasting(&self) -> bool {
        self.lasting
    }

    /// Takes what was seen at the tick that was due at `due`. Gives the fields of `pg_lock_tree`.
    pub(super) fn take(&mut self, due: Duration, seen: &[Seen]) -> Vec<(&'static str, Field)> {
        let tree = LockTree::of(seen);
        let before = std::mem::take(&mut self.since);
        self.since = tree.waiters.keys().map(|pid| (*pid, before.get(pid).copied().unwrap_or(due))).collect();
        self.lasting = self.since.values().any(|since| *since < due);
        let by_pid: BTreeMap<i32, &Seen> = seen.iter().map(|one| (one.pid, one)).collect();
        let waits: BTreeMap<i32, f64> =
            self.since.iter().map(|(pid, since)| (*pid, self.waited(*pid, *since, due, seen))).collect();
        let longest = waits.values().copied().reduce(f64::max);
        let mut pairs: BTreeMap<Pair, Episode> = BTreeMap::new();
        for (blocker, waiter) in &tree.edges {
            let Some(pair) = pair(*blocker, by_pid.get(blocker).copied(), by_pid.get(waiter).copied()) else {
                continue;
            };
            let episode = pairs.entry(pair).or_insert_with_key(|pair| self.begin(pair, due));
            episode.pairs_max += 1;
            let depth = tree.waiters.get(waiter).copied().flatten().map(|depth| depth as u64);
            episode.depth_max = episode.depth_max.max(depth);
            episode.longest_wait = longer(episode.longest_wait, waits.get(waiter).copied());
        }
        self.go_on(pairs);
        tree.fields(seen, longest)
    }

    /// What was under way is over: the server is not seen any more.
    pub(super) fn interrupt(&mut self) {
        self.go_on(BTreeMap::new());
        self.since.clear();
        self.lasting = false;
    }

    /// All of them in order, and how many there were beyond what is kept.
    pub(super) fn finish(mut self) -> (Vec<Episode>, u64) {
        self.interrupt();
        self.closed.sort_by_key(|episode| episode.began);
        (self.closed, self.beyond)
    }

    /// For how long, in seconds: as the server says, else since it was first seen.
    fn waited(&self, pid: i32, since: Duration, due: Duration, seen: &[Seen]) -> f64 {
        let told = seen.iter().filter(|one| one.session() == pid).filter_map(|one| one.waited).reduce(f64::max);
        told.unwrap_or_else(|| (due - since).as_secs_f64())
    }

    fn begin(&self, pair: &Pair, due: Duration) -> Episode {
        let (node, pair) = (self.node.clone(), pair.clone());
        Episode { node, began: due, ended: due, ticks: 1, pair, pairs_max: 0, depth_max: None, longest_wait: None }
    }

    /// Goes on with the pairs of one more tick; what is not among them is over.
    fn go_on(&mut self, now: BTreeMap<Pair, Episode>) {
        let before = std::mem::replace(&mut self.open, now);
        let mut over = Vec::new();
        for (pair, earlier) in before {
            // The table is looked up from the second tick on.
            let goes_on =
                |later: &&Pair| **later == pair || pair.relation.is_none() && later.same_but_for_relation(&pair);
            match self.open.keys().find(goes_on).cloned().and_then(|later| self.open.get_mut(&later)) {
                Some(now) => now.continues(&earlier),
                None => over.push(earlier),
            }
        }
        let room = MOST.saturating_sub(self.closed.len());
        self.beyond += over.len().saturating_sub(room) as u64;
        self.closed.extend(over.into_iter().take(room));
    }
}

impl Pair {
    fn same_but_for_relation(&self, other: &Pair) -> bool {
        let all = |pair: &Pair| (pair.waiter, pair.blocker, pair.blocker_state.clone(), pair.lock.clone());
        all(self) == all(other)
    }
}

fn longer(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(f64::max)
}

impl Episode {
    fn continues(&mut self, earlier: &Episode) {
        self.began = earlier.began;
        self.ticks += earlier.ticks;
        self.pairs_max = self.pairs_max.max(earlier.pairs_max);
        self.depth_max = self.depth_max.max(earlier.depth_max);
        self.longest_wait = longer(self.longest_wait, earlier.longest_wait);
    }
}

fn pair(blocker: i32, seen: Option<&Seen>, waiter: Option<&Seen>) -> Option<Pair> {
    let waiter = waiter?;
    Some(Pair {
        waiter: waiter.query_id,
        blocker: seen.and_then(|blocker| blocker.query_id),
        blocker_state: LockTree::state_of(blocker, seen),
        lock: waiter.wait_event.clone().unwrap_or_default(),
        relation: waiter.relation.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn waits(pid: i32, blocker: i32, relation: Option<&str>, waited: Option<f64>) -> Seen {
        Seen {
            pid,
            wait_event: Some("tuple".into()),
            blockers: Some(vec![blocker]),
            relation: relation.map(str::to_owned),
            waited,
            ..Seen::default()
        }
    }

    #[test]
    fn a_queue_is_one_episode_until_nobody_waits() {
        let mut episodes = Episodes::new("a");
        episodes.take(at(0), &[waits(2, 1, None, None)]);
        assert!(!episodes.lasting(), "nobody has waited for longer than a tick");
        episodes.take(at(100), &[waits(2, 1, None, None), waits(3, 1, None, None)]);
        assert!(episodes.lasting());
        episodes.take(at(200), &[waits(2, 1, Some("t"), Some(0.25)), waits(3, 1, Some("t"), Some(0.15))]);
        episodes.take(at(300), &[]);
        assert!(!episodes.lasting());
        episodes.take(at(400), &[waits(2, 1, None, None)]);
        let (closed, beyond) = episodes.finish();
        let rows: Vec<_> =
            closed.iter().map(|e| (e.began, e.ended, e.ticks, e.pairs_max, e.pair.relation.as_deref())).collect();
        assert_eq!(rows, [(at(0), at(200), 3, 2, Some("t")), (at(400), at(400), 1, 1, None)]);
        assert_eq!((closed[0].longest_wait, closed[0].depth_max, beyond), (Some(0.25), Some(1), 0));
    }

    #[test]
    fn without_the_servers_word_a_wait_lasts_since_it_was_first_seen() {
        let mut episodes = Episodes::new("a");
        episodes.take(at(0), &[waits(2, 1, None, None)]);
        let fields = episodes.take(at(1500), &[waits(2, 1, None, None)]);
        assert!(fields.contains(&("longest_wait_seconds", Field::Float(1.5))), "{fields:?}");
    }

    #[test]
    fn what_is_beyond_is_counted() {
        let mut episodes = Episodes::new("a");
        for i in 0..MOST as u64 + 3 {
            episodes.take(at(2 * i), &[waits(2, 1, None, None)]);
            episodes.take(at(2 * i + 1), &[]);
        }
        let (closed, beyond) = episodes.finish();
        assert_eq!((closed.len(), beyond), (MOST, 3));
    }
}
