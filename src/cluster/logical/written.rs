//! Publications and subscriptions as a scenario writes them, and from which version on each setting is there.

use crate::base::Name;
use crate::pg::version::Major;
use indexmap::IndexMap;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// `[publication.NAME]`: tables of a node whose changes can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// The node: the primary, or a subscriber that passes on what it gets.
    pub on: Name,
    /// Which tables.
    #[serde(default)]
    pub tables: Tables,
}

/// `"all"`, a list of names, or a table of names with what is published of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tables {
    /// `FOR ALL TABLES`.
    #[default]
    All,
    /// `FOR TABLE …`.
    Listed(IndexMap<String, Part>),
}

/// What is published of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Part {
    /// Its row filter, in SQL: only rows for which it is true.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// Its column list; absent: all columns.
    pub columns: Option<Vec<String>>,
}

/// `[subscription.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The subscriber; an entry with a `count` stands for each of its nodes.
    pub to: Name,
    /// Where it connects to: the node that the publications are on, or a standby of that; absent: the former.
    #[serde(default)]
    pub from: Option<Name>,
    /// What it subscribes to; all on one node.
    pub publications: Vec<Name>,
    /// Name of the replication slot on the publisher; absent: as the subscription is called.
    #[serde(default)]
    pub slot: Option<String>,
    /// How the rows that are there come over.
    #[serde(default)]
    pub copy: Initial,
    /// Whether large transactions come over before they are committed.
    #[serde(default)]
    pub streaming: Option<Streaming>,
    /// Whether values come in their binary form.
    #[serde(default)]
    pub binary: Option<bool>,
    /// Whether changes that came from elsewhere are wanted too.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Whether prepared transactions come over when they are prepared.
    #[serde(default)]
    pub two_phase: Option<bool>,
    /// Whether the slot is kept on standbys too, for a failover.
    #[serde(default)]
    pub failover: Option<bool>,
    /// Whether an error disables the subscription, which would try again for ever.
    #[serde(default)]
    pub disable_on_error: Option<bool>,
}

/// How the rows that are there before a subscription come over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initial {
    /// They are copied (`copy_data`), into tables that are emptied for that.
    #[default]
    Initial,
    /// They are there already: publisher and subscriber start from the same template. Rows that the subscription does
    /// not carry are removed.
    None,
}

/// `streaming` of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streaming {
    /// A transaction comes over when it is committed.
    Off,
    /// A large one comes over while it is under way, into a file.
    On,
    /// And is applied meanwhile by a worker of its own.
    Parallel,
}

/// `origin` of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Changes that have no origin: those that were made on the publisher.
    None,
    /// All changes.
    Any,
}

impl Subscription {
    /// Its settings as `CREATE SUBSCRIPTION … WITH` has them, beside slot and copy: name, value, the version that
    /// brought it.
    pub fn options(&self) -> Vec<(&'static str, &'static str, Major)> {
        let switch = |value: bool| if value { "true" } else { "false" };
        let mut options = Vec::new();
        match self.streaming {
            Some(Streaming::Off) => options.push(("streaming", "off", Major(14))),
            Some(Streaming::On) => options.push(("streaming", "on", Major(14))),
            Some(Streaming::Parallel) => options.push(("streaming", "parallel", Major(16))),
            None => {}
        }
        options.extend(self.binary.map(|value| ("binary", switch(value), Major(14))));
        match self.origin {
            Some(Origin::None) => options.push(("origin", "none", Major(16))),
            Some(Origin::Any) => options.push(("origin", "any", Major(16))),
            None => {}
        }
        options.extend(self.two_phase.map(|value| ("two_phase", switch(value), Major(15))));
        options.extend(self.failover.map(|value| ("failover", switch(value), Major(17))));
        options.extend(self.disable_on_error.map(|value| ("disable_on_error", switch(value), Major(15))));
        options
    }
}

impl Publication {
    /// What it needs that not every version has: what, the table it is of, the version that brought it.
    pub fn needs(&self) -> Vec<(&'static str, String, Major)> {
        let Tables::Listed(tables) = &self.tables else { return Vec::new() };
        let needs = |(table, part): (&'_ String, &Part)| {
            let parts = [("where", part.filter.is_some()), ("columns", part.columns.is_some())];
            parts.map(|(what, there)| there.then_some((what, table.clone(), Major(15))))
        };
        tables.iter().flat_map(needs).flatten().collect()
    }
}

impl Serialize for Tables {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Tables::All => to.serialize_str("all"),
            Tables::Listed(tables) => tables.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> de::Visitor<'de> for Visit {
            type Value = Tables;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"all\", a list of tables, or a table such as { books = { where = \"topic = 'art'\" } }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Tables, E> {
                match text {
                    "all" => Ok(Tables::All),
                    other => Err(E::custom(format!(
                        "`{other}` are no tables; write \"all\", or a list such as [\"{other}\"]"
                    ))),
                }
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Tables, A::Error> {
                let names = Vec::<String>::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Tables::Listed(names.into_iter().map(|name| (name, Part::default())).collect()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Tables, A::Error> {
                IndexMap::deserialize(MapAccessDeserializer::new(map)).map(Tables::Listed)
            }
        }
        from.deserialize_any(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_of_the_version_that_brought_it() {
        let text = "to = 'b'\npublications = ['p']\nstreaming = 'parallel'\nbinary = true\norigin = 'any'\n\
                    two_phase = true\nfailover = true\ndisable_on_error = true";
        let subscription: Subscription = toml::from_str(text).unwrap();
        let since: Vec<_> = subscription.options().into_iter().map(|(name, _, since)| (name, since.0)).collect();
        let wanted = [
            ("streaming", 16),
            ("binary", 14),
            ("origin", 16),
            ("two_phase", 15),
            ("failover", 17),
            ("disable_on_error", 15),
        ];
        assert_eq!(since, wanted);
    }

    #[test]
    fn tables_are_written_in_three_ways_and_read_back() {
        let read = |text: &str| toml::from_str::<Publication>(&format!("on = 'a'\ntables = {text}"));
        assert_eq!(read("'all'").unwrap().tables, Tables::All);
        let Tables::Listed(listed) = read("['x', 'y']").unwrap().tables else { panic!("listed") };
        assert_eq!(listed.keys().collect::<Vec<_>>(), ["x", "y"]);
        let filtered = read("{ x = { where = 'a > 1', columns = ['a'] } }").unwrap();
        let again: Publication = serde_json::from_str(&serde_json::to_string(&filtered).unwrap()).unwrap();
        assert_eq!(again, filtered);
        assert_eq!(filtered.needs(), [("where", "x".to_owned(), Major(15)), ("columns", "x".to_owned(), Major(15))]);
        assert!(read("'books'").unwrap_err().to_string().contains("[\"books\"]"));
        assert!(read("{ x = { whre = '' } }").is_err());
    }
}
