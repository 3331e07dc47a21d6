//! Who stands on the two sides of a way: nodes, the clients of a site, the manager. What is watched is not
//! among them: the observer's way to every node is never slowed or cut.

use crate::base::Name;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Somebody who sends packets in a trial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// A server.
    Node(Name),
    /// Loads and ledger writers at a site; absent: those that stand at none.
    Clients(Option<String>),
    /// Who detects and promotes.
    Manager,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Node(name) => f.write_str(name),
            Party::Clients(None) => f.write_str("clients"),
            Party::Clients(Some(site)) => write!(f, "clients at {site}"),
            Party::Manager => f.write_str("manager"),
        }
    }
}

/// A party and its site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Who.
    pub party: Party,
    /// Where.
    pub site: Option<String>,
}

/// One word of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// A node.
    Node(Name),
    /// The node that accepts writes.
    Primary,
    /// The nodes in recovery.
    Standbys,
    /// All loads and ledger writers.
    Clients,
    /// Who detects and promotes.
    Manager,
    /// Everybody at a site.
    Site(String),
    /// Everybody who is not on the other side.
    Rest,
}

/// The roles that a side can name, as written.
pub const ROLES: [&str; 5] = ["@primary", "@standbys", "@clients", "@manager", "@rest"];
/// What stands before the name of a site.
const SITE: &str = "site:";

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Term, String> {
        Ok(match text {
            "@primary" => Term::Primary,
            "@standbys" => Term::Standbys,
            "@clients" => Term::Clients,
            "@manager" => Term::Manager,
            "@rest" => Term::Rest,
            _ if text.starts_with('@') => {
                return Err(format!("there is no role `{text}`; the roles are {}", ROLES.join(", ")));
            }
            _ => match text.strip_prefix(SITE) {
                Some(site) => Term::Site(site.to_owned()),
                None => Term::Node(text.to_owned()),
            },
        })
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::Node(name) => f.write_str(name),
            Term::Primary => f.write_str(ROLES[0]),
            Term::Standbys => f.write_str(ROLES[1]),
            Term::Clients => f.write_str(ROLES[2]),
            Term::Manager => f.write_str(ROLES[3]),
            Term::Rest => f.write_str(ROLES[4]),
            Term::Site(site) => write!(f, "{SITE}{site}"),
        }
    }
}

/// One side of a way, written as a word or a list of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side(pub Vec<Term>);

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(Term::to_string).collect::<Vec<_>>().join(" and "))
    }
}

impl Serialize for Side {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => to.collect_str(one),
            several => to.collect_seq(several.iter().map(Term::to_string)),
        }
    }
}

impl<'de> Deserialize<'de> for Side {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Side, D::Error> {
        struct Visit;
        impl<'de> de::Visitor<'de> for Visit {
            type Value = Side;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a node, a role such as \"@primary\", \"site:NAME\", or a list of them")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Side, E> {
                text.parse().map(|term| Side(vec![term])).map_err(E::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Side, A::Error> {
                let mut terms = Vec::new();
                while let Some(text) = list.next_element::<String>()? {
                    terms.push(text.parse().map_err(de::Error::custom)?);
                }
                Ok(Side(terms))
            }
        }
        from.deserialize_any(Visit)
    }
}

/// Which nodes play which role at this moment.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    /// Nodes that accept writes.
    pub primaries: Vec<Name>,
    /// Nodes in recovery.
    pub standbys: Vec<Name>,
}

impl Side {
    /// Whether it depends on who plays which role.
    pub fn has_roles(&self) -> bool {
        self.0.iter().any(|term| matches!(term, Term::Primary | Term::Standbys))
    }

    fn holds(&self, placed: &Placed, roles: Option<&Roles>) -> bool {
        self.0.iter().any(|term| match (term, &placed.party) {
            (Term::Node(name), Party::Node(node)) => name == node,
            // Without roles: whoever may come to play it.
            (Term::Primary, Party::Node(node)) => roles.is_none_or(|roles| roles.primaries.contains(node)),
            (Term::Standbys, Party::Node(node)) => roles.is_none_or(|roles| roles.standbys.contains(node)),
            (Term::Clients, Party::Clients(_)) | (Term::Manager, Party::Manager) => true,
            (Term::Site(site), _) => placed.site.as_ref() == Some(site),
            _ => false,
        })
    }
}

