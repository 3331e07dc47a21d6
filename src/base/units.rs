//! Durations and sizes as people write them: always with a unit.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

/// A duration written with a unit (`250us`, `100ms`, `1.5s`, `2min`, `1h`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Time(pub Duration);

const TIME_UNITS: [(&str, f64); 6] =
    [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0)];

impl Time {
    /// `n` milliseconds.
    pub const fn ms(n: u64) -> Self {
        Time(Duration::from_millis(n))
    }

    /// `n` seconds.
    pub const fn s(n: u64) -> Self {
        Time(Duration::from_secs(n))
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let wrong = || {
            format!(
                "`{text}` is no duration; write a number with a unit, such as `250us`, `100ms`, `1.5s`, `2min` or `1h`"
            )
        };
        let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        let value: f64 = number.parse().map_err(|_| wrong())?;
        Duration::try_from_secs_f64(value * factor).map(Time).map_err(|_| wrong())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_micros();
        if us == 0 {
            write!(f, "0s")
        } else if us.is_multiple_of(60_000_000) {
            write!(f, "{}min", us / 60_000_000)
        } else if us.is_multiple_of(1_000_000) {
            write!(f, "{}s", us / 1_000_000)
        } else if us.is_multiple_of(1000) {
            write!(f, "{}ms", us / 1000)
        } else {
            write!(f, "{us}us")
        }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Deref for Time {
    type Target = Duration;
    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text("a duration with a unit, such as \"100ms\""))?.parse().map_err(de::Error::custom)
    }
}

/// A duration for people, rounded down to what matters of it: `4.2s`, `42s`, `3min 20s`, `1h 5min`.
pub fn human(time: Duration) -> String {
    let s = time.as_secs();
    let (count, unit, rest, smaller) = match s {
        0..=9 => {
            let tenths = time.as_millis() / 100;
            let tenth = if tenths.is_multiple_of(10) { String::new() } else { format!(".{}", tenths % 10) };
            return format!("{}{tenth}s", tenths / 10);
        }
        10..=59 => return format!("{s}s"),
        60..=3599 => (s / 60, "min", s % 60, "s"),
        _ => (s / 3600, "h", s % 3600 / 60, "min"),
    };
    if rest == 0 { format!("{count}{unit}") } else { format!("{count}{unit} {rest}{smaller}") }
}

/// A number of things: `1 trial`, `2 trials`.
pub fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// A size in bytes written with one of PostgreSQL's units (`B`, `kB`, `MB`, `GB`, `TB`; powers of 1024).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Hash)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 5] = [("B", 1), ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let wrong = || {
            format!("`{text}` is no size; write a number with a unit: `B`, `kB`, `MB`, `GB` or `TB` (powers of 1024)")
        };
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        let value: f64 = number.parse().map_err(|_| wrong())?;
        if !value.is_finite() || value < 0.0 {
            return Err(wrong());
        }
        Ok(Size((value * factor as f64) as u64))
    }
}

impl fmt::Display for Size {
    /// Rounded to one decimal in the largest unit that gives at least 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS.iter().rev().find(|(_, factor)| self.0 >= *factor).unwrap_or(&SIZE_UNITS[0]);
        let value = self.0 as f64 / *factor as f64;
        if value.fract() < 0.05 || *factor == 1 { write!(f, "{value:.0}{unit}") } else { write!(f, "{value:.1}{unit}") }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text("a size with a unit, such as \"128MB\""))?.parse().map_err(de::Error::custom)
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Takes a string and says what was expected when it is anything else (a bare number above all).
struct Text(&'static str);

impl de::Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_a_unit() {
        assert_eq!("250us".parse(), Ok(Time(Duration::from_micros(250))));
        assert_eq!("1.5s".parse(), Ok(Time::ms(1500)));
        assert_eq!("2min".parse(), Ok(Time::s(120)));
        for wrong in ["5", "ms", "", "-1s", "1e3s", "1 fortnight", "nans"] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong} parsed");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for us in [0, 1, 999, 1000, 1_500_000, 60_000_000, 61_000_000, 3_600_000_000] {
            let time = Time(Duration::from_micros(us));
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn durations_for_people() {
        for (ms, text) in [
            (0, "0s"),
            (4210, "4.2s"),
            (4000, "4s"),
            (9990, "9.9s"),
            (42_900, "42s"),
            (180_000, "3min"),
            (200_000, "3min 20s"),
            (3_600_000, "1h"),
            (3_900_000, "1h 5min"),
        ] {
            assert_eq!(human(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "trial")), ["0 trials", "1 trial", "2 trials"]);
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!("128MB".parse(), Ok(Size(128 << 20)));
        assert_eq!("1.5GB".parse(), Ok(Size(3 << 29)));
        assert!("12".parse::<Size>().is_err());
        assert!("12MiB".parse::<Size>().is_err());
        assert_eq!(Size(3 << 29).to_string(), "1.5GB");
    }
}
