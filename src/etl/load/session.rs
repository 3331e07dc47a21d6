//! Sessions of a load: connected, set, and ended when the load ends before they do.

use super::Order;
use super::error::{Doing, LoadError};
use crate::etl::table::quoted;
use crate::pg::Login;
use crate::pg::connect::connect;
use postgres_protocol::escape::escape_literal;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest that the end of sessions is waited for.
const ENDING: Duration = Duration::from_secs(20);
/// Between two looks whether they have ended.
const LOOK: Duration = Duration::from_millis(20);
/// The server looks so often, in the middle of a statement, whether its client is still there.
const CHECK: &str = "2s";
/// The first version that can.
const CHECKS_SINCE: i32 = 140_000;

/// The sessions that were opened, by the process of each in the server.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Vec<i32>>);

impl Sessions {
    /// Opens one with the settings of the load.
    pub async fn open(&self, order: &Order) -> Result<Client, LoadError> {
        let login = Login { application_name: "pgbench-rs load".into(), ..order.login.clone() };
        let client = connect(&order.host, &login, CONNECT).await?;
        let about = "SELECT pg_backend_pid(), current_setting('server_version_num')::int";
        let row = client.query_one(about, &[]).await.doing(|| "a new session".into())?;
        let (pid, version): (i32, i32) = (row.get(0), row.get(1));
        if let Ok(mut pids) = self.0.lock() {
            pids.push(pid);
        }
        if version >= CHECKS_SINCE {
            let check = format!("SET client_connection_check_interval = '{CHECK}'");
            // Not every system has it; without it a dead load's statement runs to its end.
            let _ = client.batch_execute(&check).await;
        }
        for (name, value) in &order.settings.session {
            let set = client.batch_execute(&format!("SET {} = {}", quoted(name), escape_literal(value))).await;
            set.map_err(|error| LoadError::Setting { name: name.clone(), why: crate::pg::connect::in_words(&error) })?;
        }
        Ok(client)
    }

    /// Ends those that are still there, with what they do, from `client`, which is none of them; returns when none is left.
    pub async fn end(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let pids = self.0.lock().map(|pids| pids.clone()).unwrap_or_default();
        // A process of the same number may be another's by now: what is not a load's is left alone.
        let theirs = "FROM pg_stat_activity WHERE pid = ANY($1) AND pid <> pg_backend_pid() \
                      AND application_name = 'pgbench-rs load'";
        client.execute(&format!("SELECT pg_terminate_backend(pid) {theirs}"), &[&pids]).await?;
        let limit = Instant::now() + ENDING;
        while client.query_one(&format!("SELECT count(*) {theirs}"), &[&pids]).await?.get::<_, i64>(0) > 0 {
            if Instant::now() > limit {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
