//! How a clone is to be made, as a person writes it.

use crate::base::units::Size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How a clone is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// What is done to the copy before its server accepts anybody.
    pub mode: Mode,
    /// How the data directory is copied.
    pub method: Method,
    /// What keeps the copy of a live directory whole.
    pub protect: Protect,
    /// Whether autovacuum runs in the clone.
    pub autovacuum: bool,
    /// Of the source's preloaded libraries those that the clone loads, too. All others stay out: they may start
    /// background jobs that reach beyond the clone.
    pub preload: Vec<String>,
    /// What becomes of prepared transactions, which hold their locks in the clone, too.
    pub prepared: Prepared,
    /// Settings of the clone's server, over those that it gets by itself.
    pub settings: BTreeMap<String, String>,
    /// What must be left free on the file system when the copy is made: the source may need it, and a server that finds
    /// no room for its WAL goes down.
    pub reserve: Size,
    /// Bytes that the clone may have of its own; then its server finds the disk full, and nobody else does. Only on ZFS;
    /// absent: as many as there are.
    pub quota: Option<Size>,
    /// The first real query, timed cold and again warm; absent: none is asked.
    pub query: Option<String>,
}

/// Eight WAL segments.
const RESERVE: Size = Size(128 << 20);

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            mode: Mode::default(),
            method: Method::default(),
            protect: Protect::default(),
            autovacuum: false,
            preload: Vec::new(),
            prepared: Prepared::default(),
            settings: BTreeMap::new(),
            reserve: RESERVE,
            quota: None,
            query: None,
        }
    }
}

/// What is done to the copy before its server accepts anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The server recovers, as after a crash; what was committed at the request is there.
    Recovery(Recovery),
    /// `pg_resetwal` throws the WAL away instead of recovering. Unsafe: what the checkpoint had not written is lost
    /// or torn, also right after a checkpoint when the source is written to.
    Resetwal(Resetwal),
    /// Clones come from a copy that was recovered and stopped in order before; they are as old as that.
    Precooked(Precooked),
}

/// Settings of [`Mode::Recovery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recovery {
    /// Whether the source makes a checkpoint first, so that there is little to recover.
    pub checkpoint: bool,
}

/// Settings of [`Mode::Resetwal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resetwal {
    /// Whether the source makes a checkpoint first, so that less is lost.
    pub checkpoint: bool,
}

/// Settings of [`Mode::Precooked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Precooked {
    /// Whether the source makes a checkpoint before the base is copied.
    pub checkpoint: bool,
}

impl Default for Recovery {
    fn default() -> Self {
        Recovery { checkpoint: true }
    }
}

impl Default for Resetwal {
    fn default() -> Self {
        Resetwal { checkpoint: true }
    }
}

impl Default for Precooked {
    fn default() -> Self {
        Precooked { checkpoint: true }
    }
}

impl Default for Mode {
    fn default() -> Self {
        Mode::Recovery(Recovery::default())
    }
}

impl Mode {
    /// Whether the source makes a checkpoint first.
    pub fn checkpoint(self) -> bool {
        match self {
            Mode::Recovery(mode) => mode.checkpoint,
            Mode::Resetwal(mode) => mode.checkpoint,
            Mode::Precooked(mode) => mode.checkpoint,
        }
    }

    /// Whether a clone made so may be inconsistent.
    pub fn is_unsafe(self) -> bool {
        matches!(self, Mode::Resetwal(_))
    }
}

/// As results have it. What is unsafe says so.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Recovery(_) => "recovery",
            Mode::Resetwal(_) => "resetwal (unsafe)",
            Mode::Precooked(_) => "precooked",
        })?;
        f.write_str(if self.checkpoint() { "" } else { " without checkpoint" })
    }
}

/// How the data directory is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The best that the directory's file system allows.
    #[default]
    Auto,
    /// A ZFS snapshot, and a clone of it.
    Zfs,
    /// A btrfs snapshot.
    Btrfs,
    /// Every file shares its blocks with the source's.
    Reflink,
    /// Every byte is copied.
    Copy,
    /// `pg_basebackup`, over the network.
    Basebackup,
}

impl Method {
    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            Method::Auto => "auto",
            Method::Zfs => "zfs",
            Method::Btrfs => "btrfs",
            Method::Reflink => "reflink",
            Method::Copy => "copy",
            Method::Basebackup => "basebackup",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What keeps the copy of a live directory whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protect {
    /// Whatever the way of copying needs.
    #[default]
    Auto,
    /// The backup interface: recovery from a checkpoint made for it, with all WAL since.
    Backup,
    /// Every process of the source stands still while it is copied.
    Freeze,
    /// No server runs on the directory.
    Stopped,
}

/// What becomes of prepared transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prepared {
    /// They stay, with their locks.
    #[default]
    Keep,
    /// They are rolled back in the clone.
    Rollback,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_written_as_it_is_read() {
        let text = "method = \"reflink\"\nprotect = \"freeze\"\nautovacuum = true\npreload = [\"auto_explain\"]\n\
                    prepared = \"rollback\"\nreserve = \"1GB\"\nquota = \"2GB\"\nquery = \"SELECT 1\"\n\n[mode.resetwal]\ncheckpoint = false\n\n\
                    [settings]\nwork_mem = \"64MB\"\n";
        let recipe: Recipe = toml::from_str(text).unwrap();
        assert_eq!((recipe.mode, recipe.reserve), (Mode::Resetwal(Resetwal { checkpoint: false }), Size(1 << 30)));
        assert_eq!(recipe.quota, Some(Size(2 << 30)));
        assert_eq!(toml::from_str::<Recipe>(&toml::to_string(&recipe).unwrap()).unwrap(), recipe);
        assert_eq!(toml::from_str::<Recipe>("").unwrap().mode, Mode::Recovery(Recovery { checkpoint: true }));
        for wrong in ["methods = \"zfs\"", "method = \"lvm\"", "[mode.recovery]\ncheckpoints = true"] {
            assert!(toml::from_str::<Recipe>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_unsafe_is_named_so() {
        assert_eq!(Mode::Resetwal(Resetwal::default()).to_string(), "resetwal (unsafe)");
        let without = Mode::Resetwal(Resetwal { checkpoint: false });
        assert_eq!(without.to_string(), "resetwal (unsafe) without checkpoint");
        assert_eq!(Mode::default().to_string(), "recovery");
    }
}
