//! Phases and what is done in them.

use super::traffic::{positive, target};
use super::{Findings, Part, drivers, externals, logical, ways};
use crate::fault::{Fault, FreezeWhat};
use crate::manager::Manager;
use crate::scenario::near::{list, near};
use crate::scenario::{Phase, Role, Scenario, Step};

pub(super) fn phases(scenario: &Scenario, findings: &mut Findings) {
    if scenario.phase.is_empty() {
        findings.key(&["phase"], "there is no phase", "add `[[phase]]` with `name = \"steady\"` and `lasts = \"10s\"`");
    }
    for (i, phase) in scenario.phase.iter().enumerate() {
        // By place and not by name, which another phase may have too.
        let index = i.to_string();
        findings.name(&["phase", &index, "name"], Part::Value, &phase.name);
        if phase.name.parse::<usize>().is_ok() {
            let message = format!("`{}` cannot be the name of a phase", phase.name);
            findings.value(&["phase", &index, "name"], message, "a number addresses a phase by its place; use a word");
        }
        if scenario.phase[..i].iter().any(|other| other.name == phase.name) {
            let message = format!("there is a phase `{}` already", phase.name);
            findings.value(&["phase", &index, "name"], message, "phases are addressed by name; call it otherwise");
        }
        positive(&["phase", &index, "lasts"], phase.lasts, findings);
        if phase.warm_up.is_some_and(|warm_up| warm_up >= phase.lasts) {
            let message = format!("nothing would be left of `{}`, which lasts {}", phase.name, phase.lasts);
            findings.value(&["phase", &index, "warm_up"], message, "cut less, or let the phase last longer");
        }
        for (name, step) in &phase.steps {
            findings.name(&["phase", &index, "do", name], Part::Key, name);
            times(&index, phase, name, step, findings);
        }
    }
    measured(scenario, findings);
}

fn times(index: &str, phase: &Phase, name: &str, step: &Step, findings: &mut Findings) {
    let path = |key| ["phase", index, "do", name, key];
    if step.at.0 >= phase.lasts.0 && !phase.lasts.is_zero() {
        let message = format!("`{name}` comes at {}, and `{}` is over after {}", step.at, phase.name, phase.lasts);
        findings.value(&path("at"), message, "let it come earlier, or the phase last longer");
    } else if let Some(lasts) = step.lasts
        && step.at.0 + lasts.0 > phase.lasts.0
    {
        let message = format!("`{name}` is undone after `{}` is over, which lasts {}", phase.name, phase.lasts);
        let hint = "let the phase last longer, or leave out `for`: it is then undone at the end of the trial";
        findings.value(&path("for"), message, hint);
    }
    if let Some(lasts) = step.lasts {
        positive(&path("for"), lasts, findings);
        if matches!(step.act, Fault::Switchover(_) | Fault::Cutover(_)) {
            let what = if matches!(step.act, Fault::Cutover(_)) { "cutover" } else { "switchover" };
            findings.key(&path("for"), format!("a {what} is not undone"), "leave out `for`");
        }
    }
    if let Some(every) = step.every {
        positive(&path("every"), every, findings);
        if step.lasts.is_some_and(|lasts| lasts >= every) {
            let message = format!("`{name}` would come again before it is undone");
            findings.value(&path("every"), message, "let `every` be longer than `for`");
        }
        if step.lasts.is_none() && step.act.lasts() {
            let message = format!("`{name}` would come again without ever being undone");
            findings.key(&path("every"), message, "say with `for` how long it lasts each time");
        }
    }
}

/// Outages are measured from one step.
fn measured(scenario: &Scenario, findings: &mut Findings) {
    let phases = scenario.phase.iter().enumerate();
    let steps = phases.flat_map(|(i, phase)| phase.steps.iter().map(move |step| (i.to_string(), step)));
    let steps: Vec<_> = steps.filter(|(_, (_, step))| !matches!(step.act, Fault::Load(_) | Fault::Vacuum(_))).collect();
    let marked: Vec<_> = steps.iter().filter(|(_, (_, step))| step.measured).collect();
    if let Some((index, (name, _))) = steps.get(1)
        && marked.is_empty()
    {
        findings.key(
            &["phase", index, "do", name],
            "there are several steps, and none says that outages are measured from it",
            "give one of them `measured = true`",
        );
    }
    for (index, (name, _)) in marked.iter().skip(1) {
        let message = "outages are measured from one step only";
        findings.value(&["phase", index, "do", name, "measured"], message, "leave `measured` to one of them");
    }
}

