//! What a run can say: sampled [`Point`]s, dated [`Event`]s and summary [`Value`]s. Summary values are
//! declared once in the [`catalogue`], with unit and which way is better; sampled measurements and their
//! fields in [`sampled`]. [`line`] writes points as InfluxDB line protocol.

pub mod catalogue;
pub mod line;
pub mod sampled;
pub mod table;

use crate::base::mask::mask;
use std::time::Duration;

/// One row of a statistics view (or of our own measurements) at one due time: a line of line protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The view's name, such as `pg_stat_replication`.
    pub measurement: &'static str,
    /// The node it was read on; empty for points of the harness itself.
    pub node: String,
    /// `primary` or `standby` as the server itself said; empty when not known.
    pub role: &'static str,
    /// Tags beside `run_id, scenario, variant, trial, node, role`, which the sink adds to every line.
    pub tags: Vec<(&'static str, String)>,
    /// Columns; what was NULL is absent.
    pub fields: Vec<(&'static str, Field)>,
    /// Due time on the sampler's grid, as time since the trial's zero.
    pub elapsed: Duration,
}

/// A column's value. Counters are `Int`, times and ratios `Float`, for ever: the first type written wins.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// An integer, counters above all.
    Int(i64),
    /// A time, ratio or other real number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(String),
}

/// A dated happening, shown as an annotation.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Time since the trial's zero.
    pub elapsed: Duration,
    /// Dotted kind, such as `phase.start`, `fault.kill`, `failover.promoted`.
    pub kind: &'static str,
    /// The node it is about.
    pub node: Option<String>,
    /// One sentence for people.
    pub text: String,
}

impl Event {
    /// As a point, when it is the trial's `number`th; passwords in its text are masked.
    pub fn point(&self, number: u32) -> Point {
        Point {
            measurement: sampled::EVENT.name,
            node: self.node.clone().unwrap_or_default(),
            role: "",
            tags: vec![("kind", self.kind.to_owned()), ("seq", number.to_string())],
            fields: vec![
                ("text", Field::Text(mask(&self.text))),
                ("elapsed_seconds", Field::Float(self.elapsed.as_secs_f64())),
            ],
            elapsed: self.elapsed,
        }
    }
}

/// Where events go; unbounded, as events are few.
pub type Events = tokio::sync::mpsc::UnboundedSender<Event>;

/// One number that a trial ended with: a row of `summary.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Name in the [`catalogue`].
    pub metric: &'static str,
    /// The phase it is of; absent for the whole trial.
    pub phase: Option<String>,
    /// The node it is of.
    pub node: Option<String>,
    /// Which transaction, writer, load or target it is of.
    pub subject: Option<String>,
    /// In the metric's unit. What is not known has no `Value` at all.
    pub value: f64,
}

impl Value {
    /// A value of the whole trial.
    pub fn new(metric: &'static str, value: f64) -> Self {
        Value { metric, phase: None, node: None, subject: None, value }
    }

    /// The same, of `phase`.
    pub fn phase(mut self, phase: impl Into<String>) -> Self {
        self.phase = Some(phase.into());
        self
    }

    /// The same, of `node`.
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }

    /// The same, of `subject`.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// Which direction is an improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// Neither; context only.
    Neither,
}

/// A declared measurement of a trial.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Dotted, without unit.
    pub name: &'static str,
    /// `s`, `1/s`, `count`, `bytes`, `ratio`.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// What it is, in a sentence.
    pub about: &'static str,
}

/// Where points go. Sending never waits: what does not fit is dropped and counted.
#[derive(Clone, Debug)]
pub struct Points {
    to: tokio::sync::mpsc::Sender<Vec<Point>>,
    produced: std::sync::Arc<std::sync::atomic::AtomicU64>,
    dropped: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Points {
    /// A channel that holds `batches` unread batches.
    pub fn channel(batches: usize) -> (Points, tokio::sync::mpsc::Receiver<Vec<Point>>) {
        let (to, from) = tokio::sync::mpsc::channel(batches);
        (Points { to, produced: Default::default(), dropped: Default::default() }, from)
    }

    /// Hands over a batch.
    pub fn send(&self, points: Vec<Point>) {
        use std::sync::atomic::Ordering::Relaxed;
        let count = points.len() as u64;
        self.produced.fetch_add(count, Relaxed);
        if self.to.try_send(points).is_err() {
            self.dropped.fetch_add(count, Relaxed);
        }
    }

    /// Points produced, and of these the ones that did not fit.
    pub fn counts(&self) -> (u64, u64) {
        use std::sync::atomic::Ordering::Relaxed;
        (self.produced.load(Relaxed), self.dropped.load(Relaxed))
    }
}
