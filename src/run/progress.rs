//! What a person sees while a run goes on, on stderr: one moving line on a terminal, plain lines elsewhere.

use crate::base::mask::mask;
use crate::base::units::{counted, human};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Least time between two plain lines about the same phase.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The progress of one run.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    trial: String,
    phase: String,
    said: Option<Instant>,
}

impl Progress {
    /// Progress of a run that is expected to last `expected`.
    pub fn new(trials: usize, expected: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(trials as u64), ProgressDrawTarget::stderr_with_hz(5));
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} [{elapsed_precise}] {pos}/{len} trials  {wide_msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let progress = Progress { bar, started: Instant::now(), now: Mutex::default() };
        progress.say(&format!("{}, about {}", counted(trials, "trial"), human(expected)));
        progress
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tell(line)),
            None => tell(&format!("[{}] {line}", human(self.started.elapsed()))),
        }
    }

    /// Something preliminary goes on; without a terminal, said every few seconds only.
    pub fn doing(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => {
                let Ok(mut now) = self.now.lock() else { return };
                if now.said.is_none_or(|said| said.elapsed() >= PLAIN_EVERY) {
                    now.said = Some(Instant::now());
                    drop(now);
                    self.say(what);
                }
            }
        }
    }

    /// A trial begins.
    pub fn trial(&self, position: u32, of: usize, variant: &str, trial: u32) {
        if let Ok(mut now) = self.now.lock() {
            *now = Now { trial: format!("{variant} #{trial}"), ..Now::default() };
        }
        match &self.bar {
            Some(bar) => bar.set_message(format!("{variant} #{trial}: starting servers")),
            None => self.say(&format!("trial {position}/{of}: {variant} #{trial}")),
        }
    }

    /// A phase begins.
    pub fn phase(&self, name: &str, lasts: Duration) {
        let Ok(mut now) = self.now.lock() else { return };
        now.phase = name.to_owned();
        now.said = Some(Instant::now());
        let line = format!("{}: {name} ({})", now.trial, human(lasts));
        drop(now);
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None => self.say(&line),
        }
    }

    /// How the phase goes: transactions and errors per second since the last call.
    pub fn live(&self, into: Duration, lasts: Duration, tps: f64, errors: f64) {
        let Ok(mut now) = self.now.lock() else { return };
        let line = format!(
            "{}: {} {:.0}/{:.0}s  {tps:.0} tps{}",
            now.trial,
            now.phase,
            into.as_secs_f64(),
            lasts.as_secs_f64(),
            if errors > 0.0 { format!("  {errors:.0} errors/s") } else { String::new() },
        );
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None if now.said.is_none_or(|said| said.elapsed() >= PLAIN_EVERY) => {
                now.said = Some(Instant::now());
                self.say(&line);
            }
            None => {}
        }
    }

    /// A trial ended.
    pub fn ended(&self, outcome: &str) {
        let trial = self.now.lock().map(|now| now.trial.clone()).unwrap_or_default();
        self.say(&format!("{trial}: {outcome}"));
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// The run ended.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes a line to stderr. `eprintln!` would panic when nobody reads it any more (the terminal was closed,
/// `head` has seen enough), and a run must go on then, or end in order.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", mask(line));
}
