//! Who waits for whose locks at one moment: a forest whose roots hold what others wait for and wait for nobody.
//!
//! PostgreSQL names for a waiter all who hold a conflicting lock *and* all who stand in the queue before it, so that n
//! sessions after one row have n²/2 pairs. Of these the tree keeps the ones that are directly ahead.

use super::activity::Seen;
use crate::metric::Field;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What `pg_blocking_pids` calls a prepared transaction, of whatever name.
const PREPARED: i32 = 0;
/// The states of a session that has a transaction open and does nothing.
const IDLE: [&str; 2] = ["idle in transaction", "idle in transaction (aborted)"];

/// The forest of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LockTree {
    /// Sessions that wait, by pid, with how many stand before them in the longest chain. A session in a deadlock, or
    /// behind one, has no such number.
    pub(super) waiters: BTreeMap<i32, Option<usize>>,
    /// Blockers that wait for nobody.
    pub(super) roots: BTreeSet<i32>,
    /// Pairs of blocker and waiter.
    pub(super) edges: Vec<(i32, i32)>,
}

impl LockTree {
    /// The forest of those that were seen at the same moment.
    pub(super) fn of(seen: &[Seen]) -> LockTree {
        // A parallel query waits, and blocks, as one.
        let mut blockers: BTreeMap<i32, BTreeSet<i32>> = BTreeMap::new();
        for one in seen {
            let Some(pids) = &one.blockers else { continue };
            let waiter = one.session();
            let others = pids.iter().copied().filter(|pid| *pid != waiter);
            blockers.entry(waiter).or_default().extend(others);
        }
        // Who got the lock between the two looks, at the session and at its blockers, waits no more.
        blockers.retain(|_, of| !of.is_empty());
        let roots: BTreeSet<i32> =
            blockers.values().flatten().filter(|pid| !blockers.contains_key(pid)).copied().collect();
        let depths = depths(&blockers, &roots);
        let depth = |pid: &i32| if roots.contains(pid) { Some(0) } else { depths.get(pid).copied() };
        let mut edges = Vec::new();
        for (waiter, of) in &blockers {
            let ahead = depth(waiter).map(|depth| depth - 1);
            edges.extend(of.iter().filter(|pid| depth(pid) == ahead).map(|blocker| (*blocker, *waiter)));
        }
        let waiters = blockers.keys().map(|waiter| (*waiter, depths.get(waiter).copied())).collect();
        LockTree { waiters, roots, edges }
    }

    /// The longest chain; absent when nobody waits, or all in a deadlock.
    pub(super) fn max_depth(&self) -> Option<usize> {
        self.waiters.values().flatten().max().copied()
    }

    /// As fields of `pg_lock_tree`; `longest` is the longest wait in seconds, where that is known.
    pub(super) fn fields(&self, seen: &[Seen], longest: Option<f64>) -> Vec<(&'static str, Field)> {
        let count = |n: usize| Field::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let is_idle = |one: &Seen| one.state.as_deref().is_some_and(|state| IDLE.contains(&state));
        let idle = seen.iter().filter(|one| self.roots.contains(&one.pid) && is_idle(one)).count();
        let mut fields = vec![
            ("waiters", count(self.waiters.len())),
            ("roots", count(self.roots.len())),
            ("roots_idle_in_transaction", count(idle)),
            ("roots_prepared", count(usize::from(self.roots.contains(&PREPARED)))),
        ];
        if self.waiters.is_empty() {
            fields.push(("max_depth", count(0)));
        } else {
            fields.extend(self.max_depth().map(|depth| ("max_depth", count(depth))));
            fields.extend(longest.map(|seconds| ("longest_wait_seconds", Field::Float(seconds))));
        }
        fields
    }

    /// What a blocker is doing: its state, `prepared`, or nothing when it was not seen.
    pub(super) fn state_of(pid: i32, seen: Option<&Seen>) -> String {
        match seen {
            _ if pid == PREPARED => "prepared".to_owned(),
            Some(seen) => seen.state.clone().unwrap_or_default(),
            None => String::new(),
        }
    }
}

