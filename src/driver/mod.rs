//! How a server exists, and the only place that starts and stops one. Servers are plain processes of
//! this machine, children of the harness, or containers of an engine, for which [`docker`] is, or somebody else's,
//! of which nothing lies here ([`external`]). Everything of a run lies in its work directory:
//!
//! ```text
//! /var/tmp/pgbench-rs-<uid>/      --work DIR
//!   templates/                    data directories that are kept for later runs
//!   <run>/                        one a run, marked as its own and removed with it
//!     passfile                    the run's password for libpq, 0600, the server user's
//!     template-<name>/data/       a loaded data directory, copied for every node
//!     <trial>/<node>/data/        a node's data directory
//! ```
//!
//! The servers' logs are written directly where the results are kept (`nodes/<trial>/<node>/postgresql.log`).

pub mod docker;
pub mod external;
pub mod files;
pub mod make;
pub mod outcome;
pub mod port;
pub mod process;
pub mod server;
pub mod start;

pub use files::Files;
pub use make::{Make, MakeError, Stand};
pub use server::{Part, Server, Shutdown};

use crate::base::exec::{self, CommandError};
use crate::base::inventory::{Id, Inventory};
use crate::base::user::User;
use crate::pg::programs::Installed;
use crate::pg::{Login, Secret, conf};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The superuser of every server.
const SUPERUSER: &str = "postgres";
/// Whose processes, standing in a data directory, are the server's.
pub const SERVER_PROGRAM: &str = "postgres";

/// How a server exists: `driver = { kind = … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// Processes of this machine, children of the harness.
    Process(Process),
    /// Containers of a Docker engine.
    Docker(docker::Docker),
    /// Servers that somebody else runs.
    External(external::External),
}

impl Driver {
    /// The settings of a server that somebody else runs.
    pub fn external(&self) -> Option<&external::External> {
        match self {
            Driver::Process(_) | Driver::Docker(_) => None,
            Driver::External(external) => Some(external),
        }
    }

    /// Its kind, as written.
    pub fn name(&self) -> &'static str {
        match self {
            Driver::Process(_) => "process",
            Driver::Docker(_) => "docker",
            Driver::External(_) => "external",
        }
    }
}

impl Default for Driver {
    fn default() -> Self {
        Driver::Process(Process::default())
    }
}

/// Settings of [`Driver::Process`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// How servers and clients reach each other; absent: over loopback, unless packets are to vanish.
    #[serde(default)]
    pub network: Option<Network>,
}

/// The network of servers that are processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// 127.0.0.1, a port each.
    Loopback,
    /// A network namespace each, on a bridge of the run's own.
    Namespaces,
}

/// What a run's servers have in common, as asked for.
#[derive(Debug)]
pub struct Setup {
    /// The run's id; its work directory is called so.
    pub run: String,
    /// The programs of every version that its servers have.
    pub installed: Installed,
    /// Whom servers run as; see [`server_user`].
    pub user: Option<User>,
    /// Where what is created is named.
    pub inventory: Arc<Inventory>,
    /// Where the run's work directory goes; see [`default_work`].
    pub work: PathBuf,
    /// Where logs go: `<trial>/<node>/postgresql.log` below it.
    pub logs: PathBuf,
    /// How long a server may take to start, and a standby to stream.
    pub start_limit: Duration,
    /// Servers may outlive the harness (`--keep`): then they get no signal when it dies, and only the
    /// watchdog ends those that were not marked kept in the end.
    pub keep: bool,
}

/// What a run's servers have in common, made ready.
#[derive(Debug)]
pub struct Workplace {
    pub(crate) setup: Setup,
    pub(crate) dir: PathBuf,
    password: Secret,
}

/// Why servers cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// Servers refuse to run as root and there is nobody else.
    #[error(
        "there is no user `{0}` to run servers as; PostgreSQL refuses to run as root\n\
         hint: useradd --system {0}, or name another with --server-user"
    )]
    NoUser(String),
    /// Only root can run servers as somebody else.
    #[error("only root can run servers as `{0}`\nhint: leave --server-user out to run them as yourself")]
    NotRoot(String),
    /// A file or directory could not be made.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The work directory belongs to somebody else.
    #[error("{path} is not this user's own directory\nhint: name another with --work DIR", path = path.display())]
    NotOwn {
        /// The directory.
        path: PathBuf,
    },
    /// The server's user cannot reach a directory or a program.
    #[error("servers would run as `{user}`, who cannot reach {path}: {source}\nhint: {hint}", path = path.display())]
    Unreachable {
        /// The server's user.
        user: String,
        /// What is out of reach.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// How it was found out.
        source: Box<CommandError>,
    },
}

