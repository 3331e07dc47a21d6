//! A loaded data directory that is kept, so that every trial starts from the same bytes.

use super::error::io_at;
use super::{BuildError, settings};
use crate::base::inventory::Id;
use crate::clean;
use crate::driver::docker::Limits;
use crate::driver::files::CopyError;
use crate::driver::{Files, Make, SERVER_PROGRAM, Server, Shutdown, Workplace};
use crate::pg::conf;
use crate::pg::connect::connect;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// The file with our settings in a data directory; `postgresql.conf` includes it.
pub(super) const CONF: &str = "pgbench-rs.conf";

const STOP_LIMIT: Duration = Duration::from_secs(600);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A data directory whose server was shut down in order.
#[derive(Debug)]
pub struct Template {
    files: Files,
    /// Its directory, when it is on this machine.
    home: Option<(Id, PathBuf)>,
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
        let home = if make.is_remote() {
            None
        } else {
            let made = place.directory(&wanted, place.dir(), Some(SERVER_PROGRAM));
            Some(made.map_err(io_at(&wanted))?)
        };
        let dir = home.as_ref().map_or(&wanted, |(_, path)| path);
        let files = make.files(place, &format!("template-{name}"), dir).await?;
        let template = Template { files, home, made_by: make.key() };
        template.initialize(place, make).await?;

        let logs = place.setup.logs.join("template").join(name);
        std::fs::create_dir_all(&logs).map_err(io_at(&logs))?;
        let log = logs.join("postgresql.log");
        let server = make.server(place, name, (&template.files, log), Limits::default(), None)?;
        template.write(CONF, &conf::postgresql_conf(&filling(&server))).await?;
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

    /// Copies the data directory to `to`, which exists and is empty; see [`Files::copy`].
    pub(super) async fn copy(&self, to: &Files) -> Result<(), CopyError> {
        to.copy(&self.files).await
    }

    /// Removes it.
    pub async fn remove(self, place: &Workplace) -> Result<(), BuildError> {
        self.files.remove().await?;
        let Some((entry, path)) = self.home else { return Ok(()) };
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

fn filling(server: &Server) -> Vec<(String, String)> {
    let mut settings = settings::of_driver(server.host());
    // Segments that were recycled instead of removed would be copied for every node.
    for (name, value) in [("fsync", "off"), ("full_page_writes", "off"), ("wal_recycle", "off")] {
        settings.push((name.to_owned(), value.to_owned()));
    }
    settings
}
