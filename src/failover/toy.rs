//! A toy cluster for tests: servers whose WAL is a list of records, checks that take time, actions that
//! take time and fail, faults that come and go. Time goes in ticks of 10 ms; everything follows from a seed.

use super::elect::{Candidate, Order};
use super::*;
use crate::pg::Lsn;
use crate::pg::standby_names::StandbyNames;
use std::collections::BTreeSet;

pub const TICK: Duration = Duration::from_millis(10);
const CHECK_EVERY: u64 = 10;
const CHECK_TIMEOUT: u64 = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Life {
    Up,
    Frozen,
    Down,
}

/// A record of the WAL: its timeline and a number of its own.
type Record = (u32, u64);

#[derive(Clone, Debug)]
pub struct Server {
    pub life: Life,
    pub in_recovery: bool,
    pub wal: Vec<Record>,
    pub upstream: Option<Name>,
    pub receiver_frozen: bool,
    /// Whether checks get through to it.
    pub linked: bool,
    next_check: u64,
}

impl Server {
    fn end(&self) -> Lsn {
        Lsn(self.wal.len() as u64 * 8)
    }

    fn timeline(&self) -> Timeline {
        Timeline(self.wal.iter().map(|record| record.0).max().unwrap_or(1))
    }
}

/// SplitMix64: small, and the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub struct Toy {
    pub spec: Spec,
    pub status: Status,
    pub observed: Observed,
    pub servers: BTreeMap<Name, Server>,
    pub dice: Dice,
    pub order: Order,
    /// Whether actions may fail and observations be late.
    pub troubled: bool,
    pub tick: u64,
    pub events: Vec<Event>,
    /// What the oracles have against it.
    pub broken: Vec<String>,
    acked: Vec<Record>,
    unacked: Vec<(Name, usize, Record)>,
    serial: u64,
    arriving: Vec<(u64, Name, Seen)>,
    running: Vec<(u64, Action, bool)>,
    promoted: BTreeMap<Epoch, BTreeSet<Name>>,
}

pub fn spec(standbys: usize, acks: usize) -> Spec {
    let member = |(i, name): (usize, &str)| {
        let address = Address { host: "127.0.0.1".into(), port: 5432 + i as u16 };
        (name.to_owned(), Member { address, priority: 100, follows: (i > 0).then(|| "a".into()) })
    };
    Spec {
        nodes: ["a", "s1", "s2", "s3"].into_iter().take(standbys + 1).enumerate().map(member).collect(),
        every: TICK * CHECK_EVERY as u32,
        timeout: TICK * CHECK_TIMEOUT as u32,
        misses: 3,
        automatic: true,
        fencing: Fencing::Required,
        synchronous: (acks > 0).then_some(StandbyNames { count: acks as u32, names: vec!["*".into()] }),
    }
}

impl Toy {
    pub fn new(spec: Spec, seed: u64) -> Toy {
        let server = |(name, member): (&Name, &Member)| {
            let server = Server {
                life: Life::Up,
                in_recovery: member.follows.is_some(),
                wal: vec![(1, 0)],
                upstream: member.follows.clone(),
                receiver_frozen: false,
                linked: true,
                next_check: 0,
            };
            (name.clone(), server)
        };
        Toy {
            status: Status::new(&spec, "a"),
            servers: spec.nodes.iter().map(server).collect(),
            spec,
            observed: Observed::default(),
            dice: Dice(seed),
            order: Candidate::order,
            troubled: false,
            tick: 0,
            events: Vec::new(),
            broken: Vec::new(),
            acked: Vec::new(),
            unacked: Vec::new(),
            serial: 0,
            arriving: Vec::new(),
            running: Vec::new(),
            promoted: BTreeMap::new(),
        }
    }

    pub fn now(&self) -> Duration {
        TICK * self.tick as u32
    }

    pub fn server(&mut self, name: &str) -> &mut Server {
        self.servers.get_mut(name).expect("a node of the toy")
    }

