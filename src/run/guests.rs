//! Tables in databases of servers that somebody else runs: made when the first trial needs them, made anew before every
//! other as a template would hold them, and dropped at the end, however that comes. pgbench's tables that were there
//! before are used as they are and left; a table of a probe that is there is another run's, and an error.

use super::progress::Progress;
use crate::base::inventory::{Id, Thing};
use crate::base::wait::{self, Poll, WaitError};
use crate::cluster::{Cluster, Node};
use crate::driver::Workplace;
use crate::etl::pgbench::{self, Found, Whose};
use crate::pg::Host;
use crate::pg::connect::{connect, in_words};
use crate::probe::{ledger, visibility};
use crate::scenario::Scenario;
use anyhow::{Context, anyhow, bail};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Error};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long is looked for a server that accepts writes in the end, and how often.
const FIND: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);
/// How long dropping may wait for sessions of others.
const DROP: Duration = Duration::from_secs(60);
/// Time between two looks whether a standby has replayed what was made.
const LOOK: Duration = Duration::from_millis(20);
const PGBENCH: &str = "pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers";

/// All databases that were made use of.
#[derive(Debug, Default)]
pub struct Guests(Vec<Guest>);

/// One database.
#[derive(Debug)]
struct Guest {
    /// Which, in words and without a password.
    database: String,
    /// All servers that may hold it by now.
    hosts: Vec<Host>,
    /// Tables of pgbench, when they were looked at: their scale, and whose they are.
    pgbench: Option<(u32, Whose)>,
    /// What is to be dropped: names, and the inventory's entry.
    made: Vec<(&'static str, Id)>,
    /// The session that keeps other runs out; see [`alone`].
    _alone: Client,
}

impl Guests {
    /// Lets the cluster hold what a trial of `scenario` starts from, standbys included.
    pub async fn ready(
        &mut self,
        cluster: &Cluster,
        scenario: &Scenario,
        place: &Workplace,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let primary = cluster.nodes.iter().find(|node| node.began_as_primary).context("there is no primary")?;
        let client = connect(&primary.host, &place.login("pgbench-rs prepare"), CONNECT_LIMIT).await?;
        let database = in_words_of(&primary.host);
        let known = self.0.iter().position(|guest| guest.database == database);
        let index = known.unwrap_or(self.0.len());
        if known.is_none() {
            let _alone = alone(&primary.host, &database, place).await?;
            self.0.push(Guest { database, hosts: cluster.hosts(), pgbench: None, made: Vec::new(), _alone });
        }
        let guest = &mut self.0[index];
        if let Some(scale) = scenario.scale() {
            guest.pgbench(&client, scale, place, progress).await?;
        }
        let said = |table: &'static str| move |error: Error| anyhow!("{table}: {}", in_words(&error));
        if scenario.probe.ledger.is_some() {
            guest.meet(&client, ledger::TABLE, place).await?;
            ledger::prepare(&client).await.map_err(said(ledger::TABLE))?;
        }
        if scenario.probe.visibility.is_some() {
            guest.meet(&client, visibility::TABLE, place).await?;
            visibility::prepare(&client).await.map_err(said(visibility::TABLE))?;
        }
        let position = "SELECT pg_current_wal_lsn()::text";
        let row = client.query_one(position, &[]).await.map_err(|error| anyhow!("{}", in_words(&error)))?;
        for node in cluster.nodes.iter().filter(|node| !node.began_as_primary) {
            replayed(node, row.get(0), place).await?;
        }
        Ok(())
    }

    /// Drops what was made. What cannot be dropped is said, and stays in the inventory.
    pub async fn leave(&mut self, place: &Workplace, progress: &Progress) {
        for guest in self.0.drain(..).filter(|guest| !guest.made.is_empty()) {
            let names: Vec<&str> = guest.made.iter().map(|(names, _)| *names).collect();
            let dropped = tokio::time::timeout(DROP, guest.drop_all(place)).await;
            match dropped.unwrap_or_else(|_| Err(anyhow!("it took longer than {DROP:?}"))) {
                Ok(()) => {
                    for (_, entry) in &guest.made {
                        if let Err(error) = place.setup.inventory.gone(*entry) {
                            progress.say(&format!("warning: {error}"));
                        }
                    }
                }
                Err(error) => progress.say(&format!(
                    "warning: tables of ours are left in {}: {error:#}\nhint: DROP TABLE IF EXISTS {}",
                    guest.database,
                    names.join(", ")
                )),
            }
        }
    }
}

impl Guest {
    /// pgbench's tables. Ours are filled anew for every trial; theirs go on from where they stand.
    async fn pgbench(
        &mut self,
        client: &Client,
        scale: u32,
        place: &Workplace,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let say = |rows, of| progress.doing(&format!("filling pgbench's tables: {rows} of {of} accounts"));
        let said = |error: Error| anyhow!("pgbench's tables: {}", in_words(&error));
        if let Some((_, Whose::Ours)) = self.pgbench {
            self.pgbench = Some((scale, Whose::Ours));
            return pgbench::fill(client, scale, say).await.map_err(said);
        }
        if pgbench::scale_of(client).await.map_err(said)? == Found::Nothing {
            // Noted before they are made, in case that is broken off.
            self.note(PGBENCH, place)?;
            self.pgbench = Some((scale, Whose::Ours));
        }
        let whose = pgbench::ready(client, scale, say).await?;
        if whose == Whose::Theirs && self.pgbench.is_none() {
            self.pgbench = Some((scale, whose));
            let database = &self.database;
            progress.say(&format!("pgbench's tables of scale {scale} in {database} are used as they are, and left"));
        }
        Ok(())
    }

