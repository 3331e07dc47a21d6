//! The steps of making a clone, in the order of [`Phase`].

use super::backup::{Backup, complete};
use super::door::{Door, Reach, can_hold_socket};
use super::error::{CloneError, SourceError, io_at};
use super::facts::SourceFacts;
use super::fence::{Fence, FenceError};
use super::fixup;
use super::making::{Copying, Making};
use super::method::{Fetcher, basebackup};
use super::phase::Phase;
use super::protocol::{Protocol, Refused, Situation, derive};
use super::recipe::{Method, Mode};
use super::settings::{self, Wanted};
use super::settle::{client, settle};
use super::still::Still;
use super::thin::{Body, blocks};
use crate::base::disk;
use crate::base::units::Size;
use crate::driver::port::Port;
use crate::driver::start::Step;
use crate::driver::{Files, SERVER_PROGRAM, Stand};
use crate::pg::control_file::ControlFile;
use crate::snapshot::{Sharing, label};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

impl Making {
    /// All of them.
    pub(super) async fn work(&mut self) -> Result<(), CloneError> {
        self.phases.begin(Phase::Look);
        let major = self.order.make.major();
        let problems = settings::problems(&self.recipe, major);
        if !problems.is_empty() {
            return Err(CloneError::Settings(problems));
        }
        let (control, said) = self.source.look(major, self.place.uid()).await?;
        self.segment_size = control.wal_segment_size.into();
        let fetcher = Fetcher::choose(&self.source, &self.recipe, &self.order.label, &self.place).await?;
        let running = self.source.reach().is_some();
        if !running && self.source.is_in_use() {
            return Err(Refused::Runs.into());
        }
        let situation = Situation {
            running,
            fsync: said.as_ref().is_none_or(|said| said.is_on("fsync")),
            full_page_writes: whole_pages(&control, said.as_ref(), self.recipe.mode),
            wal_level: control.wal_level,
            in_recovery: said.as_ref().is_some_and(|said| said.in_recovery),
            ours: self.source.server().is_some(),
        };
        if matches!(self.recipe.mode, Mode::Precooked(_)) != self.source.inherited().is_some() {
            return Err(CloneError::Base);
        }
        let protocol = derive(fetcher.fetch(), situation, self.recipe.protect, self.recipe.mode)?;
        self.source.stays_together(said.as_ref(), matches!(fetcher, Fetcher::Basebackup(_)))?;
        self.facts.chosen(&fetcher, protocol);
        match self.source.inherited() {
            Some(base) => self.facts.inherit(base),
            None => self.facts.source = said.clone(),
        }
        self.room(&fetcher)?;
        let home = self.make_home()?;
        self.checkpoint(protocol, running).await?;
        self.copy(&fetcher, protocol, &home).await?;
        let (fence, copied) = self.completed(&home).await?;
        self.fix_up(&fence, protocol, &copied, control.system_identifier)?;
        self.resetwal(&fence).await?;
        self.start(&home).await?;
        self.facts.came_up(fence.path(), self.recipe.mode, &copied)?;
        self.settle().await?;
        self.query().await?;
        match &self.body {
            Some(body) => Ok(body.say(label::State::Ready).await?),
            None => Ok(()),
        }
    }

    /// Makes sure that the source is left with room to go on.
    fn room(&self, fetcher: &Fetcher) -> Result<(), CloneError> {
        let (path, reserve) = (&self.order.within, self.recipe.reserve);
        let copied = match fetcher {
            Fetcher::Snapshot { origin, .. } => origin.driver().capabilities().shares_blocks == Sharing::Nothing,
            Fetcher::Basebackup(_) => true,
        };
        let needed = if copied { blocks(self.source.data()).map_err(io_at(self.source.data()))? } else { 0 };
        let free = disk::free(path).map_err(io_at(path))?;
        if free < needed + reserve.0 {
            return Err(CloneError::Room { path: path.clone(), free: Size(free), needed: Size(needed), reserve });
        }
        Ok(())
    }

    fn make_home(&mut self) -> Result<PathBuf, CloneError> {
        let within = &self.order.within;
        let real = std::fs::canonicalize(within).map_err(io_at(within))?;
        if real.starts_with(self.source.data()) {
            let why = format!("it lies in the source's own directory, {}", self.source.data().display());
            return Err(FenceError::NotOurs { dir: within.clone(), why }.into());
        }
        let wanted = within.join(&self.order.dir);
        // Not named in the inventory: it is somebody else's, or another clone's.
        if wanted.symlink_metadata().is_ok() {
            return Err(io_at(&wanted)(std::io::ErrorKind::AlreadyExists.into()));
        }
        let (entry, home) = self.place.directory(&wanted, within, Some(SERVER_PROGRAM)).map_err(io_at(&wanted))?;
        self.home = Some((entry, home.clone()));
        if self.order.reach == Reach::Socket && !can_hold_socket(&socket_dir(&home)) {
            let why = std::io::Error::other("this path is too long for a Unix socket; put clones into a shorter one");
            return Err(io_at(&socket_dir(&home))(why));
        }
        Ok(home)
    }

