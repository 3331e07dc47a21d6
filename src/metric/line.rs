//! InfluxDB line protocol, with timestamps in **milliseconds**.
//!
//! What the protocol cannot carry is left out, never written in a form that another parser reads
//! differently: empty tags, real numbers that are not finite (counted), control characters. A backslash
//! has no escape of its own in names and tag values, and servers disagree on what it does before an
//! escaped character, so it is written as `/` there.
//!
//! Escapes: <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/#special-characters>.

use super::{Field, Point, sampled};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;

/// Longest string field in bytes; servers refuse 64 KiB and more.
const LONGEST_TEXT: usize = 65_000;
/// Most series of a trial: servers keep an index of all that they ever had, in memory. A trial of three nodes has some 200.
/// Events are not counted, as each is a series by its number, and there are few.
pub const MOST_SERIES: usize = 2_000;

/// What every line of a trial is tagged with, beside node and role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Short and sortable.
    pub run_id: String,
    /// The scenario's name.
    pub scenario: String,
    /// The variant's name.
    pub variant: String,
    /// Which repetition of the variant, from 1.
    pub trial: u32,
}

/// Writes points as lines.
#[derive(Debug)]
pub struct Encoder {
    labels: Vec<u8>,
    not_finite: u64,
    /// Hashes of the series so far.
    series: HashSet<u64>,
    beyond: u64,
}

impl Encoder {
    /// An encoder whose lines carry `labels`.
    pub fn new(labels: &Labels) -> Encoder {
        let mut encoded = Vec::new();
        tag(&mut encoded, "run_id", &labels.run_id);
        tag(&mut encoded, "scenario", &labels.scenario);
        tag(&mut encoded, "variant", &labels.variant);
        tag(&mut encoded, "trial", &labels.trial.to_string());
        Encoder { labels: encoded, not_finite: 0, series: HashSet::new(), beyond: 0 }
    }

    /// Appends one line, newline included, stamped `at_ms` (milliseconds since 1970, UTC). Gives false and
    /// appends nothing when no field is left that could be written, and when it would be a series too many.
    pub fn encode(&mut self, point: &Point, at_ms: i64, to: &mut Vec<u8>) -> bool {
        let start = to.len();
        name(to, point.measurement, &[',', ' ']);
        to.extend_from_slice(&self.labels);
        tag(to, "node", &point.node);
        tag(to, "role", point.role);
        for (key, value) in &point.tags {
            tag(to, key, value);
        }
        let end = to.len();
        let mut separator = b' ';
        for (key, value) in &point.fields {
            if matches!(value, Field::Float(number) if !number.is_finite()) {
                self.not_finite += 1;
                continue;
            }
            to.push(separator);
            separator = b',';
            name(to, key, &[',', '=', ' ']);
            to.push(b'=');
            field(to, value);
        }
        if separator == b' ' {
            to.truncate(start);
            return false;
        }
        if point.measurement != sampled::EVENT.name && !self.has_room(&to[start..end]) {
            self.beyond += 1;
            to.truncate(start);
            return false;
        }
        display(to, format_args!(" {at_ms}\n"));
        true
    }

    /// Whether the series is one of those so far, or can become one.
    fn has_room(&mut self, series: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        series.hash(&mut hasher);
        let hash = hasher.finish();
        self.series.contains(&hash) || self.series.len() < MOST_SERIES && self.series.insert(hash)
    }

    /// Points left out so far because they were of a series beyond [`MOST_SERIES`].
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Fields left out so far because they were infinite or not a number.
    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }
}

fn tag(to: &mut Vec<u8>, key: &str, value: &str) {
    let before = to.len();
    to.push(b',');
    name(to, key, &[',', '=', ' ']);
    to.push(b'=');
    let empty = to.len();
    name(to, value, &[',', '=', ' ']);
    if to.len() == empty {
        to.truncate(before);
    }
}

