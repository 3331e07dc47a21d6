//! Finding the number that a metric's name means among the rows of a trial.
//!
//! A metric may have rows of the whole trial and of phases, of all writers together and of each, of a load
//! and of its transactions (`app/tpcb`). Without more said, the name means the widest rows there are; where
//! several of those stand side by side (nodes, loads), it means the worst of them.

use crate::metric::{Better, Value, catalogue};
use crate::record::SummaryRow;

/// A row, from wherever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    metric: &'a str,
    phase: Option<&'a str>,
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

/// The rows of one trial that `metric` means, in `phase` when one is named.
pub(super) fn readings<'a>(
    rows: impl IntoIterator<Item = Reading<'a>>,
    metric: &str,
    phase: Option<&str>,
) -> Vec<Reading<'a>> {
    let mut found: Vec<Reading> = rows.into_iter().filter(|row| row.metric == metric).collect();
    match phase {
        Some(phase) => found.retain(|row| row.phase == Some(phase)),
        None => keep_if_any(&mut found, |row| row.phase.is_none()),
    }
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
            Value::new("load.tps", 100.0).subject("app"),
            Value::new("load.tps", 60.0).subject("app/tpcb"),
            Value::new("load.tps", 80.0).subject("app").phase("kill"),
        ];
        assert_eq!(find(&values, "failover.write_outage", None), Some(0.5));
        assert_eq!(find(&values, "load.tps", None), Some(100.0));
        assert_eq!(find(&values, "load.tps", Some("kill")), Some(80.0));
        assert_eq!(find(&values, "load.tps", Some("steady")), None);
        assert_eq!(find(&values, "ledger.acked_lost", None), None, "absent is not 0");
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