    /// The checkpoint that is asked for, or that begins a backup.
    async fn checkpoint(&mut self, protocol: Protocol, running: bool) -> Result<(), CloneError> {
        match protocol {
            Protocol::Backup if self.recipe.method == Method::Basebackup => {}
            Protocol::Backup => {
                self.phases.begin(Phase::Checkpoint);
                let backup = Backup::begin(&self.source, self.order.make.version().major).await?;
                self.facts.checkpointed = Some(backup.checkpointed);
                self.facts.unreserved = backup.unreserved.clone();
                self.backup = Some(backup);
            }
            _ if running && self.recipe.mode.checkpoint() => {
                self.phases.begin(Phase::Checkpoint);
                self.facts.checkpointed = Some(self.source.checkpoint().await?);
            }
            _ => {}
        }
        Ok(())
    }

    async fn copy(&mut self, fetcher: &Fetcher, protocol: Protocol, home: &Path) -> Result<(), CloneError> {
        if protocol == Protocol::Freeze {
            self.phases.begin(Phase::Freeze);
            let server = self.source.server().cloned().ok_or(Refused::NotOurs)?;
            let alone = self.source.freezing.clone().lock_owned().await;
            let still = self.still.insert(Still::before(server, alone));
            still.freeze().await?;
        }
        self.phases.begin(Phase::Clone);
        match fetcher {
            Fetcher::Snapshot { origin, .. } => {
                let copying = self.copying.insert(Copying::begin(origin, &self.order.name, home));
                let (copied, took) = copying.done().await?;
                self.copying = None;
                let parts = [(Phase::Snapshot, took.snapshot), (Phase::Clone, took.clone)];
                let parts: Vec<_> = parts.into_iter().filter_map(|(phase, took)| Some((phase, took?))).collect();
                self.phases.split(&parts);
                self.body = Some(Body::Copied(copied));
            }
            Fetcher::Basebackup(programs) => {
                let data = home.join("data");
                self.body = Some(Body::Directory(data.clone()));
                basebackup(&self.place, programs, &self.source, &data).await?;
            }
        }
        if let Some(still) = self.still.take() {
            self.phases.begin(Phase::Thaw);
            self.facts.stood_still = Some(still.thaw().await?);
        }
        Ok(())
    }

    /// The copy with all that its protocol needs, and what its control file says.
    async fn completed(&mut self, home: &Path) -> Result<(Fence, ControlFile), CloneError> {
        let body = self.body.as_ref().ok_or_else(|| CloneError::Broke("there is no copy".to_owned()))?;
        let open = |home: &Path| Fence::open(home, body.data(), &self.place.setup.run, self.source.data());
        let fence = match self.backup.take() {
            Some(backup) => {
                self.phases.begin(Phase::BackupStop);
                let label = backup.end().await?;
                let fence = open(home)?;
                fixup::links(&fence, body.symlinks(), self.source.data())?;
                let standby = self.facts.source.as_ref().is_some_and(|source| source.in_recovery);
                let (source, start) = (self.source.data().to_owned(), label.start);
                let completed = move || complete(&source, &fence, &label, standby).map(|()| fence);
                let fence = tokio::task::spawn_blocking(completed).await;
                let fence = fence.map_err(|error| CloneError::Broke(error.to_string()))??;
                self.facts.redo = Some(start);
                // Until now the server kept the WAL for it.
                drop(backup);
                self.phases.begin(Phase::Fixup);
                fence
            }
            None => {
                self.phases.begin(Phase::Fixup);
                let fence = open(home)?;
                fixup::links(&fence, body.symlinks(), self.source.data())?;
                fence
            }
        };
        let control = ControlFile::read(fence.path()).map_err(SourceError::Control)?;
        if self.source.inherited().is_none() {
            self.facts.timeline = Some(control.timeline);
            self.facts.redo.get_or_insert(control.redo);
        }
        Ok((fence, control))
    }

