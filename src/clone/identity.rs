//! Whether a directory is that of the server which was asked: never is another server's directory cloned. Standbys and
//! clones have the same system identifier as their primary, so that alone says nothing.

use super::facts::SourceFacts;
use crate::pg::control_file::ControlFile;
use crate::pg::pidfile::Pidfile;
use std::path::{Path, PathBuf};

/// How far the start time in `postmaster.pid`, taken when the program begins, may lie before that which the server
/// tells, taken when all is set up. Making shared memory of many gigabytes takes a while.
const SETTING_UP: i64 = 120;

/// A directory and a server are not of each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{dir} is not the data directory of the server that was asked: {why}\nhint: {HINT}", dir = dir.display())]
pub struct Stranger {
    /// The directory.
    pub dir: PathBuf,
    /// How that shows.
    pub why: String,
}

const HINT: &str = "`SHOW data_directory` names it, as the server sees it";

/// Holds what lies in `dir` against what the server said: `control` is the directory's control file, `pidfile` the text
/// of its `postmaster.pid`, if it has one.
pub fn same_server(
    dir: &Path,
    control: &ControlFile,
    pidfile: Option<&str>,
    said: &SourceFacts,
) -> Result<(), Stranger> {
    let stranger = |why: String| Err(Stranger { dir: dir.to_owned(), why });
    let (here, there) = (control.system_identifier, said.system_identifier);
    if here != there {
        return stranger(format!("its system identifier is {here}, that of the server {there}"));
    }
    let Some(file) = pidfile.and_then(Pidfile::parse) else {
        return stranger("no server runs on it: there is no postmaster.pid".to_owned());
    };
    if file.port != said.port {
        return stranger(format!("the server that runs on it has port {}, this one {}", file.port, said.port));
    }
    if !(file.started..=file.started + SETTING_UP).contains(&said.started) {
        let seconds = said.started - file.started;
        return stranger(format!("the server that runs on it was started {seconds} s before this one"));
    }
    match said.pidfile.as_deref().and_then(Pidfile::parse) {
        Some(own) if own.lasting != file.lasting => {
            let (here, there) = (file.pid, own.pid);
            stranger(format!(
                "another server runs on it (pid {here}; this one has {there}, and a postmaster.pid of its own)"
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::empty;
    use super::*;
    use crate::pg::control_file::tests::bytes;

    const OURS: &str = "4711\n/data\n1700000000\n5433\n/run\n127.0.0.1\n  5433001     65536\nready   \n";

    fn control(identifier: u64) -> ControlFile {
        ControlFile::decode(&bytes(1300, &[(0, &identifier.to_ne_bytes())])).unwrap()
    }

    fn facts() -> SourceFacts {
        SourceFacts {
            system_identifier: 7,
            port: 5433,
            started: 1_700_000_001,
            pidfile: Some(OURS.replace("ready", "standby")),
            ..empty()
        }
    }

    #[test]
    fn only_its_own_directory_will_do() {
        let judge = |identifier, file: Option<&str>, facts: &SourceFacts| {
            same_server(Path::new("/d"), &control(identifier), file, facts).map_err(|stranger| stranger.why)
        };
        let facts = facts();
        assert_eq!(judge(7, Some(OURS), &facts), Ok(()));
        assert_eq!(judge(7, Some(OURS), &SourceFacts { pidfile: None, ..facts.clone() }), Ok(()));
        let another = OURS.replace("4711", "4712");
        let earlier = OURS.replace("1700000000", "1600000000");
        for (identifier, file, words) in [
            (8, Some(OURS), "system identifier is 8"),
            (7, None, "no server runs on it"),
            (7, Some(&*OURS.replace("\n5433\n", "\n5432\n")), "has port 5432, this one 5433"),
            (7, Some(&*earlier), "was started 100000001 s before"),
            (7, Some(&*another), "another server runs on it (pid 4712"),
        ] {
            let why = judge(identifier, file, &facts).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
