//! Where sampled points go: one task a trial takes them from the channel, writes them as line protocol
//! and keeps the account. Nothing is lost silently: what was produced was either written or dropped,
//! and `run.json` says how many of each.

pub mod file;
pub mod memory;

pub use file::File;
pub use memory::Memory;

use crate::base::clock::Clock;
use crate::metric::line::{Encoder, Labels};
use crate::metric::{Point, Points};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Batches that may wait for the sink; beyond that they are dropped and counted.
const QUEUE: usize = 1024;
/// Longest that a written line stays in the compressor, out of a reader's sight.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}{}", .path.display(), hint(.source))]
pub struct WriteError {
    /// Which file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl WriteError {
    /// Names the file that `source` is about; made for `map_err`.
    pub fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> WriteError {
        let path = path.into();
        move |source| WriteError { path, source }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: free some space on that file system, or write the results elsewhere with `--out DIR`"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\nhint: write the results to a folder of your own with `--out DIR`"
        }
        _ => "",
    }
}

/// What became of every sampled point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Points that samplers handed over.
    pub produced: u64,
    /// Points that are in the file.
    pub written: u64,
    /// Points that are not: the queue was full, no field could be written, or the disk refused them.
    pub dropped: u64,
    /// Fields left out of written points because they were infinite or not a number.
    pub not_finite: u64,
}

impl Accounting {
    /// Whether every point is accounted for.
    pub fn adds_up(&self) -> bool {
        self.produced == self.written + self.dropped
    }
}

impl std::ops::AddAssign for Accounting {
    fn add_assign(&mut self, other: Accounting) {
        self.produced += other.produced;
        self.written += other.written;
        self.dropped += other.dropped;
        self.not_finite += other.not_finite;
    }
}

/// The kinds of sinks.
#[derive(Debug)]
pub enum Sink {
    /// A gzip file.
    File(File),
    /// The lines, kept.
    Memory(Memory),
}

