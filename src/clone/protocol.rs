//! What keeps the copy of a directory whole, derived from how it is copied, what its server is and what may be done
//! to it. Nothing here touches anything.
//!
//! A copy can be recovered when it is of one moment, as a power failure would have left the disk, or when the WAL of
//! all the time that copying took comes with it. The first holds for a snapshot at once over the whole directory, if the
//! file system also keeps the order of writes (ZFS), or the server waits for its WAL to be on disk before it goes on
//! (`fsync = on`) and repairs pages of which only a part was written (`full_page_writes = on`). It holds for any copy
//! while no process of the server moves. The second is what the backup interface does.

use super::recipe::{Mode, Protect};
use crate::pg::control_file::WalLevel;
use crate::snapshot::Capabilities;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What keeps a copy whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Nothing more is needed: the snapshot is of one moment.
    Atomic,
    /// The backup interface.
    Backup,
    /// The source stands still meanwhile.
    Freeze,
    /// No server runs on the directory.
    Stopped,
}

impl Protocol {
    /// As records have it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Atomic => "atomic",
            Protocol::Backup => "backup",
            Protocol::Freeze => "freeze",
            Protocol::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Atomic => "an atomic snapshot",
            Protocol::Backup => "the backup interface",
            Protocol::Freeze => "a frozen source",
            Protocol::Stopped => "a stopped source",
        })
    }
}

/// How the bytes are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// By a snapshot driver that can do this.
    Snapshot(Capabilities),
    /// By `pg_basebackup`, which uses the backup interface itself.
    Basebackup,
}

/// What the source is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// A server runs on the directory.
    pub running: bool,
    /// `fsync`.
    pub fsync: bool,
    /// `full_page_writes`; of a standby that of its primary, as far as it is known.
    pub full_page_writes: bool,
    /// What the server writes to its WAL.
    pub wal_level: WalLevel,
    /// It is a standby.
    pub in_recovery: bool,
    /// We may freeze it: it is the harness's own.
    pub ours: bool,
}

/// Why a directory is not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A stopped source was asked for.
    #[error("a server runs on the directory, and the clone is to be made from a stopped one\nhint: stop it first")]
    Runs,
    /// There is nobody to ask for a backup, or to freeze.
    #[error("no server runs on the directory, which {0} needs\nhint: leave `protect` out")]
    Stopped(&'static str),
    /// Somebody else's server is not frozen.
    #[error(
        "the source is somebody else's server, which is not frozen\n\
         hint: `protect = \"backup\"` uses the backup interface"
    )]
    NotOurs,
    /// The backup interface does not work with this `wal_level`.
    #[error(
        "the source runs with `wal_level = minimal`, with which there is no backup interface\n\
         hint: set `wal_level = replica`, or put its directory on a file system with snapshots"
    )]
    Minimal,
    /// Order of writes is not kept by anybody.
    #[error(
        "the source runs with `{setting} = off`, and a snapshot of this file system does not keep the order of its \
         writes: it could not be recovered\n\
         hint: set `{setting} = on`, or use `protect = \"backup\"`"
    )]
    Order {
        /// The setting.
        setting: &'static str,
    },
    /// `pg_resetwal` on a copy that is not of one moment.
    #[error(
        "`resetwal` throws away the WAL that would repair a copy that is not of one moment\n\
         hint: it needs a file system with snapshots, a source that can be frozen, or a stopped one"
    )]
    Torn,
    /// `pg_basebackup` needs one that moves.
    #[error("a frozen source answers nobody, and `basebackup` asks it\nhint: leave `protect` out")]
    Frozen,
    /// `pg_basebackup` needs a server.
    #[error("no server runs on the directory, and `basebackup` asks a server\nhint: `method = \"copy\"`")]
    NobodyToAsk,
}

