//! How much room a file system has.

use std::io;
use std::path::Path;

/// Bytes that this user may still write on the file system of `path`. The nearest existing parent is
/// asked when `path` does not exist yet.
pub fn free(path: &Path) -> io::Result<u64> {
    let path = std::path::absolute(path)?;
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let stat = nix::sys::statvfs::statvfs(existing)?;
    Ok(stat.blocks_available() as u64 * stat.fragment_size() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn asks_the_nearest_existing_parent() {
        let here = super::free(&std::env::temp_dir()).unwrap();
        let below = super::free(&std::env::temp_dir().join("not/there/yet")).unwrap();
        assert!(here > 0 && below > 0);
    }
}
