//! What a node's own file system is: `disk = "1GB"`, or `disk = { size = "1GB", fs = "btrfs" }`.

use crate::base::tool::{MKFS_BTRFS, MKFS_EXT4, MKFS_XFS, Tool};
use crate::base::units::Size;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The kind of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Which most servers stand on.
    #[default]
    Ext4,
    /// A data directory on it is a subvolume, which can be cloned as of one instant.
    Btrfs,
    /// Files can share their blocks.
    Xfs,
    /// A data directory on it is a dataset, which can be cloned as of one instant.
    Zfs,
}

/// How a file becomes a file system that the kernel mounts through a loop device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub tool: Tool,
    pub args: &'static [&'static str],
    /// Options of the mount.
    pub options: &'static str,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 4] = [Format::Ext4, Format::Btrfs, Format::Xfs, Format::Zfs];

    /// Its name, as the kernel and scenarios have it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Ext4 => "ext4",
            Format::Btrfs => "btrfs",
            Format::Xfs => "xfs",
            Format::Zfs => "zfs",
        }
    }

    /// The least size that makes sense: what it takes for itself, and room for an empty cluster with its WAL (measured:
    /// of 160MB btrfs leaves 79, for it keeps its own data twice, and refuses less than 109; of 300MB XFS leaves 219, and
    /// refuses less; of 128MB ZFS leaves 89, and refuses less than 64).
    pub fn least(self) -> Size {
        match self {
            Format::Ext4 => Size(64 << 20),
            Format::Btrfs => Size(160 << 20),
            Format::Xfs => Size(300 << 20),
            Format::Zfs => Size(128 << 20),
        }
    }

    /// How it is made in a file, for those that the kernel itself mounts.
    pub(super) fn recipe(self) -> Option<Recipe> {
        let recipe = |tool, args, options| Some(Recipe { tool, args, options });
        match self {
            // Nothing is reserved for root, nothing is written after the mount.
            Format::Ext4 => recipe(MKFS_EXT4, &["-q", "-F", "-m", "0"], "loop,noinit_itable"),
            Format::Btrfs => recipe(MKFS_BTRFS, &["-q"], "loop"),
            Format::Xfs => recipe(MKFS_XFS, &["-q", "-m", "reflink=1"], "loop"),
            Format::Zfs => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A file system of a node's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnDisk {
    /// Of the device: the file system takes some for itself.
    pub size: Size,
    /// Its kind.
    pub format: Format,
}

impl fmt::Display for OwnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            Format::Ext4 => write!(f, "{}", self.size),
            format => write!(f, "{} ({format})", self.size),
        }
    }
}

/// As it is written with its kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    size: Size,
    #[serde(default)]
    fs: Format,
}

impl<'de> Deserialize<'de> for OwnDisk {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = OwnDisk;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"1GB\", or a table such as { size = \"1GB\", fs = \"btrfs\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OwnDisk, E> {
                let size = Size::deserialize(StrDeserializer::new(text))?;
                Ok(OwnDisk { size, format: Format::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OwnDisk, A::Error> {
                let Table { size, fs } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(OwnDisk { size, format: fs })
            }
        }
        from.deserialize_any(Visit)
    }
}

/// As it is read: a size alone, where that says it all.
impl Serialize for OwnDisk {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.format == Format::default() {
            return self.size.serialize(to);
        }
        let mut table = to.serialize_struct("disk", 2)?;
        table.serialize_field("size", &self.size)?;
        table.serialize_field("fs", &self.format)?;
        table.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Node {
        disk: OwnDisk,
    }

    fn read(text: &str) -> Result<OwnDisk, String> {
        toml::from_str(text).map(|node: Node| node.disk).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_size_alone_or_with_its_kind() {
        let plain = read("disk = '1GB'").unwrap();
        assert_eq!(plain, OwnDisk { size: Size(1 << 30), format: Format::Ext4 });
        let table = read("disk = { size = '2GB', fs = 'btrfs' }").unwrap();
        assert_eq!(table, OwnDisk { size: Size(2 << 30), format: Format::Btrfs });
        assert_eq!(read("disk = { size = '1GB' }").unwrap(), plain);
        assert_eq!((plain.to_string(), table.to_string()), ("1GB".to_owned(), "2GB (btrfs)".to_owned()));
    }

    #[test]
    fn goes_through_json_unchanged() {
        for text in ["disk = '1GB'", "disk = { size = '2GB', fs = 'zfs' }"] {
            let disk = read(text).unwrap();
            let json = serde_json::to_string(&disk).unwrap();
            assert_eq!(serde_json::from_str::<OwnDisk>(&json).unwrap(), disk, "{json}");
        }
        assert_eq!(serde_json::to_string(&read("disk = '1GB'").unwrap()).unwrap(), "\"1GB\"");
    }

    #[test]
    fn what_is_neither_says_what_is_right() {
        assert!(read("disk = 7").unwrap_err().contains("a size such as \"1GB\", or a table"));
        assert!(read("disk = { fs = 'xfs' }").unwrap_err().contains("missing field `size`"));
        assert!(read("disk = { size = '1GB', fs = 'ntfs' }").unwrap_err().contains("`ext4`"));
        assert!(read("disk = { size = '1GB', format = 'xfs' }").unwrap_err().contains("unknown field `format`"));
    }
}
