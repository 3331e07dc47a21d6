//! What a person sees of a load: its progress on stderr, its result on stdout.

use crate::base::mask::mask;
use crate::base::units::{Size, human};
use crate::etl::imdb;
use crate::etl::load::{Loaded, LoadedTable, Now, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks on a terminal.
const MOVING: Duration = Duration::from_millis(200);
/// Between two lines elsewhere.
const PLAIN: Duration = Duration::from_secs(5);
/// The bar's length stands for all rows.
const ALL: u64 = 1000;

/// To people, not to programs. Nobody may be reading.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", mask(line));
}

/// Does `work` and shows its progress.
pub async fn beside<T>(progress: Arc<Progress>, work: impl Future<Output = T>) -> T {
    let bar = std::io::stderr().is_terminal().then(bar);
    let mut tick = tokio::time::interval(if bar.is_some() { MOVING } else { PLAIN });
    tick.tick().await;
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = tick.tick() => {}
        }
        let now = progress.now();
        match &bar {
            None => tell(&line(&now)),
            Some(bar) => {
                bar.set_position(now.share.map_or(0, |share| (share * ALL as f64) as u64));
                bar.set_message(line(&now));
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(ALL), ProgressDrawTarget::stderr_with_hz(5));
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {bar:20} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

fn line(now: &Now) -> String {
    let seconds = now.elapsed.as_secs_f64().max(0.001);
    let rate = |count: u64| (count as f64 / seconds) as u64;
    let mut parts = vec![format!(
        "{} rows, {} ({}/s, {}/s)",
        grouped(now.rows),
        Size(now.bytes),
        grouped(rate(now.rows)),
        Size(rate(now.bytes))
    )];
    if now.rejected > 0 {
        parts.push(format!("{} rejected", grouped(now.rejected)));
    }
    match (now.share, now.remaining()) {
        (Some(share), Some(left)) if share < 1.0 => parts.push(format!("{:.0} %, {} left", share * 100.0, human(left))),
        _ => {}
    }
    let doing: Vec<&str> = now.doing.iter().map(String::as_str).filter(|doing| !doing.is_empty()).collect();
    parts.push(doing.join(" + "));
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// Shows how far files are that are fetched: like a load's, one moving line or plain ones.
pub struct Fetching {
    bar: Option<ProgressBar>,
    said: Cell<Option<Instant>>,
}

impl Fetching {
    pub fn new() -> Fetching {
        Fetching { bar: std::io::stderr().is_terminal().then(bar), said: Cell::new(None) }
    }

    pub fn say(&self, now: &imdb::fetch::Fetching) {
        let of = now.of.map(|of| format!(" of {}", Size(of))).unwrap_or_default();
        let line = format!("{}: {}{of}", now.file, Size(now.bytes));
        match &self.bar {
            Some(bar) => {
                bar.set_position(now.of.map_or(0, |of| now.bytes * ALL / of.max(1)));
                bar.set_message(line);
            }
            None if self.said.get().is_none_or(|said| said.elapsed() >= PLAIN) => {
                self.said.set(Some(Instant::now()));
                tell(&line);
            }
            None => {}
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Digits in threes, as people read them.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Says what was loaded.
pub fn told(loaded: &Loaded, rejects: &Path, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(loaded)?)?;
        return Ok(());
    }
    let heads = ["table", "rows", "rejected", "rows/s", "MB/s", "copy", "key", "indexes", "refs", "vacuum"];
    let mut lines = vec![heads.map(str::to_owned)];
    lines.extend(loaded.tables.iter().map(cells));
    let width = |n: usize| lines.iter().map(|line| line[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    for line in &lines {
        let mut text = format!("{:<width$}", line[0], width = widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    let sum = |count: fn(&LoadedTable) -> u64| loaded.tables.iter().map(count).sum::<u64>();
    writeln!(
        out,
        "{} rows in {:.1} s on {} streams, {} of WAL",
        grouped(sum(|table| table.loaded)),
        loaded.total.as_secs_f64(),
        loaded.streams,
        Size(loaded.wal_bytes)
    )?;
    if sum(|table| table.rejected) > 0 {
        writeln!(out, "{} rejected: {}", grouped(sum(|table| table.rejected)), rejects.display())?;
    }
    for note in &loaded.notes {
        tell(&format!("note: {note}"));
    }
    Ok(())
}

/// What was done for a table. Rates are those of its copy; what was not done is left empty.
fn cells(table: &LoadedTable) -> [String; 10] {
    let seconds = |time: Option<Duration>| time.map(|time| format!("{:.2} s", time.as_secs_f64())).unwrap_or_default();
    let rate = |count: f64| table.copy.map(|time| count / time.as_secs_f64().max(1e-6));
    [
        format!("{}{}", table.name, if table.kept { " (kept)" } else { "" }),
        grouped(table.loaded),
        grouped(table.rejected),
        rate(table.rows_in as f64).map(|rate| grouped(rate as u64)).unwrap_or_default(),
        rate(table.bytes as f64 / 1e6).map(|rate| format!("{rate:.1}")).unwrap_or_default(),
        seconds(table.copy),
        seconds(table.primary_key),
        seconds(table.indexes),
        seconds(table.foreign_keys),
        seconds(table.analyze),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let numbers = [0, 999, 1000, 98_073_271].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "98,073,271"]);
    }

    #[test]
    fn the_line_says_what_is_left() {
        let now = Now {
            rows: 2_000_000,
            bytes: 80 << 20,
            rejected: 3,
            elapsed: Duration::from_secs(10),
            share: Some(0.25),
            doing: vec!["title_akas".into(), String::new(), "name_basics".into()],
        };
        let wanted = "2,000,000 rows, 80MB (200,000/s, 8MB/s); 3 rejected; 25 %, 30s left; title_akas + name_basics";
        assert_eq!(line(&now), wanted);
    }
}
