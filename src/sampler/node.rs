//! The sampler of one node, a task of its own, so that a node that is dead or frozen costs the others nothing.

use super::grid::Grid;
use super::session::{OpenError, Reading, Session};
use crate::base::clock::Clock;
use crate::metric::{Event, Events, Field, Point, Points};
use crate::pg::{Host, Login};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// First and longest wait between two attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long a reading under way may still take when the sampler is stopped.
const LAST_WORD: Duration = Duration::from_millis(250);

/// Time between ticks; absent: stop.
pub(super) type Pace = Option<Duration>;

/// What a node's sampler ended with.
pub(super) struct Account {
    pub(super) node: String,
    pub(super) ticks: u64,
    /// Passed over while an answer was awaited.
    pub(super) missed: u64,
    /// Not answered: the server was down.
    pub(super) down: u64,
    pub(super) absent: BTreeSet<String>,
}

/// Where the session stands.
enum Link {
    /// None; the next attempt is made at the first tick after `retry_at`.
    Down { retry_at: Duration, backoff: Duration },
    /// Being opened.
    Opening { backoff: Duration },
    /// Open, with nothing under way.
    Idle(Arc<Session>),
    /// A reading is under way for the first of these ticks; the others came due meanwhile.
    Reading { due: Vec<Duration> },
}

enum Reply {
    Opened(Result<Arc<Session>, OpenError>),
    Read { session: Arc<Session>, reading: Reading, begun: Duration, ended: Duration },
}

pub(super) struct NodeSampler {
    pub(super) host: Host,
    pub(super) login: Login,
    /// How long a server may leave a reading or an attempt to connect unanswered.
    pub(super) patience: Duration,
    pub(super) clock: Clock,
    pub(super) points: Points,
    pub(super) events: Events,
    link: Link,
    under_way: JoinSet<Reply>,
    account: Account,
    /// Views that failed in this session, so that each is reported once.
    failing: BTreeSet<&'static str>,
    /// That the role sees too little was told.
    told_limited: bool,
}

impl NodeSampler {
    /// A sampler of `host`, connected when the server can be reached now.
    pub(super) async fn open(
        host: Host,
        login: Login,
        patience: Duration,
        clock: Clock,
        points: Points,
        events: Events,
    ) -> NodeSampler {
        let account = Account { node: host.node.clone(), ticks: 0, missed: 0, down: 0, absent: BTreeSet::new() };
        let opened = Session::open(host.clone(), login.clone(), patience).await.map(Arc::new);
        let (link, under_way, failing) = (Link::Opening { backoff: BACKOFF.0 }, JoinSet::new(), BTreeSet::new());
        let mut sampler = NodeSampler {
            host,
            login,
            patience,
            clock,
            points,
            events,
            link,
            under_way,
            account,
            failing,
            told_limited: false,
        };
        if let Err(error) = &opened {
            sampler.event("sampler.lost", format!("{} is not sampled: {error}", sampler.host.node));
        }
        sampler.opened(opened);
        sampler
    }

    /// Samples until the pace says stop.
    pub(super) async fn run(mut self, mut grid: Grid, mut pace: watch::Receiver<Pace>) -> Account {
        loop {
            let wake = self.clock.instant(grid.due());
            tokio::select! {
                changed = pace.changed() => match *pace.borrow_and_update() {
                    Some(period) if changed.is_ok() => grid.pace(period, self.clock.elapsed()),
                    _ => break,
                },
                Some(Ok(reply)) = self.under_way.join_next(), if !self.under_way.is_empty() => self.reply(reply),
                () = tokio::time::sleep_until(wake.into()) => {
                    let (due, skipped) = grid.take(self.clock.elapsed());
                    self.tick(due, u64::from(skipped));
                }
            }
        }
        if let Link::Reading { .. } = self.link {
            match tokio::time::timeout(LAST_WORD, self.under_way.join_next()).await {
                Ok(Some(Ok(reply))) => self.reply(reply),
                _ => self.give_up(),
            }
        }
        self.account
    }

