//! The import rule: a room imports only from rooms of a lower group.

use std::path::{Path, PathBuf};

/// The rooms by group, lowest first.
const GROUPS: &[&[&str]] = &[
    &["base"],
    &["metric", "pg", "net", "disk", "snapshot"],
    &["driver", "dashboard"],
    &["clean"],
    &["cluster", "failover", "clone"],
    &["etl", "workload", "sampler", "sink", "manager"],
    &["fault", "probe"],
    &["scenario"],
    &["plan"],
    &["record"],
    &["report"],
    &["run"],
    &["cli"],
];

fn group(room: &str) -> Option<usize> {
    GROUPS.iter().position(|rooms| rooms.contains(&room))
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("src is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Rooms that a line of code names, as `crate::room` or in `use crate::{room, …}`.
fn named(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = 0;
            for (i, c) in list.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth > 0 => depth -= 1,
                    ',' | '}' if depth == 0 => {
                        rooms.push(word(list[start..i].trim_start()));
                        start = i + 1;
                        if c == '}' {
                            break;
                        }
                    }
                    _ => {}
                }
            }
        } else {
            rooms.push(word(rest));
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

/// The text without line comments, so that documentation may point anywhere.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_room_imports_only_from_lower_groups() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut wrong = Vec::new();
    let mut judged = 0;
    for file in files {
        let below = file.strip_prefix(&src).expect("below src");
        let room = below.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
        if room.ends_with(".rs") {
            continue;
        }
        let own = group(&room).unwrap_or_else(|| panic!("room `{room}` stands in no group"));
        for other in named(&code(&std::fs::read_to_string(&file).expect("readable"))) {
            judged += 1;
            match group(&other) {
                None => wrong.push(format!("{}: crate::{other} is no room", below.display())),
                Some(theirs) if other != room && theirs >= own => {
                    wrong.push(format!("{}: imports {other}, which is not below {room}", below.display()));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 20, "the test sees too few imports ({judged}) to be believed");
}

#[test]
fn imports_are_recognised() {
    assert_eq!(named("use crate::base::units::Time;"), ["base"]);
    assert_eq!(named("use crate::{\n    base::{Name, units},\n    pg::Host,\n};"), ["base", "pg"]);
    assert_eq!(named("let x = crate::cli::main();"), ["cli"]);
}
