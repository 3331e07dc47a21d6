//! What a copy says of itself where its file system can keep it: whose it is, until when it is wanted, who makes it and
//! how far it is. On ZFS that stands in user properties of the clone, so that it is known when all else that was
//! written about it is lost. Copies by other drivers only bear the mark of their run.

use super::SnapshotError;
use super::zfs::{self, Pair};
use crate::base::proc::{self, Identity};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Whose a copy is, and until when it is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Whose, in words; nothing is said where it is empty.
    pub owner: String,
    /// Until when, in RFC 3339; absent: for ever, or as long as its run.
    pub expires: Option<String>,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is being made.
    Making,
    /// A server runs on it, or may.
    Ready,
    /// Other copies are made of it.
    Base,
    /// It is being destroyed.
    Destroying,
}

impl State {
    /// As the property has it.
    pub fn name(self) -> &'static str {
        match self {
            State::Making => "making",
            State::Ready => "ready",
            State::Base => "base",
            State::Destroying => "destroying",
        }
    }
}

impl FromStr for State {
    type Err = ();

    fn from_str(text: &str) -> Result<State, ()> {
        let all = [State::Making, State::Ready, State::Base, State::Destroying];
        all.into_iter().find(|state| state.name() == text).ok_or(())
    }
}

/// The process that makes a copy: `<boot>/<pid>/<start time>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    boot: String,
    process: Identity,
}

impl Maker {
    /// This process.
    pub fn own() -> Result<Maker, SnapshotError> {
        let process = Identity::own().map_err(SnapshotError::at("/proc/self/stat".as_ref()))?;
        Ok(Maker { boot: proc::boot(), process })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.boot == proc::boot() && self.process.is_alive()
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.boot, self.process.pid, self.process.started)
    }
}

impl FromStr for Maker {
    type Err = ();

    fn from_str(text: &str) -> Result<Maker, ()> {
        let mut parts = text.split('/');
        let (Some(boot), Some(pid), Some(started), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let process = Identity { pid: pid.parse().map_err(|_| ())?, started: started.parse().map_err(|_| ())? };
        Ok(Maker { boot: boot.to_owned(), process })
    }
}

/// A copy as its file system tells of it. What it does not tell, or not in our words, is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its dataset.
    pub dataset: String,
    /// Where it is mounted, or would be.
    pub at: Option<PathBuf>,
    /// The run whose it is.
    pub run: String,
    /// Its name.
    pub name: String,
    /// Whose it is, in words.
    pub owner: Option<String>,
    /// Until when it is wanted, in RFC 3339.
    pub expires: Option<String>,
    /// How far it is.
    pub state: Option<State>,
    /// Who makes it.
    pub maker: Option<Maker>,
}

impl Told {
    /// Destroys it and the snapshot that it was made of, if they are the run's. Nothing may run on it any more.
    pub fn destroy(&self) -> Result<(), SnapshotError> {
        match Pair::of_clone(&self.dataset) {
            Some(pair) => pair.destroy(&self.run),
            None => Ok(()),
        }
    }
}

/// All copies that file systems of this machine tell of: those of ZFS; none where no ZFS answers. Blocks.
pub fn told() -> Result<Vec<Told>, SnapshotError> {
    zfs::told()
}

/// A property's value: of what people write, what fits into a line.
pub(super) fn in_a_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maker_is_written_as_it_is_read() {
        let own = Maker::own().unwrap();
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        assert!(own.is_alive());
        let of_another_boot = Maker { boot: "another".to_owned(), ..own };
        assert!(!of_another_boot.is_alive());
        for wrong in ["", "a", "a/b/c", "a/1", "a/1/2/3"] {
            assert_eq!(wrong.parse::<Maker>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn states_are_written_as_they_are_read() {
        for state in [State::Making, State::Ready, State::Base, State::Destroying] {
            assert_eq!(state.name().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        assert_eq!("gone".parse::<State>(), Err(()));
    }

    #[test]
    fn what_people_write_fits_into_a_line() {
        assert_eq!(in_a_line("ada\tof\nbyron"), "ada of byron");
        assert_eq!(in_a_line(&"ä".repeat(300)).chars().count(), 200);
    }
}
