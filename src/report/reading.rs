//! Finding the number that a metric's name means among the rows of a trial.
//!
//! A metric may have rows of the whole trial and of phases, of all writers together and of each, of a load
//! and of its transactions (`app/tpcb`). Phases are never mixed: a metric that is known by phase means the phase
//! that is named, and where none is, the scenario's [`meant_phase`] (that of the measured step, else the longest),
//! so that a warm-up does not answer for what follows it; only a metric without phases means the whole trial.
//! Within it the name means the widest rows there are; where several of those stand side by side (nodes,
//! loads), it means the worst of them.
//!
//! [`meant_phase`]: crate::record::outline::Scenario::meant_phase

use crate::metric::{Better, Value, catalogue};
use crate::record::SummaryRow;
use crate::record::outline::Variant;

/// A row, from wherever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    metric: &'a str,
    pub(super) phase: Option<&'a str>,
    subject: Option<&'a str>,
    pub(super) value: f64,
}

impl<'a> From<&'a SummaryRow> for Reading<'a> {
    fn from(row: &'a SummaryRow) -> Self {
        let (phase, subject) = (row.phase.as_deref(), row.subject.as_deref());
        Reading { metric: &row.metric, phase, subject, value: row.value }
    }
}

impl<'a> From<&'a Value> for Reading<'a> {
    fn from(value: &'a Value) -> Self {
        let (phase, subject) = (value.phase.as_deref(), value.subject.as_deref());
        Reading { metric: value.metric, phase, subject, value: value.value }
    }
}

/// The rows of one trial that `metric` means when no phase is named: those of `meant`, or of the whole trial if the
/// metric is not known by phase.
pub(super) fn unnamed<'a>(
    rows: impl IntoIterator<Item = Reading<'a>>,
    metric: &str,
    meant: Option<&str>,
) -> Vec<Reading<'a>> {
    let rows: Vec<Reading> = rows.into_iter().filter(|row| row.metric == metric).collect();
    let by_phase = rows.iter().any(|row| row.phase.is_some());
    readings(rows, metric, meant.filter(|_| by_phase))
}

/// The rows of one trial that `metric` means in `phase`, or in the whole trial if there is none.
pub(super) fn readings<'a>(
    rows: impl IntoIterator<Item = Reading<'a>>,
    metric: &str,
    phase: Option<&str>,
) -> Vec<Reading<'a>> {
    let mut found: Vec<Reading> = rows.into_iter().filter(|row| row.metric == metric && row.phase == phase).collect();
    keep_if_any(&mut found, |row| row.subject.is_none());
    keep_if_any(&mut found, |row| row.subject.is_none_or(|subject| !subject.contains('/')));
    found
}

/// The worst of them; none of none.
pub(super) fn worst(metric: &str, readings: &[Reading<'_>]) -> Option<f64> {
    let values = readings.iter().map(|reading| reading.value);
    match better(metric) {
        Better::Higher => values.min_by(f64::total_cmp),
        Better::Lower | Better::Neither => values.max_by(f64::total_cmp),
    }
}

/// What `metric` means in a trial of `variant` that came to `values`.
pub fn value_of(variant: &Variant, metric: &str, values: &[Value]) -> Option<f64> {
    worst(metric, &unnamed(values.iter().map(Reading::from), metric, variant.scenario.meant_phase()))
}

/// Which way is better; a metric that today's catalogue does not know has none.
pub(super) fn better(metric: &str) -> Better {
    catalogue::find(metric).map_or(Better::Neither, |metric| metric.better)
}

fn keep_if_any<T>(rows: &mut Vec<T>, keep: impl Fn(&T) -> bool) {
    if rows.iter().any(&keep) {
        rows.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(values: &[Value], metric: &str, phase: Option<&str>) -> Option<f64> {
        worst(metric, &readings(values.iter().map(Reading::from), metric, phase))
    }

    #[test]
    fn the_widest_row_is_meant() {
        let values = [
            Value::new("failover.write_outage", 0.9).subject("w1"),
            Value::new("failover.write_outage", 0.5),
            Value::new("load.errors", 100.0).subject("app"),
            Value::new("load.errors", 60.0).subject("app/40001"),
            Value::new("load.errors", 80.0).subject("app").phase("kill"),
        ];
        assert_eq!(find(&values, "failover.write_outage", None), Some(0.5));
        assert_eq!(find(&values, "load.errors", None), Some(100.0));
        assert_eq!(find(&values, "load.errors", Some("kill")), Some(80.0));
        assert_eq!(find(&values, "load.errors", Some("steady")), None);
        assert_eq!(find(&values, "ledger.acked_lost", None), None, "absent is not 0");
    }

    #[test]
    fn phases_are_not_mixed() {
        let values = [
            Value::new("load.response.p99", 0.9).subject("app").phase("warm-up"),
            Value::new("load.response.p99", 0.1).subject("app").phase("measure"),
            Value::new("ledger.acked", 7.0),
        ];
        let find = |metric, meant| worst(metric, &unnamed(values.iter().map(Reading::from), metric, meant));
        assert_eq!(find("load.response.p99", Some("measure")), Some(0.1));
        assert_eq!(find("load.response.p99", Some("cool-down")), None, "another phase does not stand in");
        assert_eq!(find("ledger.acked", Some("measure")), Some(7.0), "known of the whole trial only");
    }

    #[test]
    fn of_several_the_worst() {
        let values = [
            Value::new("standby.streaming", 1.0).node("s1"),
            Value::new("standby.streaming", 3.0).node("s2"),
            Value::new("load.tps", 10.0).subject("a"),
            Value::new("load.tps", 20.0).subject("b"),
        ];
        assert_eq!(find(&values, "standby.streaming", None), Some(3.0));
        assert_eq!(find(&values, "load.tps", None), Some(10.0));
    }
}
