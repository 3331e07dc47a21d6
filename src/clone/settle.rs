//! What can only be done in the running clone: subscriptions and prepared transactions, which lie in its tables and
//! its WAL.

use super::door::Door;
use super::error::CloneError;
use super::recipe::Prepared;
use crate::driver::Workplace;
use crate::pg::Host;
use crate::pg::connect::connect;
use crate::pg::version::Major;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_postgres::Client;

/// How long a login may take.
const CONNECT: Duration = Duration::from_secs(10);

/// All subscriptions and prepared transactions of all databases: their kind, name and database.
const QUESTION: &str = "SELECT 's', s.subname::text, d.datname::text FROM pg_subscription s \
     JOIN pg_database d ON d.oid = s.subdbid \
     UNION ALL SELECT 'p', gid, database::text FROM pg_prepared_xacts ORDER BY 1, 2";

/// Databases whose collations were made by another version of the system's library than the clone's: their indexes on
/// text may be in another order than the clone looks them up in. From 15 on (`pg_database_collation_actual_version`).
const COLLATIONS: &str = "SELECT datname::text || ': ' || datcollversion || ' there, ' || actual || ' here' \
     FROM (SELECT datname, datcollversion, pg_database_collation_actual_version(oid) AS actual FROM pg_database) d \
     WHERE datcollversion <> actual ORDER BY 1";

/// What was there.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    /// Databases that may be sorted otherwise than here: `name: version there, version here`.
    pub collations: Vec<String>,
    /// Prepared transactions: `gid in database`.
    pub prepared: Vec<String>,
}

/// A session in a database of the clone.
pub(super) async fn client(place: &Workplace, host: &Host, door: &Door, dbname: &str) -> Result<Client, CloneError> {
    let login = door.login(place.login("pgbench-rs clone"), dbname);
    let host = door.host(dbname).unwrap_or_else(|| host.clone());
    Ok(connect(&host, &login, CONNECT).await?)
}

/// Disables all subscriptions and takes their slots' names away, so that not even dropping one reaches its publisher;
/// rolls prepared transactions back, if that is wished.
pub(super) async fn settle(
    place: &Workplace,
    host: &Host,
    door: &Door,
    (prepared, major): (Prepared, Major),
) -> Result<Settled, CloneError> {
    let failed = |what: &'static str| {
        let clone = door.name.clone();
        move |source| CloneError::Sql { clone, what, source }
    };
    let first = client(place, host, door, &door.dbname).await?;
    let collations = match major.0 {
        ..15 => Vec::new(),
        _ => first.query(COLLATIONS, &[]).await.map_err(failed("asking for collations"))?,
    };
    let collations = collations.iter().map(|row| row.get(0)).collect();
    let rows = first.query(QUESTION, &[]).await.map_err(failed("asking for subscriptions"))?;
    let found: Vec<(bool, String, String)> =
        rows.iter().map(|row| (row.get::<_, &str>(0) == "s", row.get(1), row.get(2))).collect();
    let of_kind = |kind: bool| found.iter().filter(move |(is, _, _)| *is == kind);
    let prepared_ones = of_kind(false).map(|(_, gid, database)| format!("{gid} in {database}")).collect();
    let settled = Settled { collations, prepared: prepared_ones };
    let to_do = |(is_subscription, _, _): &&(bool, String, String)| *is_subscription || prepared == Prepared::Rollback;
    let databases: BTreeSet<&String> = found.iter().filter(to_do).map(|(_, _, database)| database).collect();
    for database in databases {
        let client = client(place, host, door, database).await?;
        for (is_subscription, name, _) in found.iter().filter(to_do).filter(|(_, _, of)| of == database) {
            if *is_subscription {
                let name = quoted_name(name);
                let disable =
                    format!("ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE)");
                client.batch_execute(&disable).await.map_err(failed("disabling a subscription"))?;
            } else {
                let rollback = format!("ROLLBACK PREPARED {}", quoted_text(name));
                client.batch_execute(&rollback).await.map_err(failed("rolling back a prepared transaction"))?;
            }
        }
    }
    Ok(settled)
}

fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As SQL wants it, whatever `standard_conforming_strings` says.
fn quoted_text(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_stay_one() {
        assert_eq!(quoted_name(r#"a"b"#), r#""a""b""#);
        assert_eq!(quoted_text(r"it's \n"), r"E'it\'s \\n'");
    }
}
