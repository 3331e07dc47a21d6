//! What it costs the primary that others still need old rows, and what it costs them that it removes them: growth of tables
//! and catalogs, dead rows, and conflicts of standbys with what they replay.
//!
//! Read at the beginning and at the end of a trial, from whoever can be reached. Dead rows are the server's own estimate.
//!
//! Summary: `bloat.growth` and `bloat.dead` of the primary, `tables` and `catalogs` as subject; `standby.conflicts`, with
//! what the conflict was about.

use crate::metric::Value;
use crate::pg::connect::{connect, in_words};
use crate::pg::{Host, Login};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Client;

const LIMIT: Duration = Duration::from_secs(10);

/// Where, bytes, and dead rows.
const SIZES: &str = "\
    SELECT CASE WHEN n.nspname = 'pg_catalog' THEN 'catalogs' ELSE 'tables' END, \
    sum(pg_total_relation_size(c.oid))::int8, coalesce(sum(s.n_dead_tup), 0)::int8 \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid \
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('information_schema', 'pg_toast') GROUP BY 1";

/// Kinds of conflicts and how many there were.
const CONFLICTS: &str = "\
    SELECT replace(key, 'confl_', ''), value::int8 \
    FROM pg_stat_database_conflicts c, jsonb_each_text(to_jsonb(c)) \
    WHERE c.datname = current_database() AND key LIKE 'confl\\_%' AND pg_is_in_recovery()";

/// `[probe.bloat]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bloat {}

/// What was there at the beginning.
#[derive(Debug)]
pub struct Running {
    primary: Host,
    standbys: Vec<Host>,
    login: Login,
    sizes: BTreeMap<String, i64>,
    conflicts: Vec<BTreeMap<String, i64>>,
}

impl Running {
    /// Reads `primary` and `standbys`.
    pub async fn start(primary: Host, standbys: Vec<Host>, login: Login) -> Result<Running, String> {
        let client = session(&primary, &login).await?;
        let sizes = sizes(&client).await?.into_iter().map(|(subject, (bytes, _))| (subject, bytes)).collect();
        let mut conflicts = Vec::new();
        for host in &standbys {
            conflicts.push(counts(&session(host, &login).await?).await?);
        }
        Ok(Running { primary, standbys, login, sizes, conflicts })
    }

    /// Reads again. Who cannot be reached any more has no figures.
    pub async fn stop(self) -> Vec<Value> {
        let mut values = Vec::new();
        if let Ok(client) = session(&self.primary, &self.login).await {
            for (subject, (bytes, dead)) in sizes(&client).await.unwrap_or_default() {
                let of =
                    |metric, value: i64| Value::new(metric, value as f64).node(&self.primary.node).subject(&subject);
                values.extend(self.sizes.get(&subject).map(|before| of("bloat.growth", bytes - before)));
                values.push(of("bloat.dead", dead));
            }
        }
        for (host, before) in self.standbys.iter().zip(&self.conflicts) {
            let Ok(client) = session(host, &self.login).await else { continue };
            for (kind, count) in counts(&client).await.unwrap_or_default() {
                let count = count - before.get(&kind).copied().unwrap_or_default();
                values.push(Value::new("standby.conflicts", count as f64).node(&host.node).subject(kind));
            }
        }
        values
    }
}

async fn session(host: &Host, login: &Login) -> Result<Client, String> {
    connect(host, login, LIMIT).await.map_err(|error| format!("node `{}`: {error}", host.node))
}

async fn sizes(client: &Client) -> Result<BTreeMap<String, (i64, i64)>, String> {
    let rows = client.query(SIZES, &[]).await.map_err(|error| in_words(&error))?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

async fn counts(client: &Client) -> Result<BTreeMap<String, i64>, String> {
    let rows = client.query(CONFLICTS, &[]).await.map_err(|error| in_words(&error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
