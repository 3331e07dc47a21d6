//! What sets servers apart on this machine: containers, networks and disks of their own.

use super::Finding;
use crate::base::tool::{IPTABLES, IPTABLES_RESTORE, Tool};
use crate::disk::Format;
use crate::disk::cgroup::{Hierarchy, Version};
use crate::driver::docker::{Engine, EngineError};
use crate::net::namespace;

/// How long an engine on another machine may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// All of it.
pub(super) fn findings() -> Vec<Finding> {
    let mut findings = engine();
    findings.extend([
        Finding::told("namespaces", namespace::possible().map(|()| "network namespaces can be made".to_owned())),
        Finding::told("packet filter", tools(&[IPTABLES, IPTABLES_RESTORE])),
        Finding::told("slow disks", slow_disks()),
    ]);
    findings.extend(Format::ALL.map(|format| Finding::told(disk_of(format), format.possible())));
    findings
}

fn disk_of(format: Format) -> &'static str {
    match format {
        Format::Ext4 => "disks of ext4",
        Format::Btrfs => "disks of btrfs",
        Format::Xfs => "disks of XFS",
        Format::Zfs => "disks of ZFS",
    }
}

fn engine() -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let asked = async {
            let engine = Engine::connect(None).await?;
            let images = engine.images().await?;
            Ok::<_, EngineError>((engine, images))
        };
        // Building the timer needs the runtime, too.
        let asked = runtime.block_on(async { tokio::time::timeout(LIMIT, asked).await });
        asked.map_err(|_| format!("the container engine did not answer within {LIMIT:?}"))?.map_err(|e| e.to_string())
    });
    let (engine, images) = match asked {
        Ok(found) => found,
        Err(error) => return vec![Finding::told("Docker", Err::<String, _>(error))],
    };
    let local = if engine.is_local() { "" } else { "; on another machine" };
    let found = format!("engine {} at {}, {}{local}", engine.version(), engine.name(), engine.why());
    let of_postgres: Vec<String> = images.into_iter().filter(|image| image.contains("postgres")).collect();
    let images = match of_postgres.as_slice() {
        [] => {
            Err("none that looks like PostgreSQL\nhint: docker pull postgres:18 (a run pulls what it needs)".to_owned())
        }
        images => Ok(images.join(", ")),
    };
    vec![Finding::told("Docker", Ok::<_, String>(found)), Finding::told("images", images)]
}

fn tools(tools: &[Tool]) -> Result<String, String> {
    let paths = tools.iter().map(|tool| tool.path().map(|path| path.display().to_string()));
    Ok(paths.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?.join(", "))
}

fn slow_disks() -> Result<String, String> {
    let hierarchy = Hierarchy::find().map_err(|error| error.to_string())?;
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can limit block devices\nhint: run as root where a step slows a disk".to_owned());
    }
    let version = match hierarchy.version {
        Version::V1 => "1: what processes write themselves, not what the kernel writes for them later",
        Version::V2 => "2",
    };
    Ok(format!("control groups in {}, version {version}", hierarchy.root.display()))
}
