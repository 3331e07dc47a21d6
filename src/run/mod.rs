//! The run: what a plan says, done on this machine. The only room with effects beyond its own files, and
//! the one loop that reads like the manual: for each trial up, phases, down, write.

mod events;
mod guests;
mod logical;
mod makes;
mod measuring;
mod parts;
mod progress;
mod signals;
mod stand;
mod steps;
mod stopping;
mod templates;
mod timeline;
mod trial;

pub use templates::Keeping;

use crate::base::index::Index;
use crate::base::inventory::Inventory;
use crate::base::{disk, units::Size};
use crate::clean;
use crate::clean::watchdog::Watchdog;
use crate::driver::start::whole;
use crate::driver::{Setup, Workplace, default_work, server_user};
use crate::plan::Plan;
use crate::record::{self, Outline, RunStatus, Writer};
use crate::report::{html, in_words, summarize};
use crate::scenario::Source;
use crate::sink::{self, Orphanage, Outlets, Pace};
use anyhow::{Context, bail};
use guests::Guests;
use makes::Makes;
use progress::Progress;
pub use progress::tell;
use signals::Stop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use stopping::Stopping;
use templates::Templates;
use tokio::sync::Mutex;

/// A variant whose first trials fail, this many of them, is given up: a setting that keeps a server from
/// starting does so every time.
const GIVE_UP: u32 = 2;

/// How a run is to be done, beside what the scenario says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the results folder goes.
    pub out: PathBuf,
    /// Where data directories go.
    pub work: Option<PathBuf>,
    /// Directories of PostgreSQL's programs; none: look for them.
    pub postgres: Vec<PathBuf>,
    /// Whom servers run as when root starts the run.
    pub server_user: Option<String>,
    /// How long a server may take to start, and a standby to stream.
    pub start_limit: Duration,
    /// Leave the last trial's servers up.
    pub keep: bool,
    /// What becomes of templates.
    pub templates: Keeping,
    /// The command line, for the record.
    pub command: Vec<String>,
    /// This program's own file, which is also the watchdog.
    pub program: PathBuf,
}

/// What a run came to.
#[derive(Debug)]
pub struct Done {
    /// The results folder.
    pub dir: PathBuf,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// How to connect to servers that were left up.
    pub kept: Vec<String>,
}

/// Where a run happens: its servers' driver, its templates, its progress.
struct Lab {
    place: Arc<Workplace>,
    /// What servers are made with.
    makes: Makes,
    templates: Templates,
    progress: Arc<Progress>,
    /// What was made on servers that somebody else runs.
    guests: Mutex<Guests>,
    /// Folder of the results.
    dir: PathBuf,
    /// The file of all points, between two trials.
    file: std::sync::Mutex<Option<sink::File>>,
    /// Points that the disk refuses and servers may still take.
    orphans: Orphanage,
    run_id: String,
    /// What reports will know of the plan; validity is judged by the same.
    outline: Outline,
}

