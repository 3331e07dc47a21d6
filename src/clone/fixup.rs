//! Making a copy of a server's directory the clone's own: without what would make it follow, be followed, or be taken
//! for the source, and with a configuration of its own. Only the copy is written to; see [`Fence`].

use super::error::{CloneError, SourceError};
use super::fence::Fence;
use super::protocol::Protocol;
use super::settings::{HBA, IDENT};
use crate::pg::conf::postgresql_conf;
use crate::snapshot::Symlink;
use std::path::Path;

/// Files that only mean something where they were written.
const FOREIGN: &[&str] = &[
    // The server would take the source for one that runs on this directory.
    "postmaster.pid",
    "postmaster.opts",
    // It would follow the source's primary.
    "standby.signal",
    "recovery.signal",
    "promote",
    "logrotate",
    "current_logfiles",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
];

/// Files that the server reads where they lie, and that distributions like to link to elsewhere. The first of them a
/// clone has of its own; the others it needs not.
const CONFIGURATION: &[&str] =
    &["postgresql.conf", "postgresql.auto.conf", HBA, IDENT, "server.crt", "server.key", "root.crt", "root.crl"];

/// What was taken out of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TakenOut {
    /// Files.
    pub files: Vec<String>,
    /// How many replication slots.
    pub slots: usize,
}

/// Makes sure that no symbolic link leads out of the copy; those to configuration files are removed.
pub(super) fn links(fence: &Fence, links: &[Symlink], source: &Path) -> Result<(), CloneError> {
    for link in links.iter().filter(|link| link.leaves()) {
        match link.path.to_str().filter(|name| CONFIGURATION.contains(name)) {
            Some(name) => {
                fence.remove(name)?;
            }
            None => {
                let hint = "put it into the data directory, in place of the link";
                let (what, target) = (link.path.display().to_string(), link.target.clone());
                return Err(SourceError::Leaves { what, dir: source.to_owned(), target, hint }.into());
            }
        }
    }
    Ok(())
}

/// Takes out of the copy what is not the clone's.
pub(super) fn take_out(fence: &Fence, protocol: Protocol) -> Result<TakenOut, CloneError> {
    let mut out = TakenOut::default();
    // A label that lies in a snapshot of a running server is of a backup that somebody else was making (before
    // PostgreSQL 15): recovery would begin there, and end with an error. That of a stopped one belongs to it.
    let label = matches!(protocol, Protocol::Atomic | Protocol::Freeze).then_some("backup_label");
    for name in FOREIGN.iter().copied().chain(label) {
        if fence.remove(name)? {
            out.files.push(name.to_owned());
        }
    }
    // They would hold back WAL for standbys and subscribers that never come, or keep the server from starting.
    out.slots = fence.empty("pg_replslot")?;
    Ok(out)
}

/// Gives the copy its own configuration.
pub(super) fn configure(fence: &Fence, settings: &[(String, String)], hba: &str) -> Result<(), CloneError> {
    fence.write("postgresql.conf", &postgresql_conf(settings))?;
    fence.write("postgresql.auto.conf", "")?;
    fence.write(HBA, hba)?;
    fence.write(IDENT, "")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::inventory::MARK;
    use std::fs;
    use std::path::PathBuf;

    /// A place, in it a clone's data directory and its source's.
    fn lab() -> (tempfile::TempDir, PathBuf, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(root.path()).unwrap();
        let (data, source) = (real.join("clone/data"), real.join("source"));
        for dir in [&data, &source] {
            fs::create_dir_all(dir).unwrap();
            fs::write(dir.join("PG_VERSION"), "15\n").unwrap();
        }
        fs::write(real.join("clone").join(MARK), "r").unwrap();
        (root, real, data, source)
    }

    #[test]
    fn nothing_of_the_source_is_left_but_its_data() {
        let (_root, real, data, source) = lab();
        for name in FOREIGN.iter().chain(CONFIGURATION).chain(&["backup_label"]) {
            fs::write(data.join(name), "theirs").unwrap();
        }
        for slot in ["a", "b"] {
            fs::create_dir_all(data.join("pg_replslot").join(slot)).unwrap();
            fs::write(data.join("pg_replslot").join(slot).join("state"), "").unwrap();
        }
        let fence = Fence::open(&real.join("clone"), &data, "r", &source).unwrap();
        let out = take_out(&fence, Protocol::Stopped).unwrap();
        assert_eq!((out.files.len(), out.slots), (FOREIGN.len(), 2));
        assert!(data.join("backup_label").exists(), "it is the stopped server's own");
        assert_eq!(take_out(&fence, Protocol::Atomic).unwrap().files, ["backup_label"]);
        assert_eq!(take_out(&fence, Protocol::Atomic).unwrap(), TakenOut::default());

        configure(&fence, &[("port".to_owned(), "1".to_owned())], "local all all trust\n").unwrap();
        let read = |name: &str| fs::read_to_string(data.join(name)).unwrap();
        assert_eq!((read("postgresql.conf"), read("postgresql.auto.conf")), ("port = '1'\n".into(), String::new()));
        assert_eq!((read(HBA), read(IDENT)), ("local all all trust\n".into(), String::new()));
    }

    #[test]
    fn a_link_that_leaves_is_an_error_unless_it_is_configuration() {
        let (_root, real, data, source) = lab();
        std::os::unix::fs::symlink("/etc/ssl/certs/x.pem", data.join("server.crt")).unwrap();
        let fence = Fence::open(&real.join("clone"), &data, "r", &source).unwrap();
        let link = |path: &str, target: &str| Symlink { path: path.into(), target: target.into() };
        links(&fence, &[link("server.crt", "/etc/ssl/certs/x.pem"), link("pg_log", "log")], &source).unwrap();
        assert!(!data.join("server.crt").is_symlink());
        for bad in [link("pg_wal", "/wal"), link("base/5", "../../elsewhere")] {
            let error = links(&fence, &[bad], &source).unwrap_err().to_string();
            assert!(error.contains("the clone's server would write there, into the source's own files"), "{error}");
        }
    }
}
