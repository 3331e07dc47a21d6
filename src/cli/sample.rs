//! `pgbench-rs sample`: the statistics of any server, without a scenario.

use super::destination::DestinationArgs;
use crate::base::clock::Clock;
use crate::base::mask::mask;
use crate::base::units::Time;
use crate::metric::line::Labels;
use crate::metric::{Event, Points};
use crate::pg::conninfo::{self, Environment};
use crate::pg::{Host, Login, Secret};
use crate::record::{LOCK_EDGES, lock_edges};
use crate::run::tell;
use crate::sampler::{self, Running, Target};
use crate::sink::{self, Account, Accounting, Door, Outlets, Pace, Say, Sink};
use anyhow::{Context, bail};
use clap::Args;
use indexmap::IndexMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Sample the statistics views of servers until Ctrl-C, or for as long as `--for` says.
///
/// Every point goes to `metrics.lp.gz` in a folder, where `replay` finds it, and with `--to` also to InfluxDB or
/// VictoriaMetrics while it is written. Who waited for whose locks goes to `lock_edges.csv`. The role needs no more than
/// `pg_monitor`. Exit code 4 if a point was lost.
#[derive(Debug, Args)]
pub struct Sample {
    /// A server, by libpq's rules; once for each
    #[arg(long, value_name = "CONNINFO", required = true)]
    dsn: Vec<String>,
    /// Folder that is made for what is sampled; default: `sample-<time>`
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address of a server that gets all points, too
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    #[command(flatten)]
    server: DestinationArgs,
    /// How long; default: until Ctrl-C
    #[arg(long = "for", value_name = "TIME")]
    lasts: Option<Time>,
    /// Time between looks at counters
    #[arg(long, value_name = "TIME", default_value_t = Time::s(1))]
    every: Time,
    /// Time between looks at sessions, locks and positions in the WAL
    #[arg(long, value_name = "TIME", default_value_t = Time::ms(100))]
    waits: Time,
    /// Time between looks at tables, indexes, sizes and statements
    #[arg(long, value_name = "TIME", default_value_t = Time::s(15))]
    tables: Time,
    /// A table that is of interest; once for each; default: the 40 largest
    #[arg(long, value_name = "NAME")]
    table: Vec<String>,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

/// What was sampled, and what became of it.
#[derive(Debug, serde::Serialize)]
struct Outcome {
    dir: PathBuf,
    points: Accounting,
    /// Of the server that `--to` names.
    sent: Option<Account>,
    /// `sampler.ticks`, `sampler.missed`, `sampler.down` of each server.
    servers: IndexMap<String, IndexMap<&'static str, f64>>,
    /// What the servers do not have.
    absent: Vec<String>,
}

impl Sample {
    /// Samples.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        for (name, time) in [("every", self.every), ("waits", self.waits), ("tables", self.tables)] {
            if time.is_zero() {
                return Err(super::Usage(format!("--{name} must be more than 0")).into());
            }
        }
        let hosts = self.hosts()?;
        let door = self.to.as_ref().map(|to| Ok::<_, anyhow::Error>(self.server.at(to)?.open()?)).transpose()?;
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let dir = self.dir.clone().unwrap_or_else(|| PathBuf::from(format!("sample-{now}")));
        std::fs::create_dir(&dir).with_context(|| {
            format!(
                "cannot make {}\nhint: the folder must be new, so that no earlier one is mixed with it",
                dir.display()
            )
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let outcome = runtime.block_on(self.sample(hosts, door, &dir, &now))?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&outcome)?)?;
        } else {
            outcome.print(&mut out)?;
        }
        let whole =
            outcome.points.dropped == 0 && outcome.sent.as_ref().is_none_or(|sent| sent.acknowledged == sent.produced);
        Ok(ExitCode::from(if whole { 0 } else { 4 }))
    }

    /// The servers, each named by where it is.
    fn hosts(&self) -> anyhow::Result<Vec<Host>> {
        let mut hosts: Vec<Host> = Vec::new();
        for dsn in &self.dsn {
            let mut resolved = conninfo::resolve(dsn, &Environment::of_process())?;
            for note in std::mem::take(&mut resolved.notes) {
                tell(&note);
            }
            let mut host = resolved.into_host("");
            host.node = format!("{}:{}", host.host, host.port);
            if hosts.iter().any(|other| other.node == host.node) {
                bail!("{} is named twice", host.node);
            }
            hosts.push(host);
        }
        Ok(hosts)
    }

    async fn sample(&self, hosts: Vec<Host>, door: Option<Door>, dir: &Path, id: &str) -> anyhow::Result<Outcome> {
        let (clock, say) = (Clock::start(), Arc::new(tell) as Say);
        let labels =
            Labels { run_id: format!("sample-{id}"), scenario: "sample".into(), variant: String::new(), trial: 1 };
        let doors: Vec<_> = door.map(|door| ("to".to_owned(), door)).into_iter().collect();
        let outlets = Outlets::start(doors, dir, Pace::default(), &say)?;
        let file = sink::File::append(dir.join(sink::FILE))?;
        let writer = sink::Running::start(Sink::File(file), &labels, clock, outlets.orphans());
        let running = self.start(hosts, clock, writer.points()).await;
        tell(&format!("sampling into {}", dir.display()));
        self.wait().await?;
        let ended = running.stop().await;
        let finished = writer.stop().await.context("the writer failed")?;
        if let Some(error) = finished.error {
            tell(&error.to_string());
        }
        let mut sent = outlets.stop(finished.accounting).await;
        let path = dir.join("lock_edges.csv");
        let rows = [LOCK_EDGES.as_bytes(), &lock_edges(&labels.run_id, "", 1, &ended.episodes)].concat();
        std::fs::write(&path, rows).with_context(|| format!("cannot write {}", path.display()))?;
        let mut servers: IndexMap<String, IndexMap<&'static str, f64>> = IndexMap::new();
        for value in ended.values {
            servers.entry(value.node.unwrap_or_default()).or_default().insert(value.metric, value.value);
        }
        let absent = ended.absent.into_iter().collect();
        let (dir, points, sent) = (dir.to_owned(), finished.accounting, sent.shift_remove("to"));
        Ok(Outcome { dir, points, sent, servers, absent })
    }

    async fn start(&self, hosts: Vec<Host>, clock: Clock, points: Points) -> Running {
        let (events, mut told) = mpsc::unbounded_channel::<Event>();
        tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                tell(&mask(&event.text));
            }
        });
        // Each host brings its own access, which goes over this.
        let nobody = Login {
            user: String::new(),
            password: Secret::new(""),
            dbname: String::new(),
            application_name: sampler::APPLICATION_NAME.to_owned(),
        };
        let sample = sampler::Sample { waits: self.waits, every: self.every, tables: self.tables };
        let target = |host| Target { host, login: nobody.clone(), tables: self.table.clone() };
        Running::start(hosts.into_iter().map(target).collect(), &sample, clock, points, events).await
    }

    /// Until the time is over or a signal comes.
    async fn wait(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let lasts = self.lasts.map(|time| *time);
        tokio::select! {
            () = tokio::time::sleep(lasts.unwrap_or(Duration::MAX)) => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
}

impl Outcome {
    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Accounting { produced, written, dropped, .. } = self.points;
        writeln!(out, "{}: {produced} points, {written} written, {dropped} dropped", self.dir.display())?;
        if let Some(sent) = &self.sent {
            writeln!(out, "sent: {}", sent.in_words())?;
        }
        for (server, values) in &self.servers {
            let value = |metric| values.get(metric).copied();
            write!(out, "{server}: {} ticks", value("sampler.ticks").unwrap_or_default())?;
            for (metric, what) in [("sampler.missed", "missed"), ("sampler.down", "not answered")] {
                if let Some(share) = value(metric) {
                    write!(out, ", {:.2} % {what}", 100.0 * share)?;
                }
            }
            writeln!(out)?;
        }
        if !self.absent.is_empty() {
            writeln!(out, "not there: {}", self.absent.join(", "))?;
        }
        Ok(())
    }
}
