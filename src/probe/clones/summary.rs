//! The figures of a campaign: of each clone, and of all of them.

use super::campaign::{Bench, Ended};
use super::life::{Life, Outcome};
use super::way::Way;
use crate::clone::Phase;
use crate::clone::worth::Worth;
use crate::metric::sampled::CLONE;
use crate::metric::{Event, Field, Point, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a campaign came to.
pub(super) struct Summary {
    /// The node that was cloned.
    pub node: String,
    /// All clones that were asked for.
    pub lives: Vec<Life>,
    /// Rounds that were due while another was under way.
    pub skipped: u64,
    /// What went wrong.
    pub problems: Vec<String>,
    name: String,
    phase: String,
    cooked: Option<Duration>,
    ways: Vec<Way>,
}

/// The metric of a part of a clone's life.
fn metric(phase: Phase) -> &'static str {
    match phase {
        Phase::Look => "clone.look",
        Phase::Checkpoint => "clone.checkpoint",
        Phase::Freeze => "clone.freeze",
        Phase::Snapshot => "clone.snapshot",
        Phase::Clone => "clone.clone",
        Phase::Thaw => "clone.thaw",
        Phase::BackupStop => "clone.backup_stop",
        Phase::Fixup => "clone.fixup",
        Phase::Resetwal => "clone.resetwal",
        Phase::ContainerCreate => "clone.container_create",
        Phase::ContainerStart => "clone.container_start",
        Phase::Start => "clone.start",
        Phase::FirstRow => "clone.first_row",
        Phase::Settle => "clone.settle",
        Phase::Cold => "clone.cold",
        Phase::Warm => "clone.warm",
        Phase::Stop => "clone.stop",
        Phase::Destroy => "clone.destroy",
    }
}

impl Summary {
    pub(super) fn new(name: &str, phase: &str, node: &str) -> Summary {
        Summary {
            node: node.to_owned(),
            lives: Vec::new(),
            skipped: 0,
            problems: Vec::new(),
            name: name.to_owned(),
            phase: phase.to_owned(),
            cooked: None,
            ways: Vec::new(),
        }
    }

    /// The base of precooked clones was there.
    pub(super) fn cooked(&mut self, took: Duration) {
        self.cooked = Some(took);
    }

    /// Clones came by this way.
    pub(super) fn way(&mut self, way: Way) {
        if !self.ways.contains(&way) {
            self.ways.push(way);
        }
    }

    /// One clone as a point of the measurement `clone`.
    pub(super) fn point(&self, life: &Life) -> Point {
        let mut fields = vec![("made", Field::Bool(life.outcome == Outcome::Made))];
        fields.extend(
            of_one(life).into_iter().filter_map(|(metric, value)| {
                Some((CLONE.field(metric.strip_prefix("clone.")?)?, Field::Float(value)))
            }),
        );
        let tags = vec![("subject", life.called())];
        Point { measurement: "clone", node: self.node.clone(), role: "", tags, fields, elapsed: life.asked }
    }

    /// The values, and what went wrong; the summary is over.
    pub(super) fn ended(mut self, bench: &Bench) -> Ended {
        for life in &self.lives {
            self.problems.extend(life.problems.iter().cloned());
        }
        for problem in &self.problems {
            let (elapsed, node) = (bench.clock.elapsed(), Some(self.node.clone()));
            // Nobody reads events after the trial.
            let _ = bench.events.send(Event { elapsed, kind: "clone.problem", node, text: problem.clone() });
        }
        Ended { values: self.values(), ways: self.ways, problems: self.problems }
    }

