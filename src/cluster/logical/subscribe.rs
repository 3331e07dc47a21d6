//! Making publications and subscriptions, and waiting until they bring changes.

use super::catalogue::{Published, any_of, published};
use super::{Initial, PublicationSpec, Subscribed, SubscriptionSpec, Tables};
use crate::base::wait::{self, Poll, WaitError};
use crate::cluster::error::sql;
use crate::cluster::node::Node;
use crate::cluster::{BuildError, CONNECT_LIMIT, Cluster};
use crate::driver::start::whole;
use crate::pg::Host;
use crate::pg::connect::connect;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// How long the initial copy of a subscription may take.
const COPY_LIMIT: Duration = Duration::from_secs(600);
/// Time between two looks whether it is done: the resolution of what it is said to have taken.
const LOOK: Duration = Duration::from_millis(10);
/// Time between two hints to a standby that is to make a slot.
const HINT: Duration = Duration::from_millis(100);

impl Cluster {
    /// Makes publications.
    pub async fn publish(&self, publications: &[PublicationSpec]) -> Result<(), BuildError> {
        for publication in publications {
            self.publish_one(publication).await?;
        }
        // Made once, with the cluster.
        let _ = self.publications.set(publications.to_vec());
        Ok(())
    }

    pub(super) async fn publish_one(&self, publication: &PublicationSpec) -> Result<(), BuildError> {
        let node = self.named(&publication.on)?;
        let client = self.session(node).await?;
        client.batch_execute(&create(publication)).await.map_err(sql(node, "creating a publication"))
    }

