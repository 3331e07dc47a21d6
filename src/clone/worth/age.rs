//! When the last transaction was committed that a clone has. The server says it after recovery of an archive and not
//! after a crash, and keeps commit times only when asked (`track_commit_timestamp`); but all commits stand in the WAL, and
//! the source still has that of the last moments.

use crate::base::exec::Command;
use crate::clone::thin::{Of, ThinClone};
use crate::driver::Workplace;
use crate::pg::Lsn;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

impl ThinClone {
    /// When the last transaction was committed that it has, by the source's clock; absent when it cannot be told.
    pub(in crate::clone) async fn last_commit(&self) -> Option<jiff::Timestamp> {
        match self.of().last_commit {
            Some(last) => Some(last),
            None => in_wal(self.place(), self.of()).await,
        }
    }
}

async fn in_wal(place: &Workplace, of: &Of) -> Option<jiff::Timestamp> {
    let (redo, reached) = (of.redo?, of.reached?);
    let programs = place.setup.installed.choose(Some(of.major)).ok()?;
    let wal = of.source.data().join("pg_wal");
    // What follows the end of a backup in its segment is empty, and the next segment may have nothing yet.
    for back in [0, 1] {
        let segment = (reached.0.saturating_sub(1) / of.segment_size).saturating_sub(back) * of.segment_size;
        let (from, end) = (redo.max(Lsn(segment)), reached.min(Lsn(segment + of.segment_size)));
        // For one that is not there it would wait five seconds.
        if !wal.join(file(of.timeline?, segment, of.segment_size)).exists() {
            continue;
        }
        let command = Command::new(programs.path("pg_waldump"), LIMIT)
            .arg("--path")
            .arg(&wal)
            .args(["--rmgr=Transaction", "--timeline", &of.timeline?.to_string()])
            .args(["--start", &from.to_string(), "--end", &end.to_string()])
            .env("TZ", "UTC")
            .keep_the_end()
            .user(place.setup.user.as_ref());
        // It fails where the end falls into the midst of a record, after it has printed all before. Where the source has
        // no such WAL any more it prints nothing, and the time is not known.
        let printed = command.run_to_status(&[0, 1], &place.setup.inventory).await.ok()?.stdout;
        if let Some(last) = printed.lines().rev().find_map(commit) {
            return Some(last);
        }
    }
    None
}

/// What the file is called that holds the segment which begins at `segment`.
fn file(timeline: u32, segment: u64, size: u64) -> String {
    let (number, of_each) = (segment / size, (1 << 32) / size);
    format!("{timeline:08X}{:08X}{:08X}", number / of_each, number % of_each)
}

/// `rmgr: Transaction … desc: COMMIT 2024-11-25 08:05:09.123456 UTC; inval msgs: …`, also of a prepared one.
fn commit(line: &str) -> Option<jiff::Timestamp> {
    let (_, desc) = line.split_once("desc: COMMIT")?;
    let mut words = desc.trim_start_matches("_PREPARED").split([' ', ';']).filter(|word| !word.is_empty());
    let (date, time) = loop {
        let word = words.next()?;
        // Of a prepared one its number comes first: `741: `.
        if word.contains('-') && !word.contains(':') {
            break (word, words.next()?);
        }
    };
    format!("{date}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_called_as_the_server_calls_them() {
        // pg_walfile_name('1/6F0A2B38') on timeline 3, with segments of 16 MB and of 64 MB.
        assert_eq!(file(3, 0x1_6F00_0000, 16 << 20), "00000003000000010000006F");
        assert_eq!(file(3, 0x1_6C00_0000, 64 << 20), "00000003000000010000001B");
    }

    #[test]
    fn commits_are_found_among_other_records() {
        let head =
            "rmgr: Transaction len (rec/tot):     46/    46, tx:        741, lsn: 0/01A2B3C8, prev 0/01A2B390, desc: ";
        let at = |desc: &str| commit(&format!("{head}{desc}")).map(|at| at.to_string());
        let expected = Some("2024-11-25T08:05:09.123456Z".to_owned());
        assert_eq!(at("COMMIT 2024-11-25 08:05:09.123456 UTC"), expected);
        assert_eq!(at("COMMIT 2024-11-25 08:05:09.123456 UTC; inval msgs: catcache 7"), expected);
        assert_eq!(at("COMMIT_PREPARED 741: 2024-11-25 08:05:09.123456 UTC"), expected);
        assert_eq!(at("ABORT 2024-11-25 08:05:09.123456 UTC"), None);
        assert_eq!(at("PREPARE gid x: 2024-11-25 08:05:09.123456 UTC"), None);
    }
}
