//! Settings of the whole server for the time of a load. What was there before stands in a table of the database before
//! anything is changed, so that the next load can take back what a dead one left.

use super::error::{Doing, LoadError};
use crate::etl::table::quoted;
use crate::pg::connect::in_words;
use postgres_protocol::escape::escape_literal;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// What was in `postgresql.auto.conf` before; null: nothing.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS pgbench_rs_load_settings (name text PRIMARY KEY, before text, at timestamptz DEFAULT now())";
/// One of them, before it is changed. Of several lines with the same name the last counts.
const REMEMBER: &str = "INSERT INTO pgbench_rs_load_settings (name, before) VALUES ($1, (SELECT setting FROM \
                        pg_file_settings WHERE name = $1 AND sourcefile LIKE '%/postgresql.auto.conf' \
                        ORDER BY seqno DESC LIMIT 1))";
/// Whether this role can see and reload what `ALTER SYSTEM` writes; which settings it may write, the server says itself.
const MAY: &str = "SELECT has_table_privilege('pg_file_settings', 'SELECT') \
                   AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE') \
                   AND has_function_privilege('pg_reload_conf()', 'EXECUTE')";
/// How the next look at the server may be put off.
const LOOK: Duration = Duration::from_millis(10);
/// Longest that a reload is waited for.
const RELOAD: Duration = Duration::from_secs(10);

/// Takes back what a load that is dead left behind, and says what that was. Where this role may not, it says so, unless
/// `wanted` are to be set in their turn.
pub async fn take_back_left(client: &Client, wanted: &BTreeMap<String, String>) -> Result<Option<String>, LoadError> {
    match take_back(client).await {
        Ok(left) if left.is_empty() => Ok(None),
        Ok(left) => Ok(Some(format!("an earlier load that did not end left {} changed; taken back", left.join(", ")))),
        Err(error) if wanted.is_empty() => Ok(Some(format!(
            "an earlier load that did not end left settings of the server changed, which this one cannot take back \
             ({error}); a load by the same role does"
        ))),
        Err(error) => Err(error),
    }
}

/// Takes back what the table says, and says what that was.
pub async fn take_back(client: &Client) -> Result<Vec<String>, LoadError> {
    let doing = || "settings that a load changed".to_owned();
    let there = "SELECT to_regclass('pgbench_rs_load_settings') IS NOT NULL";
    if !client.query_one(there, &[]).await.doing(doing)?.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows =
        client.query("SELECT name, before FROM pgbench_rs_load_settings ORDER BY name", &[]).await.doing(doing)?;
    let mut taken = Vec::new();
    for row in &rows {
        let (name, before): (String, Option<String>) = (row.get(0), row.get(1));
        alter(client, &name, before.as_deref()).await?;
        taken.push(name);
    }
    reload(client).await?;
    client.batch_execute("DROP TABLE pgbench_rs_load_settings").await.doing(doing)?;
    Ok(taken)
}

/// Makes these settings, and says which of them have no effect.
pub async fn set(client: &Client, settings: &BTreeMap<String, String>) -> Result<Vec<String>, LoadError> {
    if settings.is_empty() {
        return Ok(Vec::new());
    }
    let doing = || "settings of the server".to_owned();
    for name in settings.keys() {
        check(client, name).await?;
    }
    if !client.query_one(MAY, &[]).await.doing(doing)?.get::<_, bool>(0) {
        let hint = "load as a superuser, or leave the settings of the server as they are";
        return Err(LoadError::Server(format!("this role may not change settings of the server\nhint: {hint}")));
    }
    client.batch_execute(CREATE).await.doing(doing)?;
    let names: Vec<&String> = settings.keys().collect();
    for (name, value) in settings {
        client.execute(REMEMBER, &[name]).await.doing(doing)?;
        if let Err(refused) = alter(client, name, Some(value)).await {
            // What was not changed is not to be taken back.
            client.execute("DELETE FROM pgbench_rs_load_settings WHERE name = $1", &[name]).await.doing(doing)?;
            return Err(refused);
        }
    }
    reload(client).await?;
    let idle = "SELECT name FROM pg_settings WHERE name = ANY($1) AND source IN ('command line', 'environment variable', \
                'override') ORDER BY name";
    let rows = client.query(idle, &[&names]).await.doing(doing)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn check(client: &Client, name: &str) -> Result<(), LoadError> {
    let wrong = |why: &str| LoadError::Setting { name: name.to_owned(), why: why.to_owned() };
    let context = "SELECT context FROM pg_settings WHERE name = $1";
    match client.query_opt(context, &[&name]).await.doing(|| format!("setting {name}"))? {
        None => Err(wrong("the server has none of this name")),
        Some(row) => match row.get::<_, &str>(0) {
            "internal" => Err(wrong("nobody can change it")),
            "postmaster" => Err(wrong("a change of it needs a restart of the server, which a load does not do")),
            _ => Ok(()),
        },
    }
}

async fn alter(client: &Client, name: &str, value: Option<&str>) -> Result<(), LoadError> {
    let name_of = quoted(name);
    let alter = match value {
        Some(value) => format!("ALTER SYSTEM SET {name_of} = {}", escape_literal(value)),
        None => format!("ALTER SYSTEM RESET {name_of}"),
    };
    let done = client.batch_execute(&alter).await;
    done.map_err(|error| LoadError::Setting { name: name.to_owned(), why: in_words(&error) })
}

/// Has the server read its files, and waits until this session has.
async fn reload(client: &Client) -> Result<(), LoadError> {
    let doing = || "pg_reload_conf()".to_owned();
    let loaded = "SELECT pg_conf_load_time()::text";
    let before: String = client.query_one(loaded, &[]).await.doing(doing)?.get(0);
    client.batch_execute("SELECT pg_reload_conf()").await.doing(doing)?;
    let limit = Instant::now() + RELOAD;
    while client.query_one(loaded, &[]).await.doing(doing)?.get::<_, String>(0) == before {
        if Instant::now() > limit {
            return Err(LoadError::Server("the server does not read its configuration again".into()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
