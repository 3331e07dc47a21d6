//! Commit-to-visible lag on every standby and for every subscription, as bounds on one clock.
//!
//! A writer sets a marker on whichever server accepts writes; on every other server a poller with a connection of its
//! own asks for it while a write is not yet seen there. How the bounds follow from that is in `lag`.
//! For a subscription it is asked for the markers of its publications, which take the same way as all that is published.
//! A standby that is away stays a target: its writes are late, or unseen. One that was promoted is none any more.
//!
//! Summary: `lag.visible.*`, with `a>s1` (from, to) as subject, `a>b.books` for the subscription `books` of `b`. Points: measurement `lag_visible`, every second.

mod lag;

use super::Visibility;
use super::apart::{Apart, Stop};
use crate::base::Name;
use crate::base::clock::Clock;
use crate::metric::{Points, Value};
use crate::pg::connect::connect;
use crate::pg::find::Finder;
use crate::pg::{Host, Login};
use lag::Target;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_postgres::Client;

/// The table: a marker for each way by which a write can come, `name text`, `marker bigint`, `written_at timestamptz`. The
/// row without a name is for standbys, to which all rows come; each publication has one of its own.
pub const TABLE: &str = "pgbench_rs_visibility";

/// Longest time for connecting, and for one poll.
const ANSWER: Duration = Duration::from_secs(1);
/// Longest time for a write; a synchronous standby may hold it up.
const WRITE: Duration = Duration::from_secs(5);
/// Time between attempts to connect; the resolution at which a returning standby is seen.
const RETRY: Duration = Duration::from_millis(50);
/// Time between looks at a server that nothing is waited for on: it may have become a standby.
const IDLE: Duration = Duration::from_secs(1);
/// How long the last writes are waited for at the end.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Creates the probe's table with the row that standbys are asked for. To be done before the trial, or in the template.
pub async fn prepare(client: &Client) -> Result<(), tokio_postgres::Error> {
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} \
         (name text PRIMARY KEY, marker bigint NOT NULL, written_at timestamptz NOT NULL)"
    );
    client
        .batch_execute(&format!("{create}; TRUNCATE {TABLE}; INSERT INTO {TABLE} VALUES ('', 0, clock_timestamp())"))
        .await
}

/// Adds the rows of publications, on a publisher before anybody subscribes.
pub async fn add(client: &Client, publications: &[Name]) -> Result<(), tokio_postgres::Error> {
    let insert = format!("INSERT INTO {TABLE} SELECT name, 0, clock_timestamp() FROM unnest($1::text[]) AS name");
    client.execute(&insert, &[&publications]).await.map(drop)
}

/// Drops the probe's table, from a server that is not removed with it.
pub async fn drop_table(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(&format!("DROP TABLE IF EXISTS {TABLE}")).await
}

/// The probe at work.
#[derive(Debug)]
pub struct Running {
    probe: Arc<Probe>,
    probing: Apart<Vec<Value>>,
}

/// A way by which writes reach a subscriber, or a standby of one.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The server to ask.
    pub host: Host,
    /// The subscription.
    pub subscription: Name,
    /// The markers that it brings.
    pub marks: Vec<Name>,
    /// The servers of its group: what is written on one of them does not come by a subscription.
    pub within: Vec<Name>,
}

impl Running {
    /// Starts the writer, which writes on whichever server of `groups` accepts it, and a poller for each of them and of
    /// `feeds`, on a thread of their own; they connect as they can. Standbys have what is written within their group.
    pub fn start(
        settings: &Visibility,
        (groups, feeds): (Vec<Vec<Host>>, Vec<Feed>),
        (login, clock, points): (Login, Clock, Points),
    ) -> io::Result<Running> {
        let standby =
            |group: &[Host], host: &Host| Watched::new(host.clone(), group.iter().map(|h| h.node.clone()).collect());
        let standbys = groups.iter().flat_map(|group| group.iter().map(|host| standby(group, host)));
        let probe = Arc::new(Probe {
            every: settings.every.0,
            poll: settings.poll.0,
            finder: Finder::new(groups.concat(), login.clone(), ANSWER),
            targets: standbys.chain(feeds.into_iter().map(Watched::fed)).collect(),
            login,
            clock,
        });
        let own = probe.clone();
        Ok(Running { probe, probing: Apart::start("visibility", |stop| run(own, points, stop))? })
    }

    /// What is written from now on belongs to the phase called `name`.
    pub fn phase(&self, name: &str) {
        self.probe.targets.iter().for_each(|watched| watched.target().phase(name));
    }

    /// Stops the writer, gives its last writes up to a second to be seen, and sums up.
    pub async fn stop(self) -> Vec<Value> {
        self.probing.stop().await
    }
}

#[derive(Debug)]
struct Probe {
    every: Duration,
    poll: Duration,
    finder: Arc<Finder>,
    targets: Vec<Watched>,
    login: Login,
    clock: Clock,
}

/// A server that may be a target.
#[derive(Debug)]
struct Watched {
    host: Host,
    /// The markers that are looked for.
    marks: Vec<Name>,
    /// It is fed by a subscription.
    fed: bool,
    /// The servers of its group.
    within: Vec<Name>,
    target: Mutex<Target>,
    /// There is something to wait for.
    wake: Notify,
}

impl Watched {
    fn new(host: Host, within: Vec<Name>) -> Watched {
        let target = Mutex::new(Target::new(&host.node));
        Watched { target, wake: Notify::new(), host, marks: vec![String::new()], fed: false, within }
    }

    /// Whether what is written on `source` may come to it: to a standby from its group, to a subscription from elsewhere.
    fn hears(&self, source: &str) -> bool {
        self.fed != self.within.iter().any(|node| node == source)
    }