impl Sink {
    fn write(&mut self, lines: &[u8]) -> Result<(), WriteError> {
        match self {
            Sink::File(file) => file.write(lines),
            Sink::Memory(memory) => {
                memory.write(lines);
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        match self {
            Sink::File(file) => file.flush(),
            Sink::Memory(_) => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        match self {
            Sink::File(file) => file.finish(),
            Sink::Memory(_) => Ok(()),
        }
    }
}

/// A sink at work, for one trial.
#[derive(Debug)]
pub struct Running {
    points: Points,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Writing>,
}

/// What a sink ended with.
#[derive(Debug)]
pub struct Finished {
    /// The sink itself: of a memory sink, the lines.
    pub sink: Sink,
    /// What became of every point.
    pub accounting: Accounting,
    /// Why points were not written, when it was the disk that refused them.
    pub error: Option<WriteError>,
}

impl Running {
    /// Starts writing to `sink`; every line carries `labels`. Samplers send into [`Running::points`].
    pub fn start(sink: Sink, labels: &Labels, clock: Clock) -> Running {
        let (points, batches) = Points::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let encoder = Encoder::new(labels);
        let writing = Writing { sink, encoder, clock, lines: Vec::new(), held: 0, written: 0, dropped: 0, error: None };
        Running { points, stop, task: tokio::spawn(writing.run(batches, stopped)) }
    }

    /// Where to send points.
    pub fn points(&self) -> Points {
        self.points.clone()
    }

    /// Writes what is in the queue and ends. Points sent later are not waited for.
    pub async fn stop(self) -> Result<Finished, tokio::task::JoinError> {
        // An error means that the task has ended already, which the next line tells.
        let _ = self.stop.send(());
        let writing = self.task.await?;
        let (produced, overflowed) = self.points.counts();
        let accounting = Accounting {
            produced,
            written: writing.written,
            dropped: writing.dropped + overflowed,
            not_finite: writing.encoder.not_finite(),
        };
        Ok(Finished { sink: writing.sink, accounting, error: writing.error })
    }
}

/// The task's state. It writes some kilobytes a second into the page cache, so it needs no thread of its own.
#[derive(Debug)]
struct Writing {
    sink: Sink,
    encoder: Encoder,
    clock: Clock,
    lines: Vec<u8>,
    /// Points handed to the sink since its last flush.
    held: u64,
    written: u64,
    dropped: u64,
    error: Option<WriteError>,
}

impl Writing {
    async fn run(mut self, mut batches: mpsc::Receiver<Vec<Point>>, mut stopped: oneshot::Receiver<()>) -> Writing {
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                batch = batches.recv() => match batch {
                    Some(batch) => self.write(&batch),
                    None => break,
                },
                _ = flush.tick() => self.settle(Sink::flush),
                _ = &mut stopped => break,
            }
        }
        batches.close();
        while let Some(batch) = batches.recv().await {
            self.write(&batch);
        }
        self.settle(Sink::finish);
        self
    }

    fn write(&mut self, batch: &[Point]) {
        self.lines.clear();
        let mut count = 0;
        for point in batch {
            let at_ms = self.clock.at(point.elapsed).as_millisecond();
            if self.encoder.encode(point, at_ms, &mut self.lines) {
                count += 1;
            } else {
                self.dropped += 1;
            }
        }
        self.held += count;
        if self.error.is_none()
            && let Err(error) = self.sink.write(&self.lines)
        {
            self.error = Some(error);
        }
    }

    /// Flushes or finishes the sink; only then do the points that it held count as written.
    fn settle(&mut self, how: fn(&mut Sink) -> Result<(), WriteError>) {
        if self.error.is_none() {
            self.error = how(&mut self.sink).err();
        }
        let held = std::mem::take(&mut self.held);
        match self.error {
            None => self.written += held,
            Some(_) => self.dropped += held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Field;

    fn labels() -> Labels {
        Labels { run_id: "r".into(), scenario: "s".into(), variant: "only".into(), trial: 1 }
    }

    fn point(ms: u64, value: f64) -> Point {
        Point {
            measurement: "pg_ash",
            node: "a".into(),
            role: "primary",
            tags: vec![],
            fields: vec![("sessions", Field::Float(value))],
            elapsed: Duration::from_millis(ms),
        }
    }

    #[tokio::test]
    async fn stamps_are_the_clocks_wall_time_in_milliseconds() {
        let clock = Clock::start();
        let running = Running::start(Sink::Memory(Memory::default()), &labels(), clock);
        running.points().send(vec![point(0, 1.0), point(1500, 2.0)]);
        let finished = running.stop().await.unwrap();
        let Sink::Memory(memory) = finished.sink else { panic!("another sink") };
        let stamps: Vec<i64> = memory.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(
            stamps,
            [clock.at(Duration::ZERO).as_millisecond(), clock.at(Duration::from_millis(1500)).as_millisecond()]
        );
    }

    #[tokio::test]
    async fn every_point_is_written_or_dropped() {
        let running = Running::start(Sink::Memory(Memory::default()), &labels(), Clock::start());
        let points = running.points();
        // The test's runtime has one thread: nothing is taken out while this loop fills the queue.
        for i in 0..QUEUE as u64 + 10 {
            points.send(vec![point(i, 1.0), point(i, f64::NAN)]);
        }
        let finished = running.stop().await.unwrap();
        let n = QUEUE as u64;
        assert_eq!(
            finished.accounting,
            Accounting { produced: 2 * n + 20, written: n, dropped: n + 20, not_finite: n }
        );
        assert!(finished.accounting.adds_up());
        assert!(finished.error.is_none());
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_and_not_a_loss_unseen() {
        let sink = Sink::File(File::append("/dev/full").unwrap());
        let running = Running::start(sink, &labels(), Clock::start());
        running.points().send(vec![point(0, 1.0)]);
        let finished = running.stop().await.unwrap();
        assert_eq!(finished.accounting, Accounting { produced: 1, written: 0, dropped: 1, not_finite: 0 });
        let text = finished.error.unwrap().to_string();
        assert!(text.starts_with("cannot write /dev/full: No space left"), "{text}");
        assert!(text.contains("\nhint: free some space"), "{text}");
    }
}