/// What keeps the copy whole.
pub fn derive(fetch: Fetch, source: Situation, ask: Protect, mode: Mode) -> Result<Protocol, Refused> {
    let freeze = || if source.ours { Ok(Protocol::Freeze) } else { Err(Refused::NotOurs) };
    let backup = || match (mode, source.wal_level) {
        (Mode::Resetwal(_), _) => Err(Refused::Torn),
        (_, WalLevel::Minimal) => Err(Refused::Minimal),
        _ => Ok(Protocol::Backup),
    };
    let can = match fetch {
        Fetch::Basebackup if !source.running => return Err(Refused::NobodyToAsk),
        Fetch::Basebackup => match ask {
            Protect::Auto | Protect::Backup => return backup(),
            Protect::Freeze => return Err(Refused::Frozen),
            Protect::Stopped => return Err(Refused::Runs),
        },
        Fetch::Snapshot(can) => can,
    };
    match ask {
        Protect::Backup if !source.running => Err(Refused::Stopped("the backup interface")),
        Protect::Freeze if !source.running => Err(Refused::Stopped("freezing")),
        _ if !source.running => Ok(Protocol::Stopped),
        Protect::Stopped => Err(Refused::Runs),
        Protect::Backup => backup(),
        Protect::Freeze => freeze(),
        Protect::Auto if can.atomic => match broken_order(can, source) {
            None => Ok(Protocol::Atomic),
            Some(setting) => freeze().or_else(|_| backup()).map_err(|_| Refused::Order { setting }),
        },
        // A standby makes no backup of what it has replayed without whole pages, and cannot be told to.
        Protect::Auto if source.in_recovery && !source.full_page_writes => freeze().or_else(|_| backup()),
        Protect::Auto => backup().or_else(|why| freeze().map_err(|_| why)),
    }
}

