//! `pgbench-rs clone create`.

use super::make::{Made, Wish, make};
use super::{shelf, wait_for};
use crate::base::mask::mask;
use crate::base::units::{Size, Time};
use crate::base::user::User;
use crate::cli::Usage;
use crate::clone::card::From;
use crate::clone::{Method, Mode, Precooked, Prepared, Protect, Recipe, Recovery, Resetwal};
use crate::pg::conninfo;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Clone a running server.
///
/// Prints how to connect to the clone. Whoever runs this must be able to read the server's data directory: be its
/// owner, or root; the clone's server runs as the owner. The role of the connection string should be a superuser.
#[derive(Debug, Args)]
pub struct Create {
    /// How the server is reached: a connection string, by libpq's rules
    #[arg(long, value_name = "CONNINFO")]
    from: String,
    /// Its data directory, as it is seen here
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// What the clone is called; default: clone-1, clone-2, …
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Whose it is; default: the user who runs this
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// How long it is wanted; `destroy --expired` removes those whose time is over. Default: for ever
    #[arg(long, value_name = "TIME")]
    expires: Option<Time>,
    /// How it comes up: `recovery` recovers what was committed; `resetwal` throws the WAL away (unsafe: rows are lost
    /// and torn); `precooked` starts from a base that was recovered before, and makes the base when there is none
    #[arg(long, value_enum, default_value_t = How::Recovery)]
    mode: How,
    /// Do not let the server make a checkpoint first: it is spared that, and the clone recovers longer
    #[arg(long)]
    no_checkpoint: bool,
    /// How the directory is copied: auto, zfs, btrfs, reflink, copy or basebackup
    #[arg(long, value_name = "METHOD", default_value = "auto", value_parser = word::<Method>)]
    snapshot: Method,
    /// What keeps the copy whole: auto, backup (the backup interface) or stopped
    #[arg(long, value_name = "WAY", default_value = "auto", value_parser = word::<Protect>)]
    protect: Protect,
    /// Where it goes; default: beside the data directory
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// A setting of its server, such as `work_mem=64MB`; any number of times
    #[arg(long = "settings", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// A library that the source preloads and the clone shall, too; any number of times. Default: none
    #[arg(long, value_name = "LIBRARY")]
    preload: Vec<String>,
    /// Let autovacuum run
    #[arg(long)]
    autovacuum: bool,
    /// Roll back the prepared transactions that come with it, which hold their locks
    #[arg(long)]
    rollback_prepared: bool,
    /// What must be left free on the file system when it is made. Nobody watches what it writes later: a source that
    /// shares its file system with clones finds that full when they fill it. On ZFS, limit them with --quota
    #[arg(long, value_name = "SIZE", default_value = "128MB")]
    reserve: Size,
    /// What it may have of its own, on ZFS; then its server alone finds the disk full. Default: all there is
    #[arg(long, value_name = "SIZE")]
    quota: Option<Size>,
    /// Directory of PostgreSQL's programs, instead of looking for those of the server's version
    #[arg(long, value_name = "DIR")]
    postgres: Option<PathBuf>,
    /// Run its server in a container of this image; `{version}` stands for the major version
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Let its container use the network of the engine's host, instead of a network of its own
    #[arg(long, requires = "image")]
    host_network: bool,
    /// Let nothing be passed on from its container's network: foreign data wrappers and dblink reach nobody then but what
    /// of this machine itself listens on more than the loopback
    #[arg(long, requires = "image", conflicts_with = "host_network")]
    no_egress: bool,
    /// How long its server may take to start
    #[arg(long, value_name = "TIME", default_value_t = Time::s(600))]
    start_limit: Time,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a clone comes up.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum How {
    Recovery,
    Resetwal,
    Precooked,
}

/// A word as the scenario language has it.
fn word<T: for<'de> serde::Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

impl Create {
    /// Makes it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let shelf = shelf()?;
        let wish = self.wish(&shelf)?;
        let made = wait_for(make(&shelf, wish, None))?;
        told(&made, self.json)?;
        Ok(ExitCode::SUCCESS)
    }

