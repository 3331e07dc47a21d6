//! Which server accepts writes: what libpq's `target_session_attrs=read-write` finds out, asked of all
//! hosts at once and shared by the clients of one load, so that an outage is not also a storm of logins.

use super::connect::connect;
use super::{Host, Login};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// Least time between two rounds of asking.
const ROUND: Duration = Duration::from_millis(20);

/// Finds the host that accepts writes.
#[derive(Debug)]
pub struct Finder {
    hosts: Vec<Host>,
    login: Login,
    limit: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    writable: Option<Host>,
    asked: Option<Instant>,
}

impl Finder {
    /// Asks `hosts` as `login`; one that has not answered within `limit` is passed over in that round.
    pub fn new(hosts: Vec<Host>, login: Login, limit: Duration) -> Arc<Finder> {
        Arc::new(Finder { hosts, login, limit, known: Mutex::default() })
    }

    /// The host that accepts writes; waits until there is one. Callers that wait share one round of asking.
    pub async fn writable(&self) -> Host {
        loop {
            let mut known = self.known.lock().await;
            if let Some(host) = &known.writable {
                return host.clone();
            }
            if let Some(asked) = known.asked {
                tokio::time::sleep_until((asked + ROUND).into()).await;
            }
            known.asked = Some(Instant::now());
            known.writable = self.ask().await;
        }
    }

    /// Says that `host` no longer accepts writes, or that a connection to it broke.
    pub async fn lost(&self, host: &Host) {
        let mut known = self.known.lock().await;
        if known.writable.as_ref() == Some(host) {
            known.writable = None;
        }
    }

    async fn ask(&self) -> Option<Host> {
        let mut answers = JoinSet::new();
        for host in self.hosts.clone() {
            let (login, limit) = (self.login.clone(), self.limit);
            answers.spawn(async move {
                tokio::time::timeout(limit, accepts_writes(&host, &login, limit)).await.unwrap_or(false).then_some(host)
            });
        }
        while let Some(answer) = answers.join_next().await {
            if let Ok(Some(host)) = answer {
                return Some(host);
            }
        }
        None
    }
}

async fn accepts_writes(host: &Host, login: &Login, limit: Duration) -> bool {
    let Ok(client) = connect(host, login, limit).await else { return false };
    matches!(client.query_one("SHOW transaction_read_only", &[]).await, Ok(row) if row.get::<_, &str>(0) == "off")
}
