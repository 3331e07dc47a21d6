//! One client: takes what is due, sends it, writes down how long it took.

use super::connection::{Own, Route};
use super::desk::Desk;
use super::pacer::{Arrival, Pacer};
use super::pool::Pooled;
use super::queries::Answer;
use super::tally::Cause;
use super::transaction::{Chooser, Draw};
use rand::rngs::Xoshiro256PlusPlus;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What decides when a client sends.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// The end of its last transaction; the first is due at this instant.
    Closed(Instant),
    /// The schedule.
    Open(Rc<Pacer>),
}

/// How a client reaches the server.
#[derive(Debug)]
pub(super) enum Line {
    /// A connection of its own.
    Own(Own),
    /// One of a pool, for each transaction.
    Pooled(Pooled),
}

impl Line {
    #[inline]
    fn is_ready(&self) -> bool {
        match self {
            Line::Own(own) => own.is_ready(),
            Line::Pooled(_) => false,
        }
    }

    async fn get_ready(&mut self, desk: &Desk) {
        match self {
            Line::Own(own) => own.reconnect(desk).await,
            Line::Pooled(pooled) => pooled.get(desk).await,
        }
    }

    #[inline]
    async fn run(
        &mut self,
        transaction: usize,
        draw: &Draw<'_>,
        deadline: Option<Instant>,
    ) -> Result<Option<Answer>, Cause> {
        match self {
            Line::Own(own) => own.run(transaction, draw, deadline).await,
            // `check` has seen to it that nothing whose answer matters goes through a pool.
            Line::Pooled(pooled) => pooled.run(transaction, draw, deadline).await.map(|()| None),
        }
    }
}

/// A client of a load.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) desk: Rc<Desk>,
    pub(super) line: Line,
    pub(super) chooser: Chooser,
    pub(super) rng: Xoshiro256PlusPlus,
    pub(super) route: Arc<Route>,
    pub(super) timeout: Option<Duration>,
}

impl Client {
    /// Sends transactions until the load stops.
    pub(super) async fn run(mut self, mut pace: Pace) {
        let desk = self.desk.clone();
        while let Some(Arrival { intended, now }) = pace.next(&desk).await {
            let started = desk.start();
            let transaction = self.chooser.choose(&mut self.rng);
            let what = self.route.transactions[transaction];
            let draw = Draw::new(&mut self.rng, what, &self.route.space);
            let sent = if self.line.is_ready() {
                now
            } else {
                // While there is no connection a transaction waits, as it would in an application.
                match desk.unless_stopped(self.line.get_ready(&desk)).await {
                    Some(()) => Instant::now(),
                    None => return,
                }
            };
            let ended = self.line.run(transaction, &draw, self.timeout.map(|limit| sent + limit)).await;
            let done = Instant::now();
            match ended {
                Ok(None) => started.done(transaction, intended, sent, done),
                Ok(Some(answer)) => match self.route.space.judge(what, answer) {
                    true => {
                        desk.answered(transaction, answer);
                        started.done(transaction, intended, sent, done);
                    }
                    false => started.failed(Cause::WrongAnswer(what)),
                },
                Err(cause) => started.failed(cause),
            }
            pace.ended(done);
        }
    }
}

impl Pace {
    /// The next transaction to send; `None` when the load stops.
    #[inline]
    async fn next(&self, desk: &Desk) -> Option<Arrival> {
        match self {
            Pace::Closed(due) => desk.stopped_at().is_none().then_some(Arrival { intended: *due, now: *due }),
            Pace::Open(pacer) => pacer.next(desk).await,
        }
    }

    /// A transaction ended. In a closed loop the next one is due at that same instant: one clock reading serves both.
    #[inline]
    fn ended(&mut self, done: Instant) {
        if let Pace::Closed(due) = self {
            *due = done;
        }
    }
}
