//! Where sampled points go. One task a trial takes them from the channel and writes them to `metrics.lp.gz` as line
//! protocol, a gzip member of up to 5,000 lines a second. That file is the one queue there is: a thread of its own reads
//! it behind the writer and delivers it to every `[sink.NAME]` ([`outlet`]), each at its own pace, so that a server that
//! is down loses nothing and what produces points waits for nobody. Nothing is lost silently: of each sink there is an
//! account, and `run.json` has it.

mod account;
mod answer;
pub mod batch;
mod destination;
pub mod file;
mod http;
pub mod memory;
mod orphans;
mod outlet;
mod outlets;

pub use account::{Account, Accounting};
pub use destination::{Address, Destination, Influx, Influx1, VictoriaMetrics};
pub use file::File;
pub use http::Door;
pub use memory::Memory;
pub use orphans::Orphanage;
pub use outlet::{FILE, Pace, Say};
pub use outlets::{Outlets, replay};

use crate::base::clock::Clock;
use crate::metric::line::{Encoder, Labels};
use crate::metric::{Point, Points};
use batch::Batch;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Batches of points that may wait for the writer; beyond that they are dropped and counted.
const QUEUE: usize = 1024;
/// Longest that a line stays out of the file.
const CUT_EVERY: Duration = Duration::from_secs(1);

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

/// Where the writer puts its batches.
#[derive(Debug)]
pub enum Sink {
    /// A gzip file.
    File(File),
    /// The lines, kept.
    Memory(Memory),
}

/// The writer at work, for one trial.
#[derive(Debug)]
pub struct Running {
    points: Points,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Writing>,
}

/// What a writer ended with.
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
    /// Starts writing to `sink`; every line carries `labels`. Samplers send into [`Running::points`]. What a full disk
    /// keeps out of the file goes to `orphans`, so that servers still get it.
    pub fn start(sink: Sink, labels: &Labels, clock: Clock, orphans: Orphanage) -> Running {
        let (points, batches) = Points::channel(QUEUE);
        let (stop, stopped) = oneshot::channel();
        let writing = Writing {
            sink,
            orphans,
            encoder: Encoder::new(labels),
            clock,
            lines: Vec::new(),
            held: 0,
            written: 0,
            dropped: 0,
            error: None,
        };
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
            beyond_series: writing.encoder.beyond(),
            not_finite: writing.encoder.not_finite(),
        };
        Ok(Finished { sink: writing.sink, accounting, error: writing.error })
    }
}

/// The task's state. It writes some kilobytes a second into the page cache, so it needs no thread of its own.
#[derive(Debug)]
struct Writing {
    sink: Sink,
    orphans: Orphanage,
    encoder: Encoder,
    clock: Clock,
    /// The batch that is being filled.
    lines: Vec<u8>,
    /// Points in it.
    held: usize,
    written: u64,
    dropped: u64,
    error: Option<WriteError>,
}

impl Writing {
    async fn run(mut self, mut batches: mpsc::Receiver<Vec<Point>>, mut stopped: oneshot::Receiver<()>) -> Writing {
        let mut cut = tokio::time::interval(CUT_EVERY);
        cut.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                batch = batches.recv() => match batch {
                    Some(batch) => self.take(&batch),
                    None => break,
                },
                _ = cut.tick() => self.cut(),
                _ = &mut stopped => break,
            }
        }
        batches.close();
        while let Some(batch) = batches.recv().await {
            self.take(&batch);
        }
        self.cut();
        if let Sink::File(file) = &mut self.sink {
            let (kept, error) = file.finish();
            self.settle(kept, error);
        }
        self
    }

    fn take(&mut self, points: &[Point]) {
        for point in points {
            let at_ms = self.clock.at(point.elapsed).as_millisecond();
            if self.encoder.encode(point, at_ms, &mut self.lines) {
                self.held += 1;
            } else {
                self.dropped += 1;
            }
            if self.held >= batch::LINES {
                self.cut();
            }
        }
    }

    /// Writes the lines so far, if there are any, as a batch.
    fn cut(&mut self) {
        let held = std::mem::take(&mut self.held);
        match &mut self.sink {
            Sink::Memory(memory) => {
                memory.keep(&self.lines);
                self.written += held as u64;
            }
            Sink::File(file) => {
                let kept = if held > 0 { file.keep(Batch::new(&self.lines)) } else { file.retry() };
                self.settle(kept, None);
            }
        }
        self.lines.clear();
    }

    fn settle(&mut self, kept: file::Kept, error: Option<WriteError>) {
        self.written += kept.written;
        if !kept.lost.is_empty() {
            self.error = error;
        }
        for batch in kept.lost {
            self.dropped += batch.points;
            self.orphans.take(batch);
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
        let running = Running::start(Sink::Memory(Memory::default()), &labels(), clock, Orphanage::default());
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
        let running = Running::start(Sink::Memory(Memory::default()), &labels(), Clock::start(), Orphanage::default());
        let points = running.points();
        // The test's runtime has one thread: nothing is taken out while this loop fills the queue.
        for i in 0..QUEUE as u64 + 10 {
            points.send(vec![point(i, 1.0), point(i, f64::NAN)]);
        }
        let finished = running.stop().await.unwrap();
        let n = QUEUE as u64;
        assert_eq!(
            finished.accounting,
            Accounting { produced: 2 * n + 20, written: n, dropped: n + 20, beyond_series: 0, not_finite: n }
        );
        assert!(finished.accounting.adds_up());
        assert!(finished.error.is_none());
    }

    #[tokio::test]
    async fn a_full_disk_is_an_error_and_not_a_loss_unseen() {
        let sink = Sink::File(File::append("/dev/full").unwrap());
        let running = Running::start(sink, &labels(), Clock::start(), Orphanage::default());
        running.points().send(vec![point(0, 1.0)]);
        let finished = running.stop().await.unwrap();
        assert_eq!(
            finished.accounting,
            Accounting { produced: 1, written: 0, dropped: 1, beyond_series: 0, not_finite: 0 }
        );
        let text = finished.error.unwrap().to_string();
        assert!(text.starts_with("cannot write /dev/full: No space left"), "{text}");
        assert!(text.contains("\nhint: free some space"), "{text}");
    }
}
