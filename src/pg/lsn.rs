//! A position in the write-ahead log, printed as PostgreSQL does (`0/16B3748`).

use std::fmt;
use std::str::FromStr;

/// A byte position in the WAL of one timeline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Bytes from `earlier` to `self`, negative when `self` is behind.
    pub fn bytes_since(self, earlier: Lsn) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no LSN; it looks like `0/16B3748`");
        let (high, low) = text.split_once('/').ok_or_else(wrong)?;
        let part = |hex: &str| u32::from_str_radix(hex, 16).map_err(|_| wrong());
        Ok(Lsn(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_postgresql_does() {
        let lsn: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(lsn, Lsn(0x16_B374_D848));
        assert_eq!(lsn.to_string(), "16/B374D848");
        assert_eq!(Lsn(0x100).bytes_since(Lsn(0x200)), -0x100);
        for wrong in ["", "16", "x/1", "1/100000000"] {
            assert!(wrong.parse::<Lsn>().is_err(), "{wrong}");
        }
    }
}
