//! Programs of the operating system that set up networks, packet filters and file systems, and the
//! Debian package that brings each.

use super::exec::{Command, CommandError, in_words, plain_environment};
use super::inventory::Inventory;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long such a program may run; each does its work in milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// A program of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    program: &'static str,
    package: &'static str,
}

/// Network namespaces, devices, addresses, routes.
pub const IP: Tool = Tool { program: "ip", package: "iproute2" };
/// Shows the packet filter.
pub const IPTABLES: Tool = Tool { program: "iptables", package: "iptables" };
/// Changes the packet filter, many rules at once.
pub const IPTABLES_RESTORE: Tool = Tool { program: "iptables-restore", package: "iptables" };
/// Runs another program in a namespace.
pub const NSENTER: Tool = Tool { program: "nsenter", package: "util-linux" };
/// Mounts a file system.
pub const MOUNT: Tool = Tool { program: "mount", package: "mount" };
/// Unmounts a file system.
pub const UMOUNT: Tool = Tool { program: "umount", package: "mount" };
/// Detaches a loop device.
pub const LOSETUP: Tool = Tool { program: "losetup", package: "mount" };
/// Makes a file system.
pub const MKFS_EXT4: Tool = Tool { program: "mkfs.ext4", package: "e2fsprogs" };
/// Makes a file system.
pub const MKFS_BTRFS: Tool = Tool { program: "mkfs.btrfs", package: "btrfs-progs" };
/// Makes a file system.
pub const MKFS_XFS: Tool = Tool { program: "mkfs.xfs", package: "xfsprogs" };
/// Datasets of ZFS.
pub const ZFS: Tool = Tool { program: "zfs", package: "zfsutils-linux" };
/// Pools of ZFS.
pub const ZPOOL: Tool = Tool { program: "zpool", package: "zfsutils-linux" };

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It is not installed.
    #[error("`{program}` is not installed\nhint: apt-get install -y {package}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// It failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Tool {
    /// Where it is: on PATH or where Debian puts programs for root, whose PATH may lack those.
    pub fn path(&self) -> Result<PathBuf, ToolError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from));
        let found = dirs.map(|dir| dir.join(self.program)).find(|file| is_program(file));
        found.ok_or(ToolError::Missing { program: self.program, package: self.package })
    }

    /// It, with arguments.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Command, ToolError> {
        Ok(Command::new(self.path()?, LIMIT).args(args))
    }

    /// Runs it and returns what it printed.
    pub async fn run<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        inventory: &Arc<Inventory>,
    ) -> Result<String, ToolError> {
        Ok(self.command(args)?.run(inventory).await?.stdout)
    }

    /// Runs it in this thread and returns what it printed; for undoing, when no runtime may be there, and
    /// no inventory that could be written.
    pub fn run_here<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String, ToolError> {
        let command = self.command(args)?;
        let mut here = command.in_std();
        plain_environment(&mut here);
        let output = here.output().map_err(|source| CommandError::Start { argv: command.argv(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(CommandError::Failed { argv: command.argv(), status: in_words(output.status), stderr }.into())
    }
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let missing = Tool { program: "no-such-program", package: "some-package" };
        let error = missing.run_here(["-x"]).unwrap_err().to_string();
        assert_eq!(error, "`no-such-program` is not installed\nhint: apt-get install -y some-package");
    }

    #[test]
    fn runs_and_shows_the_whole_error() {
        let sh = Tool { program: "sh", package: "dash" };
        assert_eq!(sh.run_here(["-c", "echo $LC_ALL"]).unwrap(), "C\n");
        let error = sh.run_here(["-c", "echo why >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("exited with status 3") && error.contains("why"), "{error}");
    }
}
