//! The phase clock: which step is injected and undone when, as plain values computed beforehand.

use crate::scenario::Phase;
use std::time::Duration;

/// One thing that is due in a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// From the start of the phase.
    pub at: Duration,
    /// The step's name.
    pub step: String,
    /// What is done.
    pub act: Act,
}

/// What is done with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// Takes it back.
    Undo,
    /// Does it.
    Inject,
}

/// All moments of a phase, in order. What is due at the same instant is undone before anything is injected.
///
/// A repeated step is undone before it is injected again, and no undo comes later than the phase's end. A
/// step without `for` that is not repeated has no undo here: it is taken back at the end of the trial.
pub fn moments(phase: &Phase) -> Vec<Moment> {
    let schedule = phase.schedule();
    let mut moments = Vec::new();
    for (i, due) in schedule.iter().enumerate() {
        let moment = |at, act| Moment { at, step: due.name.to_owned(), act };
        moments.push(moment(due.at, Act::Inject));
        let again = schedule[i + 1..].iter().find(|later| later.name == due.name).map(|later| later.at);
        let end = due.step.every.map(|_| *phase.lasts);
        if let Some(undo) = [due.until, again, end].into_iter().flatten().min() {
            moments.push(moment(undo.min(*phase.lasts), Act::Undo));
        }
    }
    moments.sort_by_key(|moment| (moment.at, moment.act));
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(steps: &str) -> Phase {
        toml::from_str(&format!("name = \"p\"\nlasts = \"10s\"\n{steps}")).unwrap()
    }

    fn shown(phase: &Phase) -> Vec<String> {
        moments(phase).iter().map(|m| format!("{:?} {} {:?}", m.at, m.step, m.act)).collect()
    }

    const KILL: &str = "act = { kill = { of = \"@primary\" } }";

    #[test]
    fn a_step_without_end_lasts_to_the_end_of_the_trial() {
        assert_eq!(shown(&phase(&format!("[do.k]\nat = \"2s\"\n{KILL}"))), ["2s k Inject"]);
    }

    #[test]
    fn steps_are_ordered_by_time_and_undone_before_others_begin() {
        let steps = format!("[do.late]\nat = \"3s\"\n{KILL}\n[do.early]\nat = \"1s\"\nfor = \"2s\"\n{KILL}");
        assert_eq!(shown(&phase(&steps)), ["1s early Inject", "3s early Undo", "3s late Inject"]);
    }

    #[test]
    fn a_repeated_step_is_undone_before_it_comes_again() {
        let steps = format!("[do.k]\nat = \"1s\"\nevery = \"4s\"\nfor = \"9s\"\n{KILL}");
        let expected = ["1s k Inject", "5s k Undo", "5s k Inject", "9s k Undo", "9s k Inject", "10s k Undo"];
        assert_eq!(shown(&phase(&steps)), expected);
    }

    #[test]
    fn an_undo_never_outlasts_its_phase() {
        let steps = format!("[do.k]\nat = \"9s\"\nfor = \"5s\"\n{KILL}");
        assert_eq!(shown(&phase(&steps)), ["9s k Inject", "10s k Undo"]);
    }
}