    fn wish(&self, shelf: &crate::clone::shelf::Shelf) -> anyhow::Result<Wish> {
        let checkpoint = !self.no_checkpoint;
        let mut settings = std::collections::BTreeMap::new();
        for setting in &self.settings {
            let Some((name, value)) = setting.split_once('=') else {
                return Err(Usage(format!("--settings {setting}: it looks like `work_mem=64MB`")).into());
            };
            settings.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        let recipe = Recipe {
            mode: match self.mode {
                How::Recovery => Mode::Recovery(Recovery { checkpoint }),
                How::Resetwal => Mode::Resetwal(Resetwal { checkpoint }),
                How::Precooked => Mode::Precooked(Precooked { checkpoint }),
            },
            method: self.snapshot,
            protect: self.protect,
            autovacuum: self.autovacuum,
            preload: self.preload.clone(),
            prepared: if self.rollback_prepared { Prepared::Rollback } else { Prepared::Keep },
            settings,
            reserve: self.reserve,
            quota: self.quota,
            query: None,
        };
        let (conninfo, had_password) = conninfo::without_password(&self.from)
            .map_err(|error| Usage(format!("--from {}: {error}", mask(&self.from))))?;
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let from = From {
            conninfo,
            had_password,
            data_dir: std::fs::canonicalize(&self.data_dir)
                .map_err(|error| Usage(format!("--data-dir {}: {error}", self.data_dir.display())))?,
            recipe,
            to: self.to.as_ref().map(absolute).transpose()?,
            postgres: self.postgres.as_ref().map(absolute).transpose()?,
            image: self.image.clone(),
            host_network: self.host_network,
            no_egress: self.no_egress,
            start_limit: self.start_limit,
        };
        Ok(Wish {
            name: self.name.clone().unwrap_or_else(|| shelf.free_name()),
            owner: self.owner.clone().unwrap_or_else(User::own_name),
            expires: self.expires,
            conninfo: self.from.clone(),
            from,
        })
    }
}

/// Says what was made.
pub(super) fn told(made: &Made, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let Made { card, ready } = made;
    if json {
        writeln!(
            out,
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({
                "name": card.name,
                "owner": card.owner,
                "created_at": card.created_at,
                "expires_at": card.expires_at().map(|at| at.to_string()),
                "from": card.from,
                "ready": ready,
            }))?
        )?;
        return Ok(());
    }
    let seconds = ready.seconds.map(|seconds| format!(" after {seconds:.3} s")).unwrap_or_default();
    writeln!(out, "clone `{}` is ready{seconds}", card.name)?;
    let protocol = ready.protocol.map(|protocol| format!(" under {protocol}")).unwrap_or_default();
    writeln!(out, "  made by {}{protocol}, mode {}", ready.method, ready.mode)?;
    let phases = ready.phases.iter().map(|span| format!("{} {:.1} ms", span.phase, span.took.as_secs_f64() * 1e3));
    writeln!(out, "  {}", phases.collect::<Vec<_>>().join(", "))?;
    if ready.is_unsafe {
        writeln!(out, "  unsafe: it was started without its WAL; rows may be missing or torn")?;
    }
    for kept_out in &ready.kept_out {
        writeln!(out, "  kept out: {kept_out}")?;
    }
    for prepared in &ready.prepared {
        writeln!(out, "  came with it, prepared: {prepared}")?;
    }
    for collation in &ready.collations {
        writeln!(
            out,
            "  warning: text was sorted by another version of the system's library; REINDEX database {collation}"
        )?;
    }
    if let Some(at) = card.expires_at() {
        writeln!(out, "  expires at {at:.0}")?;
    }
    writeln!(out, "psql '{}'", ready.conninfo)?;
    Ok(())
}
