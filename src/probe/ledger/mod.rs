//! The ledger of acknowledged writes: how long writes stop, and whether any acknowledged one is lost.
//!
//! Writers with connections of their own, on a thread of their own, insert rows of a unique writer and sequence
//! number at planned instants into a table of their own. The table has no unique constraint, so that a row that is
//! there twice can be seen. No write is ever tried again. Each has one [outcome](book::Outcome); at the end the
//! rows of the surviving server are held against them ([`verdict`]).
//!
//! Summary: `ledger.*`, `failover.write_outage` or `failover.write_outage_at_least`, overall and with the writer
//! (`w1`, `w2`, …) as subject. Points: measurement `ledger`, every second, its counts cumulative. Events:
//! `ledger.last_ack` and `ledger.first_ack` at the two ends of the outage, `ledger.first_miss` where a write first went
//! wrong after the fault, `ledger.acked_lost`, `ledger.two_primaries`, `ledger.no_verdict`.

pub mod book;
pub mod miss;
pub mod outage;
mod session;
mod survivor;
pub mod verdict;
mod writer;

use super::Ledger;
use super::apart::{Apart, Stop};
use crate::base::clock::Clock;
use crate::clone::worth::Watermark;
use crate::metric::{Event, Events, Points, Value};
use crate::pg::find::Finder;
use crate::pg::{Host, Login};
use book::Book;
use outage::Outage;
use session::Session;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use verdict::Verdict;
use writer::{Schedule, Shared, Writer, lock};

/// The table, with the columns `writer int` and `seq bigint`.
pub const TABLE: &str = "pgbench_rs_ledger";

/// Longest time for a server to say whether it accepts writes. A frozen one says nothing and holds up each round of
/// asking for this long, so it bounds how late the promoted server is found.
const ASK: Duration = Duration::from_millis(250);

/// Longest time until all writers have their first connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Creates the ledger's table, or empties it. To be done before the trial, or in the template.
pub async fn prepare(client: &tokio_postgres::Client) -> Result<(), tokio_postgres::Error> {
    let create = format!("CREATE TABLE IF NOT EXISTS {TABLE} (writer int NOT NULL, seq bigint NOT NULL)");
    client.batch_execute(&format!("{create}; TRUNCATE {TABLE}")).await
}

/// The rows that a copy of the server should have.
pub fn watermark() -> Watermark {
    Watermark { table: TABLE.to_owned(), number: "seq".to_owned(), of: Some("writer".to_owned()) }
}

/// Drops the ledger's table, from a server that is not removed with it.
pub async fn drop_table(client: &tokio_postgres::Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute(&format!("DROP TABLE IF EXISTS {TABLE}")).await
}

/// Why the ledger could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The thread, or its runtime.
    #[error("cannot start the ledger's thread: {0}")]
    Thread(#[from] io::Error),
    /// The writers could not connect.
    #[error(
        "the ledger's writers had no connection to a server that accepts writes within {CONNECT:?}\n\
         hint: {TABLE} must exist, and max_connections must leave room for every writer"
    )]
    NoConnection,
}

/// A ledger that is being written.
#[derive(Debug)]
pub struct Running {
    book: Arc<Mutex<Book>>,
    writers: Apart<()>,
    hosts: Vec<Host>,
    login: Login,
    clock: Clock,
    events: Events,
}

impl Running {
    /// Connects all writers, then starts the schedule. `sites` are the servers as the writers of each site reach
    /// them, writers taking turns; `hosts` as whoever reads the survivor does.
    pub async fn start(
        settings: &Ledger,
        sites: &[Vec<Host>],
        hosts: Vec<Host>,
        login: Login,
        clock: Clock,
        events: Events,
        points: Points,
    ) -> Result<Running, StartError> {
        let count = settings.writers as usize;
        let book = Arc::new(Mutex::new(Book::new(count)));
        let finder = |hosts: &Vec<Host>| Finder::new(hosts.clone(), login.clone(), ASK.min(settings.timeout.0));
        let shared: Vec<Shared> = (sites.iter().map(finder))
            .map(|finder| Shared {
                book: book.clone(),
                finder,
                login: login.clone(),
                timeout: settings.timeout.0,
                clock,
            })
            .collect();
        let rate = settings.rate;
        let (ready, started) = oneshot::channel();
        let writers = Apart::start("ledger", move |stop| async move {
            let Ok(sessions) = timeout(CONNECT, connect_all(&shared, count)).await else { return };
            let schedule = Schedule { start: clock.elapsed(), writers: count, rate };
            if ready.send(()).is_ok() {
                write_all(schedule, sessions, shared, clock, points, stop).await;
            }
        })?;
        // Dropped without a word when the writers could not connect.
        started.await.map_err(|_| StartError::NoConnection)?;
        Ok(Running { book, writers, hosts, login, clock, events })
    }

    /// The measured fault happened at `t0`; to be told as soon as it has been injected. Only the first one counts.
    pub fn fault(&self, t0: Duration) {
        lock(&self.book).fault(t0);
    }

