//! The stopping rule at work: looked at after every whole round, so that variants stay interleaved and even.

use crate::metric::Value;
use crate::plan::Plan;
use crate::record::{Outline, StopReason, Stopped};
use crate::report::statistics::stopping::{Rule, Stop, half_width};
use crate::report::value_of;

/// A rule and what it has seen.
pub struct Stopping {
    rule: Rule,
    metric: String,
    /// Variants' names, with the metric's values in their trials that count.
    seen: Vec<(String, Vec<f64>)>,
    /// Trials so far, over all variants.
    trials: usize,
}

impl Stopping {
    /// The rule of a plan, if it has one.
    pub fn of(plan: &Plan) -> Option<Stopping> {
        let stop = plan.stop.as_ref()?;
        let metric = stop.metric.as_ref().or(plan.answer.first())?.clone();
        let ceiling = plan.trials.iter().map(|trial| trial.trial).max()? as usize;
        let rule = Rule { within: stop.within.0, floor: stop.at_least as usize, ceiling };
        let seen = plan.variants.iter().map(|variant| (variant.name.clone(), Vec::new())).collect();
        Some(Stopping { rule, metric, seen, trials: 0 })
    }

    /// Takes in a trial that ended; `values` is nothing of one that does not count. Tells why trials end, if they do:
    /// after a round in which the metric became known well enough in every variant, or after the last.
    pub fn ended(&mut self, outline: &Outline, variant: usize, values: Option<&[Value]>) -> Option<Stopped> {
        self.trials += 1;
        let of_variant = outline.variants.get(variant);
        let value = values.zip(of_variant).and_then(|(values, variant)| value_of(variant, &self.metric, values));
        if let Some((_, seen)) = self.seen.get_mut(variant) {
            seen.extend(value);
        }
        if !self.trials.is_multiple_of(self.seen.len()) {
            return None;
        }
        let rounds = self.trials / self.seen.len();
        let precise = |(_, seen): &(String, Vec<f64>)| matches!(self.rule.stop(seen), Some(Stop::Precise { .. }));
        let reason = match self.seen.iter().all(precise) {
            true => StopReason::Precise,
            false if rounds >= self.rule.ceiling => StopReason::Ceiling,
            false => return None,
        };
        let half_widths = self.seen.iter().map(|(name, seen)| (name.clone(), half_width(seen)));
        Some(Stopped {
            metric: self.metric.clone(),
            within: self.rule.within,
            at_least: self.rule.floor as u32,
            at_most: self.rule.ceiling as u32,
            rounds: rounds as u32,
            reason,
            half_widths: half_widths.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::expand;
    use crate::scenario::read::read;
    use crate::scenario::shipped;

    /// Two variants alike, whose trials come to what the script says; how it ends, and after how many trials.
    fn played(sets: &[&str], script: impl Fn(usize, u32) -> Option<f64>) -> (Option<Stopped>, usize) {
        let source = shipped::find("selftest").unwrap().source().with_sets(sets.iter().map(|set| (*set).to_owned()));
        let plan = expand(&read(&source).unwrap());
        let outline = Outline::of(&plan).unwrap();
        let mut stopping = Stopping::of(&plan).unwrap();
        for trial in &plan.trials {
            let value = script(trial.variant, trial.trial);
            // The first phase is not the one that is meant.
            let values = value.map(|value| {
                let of = |phase, value| Value::new("load.tps", value).subject("app").phase(phase);
                [of("warm-up", 1.0), of("measure", value)]
            });
            let stopped = stopping.ended(&outline, trial.variant, values.as_ref().map(|values| &values[..]));
            if stopped.is_some() {
                return (stopped, trial.position as usize);
            }
        }
        (None, plan.trials.len())
    }

    #[test]
    fn it_ends_after_whole_rounds_when_every_variant_is_known() {
        let sets = ["trials=30", "stop={ within = \"2%\" }"];
        // The second variant calms down late.
        let wild = |variant: usize, round: u32| match (variant, round) {
            (1, 1..=3) => 100.0 + 10.0 * f64::from(round),
            (1, _) => 120.0 + 0.1 * f64::from(round % 2),
            (_, round) => 100.0 + 0.1 * f64::from(round % 3),
        };
        let (stopped, trials) = played(&sets, |variant, round| Some(wild(variant, round)));
        let stopped = stopped.unwrap();
        assert_eq!((stopped.reason, stopped.metric.as_str()), (StopReason::Precise, "load.tps"));
        assert_eq!(trials, 2 * stopped.rounds as usize, "whole rounds");
        assert!((6..25).contains(&stopped.rounds), "{stopped:?}");
        assert!(stopped.half_widths.values().all(|half| half.unwrap() <= 0.02), "{stopped:?}");
    }

    #[test]
    fn never_before_the_floor_and_never_beyond_the_ceiling() {
        let calm = |_: usize, round: u32| Some(100.0 + 0.01 * f64::from(round % 2));
        let (stopped, _) = played(&["trials=30", "stop={ within = \"2%\", at_least = 7 }"], calm);
        assert_eq!(stopped.map(|stopped| (stopped.rounds, stopped.reason)), Some((7, StopReason::Precise)));
        let wild = |_: usize, round: u32| Some(if round.is_multiple_of(2) { 50.0 } else { 100.0 });
        let (stopped, trials) = played(&["trials=8", "stop={ within = \"2%\" }"], wild);
        let stopped = stopped.unwrap();
        assert_eq!((stopped.rounds, stopped.reason, trials), (8, StopReason::Ceiling, 16));
        assert!(stopped.half_widths["side=one"].unwrap() > 0.02);
    }

    #[test]
    fn trials_that_do_not_count_make_nothing_precise() {
        let (stopped, _) =
            played(&["trials=9", "stop={ within = \"2%\" }"], |variant, _| (variant == 0).then_some(9.0));
        let stopped = stopped.unwrap();
        assert_eq!((stopped.rounds, stopped.reason), (9, StopReason::Ceiling));
        assert_eq!(stopped.half_widths["side=other"], None, "not known, and not 0");
    }
}
