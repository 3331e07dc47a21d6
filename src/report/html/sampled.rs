//! Of every trial the series that plots are made of.

use super::super::samples::{lines, number, tag};
use crate::record::{Record, RecordError};
use influxdb_line_protocol::ParsedLine;
use std::collections::{BTreeMap, HashMap};

/// A plot that a series belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Transactions and errors a second.
    Throughput,
    /// Acknowledged writes a second.
    Ledger,
    /// Response times of an interval, seconds.
    Response,
    /// Commit to visible, seconds.
    Lag,
    /// Replay lag that the primary knows of, seconds.
    Replay,
    /// Active sessions of primaries by what they wait for.
    Waits,
    /// Sessions that wait for locks, and those at the roots of the tree.
    Locks,
    /// WAL written by primaries, bytes a second.
    Wal,
    /// WAL that slots keep, bytes.
    Slots,
    /// Blocks read from outside of shared buffers a second.
    Misses,
    /// Buffers that checkpoints wrote a second.
    Checkpoints,
    /// Processors that servers and the machine used.
    Cpu,
    /// Bytes a second that servers and the machine wrote to disks.
    Disk,
    /// Share of the time in which something on the machine had to wait, by what for.
    Pressure,
}

impl Kind {
    /// Whether a line of zeros says less than none: a load without errors, a class that nobody waited for.
    fn is_of_trouble(self, name: &str) -> bool {
        match self {
            Kind::Waits | Kind::Locks | Kind::Slots | Kind::Misses | Kind::Checkpoints | Kind::Pressure => true,
            Kind::Throughput => name.ends_with(" errors"),
            Kind::Ledger | Kind::Response | Kind::Lag | Kind::Replay | Kind::Wal | Kind::Cpu | Kind::Disk => false,
        }
    }
}

/// Series of a trial by plot and name: milliseconds since the trial's zero, and value.
pub(super) type Series = BTreeMap<(Kind, String), Vec<(i64, f64)>>;

/// Points of one interval that different tasks stamp some milliseconds apart are to share an instant.
const SLOT: i64 = 100;

/// What is read of a trial.
struct Trial {
    zero: i64,
    series: Series,
    /// Of every counter its newest stamp and count, of counts by interval where the next begins and what is pending.
    before: HashMap<(Kind, String), (i64, f64)>,
    /// When primaries answered, and their sessions by wait class: no row there means no session.
    waits: BTreeMap<i64, BTreeMap<String, f64>>,
}

/// All trials of a record, by variant and number. A file that its writer did not end is read as far as it goes.
pub(super) fn read(record: &Record) -> Result<HashMap<(String, u32), Series>, RecordError> {
    let mut trials: HashMap<(String, u32), Trial> = HashMap::new();
    for row in &record.trials {
        let Ok(zero) = row.started_at.parse::<jiff::Timestamp>() else { continue };
        let trial = Trial {
            zero: zero.as_millisecond(),
            series: Series::new(),
            before: HashMap::new(),
            waits: BTreeMap::new(),
        };
        trials.insert((row.variant.clone(), row.trial), trial);
    }
    lines(&record.dir, |line| {
        let of = (tag(line, "variant"), tag(line, "trial").parse().unwrap_or(0));
        if let (Some(trial), Some(at)) = (trials.get_mut(&of), line.timestamp) {
            trial.take(line, at - trial.zero);
        }
        Ok(())
    })?;
    Ok(trials.into_iter().map(|(of, trial)| (of, trial.finish())).collect())
}

impl Trial {
    fn take(&mut self, line: &ParsedLine<'_>, at: i64) {
        let slot = (at as f64 / SLOT as f64).round() as i64 * SLOT;
        match line.series.measurement.as_str() {
            "load_ops" => {
                let load = tag(line, "load");
                self.interval(line, "done", &load, at);
                self.interval(line, "errors", &format!("{load} errors"), at);
            }
            "load_latency" => {
                let name = format!("{} {}", tag(line, "load"), tag(line, "transaction"));
                for (field, quantile) in [("response_p50", "p50"), ("response_p99", "p99")] {
                    self.gauge(Kind::Response, format!("{name} {quantile}"), slot, number(line, field));
                }
            }
            "ledger" => self.counter(Kind::Ledger, "acknowledged".into(), at, number(line, "acked"), 1.0),
            "lag_visible" => {
                let name = format!("{}>{}", tag(line, "source"), tag(line, "node"));
                self.gauge(Kind::Lag, name, slot, number(line, "upper_max"));
            }
            "pg_stat_replication" => {
                let name = format!("{}>{}", tag(line, "node"), tag(line, "application_name"));
                self.gauge(Kind::Replay, name, slot, number(line, "replay_lag"));
            }
            "pg_replication" if tag(line, "role") == "primary" => {
                self.waits.entry(at).or_default();
                self.counter(Kind::Wal, tag(line, "node"), at, number(line, "current_lsn_bytes"), 1.0);
            }
            "pg_ash" if tag(line, "role") == "primary" && tag(line, "state") == "active" => {
                let class = self.waits.entry(at).or_default().entry(tag(line, "wait_event_type")).or_default();
                *class += number(line, "sessions").unwrap_or_default();
            }
            "pg_lock_tree" => {
                for field in ["waiters", "roots"] {
                    self.gauge(Kind::Locks, format!("{} {field}", tag(line, "node")), slot, number(line, field));
                }
            }
            "pg_replication_slots" => {
                let name = format!("{} {}", tag(line, "node"), tag(line, "slot_name"));
                self.gauge(Kind::Slots, name, slot, number(line, "retained_bytes"));
            }
            _ => self.used(line, at),
        }
    }