/// The parties on both sides; `roles` absent stands for all that may come to be. Nobody stands on both sides, but
/// for roles that are not known yet.
pub fn parties(
    (one, other): (&Side, &Side),
    all: &[Placed],
    roles: Option<&Roles>,
) -> (BTreeSet<Party>, BTreeSet<Party>) {
    let of = |side: &Side| -> BTreeSet<Party> {
        all.iter().filter(|placed| side.holds(placed, roles)).map(|placed| placed.party.clone()).collect()
    };
    let rest = |of_other: &BTreeSet<Party>| -> BTreeSet<Party> {
        let certain = roles.is_some();
        all.iter().map(|placed| placed.party.clone()).filter(|party| !certain || !of_other.contains(party)).collect()
    };
    let (mut first, mut second) = (of(one), of(other));
    if one.0.contains(&Term::Rest) {
        first = rest(&second);
    } else if other.0.contains(&Term::Rest) {
        second = rest(&first);
    }
    (first, second)
}

/// The ways between two sides: who connects or sends, and to which node. Both directions between two nodes.
pub fn ways(first: &BTreeSet<Party>, second: &BTreeSet<Party>) -> BTreeSet<(Party, Name)> {
    let mut ways = BTreeSet::new();
    for (from, to) in [(first, second), (second, first)] {
        for (party, target) in from.iter().flat_map(|party| to.iter().map(move |target| (party, target))) {
            if let Party::Node(node) = target
                && party != target
            {
                ways.insert((party.clone(), node.clone()));
            }
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Placed> {
        let at = |party, site: Option<&str>| Placed { party, site: site.map(str::to_owned) };
        vec![
            at(Party::Node("a".into()), Some("x")),
            at(Party::Node("s1".into()), Some("y")),
            at(Party::Node("s2".into()), Some("y")),
            at(Party::Clients(Some("x".into())), Some("x")),
            at(Party::Clients(None), None),
            at(Party::Manager, Some("y")),
        ]
    }

    fn side(words: &[&str]) -> Side {
        Side(words.iter().map(|word| word.parse().unwrap()).collect())
    }

    fn names(set: &BTreeSet<Party>) -> Vec<String> {
        set.iter().map(Party::to_string).collect()
    }

    #[test]
    fn sides_are_resolved_by_name_role_and_site() {
        let roles = Roles { primaries: vec!["s1".into()], standbys: vec!["s2".into()] };
        let (one, other) = parties((&side(&["@primary"]), &side(&["@rest"])), &all(), Some(&roles));
        assert_eq!(names(&one), ["s1"]);
        assert_eq!(names(&other), ["a", "s2", "clients", "clients at x", "manager"]);
        let (one, other) = parties((&side(&["site:x"]), &side(&["site:y"])), &all(), Some(&roles));
        assert_eq!(
            (names(&one), names(&other)),
            (vec!["a".into(), "clients at x".into()], vec!["s1".to_owned(), "s2".into(), "manager".into()])
        );
    }

    #[test]
    fn without_roles_every_node_may_come_to_play_one() {
        let (one, other) = parties((&side(&["@primary"]), &side(&["@standbys"])), &all(), None);
        assert_eq!(names(&one), ["a", "s1", "s2"]);
        let between = ways(&one, &other);
        assert_eq!(between.len(), 6, "{between:?}");
    }

    #[test]
    fn ways_lead_to_nodes_only() {
        let (one, other) = parties((&side(&["a"]), &side(&["@clients", "s1"])), &all(), Some(&Roles::default()));
        let text: Vec<String> = ways(&one, &other).iter().map(|(from, to)| format!("{from}>{to}")).collect();
        assert_eq!(text, ["a>s1", "s1>a", "clients>a", "clients at x>a"]);
    }

    #[test]
    fn is_read_as_a_word_or_a_list() {
        #[derive(Deserialize, Serialize)]
        struct Of {
            side: Side,
        }
        for text in ["side = \"@primary\"\n", "side = [\"a\", \"site:y\"]\n"] {
            let read: Of = toml::from_str(text).unwrap();
            assert_eq!(toml::to_string(&read).unwrap(), text);
        }
        assert!(toml::from_str::<Of>("side = \"@nobody\"").is_err());
    }
}
