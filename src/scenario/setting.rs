//! A server's settings (GUCs) as a scenario writes them.

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;

/// Settings by name.
pub type Settings = IndexMap<String, SettingValue>;

/// The value of a setting. It displays as PostgreSQL reads it, without quotes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// `on` or `off`.
    Bool(bool),
    /// A whole number, in the setting's own unit.
    Int(i64),
    /// A real number.
    Float(f64),
    /// Anything else: `"128MB"`, `"remote_apply"`.
    Text(String),
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingValue::Bool(true) => f.write_str("on"),
            SettingValue::Bool(false) => f.write_str("off"),
            SettingValue::Int(value) => value.fmt(f),
            SettingValue::Float(value) => value.fmt(f),
            SettingValue::Text(value) => value.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for SettingValue {
    /// By hand, because an untagged enum would say "did not match any variant" of a list or a table.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl de::Visitor<'_> for Visit {
            type Value = SettingValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a setting's value: a string, a number, true or false")
            }
            fn visit_bool<E>(self, value: bool) -> Result<SettingValue, E> {
                Ok(SettingValue::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<SettingValue, E> {
                Ok(SettingValue::Int(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<SettingValue, E> {
                value.try_into().map(SettingValue::Int).map_err(|_| E::custom(format!("{value} is too large")))
            }
            fn visit_f64<E>(self, value: f64) -> Result<SettingValue, E> {
                Ok(SettingValue::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<SettingValue, E> {
                Ok(SettingValue::Text(value.to_owned()))
            }
        }
        from.deserialize_any(Visit)
    }
}