    fn fix_up(
        &mut self,
        fence: &Fence,
        protocol: Protocol,
        control: &ControlFile,
        identifier: u64,
    ) -> Result<(), CloneError> {
        if control.system_identifier != identifier {
            let why =
                format!("its system identifier is {}, that of the source {identifier}", control.system_identifier);
            return Err(FenceError::NotOurs { dir: fence.path().to_owned(), why }.into());
        }
        let out = fixup::take_out(fence, protocol)?;
        if self.recipe.mode.is_unsafe() {
            fence.remove("backup_label")?;
        }
        let home = self.home.as_ref().map(|(_, home)| home.clone()).unwrap_or_default();
        let log = self.order.log.clone().unwrap_or_else(|| home.join("postgresql.log"));
        let files = Files::Here { place: self.place.clone(), dir: fence.path().to_owned(), dataset: None };
        let server =
            self.order.make.server(&self.place, &self.order.name, (&files, log), self.order.limits, Stand::Own)?;
        // Taken until the server has it; it is any other's when somebody took it meanwhile.
        let wanted = self.order.port.and_then(|port| Port::claim(port).ok());
        let door = self.door(&home, wanted.as_ref().map_or(server.host().port, Port::number))?;
        self.port = wanted;
        let source = self.facts.source.as_ref();
        let host = door.host(&door.dbname);
        let wanted = Wanted {
            recipe: &self.recipe,
            major: self.order.make.major(),
            control,
            source,
            host: host.as_ref().unwrap_or(server.host()),
            address: Some(&server.host().host),
            socket: door.socket.as_ref().map(|(dir, _)| dir.as_path()),
            data: fence.path(),
        };
        fixup::configure(fence, &settings::conf(&wanted), &settings::hba(door.socket.is_some()))?;
        let arguments = settings::arguments(&wanted);
        self.facts.kept_out(&out, &self.recipe);
        self.server = Some(Arc::new(server.with(arguments, host)));
        self.door = Some(door);
        Ok(())
    }

    /// The way to the clone; the directory of its socket is made.
    fn door(&self, home: &Path, port: u16) -> Result<Door, CloneError> {
        let login = self.place.login("");
        let source: Option<&SourceFacts> = self.facts.source.as_ref();
        let sources = || self.source.reach().map(|(host, login)| host.who(login).dbname.to_owned());
        let dbname = self.order.dbname.clone().or_else(sources).unwrap_or_else(|| "postgres".to_owned());
        let socket = match self.order.reach {
            Reach::Login => None,
            Reach::Socket => {
                let dir = socket_dir(home);
                self.place.plain_directory(&dir).map_err(io_at(&dir))?;
                let user = source.and_then(|source| source.superuser.clone()).unwrap_or(login.user);
                Some((dir, user))
            }
        };
        Ok(Door { name: self.order.name.clone(), socket, port, dbname })
    }

    async fn resetwal(&mut self, fence: &Fence) -> Result<(), CloneError> {
        if let Mode::Resetwal(_) = self.recipe.mode {
            self.phases.begin(Phase::Resetwal);
            self.order.make.resetwal(&self.place, fence.path()).await?;
        }
        Ok(())
    }

    async fn start(&mut self, home: &Path) -> Result<(), CloneError> {
        let server =
            self.server.clone().ok_or_else(|| CloneError::Broke(format!("no server in {}", home.display())))?;
        let phases = Mutex::new(&mut self.phases);
        let told = |step: Step| {
            let phase = match step {
                Step::Create => Phase::ContainerCreate,
                Step::Launch => Phase::ContainerStart,
                Step::Accept => Phase::Start,
                Step::Row => Phase::FirstRow,
            };
            phases.lock().unwrap_or_else(PoisonError::into_inner).begin(phase);
        };
        server.start_by_steps(told).await.map_err(|error| CloneError::Start(Box::new(error)))?;
        self.phases.end();
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), CloneError> {
        let (Some(server), Some(door)) = (&self.server, &self.door) else { return Ok(()) };
        self.phases.begin(Phase::Settle);
        let settled = settle(&self.place, server.host(), door, (self.recipe.prepared, self.order.make.major())).await?;
        self.facts.settled(settled);
        self.phases.end();
        Ok(())
    }

    async fn query(&mut self) -> Result<(), CloneError> {
        let (Some(query), Some(server), Some(door)) = (&self.recipe.query, &self.server, &self.door) else {
            return Ok(());
        };
        let client = client(&self.place, server.host(), door, &door.dbname).await?;
        for phase in [Phase::Cold, Phase::Warm] {
            self.phases.begin(phase);
            let answered = client.simple_query(query).await;
            answered.map_err(|source| CloneError::Sql {
                clone: self.order.name.clone(),
                what: "the first real query",
                source,
            })?;
        }
        self.phases.end();
        Ok(())
    }
}

/// Whether the WAL from which the copy would recover has whole pages: since the latest checkpoint, or since one that is
/// about to be made. Of a standby that is its primary's doing.
fn whole_pages(control: &ControlFile, said: Option<&SourceFacts>, mode: Mode) -> bool {
    match said {
        Some(said) if !said.in_recovery => {
            said.is_on("full_page_writes") && (control.full_page_writes || mode.checkpoint())
        }
        _ => control.full_page_writes,
    }
}

/// The directory of a clone's Unix socket.
fn socket_dir(home: &Path) -> PathBuf {
    home.join("s")
}
