//! What every `load` takes: where to, and how.

use super::show;
use crate::base::mask::mask;
use crate::cli::{Interrupted, Usage};
use crate::etl::load::{Analyze, Existing, ForeignKeys, Indexes, LoadError, Loaded, Order, Progress, Settings, load};
use crate::etl::source::Source;
use crate::pg::conninfo::{self, Environment};
use crate::pg::{Host, Login, Secret};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Where to, and how.
#[derive(Debug, Args)]
pub struct Target {
    /// How the server is reached: a connection string, by libpq's rules
    #[arg(long, value_name = "CONNINFO")]
    to: String,
    /// Connections that load at the same time; default: as many as this machine has CPUs
    #[arg(long, value_name = "N")]
    streams: Option<u32>,
    /// Of how many of them a single table's rows may come, where they can be parted (files cannot). More than one excludes
    /// freezing
    #[arg(long, value_name = "N", default_value_t = 1)]
    streams_per_table: u32,
    /// Make no primary keys
    #[arg(long)]
    no_primary_keys: bool,
    /// Foreign keys: none, checked (rows that refer to nothing are rejected) or not_valid (they stay)
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = word::<ForeignKeys>)]
    foreign_keys: ForeignKeys,
    /// When primary keys and indexes are built: after, before the copy, or none (no indexes)
    #[arg(long, value_name = "WHEN", default_value = "after", value_parser = word::<Indexes>)]
    indexes: Indexes,
    /// What follows at the end: vacuum (VACUUM ANALYZE), analyze or none
    #[arg(long, value_name = "WHAT", default_value = "vacuum", value_parser = word::<Analyze>)]
    analyze: Analyze,
    /// Do not freeze rows as they come
    #[arg(long)]
    no_freeze: bool,
    /// What becomes of tables that are there already: fail, resume (what a load of the same data completed stays) or drop
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = word::<Existing>)]
    existing: Existing,
    /// Folder of rejected rows, a file for each table; made with the first of them
    #[arg(long, value_name = "DIR", default_value = "rejects")]
    rejects: PathBuf,
    /// More rejected rows than this fail the load
    #[arg(long, value_name = "N", default_value_t = Settings::default().max_rejects)]
    max_rejects: u64,
    /// A setting of the sessions that load; any number of times. Default: maintenance_work_mem=256MB
    #[arg(long = "session", value_name = "NAME=VALUE", value_parser = setting)]
    session: Vec<(String, String)>,
    /// A setting of the whole server while the load lasts (ALTER SYSTEM), such as max_wal_size=16GB; any number of times. It
    /// is taken back at the end, or by the next load if this one is killed
    #[arg(long = "server-setting", value_name = "NAME=VALUE", value_parser = setting)]
    server: Vec<(String, String)>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A word as the scenario language has it.
pub(super) fn word<T: for<'de> serde::Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("it looks like `max_wal_size=16GB`".to_owned()),
    }
}

impl Target {
    fn settings(&self) -> Settings {
        let mut settings = Settings {
            streams: self.streams,
            streams_per_table: self.streams_per_table,
            primary_keys: !self.no_primary_keys,
            foreign_keys: self.foreign_keys,
            indexes: self.indexes,
            analyze: self.analyze,
            freeze: !self.no_freeze,
            existing: self.existing,
            max_rejects: self.max_rejects,
            server: self.server.iter().cloned().collect(),
            ..Settings::default()
        };
        settings.session.extend(self.session.iter().cloned());
        settings
    }

    /// Loads into it, and says what was done.
    pub fn load(&self, source: Source) -> anyhow::Result<ExitCode> {
        let progress = Arc::new(Progress::new(&source));
        let order = Order {
            source,
            host: host(&self.to)?,
            login: nobody(),
            settings: self.settings(),
            rejects: std::path::absolute(&self.rejects)?,
            progress: progress.clone(),
        };
        let rejects = order.rejects.clone();
        let runtime = runtime()?;
        let loaded = runtime.block_on(show::beside(progress, interruptible(order)));
        // A thread may wait for a file that does not come.
        runtime.shutdown_background();
        show::told(&loaded?, &rejects, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The server that a connection string means.
pub(super) fn host(to: &str) -> anyhow::Result<Host> {
    let resolved = conninfo::resolve(to, &Environment::of_process());
    let mut resolved = resolved.map_err(|error| Usage(format!("--to {}: {error}", mask(to))))?;
    for note in std::mem::take(&mut resolved.notes) {
        show::tell(&format!("note: {note}"));
    }
    Ok(resolved.into_host("target"))
}

/// A login that says nothing: the host of a connection string has one of its own.
pub(super) fn nobody() -> Login {
    Login {
        user: String::new(),
        password: Secret::new(""),
        dbname: "postgres".to_owned(),
        application_name: "pgbench-rs load".to_owned(),
    }
}

/// A runtime for a load: what takes CPU is on threads of its own, beside it.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Loads until it is done, or a signal comes; the second one ends the program at once.
async fn interruptible(order: Order) -> anyhow::Result<Loaded> {
    let mut signals = Signals::listen()?;
    let (asked, mut stop) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        signals.next().await;
        show::tell("interrupted: undoing what is not complete (once more to stop hard)");
        drop(asked);
        signals.next().await;
        std::process::exit(130);
    });
    let stop = async move {
        // It is dropped, never sent.
        let _ = (&mut stop).await;
    };
    match load(order, stop).await {
        Err(LoadError::Interrupted) => Err(Interrupted.into()),
        other => Ok(other?),
    }
}

/// SIGINT, SIGTERM and SIGHUP.
pub(super) struct Signals([tokio::signal::unix::Signal; 3]);

impl Signals {
    pub fn listen() -> std::io::Result<Signals> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Signals([interrupt?, terminate?, hangup?]))
    }

    /// Waits for one of them.
    pub async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
