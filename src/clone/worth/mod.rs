//! What a clone is worth: how old it is, what it lacks of what the source had when it was asked for, and whether it is
//! consistent. A check that fails because the clone cannot be read is a finding, not an error.

mod age;
mod amcheck;
mod mark;
mod tpcb;

pub use amcheck::Amcheck;
pub use mark::{Mark, Watermark};
pub use tpcb::Tpcb;

use super::error::CloneError;
use super::thin::ThinClone;
use serde::{Deserialize, Serialize};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Whether pgbench's tables agree, when they are there.
    pub tpcb: bool,
    /// Whether tables and indexes are sound: `pg_amcheck --heapallindexed` on the database of the clone's login. It
    /// reads all of it, and installs the extension `amcheck` in the clone.
    pub amcheck: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Checks { tpcb: true, amcheck: false }
    }
}

/// What a clone is worth.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Worth {
    /// Seconds from the last transaction in the clone until the mark was taken, both by the source's clock. Negative: the
    /// transaction came later, while the clone was made. Absent when there was none since the checkpoint, or its WAL can
    /// no longer be read.
    pub age: Option<f64>,
    /// Rows below the watermark that were there when the clone was asked for and are not in it.
    pub rows_lost: Option<u64>,
    /// Bytes of WAL that were flushed when the clone was asked for and are not in it.
    pub bytes_lost: Option<u64>,
    /// Whether pgbench's tables agree; absent when they are not there, or were not looked at.
    pub tpcb: Option<Tpcb>,
    /// What `pg_amcheck` found; absent when it was not asked.
    pub amcheck: Option<Amcheck>,
    /// What could not be read, in the server's words.
    pub unreadable: Vec<String>,
}

impl Worth {
    /// Whether nothing was found that is lost or inconsistent, of what was looked at.
    pub fn is_whole(&self) -> bool {
        let none_lost = [self.rows_lost, self.bytes_lost].iter().all(|lost| lost.unwrap_or(0) == 0);
        let agrees = self.tpcb.as_ref().is_none_or(Tpcb::agrees);
        let sound = self.amcheck.as_ref().is_none_or(|amcheck| amcheck.findings == 0);
        none_lost && agrees && sound && self.unreadable.is_empty()
    }
}

impl ThinClone {
    /// What it is worth, held against `mark`, which was taken before it was asked for.
    pub async fn worth(&self, mark: &Mark, checks: Checks) -> Result<Worth, CloneError> {
        let client = self.connect(None).await?;
        let mut worth = Worth {
            age: self.last_commit().await.map(|last| mark.at.duration_since(last).as_secs_f64()),
            bytes_lost: self.reached().map(|reached| mark.lsn.bytes_since(reached).max(0) as u64),
            ..Worth::default()
        };
        match mark.lost(&client).await {
            Ok(lost) => worth.rows_lost = lost,
            Err(error) => worth.unreadable.push(mark::said(&error)),
        }
        if checks.tpcb {
            match Tpcb::ask(&client).await {
                Ok(tpcb) => worth.tpcb = tpcb,
                Err(error) => worth.unreadable.push(mark::said(&error)),
            }
        }
        drop(client);
        if checks.amcheck {
            worth.amcheck = Some(self.amcheck().await?);
        }
        Ok(worth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_found_counts() {
        let good = Worth { rows_lost: Some(0), bytes_lost: Some(0), ..Worth::default() };
        assert!(good.is_whole() && Worth::default().is_whole());
        for bad in [
            Worth { rows_lost: Some(1), ..good.clone() },
            Worth { bytes_lost: Some(1), ..good.clone() },
            Worth { amcheck: Some(Amcheck { findings: 1, first: Vec::new() }), ..good.clone() },
            Worth { unreadable: vec!["could not read block 0".to_owned()], ..good.clone() },
            Worth { tpcb: Some(Tpcb::default()), ..good.clone() },
        ] {
            assert!(!bad.is_whole(), "{bad:?}");
        }
    }
}
