//! The few fields of an X.509 certificate that libpq's rules need and rustls does not show, read from DER.

use std::net::IpAddr;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `commonName`, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `subjectAltName`, 2.5.29.17.
const ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate<'a> {
    /// `AlgorithmIdentifier` of the public key, without its outer tag.
    pub(super) key_algorithm: &'a [u8],
    /// The public key.
    pub(super) key: &'a [u8],
    /// Seconds since 1970.
    pub(super) not_before: i64,
    /// Seconds since 1970.
    pub(super) not_after: i64,
    /// `commonName` of the subject, the last one.
    pub(super) common_name: Option<String>,
    /// `dNSName`s.
    pub(super) dns: Vec<String>,
    /// `iPAddress`es.
    pub(super) addresses: Vec<IpAddr>,
}

/// A value: its tag and what it holds.
type Value<'a> = (u8, &'a [u8]);

/// Takes the next value off `input`.
fn next<'a>(input: &mut &'a [u8]) -> Option<Value<'a>> {
    let (&[tag, first], mut rest) = input.split_first_chunk::<2>()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let bytes = usize::from(first & 0x7f);
        // Four bytes are more than any certificate; DER knows no indefinite length.
        if bytes == 0 || bytes > 4 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(bytes)?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (value, after) = rest.split_at_checked(length)?;
    *input = after;
    Some((tag, value))
}

fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    next(input).filter(|(found, _)| *found == tag).map(|(_, value)| value)
}

impl<'a> Certificate<'a> {
    /// Reads a certificate; `None` when it is none.
    pub(super) fn read(mut der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut certificate = expect(&mut der, SEQUENCE)?;
        let mut signed = expect(&mut certificate, SEQUENCE)?;
        // The version is absent in version 1.
        if signed.first() == Some(&0xa0) {
            next(&mut signed)?;
        }
        let (_serial, _algorithm, _issuer) = (next(&mut signed)?, next(&mut signed)?, next(&mut signed)?);
        let mut validity = expect(&mut signed, SEQUENCE)?;
        let (not_before, not_after) = (time(next(&mut validity)?)?, time(next(&mut validity)?)?);
        let common_name = common_name(expect(&mut signed, SEQUENCE)?);
        let mut key = expect(&mut signed, SEQUENCE)?;
        let key_algorithm = expect(&mut key, SEQUENCE)?;
        // The first byte of a bit string counts the bits that are not used in its last.
        let (0, key) = expect(&mut key, BIT_STRING)?.split_first()? else { return None };
        let mut read = Certificate {
            key_algorithm,
            key,
            not_before,
            not_after,
            common_name,
            dns: Vec::new(),
            addresses: Vec::new(),
        };
        while !signed.is_empty() {
            if let (0xa3, mut extensions) = next(&mut signed)? {
                read.alt_names(expect(&mut extensions, SEQUENCE)?)?;
            }
        }
        Some(read)
    }

    fn alt_names(&mut self, mut extensions: &'a [u8]) -> Option<()> {
        while !extensions.is_empty() {
            let mut extension = expect(&mut extensions, SEQUENCE)?;
            if expect(&mut extension, OID)? != ALT_NAME {
                continue;
            }
            // `critical` may stand before the value.
            let mut value = next(&mut extension)?;
            if value.0 != OCTET_STRING {
                value = next(&mut extension)?;
            }
            let mut names = expect(&mut { value.1 }, SEQUENCE)?;
            while !names.is_empty() {
                match next(&mut names)? {
                    // A name with a zero byte or a stranger letter in it matches nothing.
                    (0x82, name) => self.dns.push(String::from_utf8_lossy(name).into_owned()),
                    (0x87, address) => self.addresses.extend(ip(address)),
                    _ => {}
                }
            }
        }
        Some(())
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn common_name(mut name: &[u8]) -> Option<String> {
    let mut found = None;
    while !name.is_empty() {
        let mut set = next(&mut name)?.1;
        while !set.is_empty() {
            let mut attribute = expect(&mut set, SEQUENCE)?;
            if expect(&mut attribute, OID)? == COMMON_NAME {
                found = Some(String::from_utf8_lossy(next(&mut attribute)?.1).into_owned());
            }
        }
    }
    found
}

/// Seconds since 1970 of `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time((tag, text): Value<'_>) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let date = jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    #[test]
    fn reads_what_rcgen_writes() {
        let mut params = CertificateParams::new(vec!["db.example".to_owned(), "*.db.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "other");
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.not_before = date_time_ymd(2001, 2, 3);
        params.not_after = date_time_ymd(2051, 1, 1);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = Certificate::read(made.der()).unwrap();
        assert_eq!(read.dns, ["db.example", "*.db.example"]);
        assert_eq!(read.addresses, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(read.common_name.as_deref(), Some("other"));
        assert_eq!((read.not_before, read.not_after), (981_158_400, 2_556_144_000));
        assert_eq!(read.key.len(), 65, "an uncompressed point of P-256");
    }

    #[test]
    fn what_is_cut_short_is_none() {
        let made =
            CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
        for length in 0..made.der().len() {
            assert_eq!(Certificate::read(&made.der()[..length]), None, "{length}");
        }
    }
}