    /// What servers and the machine used: counters all of them.
    fn used(&mut self, line: &ParsedLine<'_>, at: i64) {
        let node = || tag(line, "node");
        let machine = || "machine".to_owned();
        let sum = |fields: [&str; 2]| Some(number(line, fields[0])? + number(line, fields[1])?);
        match line.series.measurement.as_str() {
            "pg_stat_database" => self.counter(Kind::Misses, node(), at, number(line, "blks_read"), 1.0),
            "pg_stat_checkpointer" => {
                self.counter(Kind::Checkpoints, node(), at, number(line, "buffers_written"), 1.0);
            }
            "container" => {
                self.counter(Kind::Cpu, node(), at, number(line, "cpu_usage_ns"), 1e9);
                self.counter(Kind::Disk, node(), at, number(line, "blkio_write_bytes"), 1.0);
            }
            "server_processes" => {
                self.counter(Kind::Cpu, node(), at, sum(["cpu_user_ns", "cpu_system_ns"]), 1e9);
                self.counter(Kind::Disk, node(), at, number(line, "write_bytes"), 1.0);
            }
            "host" => {
                self.counter(Kind::Cpu, machine(), at, sum(["cpu_user_ns", "cpu_system_ns"]), 1e9);
                self.counter(Kind::Disk, machine(), at, number(line, "disk_write_bytes"), 1.0);
                for (what, field) in
                    [("processor", "cpu_waiting_us"), ("memory", "memory_waiting_us"), ("disk", "io_waiting_us")]
                {
                    self.counter(Kind::Pressure, what.into(), at, number(line, field), 1e6);
                }
            }
            _ => {}
        }
    }

    fn gauge(&mut self, kind: Kind, name: String, at: i64, value: Option<f64>) {
        self.series.entry((kind, name)).or_default().extend(value.map(|value| (at, value)));
    }

    /// A count of the interval that ends here, as a rate; of the first interval nobody knows when it began. A sliver, such
    /// as the end of a phase cuts off, is too short for a rate and counts with the next interval.
    fn interval(&mut self, line: &ParsedLine<'_>, field: &str, name: &str, at: i64) {
        let Some(count) = number(line, field) else { return };
        let key = (Kind::Throughput, name.to_owned());
        let Some((begun, pending)) = self.before.get_mut(&key) else {
            self.before.insert(key, (at, 0.0));
            return;
        };
        *pending += count;
        if at - *begun >= 2 * SLOT {
            let rate = *pending * 1000.0 / (at - *begun) as f64;
            (*begun, *pending) = (at, 0.0);
            let slot = (at as f64 / SLOT as f64).round() as i64 * SLOT;
            self.series.entry(key).or_default().push((slot, rate));
        }
    }

    /// A count since some beginning, as a rate in units of `unit`; one that went back began anew.
    fn counter(&mut self, kind: Kind, name: String, at: i64, count: Option<f64>, unit: f64) {
        let Some(count) = count else { return };
        let key = (kind, name);
        let before = self.before.insert(key.clone(), (at, count));
        if let Some((then, before)) = before.filter(|(then, before)| *then < at && *before <= count) {
            let rate = (count - before) / unit * 1000.0 / (at - then) as f64;
            let slot = (at as f64 / SLOT as f64).round() as i64 * SLOT;
            self.series.entry(key).or_default().push((slot, rate));
        }
    }

    fn finish(mut self) -> Series {
        let classes: std::collections::BTreeSet<String> =
            self.waits.values().flat_map(|classes| classes.keys().cloned()).collect();
        for class in classes {
            let values = self.waits.iter().map(|(at, of)| (*at, of.get(&class).copied().unwrap_or(0.0))).collect();
            self.series.insert((Kind::Waits, class), values);
        }
        self.series.retain(|(kind, name), values| {
            !values.is_empty() && (!kind.is_of_trouble(name) || values.iter().any(|(_, value)| *value != 0.0))
        });
        self.series
    }
}
