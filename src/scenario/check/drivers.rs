//! How servers exist, and what is asked of them that only some can do.

use super::Findings;
use crate::disk::Format;
use crate::driver::Driver;
use crate::fault::Fault;
use crate::scenario::Scenario;

pub(super) fn drivers(scenario: &Scenario, findings: &mut Findings) {
    let nodes = scenario.nodes();
    if let Some(first) = nodes.first()
        && let Some(other) = nodes.iter().find(|node| node.driver.name() != first.driver.name())
    {
        let message = format!(
            "`{}` is of the driver `{}`, and `{}` of `{}`",
            other.name,
            other.driver.name(),
            first.name,
            first.driver.name()
        );
        findings.key(
            &["node", &other.entry, "driver"],
            message,
            "let all nodes be of one kind; they must reach each other",
        );
    }
    engine(&["driver"], &scenario.driver, findings);
    for (entry, node) in &scenario.node {
        if let Some(own) = &node.driver {
            engine(&["node", entry, "driver"], own, findings);
        }
        let driver = node.driver.as_ref().unwrap_or(&scenario.driver);
        // Of somebody else's server more is said elsewhere.
        let docker = matches!(driver, Driver::Docker(_) | Driver::External(_));
        let limits =
            [("memory", node.memory.is_some()), ("cpus", node.cpus.is_some()), ("shm_size", node.shm_size.is_some())];
        for (key, _) in limits.into_iter().filter(|(_, given)| *given && !docker) {
            findings.key(
                &["node", entry, key],
                format!("`{key}` limits a container, and `{entry}` is of the driver `{}`", driver.name()),
                "add `driver = { kind = \"docker\" }`, or run with `--driver docker`",
            );
        }
        if node.cpus.is_some_and(|cpus| !(cpus.is_finite() && cpus >= 0.01)) {
            findings.value(&["node", entry, "cpus"], "that is no share of processors", "such as 0.5; at least 0.01");
        }
        if node.memory.is_some_and(|size| size.0 < 6 << 20) {
            findings.value(&["node", entry, "memory"], "engines refuse less than 6MB", "such as \"512MB\"");
        }
        if let Some(disk) = node.disk
            && disk.size < disk.format.least()
        {
            findings.value(
                &["node", entry, "disk"],
                format!("an empty cluster with its WAL needs {} of {}", disk.format.least(), disk.format),
                "such as \"1GB\"",
            );
        }
    }
}

/// How the engine of a driver's table is named.
fn engine(path: &[&str], driver: &Driver, findings: &mut Findings) {
    if let Driver::Docker(docker) = driver
        && let Some((key, why)) = docker.wrong()
    {
        let (message, hint) = why.split_once("\nhint: ").unwrap_or((&why, "see the README on servers in containers"));
        findings.value(&[path, &[key]].concat(), message, hint);
    }
}

/// A fault of a disk is for nodes that have one of their own.
pub(super) fn disk(scenario: &Scenario, act: &[&str], fault: &Fault, target: &str, findings: &mut Findings) {
    let nodes = scenario.nodes();
    let meant: Vec<_> = nodes.iter().filter(|node| target.starts_with('@') || node.name == target).collect();
    if matches!(fault, Fault::SlowDisk(_))
        && let Some(node) = meant.iter().find(|node| node.disk.is_some_and(|disk| disk.format == Format::Zfs))
    {
        findings.value(
            &[act, &["of"]].concat(),
            format!("`{}` is on ZFS, whose daemon or kernel threads read and write for it", node.name),
            "their speed cannot be limited; let its disk be ext4, btrfs or xfs",
        );
    }
    if let Some(node) = meant.into_iter().find(|node| node.disk.is_none() && node.driver.external().is_none()) {
        findings.value(
            &[act, &["of"]].concat(),
            format!("`{}` has no disk of its own, and no other is touched", node.name),
            match super::remote::is_remote(node) {
                true => "disks are made on this machine, and its engine is another's".to_owned(),
                false => format!("add `node.{}.disk = \"1GB\"`", node.entry),
            },
        );
    }
    if let Fault::SlowDisk(slow) = fault
        && slow.write.or(slow.read).is_none_or(|size| size.0 == 0)
    {
        findings.key(
            &[act, &["kind"]].concat(),
            "it does not say how slow",
            "give it `write` or `read`, bytes a second",
        );
    }
}