    /// Makes subscriptions, each after those that bring to its publisher what it passes on, and waits until each has
    /// all its tables and is applying.
    pub async fn subscribe(&self, subscriptions: &[SubscriptionSpec]) -> Result<Vec<Subscribed>, BuildError> {
        for node in &self.nodes {
            let to_it: Vec<&SubscriptionSpec> = subscriptions.iter().filter(|one| one.to == node.name).collect();
            let kept: Vec<_> = to_it.iter().copied().filter(|one| one.copy == Initial::None).collect();
            if !to_it.is_empty() {
                self.make_room(node, &to_it, &kept).await?;
            }
        }
        let (mut made, mut pending): (Vec<Subscribed>, Vec<&SubscriptionSpec>) =
            (Vec::new(), subscriptions.iter().collect());
        while !pending.is_empty() {
            let is_fed = |one: &&SubscriptionSpec| {
                let head = self.node(&one.from).map(|from| self.head(from).name.as_str());
                !pending.iter().any(|other| Some(other.to.as_str()) == head)
            };
            let (ready, later): (Vec<&SubscriptionSpec>, Vec<_>) = pending.iter().copied().partition(is_fed);
            if ready.is_empty() {
                let names = later.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(BuildError::Topology(format!("subscriptions feed each other in a circle: {names}")));
            }
            for spec in ready {
                made.push(self.subscribe_one(spec).await?);
            }
            pending = later;
        }
        *self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner) = subscriptions.to_vec();
        Ok(made)
    }

    /// Makes a subscription anew that was dropped, with a copy of its tables.
    pub async fn resubscribe(&self, spec: &SubscriptionSpec) -> Result<Subscribed, BuildError> {
        let all = self.subscriptions();
        let others = all.iter().filter(|one| one.to == spec.to && one.name != spec.name);
        let spec = SubscriptionSpec { copy: Initial::Initial, ..spec.clone() };
        let node = self.named(&spec.to)?;
        self.make_room(node, &[&spec], &others.collect::<Vec<_>>()).await?;
        self.subscribe_one(&spec).await
    }

    async fn subscribe_one(&self, spec: &SubscriptionSpec) -> Result<Subscribed, BuildError> {
        let from = self.named(&spec.from)?;
        let began = Instant::now();
        let making = async {
            self.create_subscription(spec).await?;
            self.applies(spec).await?;
            self.synced(spec).await
        };
        match from.follows {
            None => making.await?,
            // Its slots, those of copies too, wait for a record of running transactions, which an idle primary does not
            // write.
            Some(_) => tokio::select! {
                made = making => made?,
                failed = self.hint(self.head(from)) => failed?,
            },
        }
        Ok(Subscribed { spec: spec.clone(), took: began.elapsed() })
    }

    /// Makes a subscription with its slot: from here on it misses nothing.
    pub(super) async fn create_subscription(&self, spec: &SubscriptionSpec) -> Result<(), BuildError> {
        let (from, to) = (self.named(&spec.from)?, self.named(&spec.to)?);
        let client = self.session(to).await?;
        let conninfo = to.publisher_conninfo(&self.publishers(from, to));
        let created = client.batch_execute(&create_subscription(spec, &conninfo)).await;
        created.map_err(sql(to, "creating a subscription"))
    }

    /// Where `to` finds what `from` publishes: there, or where one of its standbys was promoted. A standby that decodes is
    /// meant itself.
    fn publishers(&self, from: &Arc<Node>, to: &Node) -> Vec<Host> {
        let mut nodes = vec![from];
        if from.follows.is_none() {
            nodes.extend(self.nodes.iter().filter(|node| node.name != from.name && self.head(node).name == from.name));
        }
        nodes.into_iter().map(|node| self.way(to, node)).collect()
    }

    /// Waits until standbys that bring slots over have that of a subscription, if it is to be brought over.
    async fn synced(&self, spec: &SubscriptionSpec) -> Result<(), BuildError> {
        if !spec.options.contains(&("failover", "true")) {
            return Ok(());
        }
        let from = self.named(&spec.from)?;
        let there = "SELECT current_setting('sync_replication_slots') = 'off' OR EXISTS (SELECT FROM pg_replication_slots \
                     WHERE slot_name::text = $1::text AND synced AND NOT temporary AND invalidation_reason IS NULL)";
        for standby in self.nodes.iter().filter(|node| node.follows.as_ref() == Some(&from.name)) {
            let client = self.session(standby).await?;
            let look = || async {
                match client.query_one(there, &[&spec.slot]).await {
                    Ok(row) if row.get(0) => Poll::<_, Infallible>::Done(()),
                    Ok(_) => Poll::not_yet(format!("{} does not have its slot yet", standby.name)),
                    Err(error) => Poll::not_yet(whole(&error)),
                }
            };
            // A slot is only brought over when it has gone on after the standby began to keep WAL for it.
            let waited = tokio::select! {
                waited = wait::until(COPY_LIMIT, LOOK, look) => waited,
                failed = self.hint(from) => return failed,
            };
            waited.map_err(|error| self.not_subscribed(spec, error))?;
        }
        Ok(())
    }

    fn not_subscribed(&self, spec: &SubscriptionSpec, error: WaitError<Infallible>) -> BuildError {
        let WaitError::Timeout { waited, last_status } = error;
        BuildError::Subscribing {
            subscription: spec.name.clone(),
            subscriber: spec.to.clone(),
            waited,
            last_status,
            log: self.node(&spec.to).and_then(|node| node.log()).map(ToOwned::to_owned),
        }
    }

    /// Lets a primary say over and over which transactions are running.
    async fn hint(&self, primary: &Node) -> Result<(), BuildError> {
        let client = self.session(primary).await?;
        loop {
            let hinted = client.execute("SELECT pg_log_standby_snapshot()", &[]).await;
            hinted.map_err(sql(primary, "logging a snapshot for its standbys"))?;
            tokio::time::sleep(HINT).await;
        }
    }

    /// Removes from the tables that `all` bring what `kept` do not carry: what is to come anew, and what nobody brings.
    async fn make_room(
        &self,
        node: &Node,
        all: &[&SubscriptionSpec],
        kept: &[&SubscriptionSpec],
    ) -> Result<(), BuildError> {
        let mut tables: BTreeMap<String, Vec<Published>> = BTreeMap::new();
        for spec in all {
            for part in self.published_for(spec).await? {
                tables.entry(part.table).or_default();
            }
        }
        for spec in kept {
            for part in self.published_for(spec).await? {
                if let Some(parts) = tables.get_mut(&part.table) {
                    parts.push(part);
                }
            }
        }
        let client = self.session(node).await?;
        for (table, kept) in tables {
            let remove = match (kept.is_empty(), any_of(kept.iter())) {
                (true, _) => format!("TRUNCATE {table}"),
                (false, Some(filter)) => format!("DELETE FROM {table} WHERE ({filter}) IS NOT TRUE"),
                (false, None) => continue,
            };
            client.batch_execute(&remove).await.map_err(sql(node, "making room for a subscription"))?;
        }
        Ok(())
    }

    async fn published_for(&self, spec: &SubscriptionSpec) -> Result<Vec<Published>, BuildError> {
        let from = self.head(self.named(&spec.from)?);
        let all = published(&self.session(from).await?, &spec.publications).await;
        all.map_err(sql(from, "asking what it publishes"))
    }

    /// Waits until all tables of a subscription are there and its worker applies changes.
    async fn applies(&self, spec: &SubscriptionSpec) -> Result<(), BuildError> {
        let client = self.session(self.named(&spec.to)?).await?;
        let state = "SELECT (SELECT count(*) FROM pg_subscription_rel WHERE srsubid = s.oid AND srsubstate <> 'r'), \
                     (SELECT count(*) FROM pg_subscription_rel WHERE srsubid = s.oid), \
                     EXISTS (SELECT FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.pid IS NOT NULL) \
                     FROM pg_subscription s WHERE s.subname = $1::text";
        let look = || async {
            match client.query_one(state, &[&spec.name]).await {
                Ok(row) => match (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, bool>(2)) {
                    (0, _, true) => Poll::<_, Infallible>::Done(()),
                    (0, _, false) => Poll::not_yet("no worker applies changes"),
                    (missing, all, _) => Poll::not_yet(format!("{missing} of {all} tables are not there yet")),
                },
                Err(error) => Poll::not_yet(whole(&error)),
            }
        };
        let waited = wait::until(COPY_LIMIT, LOOK, look).await;
        waited.map_err(|error| self.not_subscribed(spec, error))
    }

    pub(super) fn named(&self, name: &str) -> Result<&Arc<Node>, BuildError> {
        self.node(name).ok_or_else(|| BuildError::Topology(format!("there is no node `{name}`")))
    }

    /// A session that may write, whatever clients may.
    pub(super) async fn session(&self, node: &Node) -> Result<Client, BuildError> {
        let client = self.untouched(node).await?;
        let writing = client.batch_execute("SET default_transaction_read_only = off").await;
        writing.map_err(sql(node, "setting up a session"))?;
        Ok(client)
    }

    /// A session as clients have it.
    pub(super) async fn untouched(&self, node: &Node) -> Result<Client, BuildError> {
        Ok(connect(&node.host, &self.login("pgbench-rs build"), CONNECT_LIMIT).await?)
    }
}