    fn values(&self) -> Vec<Value> {
        let mut values = Vec::new();
        let mut all: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        let value = |metric, value| Value::new(metric, value).phase(&self.phase).node(&self.node);
        for life in &self.lives {
            for (metric, one) in of_one(life) {
                all.entry(metric).or_default().push(one);
                values.push(value(metric, one).subject(life.called()));
            }
        }
        let count = |is: &dyn Fn(&Outcome) -> bool| self.lives.iter().filter(|life| is(&life.outcome)).count() as f64;
        let mut of_all = vec![
            ("clone.made", count(&|outcome| matches!(outcome, Outcome::Made))),
            ("clone.failed", count(&|outcome| matches!(outcome, Outcome::Failed(_) | Outcome::Evicted(_)))),
            ("clone.unfinished", count(&|outcome| matches!(outcome, Outcome::Unfinished(_)))),
            ("clone.skipped", self.skipped as f64),
        ];
        of_all.extend(self.cooked.map(|took| ("clone.cook", took.as_secs_f64())));
        if let Some(ready) = all.get("clone.ready") {
            of_all.push(("clone.ready.max", ready.iter().copied().fold(f64::MIN, f64::max)));
        }
        for (metric, mut ones) in all {
            of_all.push((metric, if is_sum(metric) { ones.iter().sum() } else { median(&mut ones) }));
        }
        values.extend(of_all.into_iter().map(|(metric, of_all)| value(metric, of_all).subject(&self.name)));
        values
    }
}

/// Counts of what should not be are added up; of all else the median is meant.
fn is_sum(metric: &str) -> bool {
    matches!(metric, "clone.lost_rows" | "clone.inconsistent" | "clone.amcheck")
}

/// All that is known of one clone.
fn of_one(life: &Life) -> Vec<(&'static str, f64)> {
    let mut values: Vec<(&'static str, f64)> = Vec::new();
    let mut known = |metric, value: Option<f64>| values.extend(value.map(|value| (metric, value)));
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    known("clone.ready", seconds(life.ready));
    let checkpoint = life.took(Phase::Checkpoint).unwrap_or_default();
    known("clone.after_checkpoint", seconds(life.ready.map(|ready| ready.saturating_sub(checkpoint))));
    for span in life.spans.iter().filter(|span| span.ended) {
        known(metric(span.phase), Some(span.took.as_secs_f64()));
    }
    if let Some(facts) = &life.facts {
        known("clone.stood_still", seconds(facts.stood_still));
        known("clone.replayed", facts.replayed.map(|bytes| bytes as f64));
    }
    if let Some(worth) = &life.worth {
        known("clone.age", worth.age);
        known("clone.lost_rows", worth.rows_lost.map(|rows| rows as f64));
        known("clone.lost_bytes", worth.bytes_lost.map(|bytes| bytes as f64));
        known("clone.amcheck", worth.amcheck.as_ref().map(|amcheck| amcheck.findings as f64));
        let looked = worth.tpcb.is_some() || worth.amcheck.is_some() || !worth.unreadable.is_empty();
        known("clone.inconsistent", looked.then(|| f64::from(u8::from(is_inconsistent(worth)))));
    }
    known("clone.space", life.space[0].map(|bytes| bytes as f64));
    known("clone.space.end", life.space[1].map(|bytes| bytes as f64));
    let load = |metric: &str| {
        life.load.iter().find(|value| value.metric == metric && value.phase.is_some()).map(|value| value.value)
    };
    known("clone.load.tps", load("load.tps"));
    known("clone.load.p99", load("load.response.p99"));
    values
}

/// Whether it was found to contradict itself.
pub(super) fn is_inconsistent(worth: &Worth) -> bool {
    let disagrees = worth.tpcb.as_ref().is_some_and(|tpcb| !tpcb.agrees());
    disagrees || worth.amcheck.as_ref().is_some_and(|amcheck| amcheck.findings > 0) || !worth.unreadable.is_empty()
}

/// What is wrong with a clone that is not whole.
pub(super) fn in_words(worth: &Worth) -> String {
    let mut said = Vec::new();
    let lost = |count: Option<u64>, what: &str| count.filter(|count| *count > 0).map(|count| format!("{count} {what}"));
    said.extend(lost(worth.rows_lost, "rows are missing that had been committed"));
    said.extend(lost(worth.bytes_lost, "bytes of WAL are missing that had been flushed"));
    if let Some(tpcb) = worth.tpcb.as_ref().filter(|tpcb| !tpcb.agrees()) {
        said.push(format!("pgbench's sums disagree: {tpcb}"));
    }
    if let Some(amcheck) = worth.amcheck.as_ref().filter(|amcheck| amcheck.findings > 0) {
        said.push(format!("pg_amcheck found {}, first: {}", amcheck.findings, amcheck.first.join("; ")));
    }
    said.extend(worth.unreadable.iter().map(|why| format!("it cannot be read: {why}")));
    said.join("; ")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
