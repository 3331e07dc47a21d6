//! What a cutover does to servers: no client writes on the old one any more, what a subscription does not bring is
//! brought, other subscribers are moved, and the new one accepts writes.
//!
//! Who may accept writes is told by `default_transaction_read_only`, as any client can ask (libpq's
//! `target_session_attrs=read-write`): on at the one that is to take over until then, and at the old one from then on.
//! Workers that apply changes write all the same.

use super::super::node::Node;
use super::{Initial, SubscriptionSpec};
use crate::base::Name;
use crate::cluster::error::sql;
use crate::cluster::{BuildError, Cluster};
use crate::pg::connect::in_words;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Writes a record whose place it gives, and flushes it with all before it: a worker can then confirm what it applied.
const MARK: &str = "SELECT pg_logical_emit_message(true, 'pgbench-rs', 'cutover')::text";

/// How far a subscriber has applied, whether flushed or not: bytes from `$1` on, of the slot `$2`.
const BEHIND: &str = "SELECT pg_wal_lsn_diff($1::text::pg_lsn, greatest(s.confirmed_flush_lsn, r.replay_lsn))::int8 \
                      FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid \
                      WHERE s.slot_name::text = $2::text";

/// Sequences that were used: schema, name, last value.
const SEQUENCES: &str = "SELECT schemaname::text, sequencename::text, last_value FROM pg_sequences \
                         WHERE last_value IS NOT NULL ORDER BY 1, 2";

/// Tables of people, quoted, without the harness's own.
const TABLES: &str = "SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables \
                      WHERE relname NOT LIKE 'pgbench\\_rs\\_%' ORDER BY 1";

impl Cluster {
    /// Keeps clients from writing on nodes that are to take over one day, and lets those who look for a server that
    /// accepts writes look there, too. Once, before they start.
    pub async fn reserve(&self, nodes: Vec<Name>) -> Result<(), BuildError> {
        for name in &nodes {
            self.accept_writes(self.named(name)?, false).await?;
        }
        // Reserved once.
        let _ = self.successors.set(nodes);
        Ok(())
    }