    fn fed(feed: Feed) -> Watched {
        let target = Mutex::new(Target::subscribed(&feed.host.node, &feed.subscription));
        let Feed { host, marks, within, .. } = feed;
        Watched { target, wake: Notify::new(), host, marks, fed: true, within }
    }

    /// A target is consistent after each of its operations, whoever panicked.
    fn target(&self) -> MutexGuard<'_, Target> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(probe: Arc<Probe>, points: Points, mut stop: Stop) -> Vec<Value> {
    let mut pollers = JoinSet::new();
    for i in 0..probe.targets.len() {
        let probe = probe.clone();
        pollers.spawn(async move { probe.watch(&probe.targets[i]).await });
    }
    tokio::select! {
        () = stop.asked() => {}
        () = probe.write() => {}
        () = probe.publish(&points) => {}
    }
    let seen = async {
        while probe.targets.iter().any(|watched| watched.target().is_behind()) {
            sleep(probe.poll).await;
        }
    };
    // What is not seen by then counts as unseen.
    let _ = timeout(LAST_LOOK, seen).await;
    pollers.shutdown().await;
    probe.targets.iter().for_each(|watched| watched.target().end());
    probe.targets.iter().flat_map(|watched| watched.target().values()).collect()
}

impl Probe {
    /// Writes at planned instants for ever, on whichever server accepts it; instants that pass are left out.
    async fn write(&self) {
        let start = self.clock.elapsed();
        let mut marker = 0;
        loop {
            let host = self.finder.writable().await;
            if let Ok(client) = connect(&host, &self.login, ANSWER).await {
                // However that ended, the server is asked for anew.
                let _ = self.write_on(&client, &host, start, &mut marker).await;
            }
            self.finder.lost(&host);
            sleep(RETRY).await;
        }
    }

    async fn write_on(
        &self,
        client: &Client,
        host: &Host,
        start: Duration,
        marker: &mut i64,
    ) -> Result<(), tokio_postgres::Error> {
        let update = client.prepare(&format!("UPDATE {TABLE} SET marker = $1, written_at = clock_timestamp()")).await?;
        // A subscriber that took over has the rows of its subscriptions only.
        let own = format!("INSERT INTO {TABLE} VALUES ('', 0, clock_timestamp()) ON CONFLICT DO NOTHING");
        client.execute(&own, &[]).await?;
        let held: i64 = client.query_one(&format!("SELECT max(marker) FROM {TABLE}"), &[]).await?.try_get(0)?;
        self.targets.iter().for_each(|watched| watched.target().survived(held));
        *marker = held.max(*marker);
        loop {
            let now = self.clock.elapsed();
            let passed = now.saturating_sub(start).as_nanos() / self.every.as_nanos().max(1);
            let due = start + self.every.saturating_mul(passed as u32 + 1);
            sleep_until(self.clock.instant(due).into()).await;
            *marker += 1;
            let sent = self.clock.elapsed();
            for watched in self.targets.iter().filter(|watched| watched.hears(&host.node)) {
                watched.target().sent(*marker, &host.node, sent);
                watched.wake.notify_one();
            }
            let written = timeout(WRITE, client.execute(&update, &[marker])).await;
            let acked = self.clock.elapsed();
            for watched in &self.targets {
                match written {
                    Ok(Ok(1..)) => watched.target().acked(*marker, acked),
                    _ => watched.target().not_acked(*marker),
                }
            }
            match written {
                Ok(rows) => rows?,
                Err(_) => return Ok(()),
            };
        }
    }

    /// Polls one server for ever.
    async fn watch(&self, watched: &Watched) {
        loop {
            if let Ok(client) = connect(&watched.host, &self.login, ANSWER).await {
                // It went away, or does not hold the table yet; what it had not shown stays waited for.
                let _ = self.poll_on(&client, watched).await;
            }
            sleep(RETRY).await;
        }
    }

    async fn poll_on(&self, client: &Client, watched: &Watched) -> Result<(), tokio_postgres::Error> {
        let query = format!(
            "SELECT pg_is_in_recovery(), CASE WHEN count(*) = cardinality($1::text[]) THEN min(marker) END \
             FROM {TABLE} WHERE name = ANY ($1::text[])"
        );
        let query = client.prepare(&query).await?;
        loop {
            let sent = self.clock.elapsed();
            let Ok(answer) = timeout(ANSWER, client.query_one(&query, &[&watched.marks])).await else {
                return Ok(());
            };
            let row = answer?;
            let done = self.clock.elapsed();
            let standby = watched.fed || row.try_get(0)?;
            // A marker that is not there shows no write at all.
            let marker = row.try_get::<_, Option<i64>>(1)?.unwrap_or(i64::MIN);
            let waiting = {
                let mut target = watched.target();
                target.polled(standby, marker, sent, done);
                target.is_waiting()
            };
            if waiting {
                sleep_until(self.clock.instant(sent + self.poll).into()).await;
            } else {
                // The wake-up of a write that was sent meanwhile is kept.
                let _ = timeout(IDLE, watched.wake.notified()).await;
            }
        }
    }

    /// Sends points for ever, on whole seconds of the trial's clock.
    async fn publish(&self, points: &Points) {
        let mut due = self.clock.elapsed();
        loop {
            due = Duration::from_secs(due.as_secs() + 1);
            sleep_until(self.clock.instant(due).into()).await;
            let all: Vec<_> = self.targets.iter().flat_map(|watched| watched.target().points(due)).collect();
            if !all.is_empty() {
                points.send(all);
            }
        }
    }
}
