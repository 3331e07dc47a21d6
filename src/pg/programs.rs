//! Finding the server's programs (`postgres`, `initdb`, …), which distributions like to keep off PATH.

use super::version::{Major, Version};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that a folder must hold to be of use.
const NEEDED: [&str; 3] = ["postgres", "initdb", "pg_controldata"];
/// How to get what is missing.
const INSTALL: &str = "apt-get install postgresql (Debian, Ubuntu) or dnf install postgresql-server (Fedora, RHEL) \
                       brings PostgreSQL; --postgres DIR names a folder that holds `postgres`";
/// How to get another version than the distribution's.
fn another(major: Major) -> String {
    format!(
        "apt-get install postgresql-{major} brings it, where the distribution or apt.postgresql.org has it; \
         --postgres DIR names a folder that holds its `postgres`; --driver docker takes the image postgres:{major}"
    )
}

/// A folder with one version of the server's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// The folder.
    pub dir: PathBuf,
    /// Their version.
    pub version: Version,
}

/// Why there are no programs to run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// None were found anywhere.
    #[error("no PostgreSQL server programs found on PATH, by pg_config or in distribution folders\nhint: {INSTALL}")]
    None,
    /// The folder that was named has none.
    #[error("{dir} does not hold PostgreSQL's server programs: {why}\nhint: {INSTALL}", dir = dir.display())]
    Explicit {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Not this version.
    #[error("no PostgreSQL {major} found; there is {there}\nhint: {}", another(*.major))]
    Version {
        /// The major version that was asked for.
        major: Major,
        /// What there is.
        there: String,
    },
}

/// The versions that can be run: all that were found, or those that were named.
#[derive(Clone, Debug, Default)]
pub struct Installed(Vec<Programs>);

impl Installed {
    /// Takes the folders in `explicit`, or looks for all there are when none is named. There is at least one.
    pub fn find(explicit: &[PathBuf]) -> Result<Installed, ProgramsError> {
        let mut found = match explicit {
            [] => Programs::all(),
            dirs => dirs.iter().map(|dir| Programs::explicit(dir)).collect::<Result<_, _>>()?,
        };
        // Stable: of equal versions the one that stands first on PATH, or was named first, wins.
        found.sort_by_key(|programs| std::cmp::Reverse(programs.version));
        if found.is_empty() { Err(ProgramsError::None) } else { Ok(Installed(found)) }
    }

    /// Those of version `major`; the newest when none is given.
    pub fn choose(&self, major: Option<Major>) -> Result<&Programs, ProgramsError> {
        let is_it = |programs: &&Programs| major.is_none_or(|major| programs.version.major == major.0);
        self.0.iter().find(is_it).ok_or_else(|| match major {
            None => ProgramsError::None,
            Some(major) => {
                let there: Vec<String> = self.iter().map(|programs| programs.version.to_string()).collect();
                ProgramsError::Version { major, there: there.join(" and ") }
            }
        })
    }

    /// Only those that servers of these versions need (`None`: the newest); an error when one is not there.
    pub fn needed(&self, majors: impl IntoIterator<Item = Option<Major>>) -> Result<Installed, ProgramsError> {
        let mut needed: Vec<Programs> = Vec::new();
        for major in majors {
            let chosen = self.choose(major)?;
            if !needed.contains(chosen) {
                needed.push(chosen.clone());
            }
        }
        needed.sort_by_key(|programs| std::cmp::Reverse(programs.version));
        Ok(Installed(needed))
    }

    /// All of them, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Programs> {
        self.0.iter()
    }
}

impl Programs {
    /// Path of one of them.
    pub fn path(&self, program: &str) -> PathBuf {
        self.dir.join(program)
    }

    /// Their major version.
    pub fn major(&self) -> Major {
        Major(self.version.major)
    }

    /// All that are found on PATH, by `pg_config` and in distribution folders, in this order.
    fn all() -> Vec<Programs> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).flat_map(|dir| real_dirs(&dir)).collect();
        dirs.extend(by_pg_config());
        dirs.extend(distribution_dirs());
        let mut seen = HashSet::new();
        dirs.into_iter()
            .filter_map(|dir| fs::canonicalize(dir).ok())
            .filter(|dir| seen.insert(dir.clone()))
            .filter_map(|dir| inspect(&dir).ok())
            .collect()
    }

    fn explicit(dir: &Path) -> Result<Programs, ProgramsError> {
        // The installation's root is as good an answer as its bin folder.
        let tries = [dir.to_owned(), dir.join("bin")];
        let real = tries.iter().chain(&real_dirs(dir)).find_map(|dir| inspect(&fs::canonicalize(dir).ok()?).ok());
        let why = || inspect(dir).err().unwrap_or_default();
        real.ok_or_else(|| ProgramsError::Explicit { dir: dir.to_owned(), why: why() })
    }
}