/// A measurement, key or tag value, with `special` escaped.
fn name(to: &mut Vec<u8>, text: &str, special: &[char]) {
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '\\' => to.push(b'/'),
            c if special.contains(&c) => to.extend_from_slice(&[b'\\', c as u8]),
            c => to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn field(to: &mut Vec<u8>, value: &Field) {
    match value {
        Field::Int(number) => display(to, format_args!("{number}i")),
        Field::Float(number) => display(to, format_args!("{number}")),
        Field::Bool(truth) => display(to, format_args!("{truth}")),
        Field::Text(text) => {
            to.push(b'"');
            let end = to.len() + LONGEST_TEXT;
            for c in text.chars().filter(|c| !c.is_control()) {
                if to.len() + 4 > end {
                    break;
                }
                if matches!(c, '"' | '\\') {
                    to.push(b'\\');
                }
                to.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            to.push(b'"');
        }
    }
}

fn display(to: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // Writing into a Vec cannot fail.
    let _ = to.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;
    use influxdb_line_protocol::{FieldValue, parse_lines};
    use proptest::prelude::*;
    use std::time::Duration;

    fn point(tags: Vec<(&'static str, String)>, fields: Vec<(&'static str, Field)>) -> Point {
        Point { measurement: "pg_ash", node: "s1".into(), role: "standby", tags, fields, elapsed: Duration::ZERO }
    }

    fn labels(variant: &str) -> Labels {
        Labels { run_id: "r1".into(), scenario: "failover".into(), variant: variant.into(), trial: 2 }
    }

    fn encode(labels: &Labels, point: &Point) -> Option<String> {
        let mut line = Vec::new();
        Encoder::new(labels).encode(point, 1_700_000_000_123, &mut line).then(|| String::from_utf8(line).unwrap())
    }

    #[test]
    fn a_line_as_servers_read_it() {
        let fields = vec![("sessions", Field::Int(-3)), ("x", Field::Float(1.5)), ("t", Field::Text("a\"\\".into()))];
        let line = encode(&labels("commit=on,n=2"), &point(vec![("state", "idle in x".into())], fields));
        let expected = "pg_ash,run_id=r1,scenario=failover,variant=commit\\=on\\,n\\=2,trial=2,node=s1,role=standby,\
                        state=idle\\ in\\ x sessions=-3i,x=1.5,t=\"a\\\"\\\\\" 1700000000123\n";
        assert_eq!(line.as_deref(), Some(expected));
    }

    #[test]
    fn what_cannot_be_written_is_left_out_and_counted() {
        let mut encoder = Encoder::new(&labels(""));
        let mut out = b"before\n".to_vec();
        let nothing = point(vec![], vec![("x", Field::Float(f64::NAN)), ("y", Field::Float(f64::INFINITY))]);
        assert!(!encoder.encode(&nothing, 1, &mut out));
        assert_eq!((out.as_slice(), encoder.not_finite()), (b"before\n".as_slice(), 2));
        let line = encode(&labels(""), &point(vec![("state", "\n".into())], vec![("ok", Field::Bool(true))])).unwrap();
        assert_eq!(line, "pg_ash,run_id=r1,scenario=failover,trial=2,node=s1,role=standby ok=true 1700000000123\n");
    }

    #[test]
    fn a_series_too_many_is_left_out_and_counted_and_those_before_go_on() {
        let (mut encoder, mut out) = (Encoder::new(&labels("v")), Vec::new());
        let of = |number: usize| point(vec![("state", number.to_string())], vec![("sessions", Field::Int(1))]);
        for round in 0..2 {
            for number in 0..MOST_SERIES + 3 {
                assert_eq!(encoder.encode(&of(number), round, &mut out), number < MOST_SERIES, "{number}");
            }
        }
        assert_eq!((encoder.beyond(), out.iter().filter(|byte| **byte == b'\n').count()), (6, 2 * MOST_SERIES));
        let event = Point { measurement: sampled::EVENT.name, ..of(MOST_SERIES + 7) };
        assert!(encoder.encode(&event, 1, &mut out), "an event is never left out");
    }

    #[test]
    fn strings_stay_under_the_servers_limit() {
        let line = encode(&labels("v"), &point(vec![], vec![("t", Field::Text("\\ä".repeat(60_000)))])).unwrap();
        assert!(line.len() < 65_536, "{}", line.len());
        assert_eq!(parse_lines(&line).filter(Result::is_ok).count(), 1);
    }

    /// What a tag value comes back as.
    fn readable(text: &str) -> String {
        text.chars().filter(|c| !c.is_control()).map(|c| if c == '\\' { '/' } else { c }).collect()
    }

    proptest! {
        /// Anything at all in every place that is not a name in the catalogue.
        #[test]
        fn whatever_is_said_the_line_stays_one_line(
            (run_id, scenario, variant, node) in any::<(String, String, String, String)>(),
            tags in proptest::collection::vec("\\PC{0,6}|[,= \\\\\"\n\r\t\0#_\u{85}\u{2028}]{0,6}", 3),
            texts in proptest::collection::vec("\\PC{0,6}|[,= \\\\\"\n\r\t\0#_\u{85}\u{2028}]{0,6}", 2),
            floats in any::<[f64; 2]>(),
            at_ms in any::<i64>(),
        ) {
            let labels = Labels { run_id, scenario, variant, trial: 2 };
            let named: Vec<(&'static str, String)> = ["a", "b", "c"].into_iter().zip(tags.iter().cloned()).collect();
            let mut fields: Vec<(&'static str, Field)> =
                ["t", "u"].into_iter().zip(texts.iter().cloned().map(Field::Text)).collect();
            fields.extend(["f", "g"].into_iter().zip(floats.map(Field::Float)));
            let point = Point { node: node.clone(), ..point(named, fields) };
            let mut line = Vec::new();
            prop_assert!(Encoder::new(&labels).encode(&point, at_ms, &mut line));
            let line = String::from_utf8(line).unwrap();
            let parsed: Vec<_> = parse_lines(&line).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!((parsed.len(), line.matches('\n').count()), (1, 1));
            prop_assert_eq!(parsed[0].timestamp, Some(at_ms));
            let own = [("run_id", &labels.run_id), ("scenario", &labels.scenario), ("variant", &labels.variant), ("node", &node)];
            for (key, written) in own.into_iter().chain(["a", "b", "c"].into_iter().zip(&tags)) {
                let read = parsed[0].tag_value(key).map(ToString::to_string).unwrap_or_default();
                prop_assert_eq!(read, readable(written));
            }
            for (key, written) in ["t", "u"].into_iter().zip(&texts) {
                let Some(FieldValue::String(read)) = parsed[0].field_value(key) else { panic!("no text {key}") };
                prop_assert_eq!(read.to_string(), written.chars().filter(|c| !c.is_control()).collect::<String>());
            }
            for (key, written) in ["f", "g"].into_iter().zip(floats) {
                match parsed[0].field_value(key) {
                    Some(FieldValue::F64(read)) => prop_assert!(*read == written && written.is_finite()),
                    _ => prop_assert!(!written.is_finite()),
                }
            }
        }

        #[test]
        fn every_line_parses_back(
            variant in any::<String>(),
            state in "[a-z,= \\\\\"\n]{0,12}",
            int in any::<i64>(),
            float in any::<f64>(),
            text in "[a-z,= \\\\\"\n\u{e4}]{0,12}",
        ) {
            let point = point(
                vec![("state", state.clone())],
                vec![("i", Field::Int(int)), ("f", Field::Float(float)), ("t", Field::Text(text.clone()))],
            );
            let line = encode(&labels(&variant), &point).unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            let parsed: Vec<_> = parse_lines(&line).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(parsed.len(), 1);
            let line = &parsed[0];
            prop_assert_eq!(line.timestamp, Some(1_700_000_000_123));
            prop_assert_eq!(line.series.measurement.as_str(), "pg_ash");
            for (tag, written) in [("variant", &variant), ("state", &state)] {
                let read = line.tag_value(tag).map(ToString::to_string).unwrap_or_default();
                prop_assert_eq!(read, readable(written));
            }
            prop_assert_eq!(line.field_value("i"), Some(&FieldValue::I64(int)));
            if float.is_finite() {
                prop_assert_eq!(line.field_value("f"), Some(&FieldValue::F64(float)));
            } else {
                prop_assert!(line.field_value("f").is_none());
            }
            let read = match line.field_value("t") {
                Some(FieldValue::String(text)) => text.to_string(),
                other => format!("{other:?}"),
            };
            prop_assert_eq!(read, text.replace('\n', ""));
        }
    }
}