    /// Stops the writers and waits until their last writes have an outcome.
    pub async fn halt(self) -> Halted {
        let end = self.clock.elapsed();
        self.writers.stop().await;
        let book = lock(&self.book).clone();
        Halted {
            end,
            book,
            hosts: self.hosts,
            login: self.login,
            ends: Ends { clock: self.clock, events: self.events },
        }
    }
}

/// A ledger to which nothing is added any more. Whatever is done to the servers from now on ends no outage.
#[derive(Debug)]
pub struct Halted {
    end: Duration,
    book: Book,
    hosts: Vec<Host>,
    login: Login,
    ends: Ends,
}

impl Halted {
    /// Reads the survivor and compares: the values, and the verdict that they rest on.
    ///
    /// When there is none to be read, what only it can tell is absent, and an event says why.
    pub async fn verdict(self) -> (Vec<Value>, Option<Verdict>) {
        if let Some(outage) = self.book.outage(self.end) {
            self.ends.outage(outage);
        }
        if let Some((at, why)) = self.book.first_miss() {
            let text = format!("first write after the fault that was not acknowledged in time: {}", why.text());
            self.ends.at(at, "ledger.first_miss", None, text);
        }
        let mut values = self.book.values(self.end);
        match self.ends.verdict(&self.hosts, &self.login, &self.book).await {
            Ok(verdict) => {
                values.extend(verdict.values());
                (values, Some(verdict))
            }
            Err(error) => {
                self.ends.say("ledger.no_verdict", None, error.to_string());
                (values, None)
            }
        }
    }
}

/// The sessions of all writers, in their order.
async fn connect_all(shared: &[Shared], count: usize) -> Vec<Session> {
    let mut connecting = JoinSet::new();
    for (number, shared) in (0..count).zip(shared.iter().cycle()) {
        let shared = shared.clone();
        connecting.spawn(async move { (number, shared.connect().await) });
    }
    let mut sessions = connecting.join_all().await;
    sessions.sort_by_key(|(number, _)| *number);
    sessions.into_iter().map(|(_, session)| session).collect()
}

async fn write_all(
    schedule: Schedule,
    sessions: Vec<Session>,
    shared: Vec<Shared>,
    clock: Clock,
    points: Points,
    stop: Stop,
) {
    let Some(book) = shared.first().map(|shared| shared.book.clone()) else { return };
    let mut writers = JoinSet::new();
    for ((number, session), shared) in sessions.into_iter().enumerate().zip(shared.iter().cycle()) {
        writers.spawn(Writer::new(number, schedule, shared.clone()).run(session, stop.clone()));
    }
    let mut due = clock.elapsed();
    let writing = async { while writers.join_next().await.is_some() {} };
    let mut writing = std::pin::pin!(writing);
    loop {
        // On whole seconds of the trial's clock, so that points join with those of the samplers.
        due = Duration::from_secs(due.as_secs() + 1);
        tokio::select! {
            biased;
            () = &mut writing => break,
            () = sleep_until(clock.instant(due).into()) => {
                let point = lock(&book).point(due);
                points.send(vec![point]);
            }
        }
    }
    let point = lock(&book).point(clock.elapsed());
    points.send(vec![point]);
}

/// What is said at the end.
#[derive(Debug)]
struct Ends {
    clock: Clock,
    events: Events,
}

impl Ends {
    fn outage(&self, outage: Outage) {
        let (gap, came_back) = match outage {
            Outage::Over(gap) => (gap, true),
            Outage::Open(gap) => (gap, false),
        };
        let length = gap.length().as_secs_f64();
        if came_back {
            self.at(
                gap.from,
                "ledger.last_ack",
                None,
                format!("last acknowledged write before an outage of {length:.3} s"),
            );
            self.at(gap.to, "ledger.first_ack", None, format!("first acknowledged write after {length:.3} s"));
        } else {
            self.at(
                gap.from,
                "ledger.last_ack",
                None,
                format!("last acknowledged write; none followed for {length:.3} s"),
            );
        }
    }

    async fn verdict(&self, hosts: &[Host], login: &Login, book: &Book) -> Result<Verdict, survivor::NoVerdict> {
        let mut found = survivor::find(hosts, login).await?;
        if found.len() > 1 {
            let list: Vec<String> =
                found.iter().map(|server| format!("{} (timeline {})", server.host.node, server.timeline)).collect();
            let text = format!("more than one server accepts writes: {}; the first was read", list.join(", "));
            self.say("ledger.two_primaries", Some(&found[0].host), text);
        }
        let verdict = survivor::judge(&mut found[0], book).await?;
        if let Some(lost) = verdict.lost() {
            self.say(
                "ledger.acked_lost",
                Some(&found[0].host),
                format!("acknowledged writes that are not there: {lost}"),
            );
        }
        Ok(verdict)
    }

    fn say(&self, kind: &'static str, host: Option<&Host>, text: String) {
        self.at(self.clock.elapsed(), kind, host, text);
    }

    fn at(&self, elapsed: Duration, kind: &'static str, host: Option<&Host>, text: String) {
        // Nobody listens any more when the trial was given up.
        let _ = self.events.send(Event { elapsed, kind, node: host.map(|host| host.node.clone()), text });
    }
}
