//! A loaded data directory from which every trial starts: made for one run, or kept in a [`Store`] for later ones.

use super::error::io_at;
use super::templates::{Found, Held, Store, Vacant, Wants};
use super::{BuildError, settings};
use crate::base::exec::Command;
use crate::base::inventory::Id;
use crate::clean;
use crate::driver::docker::Limits;
use crate::driver::{Files, Make, SERVER_PROGRAM, Server, Shutdown, Stand, Workplace};
use crate::pg::connect::connect;
use crate::pg::{Host, conf};
use crate::snapshot::SnapshotDriver;
use crate::snapshot::choose::Choice;
use crate::snapshot::{Origin, choose::choose};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// The file with our settings in a data directory; `postgresql.conf` includes it.
pub(super) const CONF: &str = "pgbench-rs.conf";

const STOP_LIMIT: Duration = Duration::from_secs(600);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Writing out what was loaded takes as long as there is much of it.
pub(super) const SYNC_LIMIT: Duration = Duration::from_secs(3600);

/// A data directory whose server was shut down in order.
#[derive(Debug)]
pub struct Template {
    files: Files,
    home: Home,
    /// What made it, and alone can run on it; see [`Make::key`].
    made_by: String,
    /// It, as it is copied on its own file system, and why so; absent of what lies on an engine of another machine.
    origin: Option<(Origin, Choice)>,
}

/// Where it is, and whose.
#[derive(Debug)]
enum Home {
    /// On an engine of another machine.
    Remote,
    /// In the run's own work directory.
    Run(Id, PathBuf),
    /// In the store, whose it is.
    Kept(Box<Held>),
}

/// How a node came by its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// By which driver.
    pub driver: SnapshotDriver,
    /// How long it took.
    pub took: Duration,
    /// Why by this driver and by none that is quicker.
    pub why: String,
}

/// Whatever may go wrong while a template is filled.
pub type FillError = Box<dyn Error + Send + Sync>;

impl Template {
    /// Makes a cluster with the server's defaults, lets `fill` load it over one connection, and shuts it down in
    /// order.
    ///
    /// While it is filled `fsync` is off: nobody's data depends on it, and what is copied from it is
    /// written to disk before a trial starts.
    pub async fn build<F, Filled>(
        place: &Arc<Workplace>,
        name: &str,
        make: &Make,
        fill: F,
    ) -> Result<Template, BuildError>
    where
        F: FnOnce(Client) -> Filled,
        Filled: Future<Output = Result<(), FillError>>,
    {
        let fill = |client, _: Host| async { fill(client).await.map(|()| serde_json::Value::Null) };
        Ok(Template::build_with(place, name, make, fill).await?.0)
    }

    /// The same with a `fill` that is told where the server listens, too, and has something to say in the end.
    pub async fn build_with<F, Filled>(
        place: &Arc<Workplace>,
        name: &str,
        make: &Make,
        fill: F,
    ) -> Result<(Template, serde_json::Value), BuildError>
    where
        F: FnOnce(Client, Host) -> Filled,
        Filled: Future<Output = Result<serde_json::Value, FillError>>,
    {
        let wanted = place.dir().join(format!("template-{name}"));
        let (template, said) = Template::build_at(place, (&wanted, place.dir()), name, make, fill).await?;
        Ok((template.with_origin(place, make).await?, said))
    }

    /// The template of `wants` in `store`; made as by [`Template::build_with`] if it is not there. `say` is told what goes on.
    pub async fn kept<F, Filled>(
        place: &Arc<Workplace>,
        (store, label, wants): (&Store, &str, &Wants),
        make: &Make,
        fill: F,
        say: impl Fn(&str),
    ) -> Result<Template, BuildError>
    where
        F: FnOnce(Client, Host) -> Filled,
        Filled: Future<Output = Result<serde_json::Value, FillError>>,
    {
        let waiting = |name: &str| say(&format!("waiting for another run, which has the template {name} in hand"));
        let held = match store.find(label, wants, waiting).await? {
            Found::There(held) => held,
            Found::Missing(vacant) => {
                say(&format!("making the template {}", vacant.name()));
                Template::make_kept(place, store, vacant, make, fill).await?
            }
        };
        let dir = held.dir.join("data");
        let files = Files::Here { place: place.clone(), dir, dataset: None };
        let template = Template { files, home: Home::Kept(Box::new(held)), made_by: make.key(), origin: None };
        template.with_origin(place, make).await
    }

