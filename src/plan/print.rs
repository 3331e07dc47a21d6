//! A plan as text: everything that would happen.

use super::clones::{self, Places};
use super::data::{Amounts, in_words};
use super::{Plan, Variant, logical, place};
use crate::base::units::{Size, Time, human};
use crate::manager::{Fence, Manager};
use crate::metric::catalogue::find;
use crate::scenario::topology::NodePlan;
use crate::scenario::{Bound, Limit, Phase, Role, Scenario};
use crate::workload::profile::Arrivals;
use crate::workload::{Load, Profile};
use std::fmt::{self, Write};
use std::time::Duration;

/// A plan as text, with what was found out.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// How directories can be cloned.
    pub places: &'a Places,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printed { plan: self, places: &Places::new() }.fmt(f)
    }
}

impl fmt::Display for Printed<'_> {
    /// What would happen, in the order in which it would; the first variant in full, of the others what differs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Printed { plan, places } = self;
        plan.print(f, places)
    }
}

impl Plan {
    fn print(&self, f: &mut fmt::Formatter<'_>, places: &Places) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.question)?;
        if !self.answer.is_empty() {
            writeln!(f, "answered by {}", self.answer.join(", "))?;
        }
        let Some(first) = self.variants.first() else { return Ok(()) };
        variants(f, self)?;
        // What levels change is shown under the variants; the rest is the same in all of them.
        let of = if self.variants.len() > 1 { format!(" ({})", first.name) } else { String::new() };
        writeln!(f, "\nservers{of}")?;
        nodes(f, &first.scenario)?;
        if !first.scenario.data.is_empty() {
            writeln!(f, "\ndata{of}")?;
            data(f, &first.scenario)?;
        }
        writeln!(f, "\nmanager{of}\n  {}", manager(&first.scenario.manager))?;
        writeln!(f, "\nload and probes{of}")?;
        traffic(f, &first.scenario, places)?;
        writeln!(f, "\nphases of a trial{of}")?;
        let measured = first.scenario.measured();
        for (i, phase) in first.scenario.phase.iter().enumerate() {
            phase_lines(f, phase, measured.filter(|measured| measured.phase == i).map(|measured| measured.name))?;
        }
        limits(f, &first.scenario)?;
        sinks(f, &first.scenario)?;
        order(f, self)?;
        estimate(f, self)
    }
}

fn sinks(f: &mut fmt::Formatter<'_>, scenario: &Scenario) -> fmt::Result {
    if !scenario.sink.is_empty() {
        writeln!(f, "\nsampled points also go to")?;
    }
    for (name, sink) in &scenario.sink {
        writeln!(f, "  {name}: {}", sink.url())?;
    }
    Ok(())
}

fn variants(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    let rounds = plan.trials.len() / plan.variants.len().max(1);
    let (variants, trials) = (counted(plan.variants.len(), "variant"), counted(rounds, "trial"));
    writeln!(f, "\n{variants}, {trials} of each")?;
    if let Some(stop) = &plan.stop {
        let metric = stop.metric.as_ref().or(plan.answer.first()).map_or("", String::as_str);
        let (within, at_least) = (stop.within, stop.at_least);
        writeln!(f, "  fewer once {metric} is known within {within} in every variant, but at least {at_least}")?;
    }
    for Variant { name, patches, .. } in &plan.variants {
        writeln!(f, "  {name}")?;
        for (path, value) in patches {
            writeln!(f, "    {path} = {}", if value.is_empty() { "\"\"" } else { value })?;
        }
    }
    Ok(())
}

pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn nodes(f: &mut fmt::Formatter<'_>, scenario: &Scenario) -> fmt::Result {
    let nodes = scenario.nodes();
    place::made_of(f, scenario)?;
    for node in &nodes {
        writeln!(f, "  {}", one_node(node))?;
    }
    logical::lines(f, scenario)?;
    place::links(f, scenario)?;
    let common = |setting: &str, value: &str| {
        nodes.iter().all(|node| node.settings.get(setting).is_some_and(|other| other == value))
    };
    let Some(first) = nodes.first() else { return Ok(()) };
    for (setting, value) in first.settings.iter().filter(|(setting, value)| common(setting, value)) {
        writeln!(f, "    {setting} = '{value}'")?;
    }
    for node in &nodes {
        for (setting, value) in node.settings.iter().filter(|(setting, value)| !common(setting, value)) {
            writeln!(f, "    {}: {setting} = '{value}'", node.name)?;
        }
    }
    Ok(())
}

