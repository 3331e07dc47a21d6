//! The server's helper programs that work on a data directory no server runs on.

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

/// Where the control file lies in a data directory.
pub const CONTROL_FILE: &str = "global/pg_control";
/// The versions of the control file's layout that are known (`PG_CONTROL_VERSION`), of PostgreSQL 13 to 18: in
/// all of them what is read here lies at the same places.
const LAYOUTS: [u32; 3] = [1300, 1700, 1800];
/// `DBState` in words, as `pg_controldata` prints them.
const STATES: [&str; 7] = [
    "starting up",
    "shut down",
    "shut down in recovery",
    "shutting down",
    "in crash recovery",
    "in archive recovery",
    "in production",
];

/// Reads the control file of a data directory without `pg_controldata`, for servers whose programs are not on
/// this machine. The file must have been written by a machine of the same byte order.
pub fn read_control_file(dir: &Path) -> Result<ControlData, ControlError> {
    let path = dir.join(CONTROL_FILE);
    let bytes = std::fs::read(&path).map_err(|source| ControlError::Io { path: path.clone(), source })?;
    decode(&bytes).map_err(|why| ControlError::Unknown { path, why })
}

/// What the bytes of a control file say, else what is wrong with them.
///
/// `ControlFileData` (`pg_control.h`): `system_identifier`, `pg_control_version` at 8, `state` at 16, `checkPoint`
/// at 32, and from 40 on the checkpoint itself, in which `ThisTimeLineID` follows `redo`.
pub fn decode(bytes: &[u8]) -> Result<ControlData, String> {
    let short = || format!("it is only {} bytes long", bytes.len());
    let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let layout = u32_at(8).ok_or_else(short)?;
    if !LAYOUTS.contains(&layout) {
        return Err(format!("version {layout} of its layout is not known"));
    }
    let state = u32_at(16).ok_or_else(short)?;
    let known = usize::try_from(state).ok().and_then(|state| STATES.get(state));
    Ok(ControlData {
        state: (*known.ok_or_else(|| format!("state {state} is not known"))?).to_owned(),
        checkpoint: Lsn(u64_at(32).ok_or_else(short)?),
        timeline: u32_at(48).ok_or_else(short)?,
    })
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

    #[test]
    fn reads_the_file_itself() {
        let mut bytes = vec![0; 512];
        bytes[8..12].copy_from_slice(&1700u32.to_ne_bytes());
        bytes[16..20].copy_from_slice(&2u32.to_ne_bytes());
        bytes[32..40].copy_from_slice(&0x300_0028u64.to_ne_bytes());
        bytes[48..52].copy_from_slice(&2u32.to_ne_bytes());
        let data = decode(&bytes).unwrap();
        assert_eq!(
            (data.state.as_str(), data.checkpoint, data.timeline),
            ("shut down in recovery", Lsn(0x300_0028), 2)
        );
        assert_eq!(decode(&bytes[..40]), Err("it is only 40 bytes long".to_owned()));
        bytes[8..12].copy_from_slice(&1201u32.to_ne_bytes());
        assert_eq!(decode(&bytes), Err("version 1201 of its layout is not known".to_owned()));
    }
}