    /// Notes a table that is about to be made. One that is there is somebody's, and not touched.
    async fn meet(&mut self, client: &Client, table: &'static str, place: &Workplace) -> anyhow::Result<()> {
        if self.made.iter().any(|(names, _)| *names == table) {
            return Ok(());
        }
        let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await;
        if there.map_err(|error| anyhow!("{table}: {}", in_words(&error)))?.get(0) {
            bail!(
                "{table} is in {} already: another run may be using it, or one that was killed has left it\n\
                 hint: DROP TABLE {table} if no other run is using it, or name another schema in `conninfo` \
                 (options='-c search_path=…')",
                self.database
            );
        }
        self.note(table, place)
    }

    fn note(&mut self, names: &'static str, place: &Workplace) -> anyhow::Result<()> {
        let thing = Thing::Tables { names: names.to_owned(), database: self.database.clone() };
        let entry = place.setup.inventory.thing(thing).context("the inventory cannot be written")?;
        self.made.push((names, entry));
        Ok(())
    }

    /// On every server that accepts writes by now: there may be two.
    async fn drop_all(&self, place: &Workplace) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let mut dropped = false;
            for host in &self.hosts {
                dropped |= self.drop_on(host, place).await?;
            }
            if dropped {
                return Ok(());
            }
            if began.elapsed() >= FIND {
                bail!("no server accepted writes within {FIND:?}");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Drops what was made on one server, if it accepts writes; whether it does.
    async fn drop_on(&self, host: &Host, place: &Workplace) -> anyhow::Result<bool> {
        let Ok(client) = connect(host, &place.login("pgbench-rs drop"), CONNECT_LIMIT).await else { return Ok(false) };
        let said = |error: Error| anyhow!("{}: {}", host.node, in_words(&error));
        let row = client.query_one("SHOW transaction_read_only", &[]).await.map_err(said)?;
        if row.get::<_, &str>(0) != "off" {
            return Ok(false);
        }
        for (names, _) in &self.made {
            let dropped = match *names {
                ledger::TABLE => ledger::drop_table(&client).await,
                visibility::TABLE => visibility::drop_table(&client).await,
                _ => pgbench::drop_tables(&client).await,
            };
            dropped.map_err(said)?;
        }
        Ok(true)
    }
}

/// First key of the advisory lock; the letters `pgbr`. The second stands for the schema in which tables are made.
const LOCK: i32 = 0x7067_6272;

/// A session with an advisory lock that one run at a time can have on a schema: two would take each other's rows for
/// their own. It ends with the harness, however that ends, and with the server: after a failover nobody is kept out.
async fn alone(primary: &Host, database: &str, place: &Workplace) -> anyhow::Result<Client> {
    let client = connect(primary, &place.login("pgbench-rs lock"), CONNECT_LIMIT).await?;
    let lock = "SELECT pg_try_advisory_lock($1, hashtext(coalesce(current_schema(), '')))";
    let row = client.query_one(lock, &[&LOCK]).await.map_err(|error| anyhow!("{}", in_words(&error)))?;
    if !row.get::<_, bool>(0) {
        bail!(
            "another run is using {database}\n\
             hint: wait until it has ended, or name another schema in `conninfo` (options='-c search_path=…'); \
             pg_locks names its session (locktype = 'advisory', classid = {LOCK})"
        );
    }
    Ok(client)
}

/// Waits until a standby holds what the primary had written.
pub(super) async fn replayed(standby: &Node, lsn: &str, place: &Workplace) -> anyhow::Result<()> {
    let client = connect(&standby.host, &place.login("pgbench-rs prepare"), CONNECT_LIMIT).await?;
    let behind = "SELECT pg_wal_lsn_diff($1::text::pg_lsn, pg_last_wal_replay_lsn())::int8";
    let look = || async {
        match client.query_one(behind, &[&lsn]).await.map(|row| row.get::<_, Option<i64>>(0)) {
            Ok(Some(..=0)) => Poll::<_, Infallible>::Done(()),
            Ok(Some(bytes)) => Poll::not_yet(format!("{bytes} bytes are missing")),
            Ok(None) => Poll::not_yet("it has replayed nothing".to_owned()),
            Err(error) => Poll::not_yet(in_words(&error)),
        }
    };
    let waited = wait::until(place.setup.start_limit, LOOK, look).await;
    waited.map_err(|WaitError::Timeout { waited, last_status }| {
        anyhow!(
            "standby `{}` has not replayed what was prepared after {waited:.1?}: {last_status}\n\
             hint: does it stream from the primary of this scenario, and replay?",
            standby.name
        )
    })
}

fn in_words_of(host: &Host) -> String {
    let at = format!("{}:{}", host.host, host.port);
    match &host.access {
        Some(access) => format!("database {} on {at}, as {}", access.dbname, access.user),
        None => at,
    }
}
