//! From what all servers say at one instant to the lag of each stream, and from that to percentiles.

use super::reading::{Reading, Sender, Slot};
use crate::base::Name;
use crate::metric::{Field, Point, Value};
use crate::probe::stream::{By, Stream};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lag of one stream at one instant. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lag {
    /// Whether somebody sends to the target.
    pub(super) connected: bool,
    /// How far the source has written, in bytes since `0/0`.
    pub(super) written: Option<i64>,
    /// WAL between what was written and what is applied, in bytes.
    pub(super) distance: Option<f64>,
    pub(super) write_lag: Option<f64>,
    pub(super) flush_lag: Option<f64>,
    pub(super) replay_lag: Option<f64>,
    /// Age of the oldest marker on the target.
    pub(super) heartbeat: Option<f64>,
    /// Age of the last transaction that the target replayed.
    pub(super) last_replayed: Option<f64>,
    /// WAL that the stream's slot keeps on its publisher or primary, in bytes.
    pub(super) retained: Option<f64>,
    pub(super) wal_status: Option<String>,
}

/// The lag of a stream, as all servers that answered see it.
pub(super) fn lag(stream: &Stream, said: &BTreeMap<Name, Reading>) -> Lag {
    let target = said.get(&stream.to);
    let last_replayed = target.and_then(|target| target.last_replayed);
    match &stream.by {
        By::Replay { slot } => {
            // After a failover somebody else sends. The newest of several senders counts.
            let is_ours = |sender: &&Sender| sender.application_name == stream.to;
            let sends = |reading: &Reading| reading.senders.iter().rev().find(is_ours).cloned();
            let found = said.values().find_map(|reading| Some((reading, sends(reading)?)));
            let source = found.as_ref().map(|(reading, _)| *reading).or_else(|| said.get(&stream.from));
            let sender = found.map(|(_, sender)| sender);
            let applied = sender.as_ref().and_then(|sender| sender.replay).or_else(|| target.and_then(|t| t.replayed));
            let slot = source.zip(slot.as_ref()).and_then(|(source, name)| source.slot(name));
            let beat = target.and_then(|target| target.beats.get("").copied());
            Lag { heartbeat: beat, last_replayed, ..of(source, sender, applied, slot) }
        }
        By::Subscription { slot, marks, .. } => {
            let source = said.get(&stream.from);
            let slot = source.and_then(|source| source.slot(slot));
            let pid = slot.and_then(|slot| slot.active_pid);
            let sender =
                source.zip(pid).and_then(|(source, pid)| source.senders.iter().find(|one| one.pid == pid).cloned());
            // The subscriber's own report runs ahead of what is applied; the slot's does not.
            let applied = slot.and_then(|slot| slot.confirmed);
            let beats = || marks.iter().map(|mark| target.and_then(|target| target.beats.get(mark).copied()));
            let oldest = beats().collect::<Option<Vec<f64>>>().and_then(|all| all.into_iter().reduce(f64::max));
            let connected = pid.is_some();
            Lag { connected, heartbeat: oldest, last_replayed, ..of(source, sender, applied, slot) }
        }
    }
}

fn of(source: Option<&Reading>, sender: Option<Sender>, applied: Option<i64>, slot: Option<&Slot>) -> Lag {
    let written = source.and_then(|source| source.position);
    // Two servers are not asked at the very same instant.
    let behind = |to: Option<i64>| written.zip(to).map(|(written, to)| (written - to).max(0) as f64);
    let connected = sender.is_some();
    let sender = sender.unwrap_or_default();
    Lag {
        connected,
        written,
        distance: behind(applied),
        write_lag: sender.write_lag,
        flush_lag: sender.flush_lag,
        replay_lag: sender.replay_lag,
        retained: behind(slot.and_then(|slot| slot.restart)),
        wal_status: slot.and_then(|slot| slot.wal_status.clone()),
        ..Lag::default()
    }
}