/// Runs a plan. An error is one of the run as a whole; a trial that fails is part of the record.
pub async fn run(source: &Source, plan: &Plan, options: &Options) -> anyhow::Result<Done> {
    if options.keep && plan.stop.is_some() {
        bail!(
            "--keep leaves the last trial's servers up, and a stopping rule decides only afterwards which one that is\n\nhint: leave out one of them"
        );
    }
    let installed = makes::programs(plan, &options.postgres)?;
    let containers = installed.iter().next().is_none();
    let user = server_user(options.server_user.as_deref(), containers)?;
    let work = options.work.clone().map_or_else(default_work, Ok)?;
    enough_disk(plan, &work, &options.out)?;
    let doors = doors(plan)?;

    let mut writer = Writer::create(
        &options.out,
        record::Opening {
            scenario_text: source.text(),
            sets: source.sets(),
            plan,
            command: &options.command,
            work: &work,
        },
    )?;
    let index = Index::of_user().context("cannot open the list of this user's runs")?;
    let inventory = Inventory::create(&index, &writer.inventory(), writer.run_id())
        .with_context(|| format!("cannot write {}", writer.inventory().display()))?;
    let watchdog = Watchdog::start(&options.program, inventory.path()).context("cannot start the watchdog")?;

    let progress = Arc::new(Progress::new(plan.trials.len(), *plan.estimate().duration));
    let stop = {
        let progress = progress.clone();
        Stop::listen(move |line| progress.say(line)).context("cannot listen for signals")?
    };
    let setup = Setup {
        run: writer.run_id().to_owned(),
        installed,
        user,
        inventory: inventory.clone(),
        work,
        logs: writer.dir().join("nodes"),
        start_limit: options.start_limit,
        keep: options.keep,
    };
    let say: sink::Say = {
        let progress = progress.clone();
        Arc::new(move |line: &str| progress.say(line))
    };
    let outlets = Outlets::start(doors, writer.dir(), Pace::default(), &say).context("cannot start the sinks")?;
    let result =
        trials(&mut writer, plan, (setup, options.templates), (progress.clone(), outlets.orphans()), &stop).await;
    progress.doing("handing the last points to the sinks");
    writer.sinks(outlets.stop(writer.accounting()).await);
    progress.finish();
    finish(writer, result, &stop, &inventory, watchdog)
}

/// The servers that points go to, which are the same for all variants; their secrets are read here.
fn doors(plan: &Plan) -> anyhow::Result<Vec<(String, sink::Door)>> {
    let sinks = plan.variants.first().map(|variant| &variant.scenario.sink).into_iter().flatten();
    let open = |(name, sink): (&String, &sink::Destination)| {
        let door = sink.open().with_context(|| format!("sink {name}"))?;
        Ok((name.clone(), door))
    };
    sinks.map(open).collect()
}

/// Writes the end of the record, undoes what is left, and sends the watchdog home.
fn finish(
    mut writer: Writer,
    result: anyhow::Result<Vec<String>>,
    stop: &Stop,
    inventory: &Inventory,
    watchdog: Watchdog,
) -> anyhow::Result<Done> {
    let dir = writer.dir().to_owned();
    let interrupted = stop.asked();
    let (status, reason) = match &result {
        Ok(_) if interrupted => (RunStatus::Interrupted, None),
        Ok(_) => (RunStatus::Finished, None),
        Err(error) => (RunStatus::Failed, Some(whole(error.as_ref()))),
    };
    let written = writer.finish(status, reason.as_deref()).and_then(|()| {
        let record = record::read(&dir)?;
        writer.result(&summarize(&record))?;
        Ok(record)
    });
    let undone = clean::undo_own(inventory);
    for failure in &undone.errors {
        tell(&format!("warning: {failure}"));
    }
    watchdog.farewell().context("the watchdog did not end")?;
    let kept = result.with_context(|| format!("the run failed; what it recorded is in {}", dir.display()))?;
    let record = written.with_context(|| format!("the record in {} is not whole", dir.display()))?;
    // The record is whole without its page, which `report --html` makes again.
    if let Err(error) = html::write(&record) {
        tell(&format!("warning: the page was not written: {}", whole(&error)));
    }
    Ok(Done { dir, interrupted, kept })
}

async fn trials(
    writer: &mut Writer,
    plan: &Plan,
    (setup, keeping): (Setup, Keeping),
    (progress, orphans): (Arc<Progress>, Orphanage),
    stop: &Stop,
) -> anyhow::Result<Vec<String>> {
    let keep = setup.keep;
    let (templates, password) = Templates::open(keeping, plan, &setup, &progress)?;
    let place = Workplace::open_with(setup, password).await?;
    let makes = Makes::find(plan, &place, &progress).await?;
    writer.servers(makes.servers());
    if makes.elsewhere() {
        writer.elsewhere();
    }
    let mut lab = Lab {
        place,
        makes,
        templates,
        guests: Mutex::default(),
        progress,
        dir: writer.dir().to_owned(),
        file: std::sync::Mutex::default(),
        orphans,
        run_id: writer.run_id().to_owned(),
        outline: writer.plan().clone(),
    };
    let kept = each(&mut lab, writer, plan, stop, keep).await;
    // Also when something failed.
    lab.guests.lock().await.leave(&lab.place, &lab.progress).await;
    lab.templates.close(&lab.progress);
    kept
}

