//! Carrying out what was decided. Every action may be repeated: it looks first whether it is done.

use crate::base::Name;
use crate::base::clock::Clock;
use crate::cluster::Cluster;
use crate::cluster::node::Node;
use crate::driver::Shutdown;
use crate::failover::{Act, Action, Completion, Done};
use crate::net::Party;
use crate::pg::connect::connect;
use crate::pg::{Login, Lsn};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// How long a connection for an action may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a promotion may take: what was received and not replayed is replayed first.
const PROMOTE: Duration = Duration::from_secs(60);
/// How long other statements may take; a checkpoint writes all that is dirty.
const STATEMENT: Duration = Duration::from_secs(60);
/// Time between looks whether a promoted server accepts writes. `pg_promote(wait => true)` looks every 100 ms.
const LOOK: Duration = Duration::from_millis(5);

/// Carries out `action` and says how that went.
pub(super) async fn carry_out(cluster: Arc<Cluster>, login: Login, clock: Clock, action: Action) -> Completion {
    let to = Tools { cluster: &cluster, login: &login, clock };
    let result = match &action.act {
        Act::Fence { node } => to.fence(node).await,
        Act::Promote { node } => limited(PROMOTE, to.promote(node)).await,
        Act::Repoint { node, upstream } => limited(STATEMENT, to.repoint(node, upstream)).await,
        Act::Checkpoint { node } => limited(STATEMENT, to.checkpoint(node)).await,
        Act::Stop { node, until } => to.stop(node, *until).await,
        Act::Start { node } => to.start(node).await,
        Act::Rejoin { node, upstream } => to.rejoin(node, upstream).await,
    };
    Completion { action, at: clock.elapsed(), result }
}

async fn limited(limit: Duration, act: impl Future<Output = Result<Done, String>>) -> Result<Done, String> {
    tokio::time::timeout(limit, act).await.unwrap_or_else(|_| Err(format!("it took longer than {limit:?}")))
}

struct Tools<'a> {
    cluster: &'a Cluster,
    login: &'a Login,
    clock: Clock,
}

impl Tools<'_> {
    fn node(&self, name: &Name) -> Result<&Arc<Node>, String> {
        self.cluster.node(name).ok_or_else(|| format!("there is no node `{name}`"))
    }

    async fn connect(&self, node: &Node) -> Result<Client, String> {
        connect(&self.cluster.ways().host(&Party::Manager, &node.host), self.login, CONNECT)
            .await
            .map_err(|error| error.to_string())
    }

    async fn fence(&self, node: &Name) -> Result<Done, String> {
        let proof = self.node(node)?.fence().await.map_err(|error| error.to_string())?;
        Ok(Done::Fenced(proof.to_string()))
    }

    async fn promote(&self, node: &Name) -> Result<Done, String> {
        let client = self.connect(self.node(node)?).await?;
        let mut asked = false;
        loop {
            let state = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";
            let row = client.query_one(state, &[]).await.map_err(sql)?;
            match (row.get::<_, bool>(0), row.get::<_, bool>(1)) {
                (false, false) => return Ok(Done::Done),
                (true, _) if !asked => {
                    client.execute("SELECT pg_promote(wait => false)", &[]).await.map_err(sql)?;
                    asked = true;
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn repoint(&self, node: &Name, upstream: &Name) -> Result<Done, String> {
        let (node, upstream) = (self.node(node)?, self.node(upstream)?);
        self.slot(node, upstream).await?;
        let client = self.connect(node).await?;
        // Each alone: ALTER SYSTEM refuses to run in a transaction.
        let conninfo = node.primary_conninfo(&self.cluster.way(node, upstream)).replace('\'', "''");
        client.batch_execute(&format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'")).await.map_err(sql)?;
        if let Some(slot) = node.slot_name() {
            client.batch_execute(&format!("ALTER SYSTEM SET primary_slot_name = '{slot}'")).await.map_err(sql)?;
        }
        client.execute("SELECT pg_reload_conf()", &[]).await.map_err(sql)?;
        Ok(Done::Done)
    }

    /// Makes the slot that `node` uses, where it will use it.
    async fn slot(&self, node: &Node, upstream: &Node) -> Result<(), String> {
        let Some(slot) = node.slot_name() else { return Ok(()) };
        let create = "SELECT pg_create_physical_replication_slot($1, true) \
                      WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)";
        self.connect(upstream).await?.execute(create, &[&slot]).await.map_err(sql)?;
        Ok(())
    }

    async fn checkpoint(&self, node: &Name) -> Result<Done, String> {
        let client = self.connect(self.node(node)?).await?;
        client.batch_execute("CHECKPOINT").await.map_err(sql)?;
        let row = client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.map_err(sql)?;
        row.get::<_, &str>(0).parse::<Lsn>().map(Done::At)
    }

    async fn stop(&self, node: &Name, until: Duration) -> Result<Done, String> {
        let node = self.node(node)?;
        let limit = until.saturating_sub(self.clock.elapsed());
        let stopped = node.stop(Shutdown::Fast, limit).await.map_err(|error| error.to_string())?;
        if stopped.killed {
            return Err(stopped.to_string());
        }
        node.shutdown_checkpoint().await.map(Done::At).map_err(|error| error.to_string())
    }

    async fn start(&self, node: &Name) -> Result<Done, String> {
        let node = self.node(node)?;
        if !node.is_running() {
            node.start().await.map_err(|error| error.to_string())?;
        }
        Ok(Done::Done)
    }

    async fn rejoin(&self, node: &Name, upstream: &Name) -> Result<Done, String> {
        let (node, upstream) = (self.node(node)?, self.node(upstream)?);
        if !node.is_running() {
            self.slot(node, upstream).await?;
            let followed = node.follow_on_start(&self.cluster.way(node, upstream)).await;
            followed.map_err(|error| error.to_string())?;
            node.start().await.map_err(|error| error.to_string())?;
        }
        Ok(Done::Done)
    }
}

fn sql(error: tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} (SQLSTATE {})", error.message(), error.code().code()),
        None => error.to_string(),
    }
}
