//! A timer of the system's own precision. The runtime's timers tick in milliseconds, which would be most of a
//! short transaction's response time, or of the delay of a short way.

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer of the system as a file descriptor, which the runtime can wait for.
#[derive(Debug)]
pub struct Timer(AsyncFd<Descriptor>);

#[derive(Debug)]
struct Descriptor(TimerFd);

impl Timer {
    /// A timer on the current runtime, not set.
    #[expect(unsafe_code, reason = "the runtime's safe constructors for other people's descriptors are deprecated")]
    pub fn register() -> io::Result<Timer> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        // SAFETY: the descriptor is open, is owned by the `Descriptor` that the `AsyncFd` takes and keeps, and is the same
        // at every call of `as_raw_fd`.
        Ok(Timer(unsafe { AsyncFd::register_with_interest(Descriptor(timer), Interest::READABLE) }?))
    }

    /// Sets it to expire once after `wait`, in place of what it was set to before.
    pub fn set(&self, wait: Duration) {
        // Zero would disarm it.
        let wait = wait.max(Duration::from_nanos(1));
        let set = self.0.get_ref().0.set(Expiration::OneShot(TimeSpec::from(wait)), TimerSetTimeFlags::empty());
        // It fails for invalid arguments only, and there are none.
        debug_assert!(set.is_ok());
    }

    /// Waits until it expires. An error means that the runtime ends.
    pub async fn expired(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            // `would block`, which takes back readiness, is an expiry of before, or a timer that was set anew meanwhile.
            if let Ok(expired) = ready.try_io(|timer| timer.get_ref().0.wait().map_err(io::Error::from)) {
                return expired;
            }
        }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn expires_once_and_never_early() {
        let timer = Timer::register().unwrap();
        let start = Instant::now();
        timer.set(Duration::from_secs(3600));
        timer.set(Duration::from_millis(3));
        timer.expired().await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(3));
        let again = tokio::time::timeout(Duration::from_millis(30), timer.expired()).await;
        assert!(again.is_err(), "it was set once");
    }
}
