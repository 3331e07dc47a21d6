//! How many standbys must report before an election can lose no acknowledged write.
//!
//! An acknowledgement says that W of the N listed standbys hold the write. If R of them report and
//! R + W > N, at least one of the W is among them, so the most advanced reporter holds the write. For
//! `FIRST` the W are the first ones that were connected, which nobody knows afterwards; so it needs the
//! same R as `ANY`.

use crate::base::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// `synchronous_standby_names`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synchronous {
    /// Standbys that a commit waits for.
    pub acks: usize,
    /// `application_name`s of those that count.
    pub names: Names,
}

/// Which standbys count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Names {
    /// `*`
    All,
    /// Those in the list.
    Listed(BTreeSet<Name>),
}

impl Synchronous {
    /// Reads a value of `synchronous_standby_names` by the server's grammar (`s1, s2`, `2 (…)`,
    /// `FIRST 1 (…)`, `ANY 1 (…)`, quoted names, `*`). Empty: no standby is waited for.
    pub fn parse(text: &str) -> Result<Option<Synchronous>, String> {
        let wrong = || format!("`{text}` is no value of synchronous_standby_names; it looks like `ANY 1 (s1, s2)`");
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let (acks, list) = match text.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
            Some((head, list)) if !head.contains('"') => {
                (head.split_whitespace().next_back().and_then(|n| n.parse().ok()).ok_or_else(wrong)?, list)
            }
            _ => (1, text),
        };
        let names: Option<Vec<String>> = split_names(list).into_iter().map(|name| unquote(&name)).collect();
        let names: BTreeSet<Name> = names.ok_or_else(wrong)?.into_iter().collect();
        let names = if names.contains("*") { Names::All } else { Names::Listed(names) };
        Ok(Some(Synchronous { acks, names }))
    }

    /// Whether an acknowledgement may come from `standby`; the server compares names without case.
    pub(super) fn counts(&self, standby: &str) -> bool {
        match &self.names {
            Names::All => true,
            Names::Listed(names) => names.iter().any(|name| name.eq_ignore_ascii_case(standby)),
        }
    }

    /// How many of `n` standbys that count must report: the least R with R + W > N. Where there is none,
    /// nothing was acknowledged.
    pub(super) fn reporters(&self, n: usize) -> usize {
        if n == 0 { 0 } else { (n + 1).saturating_sub(self.acks).max(1) }
    }
}

/// Splits at commas outside of quotes.
fn split_names(list: &str) -> Vec<String> {
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

/// A name without its quotes.
fn unquote(name: &str) -> Option<String> {
    let name = name.trim();
    match name.strip_prefix('"').map(|rest| rest.strip_suffix('"')) {
        Some(inner) => Some(inner?.replace("\"\"", "\"")),
        None => (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (usize, Vec<String>) {
        match Synchronous::parse(text).expect(text).expect(text) {
            Synchronous { acks, names: Names::All } => (acks, vec!["*".into()]),
            Synchronous { acks, names: Names::Listed(names) } => (acks, names.into_iter().collect()),
        }
    }

    #[test]
    fn reads_the_servers_grammar() {
        assert_eq!(parse("s1"), (1, vec!["s1".into()]));
        assert_eq!(parse("S1, s2"), (1, vec!["S1".into(), "s2".into()]));
        assert_eq!(parse("2 (s1, s2)"), (2, vec!["s1".into(), "s2".into()]));
        assert_eq!(parse("FIRST 1 (\"S 1\",s2)"), (1, vec!["S 1".into(), "s2".into()]));
        assert_eq!(parse("any 1 (\"a,b\")"), (1, vec!["a,b".into()]));
        assert_eq!(parse("ANY 1 (*)"), (1, vec!["*".into()]));
        assert_eq!(Synchronous::parse(" "), Ok(None));
        for wrong in ["ANY (s1)", "ANY x (s1)", "s1,", "a b", "\"a"] {
            assert!(Synchronous::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn reporters_and_acknowledgers_overlap() {
        for n in 1..6 {
            for acks in 1..=n {
                let r = Synchronous { acks, names: Names::All }.reporters(n);
                assert!(r + acks > n && (r == 1 || r - 1 + acks <= n), "n={n} acks={acks} r={r}");
            }
        }
    }
}
