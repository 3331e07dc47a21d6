//! From commit to visible, as bounds.
//!
//! A write that was sent at `sent` and acknowledged at `acked` was committed at some instant C in between. A target
//! that was asked at `missed` and did not show it, and had answered by `hit` with it, made it visible at some instant
//! V in between. So the lag V − C lies between `missed − acked`, and no less than zero, and `hit − sent`.
//! A write that the very first poll shows has no miss, and zero as its lower bound.

use crate::base::histogram::Histogram;
use crate::metric::{Field, Point, Value};
use indexmap::IndexMap;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Writes that are followed at once on one target; the oldest of more is given up as unseen.
const FOLLOWED: usize = 4096;

/// A write that is followed on one target.
#[derive(Clone, Debug)]
struct Write {
    marker: i64,
    source: String,
    /// Index of the phase in which it was sent; absent: before the first.
    phase: Option<usize>,
    sent: Duration,
    acked: Option<Duration>,
    missed: Option<Duration>,
    hit: Option<Duration>,
}

/// The bounds of writes.
#[derive(Debug, Default)]
struct Bounds {
    lower: Histogram,
    upper: Histogram,
    unseen: u64,
}

/// What was seen of the writes of one primary on one target.
#[derive(Debug, Default)]
struct Lag {
    all: Bounds,
    /// Of those that were sent in a phase, by its index.
    phases: BTreeMap<usize, Bounds>,
    /// Largest bounds, and the count, since the last point.
    recent: Option<(Duration, Duration, i64)>,
    /// Acknowledged and not yet seen, when the last point was made.
    waiting: i64,
}

/// A server on which writes may become visible.
#[derive(Debug)]
pub(super) struct Target {
    node: String,
    /// What it is called in subjects: the node, and of a subscription also that.
    label: String,
    /// Its role as the server says.
    role: &'static str,
    /// It was in recovery when last asked; a primary is no target.
    standby: bool,
    following: VecDeque<Write>,
    /// The phases so far.
    phases: Vec<String>,
    /// By the primary that acknowledged.
    lags: IndexMap<String, Lag>,
}

impl Target {
    pub(super) fn new(node: impl Into<String>) -> Target {
        let node = node.into();
        Target {
            label: node.clone(),
            node,
            role: "standby",
            standby: false,
            following: VecDeque::new(),
            phases: Vec::new(),
            lags: IndexMap::new(),
        }
    }

    /// A target of a subscription, as which a node never takes writes of its own.
    pub(super) fn subscribed(node: impl Into<String>, subscription: &str) -> Target {
        let mut target = Target::new(node);
        target.label = format!("{}.{subscription}", target.node);
        target.standby = true;
        target.role = "primary";
        target
    }

    /// What is sent from now on belongs to the phase called `name`.
    pub(super) fn phase(&mut self, name: &str) {
        self.phases.push(name.to_owned());
    }

    /// Whether a poll could tell something.
    pub(super) fn is_waiting(&self) -> bool {
        self.following.iter().any(|write| write.hit.is_none())
    }

    /// Whether some acknowledged write is not yet seen.
    pub(super) fn is_behind(&self) -> bool {
        self.following.iter().any(|write| write.hit.is_none() && write.acked.is_some())
    }

    /// `marker` is about to be written on `source`. Markers ascend.
    pub(super) fn sent(&mut self, marker: i64, source: &str, at: Duration) {
        if !self.standby || self.node == source {
            return;
        }
        if self.following.len() == FOLLOWED {
            let oldest = self.following.pop_front();
            self.give_up(oldest);
        }
        let phase = self.phases.len().checked_sub(1);
        let write = Write { marker, source: source.into(), phase, sent: at, acked: None, missed: None, hit: None };
        self.following.push_back(write);
    }

    /// The write was acknowledged.
    pub(super) fn acked(&mut self, marker: i64, at: Duration) {
        if let Some(write) = self.following.iter_mut().find(|write| write.marker == marker) {
            write.acked = Some(at);
        }
        self.finish();
    }

    /// The write failed, or its outcome is not known: there is no commit to count from.
    pub(super) fn not_acked(&mut self, marker: i64) {
        self.following.retain(|write| write.marker != marker);
    }

    /// The writer found `marker` on the primary that it now writes to. What is beyond that was lost on the way.
    pub(super) fn survived(&mut self, marker: i64) {
        self.give_up_where(|write| write.marker > marker && write.hit.is_none());
    }

    /// A poll sent at `sent` and answered at `done` showed `marker` and whether the server is in recovery.
    pub(super) fn polled(&mut self, standby: bool, marker: i64, sent: Duration, done: Duration) {
        for write in self.following.iter_mut().filter(|write| write.hit.is_none()) {
            if write.marker <= marker {
                write.hit = Some(done);
            } else {
                write.missed = Some(sent);
            }
        }
        self.finish();
        if self.standby && !standby {
            // Promoted: what it does not hold now it will never show.
            self.give_up_where(|write| write.hit.is_none());
        }
        self.standby = standby;
    }

    /// Counts what is still not seen as unseen.
    pub(super) fn end(&mut self) {
        self.give_up_where(|write| write.hit.is_none());
    }

