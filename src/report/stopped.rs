//! What a stopping rule came to, in words.

use super::humane::percent;
use crate::plan::Trial;
use crate::record::{Record, StopReason, Stopped};

/// Why there were no more trials.
pub fn in_words(stopped: &Stopped) -> String {
    let Stopped { metric, within, rounds, at_least, .. } = stopped;
    let within = percent(*within);
    let rounds = if *rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") };
    match stopped.reason {
        StopReason::Precise => {
            let widest = stopped.half_widths.values().copied().flatten().fold(0.0, f64::max);
            let floor = format!("at least {at_least}");
            format!(
                "stopped after {rounds} ({floor}): {metric} is known within {}, {within} was asked for",
                percent(widest)
            )
        }
        StopReason::Ceiling => {
            let wide = stopped.half_widths.iter().filter(|(_, half)| half.is_none_or(|half| half > stopped.within));
            let each = wide.map(|(variant, half)| match half {
                Some(half) => format!("within {} in {variant}", percent(*half)),
                None => format!("without an interval in {variant}"),
            });
            let each: Vec<String> = each.collect();
            format!(
                "stopped after {rounds}, the most there were to be: {metric} is known {}, {within} was asked for",
                each.join(", ")
            )
        }
    }
}

/// The trials that were to be made, as it turned out.
pub(super) fn planned(record: &Record) -> impl Iterator<Item = &Trial> {
    let rounds = record.manifest.stopped.as_ref().map_or(u32::MAX, |stopped| stopped.rounds);
    record.plan.trials.iter().filter(move |trial| trial.trial <= rounds)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Lab;
    use super::super::{summarize, terminal};
    use super::*;
    use crate::metric::Value;

    #[test]
    fn what_the_rule_left_out_is_not_missing() {
        let mut lab = Lab::new(&["on"], 9);
        for trial in 1..=6 {
            lab.ok("on", trial, &[Value::new("failover.write_outage", 0.5)]);
        }
        let mut record = lab.record();
        let mut stopped = Stopped {
            metric: "failover.write_outage".into(),
            within: 0.02,
            at_least: 5,
            at_most: 9,
            rounds: 6,
            reason: StopReason::Precise,
            half_widths: [("commit=on".to_owned(), Some(0.0123))].into(),
        };
        record.manifest.stopped = Some(stopped.clone());
        let text = terminal(&summarize(&record)).split_whitespace().collect::<Vec<_>>().join(" ");
        let why =
            "stopped after 6 rounds (at least 5): failover.write_outage is known within 1.2 %, 2.0 % was asked for";
        assert!(text.contains(why) && text.contains("trials 6 ok") && !text.contains("not run"), "{text}");
        (stopped.reason, stopped.rounds) = (StopReason::Ceiling, 9);
        stopped.half_widths = [("commit=off".to_owned(), Some(0.01)), ("commit=on".to_owned(), None)].into();
        let why = "stopped after 9 rounds, the most there were to be: failover.write_outage is known without an \
                   interval in commit=on, 2.0 % was asked for";
        assert_eq!(in_words(&stopped), why);
    }
}
