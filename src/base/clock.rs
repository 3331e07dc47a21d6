//! One monotonic clock for everything that a trial records.
//!
//! Instants are kept as [`Duration`] since the clock's zero; wall time is derived from it, so two
//! records of one trial can always be subtracted, also when the host's clock was set meanwhile.

use std::time::{Duration, Instant};

/// The clock of one trial (or of one run): a monotonic zero and the wall time it was read at.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: Instant,
    zero_at: jiff::Timestamp,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        Clock { zero: Instant::now(), zero_at: jiff::Timestamp::now() }
    }

    /// Time since the zero.
    pub fn elapsed(&self) -> Duration {
        self.zero.elapsed()
    }

    /// A monotonic instant as time since the zero; instants before it give zero.
    pub fn since(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.zero)
    }

    /// The monotonic instant at `elapsed`.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.zero + elapsed
    }

    /// Wall time at `elapsed`, UTC, as the zero's wall time plus monotonic time.
    pub fn at(&self, elapsed: Duration) -> jiff::Timestamp {
        self.zero_at.checked_add(jiff::SignedDuration::try_from(elapsed).unwrap_or_default()).unwrap_or(self.zero_at)
    }
}
