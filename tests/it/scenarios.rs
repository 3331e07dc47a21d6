//! Every scenario that is shipped reads, and its plan is as the snapshot has it.

use pgbench_rs::plan::{Plan, expand};
use pgbench_rs::scenario::Source;
use pgbench_rs::scenario::read::{Document, read};
use pgbench_rs::scenario::shipped::{SHIPPED, Shipped};
use std::time::Duration;

fn document(shipped: &Shipped, sets: &[&str]) -> Document {
    let source = shipped.source().with_sets(sets.iter().copied());
    read(&source).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The arguments in the comment at the head of a shipped file.
fn short(shipped: &Shipped) -> Vec<&str> {
    let line = shipped.text.lines().find(|line| line.contains("pgbench-rs run")).expect("no shorter form is named");
    line.split("--set ").skip(1).map(str::trim).collect()
}

#[test]
fn every_file_is_shipped() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
    assert_eq!(folder.count(), SHIPPED.len());
}

#[test]
fn plans_are_as_the_snapshots_have_them() {
    for shipped in SHIPPED {
        let plan = expand(&document(shipped, &[]));
        assert_eq!(plan.scenario, shipped.name);
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("plan_{}", shipped.name), plan);
        });
    }
}

#[test]
fn plans_go_through_json() {
    for shipped in SHIPPED {
        let plan = expand(&document(shipped, &[]));
        let json = serde_json::to_string(&plan).unwrap();
        let back: Plan = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
        assert_eq!(back.to_string(), plan.to_string());
    }
}

#[test]
fn shipped_scenarios_are_short_and_have_a_shorter_form() {
    for shipped in SHIPPED {
        let whole = expand(&document(shipped, &[])).estimate();
        assert!(*whole.duration < Duration::from_secs(300), "{} takes {}", shipped.name, whole.duration);
        let short = expand(&document(shipped, &short(shipped))).estimate();
        assert!(*short.duration <= Duration::from_secs(50), "{} takes {} in short", shipped.name, short.duration);
    }
}

#[test]
fn levels_are_in_force_and_nodes_are_named() {
    let failover = pgbench_rs::scenario::shipped::find("failover").unwrap();
    let plan = expand(&document(failover, &["node.s.count=3"]));
    let names: Vec<_> = plan.variants.iter().map(|variant| variant.name.as_str()).collect();
    assert_eq!(names, ["commit=off", "commit=on", "commit=remote_apply"]);
    let nodes = plan.variants[2].scenario.nodes();
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["a", "s1", "s2", "s3"]);
    assert!(nodes.iter().all(|node| node.settings["synchronous_commit"] == "remote_apply"));
    assert_eq!(nodes[0].settings["synchronous_standby_names"], "ANY 1 (\"a\", \"s1\", \"s2\", \"s3\")");
    let measured = plan.variants[0].scenario.measured().unwrap();
    assert_eq!((measured.phase, measured.name), (1, "kill"));
}

#[test]
fn the_marked_step_is_measured_and_steps_come_in_the_order_of_time() {
    let lossy = document(pgbench_rs::scenario::shipped::find("failover-lossy").unwrap(), &[]).scenario;
    assert_eq!(lossy.measured().unwrap().name, "kill");
    let late = ["phase.kill.do.cut.at=2s", "phase.kill.do.cut.every=1s", "phase.kill.do.cut.for=500ms"];
    let source = pgbench_rs::scenario::shipped::find("failover-lossy").unwrap().source().with_sets(late);
    let document = read(&source).unwrap();
    let steps: Vec<_> =
        document.scenario.phase[1].schedule().iter().map(|due| (due.at.as_millis(), due.name)).collect();
    assert_eq!(steps, [(1000, "kill"), (2000, "cut"), (3000, "cut"), (4000, "cut")]);
}

/// Two axes of a few levels each, and combinations that are skipped.
fn varied(a: usize, b: usize, skip: &[(usize, usize)], trials: u32) -> String {
    let levels = |key: &str, count: usize| {
        (0..count).map(|i| format!("l{i} = {{ \"postgres.settings.{key}\" = {} }}\n", i + 1)).collect::<String>()
    };
    let skip: Vec<_> = skip.iter().map(|(a, b)| format!("{{ x = \"l{a}\", y = \"l{b}\" }}")).collect();
    format!(
        "name = 'n'\nquestion = 'q'\ntrials = {trials}\nnode.a.role = 'primary'\n\
         [[phase]]\nname = 'p'\nlasts = '1s'\n[vary.x]\n{}[vary.y]\n{}[design]\nskip = [{}]\n",
        levels("geqo_pool_size", a),
        levels("vacuum_cost_limit", b),
        skip.join(", ")
    )
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]
    #[test]
    fn a_plan_has_every_combination_that_is_not_skipped_as_often_as_there_are_trials(
        a in 1usize..4, b in 1usize..4, trials in 1u32..4, drawn in proptest::collection::btree_set((0usize..4, 0usize..4), 0..6),
    ) {
        let skip: Vec<_> = drawn.into_iter().filter(|(x, y)| *x < a && *y < b).collect();
        let read = read(&Source::new("x.toml", varied(a, b, &skip, trials)));
        if skip.len() == a * b {
            proptest::prop_assert!(read.unwrap_err().to_string().contains("every combination is skipped"));
            return Ok(());
        }
        let plan = expand(&read.unwrap());
        for (x, y) in (0..a).flat_map(|x| (0..b).map(move |y| (x, y))) {
            let name = format!("x=l{x},y=l{y}");
            let runs: Vec<_> = plan.trials.iter().filter(|trial| plan.variant(trial).name == name).collect();
            let wanted = if skip.contains(&(x, y)) { 0 } else { trials };
            proptest::prop_assert_eq!(runs.len(), wanted as usize);
            proptest::prop_assert_eq!(runs.iter().map(|run| run.trial).collect::<Vec<_>>(), (1..=wanted).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_a_level_says_wins_over_arguments_and_absent_removes() {
    let text = varied(2, 1, &[], 1).replace(
        "l1 = { \"postgres.settings.geqo_pool_size\" = 2 }",
        "l1 = { \"postgres.settings.geqo_pool_size\" = \"absent\" }",
    );
    let source = Source::new("x.toml", text).with_sets(["postgres.settings.geqo_pool_size=9"]);
    let document = read(&source).unwrap();
    let settings = |i: usize| document.combinations[i].scenario.nodes()[0].settings.get("geqo_pool_size").cloned();
    assert_eq!((settings(0), settings(1)), (Some("1".into()), None));
    assert_eq!(document.scenario.nodes()[0].settings["geqo_pool_size"], "9");
}