/// Whom servers run as: nobody else, unless root runs this, as whom PostgreSQL refuses to run; then
/// `asked`, by default `postgres`. Where all servers are in containers, this machine need not know such a user.
pub fn server_user(asked: Option<&str>, containers: bool) -> Result<Option<User>, DriverError> {
    let own = nix::unistd::geteuid();
    let named = |name: &str| {
        let found = User::named(name).map_err(|source| DriverError::Io { path: "/etc/passwd".into(), source })?;
        found.filter(|user| user.uid != 0).ok_or_else(|| DriverError::NoUser(name.to_owned()))
    };
    match asked {
        Some(name) if own.is_root() => named(name).map(Some),
        Some(name) if named(name)?.uid != own.as_raw() => Err(DriverError::NotRoot(name.to_owned())),
        None if own.is_root() => match named("postgres") {
            // As in the official image.
            Err(DriverError::NoUser(name)) if containers => {
                Ok(Some(User { name, uid: 999, gid: 999, home: "/".into() }))
            }
            found => found.map(Some),
        },
        _ => Ok(None),
    }
}

/// Where data directories go when nobody says; it may not be there yet.
pub fn default_work_path() -> PathBuf {
    PathBuf::from(format!("/var/tmp/pgbench-rs-{}", nix::unistd::geteuid()))
}

/// The default of `--work`: a folder of this user's own in `/var/tmp`, which is on disk where `/tmp`
/// often is in memory. It is made when it is not there.
pub fn default_work() -> Result<PathBuf, DriverError> {
    let path = default_work_path();
    let io = |source| DriverError::Io { path: path.clone(), source };
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    // The name can be guessed and anybody may write to /var/tmp.
    let meta = fs::symlink_metadata(&path).map_err(io)?;
    if !meta.is_dir() || meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(DriverError::NotOwn { path });
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).map_err(io)?;
    Ok(path)
}

impl Workplace {
    /// Makes the run's work directory, its password, and sure that the server's user can use both it
    /// and the programs.
    pub async fn open(setup: Setup) -> Result<Arc<Workplace>, DriverError> {
        Workplace::open_with(setup, conf::random_password()).await
    }

    /// The same with a password that is given: it stands in data directories that were made before.
    pub async fn open_with(setup: Setup, password: Secret) -> Result<Arc<Workplace>, DriverError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DriverError::Io { path, source }
        };
        fs::create_dir_all(&setup.work).map_err(io(&setup.work))?;
        fs::create_dir_all(&setup.logs).map_err(io(&setup.logs))?;
        let wanted = setup.work.join(&setup.run);
        let (_, dir) = setup.inventory.directory(&wanted, &setup.work, None).map_err(io(&wanted))?;
        passable(&dir).map_err(io(&dir))?;
        let driver = Workplace { setup, dir, password };
        driver.check_reach().await?;
        let passfile = driver.passfile();
        driver.write(&passfile, &conf::passfile(&driver.login(""))).map_err(io(&passfile))?;
        Ok(Arc::new(driver))
    }

    /// How to log in to every server of the run.
    pub fn login(&self, application_name: &str) -> Login {
        Login {
            user: SUPERUSER.to_owned(),
            password: self.password.clone(),
            dbname: "postgres".to_owned(),
            application_name: application_name.to_owned(),
        }
    }

    /// The id of the user whom servers run as.
    pub fn uid(&self) -> u32 {
        self.setup.user.as_ref().map_or_else(|| nix::unistd::geteuid().as_raw(), |user| user.uid)
    }

    /// The run's work directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run's password file, which libpq takes as `passfile` or from `PGPASSFILE`.
    pub fn passfile(&self) -> PathBuf {
        self.dir.join("passfile")
    }

    /// Names, makes and marks a directory that the server's user can pass through. `program` as in
    /// [`Inventory::directory`].
    pub(crate) fn directory(&self, path: &Path, within: &Path, program: Option<&str>) -> io::Result<(Id, PathBuf)> {
        let (id, path) = self.setup.inventory.directory(path, within, program)?;
        passable(&path)?;
        Ok((id, path))
    }

    /// Makes an empty plain directory, the server user's own.
    pub(crate) fn plain_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)?;
        self.give(path)
    }

    /// Gives a directory to the server's user, and nobody else may look into it.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        self.setup.user.as_ref().map_or(Ok(()), |user| user.own(path))
    }

    /// Writes a file of the server user's own that nobody else can read, in place of what was there.
    pub(crate) fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".new");
        let aside = PathBuf::from(aside);
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        if let Some(user) = &self.setup.user {
            user.own(&aside)?;
        }
        fs::rename(&aside, path)
    }

    async fn check_reach(&self) -> Result<(), DriverError> {
        let Some(user) = &self.setup.user else { return Ok(()) };
        let mut needed = vec![(self.dir.clone(), "name a directory with --work DIR that this user can reach")];
        let hint = "name programs with --postgres DIR that this user can run";
        needed.extend(self.setup.installed.iter().map(|programs| (programs.path("postgres"), hint)));
        for (path, hint) in needed {
            exec::reaches(Some(user), &path, &self.setup.inventory).await.map_err(|source| {
                let source = Box::new(source);
                DriverError::Unreachable { user: user.name.clone(), path: path.clone(), hint, source }
            })?;
        }
        Ok(())
    }
}

/// Settings as arguments of a server's command line, where they go over all files.
fn arguments(settings: &[(String, String)]) -> impl Iterator<Item = String> {
    settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")])
}

/// Lets everybody pass through a directory, whatever the umask, but not look around in it.
fn passable(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
}
