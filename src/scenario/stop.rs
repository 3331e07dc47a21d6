//! When trials end before there are as many as `trials`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// `[stop]`: rounds go on until a metric is known well enough; `trials` is the most there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stopping {
    /// How far the 95 % interval of the metric's geometric mean may reach above it, in every variant.
    pub within: Percent,
    /// Which metric; absent: the first of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Trials of each variant that are made in any case.
    #[serde(default = "five")]
    pub at_least: u32,
}

fn five() -> u32 {
    5
}

/// A share as people write it, `2%`; 0.02 inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let percent = number.filter(|number| number.is_finite() && *number >= 0.0);
        percent
            .map(|percent| Percent(percent / 100.0))
            .ok_or_else(|| format!("`{text}` is no share; write per cent, such as `2%` or `0.5%`"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Away with what dividing by 100 has left.
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_carry_their_sign() {
        for (text, share) in [("2%", 0.02), ("0.5 %", 0.005), ("7%", 0.07), ("29%", 0.29)] {
            let percent: Percent = text.parse().unwrap();
            assert!((percent.0 - share).abs() < 1e-12);
            assert_eq!(percent.to_string().parse(), Ok(percent));
            assert_eq!(percent.to_string(), text.replace(' ', ""));
        }
        for wrong in ["2", "%", "-1%", "inf%", "two%"] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong} parsed");
        }
    }
}
