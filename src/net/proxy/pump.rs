//! One direction of one connection: bytes are read, travel, and are written; so do the end and the reset.

use super::alarm::{Alarm, Wait};
use super::queue::Queue;
use super::shape::{Link, QUEUE, Shape};
use super::{Rules, Way};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;

/// How many bytes one connection passes on before the others of the thread have their turn.
const TURN: usize = 256 << 10;

/// What all connections of a proxy share in one direction.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) link: Link,
    /// Bytes that were written to those for whom they are.
    pub(super) passed: AtomicU64,
}

/// What became of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The end was passed on, behind all bytes.
    Ended,
    /// A reset has arrived: whoever reads here shall get one.
    Reset,
    /// Whoever reads here is gone, and the other end must learn of it.
    Broken,
}

/// What follows the bytes that were read.
#[derive(Clone, Copy, Debug)]
enum Last {
    End(Instant),
    Reset(Instant),
}

/// The bytes from one socket to the other.
#[derive(Debug)]
pub(super) struct Pump {
    way: Way,
    lane: Arc<Lane>,
    queue: Queue,
    last: Option<Last>,
    over: Option<Over>,
    /// Nothing arrives before this: not before the connection stands, and not before what was sent earlier.
    floor: Instant,
    /// When the last bytes of this connection have left the sender's end of the link.
    sent: Instant,
    arrives: Wait,
    link_free: Wait,
}

impl Pump {
    /// A direction in which nothing arrives before `floor`.
    pub(super) fn new(way: Way, lane: &Arc<Lane>, alarm: &Arc<Alarm>, floor: Instant) -> Pump {
        Pump {
            way,
            lane: Arc::clone(lane),
            queue: Queue::new(),
            last: None,
            over: None,
            floor,
            sent: Instant::now(),
            arrives: Wait::new(alarm),
            link_free: Wait::new(alarm),
        }
    }

    /// Passes on what can be. Once it is over it says so at every call, but for what is broken, of which it
    /// speaks once.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        rules: &Rules,
        from: &mut ReadHalf<'_>,
        to: &TcpStream,
    ) -> Poll<Over> {
        match self.over {
            Some(Over::Broken) => return Poll::Pending,
            Some(over) => return Poll::Ready(over),
            None if rules.stalled(self.way) => return Poll::Pending,
            None => {}
        }
        let mut turn = TURN;
        loop {
            if let Poll::Ready(over) = self.poll_write(cx, to) {
                self.over = Some(over);
                return Poll::Ready(over);
            }
            let read = ready!(self.poll_read(cx, &rules.shape, from));
            turn = turn.saturating_sub(read);
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Whether the end was read: the socket that it came from is read no more.
    pub(super) fn has_end(&self) -> bool {
        matches!(self.last, Some(Last::End(_)))
    }

    /// Whoever writes here is gone: a reset follows the bytes that are on their way.
    pub(super) fn reset(&mut self, shape: &Shape) {
        if !matches!(self.last, Some(Last::Reset(_))) {
            self.last = Some(Last::Reset(self.arrival(shape, 0)));
            self.over = self.over.filter(|over| *over != Over::Ended);
        }
    }

    /// The bandwidth may be another: what the link was booked for no longer counts.
    pub(super) fn reshaped(&mut self) {
        self.sent = Instant::now();
    }

    /// Writes what has arrived, and waits for what arrives next.
    fn poll_write(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<Over> {
        loop {
            let blocked = match self.poll_bytes(cx, to) {
                Poll::Ready(Err(_)) => return Poll::Ready(Over::Broken),
                Poll::Ready(Ok(())) => false,
                Poll::Pending => true,
            };
            let next = match (self.queue.next(), self.last) {
                (Some(due), _) if !blocked => due,
                (None, Some(Last::End(due))) if !blocked => due,
                // A reset does not wait until somebody reads.
                (_, Some(Last::Reset(due))) => due,
                _ => return Poll::Pending,
            };
            ready!(self.arrives.poll(next, cx));
            match self.last {
                Some(Last::Reset(due)) if due <= next => return Poll::Ready(Over::Reset),
                Some(Last::End(_)) if self.queue.is_empty() => return Poll::Ready(end(to)),
                _ => {}
            }
        }
    }

    /// Ready when all that has arrived is written.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<()>> {
        loop {
            let arrived = self.queue.arrived(Instant::now());
            if arrived[0].is_empty() {
                return Poll::Ready(Ok(()));
            }
            ready!(to.poll_write_ready(cx))?;
            match to.try_write_vectored(&arrived) {
                Ok(written) => {
                    self.queue.pop(written);
                    self.lane.passed.fetch_add(written as u64, Ordering::Relaxed);
                }
                Err(error) if again(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads once; gives the number of bytes.
    fn poll_read(&mut self, cx: &mut Context<'_>, shape: &Shape, from: &mut ReadHalf<'_>) -> Poll<usize> {
        if self.last.is_some() {
            return Poll::Pending;
        }
        if shape.bandwidth.is_some()
            && let Some(turn) = self.sent.checked_sub(QUEUE)
        {
            ready!(self.link_free.poll(turn, cx));
        }
        let spare = self.queue.spare(shape.chunk(), shape.in_flight());
        if spare.is_empty() {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(spare);
        let read = ready!(Pin::new(from).poll_read(cx, &mut buffer));
        let len = buffer.filled().len();
        match read {
            Ok(()) if len > 0 => {
                let due = self.arrival(shape, len);
                self.queue.push(len, due);
            }
            Ok(()) => self.last = Some(Last::End(self.arrival(shape, 0))),
            Err(_) => self.reset(shape),
        }
        Poll::Ready(len)
    }

    /// When `len` bytes arrive that leave now.
    fn arrival(&mut self, shape: &Shape, len: usize) -> Instant {
        let now = Instant::now();
        self.sent = self.lane.link.pass(len, shape.bandwidth, now).max(now);
        self.floor = self.floor.max(self.sent + shape.travel());
        self.floor
    }
}

/// Tells the other end that no more bytes come.
fn end(to: &TcpStream) -> Over {
    match socket2::SockRef::from(to).shutdown(Shutdown::Write) {
        Ok(()) => Over::Ended,
        Err(_) => Over::Broken,
    }
}

fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
