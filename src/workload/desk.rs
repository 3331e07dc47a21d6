//! Where the clients of one thread write down what they do, and learn that the load stops.

use super::queries::Answer;
use super::tally::{Bins, Cause, Tally};
use crate::base::clock::Clock;
use nix::sys::resource::{UsageWho, getrusage};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Counters of one thread that others may read at any time.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) done: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// Adds one to a counter that has a single writer: no locked instruction is needed.
#[inline]
fn bump(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed) + 1, Relaxed);
}

/// The desk of one thread.
#[derive(Debug)]
pub(super) struct Desk {
    page: RefCell<Page>,
    counters: Arc<Counters>,
    /// When the load was told to stop.
    stopped_at: Cell<Option<Instant>>,
    stop: Notify,
}

#[derive(Debug)]
struct Page {
    tally: Tally,
    bins: Bins,
    /// CPU time of this thread and clock at the last cut.
    cpu: Duration,
    from: Instant,
    /// Cuts so far.
    cuts: u64,
}

/// What a thread counted between two cuts.
#[derive(Debug)]
pub(super) struct Slice {
    /// Which cut it ends at, counted from 0.
    pub(super) cut: u64,
    pub(super) tally: Tally,
    /// Completed transactions by 100 ms bin.
    pub(super) bins: Vec<(u64, u32)>,
}

impl Desk {
    pub(super) fn new(clock: Clock, transactions: usize, counters: Arc<Counters>) -> Desk {
        let page = Page {
            tally: Tally::new(transactions),
            bins: Bins::new(clock.instant(Duration::ZERO)),
            cpu: thread_cpu(),
            from: Instant::now(),
            cuts: 0,
        };
        Desk { page: RefCell::new(page), counters, stopped_at: Cell::new(None), stop: Notify::new() }
    }

    /// Begins to count time and CPU.
    pub(super) fn begin(&self, at: Instant) {
        let mut page = self.page.borrow_mut();
        (page.from, page.cpu) = (at, thread_cpu());
    }

    /// Takes out what was counted since the last cut.
    pub(super) fn cut(&self) -> Slice {
        let mut page = self.page.borrow_mut();
        let (cpu, now) = (thread_cpu(), Instant::now());
        // What ends in the grace after the stop counts, the time does not.
        let to = self.stopped_at.get().map_or(now, |stop| stop.min(now));
        page.tally.cpu = cpu.saturating_sub(page.cpu);
        page.tally.covered = to.saturating_duration_since(page.from);
        (page.cpu, page.from) = (cpu, to);
        let empty = Tally::new(page.tally.latencies.len());
        page.cuts += 1;
        Slice { cut: page.cuts - 1, tally: std::mem::replace(&mut page.tally, empty), bins: page.bins.take() }
    }

    /// A transaction became due and somebody took it on. It counts as unfinished unless it is settled.
    #[inline]
    pub(super) fn start(&self) -> Started<'_> {
        self.page.borrow_mut().tally.started += 1;
        Started { desk: self }
    }

    /// Transactions were due when the load stopped and nobody took them on.
    pub(super) fn never_sent(&self, count: u64) {
        let tally = &mut self.page.borrow_mut().tally;
        tally.started += count;
        tally.unfinished += count;
    }

    /// A free client was woken this late for a due instant.
    #[inline]
    pub(super) fn late(&self, by: Duration) {
        self.page.borrow_mut().tally.late.record(by);
    }

    /// A client had to wait this long for a pooled connection.
    pub(super) fn pool_wait(&self, duration: Duration) {
        self.page.borrow_mut().tally.pool_wait.record(duration);
    }

    /// A query came to this.
    pub(super) fn answered(&self, transaction: usize, answer: Answer) {
        self.page.borrow_mut().tally.answers.insert(transaction, answer);
    }

    /// A client connected anew.
    pub(super) fn reconnected(&self) {
        self.page.borrow_mut().tally.reconnects += 1;
    }

    /// Tells the clients to stop.
    pub(super) fn stop(&self, at: Instant) {
        self.stopped_at.set(Some(at));
        self.stop.notify_waiters();
    }

    /// When the load was told to stop, if it was.
    #[inline]
    pub(super) fn stopped_at(&self) -> Option<Instant> {
        self.stopped_at.get()
    }

    /// What `wait` gives, or `None` when the load stops first.
    pub(super) async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        // Created before the check: one that exists gets every later notification.
        let stop = self.stop.notified();
        if self.stopped_at.get().is_some() {
            return None;
        }
        tokio::select! {
            biased;
            got = wait => Some(got),
            () = stop => None,
        }
    }
}

/// A transaction that was started and has not ended. Dropped as it is, it is unfinished.
#[derive(Debug)]
#[must_use]
pub(super) struct Started<'a> {
    desk: &'a Desk,
}

impl Started<'_> {
    /// It completed.
    #[inline]
    pub(super) fn done(self, transaction: usize, intended: Instant, sent: Instant, done: Instant) {
        let page = &mut *self.desk.page.borrow_mut();
        let latencies = &mut page.tally.latencies[transaction];
        latencies.response.record(done.saturating_duration_since(intended));
        latencies.service.record(done.saturating_duration_since(sent));
        latencies.wait.record(sent.saturating_duration_since(intended));
        page.bins.add(done);
        bump(&self.desk.counters.done);
        std::mem::forget(self);
    }

    /// It failed.
    pub(super) fn failed(self, cause: Cause) {
        *self.desk.page.borrow_mut().tally.errors.entry(cause).or_default() += 1;
        bump(&self.desk.counters.errors);
        std::mem::forget(self);
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.desk.page.borrow_mut().tally.unfinished += 1;
    }
}

/// CPU time that the calling thread has used; zero where the system does not say.
fn thread_cpu() -> Duration {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(Duration::ZERO, |usage| {
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_started_ends_in_the_account() {
        let clock = Clock::start();
        let desk = Desk::new(clock, 1, Arc::default());
        let now = clock.instant(Duration::from_millis(250));
        desk.start().done(0, now, now, now);
        desk.start().failed(Cause::Timeout);
        drop(desk.start());
        desk.never_sent(2);
        let slice = desk.cut();
        let tally = slice.tally;
        assert_eq!((tally.started, tally.done(), tally.failed(), tally.unfinished), (5, 1, 1, 3));
        assert_eq!(slice.bins, [(2, 1)]);
        assert_eq!(desk.cut().tally.started, 0, "a cut empties the page");
        assert_eq!((desk.counters.done.load(Relaxed), desk.counters.errors.load(Relaxed)), (1, 1));
    }

    #[tokio::test]
    async fn a_stop_ends_waits_before_and_after() {
        let desk = Desk::new(Clock::start(), 1, Arc::default());
        assert_eq!(desk.unless_stopped(async { 5 }).await, Some(5));
        let (waited, ()) = tokio::join!(desk.unless_stopped(std::future::pending::<()>()), async {
            tokio::task::yield_now().await;
            desk.stop(Instant::now());
        });
        assert_eq!(waited, None);
        assert_eq!(desk.unless_stopped(std::future::pending::<()>()).await, None);
    }
}
