//! Delivering `metrics.lp.gz` to a server, while it grows. An outlet keeps nothing but its place in the file. Whatever
//! happens, each point ends in one place of its [`Account`]; a batch may be sent twice, which changes nothing, as the same
//! measurement, tags and instant overwrite.

use super::account::Account;
use super::answer::Answer;
use super::batch::{Batch, LINES, Member, Reader, compress, count};
use super::http::Door;
use super::orphans::Orphanage;
use bytes::Bytes;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The file that is delivered.
pub const FILE: &str = "metrics.lp.gz";

/// How an outlet takes its time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often the file is looked at.
    pub look: Duration,
    /// Longest that a server may take for an answer.
    pub answer: Duration,
    /// First pause after a failure; each further one is twice as long.
    pub pause: Duration,
    /// Longest pause, unless the server asks for a longer one.
    pub longest_pause: Duration,
    /// What is left when the run ends has this long to be delivered.
    pub last: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            look: Duration::from_millis(250),
            answer: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            last: Duration::from_secs(10),
        }
    }
}

/// Tells a person something.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// An outlet, and what it works with.
pub(super) struct Outlet {
    pub name: String,
    door: Door,
    pace: Pace,
    /// The run's folder.
    dir: PathBuf,
    orphans: Orphanage,
    say: Say,
    /// When everything must be over; known once the run has ended.
    end: watch::Receiver<Option<Instant>>,
    /// The file is whole already, and a server that does not answer is not waited for all day.
    whole: bool,
    account: Account,
    /// Points of the member at the account's offset that are settled.
    within: u64,
    /// Batches of the orphanage that are settled.
    adopted: usize,
    /// Points of the orphanage that are.
    adopted_points: u64,
    /// Lines that were quarantined since the last that was written.
    in_a_row: u32,
    /// That it does not answer was told.
    failing: bool,
}

/// Failures in a row after which a server is given up that is sent a whole file.
const TRIES: u32 = 5;
/// The same once the run has ended.
const LAST_TRIES: u32 = 3;

/// Lines refused one by one, none in between written, after which a server is taken to refuse all.
const HOPELESS: u32 = 20;

impl Outlet {
    /// One that follows the file in `dir` from its beginning.
    pub fn new(
        (name, door): (String, Door),
        pace: Pace,
        dir: &Path,
        orphans: Orphanage,
        end: watch::Receiver<Option<Instant>>,
        say: Say,
    ) -> Outlet {
        Outlet {
            name,
            door,
            pace,
            dir: dir.to_owned(),
            orphans,
            say,
            end,
            whole: false,
            account: Account::default(),
            within: 0,
            adopted: 0,
            adopted_points: 0,
            in_a_row: 0,
            failing: false,
        }
    }

    /// One that delivers a file that is whole, from the byte `offset` on.
    pub fn of_whole(mut self, offset: u64) -> Outlet {
        self.whole = true;
        self.account.offset = offset;
        self
    }

    /// Delivers the file, and follows it until the run has ended.
    pub async fn run(mut self) -> Self {
        if let Err(problem) = self.deliver().await {
            (self.say)(&format!(
                "sink {}: {problem}; what it does not have is in {}",
                self.name,
                self.file().display()
            ));
            self.account.problem = Some(problem);
        }
        self
    }

    fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Whether the run has ended (or whoever would say so is gone).
    fn over(&self) -> bool {
        self.end.borrow().is_some() || self.end.has_changed().is_err()
    }

    async fn deliver(&mut self) -> Result<(), String> {
        let mut reader = None;
        loop {
            // Asked before the file is, so that what was written before the end is not missed.
            let over = self.over();
            if reader.is_none() {
                reader = match Reader::open(&self.file(), self.account.offset) {
                    Ok(reader) => Some(reader),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(unreadable(&error)),
                };
            }
            let member = match &mut reader {
                Some(reader) => reader.next().map_err(|error| unreadable(&error))?,
                None => None,
            };
            if let Some(member) = member {
                self.member(&member).await?;
                (self.account.offset, self.within) = (member.end, 0);
            } else if let Some(batch) = self.orphans.get(self.adopted) {
                self.orphan(&batch).await?;
            } else if over || self.whole {
                return Ok(());
            } else {
                let _ = tokio::time::timeout(self.pace.look, self.end.changed()).await;
            }
        }
    }

    /// Sends a member as it is, or in parts if it was written by somebody with another idea of a batch.
    async fn member(&mut self, member: &Member) -> Result<(), String> {
        let before = self.account.settled();
        let mut sent = Ok(());
        for part in parts(&member.lines) {
            let gzip = (part.len() == member.lines.len()).then(|| member.gzip.clone());
            sent = self.send(part, gzip).await;
            if sent.is_err() {
                break;
            }
        }
        self.within = self.account.settled() - before;
        sent
    }

    async fn orphan(&mut self, batch: &Batch) -> Result<(), String> {
        let lines = batch.lines().map_err(|error| error.to_string())?;
        let before = self.account.settled();
        let sent = self.send(&lines, Some(batch.gzip.clone())).await;
        self.adopted_points += self.account.settled() - before;
        self.adopted += usize::from(sent.is_ok());
        sent
    }