fn create(publication: &PublicationSpec) -> String {
    let tables = match &publication.tables {
        Tables::All => "FOR ALL TABLES".to_owned(),
        Tables::Listed(tables) => {
            let table = |(name, part): (&String, &super::Part)| {
                let columns =
                    part.columns.as_ref().map(|columns| columns.iter().map(|name| ident(name)).collect::<Vec<_>>());
                let columns = columns.map_or_else(String::new, |columns| format!(" ({})", columns.join(", ")));
                let filter = part.filter.as_ref().map_or_else(String::new, |filter| format!(" WHERE ({filter})"));
                ident(name) + &columns + &filter
            };
            format!("FOR TABLE {}", tables.iter().map(table).collect::<Vec<_>>().join(", "))
        }
    };
    format!("CREATE PUBLICATION {} {tables}", ident(&publication.name))
}

fn create_subscription(spec: &SubscriptionSpec, conninfo: &str) -> String {
    let publications: Vec<String> = spec.publications.iter().map(|name| ident(name)).collect();
    let copy = if spec.copy == Initial::Initial { "true" } else { "false" };
    let own = [("slot_name", literal(&spec.slot)), ("copy_data", copy.to_owned())];
    let others = spec.options.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let options: Vec<String> = own.into_iter().chain(others).map(|(name, value)| format!("{name} = {value}")).collect();
    format!(
        "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH ({})",
        ident(&spec.name),
        literal(conninfo),
        publications.join(", "),
        options.join(", ")
    )
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    // With `standard_conforming_strings`, the default, a backslash is one.
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;

    #[test]
    fn statements_quote_what_is_given() {
        let part = Part { filter: Some("topic = 'art'".into()), columns: Some(vec!["id".into(), "topic".into()]) };
        let tables = Tables::Listed([("books".to_owned(), part)].into_iter().collect());
        let publication = PublicationSpec { name: "p".into(), on: "a".into(), tables };
        assert_eq!(
            create(&publication),
            "CREATE PUBLICATION \"p\" FOR TABLE \"books\" (\"id\", \"topic\") WHERE (topic = 'art')"
        );
        let subscription = SubscriptionSpec {
            name: "s".into(),
            from: "a".into(),
            to: "b".into(),
            publications: vec!["p".into(), "q".into()],
            slot: "s".into(),
            copy: Initial::None,
            options: vec![("streaming", "on")],
        };
        assert_eq!(
            create_subscription(&subscription, "host=x passfile='/it'"),
            "CREATE SUBSCRIPTION \"s\" CONNECTION 'host=x passfile=''/it''' PUBLICATION \"p\", \"q\" \
             WITH (slot_name = 's', copy_data = false, streaming = on)"
        );
    }

    #[test]
    fn one_publication_without_a_filter_carries_all_rows() {
        let part = |filter: Option<&str>| Published {
            table: "t".into(),
            name: "t".into(),
            columns: Vec::new(),
            filter: filter.map(str::to_owned),
        };
        assert_eq!(any_of([part(Some("a")), part(None)].iter()), None);
        assert_eq!(any_of([part(Some("a")), part(Some("b"))].iter()).as_deref(), Some("(a) OR (b)"));
    }
}
