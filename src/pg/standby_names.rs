//! `synchronous_standby_names`, as PostgreSQL's own grammar has it:
//! `[FIRST] n (names)`, `ANY n (names)`, or `names` (the first of them).

use serde::{Deserialize, Serialize};

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyNames {
    /// How many standbys must confirm.
    pub count: u32,
    /// Who may; `*` is anybody.
    pub names: Vec<String>,
}

impl StandbyNames {
    /// Reads a setting's value; `None` when it is empty, which means that nothing is synchronous.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let Some((before, rest)) = text.split_once('(') else {
            return Ok(Some(StandbyNames { count: 1, names: names(text)? }));
        };
        let inside = rest.trim_end().strip_suffix(')').ok_or("the list of names is not closed with `)`")?;
        let words: Vec<&str> = before.split_whitespace().collect();
        let count = match words.as_slice() {
            [count] => count,
            [method, count] if ["first", "any"].contains(&method.to_lowercase().as_str()) => count,
            _ => return Err(format!("`{}` is neither `FIRST n` nor `ANY n`", before.trim())),
        };
        match count.parse() {
            Ok(count) if count > 0 => Ok(Some(StandbyNames { count, names: names(inside)? })),
            _ => Err(format!("`{count}` is no number of standbys, 1 or more")),
        }
    }

    /// Whether a standby of this name counts; names are compared without regard to case.
    pub fn contains(&self, node: &str) -> bool {
        self.names.iter().any(|name| name == "*" || name.eq_ignore_ascii_case(node))
    }
}

fn names(list: &str) -> Result<Vec<String>, String> {
    split(list).into_iter().map(|name| one_name(name.trim())).collect()
}

/// Splits at commas outside of quotes.
fn split(list: &str) -> Vec<String> {
    let (mut names, mut quoted) = (vec![String::new()], false);
    for c in list.chars() {
        quoted ^= c == '"';
        match names.last_mut() {
            Some(name) if quoted || c != ',' => name.push(c),
            _ => names.push(String::new()),
        }
    }
    names
}

fn one_name(name: &str) -> Result<String, String> {
    if let Some(quoted) = name.strip_prefix('"') {
        return match quoted.strip_suffix('"') {
            Some(inner) if !inner.is_empty() => Ok(inner.replace("\"\"", "\"")),
            _ => Err(format!("`{name}` is not a quoted name")),
        };
    }
    let start = |c: char| c.is_alphabetic() || c == '_';
    let plain = name.starts_with(start) && name.chars().all(|c| start(c) || c.is_ascii_digit() || c == '$');
    if name == "*" || plain { Ok(name.to_owned()) } else { Err(format!("`{name}` is no name of a standby")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (u32, Vec<String>) {
        let names = StandbyNames::parse(text).unwrap().unwrap();
        (names.count, names.names)
    }

    #[test]
    fn all_forms_of_the_manual_are_read() {
        assert_eq!(read("ANY 2 (s1, \"s 2\", s3)"), (2, vec!["s1".into(), "s 2".into(), "s3".into()]));
        assert_eq!(read("first 1(s1)"), (1, vec!["s1".into()]));
        assert_eq!(read("2 (a, b)"), (2, vec!["a".into(), "b".into()]));
        assert_eq!(read("s1, s2"), (1, vec!["s1".into(), "s2".into()]));
        assert_eq!(read("*"), (1, vec!["*".into()]));
        assert_eq!(read("any 1 (\"a,b\")"), (1, vec!["a,b".into()]));
        assert_eq!(StandbyNames::parse("  "), Ok(None));
    }

    #[test]
    fn other_forms_are_refused() {
        for wrong in
            ["ANY (s1)", "ALL 1 (s1)", "ANY 0 (s1)", "ANY 1 (s1", "ANY 1 ()", "ANY 1 (s 1)", "ANY x (s1)", "a,"]
        {
            assert!(StandbyNames::parse(wrong).is_err(), "{wrong}");
        }
    }
}
