//! The server's helper programs that work on a data directory no server runs on.

use super::control_file::ControlFile;
use super::lsn::Lsn;
use super::programs::Programs;
use crate::base::exec::{Command, CommandError};
use crate::base::inventory::Inventory;
use crate::base::user::User;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// `initdb` takes one to three seconds on an idle machine.
const INITDB_LIMIT: Duration = Duration::from_secs(120);
const CONTROLDATA_LIMIT: Duration = Duration::from_secs(20);

/// Makes a data directory whose superuser has the password in the file `pwfile`. Locale C and UTF-8,
/// so that it is the same on every machine; not synced to disk, for it is only a template's beginning.
pub async fn initdb(
    programs: &Programs,
    user: Option<&User>,
    superuser: &str,
    pwfile: &Path,
    dir: &Path,
    inventory: &Arc<Inventory>,
) -> Result<(), CommandError> {
    let command = Command::new(programs.path("initdb"), INITDB_LIMIT).args(initdb_args(superuser, pwfile, dir));
    command.user(user).run(inventory).await.map(drop)
}

/// The arguments of such an `initdb`.
pub fn initdb_args(superuser: &str, pwfile: &Path, dir: &Path) -> Vec<OsString> {
    let fixed = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"].map(OsString::from);
    let of_paths = ["--pwfile".into(), pwfile.into(), "--pgdata".into(), dir.into()];
    fixed.into_iter().chain([format!("--username={superuser}").into()]).chain(of_paths).collect()
}

/// What `pg_controldata` says of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlData {
    /// `shut down`, `shut down in recovery`, `in production`, …
    pub state: String,
    /// Where the latest checkpoint record begins.
    pub checkpoint: Lsn,
    /// The timeline of that checkpoint.
    pub timeline: u32,
}

impl ControlData {
    /// Whether the server was shut down in order.
    pub fn is_shut_down(&self) -> bool {
        self.state.starts_with("shut down")
    }
}

/// Why a control file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It is on another machine.
    #[error("the data directory of `{node}` is somebody else's")]
    NotHere {
        /// The node.
        node: String,
    },
    /// The program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It printed something else than expected.
    #[error("pg_controldata says nothing of `{field}` in {dir}", dir = dir.display())]
    Missing {
        /// What was looked for.
        field: &'static str,
        /// The data directory.
        dir: PathBuf,
    },
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none that is understood.
    #[error("{path}: {why}", path = path.display())]
    Unknown {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// How long removing the WAL may take; there may be very much of it.
pub const RESETWAL_LIMIT: Duration = Duration::from_secs(600);

/// Throws away the WAL of a data directory and lets its server start without recovery, whatever is lost by that. Unsafe
/// unless the server was shut down in order, and of no use then.
pub async fn resetwal(
    programs: &Programs,
    user: Option<&User>,
    dir: &Path,
    inventory: &Arc<Inventory>,
) -> Result<(), CommandError> {
    let command = Command::new(programs.path("pg_resetwal"), RESETWAL_LIMIT).args(resetwal_args(dir)).user(user);
    command.run(inventory).await.map(drop)
}

/// The arguments of such a `pg_resetwal`.
pub fn resetwal_args(dir: &Path) -> Vec<OsString> {
    vec!["--force".into(), "--pgdata".into(), dir.into()]
}

/// Where the control file lies in a data directory.
pub const CONTROL_FILE: &str = "global/pg_control";
/// Reads the control file of a data directory without `pg_controldata`, for servers whose programs are not on
/// this machine. The file must have been written by a machine of the same byte order.
pub fn read_control_file(dir: &Path) -> Result<ControlData, ControlError> {
    ControlFile::read(dir).map(ControlData::from)
}

/// What the bytes of a control file say, else what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<ControlData, String> {
    ControlFile::decode(bytes).map(ControlData::from)
}

/// Reads the control file of a data directory.
pub async fn control_data(
    programs: &Programs,
    user: Option<&User>,
    dir: &Path,
    inventory: &Arc<Inventory>,
) -> Result<ControlData, ControlError> {
    let command = Command::new(programs.path("pg_controldata"), CONTROLDATA_LIMIT).arg("-D").arg(dir).user(user);
    let printed = command.run(inventory).await?.stdout;
    parse(&printed).map_err(|field| ControlError::Missing { field, dir: dir.to_owned() })
}

fn parse(printed: &str) -> Result<ControlData, &'static str> {
    let field = |name: &'static str| {
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
        printed.lines().find_map(value).ok_or(name)
    };
    let (lsn, timeline) = ("Latest checkpoint location", "Latest checkpoint's TimeLineID");
    Ok(ControlData {
        state: field("Database cluster state")?,
        checkpoint: field(lsn)?.parse().map_err(|_| lsn)?,
        timeline: field(timeline)?.parse().map_err(|_| timeline)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_pg_controldata_prints() {
        let printed = "Database cluster state:               shut down in recovery\n\
                       Latest checkpoint location:           0/3000028\n\
                       Latest checkpoint's REDO location:    0/3000028\n\
                       Latest checkpoint's TimeLineID:       2\n";
        let data = parse(printed).unwrap();
        assert_eq!((data.checkpoint, data.timeline, data.is_shut_down()), (Lsn(0x300_0028), 2, true));
        assert_eq!(parse("Database cluster state: in production"), Err("Latest checkpoint location"));
    }
}