fn one_node(node: &NodePlan) -> String {
    let mut line = match (node.role, &node.follows) {
        (Role::Primary, _) => format!("{}: primary", node.name),
        (Role::Standby, Some(upstream)) => format!("{}: standby of {upstream}", node.name),
        (Role::Standby, None) => format!("{}: standby", node.name),
        (Role::Subscriber, _) => format!("{}: subscriber", node.name),
    };
    if node.slot {
        line += ", with a slot";
    }
    line += &place::at(node.site.as_ref());
    if node.role == Role::Standby && node.priority == 0 {
        line += ", never promoted";
    }
    if let Some(version) = node.version {
        line += &format!(", PostgreSQL {version}");
    }
    line += &place::limits(node);
    if let Some(dir) = &node.dir {
        line += &format!(", in {}", dir.display());
    }
    line
}

fn manager(manager: &Manager) -> String {
    match manager {
        Manager::None(_) => "none: what fails stays failed".to_owned(),
        Manager::Builtin(builtin) => {
            let detect = builtin.detect;
            let at = place::at(builtin.site.as_ref());
            let dead = format!(
                "builtin{at}: checks every {}, each within {}, dead after {} missed in a row",
                detect.every, detect.timeout, detect.misses
            );
            let promotes = if builtin.automatic { "promotes by itself" } else { "promotes only in a switchover" };
            match builtin.fence {
                Fence::Driver => format!("{dead}; {promotes}, after the old primary is fenced"),
                Fence::None => format!("{dead}; {promotes}, WITHOUT fencing the old primary (unsafe)"),
            }
        }
    }
}

fn data(f: &mut fmt::Formatter<'_>, scenario: &Scenario) -> fmt::Result {
    let (later, mut amounts) = (scenario.loaded_by_steps(), Amounts::default());
    for (name, data) in &scenario.data {
        let when = if later.contains(&name.as_str()) { "loaded by a step" } else { "loaded once, before any trial" };
        writeln!(f, "  {name}: {}, {when}{}", data.describe(), in_words(amounts.of(data)))?;
    }
    Ok(())
}

fn traffic(f: &mut fmt::Formatter<'_>, scenario: &Scenario, places: &Places) -> fmt::Result {
    for (name, load) in &scenario.load {
        writeln!(f, "  load {name}: {}", one_load(load))?;
    }
    if let Some(ledger) = &scenario.probe.ledger {
        let writers = counted(ledger.writers as usize, "writer");
        let at = place::at((!ledger.sites.is_empty()).then(|| ledger.sites.join(" and ")).as_ref());
        writeln!(f, "  ledger: {writers}, {} writes a second, each within {}{at}", ledger.rate, ledger.timeout)?;
    }
    if let Some(visibility) = &scenario.probe.visibility {
        writeln!(
            f,
            "  visibility: a write every {}, other servers polled every {}",
            visibility.every, visibility.poll
        )?;
    }
    for (name, campaign) in &scenario.clone {
        writeln!(f, "  clones {name}: {}", clones::in_words(scenario, campaign, places))?;
    }
    let sample = &scenario.sample;
    writeln!(f, "  sessions every {}, counters every {}, tables every {}", sample.waits, sample.every, sample.tables)?;
    if place::containers(scenario) {
        writeln!(f, "  containers every {}, at whole seconds and no more often", sample.every)?;
    }
    Ok(())
}

fn one_load(load: &Load) -> String {
    let transactions = load.mix.transactions();
    let mix = transactions.iter().map(|(what, weight)| match transactions.len() {
        1 => what.name().to_owned(),
        _ => format!("{}@{weight}", what.name()),
    });
    let of = match (load.mix.scale(), load.mix.books()) {
        (Some(scale), _) => format!(" of scale {scale}"),
        (None, Some(books)) => format!(" of {books} books"),
        (None, None) => String::new(),
    };
    let mut line = format!(
        "{}{}, {}, {} in {}, to {}",
        mix.collect::<Vec<_>>().join(" "),
        of,
        profile(&load.profile),
        counted(load.clients as usize, "client"),
        counted(load.threads as usize, "thread"),
        load.to
    );
    if let Some(pool) = load.pool {
        line += &format!(", through a pool of {pool}");
    }
    if let Some(timeout) = load.timeout {
        line += &format!(", each within {timeout}");
    }
    line += &place::at(load.site.as_ref());
    line
}

