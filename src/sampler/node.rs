//! The sampler of one node, a task of its own, so that a node that is dead or frozen costs the others nothing.

use super::account::Account;
use super::activity::ash;
use super::episodes::Episodes;
use super::guard::{Change, Guard};
use super::rounds::{Due, Rounds};
use super::session::{Ask, OpenError, Reading, Session};
use super::wanted::Group;
use super::{Sample, Target};
use crate::base::clock::Clock;
use crate::metric::sampled::{LOCK_TREE, SAMPLER};
use crate::metric::{Event, Events, Field, Point, Points};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// First and longest wait between two attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long a reading under way may still take when the sampler is stopped.
const LAST_WORD: Duration = Duration::from_millis(250);
/// How long a view that failed is left alone.
const REST: Duration = Duration::from_secs(30);

/// Where the session stands.
enum Link {
    /// None; the next attempt is made at the first tick after `retry_at`.
    Down { retry_at: Duration, backoff: Duration },
    /// Being opened.
    Opening { backoff: Duration },
    /// Open, with nothing under way.
    Idle(Arc<Session>),
    /// A reading is under way for these ticks.
    Reading { asked: Vec<Due> },
}

enum Reply {
    Opened(Result<Arc<Session>, OpenError>),
    Read { session: Arc<Session>, reading: Box<Reading>, begun: Duration, ended: Duration },
}

pub(super) struct NodeSampler {
    target: Arc<Target>,
    /// How long a server may leave a reading or an attempt to connect unanswered.
    patience: Duration,
    clock: Clock,
    points: Points,
    events: Events,
    link: Link,
    under_way: JoinSet<Reply>,
    /// Ticks that came due while a reading was under way.
    waiting: Vec<Due>,
    account: Account,
    /// Views that failed, and until when they are left alone.
    resting: BTreeMap<&'static str, Duration>,
    /// Those that were told of in this session.
    told: BTreeSet<&'static str>,
    /// What was told of the server once and for all: that the role sees too little, that it has more than is known.
    told_once: BTreeSet<&'static str>,
    guard: Guard,
    episodes: Episodes,
}

impl NodeSampler {
    /// A sampler of `target`, connected when the server can be reached now.
    pub(super) async fn open(
        target: Target,
        sample: Sample,
        clock: Clock,
        points: Points,
        events: Events,
    ) -> NodeSampler {
        let target = Arc::new(target);
        let node = &target.host.node;
        let mut sampler = NodeSampler {
            // A server may leave a reading unanswered for one tick, but never hold up its own report as down for long.
            patience: sample.every.0.clamp(Duration::from_millis(500), Duration::from_secs(1)),
            clock,
            points,
            events,
            link: Link::Opening { backoff: BACKOFF.0 },
            under_way: JoinSet::new(),
            waiting: Vec::new(),
            account: Account { node: node.clone(), ..Account::default() },
            resting: BTreeMap::new(),
            told: BTreeSet::new(),
            told_once: BTreeSet::new(),
            guard: Guard::new(sample.waits.0, sample.every.0),
            episodes: Episodes::new(node),
            target: target.clone(),
        };
        let opened = target.open(sampler.patience).await;
        if let Err(error) = &opened {
            sampler.event("sampler.lost", format!("{node} is not sampled: {error}"));
        }
        sampler.opened(opened);
        sampler
    }

    /// Samples until told to stop.
    pub(super) async fn run(mut self, mut rounds: Rounds, mut stop: watch::Receiver<bool>) -> Account {
        loop {
            let wake = self.clock.instant(rounds.next());
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(Ok(reply)) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                    if let Some(change) = self.reply(reply) {
                        rounds.pace(change.period, self.clock.elapsed());
                        self.tell(change);
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {
                    let (dues, skipped) = rounds.take(self.clock.elapsed());
                    self.tick(dues, skipped);
                }
            }
        }
        if let Link::Reading { .. } = self.link {
            match tokio::time::timeout(LAST_WORD, self.under_way.join_next()).await {
                Ok(Some(Ok(reply))) => drop(self.reply(reply)),
                _ => self.give_up(),
            }
        }
        self.account.missed += self.waiting.len() as u64;
        (self.account.episodes, self.account.beyond) = self.episodes.finish();
        self.account
    }

