//! Killing everything that belongs to something: a process with all that descends from it, a session,
//! and whatever runs a certain program inside certain directories (orphans of a dead parent).

use super::proc::{self, Identity, Stat};
use super::shm::{self, Segment};
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Who is hunted. What was once found stays hunted, with all that descends from it.
#[derive(Clone, Debug, Default)]
pub struct Hunt {
    known: Vec<Identity>,
    sessions: Vec<Identity>,
    dirs: Vec<(PathBuf, String)>,
    killed: HashSet<Identity>,
    segments: HashSet<Segment>,
}

impl Hunt {
    /// Hunts a process and its descendants.
    pub fn process(&mut self, root: Identity) {
        self.known.push(root);
    }

    /// Hunts a process, its descendants and the session that it leads, which outlives it.
    pub fn session(&mut self, leader: Identity) {
        self.known.push(leader);
        self.sessions.push(leader);
    }

    /// Hunts what runs `program` inside `dir`.
    pub fn directory(&mut self, dir: PathBuf, program: String) {
        self.dirs.push((dir, program));
    }

    /// Everything hunted that is alive now, parents before children.
    pub fn find(&mut self) -> Vec<Stat> {
        let all = proc::alive();
        let mut found: Vec<Stat> = Vec::new();
        let mut seen: HashSet<Identity> = HashSet::new();
        let mut add = |stats: Vec<Stat>| found.extend(stats.into_iter().filter(|stat| seen.insert(stat.identity)));
        for root in &self.known {
            add(proc::tree(&all, *root));
        }
        let of_session = |stat: &&Stat| {
            self.sessions.iter().any(|leader| {
                // A session's number is not given away while anybody is in it, but may be afterwards.
                stat.session == leader.pid
                    && stat.identity.started >= leader.started
                    && proc::stat(leader.pid).is_none_or(|now| now.identity == *leader)
            })
        };
        add(all.iter().filter(of_session).cloned().collect());
        for stat in proc::standing_in(&all, &self.dirs) {
            add(proc::tree(&all, stat.identity));
        }
        let known: HashSet<Identity> = self.known.iter().copied().collect();
        self.known.extend(found.iter().map(|stat| stat.identity).filter(|identity| !known.contains(identity)));
        found
    }

    /// Sends SIGKILL to everything hunted, which works on stopped processes too, and returns what was
    /// alive. Nothing is left once this returns nothing.
    pub fn strike(&mut self) -> Vec<Stat> {
        let found = self.find();
        let pids: HashSet<i32> = found.iter().map(|stat| stat.identity.pid).collect();
        // A parent has mapped what its children share, so reading the map of each root is enough.
        for root in found.iter().filter(|stat| !pids.contains(&stat.parent)) {
            self.segments.extend(shm::mapped(root.identity.pid));
        }
        for stat in &found {
            // What cannot be killed is found again by the next strike, and named when the limit passes.
            if stat.identity.signal(Signal::SIGKILL) == Ok(true) {
                self.killed.insert(stat.identity);
            }
        }
        found
    }

    /// Strikes until nothing has been found for `quiet`, at most for `limit`; returns what is left.
    pub fn end(&mut self, quiet: Duration, limit: Duration) -> Vec<Stat> {
        let began = Instant::now();
        let mut last_seen = began;
        loop {
            let found = self.strike();
            if !found.is_empty() {
                last_seen = Instant::now();
            }
            if found.is_empty() && last_seen.elapsed() >= quiet {
                self.release();
                return found;
            }
            if began.elapsed() >= limit {
                return found;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Removes the shared memory of those it killed; to be called when nothing is left of them.
    pub fn release(&mut self) {
        self.segments.drain().for_each(|segment| segment.release());
    }

    /// How many processes it killed.
    pub fn killed(&self) -> usize {
        self.killed.len()
    }
}