fn profile(profile: &Profile) -> String {
    let arrivals = match profile.open() {
        Some((_, Arrivals::Poisson)) => ", Poisson arrivals",
        Some((_, Arrivals::Rayleigh)) => ", Rayleigh arrivals",
        Some((_, Arrivals::Constant)) | None => "",
    };
    match profile {
        Profile::Closed(_) => "closed loop".to_owned(),
        Profile::Open(open) => format!("open loop of {}/s{arrivals}", open.rate),
        Profile::Pulse(pulse) => format!(
            "open loop of {}/s with bursts of {}/s for {} every {}{arrivals}",
            pulse.hum, pulse.peak, pulse.lasts, pulse.every
        ),
        Profile::Cycle(cycle) => {
            let swings = cycle.swings.iter().map(|swing| format!("±{} every {}", swing.by, swing.every));
            format!("open loop of {}/s {}{arrivals}", cycle.rate, swings.collect::<Vec<_>>().join(" "))
        }
    }
}

/// A phase; `measured` is the step in it from which outages count.
fn phase_lines(f: &mut fmt::Formatter<'_>, phase: &Phase, measured: Option<&str>) -> fmt::Result {
    writeln!(f, "  {}", phase.in_words())?;
    for due in phase.schedule() {
        let measured =
            if measured == Some(due.name) && due.at == due.step.at.0 { ", outages are measured from here" } else { "" };
        let until = due.until.map_or_else(String::new, |until| format!(", undone at {}", Time(until)));
        let act = &due.step.act;
        let what = act.describe(&act.written());
        writeln!(f, "    {:>6}  {}: {what}{until}{measured}", Time(due.at).to_string(), due.name)?;
    }
    Ok(())
}

fn limits(f: &mut fmt::Formatter<'_>, scenario: &Scenario) -> fmt::Result {
    if !scenario.valid.is_empty() {
        writeln!(f, "\na trial is valid if")?;
        for (metric, limits) in &scenario.valid {
            writeln!(f, "  {metric} {}", range(metric, limits))?;
        }
    }
    if !scenario.claim.is_empty() {
        writeln!(f, "\nclaimed")?;
    }
    for claim in &scenario.claim {
        let phase = claim.phase.as_ref().map_or_else(String::new, |phase| format!(" in {phase}"));
        let mut when = String::new();
        for (axis, levels) in &claim.when {
            write!(when, ", for {axis} {}", levels.join(" or "))?;
        }
        for (which, limits) in [("in every trial", &claim.every_trial), ("as median", &claim.median)] {
            if let Some(limits) = limits {
                writeln!(f, "  {}{phase} {} {which}{when}", claim.metric, range(&claim.metric, limits))?;
            }
        }
    }
    Ok(())
}

fn range(metric: &str, bound: &Bound) -> String {
    let unit = find(metric).map_or("", |metric| metric.unit);
    let with_unit = |limit: Limit| match (unit, Duration::try_from_secs_f64(limit.0)) {
        ("s", Ok(time)) => Time(time).to_string(),
        ("1/s", _) => format!("{}/s", limit.0),
        _ => limit.0.to_string(),
    };
    match (bound.min.map(with_unit), bound.max.map(with_unit)) {
        (Some(min), Some(max)) => format!("from {min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => String::new(),
    }
}

fn order(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    writeln!(f, "\norder of trials")?;
    for round in plan.trials.chunks(plan.variants.len().max(1)) {
        let names: Vec<_> = round.iter().map(|trial| plan.variant(trial).name.as_str()).collect();
        writeln!(f, "  {:>3}  {}", round[0].trial, names.join("  "))?;
    }
    Ok(())
}

fn estimate(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    let estimate = plan.estimate();
    let trials = counted(plan.trials.len(), "trial");
    writeln!(
        f,
        "\ntakes about {}: {} to load, then {trials} of up to {}",
        human(estimate.duration.0),
        human(estimate.loading.0),
        human(estimate.trial.0)
    )?;
    writeln!(f, "needs about {} of disk", Size(estimate.disk.0.next_multiple_of(1 << 20)))?;
    for assumption in &estimate.assumptions {
        writeln!(f, "  {assumption}")?;
    }
    Ok(())
}