    fn tick(&mut self, dues: Vec<Due>, skipped: u64) {
        self.account.ticks += dues.len() as u64 + skipped;
        self.account.missed += skipped;
        let Some(now) = dues.iter().map(|due| due.at).max() else { return };
        match &mut self.link {
            Link::Idle(session) => {
                let session = session.clone();
                self.put_off(&dues);
                let asked: Vec<Due> = self.waiting.drain(..).chain(dues).collect();
                self.ask(session, asked, now);
            }
            Link::Reading { asked } => {
                let since = asked.iter().map(|due| due.at).max().unwrap_or(now);
                self.waiting.extend(dues);
                if now.saturating_sub(since) >= self.patience {
                    let (waited, node) = (self.patience, &self.target.host.node);
                    self.event("sampler.lost", format!("{node} left a reading unanswered for {waited:?}"));
                    self.give_up();
                }
            }
            Link::Opening { .. } => self.down(dues),
            Link::Down { retry_at, backoff } => {
                if now >= *retry_at {
                    let (target, limit) = (self.target.clone(), self.patience);
                    self.link = Link::Opening { backoff: *backoff };
                    self.under_way.spawn(async move { Reply::Opened(target.open(limit).await) });
                }
                self.down(dues);
            }
        }
    }

    fn ask(&mut self, session: Arc<Session>, asked: Vec<Due>, now: Duration) {
        self.resting.retain(|_, until| *until > now);
        let ask = Ask {
            groups: asked.iter().map(|due| due.group).collect(),
            resting: self.resting.keys().copied().collect(),
            into_locks: self.episodes.lasting(),
        };
        let (clock, node) = (self.clock, self.target.host.node.clone());
        self.link = Link::Reading { asked };
        self.under_way.spawn(async move {
            let begun = clock.elapsed();
            let reading = Box::new(session.read(&node, &ask).await);
            Reply::Read { session, reading, begun, ended: clock.elapsed() }
        });
    }

    /// Of what came due while the server answered: what is read seldom is read late, and says so. What is read often was
    /// missed, and so was what has come due anew among `dues`.
    fn put_off(&mut self, dues: &[Due]) {
        let before = self.waiting.len();
        let newest: BTreeMap<Group, Due> = self.waiting.drain(..).map(|due| (due.group, due)).collect();
        let late = |due: &Due| due.group != Group::Waits && dues.iter().all(|other| other.group != due.group);
        self.waiting = newest.into_values().filter(late).collect();
        self.account.missed += (before - self.waiting.len()) as u64;
    }

    fn reply(&mut self, reply: Reply) -> Option<Change> {
        match reply {
            Reply::Opened(opened) => {
                if opened.is_ok() {
                    self.event("sampler.back", format!("{} is sampled again", self.target.host.node));
                }
                self.opened(opened);
                None
            }
            Reply::Read { session, reading, begun, ended } => self.read(session, *reading, begun, ended),
        }
    }

    fn opened(&mut self, opened: Result<Arc<Session>, OpenError>) {
        let backoff = if let Link::Opening { backoff } = self.link { backoff } else { BACKOFF.0 };
        (self.told, self.resting) = (BTreeSet::new(), BTreeMap::new());
        self.link = match opened {
            Ok(session) => {
                self.account.absent.extend(session.absent.iter().cloned());
                for (view, why) in &session.unprepared {
                    self.account.absent.insert(format!("{view} ({why})"));
                    self.failed(view, why);
                }
                self.peculiarities(&session);
                Link::Idle(session)
            }
            Err(_) => Link::Down { retry_at: self.clock.elapsed() + backoff, backoff: (backoff * 2).min(BACKOFF.1) },
        };
    }

    fn peculiarities(&mut self, session: &Session) {
        let node = self.target.host.node.clone();
        if session.limited && self.told_once.insert("sampler.limited") {
            let text = "its role sees no sessions of others, so they and replication are not sampled; \
                        hint: GRANT pg_monitor";
            self.event("sampler.limited", format!("{node}: {text}"));
        }
        if !session.unknown.is_empty() && self.told_once.insert("sampler.unknown_columns") {
            let columns = session.unknown.iter().cloned().collect::<Vec<_>>().join(", ");
            self.event("sampler.unknown_columns", format!("{node} has what is not sampled: {columns}"));
        }
    }

    fn read(
        &mut self,
        session: Arc<Session>,
        mut reading: Reading,
        begun: Duration,
        ended: Duration,
    ) -> Option<Change> {
        if session.is_closed() {
            let why = reading.failed.first().map_or("the connection is closed", |(_, (_, why))| why.as_str());
            self.event("sampler.lost", format!("{} is not sampled: {why}", self.target.host.node));
            self.give_up();
            return None;
        }
        let Link::Reading { asked } = std::mem::replace(&mut self.link, Link::Idle(session)) else { return None };
        self.put_off(&[]);
        for (_, (view, why)) in &reading.failed {
            self.resting.insert(view, ended + REST);
            self.failed(view, why);
        }
        self.sessions(&mut reading, &asked);
        self.send(reading, &asked, begun, ended);
        // The dearer groups have times of their own.
        let alone = asked.iter().all(|due| due.group == Group::Waits);
        if alone { self.guard.heard(ended - begun) } else { None }
    }

