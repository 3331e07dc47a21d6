//! What a manager did, and the figures of it.

use crate::base::Name;
use crate::failover::{Episode, Phase};
use crate::metric::Value;
use std::time::Duration;

/// How things stood when the manager was stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The node that accepts writes, as far as the manager knows.
    pub primary: Name,
    /// What was under way; [`Phase::Stable`] if nothing was.
    pub phase: Phase,
    /// Every failover and switchover.
    pub episodes: Vec<Episode>,
}

impl Outcome {
    /// The figures of the first failover that was confirmed after `fault`, the instant of the measured one,
    /// and of every switchover (`from>to` as subject). What did not happen has no value.
    pub fn values(&self, fault: Option<Duration>) -> Vec<Value> {
        let mut values = Vec::new();
        let mut push = |metric, from: Option<Duration>, to: Option<Duration>, subject: Option<String>| {
            if let Some(took) = to.zip(from).and_then(|(to, from)| to.checked_sub(from)) {
                values.push(Value { subject, ..Value::new(metric, took.as_secs_f64()) });
            }
        };
        if let Some(e) = self.failover(fault) {
            push("failover.detect", fault, e.confirmed, None);
            push("failover.elect", e.confirmed, e.elected, None);
            push("failover.fence", e.elected, e.fenced, None);
            push("failover.promote", e.fenced.or(e.elected), e.promoted, None);
        }
        for e in self.episodes.iter().filter(|episode| episode.requested.is_some()) {
            let subject = e.to.as_ref().map(|to| format!("{}>{to}", e.from));
            push("switchover.duration", e.requested, e.promoted, subject);
        }
        values
    }

    /// When the primary that the measured failover replaced was proven fenced.
    pub fn fenced(&self, fault: Option<Duration>) -> Option<Duration> {
        self.failover(fault)?.fenced
    }

    /// The first failover that was confirmed after `fault`.
    fn failover(&self, fault: Option<Duration>) -> Option<&Episode> {
        fault?;
        self.episodes.iter().find(|episode| episode.requested.is_none() && episode.confirmed >= fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_differences_of_instants_that_happened() {
        let s = Duration::from_secs;
        let early = Episode { from: "a".into(), confirmed: Some(s(3)), given_up: Some(s(4)), ..Episode::default() };
        let failover = Episode {
            from: "a".into(),
            confirmed: Some(s(11)),
            elected: Some(s(13)),
            fenced: Some(s(16)),
            promoted: Some(s(20)),
            ..Episode::default()
        };
        let planned = Episode {
            requested: Some(s(30)),
            from: "b".into(),
            to: Some("c".into()),
            promoted: Some(s(35)),
            ..Episode::default()
        };
        let rolled_back = Episode { requested: Some(s(40)), promoted: None, ..planned.clone() };
        let episodes = vec![early, failover, planned, rolled_back];
        let outcome = Outcome { primary: "c".into(), phase: Phase::Stable, episodes };
        let line =
            |value: &Value| format!("{} {} {}", value.metric, value.subject.as_deref().unwrap_or("-"), value.value);
        let lines: Vec<String> = outcome.values(Some(s(10))).iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "failover.detect - 1",
                "failover.elect - 2",
                "failover.fence - 3",
                "failover.promote - 4",
                "switchover.duration b>c 5"
            ]
        );
        assert_eq!((outcome.fenced(Some(s(10))), outcome.fenced(None)), (Some(s(16)), None));
        assert_eq!(outcome.values(None).len(), 1);
        let declared = |value: &Value| crate::metric::catalogue::find(value.metric).is_some();
        assert!(outcome.values(Some(s(10))).iter().all(declared));
    }
}