    /// Sends lines until each of them is settled; an error says why some are not.
    async fn send(&mut self, lines: &[u8], gzip: Option<Bytes>) -> Result<(), String> {
        let mut stack = vec![(lines, gzip)];
        while let Some((lines, gzip)) = stack.pop() {
            let (answer, text) = self.ask(gzip.unwrap_or_else(|| compress(lines))).await?;
            let points = count(lines);
            match answer {
                Answer::Written => {
                    self.account.acknowledged += points;
                    self.in_a_row = 0;
                }
                Answer::Partly(left_out) => {
                    // A server that does not say how many is believed to have taken none.
                    let left_out = left_out.unwrap_or(points).min(points);
                    self.account.rejected += left_out;
                    self.account.acknowledged += points - left_out;
                }
                Answer::Halve if points > 1 => {
                    let (first, second) = halves(lines);
                    stack.extend([(second, None), (first, None)]);
                }
                Answer::Halve => self.quarantine(lines, &text)?,
                Answer::Refused | Answer::Later(_) => return Err(text),
            }
        }
        Ok(())
    }

    /// Asks until there is an answer that means something for these lines, or none is to be hoped for.
    async fn ask(&mut self, gzip: Bytes) -> Result<(Answer, String), String> {
        let mut pause = self.pace.pause;
        let (mut tries, mut last_tries) = (0, 0);
        loop {
            if self.left() == Some(Duration::ZERO) {
                return Err("the run was over before it had taken everything".to_owned());
            }
            let limit = self.left().map_or(self.pace.answer, |left| left.min(self.pace.answer));
            let (answer, text) = match self.door.post(gzip.clone(), limit).await {
                Ok(said) => {
                    let now = jiff::Timestamp::now();
                    let answer = Answer::of(said.status, said.retry_after.as_deref(), &said.text, now);
                    (answer, format!("it answers {} {}", said.status, said.text).trim_end().to_owned())
                }
                Err(error) => (Answer::Later(None), error),
            };
            let after = match answer {
                Answer::Later(after) => after,
                answer => {
                    self.recovered(&answer);
                    return Ok((answer, text));
                }
            };
            tries += 1;
            last_tries += u32::from(self.over());
            if last_tries == LAST_TRIES || self.whole && tries == TRIES {
                return Err(text);
            }
            if !std::mem::replace(&mut self.failing, true) {
                (self.say)(&format!("sink {}: {text}; points wait in {}", self.name, self.file().display()));
            }
            // Between a half and the whole of it, so that many clients do not come back at once.
            let wait = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0).max(after.unwrap_or_default());
            pause = (pause * 2).min(self.pace.longest_pause);
            if self.left().is_some_and(|left| left < wait) {
                return Err(text);
            }
            // The end of the run ends the pause.
            let _ = tokio::time::timeout(wait, self.end.changed()).await;
        }
    }

    fn recovered(&mut self, answer: &Answer) {
        if *answer != Answer::Refused && std::mem::replace(&mut self.failing, false) {
            (self.say)(&format!("sink {}: it answers again", self.name));
        }
    }

    /// Time until everything must be over; nothing while the run goes on.
    fn left(&self) -> Option<Duration> {
        let end = *self.end.borrow();
        end.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Puts a line aside that the server does not take.
    fn quarantine(&mut self, line: &[u8], why: &str) -> Result<(), String> {
        let path = self.dir.join(format!("quarantine-{}.lp", self.name));
        let write = || {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("# {why}\n").as_bytes())?;
            file.write_all(line)
        };
        write().map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        self.account.quarantined += 1;
        self.in_a_row += 1;
        if self.in_a_row == HOPELESS {
            return Err(format!("it refuses every line: {why}"));
        }
        Ok(())
    }

    /// Counts what it did not come to, when `produced` points were produced and `dropped` are not in the file.
    pub fn close(mut self, produced: u64, dropped: u64) -> Account {
        let pending = match pending(&self.file(), self.account.offset) {
            Ok(points) => points.saturating_sub(self.within),
            Err(error) => {
                self.account.problem.get_or_insert(unreadable(&error));
                0
            }
        };
        Account { produced, pending, dropped: dropped.saturating_sub(self.adopted_points), ..self.account }
    }
}

/// Two parts with as many lines, or one more.
fn halves(lines: &[u8]) -> (&[u8], &[u8]) {
    lines.split_at(after_lines(lines, count(lines) as usize / 2))
}

/// Parts that are no larger than a batch.
fn parts(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let part;
        (part, rest) = rest.split_at(after_lines(rest, LINES));
        (!part.is_empty()).then_some(part)
    })
}

/// Where the first `number` lines end.
fn after_lines(lines: &[u8], number: usize) -> usize {
    let ends = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.take(number).last().map_or(0, |(end, _)| end + 1)
}

fn unreadable(error: &io::Error) -> String {
    format!("metrics.lp.gz cannot be read back: {error}")
}

/// Points in the file from `offset` on.
pub(super) fn pending(path: &Path, offset: u64) -> io::Result<u64> {
    let mut reader = match Reader::open(path, offset) {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut points = 0;
    while let Some(member) = reader.next()? {
        points += count(&member.lines);
    }
    Ok(points)
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
