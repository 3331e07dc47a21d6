//! Copies of which a file system tells and nobody here knows: the folder that had their cards and inventories is lost, or
//! is another's. What they say of themselves (the room `snapshot`'s [`label`](crate::snapshot::label)) is enough to list
//! and to remove them; nothing else is touched.

use super::shelf::State;
use crate::base::hunt::Hunt;
use crate::base::inventory::MARK;
use crate::base::proc;
use crate::clean;
use crate::driver::SERVER_PROGRAM;
use crate::snapshot::SnapshotError;
use crate::snapshot::label::{self, Told};
use jiff::Timestamp;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long processes may take to die after SIGKILL.
const DYING: Duration = Duration::from_secs(5);

/// A copy that nobody here knows.
#[derive(Clone, Debug)]
pub struct Stray {
    /// What its file system tells of it.
    pub told: Told,
    /// How it stands.
    pub state: State,
}

/// All whose run is none of `known`, and whose maker is not at work. Blocks.
pub fn strays(known: &[&str]) -> Result<Vec<Stray>, SnapshotError> {
    let of_nobody =
        |told: &Told| !known.contains(&told.run.as_str()) && !told.maker.as_ref().is_some_and(label::Maker::is_alive);
    let stray = |told: Told| Stray { state: state(&told), told };
    Ok(label::told()?.into_iter().filter(of_nobody).map(stray).collect())
}

fn state(told: &Told) -> State {
    let runs = || told.home().is_some_and(|home| !servers(home).is_empty());
    match told.state {
        Some(label::State::Base) => State::Base,
        Some(label::State::Making | label::State::Destroying) => State::HalfMade,
        Some(label::State::Ready) | None if runs() => State::Running,
        Some(label::State::Ready) | None => State::Stopped,
    }
}

fn servers(home: &Path) -> Vec<proc::Stat> {
    proc::standing_in(&proc::alive(), &[(home.to_owned(), SERVER_PROGRAM.to_owned())])
}

/// Whether a directory bears the mark of a run.
fn is_of(dir: &Path, run: &str) -> bool {
    !run.is_empty() && fs::read_to_string(dir.join(MARK)).is_ok_and(|mark| mark == run)
}

impl Stray {
    /// Whether it is no longer wanted.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        let at = self.told.expires.as_ref().and_then(|at| at.parse::<Timestamp>().ok());
        at.is_some_and(|at| at <= now)
    }

    /// Ends its server and removes it, its snapshot, and the directories of its run that it lay in. Blocks.
    pub fn remove(&self) -> Result<(), String> {
        let run = &self.told.run;
        let home = self.told.home().filter(|home| is_of(home, run));
        if let Some(home) = home {
            let mut hunt = Hunt::default();
            hunt.directory(home.to_owned(), SERVER_PROGRAM.to_owned());
            hunt.end(Duration::ZERO, DYING);
        }
        self.told.destroy().map_err(|error| error.to_string())?;
        // Its own, and the one in which all of its run was made, when nothing else was made there.
        for dir in home.into_iter().flat_map(|home| [Some(home), home.parent()]).flatten() {
            if let Some(within) = dir.parent()
                && is_of(dir, run)
                && (home == Some(dir) || is_bare(dir))
            {
                clean::remove(dir, within, run).map_err(|why| format!("{} was not removed: {why}", dir.display()))?;
            }
        }
        Ok(())
    }
}

/// Whether no directory is in this one: its own files, such as the password file of its run, go with it.
fn is_bare(dir: &Path) -> bool {
    let is_file = |entry: fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    fs::read_dir(dir).is_ok_and(|mut all| all.all(|entry| entry.is_ok_and(is_file)))
}

impl Told {
    /// The directory that holds it, and all else of its clone.
    fn home(&self) -> Option<&Path> {
        self.at.as_deref()?.parent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(state: Option<label::State>, at: &Path) -> Told {
        Told {
            dataset: "no-such-pool/pgbench-rs-r1-c".to_owned(),
            at: Some(at.to_owned()),
            run: "r1".to_owned(),
            name: "c".to_owned(),
            owner: None,
            expires: Some("2024-11-25T09:00:00Z".to_owned()),
            state,
            maker: None,
        }
    }

    #[test]
    fn a_stray_is_what_it_says_and_what_runs_on_it() {
        let dir = tempfile::tempdir().unwrap();
        for (says, is) in [
            (Some(label::State::Making), State::HalfMade),
            (Some(label::State::Destroying), State::HalfMade),
            (Some(label::State::Ready), State::Stopped),
            (Some(label::State::Base), State::Base),
            (None, State::Stopped),
        ] {
            assert_eq!(state(&told(says, &dir.path().join("data"))), is, "{says:?}");
        }
        let stray = Stray { told: told(None, dir.path()), state: State::Stopped };
        assert!(stray.is_expired("2024-11-25T09:00:00Z".parse().unwrap()));
        assert!(!stray.is_expired("2024-11-25T08:59:59Z".parse().unwrap()));
    }

    #[test]
    fn only_directories_with_its_mark_are_its_own() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_of(dir.path(), "r1"));
        fs::write(dir.path().join(MARK), "r2").unwrap();
        assert!(!is_of(dir.path(), "r1") && is_of(dir.path(), "r2") && is_bare(dir.path()));
        fs::write(dir.path().join(MARK), "").unwrap();
        assert!(!is_of(dir.path(), ""));
        fs::create_dir(dir.path().join("x")).unwrap();
        assert!(!is_bare(dir.path()));
    }
}
