//! A connection with reused buffers and a deadline that costs nothing while answers come in time.

use super::error::Lost;
use super::incoming::{Frame, Incoming};
use crate::pg::dial::Socket;
use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    incoming: Incoming,
    /// What is to be sent next.
    pub(super) outgoing: BytesMut,
    deadline: Option<Instant>,
    /// Armed when first needed, then moved only when it fires early: no timer is touched while answers come in time.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn new(socket: Socket) -> Stream {
        Stream {
            socket,
            incoming: Incoming::default(),
            outgoing: BytesMut::with_capacity(1024),
            deadline: None,
            alarm: None,
        }
    }

    /// Reads and writes that wait beyond `deadline` fail.
    pub(super) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Sends what is in `outgoing`. The flag says whether anything had left when it failed.
    #[inline]
    pub(super) async fn flush(&mut self) -> Result<(), (Lost, bool)> {
        let mut left = false;
        poll_fn(|cx| {
            while self.outgoing.has_remaining() {
                match Pin::new(&mut self.socket).poll_write(cx, &self.outgoing) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err((Lost::Closed, left))),
                    Poll::Ready(Ok(count)) => {
                        self.outgoing.advance(count);
                        left = true;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err((Lost::Io(error), left))),
                    Poll::Pending => return self.poll_alarm(cx).map(|lost| Err((lost, left))),
                }
            }
            // TLS keeps back what the system did not take; nothing else does.
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err((Lost::Io(error), left))),
                Poll::Pending => return self.poll_alarm(cx).map(|lost| Err((lost, left))),
            }
            // Back to the start of the allocation.
            self.outgoing.clear();
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// The next frame that has come in full.
    #[inline]
    pub(super) fn frame(&mut self) -> Result<Option<Frame<'_>>, Lost> {
        self.incoming.frame().map_err(Lost::Garbled)
    }

    /// Waits for more bytes.
    #[inline]
    pub(super) async fn fill(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Pending => self.poll_alarm(cx).map(Err),
            ready => ready,
        })
        .await
    }

    /// Takes in bytes that have come already; does not wait. True when there were any.
    #[inline]
    pub(super) async fn peek(&mut self) -> Result<bool, Lost> {
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Pending => Poll::Ready(Ok(false)),
            Poll::Ready(filled) => Poll::Ready(filled.map(|()| true)),
        })
        .await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        // Through `poll_read` and not `try_read`: after a short read it knows without a system call that nothing is left.
        let mut room = ReadBuf::new(self.incoming.room());
        match Pin::new(&mut self.socket).poll_read(cx, &mut room) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(Lost::Io(error))),
            Poll::Ready(Ok(())) => match room.filled().len() {
                0 => Poll::Ready(Err(Lost::Closed)),
                count => {
                    self.incoming.filled(count);
                    Poll::Ready(Ok(()))
                }
            },
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Lost> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if alarm.deadline().into_std() > deadline {
            alarm.as_mut().reset(deadline.into());
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if alarm.deadline().into_std() >= deadline {
                return Poll::Ready(Lost::TimedOut);
            }
            alarm.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }

    /// Says goodbye if that takes no waiting.
    pub(super) fn terminate(&mut self) {
        self.socket.try_send(b"X\0\0\0\x04");
    }
}
