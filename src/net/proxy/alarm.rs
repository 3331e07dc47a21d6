//! One timer for all that waits on a proxy's thread: it is set to the earliest instant.

use crate::base::timer::Timer;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// An instant, and a number that tells those who wait for the same one apart, in the order in which they came.
type Key = (Instant, u64);

/// Who waits for which instant.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Timer,
    waiting: Mutex<BTreeMap<Key, Waker>>,
    numbers: AtomicU64,
}

impl Alarm {
    /// An alarm on the current runtime; nobody is woken before `run` is polled.
    pub(super) fn register() -> io::Result<Alarm> {
        Ok(Alarm { timer: Timer::register()?, waiting: Mutex::default(), numbers: AtomicU64::new(0) })
    }

    /// Wakes everybody in time, until the runtime ends.
    pub(super) async fn run(&self) {
        while self.timer.expired().await.is_ok() {
            let now = Instant::now();
            let mut waiting = self.waiting();
            while let Some(first) = waiting.first_entry() {
                if first.key().0 > now {
                    self.timer.set(first.key().0 - now);
                    break;
                }
                first.remove().wake();
            }
        }
    }

    /// Returns at `due`.
    pub(super) async fn until(self: &Arc<Alarm>, due: Instant) {
        let mut wait = Wait::new(self);
        poll_fn(|cx| wait.poll(due, cx)).await;
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Key, Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place at the alarm for somebody who waits for one instant after the other.
#[derive(Debug)]
pub(super) struct Wait {
    alarm: Arc<Alarm>,
    key: Option<Key>,
}

impl Wait {
    pub(super) fn new(alarm: &Arc<Alarm>) -> Wait {
        Wait { alarm: Arc::clone(alarm), key: None }
    }

    /// Ready at `due` or later; an instant that was waited for before is forgotten.
    pub(super) fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if due <= now {
            self.forget();
            return Poll::Ready(());
        }
        let mut waiting = self.alarm.waiting();
        if let Some(key) = self.key.filter(|key| key.0 == due)
            && let Some(waker) = waiting.get_mut(&key)
        {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        if let Some(key) = self.key.take() {
            waiting.remove(&key);
        }
        if waiting.first_key_value().is_none_or(|(first, _)| due < first.0) {
            self.alarm.timer.set(due - now);
        }
        let key = (due, self.alarm.numbers.fetch_add(1, Ordering::Relaxed));
        waiting.insert(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }

    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            self.alarm.waiting().remove(&key);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn everybody_is_woken_in_order_and_never_early() {
        let alarm = Arc::new(Alarm::register().unwrap());
        let runs = tokio::spawn({
            let alarm = Arc::clone(&alarm);
            async move { alarm.run().await }
        });
        let start = Instant::now();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waits = [9, 3, 6, 3].map(|ms| {
            let (alarm, woken) = (Arc::clone(&alarm), Arc::clone(&woken));
            tokio::spawn(async move {
                let due = start + Duration::from_millis(ms);
                alarm.until(due).await;
                assert!(Instant::now() >= due);
                woken.lock().unwrap().push(ms);
            })
        });
        tokio::task::yield_now().await;
        // One that gives up must not take the timer from the others.
        let mut given_up = Wait::new(&alarm);
        assert!(given_up.poll(start + Duration::from_secs(1), &mut Context::from_waker(Waker::noop())).is_pending());
        drop(given_up);
        for wait in waits {
            wait.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), [3, 3, 6, 9]);
        assert!(alarm.waiting().is_empty());
        runs.abort();
    }
}
