//! Loading data into the cluster as it stands, standbys and all: what it took, and how far behind it left them.

use super::{FaultError, Reach, Undo};
use crate::cluster::Node;
use crate::etl::load::{self, Loaded, Order, Progress, Settings};
use crate::etl::source::Source;
use crate::metric::Value;
use crate::pg::Lsn;
use crate::pg::connect::{connect, in_words};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::Client;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks how far a standby has replayed: how exactly `etl.lag.gone` is known.
const LOOK: Duration = Duration::from_millis(10);

/// Settings of [`super::Fault::Load`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Which `[data.NAME]`.
    pub data: String,
}

/// Writes a record whose place it gives, and flushes it with all before it: the load's own commits are not flushed until the
/// WAL writer comes round, and what is not flushed is sent to nobody.
const MARK: &str = "pg_logical_emit_message(true, 'pgbench-rs', 'loaded')";

/// The data sets that can be loaded in a trial, and who hears what came of it.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    /// By name: where the rows come from, and how they are loaded.
    pub sets: Arc<BTreeMap<String, (Source, Settings)>>,
    /// Where rejected rows go, a folder for each set.
    pub rejects: PathBuf,
    /// Who hears of loads that went well; nobody, where it is absent.
    pub done: Option<mpsc::UnboundedSender<Done>>,
}

/// A load that went well.
#[derive(Clone, Debug)]
pub struct Done {
    /// The data set.
    pub name: String,
    /// What was loaded, and how long each part of it took.
    pub loaded: Loaded,
    /// Checkpoints that the primary began meanwhile.
    pub checkpoints: i64,
    /// How far behind each standby was at its end, in bytes, and how long it took until that was gone.
    pub lags: Vec<Lag>,
}

/// How a load left a standby.
#[derive(Clone, Debug)]
pub struct Lag {
    /// The standby.
    pub node: String,
    /// Bytes of WAL that it had not replayed when the load ended.
    pub bytes: u64,
    /// How long after that it had.
    pub gone: Duration,
}

impl Load {
    pub(super) async fn inject(&self, nodes: Vec<Arc<Node>>, reach: &Reach) -> Result<Undo, FaultError> {
        let what = "cannot load into";
        let Some(primary) = nodes.first() else { return Err(FaultError::NoTarget { target: "@primary".into() }) };
        let failed = |why: String| FaultError::failed(what, &primary.name, why);
        let Some((source, settings)) = reach.data.sets.get(&self.data) else {
            return Err(failed(format!("there is no data set `{}`", self.data)));
        };
        let order = Order {
            source: source.clone(),
            host: primary.host.clone(),
            login: reach.cluster.login("pgbr-etl"),
            settings: settings.clone(),
            rejects: reach.data.rejects.join(&self.data),
            progress: Arc::new(Progress::new(source)),
        };
        let client = connect(&primary.host, &reach.cluster.login("pgbr-etl"), CONNECT_LIMIT).await;
        let client = client.map_err(|error| failed(error.to_string()))?;
        let before = checkpoints(&client).await.map_err(failed)?;
        // Who gives it up drops it, and with it its sessions.
        let loaded = load::load(order, pending()).await.map_err(|error| failed(error.to_string()))?;
        let ended = Instant::now();
        let end = position(&client, MARK).await.map_err(failed)?;
        let lags = lags(reach, primary, end, ended).await?;
        let checkpoints = checkpoints(&client).await.map_err(failed)? - before;
        if let Some(done) = &reach.data.done {
            // Whoever would hear it is gone with the trial.
            let _ = done.send(Done { name: self.data.clone(), loaded, checkpoints, lags });
        }
        Ok(Undo::Nothing)
    }
}

/// Waits until every standby has replayed up to `end`.
async fn lags(reach: &Reach, primary: &Node, end: Lsn, ended: Instant) -> Result<Vec<Lag>, FaultError> {
    let mut waits = JoinSet::new();
    for node in reach.cluster.nodes.iter().filter(|node| node.name != primary.name && node.is_running()) {
        let (host, login, name) = (node.host.clone(), reach.cluster.login("pgbr-etl"), node.name.clone());
        waits.spawn(async move {
            let failed = |why: String| FaultError::failed("cannot ask how far behind is", &name, why);
            let client = connect(&host, &login, CONNECT_LIMIT).await.map_err(|error| failed(error.to_string()))?;
            let mut bytes = None;
            loop {
                let replayed = position(&client, "pg_last_wal_replay_lsn()").await.map_err(failed)?;
                let behind = end.0.saturating_sub(replayed.0);
                let bytes = *bytes.get_or_insert(behind);
                if behind == 0 {
                    return Ok(Lag { node: name, bytes, gone: ended.elapsed() });
                }
                tokio::time::sleep(LOOK).await;
            }
        });
    }
    let mut lags = Vec::new();
    while let Some(waited) = waits.join_next().await {
        lags.push(waited.unwrap_or_else(|died| Err(FaultError::Died(died.to_string())))?);
    }
    lags.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(lags)
}