impl Reading {
    fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }
}

impl Lag {
    /// As a point of the measurement `lag`.
    pub(super) fn point(&self, stream: &Stream, elapsed: Duration) -> Point {
        let mut fields = vec![("connected", Field::Int(i64::from(self.connected)))];
        let bytes = [("distance_bytes", self.distance), ("retained_bytes", self.retained)];
        fields.extend(bytes.into_iter().filter_map(|(name, value)| Some((name, Field::Int(value? as i64)))));
        let times = [
            ("write_lag", self.write_lag),
            ("flush_lag", self.flush_lag),
            ("replay_lag", self.replay_lag),
            ("heartbeat_seconds", self.heartbeat),
            ("last_replayed_seconds", self.last_replayed),
        ];
        fields.extend(times.into_iter().filter_map(|(name, value)| Some((name, Field::Float(value?)))));
        fields.extend(self.wal_status.clone().map(|status| ("wal_status", Field::Text(status))));
        let tags = vec![("stream", stream.subject())];
        let role = if matches!(stream.by, By::Replay { .. }) { "standby" } else { "primary" };
        Point { measurement: "lag", node: stream.to.clone(), role, tags, fields, elapsed }
    }
}

/// The lags of one stream, of a phase or of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    asked: u64,
    connected: u64,
    /// How far the source had written at the first reading, and at the last one if there were two.
    written: Option<(i64, Option<i64>)>,
    distance: Vec<f64>,
    reported: Vec<f64>,
    heartbeat: Vec<f64>,
    last_replayed: Vec<f64>,
    retained: Vec<f64>,
}

impl Tally {
    pub(super) fn count(&mut self, lag: &Lag) {
        self.asked += 1;
        self.connected += u64::from(lag.connected);
        if let Some(written) = lag.written {
            self.written = Some(self.written.map_or((written, None), |(first, _)| (first, Some(written))));
        }
        self.distance.extend(lag.distance);
        self.reported.extend(lag.replay_lag);
        self.heartbeat.extend(lag.heartbeat);
        self.last_replayed.extend(lag.last_replayed);
        self.retained.extend(lag.retained);
    }

