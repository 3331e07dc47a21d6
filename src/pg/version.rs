//! Versions of the server.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A version of PostgreSQL, 10 or later: `15.18`; `18beta1` and `19devel` count as their major's 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// `15` of `15.18`.
    pub major: u32,
    /// `18` of `15.18`.
    pub minor: u32,
}

impl Version {
    /// Reads what `postgres --version` prints: `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    pub fn of_program(printed: &str) -> Option<Version> {
        printed.split_once("(PostgreSQL)")?.1.split_ascii_whitespace().next()?.parse().ok()
    }
}

/// A major version of PostgreSQL, 13 or later, written `17` or `"17"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Major(pub u32);

impl fmt::Display for Major {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Major {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(major) if (13..100).contains(&major) => Ok(Major(major)),
            _ => Err(format!("`{text}` is no major version of PostgreSQL from 13 on; write it as `\"17\"`")),
        }
    }
}

impl Serialize for Major {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Major {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl de::Visitor<'_> for Visit {
            type Value = Major;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a major version such as \"17\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Major, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Major, E> {
                number.to_string().parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Major, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Visit)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no version of PostgreSQL; it looks like `15.18`");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let major = text[..digits].parse().map_err(|_| wrong())?;
        let minor = match &text[digits..] {
            "" => 0,
            rest if rest.starts_with('.') => rest[1..].parse().map_err(|_| wrong())?,
            rest if ["beta", "rc", "devel"].iter().any(|stage| rest.starts_with(stage)) => 0,
            _ => return Err(wrong()),
        };
        Ok(Version { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_programs_print() {
        let version = |printed| Version::of_program(printed).map(|v| v.to_string());
        assert_eq!(version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(), Some("15.18"));
        assert_eq!(version("postgres (PostgreSQL) 18beta1").as_deref(), Some("18.0"));
        assert_eq!(version("postgres (PostgreSQL) 19devel").as_deref(), Some("19.0"));
        assert_eq!(version("mysqld  Ver 8.0"), None);
        assert!("x".parse::<Version>().is_err() && "15.x".parse::<Version>().is_err());
        assert!(Version { major: 9, minor: 9 } < Version { major: 15, minor: 1 });
    }
}
