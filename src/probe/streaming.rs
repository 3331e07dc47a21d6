//! How long after a fault each surviving standby streams from the node that was promoted.
//!
//! Every server is asked over a connection of its own, which is there before the fault. A promotion begins a new
//! timeline, so the evidence is the standby's own `pg_stat_wal_receiver`: it streams, and what it received last is of
//! a higher timeline than any server was on when the fault was told of. That holds for cascading standbys too, and
//! where the sender's address as the standby sees it is not the one that we connect to; the sender is named in the event.
//!
//! Summary: `standby.streaming` by node. Events: `standby.streaming`, and `standby.not_streaming` for one that never did.
//! There is none of either for a server that was primary at the fault or is promoted by the end.

use crate::base::clock::Clock;
use crate::metric::{Event, Events, Value};
use crate::pg::connect::connect;
use crate::pg::{Host, Login};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

/// Time between polls after the fault: the resolution of the value.
const POLL: Duration = Duration::from_millis(10);
/// Time between looks before it.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time for connecting, and for one poll.
const ANSWER: Duration = Duration::from_secs(1);
/// Time between attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

/// A server's own view. `received_tli` is of WAL that is received and flushed; the checkpoint's timeline is that of
/// the last one, a restart point on a standby, so it is old after a promotion and never too high before it.
const VIEW: &str = "SELECT pg_is_in_recovery(), \
     CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint()) \
          ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END, \
     r.received_tli, r.status = 'streaming', r.sender_host || ':' || r.sender_port \
     FROM (SELECT) AS always LEFT JOIN pg_stat_wal_receiver AS r ON true";

/// What a server said last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    in_recovery: bool,
    /// The highest timeline that it is known to be on.
    timeline: i32,
    /// Where it streams from, if it does, as it names it.
    streams_from: Option<String>,
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Server {
    /// In recovery, when last asked before the fault. None: it never answered.
    was_standby: Option<bool>,
    last: Option<View>,
    /// When it was first seen to stream the new timeline.
    streaming: Option<Duration>,
}

/// The fault, and the highest timeline at that time.
#[derive(Clone, Copy, Debug)]
struct Fault {
    at: Duration,
    timeline: i32,
}

/// The probe at work.
#[derive(Debug)]
pub struct Running {
    hosts: Vec<Host>,
    watchers: JoinSet<()>,
    servers: Arc<Vec<std::sync::Mutex<Server>>>,
    fault: watch::Sender<Option<Fault>>,
    clock: Clock,
    events: Events,
}

impl Running {
    /// Starts watching `hosts`, from the current runtime.
    pub fn start(hosts: Vec<Host>, login: Login, clock: Clock, events: Events) -> Running {
        let servers = Arc::new(hosts.iter().map(|_| Default::default()).collect::<Vec<_>>());
        let (fault, told) = watch::channel(None);
        let mut watchers = JoinSet::new();
        for (number, host) in hosts.iter().cloned().enumerate() {
            let watcher = Watcher {
                host,
                number,
                login: login.clone(),
                clock,
                servers: servers.clone(),
                fault: told.clone(),
                events: events.clone(),
            };
            watchers.spawn(watcher.run());
        }
        Running { hosts, watchers, servers, fault, clock, events }
    }

    /// The measured fault happened at `t0`. Only the first one counts.
    pub fn fault(&self, t0: Duration) {
        let timeline =
            self.servers.iter().filter_map(|server| lock(server).last.as_ref().map(|view| view.timeline)).max();
        self.fault.send_if_modified(|fault| {
            let first = fault.is_none();
            *fault = fault.or(Some(Fault { at: t0, timeline: timeline.unwrap_or(0) }));
            first
        });
    }

    /// Sums up.
    pub async fn stop(mut self) -> Vec<Value> {
        self.watchers.shutdown().await;
        let Some(fault) = *self.fault.borrow() else { return Vec::new() };
        let mut values = Vec::new();
        for (host, server) in self.hosts.iter().zip(self.servers.iter()) {
            let server = lock(server);
            let promoted = server.last.as_ref().is_some_and(|view| !view.in_recovery);
            if server.was_standby == Some(false) || promoted {
                continue;
            }
            match server.streaming {
                Some(at) => {
                    let value = Value::new("standby.streaming", at.saturating_sub(fault.at).as_secs_f64());
                    values.push(value.node(&host.node));
                }
                None => {
                    let text = never(server.last.as_ref(), fault.timeline);
                    let (elapsed, node) = (self.clock.elapsed(), Some(host.node.clone()));
                    // Nobody listens any more when the trial was given up.
                    let _ = self.events.send(Event { elapsed, kind: "standby.not_streaming", node, text });
                }
            }
        }
        values
    }
}

