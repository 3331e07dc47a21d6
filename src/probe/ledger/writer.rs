//! One writer: a write at each of its planned instants, or a skip.

use super::book::Book;
use super::session::Session;
use crate::base::clock::Clock;
use crate::pg::find::Finder;
use crate::pg::{Host, Login};
use crate::probe::apart::Stop;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, sleep_until};

/// Time between two attempts to connect to a server that was said to accept writes.
const RETRY: Duration = Duration::from_millis(10);

/// The instants of all writers: the k-th of writer w is start + (k × writers + w) / rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) start: Duration,
    pub(super) writers: usize,
    /// Writes per second, of all writers together.
    pub(super) rate: f64,
}

impl Schedule {
    fn at(&self, writer: usize, k: u64) -> Duration {
        let nth = k as f64 * self.writers as f64 + writer as f64;
        self.start + Duration::try_from_secs_f64(nth / self.rate).unwrap_or(Duration::MAX / 4)
    }
}

/// What the writers share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) book: Arc<Mutex<Book>>,
    pub(super) finder: Arc<Finder>,
    pub(super) login: Login,
    pub(super) timeout: Duration,
    pub(super) clock: Clock,
}

impl Shared {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Connects to whichever server accepts writes; tries until it can.
    pub(super) async fn connect(&self) -> Session {
        loop {
            let host = self.finder.writable().await;
            match Session::open(&host, &self.login, self.timeout).await {
                Ok(session) => return session,
                Err(_) => self.lost(&host).await,
            }
        }
    }

    /// Connects anew after the connection to `broken`. The flag says that it is another server, or the same one
    /// started anew, than the one that gave the last acknowledgement.
    async fn reconnect(&self, broken: &Host, acked: Option<Acked>) -> (Session, bool) {
        self.finder.lost(broken);
        loop {
            let mut session = self.connect().await;
            match acked.as_ref() {
                Some(acked) if acked.by == *session.host() => {
                    let ago = self.clock.elapsed().saturating_sub(acked.at);
                    match session.up_since(ago).await {
                        Ok(same) => return (session, !same),
                        Err(_) => self.lost(session.host()).await,
                    }
                }
                other => return (session, other.is_some()),
            }
        }
    }

    async fn lost(&self, host: &Host) {
        self.finder.lost(host);
        sleep(RETRY).await;
    }
}

/// A book is consistent after each of its operations, so one that another thread panicked over still is.
pub(super) fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last acknowledgement.
#[derive(Clone, Debug)]
struct Acked {
    by: Host,
    at: Duration,
}

/// A writer.
#[derive(Debug)]
pub(super) struct Writer {
    number: usize,
    schedule: Schedule,
    /// Its next instant.
    k: u64,
    acked: Option<Acked>,
    shared: Shared,
}

impl Writer {
    pub(super) fn new(number: usize, schedule: Schedule, shared: Shared) -> Writer {
        Writer { number, schedule, k: 0, acked: None, shared }
    }

    /// Writes until asked to stop, and ends when its last write has its outcome.
    pub(super) async fn run(mut self, first: Session, mut stop: Stop) {
        let mut session = first;
        loop {
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = sleep_until(self.due()) => self.k += 1,
            }
            if self.write(&mut session).await {
                continue;
            }
            let shared = self.shared.clone();
            let acked = self.acked.clone();
            let again = async {
                tokio::select! {
                    biased;
                    () = stop.asked() => None,
                    found = shared.reconnect(session.host(), acked) => Some(found),
                }
            };
            let Some((found, moved)) = self.meanwhile(again).await else { return };
            session = found;
            if moved {
                self.shared.book().moved(self.number);
            }
        }
    }

    fn due(&self) -> tokio::time::Instant {
        self.shared.clock.instant(self.schedule.at(self.number, self.k)).into()
    }

    /// Sends the write that is due. False when the connection is of no more use.
    async fn write(&mut self, session: &mut Session) -> bool {
        let seq = self.shared.book().next(self.number);
        let sent = self.meanwhile(session.write(self.number as i32, seq as i64)).await;
        let at = self.shared.clock.elapsed();
        let Some(outcome) = sent.outcome else {
            self.shared.book().skip(self.number, at);
            return false;
        };
        self.shared.book().settle(self.number, outcome, session.timeline(), at);
        if outcome.is_acked() {
            self.acked = Some(Acked { by: session.host().clone(), at });
        }
        sent.usable
    }

    /// Waits for `work`; the instants that pass meanwhile are skipped, never made up for.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(self.due()) => {
                    self.k += 1;
                    let at = self.shared.clock.elapsed();
                    self.shared.book().skip(self.number, at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_take_turns_on_one_grid() {
        let schedule = Schedule { start: Duration::from_secs(2), writers: 4, rate: 100.0 };
        let all: Vec<u64> = (0..3).flat_map(|k| (0..4).map(move |w| schedule.at(w, k).as_millis() as u64)).collect();
        assert_eq!(all, (0..12).map(|i| 2000 + 10 * i).collect::<Vec<_>>());
        assert_eq!(schedule.at(0, 1_000_000), Duration::from_secs(2 + 40_000), "no drift");
    }
}
