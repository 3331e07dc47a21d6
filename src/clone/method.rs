//! Fetching the bytes: by a snapshot driver, or by `pg_basebackup`.

use super::error::{CloneError, SourceError, io_at};
use super::protocol::Fetch;
use super::recipe::{Method, Recipe};
use super::source::Source;
use crate::base::exec::Command;
use crate::driver::{MakeError, Workplace};
use crate::pg::programs::Programs;
use crate::pg::version::Major;
use crate::snapshot::choose::Choice;
use crate::snapshot::label::Label;
use crate::snapshot::{Origin, Skip, SnapshotDriver};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// It takes as long as the data set is large.
const BASEBACKUP_LIMIT: Duration = Duration::from_secs(3600);

/// What fetches the bytes.
#[derive(Debug)]
pub(super) enum Fetcher {
    /// A snapshot driver.
    Snapshot {
        /// The directory, as it can copy it.
        origin: Box<Origin>,
        /// Why it was chosen, when nobody had named it.
        choice: Option<Choice>,
    },
    /// `pg_basebackup`.
    Basebackup(Programs),
}

impl Fetcher {
    /// The one that was asked for, or the best for the source's directory; its copies bear `label`.
    pub async fn choose(
        source: &Source,
        recipe: &Recipe,
        label: &Label,
        place: &Workplace,
    ) -> Result<Fetcher, CloneError> {
        if recipe.method == Method::Basebackup {
            return match recipe.quota {
                Some(_) => Err(CloneError::NoQuota),
                None => Ok(Fetcher::Basebackup(installed(place, major(source)?)?)),
            };
        }
        let (origin, choice) = source.origin(recipe.method.driver(), &place.setup.inventory).await?;
        let origin = origin.skipping(Skip::Volatile).labelled(label.clone());
        let origin = match recipe.quota {
            Some(quota) => origin.limited_to(quota.0)?,
            None => origin,
        };
        Ok(Fetcher::Snapshot { origin: Box::new(origin), choice })
    }

    /// What it can.
    pub fn fetch(&self) -> Fetch {
        match self {
            Fetcher::Snapshot { origin, .. } => Fetch::Snapshot(origin.driver().capabilities()),
            Fetcher::Basebackup(_) => Fetch::Basebackup,
        }
    }

    /// As which method.
    pub fn method(&self) -> Method {
        match self {
            Fetcher::Basebackup(_) => Method::Basebackup,
            Fetcher::Snapshot { origin, .. } => match origin.driver() {
                SnapshotDriver::Zfs => Method::Zfs,
                SnapshotDriver::Btrfs => Method::Btrfs,
                SnapshotDriver::Reflink => Method::Reflink,
                SnapshotDriver::Copy => Method::Copy,
            },
        }
    }
}

impl Method {
    /// The driver of that name; none is the choice of `auto`, nor is `pg_basebackup` one.
    pub(super) fn driver(self) -> Option<SnapshotDriver> {
        match self {
            Method::Auto | Method::Basebackup => None,
            Method::Zfs => Some(SnapshotDriver::Zfs),
            Method::Btrfs => Some(SnapshotDriver::Btrfs),
            Method::Reflink => Some(SnapshotDriver::Reflink),
            Method::Copy => Some(SnapshotDriver::Copy),
        }
    }
}

fn major(source: &Source) -> Result<Major, SourceError> {
    let unfit = |why: String| SourceError::Unfit { dir: source.data().to_owned(), why };
    let version =
        std::fs::read_to_string(source.data().join("PG_VERSION")).map_err(|error| unfit(error.to_string()))?;
    version.trim().parse().map_err(unfit)
}

/// Programs of any version on this machine among which `program` is.
pub(super) fn any_programs(place: &Workplace, program: &'static str) -> Result<Programs, CloneError> {
    let found = place.setup.installed.iter().find(|programs| programs.path(program).exists());
    found.cloned().ok_or_else(|| CloneError::NoProgram(program))
}

fn installed(place: &Workplace, major: Major) -> Result<Programs, CloneError> {
    Ok(place.setup.installed.choose(Some(major)).map_err(MakeError::Programs)?.clone())
}

/// Lets `pg_basebackup` make a copy in `data`, which is not there yet.
pub(super) async fn basebackup(
    place: &Workplace,
    programs: &Programs,
    source: &Source,
    data: &Path,
) -> Result<(), CloneError> {
    let Some((host, login)) = source.reach() else { return Err(super::protocol::Refused::NobodyToAsk.into()) };
    place.plain_directory(data).map_err(io_at(data))?;
    let who = host.who(login);
    let command = Command::new(programs.path("pg_basebackup"), BASEBACKUP_LIMIT)
        .args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--no-password", "--pgdata"])
        .arg(data)
        .args(["--port", &host.port.to_string(), "--username", who.user])
        .user(place.setup.user.as_ref());
    let command = match &host.access {
        None => command.env("PGPASSFILE", place.passfile()).env("PGHOST", &host.host),
        // Its environment is for its own user and root to read.
        Some(access) => {
            let command = command.env("PGPASSWORD", who.password).env("PGHOST", &host.host);
            // The certificate may be for a name, and the server be reached by an address.
            let command =
                if host.host.parse::<IpAddr>().is_ok() { command.env("PGHOSTADDR", &host.host) } else { command };
            access.tls.environment().fold(command, |command, (name, value)| command.env(name, value))
        }
    };
    command.run(&place.setup.inventory).await?;
    Ok(())
}
