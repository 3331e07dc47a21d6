//! Which server accepts writes: what libpq's `target_session_attrs=read-write` finds out, asked of all
//! hosts at once and shared by the clients of one load, so that an outage is not also a storm of logins.

use super::connect::connect;
use super::{Host, Login};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Time between two questions to one host that does not accept writes.
const AGAIN: Duration = Duration::from_millis(20);

/// Finds the host that accepts writes.
#[derive(Debug)]
pub struct Finder {
    hosts: Vec<Host>,
    login: Login,
    limit: Duration,
    known: std::sync::Mutex<Option<Host>>,
    /// Held by whoever searches; the others wait for what is found.
    search: tokio::sync::Mutex<()>,
}

impl Finder {
    /// Asks `hosts` as `login`; each may take `limit` to answer one question.
    pub fn new(hosts: Vec<Host>, login: Login, limit: Duration) -> Arc<Finder> {
        Arc::new(Finder { hosts, login, limit, known: Default::default(), search: Default::default() })
    }

    /// The host that accepts writes; waits until there is one. Callers that wait share one search.
    pub async fn writable(&self) -> Host {
        if let Some(host) = self.known().clone() {
            return host;
        }
        let _searching = self.search.lock().await;
        if let Some(host) = self.known().clone() {
            return host;
        }
        let host = self.search().await;
        *self.known() = Some(host.clone());
        host
    }

    /// Says that `host` no longer accepts writes, or that a connection to it broke.
    pub fn lost(&self, host: &Host) {
        let mut known = self.known();
        if known.as_ref() == Some(host) {
            *known = None;
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Host>> {
        // Nothing can panic while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every host again and again until one accepts writes. Each is asked at its own pace, so that one
    /// that hangs delays nobody else's answer.
    async fn search(&self) -> Host {
        let mut searches = JoinSet::new();
        for host in self.hosts.clone() {
            let (login, limit) = (self.login.clone(), self.limit);
            searches.spawn(async move {
                loop {
                    let asked = Instant::now();
                    let answer = tokio::time::timeout(limit, accepts_writes(&host, &login, limit)).await;
                    if answer.unwrap_or(false) {
                        return host;
                    }
                    tokio::time::sleep_until((asked + AGAIN).into()).await;
                }
            });
        }
        loop {
            match searches.join_next().await {
                Some(Ok(host)) => return host,
                // No host at all, or searches that died: nothing will ever accept writes.
                None => std::future::pending().await,
                Some(Err(_)) => {}
            }
        }
    }
}

async fn accepts_writes(host: &Host, login: &Login, limit: Duration) -> bool {
    let Ok(client) = connect(host, login, limit).await else { return false };
    matches!(client.query_one("SHOW transaction_read_only", &[]).await, Ok(row) if row.get::<_, &str>(0) == "off")
}