    /// Lets clients of a node write from now on, or not. Returns when new sessions have heard of it.
    pub async fn accept_writes(&self, node: &Node, accept: bool) -> Result<(), BuildError> {
        let client = self.session(node).await?;
        let (set, wanted) = match accept {
            true => ("ALTER SYSTEM RESET default_transaction_read_only", "off"),
            false => ("ALTER SYSTEM SET default_transaction_read_only = on", "on"),
        };
        let what = "changing whether it accepts writes";
        client.batch_execute(set).await.map_err(sql(node, what))?;
        client.execute("SELECT pg_reload_conf()", &[]).await.map_err(sql(node, what))?;
        loop {
            let fresh = self.untouched(node).await?;
            let row = fresh.query_one("SHOW default_transaction_read_only", &[]).await.map_err(sql(node, what))?;
            if row.get::<_, &str>(0) == wanted {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the sessions of `clients`, names of applications, that began before now, until there are none.
    pub async fn end_sessions(&self, node: &Node, clients: &[&str]) -> Result<(), BuildError> {
        let what = "ending sessions of clients";
        let client = self.session(node).await?;
        let now = client.query_one("SELECT clock_timestamp()::text", &[]).await.map_err(sql(node, what))?;
        let now: String = now.get(0);
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = ANY ($1::text[]) AND backend_start < $2::text::timestamptz";
        while !client.query(end, &[&clients, &now]).await.map_err(sql(node, what))?.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until subscriptions have applied all that `from` has written by now; says within `limit` what is missing.
    pub async fn caught_up(
        &self,
        from: &Node,
        subscriptions: &[SubscriptionSpec],
        limit: Duration,
    ) -> Result<Result<(), String>, BuildError> {
        let what = "waiting for subscribers";
        let source = self.session(from).await?;
        source.batch_execute("SET synchronous_commit = local").await.map_err(sql(from, what))?;
        let mark: String = source.query_one(MARK, &[]).await.map_err(sql(from, what))?.get(0);
        let mut targets = Vec::new();
        for spec in subscriptions {
            let node = self.named(&spec.to)?;
            let client = self.session(node).await?;
            client.batch_execute("SET synchronous_commit = local").await.map_err(sql(node, what))?;
            targets.push((spec, node, client));
        }
        let mut missing = String::new();
        let waiting = async {
            for (spec, node, client) in &targets {
                loop {
                    client.query_one(MARK, &[]).await.map_err(sql(node, what))?;
                    let row = source.query_opt(BEHIND, &[&mark, &spec.slot]).await.map_err(sql(from, what))?;
                    missing = match row.as_ref().map(|row| row.get::<_, Option<i64>>(0)) {
                        Some(Some(..=0)) => break,
                        Some(Some(bytes)) => format!("{}: {bytes} bytes of WAL are missing", spec.subject()),
                        Some(None) => format!("{} has applied nothing", spec.subject()),
                        None => format!("`{}` has no slot `{}`", from.name, spec.slot),
                    };
                    tokio::time::sleep(LOOK).await;
                }
            }
            Ok(())
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(done) => done.map(Ok),
            Err(_) => Ok(Err(missing)),
        }
    }

    /// Sets the sequences of `to` to what they are on `from`; how many.
    pub async fn copy_sequences(&self, from: &Node, to: &Node) -> Result<usize, BuildError> {
        let (source, target) = (self.session(from).await?, self.session(to).await?);
        let set = "SELECT setval(format('%I.%I', $1::text, $2::text)::regclass, $3)";
        let rows = source.query(SEQUENCES, &[]).await.map_err(sql(from, "reading sequences"))?;
        for row in &rows {
            let (schema, name, last): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
            target.execute(set, &[&schema, &name, &last]).await.map_err(sql(to, "setting a sequence"))?;
        }
        Ok(rows.len())
    }

    /// Lets a subscription to `from` go on from `to`, which has all that it had there: the same publications and a slot
    /// are made there. The subscription itself is made anew, for it would go on at its position in the old server's WAL.
    pub async fn move_subscription(
        &self,
        spec: &SubscriptionSpec,
        from: &Node,
        to: &Arc<Node>,
    ) -> Result<(), BuildError> {
        self.unsubscribe(spec).await?;
        let client = self.session(to).await?;
        for publication in self.publications.get().into_iter().flatten() {
            let there = "SELECT FROM pg_publication WHERE pubname::text = $1::text";
            let there =
                client.query_opt(there, &[&publication.name]).await.map_err(sql(to, "looking for publications"))?;
            if there.is_none() && publication.on == from.name && spec.publications.contains(&publication.name) {
                let moved = super::PublicationSpec { on: to.name.clone(), ..publication.clone() };
                self.publish_one(&moved).await?;
            }
        }
        let moved = SubscriptionSpec { from: to.name.clone(), copy: Initial::None, ..spec.clone() };
        self.create_subscription(&moved).await?;
        self.change(|all| all.push(moved));
        Ok(())
    }

    /// Drops a subscription, and with it its slot.
    pub async fn unsubscribe(&self, spec: &SubscriptionSpec) -> Result<(), BuildError> {
        let node = self.named(&spec.to)?;
        let drop = format!("DROP SUBSCRIPTION \"{}\"", spec.name);
        self.session(node).await?.batch_execute(&drop).await.map_err(sql(node, "dropping a subscription"))?;
        self.change(|all| all.retain(|one| one != spec));
        Ok(())
    }

    fn change(&self, how: impl FnOnce(&mut Vec<SubscriptionSpec>)) {
        how(&mut self.subscriptions.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Tables that subscriptions of a node bring.
    pub async fn brought_to(&self, node: &Node) -> Result<Vec<String>, BuildError> {
        let tables = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_subscription_rel s \
                      JOIN pg_class c ON c.oid = s.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace";
        let rows = self.session(node).await?.query(tables, &[]).await;
        Ok(rows.map_err(sql(node, "reading what is subscribed"))?.iter().map(|row| row.get(0)).collect())
    }

    /// Sequences of `to` that would give values again that `from` has given, in words.
    pub async fn sequences_behind(&self, from: &Node, to: &Node) -> Result<Vec<String>, BuildError> {
        let (source, target) = (self.session(from).await?, self.session(to).await?);
        let here = source.query(SEQUENCES, &[]).await.map_err(sql(from, "reading sequences"))?;
        let there = target.query(SEQUENCES, &[]).await.map_err(sql(to, "reading sequences"))?;
        let key = |row: &tokio_postgres::Row| (row.get::<_, String>(0), row.get::<_, String>(1));
        let mut behind = Vec::new();
        for row in &here {
            let last: i64 = row.get(2);
            let own: Option<i64> = there.iter().find(|other| key(other) == key(row)).map(|other| other.get(2));
            if own.is_none_or(|own| own < last) {
                let (own, (schema, name)) = (own.map_or("nothing yet".to_owned(), |own| own.to_string()), key(row));
                let (from, to) = (&from.name, &to.name);
                behind.push(format!("the sequence {schema}.{name} has given {own} on {to}, and {last} on {from}"));
            }
        }
        Ok(behind)
    }

    /// A session in which what `to` holds at this moment can be compared later.
    pub async fn as_of_now(&self, to: &Node) -> Result<Client, BuildError> {
        let client = self.session(to).await?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT";
        client.batch_execute(begin).await.map_err(sql(to, "beginning a comparison"))?;
        Ok(client)
    }

    /// Tables that no subscription brought and that differ on `to`, of which `then` is a session, in words.
    pub async fn not_brought(
        &self,
        from: &Node,
        (to, then): (&Node, Client),
        brought: &[String],
    ) -> Result<Vec<String>, BuildError> {
        let source = self.session(from).await?;
        let what = "comparing what is not published";
        let mut differing = Vec::new();
        for row in source.query(TABLES, &[]).await.map_err(sql(from, what))? {
            let table: String = row.get(0);
            if brought.contains(&table) {
                continue;
            }
            let sum = format!("SELECT count(*), sum(hashtextextended(t::text, 0)::numeric)::text FROM {table} AS t");
            let one = |row: tokio_postgres::Row| (row.get::<_, i64>(0), row.get::<_, Option<String>>(1));
            let here = source.query_one(&sum, &[]).await.map(one).map_err(sql(from, what))?;
            match then.query_one(&sum, &[]).await.map(one) {
                Ok(there) if there == here => {}
                Ok((rows, _)) => differing.push(format!(
                    "the table {table} is not published: {} rows on {}, {rows} others on {}",
                    here.0, from.name, to.name
                )),
                Err(error) => differing.push(format!("the table {table} is not on {}: {}", to.name, in_words(&error))),
            }
        }
        Ok(differing)
    }

    /// Who is left with `from`, and whom `to` lacks, in words.
    pub fn left_behind(&self, from: &Node, to: &Node) -> Vec<String> {
        let of =
            |head: &str| self.nodes.iter().filter(|node| node.name != head && self.head(node).name == head).count();
        let still =
            |spec: &&SubscriptionSpec| self.node(&spec.from).is_some_and(|node| self.head(node).name == from.name);
        let subscribers = self.subscriptions();
        let subscribers = subscribers.iter().filter(still);
        let mut left: Vec<String> =
            subscribers.map(|spec| format!("{}.{} still subscribes to {}", spec.to, spec.name, spec.from)).collect();
        let (had, has) = (of(&from.name), of(&to.name));
        if has < had {
            left.push(format!("{} has {has} standbys, and {} had {had}", to.name, from.name));
        }
        left
    }
}
