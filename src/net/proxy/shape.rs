//! What a way does to the bytes on it: delay, jitter, bandwidth.

use rand::RngExt;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much of its time a link may be booked ahead by one connection, before this one has to wait: the queue
/// before the link. It is long beside the lateness of a thread on a busy machine, so that a link in demand
/// never idles.
pub(super) const QUEUE: Duration = Duration::from_millis(50);

/// How long one connection occupies a link before another has its turn.
const TURN: Duration = Duration::from_millis(2);

/// An Ethernet segment's payload: less at once is not passed for the sake of turns.
const SEGMENT: u64 = 1448;

/// The most that is taken from a socket at once.
const CHUNK: u64 = 256 << 10;

/// Bytes that may be on their way in one direction of one connection: at least, at most.
const LEAST: u64 = 256 << 10;
const MOST: u64 = 16 << 20;

/// The bandwidth that a way without a limit is taken to have where bytes on their way are bounded, bytes/s.
const UNLIMITED: u64 = 320 << 20;

/// No delay is longer: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a way does to bytes. The default passes them on at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How long bytes travel, each way: half of the round trip.
    pub delay: Duration,
    /// By how much a travel is at most shorter or longer, uniformly. Bytes never overtake each other, so
    /// that a busy connection sees the late end of it more often.
    pub jitter: Duration,
    /// Bytes a second each way, which all connections of the proxy share; absent: no limit.
    pub bandwidth: Option<NonZeroU64>,
}

impl Shape {
    /// How many bytes may be on their way in one direction of one connection: twice what fills the way
    /// (bandwidth x delay), from 256 KiB to 16 MiB. Whoever sends more feels back pressure.
    pub fn in_flight(&self) -> usize {
        let bandwidth = self.bandwidth.map_or(UNLIMITED, NonZeroU64::get);
        let travel = self.delay.saturating_add(self.jitter).min(LONGEST);
        let fills = u128::from(bandwidth) * travel.as_micros() / 1_000_000;
        u64::try_from(2 * fills).unwrap_or(MOST).clamp(LEAST, MOST) as usize
    }

    /// How many bytes are taken from a socket at once.
    pub(super) fn chunk(&self) -> usize {
        let turn = |bandwidth: NonZeroU64| bandwidth.get().saturating_mul(TURN.as_millis() as u64) / 1000;
        self.bandwidth.map_or(CHUNK, turn).clamp(SEGMENT, CHUNK) as usize
    }

    /// How long the next bytes travel.
    pub(super) fn travel(&self) -> Duration {
        let delay = self.delay.min(LONGEST);
        let jitter = self.jitter.min(LONGEST);
        if jitter.is_zero() {
            return delay;
        }
        let drawn = jitter.mul_f64(2.0 * rand::rng().random::<f64>());
        (delay + drawn).saturating_sub(jitter)
    }
}

/// One direction of a link of limited bandwidth: it sends one byte after the other, whoever's they are.
#[derive(Debug)]
pub(super) struct Link(Mutex<Instant>);

impl Link {
    pub(super) fn new() -> Link {
        Link(Mutex::new(Instant::now()))
    }

    /// When the last of these bytes has left the sender's end.
    pub(super) fn pass(&self, bytes: usize, bandwidth: Option<NonZeroU64>, now: Instant) -> Instant {
        let Some(bandwidth) = bandwidth else { return now };
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(bandwidth.get());
        let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)).min(LONGEST);
        let mut free = self.free();
        *free = (*free).max(now) + takes;
        *free
    }

    /// Forgets what it was booked for, because its bandwidth is another.
    pub(super) fn clear(&self) {
        *self.free() = Instant::now();
    }

    /// From when on it is free.
    fn free(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn travel_stays_within_the_jitter() {
        let shape = Shape { delay: ms(10), jitter: ms(4), ..Shape::default() };
        let travels: Vec<Duration> = (0..1000).map(|_| shape.travel()).collect();
        assert!(travels.iter().all(|t| (ms(6)..=ms(14)).contains(t)), "{travels:?}");
        assert!(travels.iter().any(|t| *t < ms(8)) && travels.iter().any(|t| *t > ms(12)));
        let more_jitter_than_delay = Shape { delay: ms(1), jitter: ms(10), ..Shape::default() };
        assert!((0..1000).all(|_| more_jitter_than_delay.travel() <= ms(11)));
    }

    #[test]
    fn a_long_delay_is_no_panic() {
        let shape = Shape { delay: Duration::MAX, jitter: Duration::MAX, bandwidth: NonZeroU64::new(u64::MAX) };
        assert!(shape.travel() <= 2 * LONGEST);
        assert_eq!(shape.in_flight(), 16 << 20);
        assert_eq!(shape.chunk(), 256 << 10);
    }

    #[test]
    fn what_is_on_the_way_grows_with_bandwidth_and_delay() {
        assert_eq!(Shape::default().in_flight(), 256 << 10);
        let wan = Shape { delay: ms(50), jitter: ms(0), bandwidth: NonZeroU64::new(10_000_000) };
        assert_eq!(wan.in_flight(), 1_000_000);
        assert_eq!(Shape { bandwidth: None, ..wan }.in_flight(), 16 << 20);
    }

    #[test]
    fn a_link_sends_one_after_the_other() {
        let (link, now, bandwidth) = (Link::new(), Instant::now() + ms(1), NonZeroU64::new(1000));
        assert_eq!(link.pass(500, bandwidth, now), now + ms(500));
        assert_eq!(link.pass(100, bandwidth, now + ms(10)), now + ms(600));
        assert_eq!(link.pass(100, bandwidth, now + ms(900)), now + ms(1000), "it was idle meanwhile");
        assert_eq!(link.pass(100, None, now), now);
    }
}