/// How many stand before each waiter in its longest chain: what is before it is settled first. Those in a circle never
/// are.
fn depths(blockers: &BTreeMap<i32, BTreeSet<i32>>, roots: &BTreeSet<i32>) -> BTreeMap<i32, usize> {
    let mut waiters: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut unsettled: BTreeMap<i32, usize> = BTreeMap::new();
    for (waiter, of) in blockers {
        unsettled.insert(*waiter, of.len());
        for blocker in of {
            waiters.entry(*blocker).or_default().push(*waiter);
        }
    }
    let mut depths = BTreeMap::new();
    let mut settled: VecDeque<(i32, usize)> = roots.iter().map(|root| (*root, 0)).collect();
    while let Some((blocker, depth)) = settled.pop_front() {
        for waiter in waiters.get(&blocker).into_iter().flatten() {
            let deepest = depths.entry(*waiter).or_insert(0);
            *deepest = (depth + 1).max(*deepest);
            let Some(left) = unsettled.get_mut(waiter) else { continue };
            *left -= 1;
            if *left == 0 {
                settled.push_back((*waiter, *deepest));
            }
        }
    }
    depths.retain(|waiter, _| unsettled.get(waiter) == Some(&0));
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(pid: i32, blockers: &[i32]) -> Seen {
        Seen { pid, blockers: Some(blockers.to_vec()), state: Some("active".into()), ..Seen::default() }
    }

    fn is(pid: i32, state: &str) -> Seen {
        Seen { pid, state: Some(state.into()), ..Seen::default() }
    }

    fn int(fields: &[(&str, Field)], name: &str) -> Option<i64> {
        fields.iter().find_map(|(field, value)| match value {
            Field::Int(n) if *field == name => Some(*n),
            _ => None,
        })
    }

    #[test]
    fn a_queue_is_a_chain_of_those_directly_ahead() {
        let seen = [is(1, "idle in transaction"), waits(2, &[1]), waits(3, &[1, 2]), waits(4, &[1, 2, 3])];
        let tree = LockTree::of(&seen);
        assert_eq!(tree.edges, [(1, 2), (2, 3), (3, 4)]);
        let fields = tree.fields(&seen, Some(1.5));
        let ints = ["waiters", "roots", "roots_idle_in_transaction", "roots_prepared", "max_depth"];
        assert_eq!(ints.map(|name| int(&fields, name)), [3, 1, 1, 0, 3].map(Some));
        assert!(fields.contains(&("longest_wait_seconds", Field::Float(1.5))));
    }

    #[test]
    fn nobody_waiting_is_known_and_has_no_longest_wait() {
        let fields = LockTree::of(&[is(1, "active")]).fields(&[], Some(3.0));
        assert_eq!((int(&fields, "waiters"), int(&fields, "max_depth"), fields.len()), (Some(0), Some(0), 5));
    }

    #[test]
    fn prepared_transactions_are_one_root() {
        let seen = [waits(2, &[0]), waits(3, &[0, 0])];
        let tree = LockTree::of(&seen);
        let fields = tree.fields(&seen, None);
        assert_eq!((int(&fields, "roots"), int(&fields, "roots_prepared")), (Some(1), Some(1)));
        assert_eq!(LockTree::state_of(0, None), "prepared");
    }

    #[test]
    fn a_parallel_query_waits_as_one() {
        let worker = |pid, blockers: &[i32]| Seen { leader: Some(2), ..waits(pid, blockers) };
        let seen = [is(1, "active"), waits(2, &[1]), worker(20, &[1]), worker(21, &[1, 1, 2])];
        let tree = LockTree::of(&seen);
        assert_eq!(tree.edges, [(1, 2)]);
        assert_eq!(tree.waiters, BTreeMap::from([(2, Some(1))]));
    }

    #[test]
    fn a_deadlock_has_waiters_and_no_depth() {
        let seen = [waits(1, &[2]), waits(2, &[1]), waits(3, &[1])];
        let tree = LockTree::of(&seen);
        assert_eq!((tree.waiters.len(), tree.roots.len(), tree.max_depth()), (3, 0, None));
        assert_eq!(int(&tree.fields(&seen, None), "max_depth"), None);
    }

    #[test]
    fn who_is_blocked_by_nobody_any_more_does_not_wait() {
        assert_eq!(LockTree::of(&[waits(1, &[])]), LockTree::default());
    }
}