    /// Percentiles, of what was seen at all.
    pub(super) fn values(&self) -> Vec<Value> {
        let series: [([&'static str; 3], &[f64]); 4] = [
            (["lag.bytes.p50", "lag.bytes.p99", "lag.bytes.max"], &self.distance),
            (["lag.reported.p50", "lag.reported.p99", "lag.reported.max"], &self.reported),
            (["lag.heartbeat.p50", "lag.heartbeat.p99", "lag.heartbeat.max"], &self.heartbeat),
            (["lag.last_replayed.p50", "lag.last_replayed.p99", "lag.last_replayed.max"], &self.last_replayed),
        ];
        let mut values = Vec::new();
        for (names, seen) in series {
            let mut seen = seen.to_vec();
            seen.sort_by(f64::total_cmp);
            for (name, share) in names.into_iter().zip([0.5, 0.99, 1.0]) {
                values.extend(quantile(&seen, share).map(|value| Value::new(name, value)));
            }
        }
        let most = self.retained.iter().copied().reduce(f64::max);
        values.extend(most.map(|bytes| Value::new("lag.retained.max", bytes)));
        // Where another server is the source by now, the two positions are not of one history.
        let wrote = self.written.and_then(|(first, last)| u64::try_from(last? - first).ok());
        values.extend(wrote.map(|bytes| Value::new("lag.written", bytes as f64)));
        if self.asked > 0 {
            values.push(Value::new("lag.connected", self.connected as f64 / self.asked as f64));
        }
        values
    }
}

/// The smallest of the sorted that at least this share of all does not exceed.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::catalogue;

    fn stream() -> Stream {
        let by = By::Subscription {
            name: "books".into(),
            slot: "books".into(),
            publications: vec!["p".into()],
            marks: vec!["p".into()],
        };
        Stream { from: "a".into(), to: "b".into(), by }
    }

    fn publisher(active_pid: Option<i32>) -> Reading {
        let slot =
            Slot { name: "books".into(), active_pid, restart: Some(100), confirmed: Some(400), wal_status: None };
        let sender = Sender { pid: 7, application_name: "books".into(), replay: Some(900), ..Sender::default() };
        Reading { position: Some(1000), senders: vec![sender], slots: vec![slot], ..Reading::default() }
    }

    #[test]
    fn the_slot_and_not_the_report_says_how_far_a_subscriber_is() {
        let said = BTreeMap::from([("a".to_owned(), publisher(Some(7)))]);
        let lag = lag(&stream(), &said);
        assert_eq!((lag.connected, lag.distance, lag.retained), (true, Some(600.0), Some(900.0)));
        assert_eq!((lag.replay_lag, lag.heartbeat, lag.last_replayed), (None, None, None), "NULL stays absent");
    }

    #[test]
    fn who_is_away_is_not_connected_and_still_behind() {
        let lag = lag(&stream(), &BTreeMap::from([("a".to_owned(), publisher(None))]));
        assert_eq!((lag.connected, lag.distance), (false, Some(600.0)));
        assert!(!lag.point(&stream(), Duration::ZERO).fields.iter().any(|(name, _)| *name == "replay_lag"));
    }

    #[test]
    fn a_standby_is_found_wherever_it_streams_from() {
        let stream = Stream { from: "a".into(), to: "s2".into(), by: By::Replay { slot: None } };
        let sender =
            Sender { application_name: "s2".into(), replay: Some(90), replay_lag: Some(0.5), ..Sender::default() };
        let promoted = Reading { position: Some(100), senders: vec![sender], ..Reading::default() };
        let target = Reading { replayed: Some(80), beats: [(String::new(), 0.2)].into(), ..Reading::default() };
        let said = BTreeMap::from([("s1".to_owned(), promoted), ("s2".to_owned(), target)]);
        let found = lag(&stream, &said);
        assert_eq!((found.connected, found.distance, found.heartbeat), (true, Some(10.0), Some(0.2)));
        let alone = BTreeMap::from([("s2".to_owned(), said["s2"].clone())]);
        assert_eq!((lag(&stream, &alone).connected, lag(&stream, &alone).distance), (false, None));
    }

    #[test]
    fn what_the_source_wrote_is_known_from_two_readings_of_one_history() {
        let wrote = |positions: &[Option<i64>]| {
            let mut tally = Tally::default();
            positions.iter().for_each(|written| tally.count(&Lag { written: *written, ..Lag::default() }));
            tally.values().iter().find(|value| value.metric == "lag.written").map(|value| value.value)
        };
        assert_eq!(wrote(&[None, Some(100), None, Some(350), None]), Some(250.0));
        assert_eq!(wrote(&[Some(100), Some(100)]), Some(0.0));
        assert_eq!([wrote(&[None]), wrote(&[Some(100)]), wrote(&[Some(350), Some(100)])], [None; 3]);
    }

    #[test]
    fn values_are_declared_and_absent_where_nothing_was_seen() {
        let mut tally = Tally::default();
        for distance in 1..=100 {
            tally.count(&Lag { connected: distance > 50, distance: Some(f64::from(distance)), ..Lag::default() });
        }
        let values = tally.values();
        assert!(values.iter().all(|value| catalogue::find(value.metric).is_some()));
        let of = |metric: &str| values.iter().find(|value| value.metric == metric).map(|value| value.value);
        assert_eq!(
            [of("lag.bytes.p50"), of("lag.bytes.p99"), of("lag.bytes.max")],
            [Some(50.0), Some(99.0), Some(100.0)]
        );
        assert_eq!((of("lag.connected"), of("lag.heartbeat.max")), (Some(0.5), None));
    }
}
