//! Broken scenario files and what is said about them: each file in `broken/` has a snapshot.

use pgbench_rs::scenario::{ScenarioErrors, Source, read::read};
use std::fs;
use std::path::Path;

fn errors(name: &str, text: &str, sets: &[&str]) -> ScenarioErrors {
    let source = Source::new(name, text).with_sets(sets.iter().copied());
    read(&source).err().unwrap_or_else(|| panic!("{name} reads, although it is broken"))
}

#[test]
fn broken_files_say_all_that_is_wrong() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/broken");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20);
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        let errors = errors(&format!("{stem}.toml"), &text, &[]);
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("broken_{stem}"), errors);
        });
        for problem in errors.problems() {
            assert!(!problem.message.ends_with('.'), "{stem}: {}", problem.message);
            assert!(problem.hint.as_deref() != Some(""), "{stem}: an empty hint for {}", problem.message);
        }
    }
}

#[test]
fn arguments_are_pointed_at() {
    let text = include_str!("../../scenarios/failover.toml");
    let sets = [
        "phase.kill.lasts=20x",
        "phase.kil.lasts=20s",
        "load.app.clients=0",
        "trails=2",
        "node.s",
        "load.app.profile={ kind = \"open\" rate = 5 }",
        "load.app.profile.rate=many",
        "node.s.count=\"3\"",
        "postgres.settings.synchronous_commit=local",
    ];
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("broken_arguments", errors("failover.toml", text, &sets));
    });
}

#[test]
fn problems_are_readable_by_programs() {
    let text = include_str!("../../scenarios/failover.toml");
    let errors = errors("failover.toml", text, &["load.app.clients=0"]);
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(json[0]["file"], "command line");
    assert_eq!(json[0]["path"], "load.app.clients");
    assert_eq!(json[0]["line"], serde_json::Value::Null);
    assert_eq!(json[0]["column"], 24);
}

proptest::proptest! {
    /// Whatever is cut out of a file or doubled in it: it reads, or it is said why not, and reading ends.
    #[test]
    fn damaged_files_are_read_or_explained(at in 0usize..2200, length in 0usize..60, doubled: bool) {
        let text = include_str!("../../scenarios/failover.toml");
        let start = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let end = (start + length..).find(|i| *i >= text.len() || text.is_char_boundary(*i)).map_or(start, |i| i.min(text.len()));
        let middle = if doubled { text[start..end].repeat(2) } else { String::new() };
        let damaged = format!("{}{middle}{}", &text[..start], &text[end..]);
        if let Err(errors) = read(&Source::new("damaged.toml", damaged)) {
            proptest::prop_assert!(!errors.problems().is_empty());
            proptest::prop_assert!(errors.problems().iter().all(|problem| problem.line.is_some_and(|line| line > 0)));
        }
    }
}