/// One trial after the other; how to connect to servers that were left up.
async fn each(lab: &mut Lab, writer: &mut Writer, plan: &Plan, stop: &Stop, keep: bool) -> anyhow::Result<Vec<String>> {
    for variant in &plan.variants {
        if stop.asked() {
            return Ok(Vec::new());
        }
        lab.template(&variant.scenario, stop).await?;
    }
    writer.templates(lab.started_from());
    let mut kept = Vec::new();
    let mut hopeless = Hopeless::new(plan.variants.len());
    let mut stopping = Stopping::of(plan);
    for trial in &plan.trials {
        if stop.asked() {
            break;
        }
        let variant = &plan.variants[trial.variant];
        lab.progress.trial(trial.position, plan.trials.len(), &variant.name, trial.trial);
        let last = trial.position as usize == plan.trials.len();
        let ended = if hopeless.is(trial.variant) {
            trial::Ended::not_run(format!("not run: the first {GIVE_UP} trials of this variant failed"))
        } else {
            trial::run(lab, variant, trial, stop, keep && last).await
        };
        hopeless.count(trial.variant, ended.failed());
        if let Some(settings) = &ended.settings {
            writer.settings(trial.variant, settings.clone());
        }
        writer.trial(trial, &ended.as_record())?;
        lab.progress.ended(&ended.outcome());
        let rule = stopping.as_mut();
        if let Some(stopped) = rule.and_then(|rule| rule.ended(&lab.outline, trial.variant, ended.counted())) {
            lab.progress.say(&in_words(&stopped));
            writer.stopped(stopped);
            break;
        }
        kept = ended.kept;
    }
    Ok(kept)
}

/// Failed trials by variant, to give up on one that fails from the start.
struct Hopeless(Vec<(u32, u32)>);

impl Hopeless {
    fn new(variants: usize) -> Hopeless {
        Hopeless(vec![(0, 0); variants])
    }

    fn count(&mut self, variant: usize, failed: bool) {
        let (trials, failures) = &mut self.0[variant];
        *trials += 1;
        *failures += u32::from(failed);
    }

    fn is(&self, variant: usize) -> bool {
        let (trials, failures) = self.0[variant];
        trials >= GIVE_UP && trials == failures
    }
}

/// What the results folder may need: logs, points and histograms of a run of an hour.
const RESULTS: u64 = 64 << 20;

/// Refuses to begin what would end with a full disk.
fn enough_disk(plan: &Plan, work: &Path, out: &Path) -> anyhow::Result<()> {
    let needed = plan.estimate().disk.0;
    let mut places = vec![
        (work.to_owned(), needed, "name another place with --work DIR"),
        (out.to_owned(), RESULTS, "name another place with --out DIR"),
    ];
    for variant in &plan.variants {
        let nodes = variant.scenario.nodes();
        let each = needed / (nodes.len() as u64).max(1);
        for dir in nodes.iter().filter_map(|node| node.dir.clone()) {
            let here = nodes.iter().filter(|node| node.dir.as_ref() == Some(&dir)).count() as u64;
            places.push((dir, each * here, "give the node another `dir`"));
        }
    }
    for (path, needed, hint) in places {
        let free = disk::free(&path).with_context(|| format!("cannot tell how much of {} is free", path.display()))?;
        if free < needed {
            let (path, free, needed) = (path.display(), Size(free), Size(needed));
            bail!("{path} has {free} free, and the run needs about {needed}\n\nhint: free some, or {hint}");
        }
    }
    Ok(())
}
