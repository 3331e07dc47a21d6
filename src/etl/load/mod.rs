//! The loader: gets the rows of a [`Source`] into a server, each accounted for.
//!
//! A stream is a connection. It takes table after table, the largest first, and for each makes one transaction of
//! `CREATE TABLE`, binary `COPY … FREEZE`, primary key and indexes; foreign keys follow when all tables are there, and
//! `VACUUM (ANALYZE)` at the end. A table is complete or not there, so another load can go on where one was ended.

mod copy;
mod duplicates;
mod error;
mod fill;
mod loaded;
mod lookup;
mod progress;
mod references;
mod server;
mod session;
mod settings;
mod state;
mod work;

pub use error::LoadError;
pub use loaded::{Loaded, LoadedTable};
pub use progress::{Now, Progress};
pub use settings::{Analyze, Existing, ForeignKeys, Indexes, Settings};

use super::source::{Part, Source};
use crate::pg::connect::connect;
use crate::pg::{Host, Login, Lsn};
use error::Doing;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use work::{Job, Work};

/// What is loaded, where to, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// The rows.
    pub source: Source,
    /// The server.
    pub host: Host,
    /// Who loads, and into which database; tables go into the first schema of the role's `search_path`.
    pub login: Login,
    /// How.
    pub settings: Settings,
    /// The folder of [rejects](super::rejects); it is made with the first of them.
    pub rejects: PathBuf,
    /// Where to say how far it is.
    pub progress: Arc<Progress>,
}

/// The lock that a load holds in its database, so that there is one at a time: `pgbenchr` in ASCII.
const LOCK: i64 = 0x7067_6265_6e63_6872;

/// So long after a load was killed its session may still be there.
const ALONE: Duration = Duration::from_secs(3);

/// Loads. When `stop` comes to pass, what is not complete is undone. Server-wide settings are taken back however it ends.
pub async fn load(order: Order, stop: impl Future<Output = ()>) -> Result<Loaded, LoadError> {
    let login = Login { application_name: "pgbench-rs".into(), ..order.login.clone() };
    let client = connect(&order.host, &login, Duration::from_secs(30)).await?;
    check(&client).await?;
    let mut notes: Vec<String> = server::take_back_left(&client, &order.settings.server).await?.into_iter().collect();
    let changed = !order.settings.server.is_empty();
    let loaded = async {
        let idle = server::set(&client, &order.settings.server).await?;
        if !idle.is_empty() {
            notes.push(format!("{}: without effect, as the server was started with another value", idle.join(", ")));
        }
        run(&client, order, stop, &mut notes).await
    };
    let loaded = loaded.await;
    let back = if changed { server::take_back(&client).await.map(drop) } else { Ok(()) };
    // The session ends some time after the client, and the next load should not have to wait for that.
    let freed = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    let mut loaded = loaded?;
    back?;
    freed.doing(|| "the end of the load".into())?;
    loaded.notes = notes;
    Ok(loaded)
}

