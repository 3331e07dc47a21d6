//! `pgbench-rs export`: one table of a results folder on standard output, for tools that read CSV or JSON.

use super::samples::{lines, tag};
use crate::metric::sampled::FIXED_TAGS;
use crate::record::{Record, RecordError};
use crate::sink::WriteError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use influxdb_line_protocol::FieldValue;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `summary.csv`.
    Summary,
    /// `events.csv`.
    Events,
    /// `trials.csv`.
    Trials,
    /// Latencies by log and tag, merged over the intervals of its log.
    Latency,
    /// `metrics.lp.gz`, one value a row.
    Samples,
}

impl What {
    /// The columns, which stay what they are: others are added at the end, none is renamed or removed.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            What::Summary => {
                &["run_id", "scenario", "variant", "trial", "phase", "node", "subject", "metric", "unit", "value"]
            }
            What::Events => &["run_id", "variant", "trial", "elapsed_ms", "at", "kind", "node", "text"],
            What::Trials => &["run_id", "variant", "trial", "position", "started_at", "status", "reason"],
            What::Latency => &["log", "tag", "count", "mean", "p50", "p90", "p99", "p999", "max", "p9999"],
            What::Samples => {
                &["run_id", "variant", "trial", "at_ms", "node", "role", "measurement", "tags", "field", "value"]
            }
        }
    }
}

/// A row of [`What::Samples`].
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Sample {
    run_id: String,
    variant: String,
    trial: String,
    /// Milliseconds since 1970, UTC.
    at_ms: i64,
    node: String,
    role: String,
    measurement: String,
    /// `name=value` of the tags that not every line has, with `;` between them.
    tags: String,
    field: String,
    value: String,
}

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With a header line.
    Csv,
    /// One array of objects.
    Json,
}

/// A row of [`What::Latency`]; times are seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// The log, relative to `latency/`.
    pub log: String,
    /// What was timed, such as `tpcb.response`.
    pub tag: String,
    /// How many times.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Longest.
    pub max: f64,
    /// 99.99th percentile.
    pub p9999: f64,
}

/// Writes a table of `record` to `to`.
pub fn export(record: &Record, what: What, form: Form, to: &mut impl Write) -> Result<(), RecordError> {
    let written = match what {
        What::Summary => rows(&record.values, form, to),
        What::Events => rows(&record.events, form, to),
        What::Trials => rows(&record.trials, form, to),
        What::Latency => rows(&latencies(&record.dir)?, form, to),
        What::Samples => rows(&samples(&record.dir)?, form, to),
    };
    match written {
        // Whoever reads has seen enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written.map_err(WriteError::at("standard output"))?),
    }
}

fn rows(rows: &[impl Serialize], form: Form, to: &mut impl Write) -> io::Result<()> {
    match form {
        Form::Csv => {
            let mut csv = csv::Writer::from_writer(&mut *to);
            for row in rows {
                csv.serialize(row).map_err(io::Error::from)?;
            }
            csv.flush()?;
        }
        Form::Json => {
            serde_json::to_writer_pretty(&mut *to, rows)?;
            to.write_all(b"\n")?;
        }
    }
    to.flush()
}

/// All points of `dir`, a row for each field.
fn samples(dir: &Path) -> Result<Vec<Sample>, RecordError> {
    let mut rows = Vec::new();
    lines(dir, |line| {
        let tags = line.series.tag_set.iter().flatten();
        let own = tags.filter(|(name, _)| !FIXED_TAGS.contains(&name.as_str()));
        let own: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
        rows.extend(line.field_set.iter().map(|(field, value)| Sample {
            run_id: tag(line, "run_id"),
            variant: tag(line, "variant"),
            trial: tag(line, "trial"),
            at_ms: line.timestamp.unwrap_or_default(),
            node: tag(line, "node"),
            role: tag(line, "role"),
            measurement: line.series.measurement.to_string(),
            tags: own.join(";"),
            field: field.to_string(),
            value: match value {
                FieldValue::I64(value) => value.to_string(),
                FieldValue::U64(value) => value.to_string(),
                FieldValue::F64(value) => value.to_string(),
                FieldValue::Boolean(value) => value.to_string(),
                FieldValue::String(value) => value.to_string(),
            },
        }));
        Ok(())
    })?;
    Ok(rows)
}

/// Reads all interval logs under `dir/latency` and merges each log's intervals by tag.
pub fn latencies(dir: &Path) -> Result<Vec<Latency>, RecordError> {
    let root = dir.join("latency");
    let mut rows = Vec::new();
    for path in logs(&root)? {
        let log = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        for (tag, merged) in merge(&path, |_| true)? {
            // The loads record microseconds.
            let seconds = |micros: u64| micros as f64 / 1e6;
            let quantile = |q: f64| seconds(merged.value_at_quantile(q));
            rows.push(Latency {
                log: log.clone(),
                tag,
                count: merged.len(),
                mean: merged.mean() / 1e6,
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
                p999: quantile(0.999),
                max: seconds(merged.max()),
                p9999: quantile(0.9999),
            });
        }
    }
    Ok(rows)
}