/// The setting with which a snapshot at once over the whole directory still could not be recovered.
fn broken_order(can: Capabilities, source: Situation) -> Option<&'static str> {
    match (can.keeps_write_order, source.fsync, source.full_page_writes) {
        (true, _, _) | (false, true, true) => None,
        (false, false, _) => Some("fsync"),
        (false, true, false) => Some("full_page_writes"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recipe::{Recovery, Resetwal};
    use super::*;
    use crate::snapshot::Sharing;

    fn can(atomic: bool, keeps_write_order: bool) -> Fetch {
        let shares_blocks = Sharing::Whole;
        let (shares_cache, quota) = (false, false);
        Fetch::Snapshot(Capabilities { atomic, keeps_write_order, shares_blocks, shares_cache, quota })
    }

    const ZFS: (bool, bool) = (true, true);
    const BTRFS: (bool, bool) = (true, false);
    const FILES: (bool, bool) = (false, false);
    const SAFE: Situation = Situation {
        running: true,
        fsync: true,
        full_page_writes: true,
        wal_level: WalLevel::Replica,
        in_recovery: false,
        ours: false,
    };

    fn derived(way: (bool, bool), source: Situation, ask: Protect) -> Result<Protocol, Refused> {
        derive(can(way.0, way.1), source, ask, Mode::Recovery(Recovery::default()))
    }

    #[test]
    fn by_itself_it_takes_what_disturbs_least() {
        let no_fsync = Situation { fsync: false, ..SAFE };
        let torn = Situation { full_page_writes: false, ..SAFE };
        let minimal = Situation { wal_level: WalLevel::Minimal, ..SAFE };
        let ours = |source| Situation { ours: true, ..source };
        let worst = Situation { fsync: false, ..minimal };
        for (way, source, expected) in [
            (ZFS, SAFE, Ok(Protocol::Atomic)),
            (ZFS, no_fsync, Ok(Protocol::Atomic)),
            (ZFS, worst, Ok(Protocol::Atomic)),
            (BTRFS, SAFE, Ok(Protocol::Atomic)),
            (BTRFS, minimal, Ok(Protocol::Atomic)),
            (BTRFS, ours(no_fsync), Ok(Protocol::Freeze)),
            (BTRFS, no_fsync, Ok(Protocol::Backup)),
            (BTRFS, torn, Ok(Protocol::Backup)),
            (BTRFS, worst, Err(Refused::Order { setting: "fsync" })),
            (
                BTRFS,
                Situation { full_page_writes: false, ..minimal },
                Err(Refused::Order { setting: "full_page_writes" }),
            ),
            (FILES, SAFE, Ok(Protocol::Backup)),
            (FILES, no_fsync, Ok(Protocol::Backup)),
            (FILES, ours(torn), Ok(Protocol::Backup)),
            (FILES, Situation { in_recovery: true, ..torn }, Ok(Protocol::Backup)),
            (FILES, Situation { in_recovery: true, ..ours(torn) }, Ok(Protocol::Freeze)),
            (FILES, Situation { in_recovery: true, ..ours(SAFE) }, Ok(Protocol::Backup)),
            (FILES, minimal, Err(Refused::Minimal)),
            (FILES, ours(minimal), Ok(Protocol::Freeze)),
            (FILES, Situation { running: false, ..worst }, Ok(Protocol::Stopped)),
            (ZFS, Situation { running: false, ..SAFE }, Ok(Protocol::Stopped)),
        ] {
            assert_eq!(derived(way, source, Protect::Auto), expected, "{way:?} {source:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_done_or_refused() {
        let ours = Situation { ours: true, ..SAFE };
        let stopped = Situation { running: false, ..ours };
        let minimal = Situation { wal_level: WalLevel::Minimal, ..ours };
        for (way, source, ask, expected) in [
            (ZFS, SAFE, Protect::Backup, Ok(Protocol::Backup)),
            (ZFS, ours, Protect::Freeze, Ok(Protocol::Freeze)),
            (FILES, SAFE, Protect::Freeze, Err(Refused::NotOurs)),
            (FILES, minimal, Protect::Backup, Err(Refused::Minimal)),
            (FILES, ours, Protect::Stopped, Err(Refused::Runs)),
            (FILES, stopped, Protect::Stopped, Ok(Protocol::Stopped)),
            (FILES, stopped, Protect::Backup, Err(Refused::Stopped("the backup interface"))),
            (FILES, stopped, Protect::Freeze, Err(Refused::Stopped("freezing"))),
        ] {
            assert_eq!(derived(way, source, ask), expected, "{way:?} {source:?} {ask:?}");
        }
    }

    #[test]
    fn resetwal_needs_a_copy_of_one_moment() {
        let mode = Mode::Resetwal(Resetwal::default());
        let ours = Situation { ours: true, ..SAFE };
        assert_eq!(derive(can(true, false), SAFE, Protect::Auto, mode), Ok(Protocol::Atomic));
        assert_eq!(derive(can(false, false), ours, Protect::Auto, mode), Ok(Protocol::Freeze));
        assert_eq!(derive(can(false, false), SAFE, Protect::Auto, mode), Err(Refused::Torn));
        assert_eq!(derive(can(false, false), ours, Protect::Backup, mode), Err(Refused::Torn));
        assert_eq!(derive(Fetch::Basebackup, ours, Protect::Auto, mode), Err(Refused::Torn));
    }

    #[test]
    fn is_recorded_as_it_is_called() {
        for protocol in [Protocol::Atomic, Protocol::Backup, Protocol::Freeze, Protocol::Stopped] {
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.name());
        }
    }

    #[test]
    fn basebackup_is_a_backup() {
        let mode = Mode::default();
        assert_eq!(derive(Fetch::Basebackup, SAFE, Protect::Auto, mode), Ok(Protocol::Backup));
        for (source, ask, expected) in [
            (Situation { running: false, ..SAFE }, Protect::Auto, Refused::NobodyToAsk),
            (Situation { wal_level: WalLevel::Minimal, ..SAFE }, Protect::Auto, Refused::Minimal),
            (SAFE, Protect::Freeze, Refused::Frozen),
            (SAFE, Protect::Stopped, Refused::Runs),
        ] {
            assert_eq!(derive(Fetch::Basebackup, source, ask, mode), Err(expected));
        }
    }
}