async fn position(client: &Client, function: &str) -> Result<Lsn, String> {
    let row = client.query_one(&format!("SELECT {function}::text"), &[]).await.map_err(|error| in_words(&error))?;
    let text: Option<String> = row.get(0);
    text.as_deref().and_then(|text| text.parse().ok()).ok_or_else(|| format!("{function} gives {text:?}"))
}

/// Checkpoints that the server has begun since its statistics were reset.
async fn checkpoints(client: &Client) -> Result<i64, String> {
    let since_17 = "SELECT num_timed + num_requested FROM pg_stat_checkpointer";
    let before = "SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter";
    let version = "SELECT current_setting('server_version_num')::int";
    let said = |error: tokio_postgres::Error| in_words(&error);
    let is_17: bool = client.query_one(version, &[]).await.map_err(said)?.get::<_, i32>(0) >= 170_000;
    let row = client.query_one(if is_17 { since_17 } else { before }, &[]).await.map_err(said)?;
    Ok(row.get(0))
}

impl Done {
    /// For the summary: subjects are the set, `set/table` and `set/table/step`.
    pub fn values(&self) -> Vec<Value> {
        let mut values = loaded_values(&self.name, &self.loaded);
        values.push(Value::new("etl.wal", self.loaded.wal_bytes as f64).subject(&self.name));
        values.push(Value::new("etl.checkpoints", self.checkpoints as f64).subject(&self.name));
        for lag in &self.lags {
            let of = |metric, value| Value::new(metric, value).node(&lag.node).subject(&self.name);
            values.push(of("etl.lag.end", lag.bytes as f64));
            values.push(of("etl.lag.gone", lag.gone.as_secs_f64()));
        }
        values
    }
}

fn loaded_values(name: &str, loaded: &Loaded) -> Vec<Value> {
    let (mut values, total) = (Vec::new(), loaded.total.as_secs_f64());
    let mut sums = [0u64; 3];
    for table in &loaded.tables {
        let subject = format!("{name}/{}", table.name);
        let steps = [
            ("create", table.create),
            ("copy", table.copy),
            ("primary_key", table.primary_key),
            ("indexes", table.indexes),
            ("foreign_keys", table.foreign_keys),
            ("analyze", table.analyze),
        ];
        let mut whole = Duration::ZERO;
        for (step, took) in steps.into_iter().filter_map(|(step, took)| Some((step, took?))) {
            whole += took;
            values.push(Value::new("etl.time", took.as_secs_f64()).subject(format!("{subject}/{step}")));
        }
        values.push(Value::new("etl.time", whole.as_secs_f64()).subject(&subject));
        let counts = [table.loaded, table.rejected, table.bytes];
        for ((metric, count), sum) in ["etl.rows", "etl.rejected", "etl.bytes"].into_iter().zip(counts).zip(&mut sums) {
            values.push(Value::new(metric, count as f64).subject(&subject));
            *sum += count;
        }
    }
    for (metric, sum) in ["etl.rows", "etl.rejected", "etl.bytes"].into_iter().zip(sums) {
        values.push(Value::new(metric, sum as f64).subject(name));
    }
    values.push(Value::new("etl.time", total).subject(name));
    if total > 0.0 {
        values.push(Value::new("etl.rate", sums[0] as f64 / total).subject(name));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etl::load::LoadedTable;
    use crate::metric::catalogue;

    #[test]
    fn every_value_is_declared_and_sums_are_sums() {
        let table = |name: &str, loaded, copy| LoadedTable {
            name: name.into(),
            rows_in: loaded + 1,
            loaded,
            rejected: 1,
            bytes: 100,
            copy: Some(Duration::from_secs(copy)),
            indexes: Some(Duration::from_secs(1)),
            ..LoadedTable::default()
        };
        let done = Done {
            name: "imdb".into(),
            loaded: Loaded {
                source: "imdb",
                tables: vec![table("a", 10, 2), table("b", 30, 3)],
                total: Duration::from_secs(4),
                wal_bytes: 7,
                streams: 2,
                notes: Vec::new(),
            },
            checkpoints: 2,
            lags: vec![Lag { node: "s1".into(), bytes: 5, gone: Duration::from_millis(250) }],
        };
        let values = done.values();
        let find = |metric: &str, subject: &str| {
            let found = values.iter().find(|v| v.metric == metric && v.subject.as_deref() == Some(subject));
            found.map(|value| value.value)
        };
        assert!(values.iter().all(|value| catalogue::find(value.metric).is_some()), "{values:?}");
        assert_eq!(find("etl.time", "imdb"), Some(4.0));
        assert_eq!(find("etl.time", "imdb/b"), Some(4.0));
        assert_eq!(find("etl.time", "imdb/b/copy"), Some(3.0));
        assert_eq!(find("etl.time", "imdb/b/analyze"), None, "what was not done has no time");
        assert_eq!((find("etl.rows", "imdb"), find("etl.rejected", "imdb")), (Some(40.0), Some(2.0)));
        assert_eq!((find("etl.rate", "imdb"), find("etl.lag.gone", "imdb")), (Some(10.0), Some(0.25)));
    }
}