    pub fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.tick += 1;
            self.stream();
            self.write();
            self.acknowledge();
            self.check();
            self.finish_actions();
            self.step();
            let writable = self.servers.values().filter(|s| s.life != Life::Down && !s.in_recovery).count();
            if writable > 1 && self.spec.fencing == Fencing::Required {
                self.broken.push(format!("{writable} writable servers at {:?}", self.now()));
            }
        }
    }

    /// Whether `name` receives WAL now.
    fn streams(&self, name: &str) -> Option<&Name> {
        let server = &self.servers[name];
        let upstream = server.upstream.as_ref()?;
        let from = &self.servers[upstream];
        // Records are numbered once and for all: who ends in the same record has the same history.
        let fits = server.wal.last() == server.wal.len().checked_sub(1).and_then(|last| from.wal.get(last));
        let works = server.life == Life::Up && server.in_recovery && !server.receiver_frozen && from.life == Life::Up;
        (works && fits).then_some(upstream)
    }

    fn stream(&mut self) {
        for name in self.servers.keys().cloned().collect::<Vec<_>>() {
            let Some(upstream) = self.streams(&name).cloned() else { continue };
            let have = self.servers[&name].wal.len();
            let to = (have + self.dice.below(4) as usize).min(self.servers[&upstream].wal.len());
            let new = self.servers[&upstream].wal[have..to].to_vec();
            self.server(&name).wal.extend(new);
        }
    }

    fn append(&mut self, name: &str, timeline: u32) -> Record {
        self.serial += 1;
        let record = (timeline, self.serial);
        self.server(name).wal.push(record);
        record
    }

    fn write(&mut self) {
        for name in self.servers.keys().cloned().collect::<Vec<_>>() {
            let server = &self.servers[&name];
            // Like clients, which wait for their acknowledgements.
            if server.life == Life::Up && !server.in_recovery && self.unacked.len() < 20 && self.dice.chance(50) {
                let timeline = self.servers[&name].timeline().0;
                let record = self.append(&name, timeline);
                let at = self.servers[&name].wal.len() - 1;
                self.unacked.push((name, at, record));
            }
        }
    }

    fn acknowledge(&mut self) {
        let acks = self.spec.synchronous.as_ref().map_or(0, |s| s.count as usize);
        let waiting = std::mem::take(&mut self.unacked);
        for (primary, at, record) in waiting {
            let holds =
                |name: &&Name| self.streams(name) == Some(&primary) && self.servers[*name].wal.get(at) == Some(&record);
            let holders = self.servers.keys().filter(holds).count();
            match self.servers[&primary].life {
                Life::Up if holders >= acks => self.acked.push(record),
                Life::Up | Life::Frozen => self.unacked.push((primary, at, record)),
                Life::Down => {}
            }
        }
    }

    fn check(&mut self) {
        for name in self.servers.keys().cloned().collect::<Vec<_>>() {
            if self.tick < self.servers[&name].next_check {
                continue;
            }
            let server = &self.servers[&name];
            let (takes, result) = match server.life {
                _ if !server.linked => (CHECK_TIMEOUT, Err(Failure::Timeout)),
                Life::Frozen => (CHECK_TIMEOUT, Err(Failure::Timeout)),
                Life::Down => (0, Err(Failure::Unreachable)),
                Life::Up => (self.dice.below(3), Ok(self.facts_of(&name))),
            };
            let late = if self.troubled && self.dice.chance(5) { self.dice.below(300) } else { 0 };
            let seen = Seen { asked: self.now(), answered: self.now() + TICK * takes as u32, result };
            self.arriving.push((self.tick + takes + late, name.clone(), seen));
            let next = self.tick + CHECK_EVERY.max(takes + late);
            self.server(&name).next_check = next;
        }
        let (due, later) = std::mem::take(&mut self.arriving).into_iter().partition(|(at, ..)| *at <= self.tick);
        self.arriving = later;
        let due: Vec<(u64, Name, Seen)> = due;
        for (_, name, seen) in due {
            if self.observed.nodes.get(&name).is_none_or(|old| old.asked < seen.asked) {
                self.observed.nodes.insert(name, seen);
            }
        }
    }

    fn facts_of(&self, name: &str) -> Facts {
        let server = &self.servers[name];
        let address = |node: &Name| self.spec.nodes[node].address.clone();
        let streams = |other: &&Name| self.streams(other).is_some_and(|upstream| upstream == name);
        Facts {
            system: 7,
            in_recovery: server.in_recovery,
            read_only: server.in_recovery,
            timeline: server.timeline(),
            current: (!server.in_recovery).then(|| server.end()),
            received: server.in_recovery.then(|| server.end()),
            replayed: None,
            upstream: server.upstream.as_ref().map(address),
            streams_from: self.streams(name).map(address),
            senders: self.servers.keys().filter(streams).cloned().collect(),
        }
    }

    fn finish_actions(&mut self) {
        let (due, later) = std::mem::take(&mut self.running).into_iter().partition(|(at, ..)| *at <= self.tick);
        self.running = later;
        let due: Vec<(u64, Action, bool)> = due;
        for (_, action, works) in due {
            let result = if works { self.perform(&action) } else { Err("bad luck".to_owned()) };
            self.observed.completions.push(Completion { action, at: self.now(), result });
        }
    }

    fn perform(&mut self, action: &Action) -> Result<Done, String> {
        let node = action.act.node().clone();
        let up = self.servers[&node].life == Life::Up;
        match &action.act {
            Act::Fence { .. } => {
                self.server(&node).life = Life::Down;
                Ok(Done::Fenced("no process is left".into()))
            }
            Act::Start { .. } => {
                self.server(&node).life = Life::Up;
                Ok(Done::Done)
            }
            Act::Rejoin { upstream, .. } => {
                let server = self.server(&node);
                (server.life, server.in_recovery, server.upstream) = (Life::Up, true, Some(upstream.clone()));
                Ok(Done::Done)
            }
            _ if !up => Err("connection lost".into()),
            Act::Promote { .. } => {
                if self.servers[&node].in_recovery {
                    self.promote(action.epoch, &node);
                }
                Ok(Done::Done)
            }
            Act::Repoint { upstream, .. } => {
                self.server(&node).upstream = Some(upstream.clone());
                Ok(Done::Done)
            }
            Act::Checkpoint { .. } => {
                let timeline = self.servers[&node].timeline().0;
                self.append(&node, timeline);
                Ok(Done::At(self.servers[&node].end()))
            }
            Act::Stop { .. } => self.stop(&node),
        }
    }

    fn promote(&mut self, epoch: Epoch, node: &Name) {
        let nodes = self.promoted.entry(epoch).or_default();
        nodes.insert(node.clone());
        if nodes.len() > 1 {
            self.broken.push(format!("{nodes:?} were promoted in epoch {}", epoch.0));
        }
        let lost = self.acked.iter().filter(|record| !self.servers[node].wal.contains(record)).count();
        if lost > 0 && self.spec.synchronous.is_some() {
            self.broken.push(format!("{node} was promoted without {lost} acknowledged writes"));
        }
        let timeline = self.servers[node].timeline().0 + 1;
        self.append(node, timeline);
        self.server(node).in_recovery = false;
    }

    /// A fast shutdown sends everything to who is connected, and hangs on who does not take it.
    fn stop(&mut self, node: &Name) -> Result<Done, String> {
        let shutdown = self.servers[node].end();
        let timeline = self.servers[node].timeline().0;
        self.append(node, timeline);
        let wal = self.servers[node].wal.clone();
        for name in self.servers.keys().cloned().collect::<Vec<_>>() {
            if self.streams(&name) == Some(node) {
                self.server(&name).wal.clone_from(&wal);
            }
        }
        let hangs = |s: &Server| s.upstream.as_ref() == Some(node) && s.receiver_frozen && s.life == Life::Up;
        let hung = self.servers.values().any(hangs);
        self.server(node).life = Life::Down;
        if hung { Err("still sending WAL".into()) } else { Ok(Done::At(shutdown)) }
    }

    fn step(&mut self) {
        let now = self.now();
        let step = step_by(self.order, now, &self.spec, &self.status, &self.observed);
        self.observed.completions.clear();
        if step.status != self.status {
            let settled = step_by(self.order, now, &self.spec, &step.status, &self.observed);
            if settled.status != step.status || !settled.actions.is_empty() || !settled.events.is_empty() {
                self.broken.push(format!("not settled at {now:?}: {:?} {:?}", step.status.phase, settled.actions));
            }
        }
        for action in step.actions {
            let takes = 1 + self.dice.below(30);
            let works = !(self.troubled && self.dice.chance(15));
            self.running.push((self.tick + takes, action, works));
        }
        if step.check_now {
            for server in self.servers.values_mut().filter(|server| server.life != Life::Frozen && server.linked) {
                server.next_check = server.next_check.min(self.tick + 1);
            }
        }
        self.status = step.status;
        self.events.extend(step.events);
    }

    /// What happened, one line an event.
    pub fn story(&self) -> String {
        let line = |event: &Event| format!("{:>6} ms  {}: {}\n", event.elapsed.as_millis(), event.kind, event.text);
        self.events.iter().map(line).collect()
    }
}