    fn tick(&mut self, due: Duration, skipped: u64) {
        self.account.ticks += 1 + skipped;
        self.account.missed += skipped;
        match &mut self.link {
            Link::Idle(session) => {
                let (session, clock, node) = (session.clone(), self.clock, self.host.node.clone());
                self.link = Link::Reading { due: vec![due] };
                self.under_way.spawn(async move {
                    let begun = clock.elapsed();
                    let reading = session.read(&node).await;
                    Reply::Read { session, reading, begun, ended: clock.elapsed() }
                });
            }
            Link::Reading { due: unanswered } => {
                unanswered.push(due);
                if due - unanswered[0] >= self.patience {
                    let waited = self.patience;
                    self.event("sampler.lost", format!("{} left a reading unanswered for {waited:?}", self.host.node));
                    self.give_up();
                }
            }
            Link::Opening { .. } => self.down(due),
            Link::Down { retry_at, backoff } => {
                if due >= *retry_at {
                    let (host, login, limit) = (self.host.clone(), self.login.clone(), self.patience);
                    self.link = Link::Opening { backoff: *backoff };
                    self.under_way
                        .spawn(async move { Reply::Opened(Session::open(host, login, limit).await.map(Arc::new)) });
                }
                self.down(due);
            }
        }
    }

    fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Opened(opened) => {
                if opened.is_ok() {
                    self.event("sampler.back", format!("{} is sampled again", self.host.node));
                }
                self.opened(opened);
            }
            Reply::Read { session, reading, begun, ended } => self.read(session, reading, begun, ended),
        }
    }

    fn opened(&mut self, opened: Result<Arc<Session>, OpenError>) {
        let backoff = if let Link::Opening { backoff } = self.link { backoff } else { BACKOFF.0 };
        self.failing.clear();
        self.link = match opened {
            Ok(session) => {
                self.account.absent.extend(session.absent.iter().cloned());
                if session.limited && !std::mem::replace(&mut self.told_limited, true) {
                    let text = "its role sees no sessions of others, so they and replication are not sampled; \
                                hint: GRANT pg_monitor";
                    self.event("sampler.limited", format!("{}: {text}", self.host.node));
                }
                Link::Idle(session)
            }
            Err(_) => Link::Down { retry_at: self.clock.elapsed() + backoff, backoff: (backoff * 2).min(BACKOFF.1) },
        };
    }

    fn read(&mut self, session: Arc<Session>, reading: Reading, begun: Duration, ended: Duration) {
        if session.is_closed() {
            let why = reading.failed.first().map_or("the connection is closed", |(_, why)| why.as_str());
            self.event("sampler.lost", format!("{} is not sampled: {why}", self.host.node));
            return self.give_up();
        }
        let Link::Reading { due } = std::mem::replace(&mut self.link, Link::Idle(session)) else { return };
        let Some((due, passed)) = due.split_first() else { return };
        self.account.missed += passed.len() as u64;
        for (view, why) in &reading.failed {
            if self.failing.insert(view) {
                self.event("sampler.view_failed", format!("{view} of {} cannot be read: {why}", self.host.node));
            }
        }
        let mut points = reading.points;
        let role = points.first().map_or("", |point| point.role);
        let fields = vec![
            ("up", Field::Int(1)),
            ("late_us", micros(begun.saturating_sub(*due))),
            ("rtt_us", micros(ended - begun)),
            ("rows", Field::Int(reading.rows as i64)),
            ("errors", Field::Int(reading.failed.len() as i64)),
        ];
        points.push(self.own(role, fields));
        for point in &mut points {
            point.elapsed = *due;
        }
        self.points.send(points);
    }

    /// The session is of no use any more: every tick that waits for it was not answered.
    fn give_up(&mut self) {
        // A new set, not only aborted tasks: an answer that came in this moment must not be taken for a later one.
        self.under_way = JoinSet::new();
        let down = Link::Down { retry_at: self.clock.elapsed(), backoff: BACKOFF.0 };
        if let Link::Reading { due } = std::mem::replace(&mut self.link, down) {
            for due in due {
                self.down(due);
            }
        }
    }

    /// A tick that the server did not answer; that is known of it, so the tick was not missed.
    fn down(&mut self, due: Duration) {
        self.account.down += 1;
        let mut point = self.own("", vec![("up", Field::Int(0))]);
        point.elapsed = due;
        self.points.send(vec![point]);
    }

    fn own(&self, role: &'static str, fields: Vec<(&'static str, Field)>) -> Point {
        let measurement = crate::metric::sampled::SAMPLER.name;
        Point { measurement, node: self.host.node.clone(), role, tags: Vec::new(), fields, elapsed: Duration::ZERO }
    }

    fn event(&self, kind: &'static str, text: String) {
        let event = Event { elapsed: self.clock.elapsed(), kind, node: Some(self.host.node.clone()), text };
        // Whoever collected events is gone at the end of the trial; then there is nobody to tell.
        let _ = self.events.send(event);
    }
}

fn micros(time: Duration) -> Field {
    Field::Int(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}