    fn finish(&mut self) {
        while let Some(front) = self.following.front() {
            let (Some(acked), Some(hit)) = (front.acked, front.hit) else { return };
            let lower = front.missed.map_or(Duration::ZERO, |missed| missed.saturating_sub(acked));
            let upper = hit.saturating_sub(front.sent);
            let Some(Write { source, phase, .. }) = self.following.pop_front() else { return };
            let lag = self.lags.entry(source).or_default();
            for bounds in lag.of(phase) {
                bounds.lower.record(lower);
                bounds.upper.record(upper);
            }
            let (lowest, highest, count) = lag.recent.unwrap_or_default();
            lag.recent = Some((lowest.max(lower), highest.max(upper), count + 1));
        }
    }

    fn give_up_where(&mut self, lost: impl Fn(&Write) -> bool) {
        let (gone, kept): (VecDeque<Write>, VecDeque<Write>) = self.following.drain(..).partition(|write| lost(write));
        self.following = kept;
        gone.into_iter().for_each(|write| self.give_up(Some(write)));
        self.finish();
    }

    /// Unseen counts acknowledged writes only.
    fn give_up(&mut self, write: Option<Write>) {
        if let Some(write) = write.filter(|write| write.acked.is_some()) {
            self.lags.entry(write.source).or_default().of(write.phase).for_each(|bounds| bounds.unseen += 1);
        }
    }

    /// Summary values, of each primary that this target followed, of all writes and of those of each phase; `a>s1` is
    /// the subject.
    pub(super) fn values(&self) -> Vec<Value> {
        let mut values = Vec::new();
        for (source, lag) in &self.lags {
            let of = |value: Value| value.node(&self.node).subject(format!("{source}>{}", self.label));
            values.extend(lag.all.values().map(of));
            for (index, bounds) in &lag.phases {
                let name = &self.phases[*index];
                values.extend(bounds.values().map(|value| of(value).phase(name)));
            }
        }
        values
    }

    /// Points of the measurement `lag_visible`: the largest bounds among the writes seen since the last ones, and how
    /// many acknowledged writes are not yet seen. Without a seen write the bounds are absent.
    pub(super) fn points(&mut self, elapsed: Duration) -> Vec<Point> {
        self.lags.values_mut().for_each(|lag| lag.waiting = 0);
        for write in self.following.iter().filter(|write| write.acked.is_some()) {
            self.lags.entry(write.source.clone()).or_default().waiting += 1;
        }
        let mut points = Vec::new();
        for (source, lag) in &mut self.lags {
            let recent = lag.recent.take();
            if recent.is_none() && lag.waiting == 0 {
                continue;
            }
            let mut fields = vec![("waiting", Field::Int(lag.waiting))];
            if let Some((lower, upper, seen)) = recent {
                fields.push(("seen", Field::Int(seen)));
                fields.push(("lower_max", Field::Float(lower.as_secs_f64())));
                fields.push(("upper_max", Field::Float(upper.as_secs_f64())));
            }
            points.push(point((&self.node, self.role), (source, &self.label), fields, elapsed));
        }
        points
    }
}

impl Lag {
    /// The bounds that a write of this phase goes into.
    fn of(&mut self, phase: Option<usize>) -> impl Iterator<Item = &mut Bounds> {
        let of_phase = phase.map(|phase| self.phases.entry(phase).or_default());
        std::iter::once(&mut self.all).chain(of_phase)
    }
}

impl Bounds {
    fn values(&self) -> impl Iterator<Item = Value> {
        let quantiles = [
            ("lag.visible.lower.p50", self.lower.quantile(0.5)),
            ("lag.visible.lower.p99", self.lower.quantile(0.99)),
            ("lag.visible.lower.max", self.lower.max()),
            ("lag.visible.upper.p50", self.upper.quantile(0.5)),
            ("lag.visible.upper.p99", self.upper.quantile(0.99)),
            ("lag.visible.upper.max", self.upper.max()),
            ("lag.visible.seen", Some(self.upper.count() as f64)),
            ("lag.visible.unseen", Some(self.unseen as f64)),
        ];
        quantiles.into_iter().filter_map(|(metric, value)| Some(Value::new(metric, value?)))
    }
}