    async fn make_kept<F, Filled>(
        place: &Arc<Workplace>,
        store: &Store,
        vacant: Vacant,
        make: &Make,
        fill: F,
    ) -> Result<Held, BuildError>
    where
        F: FnOnce(Client, Host) -> Filled,
        Filled: Future<Output = Result<serde_json::Value, FillError>>,
    {
        let (began, run) = (Instant::now(), place.setup.run.clone());
        let wanted = vacant.making(store, &run);
        let name = vacant.name().to_owned();
        let (made, said) = Template::build_at(place, (&wanted, store.dir()), &name, make, fill).await?;
        let Home::Run(entry, dir) = &made.home else { return Err(io_at(&wanted)(std::io::Error::other("not here"))) };
        // What is renamed next is to outlive a power cut.
        let sync = Command::new("sync", SYNC_LIMIT).arg("--file-system").arg(dir);
        sync.run(&place.setup.inventory).await?;
        let held = vacant.fill(store, dir, &run, began.elapsed(), said)?;
        place.setup.inventory.gone(*entry).map_err(io_at(place.setup.inventory.path()))?;
        let removed =
            || io_at(store.dir())(std::io::Error::other(format!("{name} was removed as soon as it was made")));
        held.ok_or_else(removed)
    }

    /// Makes it in the directory `wanted`, which is to be made within another.
    async fn build_at<F, Filled>(
        place: &Arc<Workplace>,
        (wanted, within): (&Path, &Path),
        name: &str,
        make: &Make,
        fill: F,
    ) -> Result<(Template, serde_json::Value), BuildError>
    where
        F: FnOnce(Client, Host) -> Filled,
        Filled: Future<Output = Result<serde_json::Value, FillError>>,
    {
        let (home, dir) = if make.is_remote() {
            (Home::Remote, wanted.to_owned())
        } else {
            let (entry, path) = place.directory(wanted, within, Some(SERVER_PROGRAM)).map_err(io_at(wanted))?;
            (Home::Run(entry, path.clone()), path)
        };
        let files = make.files(place, &format!("template-{name}"), &dir).await?;
        let template = Template { files, home, made_by: make.key(), origin: None };
        template.initialize(place, make).await?;

        let logs = place.setup.logs.join("template").join(name);
        std::fs::create_dir_all(&logs).map_err(io_at(&logs))?;
        let log = logs.join("postgresql.log");
        let server = make.server(place, name, (&template.files, log), Limits::default(), Stand::Own)?;
        let filled = template.fill(place, name, &server, fill).await;
        let removed = server.remove().await;
        let said = filled?;
        removed?;
        Ok((template, said))
    }

    /// Starts its server, lets it be filled, and shuts it down in order; then once more with the WAL that a standby needs
    /// to know of: one that finds `wal_level = minimal` in its control file does not start.
    async fn fill<F, Filled>(
        &self,
        place: &Workplace,
        name: &str,
        server: &Server,
        fill: F,
    ) -> Result<serde_json::Value, BuildError>
    where
        F: FnOnce(Client, Host) -> Filled,
        Filled: Future<Output = Result<serde_json::Value, FillError>>,
    {
        let start = async |settings: &[(&str, &str)]| {
            self.write(CONF, &conf::postgresql_conf(&filling(server, settings))).await?;
            server.start().await.map_err(|error| BuildError::Start(Box::new(error)))
        };
        let stop = async || {
            let stopped = server.stop(Shutdown::Fast, STOP_LIMIT).await?;
            let unclean = || BuildError::Unclean { template: name.to_owned(), limit: STOP_LIMIT };
            if stopped.killed { Err(unclean()) } else { Ok(()) }
        };
        start(LOADING).await?;
        let client = connect(server.host(), &place.login("pgbench-rs fill"), CONNECT_LIMIT).await?;
        let filled = fill(client, server.host().clone()).await;
        let filled = filled.map_err(|source| BuildError::Fill { template: name.to_owned(), source });
        let stopped = stop().await;
        let said = filled?;
        stopped?;
        start(&[]).await?;
        stop().await?;
        Ok(said)
    }