/// The `.hlog` files in `folder` and below, sorted; none when there is no such folder.
pub(super) fn logs(folder: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let failed = |source| RecordError::Read { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            found.extend(logs(&entry.path())?);
        } else if entry.path().extension().is_some_and(|extension| extension == "hlog") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The intervals of a log, merged by tag, of those that `keep` is true for: it is given the seconds from the trial's zero to
/// the interval's beginning. A last line torn by the death of its writer is passed over.
pub(super) fn merge(path: &Path, keep: impl Fn(f64) -> bool) -> Result<BTreeMap<String, Histogram<u64>>, RecordError> {
    let damaged = |what: String| RecordError::Damaged { path: path.to_owned(), what };
    let log = std::fs::read(path).map_err(|source| RecordError::Read { path: path.to_owned(), source })?;
    let end = log.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut merged: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    let mut reader = Deserializer::new();
    for entry in IntervalLogIterator::new(&log[..end]) {
        let interval = match entry.map_err(|error| damaged(format!("{error:?}")))? {
            LogEntry::Interval(interval) if keep(interval.start_timestamp().as_secs_f64()) => interval,
            _ => continue,
        };
        let encoded = STANDARD.decode(interval.encoded_histogram()).map_err(|error| damaged(error.to_string()))?;
        let histogram: Histogram<u64> =
            reader.deserialize(&mut encoded.as_slice()).map_err(|error| damaged(error.to_string()))?;
        let tag = interval.tag().map_or_else(String::new, |tag| tag.to_string());
        match merged.get_mut(&tag) {
            Some(all) => all.add(&histogram).map_err(|error| damaged(error.to_string()))?,
            None => {
                merged.insert(tag, histogram);
            }
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use hdrhistogram::serialization::V2DeflateSerializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
    use std::time::Duration;

    fn histogram(micros: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        for value in micros {
            histogram.record(value).unwrap();
        }
        histogram
    }

    #[test]
    fn intervals_are_merged_by_tag() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("latency/1");
        std::fs::create_dir_all(&folder).unwrap();
        let mut log = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new().begin_log_with(&mut log, &mut serializer).unwrap();
        let second = Duration::from_secs(1);
        for (from, tag, values) in [(0, "tpcb.response", 1..=50), (1, "tpcb.response", 51..=100), (0, "wait", 7..=7)] {
            let values = values.map(|ms| ms * 1000);
            writer.write_histogram(&histogram(values), second * from, second, Tag::new(tag)).unwrap();
        }
        drop(writer);
        log.extend_from_slice(b"Tag=wait,2.0,1.0,7.0,HISTtorn");
        std::fs::write(folder.join("app.hlog"), &log).unwrap();

        let rows = latencies(dir.path()).unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.tag.as_str(), row.count)).collect::<Vec<_>>(),
            [("tpcb.response", 100), ("wait", 1)]
        );
        assert_eq!(rows[0].log, "1/app.hlog");
        let near = |a: f64, b: f64| (a / b - 1.0).abs() <= 1e-3;
        assert!(near(rows[0].p50, 0.05) && near(rows[0].p99, 0.099) && near(rows[0].max, 0.1), "{:?}", rows[0]);
        assert!(near(rows[0].mean, 0.0505), "{:?}", rows[0]);
    }

    #[test]
    fn tables_as_csv_and_json() {
        let mut out = Vec::new();
        export(&record(), What::Trials, Form::Csv, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 11);
        assert_eq!(text.lines().next(), Some("run_id,variant,trial,position,started_at,status,reason"));

        let mut out = Vec::new();
        export(&record(), What::Summary, Form::Json, &mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json[0]["metric"], "failover.detect");
        assert_eq!(json[0]["phase"], serde_json::Value::Null);
    }

    /// Other people's programs read these.
    #[test]
    fn columns_are_what_they_were() {
        let (mut record, dir) = (record(), tempfile::tempdir().unwrap());
        record.dir = dir.path().to_owned();
        let event = crate::record::EventRow {
            run_id: "r".into(),
            variant: "v".into(),
            trial: 1,
            elapsed_ms: 1.5,
            at: "2026-11-22T10:26:01Z".into(),
            kind: "fault.kill".into(),
            node: None,
            text: "x".into(),
        };
        record.events.push(event);
        let mut log = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new().begin_log_with(&mut log, &mut serializer).unwrap();
        let second = Duration::from_secs(1);
        writer.write_histogram(&histogram(1..=9), second, second, Tag::new("tpcb.response")).unwrap();
        drop(writer);
        std::fs::create_dir_all(dir.path().join("latency/1")).unwrap();
        std::fs::write(dir.path().join("latency/1/app.hlog"), log).unwrap();
        let points = b"load_ops,run_id=r,variant=v,trial=1,load=app done=3i,errors=0i 1700000000123\n";
        let file = std::fs::File::create(dir.path().join("metrics.lp.gz")).unwrap();
        let mut file = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        file.write_all(points).unwrap();
        file.finish().unwrap();
        for what in [What::Summary, What::Events, What::Trials, What::Latency, What::Samples] {
            let mut out = Vec::new();
            export(&record, what, Form::Csv, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.lines().next(), Some(what.columns().join(",").as_str()), "{what:?}");
            let readme = include_str!("../../README.md");
            assert!(
                readme.contains(&format!("`{}`", what.columns().join(","))),
                "the README has not those of {what:?}"
            );
            if what == What::Samples {
                assert_eq!(text.lines().nth(1), Some("r,v,1,1700000000123,,,load_ops,load=app,done,3"));
            }
        }
    }
}
