//! What is mounted where, as `/proc/self/mountinfo` says (proc(5)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The kernel's table.
const TABLE: &str = "/proc/self/mountinfo";

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The number of the file system, `major:minor`. Unlike `st_dev` it is one for all subvolumes of a btrfs.
    pub device: String,
    /// Which of its directories is mounted, `/` for all of it.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Its kind: `ext4`, `btrfs`, `zfs`, `fuse.zfs`, …
    pub kind: String,
    /// A device, a dataset, or any word.
    pub source: String,
}

/// The mounts, in the kernel's order: later ones lie on top of earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Those of now, as this process sees them.
    pub fn read() -> io::Result<Mounts> {
        fs::read_to_string(TABLE).map(|text| Mounts::parse(&text))
    }

    /// Those that a text in the form of `mountinfo` lists. Lines of another form are passed over.
    pub fn parse(text: &str) -> Mounts {
        Mounts(text.lines().filter_map(mount).collect())
    }

    /// What is mounted at exactly `path`.
    pub fn at(&self, path: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == path)
    }

    /// The file system that `path` is on, which is absolute and without symbolic links: that of the longest mount
    /// point above it; of equal ones the last, which covers the others.
    pub fn over(&self, path: &Path) -> Option<&Mount> {
        // `max_by_key` takes the last of equal ones.
        self.0.iter().filter(|mount| path.starts_with(&mount.point)).max_by_key(|mount| mount.point.as_os_str().len())
    }

    /// What is mounted below `path`, but not at it.
    pub fn below<'m>(&'m self, path: &Path) -> impl Iterator<Item = &'m Mount> + use<'m> {
        let path = path.to_owned();
        self.0.iter().filter(move |mount| mount.point != path && mount.point.starts_with(&path))
    }
}

fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let (mut before, mut after) = (before.split(' ').skip(2), after.split(' '));
    Some(Mount {
        device: before.next()?.to_owned(),
        root: plain(before.next()?).into(),
        point: plain(before.next()?).into(),
        kind: after.next()?.to_owned(),
        source: plain(after.next()?),
    })
}

/// The kernel writes blanks, tabs, line ends and backslashes in octal.
fn plain(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (written, meant)| text.replace(written, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Mounts {
        Mounts::parse(
            "28 1 254:0 / / rw - ext4 /dev/vda rw\n\
             no line of the table\n\
             90 28 7:1 / /w/a\\040b rw,relatime shared:7 - ext4 /dev/loop1 rw\n\
             91 90 0:40 /sub /w/a\\040b rw - btrfs /dev/loop2 rw,subvol=/sub\n\
             92 28 0:41 / /w/z rw - fuse.zfs lab/data rw,user_id=0\n",
        )
    }

    #[test]
    fn finds_what_is_on_top() {
        let table = table();
        assert_eq!(table.at(Path::new("/w/a b")).unwrap().source, "/dev/loop2");
        assert_eq!(table.at(Path::new("/w/a b")).unwrap().root, Path::new("/sub"));
        assert_eq!(table.at(Path::new("/w/a")), None);
        assert_eq!(table.at(Path::new("/")).unwrap().kind, "ext4");
    }

    #[test]
    fn finds_the_file_system_of_a_path() {
        let table = table();
        let over = |path: &str| table.over(Path::new(path)).unwrap().source.clone();
        assert_eq!(over("/w/a b/c/d"), "/dev/loop2");
        assert_eq!(over("/w/zz"), "/dev/vda");
        assert_eq!(over("/w/z"), "lab/data");
        let below: Vec<_> = table.below(Path::new("/w")).map(|mount| mount.kind.as_str()).collect();
        assert_eq!(below, ["ext4", "btrfs", "fuse.zfs"]);
        assert_eq!(table.below(Path::new("/w/z")).count(), 0);
    }

    #[test]
    fn reads_the_table_of_this_machine() {
        assert!(Mounts::read().unwrap().over(Path::new("/")).is_some());
    }
}
