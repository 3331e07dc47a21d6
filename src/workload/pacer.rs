//! Hands the due instants of an open loop to free clients, woken by a timer of the system's own precision:
//! the runtime's timers tick in milliseconds, which would be most of a short transaction's response time.

use super::desk::Desk;
use super::schedule::Schedule;
use crate::base::timer::Timer;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};
use std::time::Instant;

/// The schedule of one thread and the free clients that wait for its next instants.
///
/// Instants are taken in order by whoever is free, so those who wait do so in the order in which they are due.
#[derive(Debug)]
pub(super) struct Pacer {
    /// The instant that the schedule counts from.
    start: Instant,
    schedule: RefCell<Schedule>,
    waiting: RefCell<VecDeque<Waiting>>,
    /// How many clients ever waited, and how many of these were let go.
    queued: Cell<u64>,
    released: Cell<u64>,
    timer: Timer,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    waker: Waker,
}

/// A due instant, and the clock when the client had it in hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) intended: Instant,
    pub(super) now: Instant,
}

impl Pacer {
    /// A pacer on the current runtime, whose schedule counts from `start`.
    pub(super) fn new(schedule: Schedule, timer: Timer, start: Instant) -> Pacer {
        Pacer {
            start,
            schedule: RefCell::new(schedule),
            waiting: RefCell::default(),
            queued: Cell::new(0),
            released: Cell::new(0),
            timer,
        }
    }

    /// Takes the next due instant and waits for it; `None` when the load stops.
    pub(super) async fn next(&self, desk: &Desk) -> Option<Arrival> {
        if desk.stopped_at().is_some() {
            return None;
        }
        // A duration that no clock reaches is an arrival that never comes.
        let intended = self.start.checked_add(self.schedule.borrow_mut().take());
        let now = Instant::now();
        let Some(intended) = intended else {
            return desk.unless_stopped(std::future::pending()).await;
        };
        if intended <= now {
            return Some(Arrival { intended, now });
        }
        let mut ticket = None;
        poll_fn(|cx| {
            let ticket = *ticket.get_or_insert_with(|| self.queue(intended, now, cx.waker()));
            if self.released.get() > ticket || desk.stopped_at().is_some() {
                return Poll::Ready(());
            }
            let position = (ticket - self.released.get()) as usize;
            if let Some(waiting) = self.waiting.borrow_mut().get_mut(position) {
                waiting.waker.clone_from(cx.waker());
            }
            Poll::Pending
        })
        .await;
        match desk.stopped_at() {
            None => {
                let now = Instant::now();
                desk.late(now.saturating_duration_since(intended));
                Some(Arrival { intended, now })
            }
            Some(stop) => {
                desk.never_sent(u64::from(intended <= stop));
                None
            }
        }
    }

    /// Joins the queue; gives the ticket number.
    fn queue(&self, due: Instant, now: Instant, waker: &Waker) -> u64 {
        let ticket = self.queued.get();
        self.queued.set(ticket + 1);
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            self.arm(due, now);
        }
        waiting.push_back(Waiting { due, waker: waker.clone() });
        ticket
    }

    /// Lets clients go when they are due; runs beside them for the life of the load.
    pub(super) async fn run(&self) -> io::Result<()> {
        loop {
            self.timer.expired().await?;
            self.release();
        }
    }

    fn release(&self) {
        let now = Instant::now();
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.front() {
            if first.due > now {
                self.arm(first.due, now);
                return;
            }
            self.released.set(self.released.get() + 1);
            if let Some(first) = waiting.pop_front() {
                first.waker.wake();
            }
        }
    }

    fn arm(&self, due: Instant, now: Instant) {
        self.timer.set(due.saturating_duration_since(now));
    }

    /// The load stopped: wakes who waits, and counts the instants until then that nobody had taken.
    pub(super) fn close(&self, desk: &Desk, stop: Instant) {
        for waiting in self.waiting.borrow_mut().drain(..) {
            waiting.waker.wake();
        }
        let mut schedule = self.schedule.borrow_mut();
        let lasted = stop.saturating_duration_since(self.start);
        let mut untaken = 0;
        while schedule.peek() <= lasted {
            schedule.take();
            untaken += 1;
        }
        desk.never_sent(untaken);
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::Arrivals;
    use super::super::rate::Rate;
    use super::*;
    use crate::base::clock::Clock;
    use std::sync::Arc;
    use std::time::Duration;

    fn schedule(rate: f64) -> Schedule {
        Schedule::new((Rate::Steady(rate), Arrivals::Constant), 0, 1, 0)
    }

    #[tokio::test]
    async fn a_late_client_takes_what_is_due_without_waiting() {
        let desk = Desk::new(Clock::start(), 1, Arc::default());
        let start = Instant::now() - Duration::from_secs(1);
        let pacer = Pacer::new(schedule(10.0), Timer::register().unwrap(), start);
        for k in 0..10 {
            let arrival = pacer.next(&desk).await.unwrap();
            assert_eq!(arrival.intended, start + Duration::from_millis(100 * k));
        }
        assert_eq!(desk.cut().tally.late.count(), 0, "that is queueing, not the generator's lateness");
    }

    #[tokio::test]
    async fn waiting_clients_are_let_go_in_order_and_never_early() {
        let desk = Desk::new(Clock::start(), 1, Arc::default());
        let start = Instant::now() + Duration::from_millis(5);
        let pacer = Pacer::new(schedule(1000.0), Timer::register().unwrap(), start);
        let clients = async { tokio::join!(pacer.next(&desk), pacer.next(&desk), pacer.next(&desk)) };
        let (a, b, c) = tokio::select! {
            all = clients => all,
            failed = pacer.run() => panic!("{failed:?}"),
        };
        for (k, arrival) in [a, b, c].into_iter().enumerate() {
            let arrival = arrival.unwrap();
            assert_eq!(arrival.intended, start + Duration::from_millis(k as u64));
            assert!(arrival.now >= arrival.intended);
        }
        assert_eq!(desk.cut().tally.late.count(), 3);
    }

    #[tokio::test]
    async fn what_was_due_at_the_stop_is_accounted_for() {
        let desk = Desk::new(Clock::start(), 1, Arc::default());
        let stop = Instant::now();
        let pacer = Pacer::new(schedule(10.0), Timer::register().unwrap(), stop - Duration::from_millis(450));
        assert!(pacer.next(&desk).await.is_some());
        desk.stop(stop);
        pacer.close(&desk, stop);
        assert!(pacer.next(&desk).await.is_none());
        // Due at 0, 100, 200, 300, 400 ms; one was taken.
        assert_eq!(desk.cut().tally.unfinished, 4);
    }
}
