//! A node before it starts: its directory, its disk, its data, its configuration.

use super::disks::Disk;
use super::error::io_at;
use super::node::{Node, NodeSpec};
use super::settings;
use super::template::{CONF, SYNC_LIMIT, Template};
use super::{BuildError, Cluster, Made};
use crate::base::exec::Command;
use crate::disk::OwnDisk;
use crate::disk::mount::{FileSystem, Kind};
use crate::driver::files::CopyError;
use crate::driver::{Files, SERVER_PROGRAM};
use crate::pg::conf;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Cluster {
    /// The directory of one of `nodes` nodes, with the data of the template for its make and its own configuration.
    pub(super) async fn prepare(
        &mut self,
        trial: &str,
        trial_dir: &Path,
        templates: &[&Template],
        spec: &NodeSpec,
        nodes: usize,
    ) -> Result<Node, BuildError> {
        let dir = match &spec.dir {
            _ if spec.make.is_remote() => trial_dir.join(&spec.name),
            None => self.make(&trial_dir.join(&spec.name), &self.place.dir.clone(), Some(SERVER_PROGRAM))?,
            Some(elsewhere) => {
                // Nodes of several trials and runs may be put there, so the name says whose it is.
                let name = format!("pgbench-rs-{}-{trial}-{}", self.place.setup.run, spec.name);
                self.make(&elsewhere.join(name), elsewhere, Some(SERVER_PROGRAM))?
            }
        };
        let place = self.place.clone();
        let disk = match spec.disk {
            None => None,
            Some(OwnDisk { size, format }) => {
                let path = dir.join("disk");
                place.plain_directory(&path).map_err(io_at(&path))?;
                let disk = FileSystem::mount(&place.setup.inventory, &path, size.0, format).await?;
                if let Kind::Memory { why } = disk.kind() {
                    self.in_memory.push((spec.name.clone(), why.clone()));
                }
                let disk = Arc::new(Disk::new(disk));
                self.disks.push(disk.clone());
                Some(disk)
            }
        };
        let logs = place.setup.logs.join(trial).join(&spec.name);
        std::fs::create_dir_all(&logs).map_err(io_at(&logs))?;
        let Some(template) = templates.iter().find(|template| template.made_by() == spec.make.key()) else {
            let made = templates.iter().map(|template| template.made_by()).collect::<Vec<_>>().join(" and ");
            let why = format!("node `{}` is of {} and cannot run on what {made} made", spec.name, spec.make.key());
            return Err(BuildError::Topology(why));
        };
        // Not the root of a disk, where other things may lie.
        let within = disk.as_ref().map_or(dir.as_path(), |disk| disk.path());
        let (files, copy) = template.copy(&spec.make, &place, &spec.name, within).await?;
        self.copies.push((spec.name.clone(), copy));
        self.files.push(files.clone());
        let server = {
            let stand = self.network.stand(&spec.name).await?;
            spec.make.server(&place, &spec.name, (&files, logs.join("postgresql.log")), spec.limits, stand)?
        };
        let node = Node::new(spec, files, server, disk);
        let settings = settings::of_node(spec, &node.host, nodes);
        let written = node.files().write(CONF, &conf::postgresql_conf(&settings)).await;
        written.map_err(io_at(&node.dir.join(CONF)))?;
        Ok(node)
    }

    pub(super) fn make(&mut self, path: &Path, within: &Path, program: Option<&str>) -> Result<PathBuf, BuildError> {
        let (entry, path) = self.place.directory(path, within, program).map_err(io_at(path))?;
        let within = std::fs::canonicalize(within).map_err(io_at(within))?;
        self.made.push(Made { entry, path: path.clone(), within });
        Ok(path)
    }

    /// Writes what was copied to disk: the system would else do so in the midst of the trial.
    pub(super) async fn sync(&self) -> Result<(), BuildError> {
        for volume in self.files.iter().filter_map(Files::volume) {
            volume.sync().await.map_err(CopyError::from)?;
        }
        let here = self.nodes.iter().filter(|node| matches!(node.files(), Files::Here { .. }));
        let dirs: Vec<&PathBuf> = here.map(|node| &node.dir).collect();
        if dirs.is_empty() {
            return Ok(());
        }
        let command = Command::new("sync", SYNC_LIMIT).arg("--file-system").args(dirs);
        let command = command.user(self.place.setup.user.as_ref());
        command.run(&self.place.setup.inventory).await?;
        Ok(())
    }
}