fn point(
    (node, role): (&str, &'static str),
    (source, label): (&str, &str),
    fields: Vec<(&'static str, Field)>,
    elapsed: Duration,
) -> Point {
    let tags = vec![("source", source.to_owned()), ("target", label.to_owned())];
    Point { measurement: "lag_visible", node: node.into(), role, tags, fields, elapsed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::catalogue;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A standby `s1` that has been asked once.
    fn standby() -> Target {
        let mut target = Target::new("s1");
        target.polled(true, 0, ms(0), ms(0));
        target
    }

    fn value(target: &Target, metric: &str) -> Option<f64> {
        target.values().iter().find(|v| v.metric == metric).map(|v| v.value)
    }

    fn close(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value - expected).abs() <= expected / 500.0)
    }

    #[test]
    fn the_bounds_are_last_miss_after_ack_and_first_hit_after_sending() {
        let mut target = standby();
        target.sent(1, "a", ms(100));
        target.polled(true, 0, ms(102), ms(103));
        target.acked(1, ms(104));
        target.polled(true, 0, ms(110), ms(111));
        target.polled(true, 1, ms(120), ms(123));
        target.polled(true, 1, ms(130), ms(131));
        assert!(close(value(&target, "lag.visible.lower.max"), 0.006), "missed at 110, acknowledged at 104");
        assert!(close(value(&target, "lag.visible.upper.max"), 0.023), "seen at 123, sent at 100");
        assert_eq!(value(&target, "lag.visible.seen"), Some(1.0));
        let values = target.values();
        assert!(values.iter().all(|v| v.subject.as_deref() == Some("a>s1") && catalogue::find(v.metric).is_some()));
    }

    #[test]
    fn seen_before_its_acknowledgement_has_no_lower_bound_but_zero() {
        let mut target = standby();
        target.sent(1, "a", ms(100));
        target.polled(true, 1, ms(101), ms(105));
        assert!(!target.is_waiting());
        assert_eq!(value(&target, "lag.visible.seen"), None, "not yet known to be committed");
        target.acked(1, ms(110));
        assert!(value(&target, "lag.visible.lower.max").unwrap() <= 1e-6);
        assert!(close(value(&target, "lag.visible.upper.max"), 0.005));
    }

    #[test]
    fn a_write_without_acknowledgement_is_not_counted() {
        let mut target = standby();
        target.sent(1, "a", ms(1));
        target.polled(true, 1, ms(2), ms(3));
        target.not_acked(1);
        target.sent(2, "a", ms(4));
        target.end();
        assert!(target.values().is_empty());
    }

    #[test]
    fn what_was_lost_or_never_shown_is_unseen() {
        let mut target = standby();
        (1..=4).for_each(|marker| {
            target.sent(marker, "a", ms(marker as u64));
            target.acked(marker, ms(marker as u64));
        });
        target.survived(3);
        assert_eq!(value(&target, "lag.visible.unseen"), Some(1.0));
        target.polled(false, 2, ms(10), ms(11));
        assert_eq!(value(&target, "lag.visible.unseen"), Some(2.0), "promoted without the third");
        assert_eq!(value(&target, "lag.visible.seen"), Some(2.0));
        target.sent(5, "s1", ms(12));
        assert!(!target.is_waiting(), "a primary is no target");
    }

    #[test]
    fn each_primary_has_its_own_subject() {
        let mut target = Target::new("s2");
        target.polled(true, 0, ms(0), ms(0));
        for (marker, source) in [(1, "a"), (2, "s1")] {
            target.sent(marker, source, ms(5));
            target.acked(marker, ms(6));
            target.polled(true, marker, ms(7), ms(8));
        }
        let subjects: Vec<_> = target.values().into_iter().filter(|v| v.metric == "lag.visible.seen").collect();
        assert_eq!(subjects.iter().map(|v| v.subject.as_deref().unwrap()).collect::<Vec<_>>(), ["a>s2", "s1>s2"]);
    }

    #[test]
    fn a_write_belongs_to_the_phase_in_which_it_was_sent() {
        let mut target = standby();
        for (marker, phase) in [(1, None), (2, Some("calm")), (3, None), (4, Some("busy"))] {
            if let Some(name) = phase {
                target.phase(name);
            }
            let at = ms(100 * marker as u64);
            target.sent(marker, "a", at);
            target.acked(marker, at);
        }
        target.polled(true, 3, ms(410), ms(411));
        target.end();
        let of = |metric: &str, phase: Option<&str>| {
            let values = target.values();
            values.iter().find(|v| v.metric == metric && v.phase.as_deref() == phase).map(|v| v.value)
        };
        assert_eq!(
            [None, Some("calm"), Some("busy")].map(|phase| of("lag.visible.seen", phase)),
            [Some(3.0), Some(2.0), Some(0.0)]
        );
        assert_eq!(
            (of("lag.visible.unseen", Some("calm")), of("lag.visible.unseen", Some("busy"))),
            (Some(0.0), Some(1.0))
        );
        assert!(close(of("lag.visible.upper.max", Some("calm")), 0.211), "sent at 200, seen at 411");
    }

    #[test]
    fn memory_does_not_grow() {
        let mut target = standby();
        for marker in 1..=5000 {
            target.sent(marker, "a", ms(1));
            target.acked(marker, ms(2));
        }
        assert_eq!(target.following.len(), FOLLOWED);
        assert_eq!(value(&target, "lag.visible.unseen"), Some(5000.0 - FOLLOWED as f64));
    }

    #[test]
    fn points_carry_the_second_that_they_are_of() {
        let mut target = standby();
        target.sent(1, "a", ms(1));
        target.acked(1, ms(2));
        assert_eq!(target.points(ms(1000))[0].fields, [("waiting", Field::Int(1))]);
        target.polled(true, 1, ms(1001), ms(1002));
        assert_eq!(target.points(ms(2000))[0].fields[3], ("upper_max", Field::Float(1.001)));
        assert!(target.points(ms(3000)).is_empty());
    }
}