    /// The same, with the best way found in which its file system copies it. Containers copy with `cp`, as they always
    /// did: their nodes' directories are given to the image's own user.
    async fn with_origin(mut self, place: &Workplace, make: &Make) -> Result<Template, BuildError> {
        if let (Files::Here { dir, .. }, Make::Process(_)) = (&self.files, make) {
            self.origin = Some(choose(dir, &place.setup.inventory).await?);
        }
        Ok(self)
    }

    /// What made it, and alone can run on it; see [`Make::key`].
    pub fn made_by(&self) -> &str {
        &self.made_by
    }

    /// How its file system copies it, and why so; absent where that is for an engine to decide.
    pub fn choice(&self) -> Option<&Choice> {
        self.origin.as_ref().map(|(_, choice)| choice)
    }

    /// What is known of it in its store, if it is kept there, with its directory.
    pub fn held(&self) -> Option<&Held> {
        match &self.home {
            Home::Kept(held) => Some(held),
            Home::Remote | Home::Run(..) => None,
        }
    }

    /// Copies the data directory to `within`/data, for the node `name` that `make` makes. Where the file system can share
    /// blocks, and `within` is a directory of the run on it, in no more time than that takes; else byte by byte.
    pub(super) async fn copy(
        &self,
        make: &Make,
        place: &Arc<Workplace>,
        name: &str,
        within: &Path,
    ) -> Result<(Files, Copy), BuildError> {
        let began = Instant::now();
        let mut why = "an engine's own copy".to_owned();
        if let Some((origin, choice)) = &self.origin {
            let shares = matches!(choice.driver, SnapshotDriver::Btrfs | SnapshotDriver::Reflink);
            if shares && origin.is_beside(within)? {
                let (copied, _) = origin.clone_to(name, within).await?;
                let files = Files::Here { place: place.clone(), dir: copied.data().to_owned(), dataset: None };
                let copy = Copy { driver: choice.driver, took: began.elapsed(), why: choice.why.clone() };
                return Ok((files, copy));
            }
            why = match shares {
                true => format!("{} is on another file system than {}", within.display(), origin.dir().display()),
                false => choice.why.clone(),
            };
        }
        let files = make.files(place, name, within).await?;
        match files.copy(&self.files).await {
            Ok(()) => Ok((files, Copy { driver: SnapshotDriver::Copy, took: began.elapsed(), why })),
            Err(error) => {
                files.remove().await?;
                Err(error.into())
            }
        }
    }

    /// Removes it, unless it is kept.
    pub async fn remove(self, place: &Workplace) -> Result<(), BuildError> {
        self.files.remove().await?;
        let Home::Run(entry, path) = self.home else { return Ok(()) };
        let failed = |why: String| io_at(&path)(std::io::Error::other(why));
        clean::remove(&path, place.dir(), &place.setup.run).map_err(failed)?;
        place.setup.inventory.gone(entry).map_err(io_at(place.setup.inventory.path()))
    }

    async fn initialize(&self, place: &Workplace, make: &Make) -> Result<(), BuildError> {
        let login = place.login("");
        let pwfile = place.dir().join("pwfile");
        place.write(&pwfile, login.password.expose()).map_err(io_at(&pwfile))?;
        let made = make.initdb(place, &pwfile, &self.files).await;
        std::fs::remove_file(&pwfile).map_err(io_at(&pwfile))?;
        made?;
        self.write("pg_hba.conf", &conf::pg_hba(make.is_remote())).await?;
        let main = "postgresql.conf";
        let before = self.files.read_to_string(main).await.map_err(io_at(&self.files.dir().join(main)))?;
        self.write(main, &format!("{before}\ninclude_if_exists = '{CONF}'\n")).await
    }

    async fn write(&self, name: &str, text: &str) -> Result<(), BuildError> {
        self.files.write(name, text).await.map_err(io_at(&self.files.dir().join(name)))
    }
}

/// While nobody follows and nothing can be lost: tables that a transaction makes and fills are not logged, nothing is
/// written twice by checkpoints, and nobody vacuums what is vacuumed in the end.
const LOADING: &[(&str, &str)] = &[
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
    ("shared_buffers", "256MB"),
    ("autovacuum", "off"),
];

fn filling(server: &Server, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut settings = settings::of_driver(server.host());
    // Segments that were recycled instead of removed would be copied for every node. Whole pages are written as usual:
    // the checkpoint at its end says how, and whoever clones a node goes by that until there is another.
    let always = [("fsync", "off"), ("wal_recycle", "off")];
    settings.extend(always.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    settings
}
