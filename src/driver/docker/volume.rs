//! A data directory on an engine of another machine: a volume, and a container that is never started, through
//! which the engine's archive interface reads and writes the volume's files.
//!
//! Paths are the same as they would be on this machine, so that configuration, logs and errors mean the same
//! wherever a node is: the volume is mounted where the node's directory would be.

use super::container::{Once, labels, log_config};
use super::dock::{Dock, DockError};
use super::engine::{EngineError, asked};
use super::image::Image;
use bollard::models::{ContainerCreateBody, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, RemoveVolumeOptions,
    UploadToContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Copying takes as long as the data set is large, and the network between engines slow.
const COPY_LIMIT: Duration = Duration::from_secs(3600);
/// The largest file that is read whole.
const FILE_MAX: u64 = 16 << 20;
/// Writes a directory to disk: with its file system alone where `sync` can.
const SYNC: &str = r#"sync -f "$1" 2>/dev/null || sync"#;

/// A data directory on an engine of another machine.
#[derive(Debug)]
pub struct Volume {
    dock: Arc<Dock>,
    name: String,
    image: String,
    /// Where it is mounted.
    dir: PathBuf,
    data: PathBuf,
}

impl Volume {
    /// Makes one with an empty data directory, the server user's own, that is `dir`/data in containers. `of` is for
    /// its name.
    pub async fn create(dock: &Arc<Dock>, image: &Image, of: &str, dir: &Path) -> Result<Volume, DockError> {
        let name = dock.name(of);
        let (run, docker) = (&dock.place.setup.run, &dock.engine.docker);
        let volume = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(labels(run, None)),
            ..VolumeCreateRequest::default()
        };
        docker.create_volume(volume).await.map_err(asked("creating a volume"))?;
        let (dir, data) = (dir.to_owned(), dir.join("data"));
        let made = Volume { dock: dock.clone(), name, image: image.id.clone(), dir, data };
        let holder = ContainerCreateBody {
            image: Some(image.id.clone()),
            cmd: Some(vec!["true".to_owned()]),
            labels: Some(labels(run, None)),
            host_config: Some(HostConfig {
                binds: Some(vec![made.bind()]),
                network_mode: Some("none".to_owned()),
                log_config: Some(log_config()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&made.name).build();
        docker.create_container(Some(options), holder).await.map_err(asked("creating a volume's container"))?;
        let mut tar = Tar::new(dock.ids());
        tar.directory(Path::new("data"), 0o700).map_err(at(&made.data))?;
        dock.upload(&made.name, &made.dir, tar.end().map_err(at(&made.data))?).await?;
        Ok(made)
    }

    /// How it is mounted into a container.
    pub(super) fn bind(&self) -> String {
        format!("{}:{}:rw", self.name, self.dir.display())
    }

    /// The data directory in a container.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A file of the data directory.
    pub async fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = self.data.join(name).to_string_lossy().into_owned();
        let options = DownloadFromContainerOptionsBuilder::new().path(&path).build();
        let archive = self.dock.engine.docker.download_from_container(&self.name, Some(options));
        let what = || asked(format!("reading {path} on the engine"));
        let mut archive = Box::pin(archive);
        let mut bytes = Vec::new();
        while let Some(part) = archive.next().await {
            bytes.extend_from_slice(&part.map_err(what()).map_err(io_error)?);
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entry = archive.entries()?.next().ok_or_else(|| io::Error::other("the engine sent an empty archive"))??;
        let mut text = Vec::new();
        entry.take(FILE_MAX).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Writes a file of the data directory that only the server's user can read, in place of what was there.
    pub async fn write(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let mut tar = Tar::new(self.dock.ids());
        tar.file(Path::new(name), text, 0o600)?;
        self.dock.upload(&self.name, &self.data, tar.end()?).await.map_err(io_error)
    }

    /// Makes a cluster in it, with the `initdb` of the image; see [`Dock::initdb`].
    pub async fn initdb(&self, image: &Image, pwfile: &Path) -> Result<(), DockError> {
        let password = std::fs::read(pwfile).map_err(at(pwfile))?;
        let given = vec![Given { path: pwfile.to_owned(), text: password, mode: 0o600 }, self.dock.passwd()];
        self.dock.run_initdb(image, pwfile, &self.data, vec![self.bind()], given).await
    }

    /// Copies the data directory of `from` to this one, which is empty.
    pub async fn copy(&self, from: &Volume) -> Result<(), DockError> {
        if Arc::ptr_eq(&self.dock, &from.dock) {
            return self.shell(r#"cp -a "$1/." "$2""#, from, "copying a data directory").await;
        }
        let path = from.data.to_string_lossy();
        let options = DownloadFromContainerOptionsBuilder::new().path(&path).build();
        // What it sends begins with the directory itself, under its own name, which both have.
        let archive = from.dock.engine.docker.clone().with_timeout(COPY_LIMIT);
        let name = from.name.clone();
        let archive = async_stream(archive, name, options);
        let options = UploadToContainerOptionsBuilder::new().path(&self.dir.to_string_lossy()).build();
        let to = self.dock.engine.docker.clone().with_timeout(COPY_LIMIT);
        let sent = to.upload_to_container(&self.name, Some(options), bollard::body_try_stream(archive)).await;
        let (from, to) = (from.dock.engine.name(), self.dock.engine.name());
        Ok(sent.map_err(asked(format!("copying a data directory from the engine at {from} to that at {to}")))?)
    }

    /// Writes what is in it to disk.
    pub async fn sync(&self) -> Result<(), DockError> {
        self.shell(SYNC, self, "writing a data directory to disk").await
    }

    /// Removes it; nothing must use it.
    pub async fn remove(&self) -> Result<(), EngineError> {
        let engine = &self.dock.engine;
        engine.remove(&self.name).await?;
        match engine
            .docker
            .remove_volume(&self.name, None::<RemoveVolumeOptions>)
            .await
            .map_err(asked("removing a volume"))
        {
            Err(error) if error.status() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs a script in which `$1` is the data directory of `other` and `$2` this one.
    async fn shell(&self, script: &str, other: &Volume, what: &str) -> Result<(), DockError> {
        let (one, two) = (other.data.display().to_string(), self.data.display().to_string());
        let command = ["/bin/sh", "-c", script, "sh", &one, &two].map(str::to_owned).to_vec();
        let mut binds = vec![self.bind()];
        if other.name != self.name {
            binds.push(other.bind());
        }
        let once = Once {
            run: &self.dock.place.setup.run,
            image: &self.image,
            entrypoint: Some(command),
            user: Some(self.dock.user()),
            binds,
            limit: COPY_LIMIT,
            ..Once::default()
        };
        let output = self.dock.engine.once(once).await?;
        if output.status == 0 {
            return Ok(());
        }
        let why = format!("exit status {}: {}", output.status, output.stderr.trim());
        Err(EngineError::Lost { what: what.to_owned(), why }.into())
    }
}

/// The archive of a path in a container, with errors as a body wants them.
fn async_stream(
    docker: bollard::Docker,
    container: String,
    options: bollard::query_parameters::DownloadFromContainerOptions,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    Box::pin(docker.download_from_container(&container, Some(options)).map_err(io::Error::other))
}

/// A file that a container is given before it starts.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// Where it is in the container.
    pub path: PathBuf,
    pub text: Vec<u8>,
    pub mode: u32,
}

/// An archive being made, of what belongs to one user.
struct Tar {
    builder: tar::Builder<Vec<u8>>,
    ids: (u32, u32),
}

impl Tar {
    fn new(ids: (u32, u32)) -> Tar {
        Tar { builder: tar::Builder::new(Vec::new()), ids }
    }

    fn header(&self, mode: u32, kind: tar::EntryType, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(self.ids.0.into());
        header.set_gid(self.ids.1.into());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        header.set_mtime(now.map_or(0, |now| now.as_secs()));
        header
    }

    fn directory(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let mut header = self.header(mode, tar::EntryType::Directory, 0);
        self.builder.append_data(&mut header, path, io::empty())
    }

    fn file(&mut self, path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
        let mut header = self.header(mode, tar::EntryType::Regular, text.len() as u64);
        self.builder.append_data(&mut header, path, text)
    }

    fn end(self) -> io::Result<Bytes> {
        self.builder.into_inner().map(Bytes::from)
    }
}

impl Dock {
    /// Puts files into a container that has not started yet.
    pub(super) async fn give(&self, container: &str, given: &[Given]) -> Result<(), EngineError> {
        give(&self.engine, container, given, self.ids()).await
    }

    async fn upload(&self, container: &str, into: &Path, tar: Bytes) -> Result<(), EngineError> {
        upload(&self.engine, container, into, tar).await
    }
}

/// Puts files of a user into a container that has not started yet.
pub(super) async fn give(
    engine: &super::Engine,
    container: &str,
    given: &[Given],
    ids: (u32, u32),
) -> Result<(), EngineError> {
    if given.is_empty() {
        return Ok(());
    }
    let mut tar = Tar::new(ids);
    let packed = given
        .iter()
        .try_for_each(|Given { path, text, mode }| tar.file(path.strip_prefix("/").unwrap_or(path), text, *mode));
    let tar = packed.and_then(|()| tar.end());
    let lost = |error: io::Error| EngineError::Lost { what: "packing files".to_owned(), why: error.to_string() };
    upload(engine, container, Path::new("/"), tar.map_err(lost)?).await
}

async fn upload(engine: &super::Engine, container: &str, into: &Path, tar: Bytes) -> Result<(), EngineError> {
    let options = UploadToContainerOptionsBuilder::new().path(&into.to_string_lossy()).build();
    let sent = engine.docker.upload_to_container(container, Some(options), bollard::body_full(tar)).await;
    sent.map_err(asked(format!("writing below {} on the engine", into.display())))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DockError + use<> {
    let path = path.to_owned();
    move |source| DockError::Io { path, source }
}

/// As an error of files: what is not there is not found.
fn io_error(error: EngineError) -> io::Error {
    match error.status() {
        Some(404) => io::Error::new(io::ErrorKind::NotFound, error),
        _ => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_holds_what_was_put_in() {
        let mut tar = Tar::new((70, 71));
        tar.directory(Path::new("data"), 0o700).unwrap();
        let long = format!("{}/passfile", "d".repeat(150));
        tar.file(Path::new(&long), b"secret", 0o600).unwrap();
        let bytes = tar.end().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let (header, path) = (entry.header().clone(), entry.path().unwrap().into_owned());
            (path, header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap(), header.size().unwrap())
        });
        let expected = [(PathBuf::from("data"), 0o700, 70, 71, 0), (PathBuf::from(long), 0o600, 70, 71, 6)];
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_missing_is_not_found() {
        let refused = |status| EngineError::Refused { what: String::new(), status, said: String::new() };
        assert_eq!(io_error(refused(404)).kind(), io::ErrorKind::NotFound);
        assert_eq!(io_error(refused(500)).kind(), io::ErrorKind::Other);
    }
}