/// What the steps do, and to whom.
pub(super) fn faults(scenario: &Scenario, findings: &mut Findings) {
    for (i, phase) in scenario.phase.iter().enumerate() {
        let index = i.to_string();
        for (name, step) in &phase.steps {
            let path = ["phase", index.as_str(), "do", name, "act"];
            match &step.act {
                Fault::Switchover(_) | Fault::Load(_) | Fault::Vacuum(_) => {}
                Fault::Kill(kill) => drop(target(scenario, &of(&path), &kill.of, findings)),
                Fault::Stop(stop) => drop(target(scenario, &of(&path), &stop.of, findings)),
                Fault::Freeze(freeze) => {
                    let there = target(scenario, &of(&path), &freeze.of, findings);
                    if there && freeze.what == FreezeWhat::WalReceiver {
                        standby_only(scenario, &of(&path), &freeze.of, "has no WAL receiver", findings);
                    }
                }
                Fault::PauseReplay(pause) => {
                    if target(scenario, &of(&path), &pause.of, findings) {
                        standby_only(scenario, &of(&path), &pause.of, "replays nothing", findings);
                    }
                }
                Fault::HoldSnapshot(hold) => {
                    if target(scenario, &of(&path), &hold.of, findings) {
                        standby_only(
                            scenario,
                            &of(&path),
                            &hold.of,
                            "has rows as long as a report needs them",
                            findings,
                        );
                    }
                    if scenario.scale().is_none() {
                        let hint = "let a load write pgbench's tables";
                        findings.key(
                            &[&path[..], &["kind"]].concat(),
                            "it reads pgbench's accounts, and there are none",
                            hint,
                        );
                    }
                }
                Fault::Disconnect(_) | Fault::LoseHost(_) => {
                    target(scenario, &of(&path), step.act.target().unwrap_or_default(), findings);
                    ways::fault(scenario, &path, &step.act, findings);
                }
                Fault::FillDisk(_) | Fault::SlowDisk(_) => {
                    let to = step.act.target().unwrap_or_default();
                    if target(scenario, &of(&path), to, findings) {
                        drivers::disk(scenario, &path, &step.act, to, findings);
                    }
                }
                Fault::DisableSubscription(_) | Fault::DropSlot(_) | Fault::ApplyConflict(_) => {
                    subscription(scenario, &of(&path), step.act.subscription().unwrap_or_default(), findings);
                }
                Fault::Cutover(cutover) => logical::cutover(scenario, &path, cutover, findings),
                Fault::Partition(_) | Fault::Link(_) | Fault::Reset(_) | Fault::Stall(_) => {
                    ways::fault(scenario, &path, &step.act, findings);
                }
            }
            externals::fault(scenario, &path, &step.act, findings);
            if matches!(step.act, Fault::Switchover(_)) {
                switchover(scenario, &path, step, findings);
            }
        }
    }
}

/// Whether a subscription is there.
fn subscription(scenario: &Scenario, path: &[&str], name: &str, findings: &mut Findings) {
    let all = scenario.subscriptions();
    if !all.iter().any(|one| one.name == name) {
        let hint = match all.is_empty() {
            true => "add `[subscription.NAME]`".to_owned(),
            false => match near(name, all.iter().map(|one| one.name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the subscriptions are {}", list(all.iter().map(|one| one.name.as_str()))),
            },
        };
        findings.value(path, format!("there is no subscription `{name}`"), hint);
    }
}

fn of<'a>(act: &[&'a str]) -> Vec<&'a str> {
    [act, &["of"]].concat()
}

fn standby_only(scenario: &Scenario, path: &[&str], target: &str, why: &str, findings: &mut Findings) {
    let primary = scenario.nodes().iter().any(|node| node.name == target && node.role == Role::Primary);
    if primary || target == "@primary" {
        findings.value(path, format!("a primary {why}"), "aim it at `@standbys` or at one of them");
    }
}

fn switchover(scenario: &Scenario, act: &[&str], step: &Step, findings: &mut Findings) {
    let Fault::Switchover(switchover) = &step.act else { return };
    if scenario.is_external() {
        externals::switchover(scenario, act, switchover, findings);
    } else if matches!(scenario.manager, Manager::None(_)) {
        let hint = "add `[manager]` with `kind = \"builtin\"`";
        findings.key(&[act, &["kind"]].concat(), "a switchover is asked of the manager, and there is none", hint);
    }
    positive(&[act, &["timeout"]].concat(), switchover.timeout, findings);
    let nodes = scenario.nodes();
    let standbys = || nodes.iter().filter(|node| node.role == Role::Standby);
    let path = [act, &["to"]].concat();
    let Some(to) = &switchover.to else {
        if standbys().next().is_none() {
            findings.key(act, "there is no standby to switch over to", "add one");
        }
        return;
    };
    match standbys().find(|node| node.name == *to) {
        None if nodes.iter().any(|node| node.name == *to) || to == "@primary" => {
            findings.value(&path, format!("`{to}` is the primary already"), "name a standby")
        }
        None => {
            let hint = match near(to, standbys().map(|node| node.name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name one node that is a standby, or leave out `to` and let the manager elect".to_owned(),
            };
            findings.value(&path, format!("there is no standby `{to}`"), hint);
        }
        Some(node) if node.priority == 0 => findings.value(
            &path,
            format!("`{to}` has priority 0 and is never promoted"),
            "name another, or give it a priority",
        ),
        Some(_) => {}
    }
}
