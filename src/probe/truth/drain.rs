//! Waiting until targets have all that their sources have written.

use crate::pg::connect::{connect, in_words};
use crate::pg::{Host, Login};
use crate::probe::stream::{By, Stream};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Time between two looks: the resolution of how long it took.
const LOOK: Duration = Duration::from_millis(5);
/// Longest time for connecting and for an answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Time between attempts to reach a server.
const RETRY: Duration = Duration::from_millis(100);

/// Targets that are catching up.
#[derive(Debug)]
pub struct Drain {
    /// When they are given up; absent: not yet decided.
    until: watch::Sender<Option<Instant>>,
    tasks: JoinHandle<Vec<Drained>>,
}

/// How a target caught up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The stream.
    pub stream: Stream,
    /// How long it took, or where it was when it was given up.
    pub took: Result<Duration, String>,
}

/// One stream on its way.
struct Way {
    stream: Stream,
    from: Host,
    to: Host,
    login: Login,
}

impl Drain {
    /// Begins to wait, from now on. A stream from a server that is itself a target waits for that one first.
    pub fn start(streams: Vec<Stream>, hosts: Vec<Host>, login: Login) -> Drain {
        let (until, limit) = watch::channel(None);
        Drain { until, tasks: tokio::spawn(all(streams, hosts, login, limit)) }
    }

    /// Gives them `limit` from now on, and tells how each came along.
    pub async fn finish(self, limit: Duration) -> Vec<Drained> {
        self.until.send_replace(Some(Instant::now() + limit));
        // The error is a panic, which has been printed.
        self.tasks.await.unwrap_or_default()
    }
}

async fn all(
    streams: Vec<Stream>,
    hosts: Vec<Host>,
    login: Login,
    limit: watch::Receiver<Option<Instant>>,
) -> Vec<Drained> {
    let began = Instant::now();
    let host = |name: &str| hosts.iter().find(|host| host.node == name).cloned();
    let mut pending = streams;
    let mut drained = Vec::new();
    while !pending.is_empty() {
        let feeds = |stream: &Stream, other: &Stream| other.to == stream.from;
        let (mut ready, mut later): (Vec<Stream>, Vec<Stream>) = (Vec::new(), Vec::new());
        for stream in &pending {
            let waits = pending.iter().any(|other| feeds(stream, other));
            (if waits { &mut later } else { &mut ready }).push(stream.clone());
        }
        if ready.is_empty() {
            std::mem::swap(&mut ready, &mut later);
        }
        let mut tasks = JoinSet::new();
        for stream in ready {
            match (host(&stream.from), host(&stream.to)) {
                (Some(from), Some(to)) => {
                    let way = Way { stream, from, to, login: login.clone() };
                    tasks.spawn(one(way, began, limit.clone()));
                }
                _ => drained.push(Drained { stream, took: Err("it has no server".to_owned()) }),
            }
        }
        drained.extend(tasks.join_all().await);
        pending = later;
    }
    drained
}

async fn one(way: Way, began: Instant, mut limit: watch::Receiver<Option<Instant>>) -> Drained {
    let status = std::sync::Mutex::new("nobody could be asked".to_owned());
    let say = |text: String| *status.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text;
    let waiting = async {
        let target = loop {
            match way.written().await {
                Ok(lsn) => break lsn,
                Err(why) => say(why),
            }
            sleep(RETRY).await;
        };
        loop {
            match way.follow(&target, &say).await {
                Ok(()) => return,
                Err(why) => say(why),
            }
            sleep(RETRY).await;
        }
    };
    let given_up = async {
        // The error means that nobody waits any more.
        let until = limit.wait_for(Option::is_some).await.ok().and_then(|until| *until);
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    };
    let took = tokio::select! {
        () = waiting => Ok(began.elapsed()),
        () = given_up => Err(status.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()),
    };
    Drained { stream: way.stream, took }
}

impl Way {
    /// How far the source has written by now.
    async fn written(&self) -> Result<String, String> {
        let position = "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
                        ELSE pg_current_wal_lsn() END)::text";
        let client = connect(&self.from, &self.login, ANSWER).await.map_err(|error| error.to_string())?;
        let row = timeout(ANSWER, client.query_one(position, &[])).await.map_err(|_| no_answer(&self.from.node))?;
        row.and_then(|row| row.try_get(0)).map_err(|error| in_words(&error))
    }

    /// Looks until the target has applied everything up to `lsn`.
    async fn follow(&self, lsn: &str, say: &impl Fn(String)) -> Result<(), String> {
        let (asked, statement, name) = match &self.stream.by {
            By::Replay { .. } => (
                &self.to,
                "SELECT pg_wal_lsn_diff($1::text::pg_lsn, pg_last_wal_replay_lsn())::int8, NULL::text WHERE $2::text IS NOT NULL",
                "",
            ),
            By::Subscription { slot, .. } => (
                &self.from,
                "SELECT pg_wal_lsn_diff($1::text::pg_lsn, confirmed_flush_lsn)::int8, \
                 CASE WHEN NOT active THEN 'its slot is not in use' END || \
                 CASE WHEN wal_status = 'lost' THEN ', and what it needs is gone' ELSE '' END \
                 FROM pg_replication_slots WHERE slot_name::text = $2::text",
                slot.as_str(),
            ),
        };
        let client = connect(asked, &self.login, ANSWER).await.map_err(|error| error.to_string())?;
        let look = client.prepare(statement).await.map_err(|error| in_words(&error))?;
        loop {
            let row = timeout(ANSWER, client.query_opt(&look, &[&lsn, &name])).await;
            let row = row.map_err(|_| no_answer(&asked.node))?.map_err(|error| in_words(&error))?;
            let Some(row) = row else { return Err(format!("`{}` has no slot `{name}`", asked.node)) };
            let behind: Option<i64> = row.try_get(0).map_err(|error| in_words(&error))?;
            let why: Option<String> = row.try_get(1).map_err(|error| in_words(&error))?;
            match behind {
                Some(..=0) => return Ok(()),
                Some(bytes) => {
                    let why = why.map_or_else(String::new, |why| format!(": {why}"));
                    say(format!("{bytes} bytes of WAL are missing{why}"));
                }
                None => say("it has applied nothing".to_owned()),
            }
            sleep(LOOK).await;
        }
    }
}

fn no_answer(node: &str) -> String {
    format!("`{node}` does not answer within {ANSWER:?}")
}
