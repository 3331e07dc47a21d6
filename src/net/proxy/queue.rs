//! The bytes of one direction that are on their way, with the instants at which they arrive.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Instant;

/// What a queue holds at first, bytes.
const SMALL: usize = 16 << 10;

/// What an empty queue keeps, bytes.
const KEPT: usize = 256 << 10;

/// A ring of bytes. It grows when it was full, and gives memory back when it is empty.
#[derive(Debug)]
pub(super) struct Queue {
    ring: Vec<u8>,
    head: usize,
    len: usize,
    /// How many of the first bytes have arrived.
    arrived: usize,
    /// The others, in their order.
    travelling: VecDeque<Part>,
    was_full: bool,
}

/// Bytes that arrive together.
#[derive(Clone, Copy, Debug)]
struct Part {
    due: Instant,
    len: usize,
}

impl Queue {
    pub(super) fn new() -> Queue {
        Queue { ring: vec![0; SMALL], head: 0, len: 0, arrived: 0, travelling: VecDeque::new(), was_full: false }
    }

    /// Free memory for the next bytes, in one piece: at most `at_most`, and no more than a queue of `room` bytes
    /// has left.
    pub(super) fn spare(&mut self, at_most: usize, room: usize) -> &mut [u8] {
        if self.was_full && self.ring.len() < room {
            self.resize((2 * self.ring.len()).min(room));
        }
        self.was_full = false;
        let tail = self.head + self.len;
        let (start, end) = match tail.checked_sub(self.ring.len()) {
            Some(wrapped) => (wrapped, self.head),
            None => (tail, self.ring.len()),
        };
        let free = (end - start).min(at_most).min(room.saturating_sub(self.len));
        &mut self.ring[start..start + free]
    }

    /// `len` bytes were written to the spare memory; they arrive at `due`, which is not before those that are here.
    pub(super) fn push(&mut self, len: usize, due: Instant) {
        self.len += len;
        self.was_full = self.len == self.ring.len();
        match self.travelling.back_mut() {
            Some(last) if last.due >= due => last.len += len,
            _ => self.travelling.push_back(Part { due, len }),
        }
    }

    /// The bytes that have arrived by `now`, in up to two pieces.
    pub(super) fn arrived(&mut self, now: Instant) -> [IoSlice<'_>; 2] {
        while let Some(first) = self.travelling.front().filter(|first| first.due <= now) {
            self.arrived += first.len;
            self.travelling.pop_front();
        }
        let first = self.arrived.min(self.ring.len() - self.head);
        let second = self.arrived - first;
        [IoSlice::new(&self.ring[self.head..self.head + first]), IoSlice::new(&self.ring[..second])]
    }

    /// When the next bytes arrive, behind those that have.
    pub(super) fn next(&self) -> Option<Instant> {
        self.travelling.front().map(|first| first.due)
    }

    /// Takes away the first `len` bytes, which had arrived.
    pub(super) fn pop(&mut self, len: usize) {
        self.len -= len;
        self.arrived -= len;
        self.head += len;
        if self.head >= self.ring.len() {
            self.head -= self.ring.len();
        }
        if self.len == 0 {
            // The next bytes get all memory in one piece.
            self.head = 0;
            if self.ring.len() > KEPT {
                self.resize(SMALL);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn resize(&mut self, size: usize) {
        let mut ring = vec![0; size];
        let first = self.len.min(self.ring.len() - self.head);
        ring[..first].copy_from_slice(&self.ring[self.head..self.head + first]);
        ring[first..self.len].copy_from_slice(&self.ring[..self.len - first]);
        (self.ring, self.head) = (ring, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Beside a plain queue: whatever is pushed comes out in order, when it is due, and never beyond the room.
        #[test]
        fn bytes_come_out_in_order(
            steps in prop::collection::vec((any::<bool>(), 0usize..40_000, 0u64..3), 1..200),
            room in 20_000usize..100_000,
        ) {
            let start = Instant::now();
            let (mut queue, mut beside) = (Queue::new(), VecDeque::new());
            let (mut now, mut byte) = (0, 0u8);
            for (push, len, later) in steps {
                now += later;
                let at = |ms| start + Duration::from_millis(ms);
                if push {
                    let spare = queue.spare(len, room);
                    for b in spare.iter_mut() {
                        byte = byte.wrapping_add(1);
                        *b = byte;
                        beside.push_back((*b, now + 1));
                    }
                    let pushed = spare.len();
                    if pushed > 0 {
                        queue.push(pushed, at(now + 1));
                    }
                } else {
                    let taken: Vec<u8> = queue.arrived(at(now)).iter().flat_map(|s| s.to_vec()).take(len).collect();
                    let due = beside.iter().take_while(|(_, due)| *due <= now).count().min(len);
                    prop_assert_eq!(taken.len(), due);
                    for b in &taken {
                        prop_assert_eq!(Some(*b), beside.pop_front().map(|(b, _)| b));
                    }
                    queue.pop(taken.len());
                }
                prop_assert!(queue.len == beside.len() && queue.len <= room);
            }
        }
    }

    #[test]
    fn it_grows_under_pressure_and_shrinks_when_empty() {
        let (mut queue, now) = (Queue::new(), Instant::now());
        loop {
            let len = queue.spare(usize::MAX, 1 << 20).len();
            if len == 0 {
                break;
            }
            queue.push(len, now);
        }
        assert_eq!((queue.len, queue.ring.len()), (1 << 20, 1 << 20));
        assert_eq!(queue.arrived(now).iter().map(|s| s.len()).sum::<usize>(), 1 << 20);
        queue.pop(1 << 20);
        assert!(queue.is_empty() && queue.ring.len() == SMALL);
    }
}
