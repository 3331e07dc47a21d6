//! The operating-system user that servers and their helper commands run as.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// A user to drop to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
}

impl User {
    /// Looks a user up by name.
    pub fn named(name: &str) -> io::Result<Option<User>> {
        let found = nix::unistd::User::from_name(name)?;
        Ok(found.map(|user| User { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir }))
    }

    /// Looks a user up by id.
    pub fn with_id(uid: u32) -> io::Result<Option<User>> {
        let found = nix::unistd::User::from_uid(uid.into())?;
        Ok(found.map(|user| User { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir }))
    }

    /// What this process's user is called: by name, or by number when the system knows no name.
    pub fn own_name() -> String {
        let own = nix::unistd::geteuid();
        nix::unistd::User::from_uid(own).ok().flatten().map_or_else(|| own.to_string(), |user| user.name)
    }

    /// Makes `command` run as this user, without supplementary groups.
    pub fn run(&self, command: &mut std::process::Command) {
        command.uid(self.uid).gid(self.gid).env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
    }

    /// Gives a file or directory to this user. A symbolic link is not followed.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
    }
}
