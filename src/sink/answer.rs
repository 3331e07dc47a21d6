//! What a server's answer to a batch means. Statuses as InfluxDB 1 and 2, InfluxDB 3 and VictoriaMetrics give them:
//! <https://docs.influxdata.com/influxdb/v2/write-data/troubleshoot/>.

use std::time::Duration;

/// What an answer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All lines are there.
    Written,
    /// Lines were left out for what they are (another type than before, too old) and need not come again: how many,
    /// where the server says.
    Partly(Option<u64>),
    /// Some line is not understood, or all of them are too much: halves will tell.
    Halve,
    /// It will take nothing as it is asked.
    Refused,
    /// The same again, not before this has passed.
    Later(Option<Duration>),
}

impl Answer {
    /// Of `status`, with the value of the header `Retry-After`, and the body's text, seen at `now`.
    pub fn of(status: u16, retry_after: Option<&str>, text: &str, now: jiff::Timestamp) -> Answer {
        match status {
            200..300 => Answer::Written,
            400 | 413 => Answer::Halve,
            422 => Answer::Partly(dropped(text)),
            408 | 425 | 429 | 500.. => Answer::Later(retry_after.and_then(|value| pause(value, now))),
            _ => Answer::Refused,
        }
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
fn pause(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// InfluxDB says `partial write: … dropped=3`.
fn dropped(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("dropped=")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let of = |status, retry_after, text| Answer::of(status, retry_after, text, now);
        assert_eq!(of(204, None, ""), Answer::Written);
        assert_eq!(of(400, None, "unable to parse"), Answer::Halve);
        assert_eq!(of(413, None, ""), Answer::Halve);
        let text = "{\"code\":\"unprocessable entity\",\"message\":\"failure writing points to database: \
                    partial write: field type conflict: … dropped=3\"}";
        assert_eq!(of(422, None, text), Answer::Partly(Some(3)));
        assert_eq!(of(422, None, ""), Answer::Partly(None));
        for status in [301, 401, 403, 404, 405] {
            assert_eq!(of(status, None, ""), Answer::Refused, "{status}");
        }
        for status in [429, 500, 502, 503, 504] {
            assert_eq!(of(status, None, ""), Answer::Later(None), "{status}");
        }
        assert_eq!(of(429, Some("7"), ""), Answer::Later(Some(Duration::from_secs(7))));
        let date = Some("Thu, 01 Jan 1970 00:01:00 GMT");
        assert_eq!(of(503, date, ""), Answer::Later(Some(Duration::from_secs(60))));
        assert_eq!(of(503, Some("Wed, 31 Dec 1969 23:00:00 GMT"), ""), Answer::Later(Some(Duration::ZERO)));
        assert_eq!(of(503, Some("soon"), ""), Answer::Later(None));
    }
}
