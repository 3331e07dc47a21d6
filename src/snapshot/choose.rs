//! Which driver is the best for a directory: `auto`.

use super::origin::{self, Origin};
use super::{SnapshotDriver, SnapshotError, aside, btrfs};
use crate::base::inventory::Inventory;
use crate::base::mounts::Mounts;
use crate::base::zfs;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// What was chosen for a directory, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The driver.
    pub driver: SnapshotDriver,
    /// The file system's kind, as the kernel names it.
    pub file_system: String,
    /// In a sentence or two: why it, and why none that is better.
    pub why: String,
}

/// Opens `dir` with the best driver that its file system, the programs of this machine and this user's rights allow.
pub async fn choose(dir: &Path, inventory: &Arc<Inventory>) -> Result<(Origin, Choice), SnapshotError> {
    let (dir, inventory) = (dir.to_owned(), inventory.clone());
    aside(move || {
        let dir = fs::canonicalize(&dir).map_err(SnapshotError::at(&dir))?;
        let mounts = origin::mounts()?;
        chosen(&mounts, &dir, |driver| Origin::open_here(driver, &dir, inventory.clone()))
    })
    .await
}

/// What [`choose`] would take, without opening it: for whoever only asks what a place offers.
pub fn look(dir: &Path) -> Result<Choice, SnapshotError> {
    let dir = fs::canonicalize(dir).map_err(SnapshotError::at(dir))?;
    let (_, choice) = chosen(&origin::mounts()?, &dir, |driver| origin::examine(driver, &dir).map(drop))?;
    Ok(choice)
}

/// [`choose`], with the table of mounts and the trying given.
fn chosen<T>(
    mounts: &Mounts,
    dir: &Path,
    mut open: impl FnMut(SnapshotDriver) -> Result<T, SnapshotError>,
) -> Result<(T, Choice), SnapshotError> {
    let file_system = origin::over(mounts, dir)?.kind.clone();
    let mut refused = String::new();
    let better = better(&file_system).iter().find_map(|&driver| match open(driver) {
        Ok(opened) => Some((driver, opened)),
        Err(error) => {
            refused += &format!("; not `{driver}`: {}", in_a_line(&error));
            None
        }
    });
    let (driver, opened) = match better {
        Some(better) => better,
        None => (SnapshotDriver::Copy, open(SnapshotDriver::Copy)?),
    };
    let why = format!("{}{refused}", reason(driver, &file_system));
    Ok((opened, Choice { driver, file_system, why }))
}

/// What may be better than copying on such a file system, the best first. Not `reflink` on ZFS, where cloned blocks were corrupt
/// (OpenZFS #15526) and are off by default before 2.3; whoever wants it names it.
fn better(file_system: &str) -> &'static [SnapshotDriver] {
    match file_system {
        kind if zfs::KINDS.contains(&kind) => &[SnapshotDriver::Zfs],
        btrfs::KIND => &[SnapshotDriver::Btrfs, SnapshotDriver::Reflink],
        _ => &[SnapshotDriver::Reflink],
    }
}

fn reason(driver: SnapshotDriver, file_system: &str) -> String {
    match driver {
        SnapshotDriver::Zfs => "its dataset can be cloned as of one instant, with every write before it".to_owned(),
        SnapshotDriver::Btrfs => "its subvolume can be cloned as of one instant".to_owned(),
        SnapshotDriver::Reflink => format!("{file_system} lets files share their blocks"),
        SnapshotDriver::Copy => format!("nothing on {file_system} can be shared here"),
    }
}

/// What an error says, with its hint if that is what to install.
fn in_a_line(error: &SnapshotError) -> String {
    let text = match error {
        SnapshotError::Impossible { why, .. } => why.clone(),
        error => error.to_string(),
    };
    let (said, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
    let said = said.replace('\n', "; ");
    if hint.starts_with("apt-get ") { format!("{said} ({hint})") } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tool::ToolError;

    const TABLE: &str = "\
        28 1 254:0 / / rw - ext4 /dev/vda rw\n\
        90 28 0:44 /pg /srv/btrfs rw,relatime - btrfs /dev/sdb rw,subvol=/pg\n\
        91 28 8:17 / /srv/xfs rw - xfs /dev/sdb1 rw\n\
        92 28 0:45 / /srv/zfs rw - zfs tank/pg rw,xattr\n\
        93 28 0:46 / /srv/fuse rw - fuse.zfs lab rw,user_id=0\n";

    fn impossible(driver: SnapshotDriver, why: &str) -> SnapshotError {
        SnapshotError::Impossible { driver, dir: "/srv".into(), why: why.to_owned(), hint: "none".to_owned() }
    }

    fn at(dir: &str, mut fails: impl FnMut(SnapshotDriver) -> Option<SnapshotError>) -> Choice {
        let open = |driver| fails(driver).map_or(Ok(()), Err);
        chosen(&Mounts::parse(TABLE), Path::new(dir), open).unwrap().1
    }

    #[test]
    fn takes_the_best_that_the_file_system_has() {
        let best = |dir| at(dir, |_| None).driver;
        assert_eq!(best("/srv/zfs/15/main"), SnapshotDriver::Zfs);
        assert_eq!(best("/srv/fuse"), SnapshotDriver::Zfs);
        assert_eq!(best("/srv/btrfs/main"), SnapshotDriver::Btrfs);
        assert_eq!(best("/srv/xfs/main"), SnapshotDriver::Reflink);
        assert_eq!(at("/srv/btrfs/main", |_| None).why, "its subvolume can be cloned as of one instant");
    }

    #[test]
    fn says_why_none_that_is_better() {
        let missing = || zfs::failed("x")(ToolError::Missing { program: "zfs", package: "zfsutils-linux" });
        let choice = at("/srv/zfs", |driver| (driver == SnapshotDriver::Zfs).then(|| SnapshotError::Zfs(missing())));
        assert_eq!(choice.driver, SnapshotDriver::Copy);
        assert_eq!(choice.file_system, "zfs");
        let said =
            "nothing on zfs can be shared here; not `zfs`: no ZFS answers: `zfs` is not installed (apt-get install";
        assert!(choice.why.starts_with(said), "{}", choice.why);

        let choice = at("/srv/btrfs", |driver| {
            (driver == SnapshotDriver::Btrfs).then(|| impossible(driver, "/srv/btrfs/x is a subvolume of its own"))
        });
        assert_eq!(choice.driver, SnapshotDriver::Reflink);
        let said = "btrfs lets files share their blocks; not `btrfs`: /srv/btrfs/x is a subvolume of its own";
        assert_eq!(choice.why, said);

        let choice = at("/var/lib", |driver| {
            (driver == SnapshotDriver::Reflink).then(|| impossible(driver, "ext4 does not let files share blocks here"))
        });
        assert_eq!((choice.driver, choice.file_system.as_str()), (SnapshotDriver::Copy, "ext4"));
    }

    #[test]
    fn what_cannot_even_be_copied_is_an_error() {
        let all = |driver| Err::<(), _>(impossible(driver, "it cannot be read"));
        let error = chosen(&Mounts::parse(TABLE), Path::new("/"), all).unwrap_err().to_string();
        assert!(error.starts_with("copy cannot copy /srv: it cannot be read"), "{error}");
    }
}