/// Why there is no value.
fn never(last: Option<&View>, timeline: i32) -> String {
    match last {
        None => "never answered".into(),
        Some(View { streams_from: Some(from), .. }) => {
            format!("streams from {from}, but nothing beyond timeline {timeline} of before the fault")
        }
        Some(_) => format!("did not stream beyond timeline {timeline} of before the fault"),
    }
}

/// A server's record is consistent after each operation, whoever panicked.
fn lock(server: &std::sync::Mutex<Server>) -> std::sync::MutexGuard<'_, Server> {
    server.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Server {
    /// Takes in an answer that had come by `at`. True when it is the first that shows the new timeline streaming.
    fn saw(&mut self, view: View, fault: Option<Fault>, at: Duration) -> bool {
        let mut first = false;
        match fault {
            None => self.was_standby = Some(view.in_recovery),
            Some(fault) => {
                if view.streams_from.is_some() && view.timeline > fault.timeline && self.streaming.is_none() {
                    self.streaming = Some(at);
                    first = true;
                }
            }
        }
        self.last = Some(view);
        first
    }
}

struct Watcher {
    host: Host,
    number: usize,
    login: Login,
    clock: Clock,
    servers: Arc<Vec<std::sync::Mutex<Server>>>,
    fault: watch::Receiver<Option<Fault>>,
    events: Events,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            if let Ok(client) = connect(&self.host, &self.login, ANSWER).await {
                // It went away or would not answer; it is asked again on a new connection.
                let _ = self.ask_on(&client).await;
            }
            sleep(RETRY).await;
        }
    }

    async fn ask_on(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let query = client.prepare(VIEW).await?;
        loop {
            let Ok(row) = timeout(ANSWER, client.query_one(&query, &[])).await else { return Ok(()) };
            let row = row?;
            let (own, received): (i32, Option<i32>) = (row.try_get(1)?, row.try_get(2)?);
            let from: Option<String> = row.try_get(4)?;
            let streams: Option<bool> = row.try_get(3)?;
            let view = View {
                in_recovery: row.try_get(0)?,
                timeline: received.map_or(own, |received| received.max(own)),
                streams_from: from.filter(|_| streams == Some(true)),
            };
            let fault = *self.fault.borrow();
            self.saw(view, fault);
            match fault {
                Some(_) => sleep(POLL).await,
                // An error means that the probe is gone, and this task with it.
                None => drop(timeout(LOOK, self.fault.changed()).await),
            }
        }
    }

    fn saw(&self, view: View, fault: Option<Fault>) {
        let elapsed = self.clock.elapsed();
        let (timeline, from) = (view.timeline, view.streams_from.clone().unwrap_or_default());
        if lock(&self.servers[self.number]).saw(view, fault, elapsed) {
            let (text, node) = (format!("streams timeline {timeline} from {from}"), Some(self.host.node.clone()));
            let _ = self.events.send(Event { elapsed, kind: "standby.streaming", node, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(in_recovery: bool, timeline: i32, streams: bool) -> View {
        View { in_recovery, timeline, streams_from: streams.then(|| "127.0.0.1:5432".into()) }
    }

    const FAULT: Option<Fault> = Some(Fault { at: Duration::from_secs(1), timeline: 1 });

    #[test]
    fn only_the_new_timeline_counts() {
        let mut server = Server::default();
        let at = Duration::from_secs;
        assert!(!server.saw(view(true, 1, true), None, at(0)));
        assert!(!server.saw(view(true, 1, true), FAULT, at(1)), "it has not noticed yet");
        assert!(!server.saw(view(true, 2, false), FAULT, at(2)), "it knows, but does not stream");
        assert!(server.saw(view(true, 2, true), FAULT, at(3)));
        assert!(!server.saw(view(true, 2, true), FAULT, at(4)), "the first time counts");
        assert_eq!((server.streaming, server.was_standby), (Some(at(3)), Some(true)));
    }

    #[test]
    fn an_absent_value_has_its_reason() {
        assert_eq!(never(None, 1), "never answered");
        assert!(never(Some(&view(true, 1, true)), 1).contains("streams from 127.0.0.1:5432"));
        assert!(never(Some(&view(true, 1, false)), 1).contains("did not stream beyond timeline 1"));
    }
}