    /// Adds what sessions say of waits and locks.
    fn sessions(&mut self, reading: &mut Reading, asked: &[Due]) {
        let due = asked.iter().find(|due| due.group == Group::Waits);
        let Some((due, seen)) = due.zip(reading.seen.take()) else { return };
        let (node, role) = (&self.target.host.node, reading.role);
        let fields = self.episodes.take(due.at, &seen);
        let tree = point(LOCK_TREE.name, node, role, fields);
        reading.points.extend(ash(&seen, node, role).into_iter().chain([tree]).map(|point| (Group::Waits, point)));
    }

    /// Sends the points of a reading, each stamped with the instant at which its group was due, and for each such
    /// instant what is to be known of the reading.
    fn send(&self, reading: Reading, asked: &[Due], begun: Duration, ended: Duration) {
        let Reading { points: mut read, failed, role, .. } = reading;
        let stamp = |group: Group| asked.iter().find(|due| due.group == group).map(|due| due.at);
        let mut points: Vec<Point> = Vec::with_capacity(read.len() + 1);
        let instants: BTreeSet<Duration> = asked.iter().map(|due| due.at).collect();
        for at in instants {
            let count = |n: usize| Field::Int(i64::try_from(n).unwrap_or(i64::MAX));
            let fields = vec![
                ("up", Field::Int(1)),
                ("late_us", micros(begun.saturating_sub(at))),
                ("rtt_us", micros(ended - begun)),
                ("rows", count(read.iter().filter(|(group, _)| stamp(*group) == Some(at)).count())),
                ("errors", count(failed.iter().filter(|(group, _)| stamp(*group) == Some(at)).count())),
            ];
            points.push(Point { elapsed: at, ..point(SAMPLER.name, &self.target.host.node, role, fields) });
        }
        points.extend(read.drain(..).filter_map(|(group, point)| Some(Point { elapsed: stamp(group)?, ..point })));
        self.points.send(points);
    }

    /// The session is of no use any more: every tick that waits for it was not answered.
    fn give_up(&mut self) {
        // A new set, not only aborted tasks: an answer that came in this moment must not be taken for a later one.
        self.under_way = JoinSet::new();
        let down = Link::Down { retry_at: self.clock.elapsed(), backoff: BACKOFF.0 };
        let mut dues = std::mem::take(&mut self.waiting);
        if let Link::Reading { asked } = std::mem::replace(&mut self.link, down) {
            dues.extend(asked);
        }
        self.down(dues);
    }

    /// Ticks that the server did not answer; that is known of it, so they were not missed.
    fn down(&mut self, dues: Vec<Due>) {
        self.account.down += dues.len() as u64;
        self.episodes.interrupt();
        let instants: BTreeSet<Duration> = dues.iter().map(|due| due.at).collect();
        let unanswered = |at| {
            let point = point(SAMPLER.name, &self.target.host.node, "", vec![("up", Field::Int(0))]);
            Point { elapsed: at, ..point }
        };
        self.points.send(instants.into_iter().map(unanswered).collect());
    }

    fn failed(&mut self, view: &'static str, why: &str) {
        if self.told.insert(view) {
            self.event("sampler.view_failed", format!("{view} of {} cannot be read: {why}", self.target.host.node));
        }
    }

    fn tell(&self, Change { period, median, slower }: Change) {
        let node = &self.target.host.node;
        if slower {
            let text =
                format!("{node} answers in {median:.0?}, half of the time; its sessions are read every {period:?}");
            self.event("sampler.degraded", text);
        } else {
            self.event("sampler.restored", format!("the sessions of {node} are read every {period:?} again"));
        }
    }

    fn event(&self, kind: &'static str, text: String) {
        let event = Event { elapsed: self.clock.elapsed(), kind, node: Some(self.target.host.node.clone()), text };
        // Whoever collected events is gone at the end of the trial; then there is nobody to tell.
        let _ = self.events.send(event);
    }
}

fn point(measurement: &'static str, node: &str, role: &'static str, fields: Vec<(&'static str, Field)>) -> Point {
    Point { measurement, node: node.to_owned(), role, tags: Vec::new(), fields, elapsed: Duration::ZERO }
}

fn micros(time: Duration) -> Field {
    Field::Int(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}
