//! Latency histograms: fixed bounds, fixed memory, mergeable, and the interval log they are kept in.

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest time a histogram tells apart, in microseconds: an hour. Longer ones count as an hour, and are counted.
const LONGEST: u64 = 3_600_000_000;

/// Significant decimal digits: a recorded time is off by at most 0.1 %.
const DIGITS: u8 = 3;

/// Durations in microseconds with three significant digits, from 1 µs (which zero counts as, too) to an hour.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: hdrhistogram::Histogram<u64>,
    saturated: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = hdrhistogram::Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Histogram { counts: counts.expect("the bounds are constants"), saturated: 0 }
    }
}

impl Histogram {
    /// Counts a duration.
    #[inline]
    pub fn record(&mut self, duration: Duration) {
        let micros = duration.as_secs() * 1_000_000 + u64::from(duration.subsec_micros());
        self.saturated += u64::from(micros > LONGEST);
        self.counts.saturating_record(micros.min(LONGEST));
    }

    /// Adds all that `other` has counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.add(&other.counts).expect("all histograms have the same bounds");
        self.saturated += other.saturated;
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// How many of them were longer than an hour.
    pub fn saturated(&self) -> u64 {
        self.saturated
    }

    /// The smallest duration that at least the share `quantile` (0 to 1) of all does not exceed, in seconds;
    /// `None` when nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        (!self.counts.is_empty()).then(|| self.counts.value_at_quantile(quantile) as f64 / 1e6)
    }

    /// The longest duration, in seconds.
    pub fn max(&self) -> Option<f64> {
        self.quantile(1.0)
    }

    /// How many durations came into each bucket, of those that any came into, shortest first. Four buckets make an octave:
    /// the upper bounds, given in whole microseconds, are the powers of the fourth root of two.
    pub fn octaves(&self) -> Vec<(u64, u64)> {
        let mut buckets: Vec<(u64, u64)> = Vec::new();
        for step in self.counts.iter_recorded() {
            let micros = step.value_iterated_to();
            let number = (4.0 * (micros as f64).log2()).ceil();
            let bound = (number / 4.0).exp2().round() as u64;
            match buckets.last_mut().filter(|(last, _)| *last == bound) {
                Some((_, count)) => *count += step.count_at_value(),
                None => buckets.push((bound, step.count_at_value())),
            }
        }
        buckets
    }

    /// The mean, in seconds.
    pub fn mean(&self) -> Option<f64> {
        (!self.counts.is_empty()).then(|| self.counts.mean() / 1e6)
    }
}

/// An HdrHistogram interval log (format 1.3, V2 histograms), written as it goes; values are microseconds.
///
/// `HistogramLogAnalyzer`, `HistogramLogProcessor` and every HdrHistogram library read it.
pub struct IntervalLog {
    path: PathBuf,
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
}

impl fmt::Debug for IntervalLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntervalLog").field("path", &self.path).finish_non_exhaustive()
    }
}

/// An interval log could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the latency log {}: {source}", path.display())]
pub struct LogError {
    /// The log.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl IntervalLog {
    /// Begins a log. `zero` is the wall time that intervals count from; `about` is a comment on its first line.
    pub fn create(path: &Path, zero: jiff::Timestamp, about: &str) -> Result<IntervalLog, LogError> {
        let begin = || {
            let mut file = BufWriter::new(File::create(path)?);
            // Both headers: StartTime makes readers count from the zero, BaseTime says that intervals already do.
            let zero = std::time::SystemTime::from(zero);
            IntervalLogWriterBuilder::new()
                .add_comment(about)
                .add_comment("[Histogram log format version 1.3]")
                .with_start_time(zero)
                .with_base_time(zero)
                .begin_log_with(&mut file, &mut V2DeflateSerializer::new())?;
            writeln!(file, r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#)?;
            file.flush()?;
            Ok(IntervalLog { path: path.into(), file, serializer: V2DeflateSerializer::new() })
        };
        begin().map_err(|source| LogError { path: path.into(), source })
    }

    /// Appends what was counted from `from` for `length`. Characters that a tag cannot hold become `_`.
    pub fn append(
        &mut self,
        tag: &str,
        histogram: &Histogram,
        from: Duration,
        length: Duration,
    ) -> Result<(), LogError> {
        let tag = tag.replace([',', ' ', '\r', '\n'], "_");
        IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.file, &mut self.serializer)
            .map_err(IntervalLogWriterError::IoError)
            .and_then(|mut log| log.write_histogram(&histogram.counts, from, length, Tag::new(&tag)))
            .map_err(|error| match error {
                IntervalLogWriterError::IoError(source) => self.error(source),
                IntervalLogWriterError::SerializeError(error) => self.error(io::Error::other(error.to_string())),
            })
    }

    /// Hands what was appended to the system.
    pub fn flush(&mut self) -> Result<(), LogError> {
        self.file.flush().map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> LogError {
        LogError { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_buckets_make_an_octave_and_hold_everything() {
        let mut histogram = Histogram::default();
        for micros in [1, 1000, 1001, 1024, 1025, 2048, 3_600_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        // 1024 is a bound; 2^(41/4), 2^(44/4) and 2^(127/4) are the next ones.
        assert_eq!(histogram.octaves(), [(1, 1), (1024, 3), (1218, 1), (2048, 1), (3_611_622_603, 1)]);
        assert_eq!(Histogram::default().octaves(), []);
    }
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn of(millis: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        millis.into_iter().for_each(|ms| histogram.record(Duration::from_millis(ms)));
        histogram
    }

    fn near(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value / expected - 1.0).abs() <= 1e-3)
    }

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut all = of(1..=500);
        all.merge(&of(501..=1000));
        assert_eq!(all.count(), 1000);
        assert!(near(all.quantile(0.5), 0.5) && near(all.quantile(0.99), 0.99) && near(all.max(), 1.0));
        assert!(near(all.mean(), 0.5005));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn what_is_too_long_is_counted() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_secs(7200));
        histogram.record(Duration::ZERO);
        assert_eq!((histogram.count(), histogram.saturated()), (2, 1));
        assert!(near(histogram.max(), 3600.0));
    }

    #[test]
    fn the_log_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.hlog");
        let mut log = IntervalLog::create(&path, jiff::Timestamp::UNIX_EPOCH, "load app").unwrap();
        log.append("tpcb.response", &of(1..=9), Duration::from_secs(1), Duration::from_millis(500)).unwrap();
        log.append("a b,c", &of([7]), Duration::from_secs(2), Duration::from_secs(1)).unwrap();
        log.flush().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut seen = Vec::new();
        for entry in IntervalLogIterator::new(&bytes) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let mut decoder = Deserializer::new();
                let histogram: hdrhistogram::Histogram<u64> =
                    decoder.deserialize(&mut decode_base64(interval.encoded_histogram()).as_slice()).unwrap();
                seen.push((interval.tag().unwrap().to_string(), interval.start_timestamp(), histogram.len()));
            }
        }
        assert_eq!(
            seen,
            [("tpcb.response".to_string(), Duration::from_secs(1), 9), ("a_b_c".into(), Duration::from_secs(2), 1)]
        );
    }

    /// Enough of RFC 4648 for a test.
    fn decode_base64(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
        for digit in text.bytes().filter_map(|c| ALPHABET.iter().position(|a| *a == c)) {
            bits = bits << 6 | digit as u32;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        bytes
    }
}
