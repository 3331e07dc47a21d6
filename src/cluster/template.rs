//! A loaded data directory that is kept, so that every trial starts from the same bytes.

use super::build::{BuildError, io_at};
use super::settings;
use crate::base::exec::{Command, CommandError};
use crate::base::inventory::Id;
use crate::clean;
use crate::driver::docker::Limits;
use crate::driver::{Make, SERVER_PROGRAM, Server, Shutdown, Workplace};
use crate::pg::conf;
use crate::pg::connect::connect;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// The file with our settings in a data directory; `postgresql.conf` includes it.
pub(super) const CONF: &str = "pgbench-rs.conf";

/// Generous: these move as much as the data set is large.
const COPY_LIMIT: Duration = Duration::from_secs(3600);
const STOP_LIMIT: Duration = Duration::from_secs(600);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A data directory whose server was shut down in order.
#[derive(Debug)]
pub struct Template {
    data: PathBuf,
    path: PathBuf,
    entry: Id,
    /// What made it, and alone can run on it; see [`Make::key`].
    made_by: String,
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
        let wanted = place.dir().join(format!("template-{name}"));
        let made = place.directory(&wanted, place.dir(), Some(SERVER_PROGRAM));
        let (entry, path) = made.map_err(io_at(&wanted))?;
        let template = Template { data: path.join("data"), path, entry, made_by: make.key() };
        template.initialize(place, make).await?;

        let logs = place.setup.logs.join("template").join(name);
        std::fs::create_dir_all(&logs).map_err(io_at(&logs))?;
        let log = logs.join("postgresql.log");
        let server = make.server(place, name, (template.data.clone(), log), Limits::default(), None)?;
        let conf = template.data.join(CONF);
        place.write(&conf, &conf::postgresql_conf(&filling(&server))).map_err(io_at(&conf))?;
        server.start().await.map_err(|error| BuildError::Start(Box::new(error)))?;
        let client = connect(server.host(), &place.login("pgbench-rs fill"), CONNECT_LIMIT).await?;
        let filled = fill(client).await.map_err(|source| BuildError::Fill { template: name.to_owned(), source });
        let stopped = server.stop(Shutdown::Fast, STOP_LIMIT).await;
        let removed = server.remove().await;
        filled?;
        let stopped = stopped?;
        removed?;
        if stopped.killed {
            return Err(BuildError::Unclean { template: name.to_owned(), limit: STOP_LIMIT });
        }
        Ok(template)
    }

    /// What made it, and alone can run on it; see [`Make::key`].
    pub fn made_by(&self) -> &str {
        &self.made_by
    }

    /// Copies the data directory to `to`, which exists and is empty; on a file system that can, the
    /// copy shares its blocks.
    pub(super) async fn copy(&self, place: &Workplace, to: &Path) -> Result<(), CommandError> {
        let command = Command::new("cp", COPY_LIMIT).args(["-a", "--reflink=auto", "--"]);
        let command = command.arg(self.data.join(".")).arg(to).user(place.setup.user.as_ref());
        command.run(&place.setup.inventory).await.map(drop)
    }

    /// Removes it.
    pub fn remove(self, place: &Workplace) -> Result<(), BuildError> {
        let failed = |why: String| io_at(&self.path)(std::io::Error::other(why));
        clean::remove(&self.path, place.dir(), &place.setup.run).map_err(failed)?;
        place.setup.inventory.gone(self.entry).map_err(io_at(place.setup.inventory.path()))
    }

    async fn initialize(&self, place: &Workplace, make: &Make) -> Result<(), BuildError> {
        place.data_directory(&self.data).map_err(io_at(&self.data))?;
        let login = place.login("");
        let pwfile = place.dir().join("pwfile");
        place.write(&pwfile, login.password.expose()).map_err(io_at(&pwfile))?;
        let made = make.initdb(place, &pwfile, &self.data).await;
        std::fs::remove_file(&pwfile).map_err(io_at(&pwfile))?;
        made?;
        let hba = self.data.join("pg_hba.conf");
        place.write(&hba, &conf::pg_hba()).map_err(io_at(&hba))?;
        let main = self.data.join("postgresql.conf");
        let before = std::fs::read_to_string(&main).map_err(io_at(&main))?;
        place.write(&main, &format!("{before}\ninclude_if_exists = '{CONF}'\n")).map_err(io_at(&main))
    }
}

fn filling(server: &Server) -> Vec<(String, String)> {
    let mut settings = settings::of_driver(server.host());
    // Segments that were recycled instead of removed would be copied for every node.
    for (name, value) in [("fsync", "off"), ("full_page_writes", "off"), ("wal_recycle", "off")] {
        settings.push((name.to_owned(), value.to_owned()));
    }
    settings
}