/// Where the programs that `dir` shows really are: a folder on PATH may hold links to a few of them.
fn real_dirs(dir: &Path) -> Vec<PathBuf> {
    let real = |name: &&str| fs::canonicalize(dir.join(name)).ok()?.parent().map(Path::to_owned);
    ["postgres", "initdb", "pg_ctl"].iter().filter_map(real).collect()
}

fn by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !dir.is_empty()).then(|| PathBuf::from(dir))
}

fn distribution_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = vec!["/usr/local/pgsql/bin".into(), "/opt/homebrew/bin".into()];
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/usr/lib", "postgresql"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
    ] {
        let versions = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut of_parent: Vec<PathBuf> = versions
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path().join("bin"))
            .collect();
        of_parent.sort();
        dirs.extend(of_parent);
    }
    dirs
}

/// Says which version a folder holds, or why it will not do.
fn inspect(dir: &Path) -> Result<Programs, String> {
    if let Some(missing) = NEEDED.iter().find(|name| !dir.join(name).is_file()) {
        return Err(format!("there is no `{missing}` in it"));
    }
    let postgres = dir.join("postgres");
    let output = Command::new(&postgres).arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("`{} --version` does not run: {error}", postgres.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let version = Version::of_program(&printed)
        .ok_or_else(|| format!("`{} --version` prints `{}`", postgres.display(), printed.trim()))?;
    Ok(Programs { dir: dir.to_owned(), version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A folder of pretended programs that print a version.
    fn install(dir: &Path, version: &str) {
        fs::create_dir_all(dir).unwrap();
        for name in NEEDED {
            fs::write(dir.join(name), format!("#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn a_folder_of_links_leads_to_the_real_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        install(&root.join("16/bin"), "16.4");
        fs::create_dir(root.join("path")).unwrap();
        symlink(root.join("16/bin/postgres"), root.join("path/postgres")).unwrap();
        for named in ["path", "16", "16/bin"] {
            let installed = Installed::find(&[root.join(named)]).unwrap();
            let programs = installed.choose(None).unwrap();
            assert_eq!((programs.dir.clone(), programs.version.to_string()), (root.join("16/bin"), "16.4".to_owned()));
        }
    }

    #[test]
    fn says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let named = [dir.path().to_owned()];
        let error = Installed::find(&named).unwrap_err().to_string();
        assert!(error.contains("there is no `postgres` in it") && error.contains("\nhint: "), "{error}");
        install(dir.path(), "15.18");
        let error = Installed::find(&named).unwrap().choose(Some(Major(17))).unwrap_err().to_string();
        assert!(error.starts_with("no PostgreSQL 17 found; there is 15.18\nhint: apt-get"), "{error}");
        assert!(error.contains("postgresql-17") && error.contains("--driver docker"), "{error}");
    }

    #[test]
    fn each_version_has_programs_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let named: Vec<PathBuf> = ["15.18", "18.6", "17.11", "17.2"].map(|version| dir.path().join(version)).into();
        for (dir, version) in named.iter().zip(["15.18", "18.6", "17.11", "17.2"]) {
            install(dir, version);
        }
        let installed = Installed::find(&named).unwrap();
        let chosen = |major: Option<u32>| installed.choose(major.map(Major)).unwrap().version.to_string();
        assert_eq!((chosen(None), chosen(Some(17)), chosen(Some(15))), ("18.6".into(), "17.11".into(), "15.18".into()));
        let needed = installed.needed([Some(Major(15)), None, Some(Major(15))]).unwrap();
        assert_eq!(needed.iter().map(|one| one.version.to_string()).collect::<Vec<_>>(), ["18.6", "15.18"]);
        assert!(installed.needed([None, Some(Major(16))]).unwrap_err().to_string().contains("18.6 and 17.11"));
    }
}