/// Whether the server and the database can be loaded into, and nobody else does.
async fn check(client: &Client) -> Result<(), LoadError> {
    let doing = || "looking at the server".to_owned();
    let about = "SELECT pg_is_in_recovery(), current_setting('server_encoding')";
    let row = client.query_one(about, &[]).await.doing(doing)?;
    let encoding: String = row.get(1);
    if row.get(0) {
        return Err(LoadError::Server("the server is a standby\nhint: load into its primary".into()));
    }
    if encoding != "UTF8" {
        let hint = "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0";
        return Err(LoadError::Server(format!("the database's encoding is {encoding}, the data's UTF8\nhint: {hint}")));
    }
    let limit = Instant::now() + ALONE;
    while !client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await.doing(doing)?.get::<_, bool>(0) {
        if Instant::now() > limit {
            return Err(LoadError::Server("another load into this database is under way".into()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn run(
    client: &Client,
    order: Order,
    stop: impl Future<Output = ()>,
    notes: &mut Vec<String>,
) -> Result<Loaded, LoadError> {
    let began = Instant::now();
    let (tables, streams) = (order.source.tables(), order.settings.streams());
    let before = state::prepare(client, &order, &tables).await?;
    let work = Arc::new(Work::new(order, tables, before));
    let settings = &work.order.settings;
    if settings.freeze && (0..work.tables.len()).any(|nth| work.parts(nth) > 1) {
        notes.push("rows are not frozen: several streams fill one table".into());
    }
    let wal = wal(client).await?;
    let done = tokio::select! {
        done = stages(client, &work, streams) => done,
        () = stop => Err(LoadError::Interrupted),
    };
    if let Err(error) = done {
        // Its rollback is part of it: what follows must not meet what it left.
        let _ = work.sessions.end(client).await;
        return Err(error);
    }
    let wal_bytes = (self::wal(client).await?.0).saturating_sub(wal.0);
    let tables: Vec<LoadedTable> =
        (0..work.tables.len()).map(|nth| work.done(nth, |done| done.table.clone())).collect();
    for table in &tables {
        if table.rows_in != table.loaded + table.rejected {
            return Err(LoadError::Count {
                table: table.name.clone(),
                sent: table.rows_in,
                taken: table.loaded + table.rejected,
            });
        }
    }
    let source = work.order.source.name();
    Ok(Loaded { source, tables, total: began.elapsed(), wal_bytes, streams, notes: Vec::new() })
}

async fn wal(client: &Client) -> Result<Lsn, LoadError> {
    let row = client.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.doing(|| "the WAL".into())?;
    let text: String = row.get(0);
    text.parse().map_err(|_| LoadError::Server(format!("the server's WAL is at `{text}`, which is no LSN")))
}

/// One stage after the other, each on all streams.
async fn stages(client: &Client, work: &Arc<Work>, streams: usize) -> Result<(), LoadError> {
    let mut jobs = Vec::new();
    for nth in work.to_load() {
        match work.parts(nth) {
            1 => jobs.push(Job::Table(nth)),
            of => {
                fill::begin(client, work, nth).await?;
                jobs.extend((0..of).map(|number| Job::Part(nth, Part { number, of })));
            }
        }
    }
    stage(work, streams, jobs).await?;
    if work.order.settings.foreign_keys != ForeignKeys::None {
        references::add(client, work).await?;
    }
    if work.order.settings.foreign_keys == ForeignKeys::Checked {
        for rank in references::ranks(&work.tables) {
            stage(work, streams, rank.into_iter().map(Job::References).collect()).await?;
        }
    }
    if work.order.settings.analyze != Analyze::None {
        let to_do = (0..work.tables.len()).filter(|&nth| !work.done(nth, |done| done.is_analyzed));
        stage(work, streams, to_do.map(Job::Analyze).collect()).await?;
    }
    Ok(())
}

/// Does the jobs, on as many streams as there are or as there are jobs for. The first failure ends them all.
async fn stage(work: &Arc<Work>, streams: usize, jobs: Vec<Job>) -> Result<(), LoadError> {
    work.wait_for(jobs);
    let mut running: JoinSet<Result<(), LoadError>> = JoinSet::new();
    for stream in 0..streams.min(work.waiting()) {
        let work = work.clone();
        running.spawn(async move {
            let client = work.sessions.open(&work.order).await?;
            while let Some(job) = work.next() {
                let done = perform(&client, &work, stream, job).await;
                work.order.progress.doing(stream, String::new());
                done?;
            }
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|error| LoadError::Broken(format!("a stream ended: {error}")))??;
    }
    Ok(())
}

async fn perform(client: &Client, work: &Work, stream: usize, job: Job) -> Result<(), LoadError> {
    let say = |what: &str, nth: usize| work.order.progress.doing(stream, format!("{what}{}", work.tables[nth].name));
    match job {
        Job::Table(nth) => {
            say("", nth);
            fill::whole(client, work, nth).await
        }
        Job::Part(nth, part) => {
            say("", nth);
            fill::part(client, work, nth, part).await
        }
        Job::References(nth) => {
            say("foreign keys of ", nth);
            references::validate(client, work, nth).await
        }
        Job::Analyze(nth) => {
            say("analyzing ", nth);
            analyze(client, work, nth).await
        }
    }
}

async fn analyze(client: &Client, work: &Work, nth: usize) -> Result<(), LoadError> {
    let (table, began) = (&work.tables[nth].name, Instant::now());
    let command = if work.order.settings.analyze == Analyze::Vacuum { "VACUUM (ANALYZE)" } else { "ANALYZE" };
    fill::run(client, &format!("{command} {}", super::table::quoted(table)), table).await?;
    work.done(nth, |done| done.table.analyze = Some(began.elapsed()));
    state::analyzed(client, table).await
}
