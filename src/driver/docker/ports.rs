//! Ports of servers on another machine: chosen here, where they cannot be held, so those that are in use there are
//! asked for first.

use super::container::Once;
use super::engine::{Engine, EngineError};
use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Below the ports from which Linux chooses for outgoing connections, and above the well-known ones.
pub(super) const FIRST: u16 = 20000;
pub(super) const LAST: u16 = 30000;
const ASK_LIMIT: Duration = Duration::from_secs(60);

/// The ports of one engine's machine that nobody else can be given. Two engines of one machine do not know of each
/// other; that each node begins elsewhere keeps them apart.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// By programs of that machine.
    used: Mutex<BTreeSet<u16>>,
    /// By servers of the run.
    taken: Mutex<BTreeSet<u16>>,
}

impl Ports {
    /// Asks which ports are in use there. What comes to be used later makes a start fail, which says so.
    pub(super) async fn learn(&self, engine: &Engine, run: &str, image: &str) -> Result<(), EngineError> {
        let command = ["/bin/sh", "-c", "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || cat /proc/net/tcp"];
        let entrypoint = Some(command.map(str::to_owned).to_vec());
        let once = Once { run, image, entrypoint, host_network: true, limit: ASK_LIMIT, ..Once::default() };
        let output = engine.once(once).await?;
        if output.status != 0 {
            let why = format!("exit status {}: {}", output.status, output.stderr.trim());
            return Err(EngineError::Lost {
                what: "asking which ports are in use on the engine's machine".to_owned(),
                why,
            });
        }
        lock(&self.used).extend(output.stdout.lines().filter_map(local_port));
        Ok(())
    }

    /// A port for a node of a run; absent when all are taken.
    pub(super) fn take(&self, run: &str, node: &str) -> Option<u16> {
        let mut hasher = DefaultHasher::new();
        (run, node).hash(&mut hasher);
        let count = u64::from(LAST - FIRST) + 1;
        let start = hasher.finish() % count;
        let (used, mut taken) = (lock(&self.used), lock(&self.taken));
        let ports = (0..count).filter_map(|step| u16::try_from(u64::from(FIRST) + (start + step) % count).ok());
        let port = ports.into_iter().find(|port| !used.contains(port) && !taken.contains(port))?;
        taken.insert(port);
        Some(port)
    }

    /// The server that had it is no more.
    pub(super) fn give_back(&self, port: u16) {
        lock(&self.taken).remove(&port);
    }
}

fn lock(ports: &Mutex<BTreeSet<u16>>) -> MutexGuard<'_, BTreeSet<u16>> {
    ports.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The port at the local end, in a line of `/proc/net/tcp` or `tcp6`.
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_ascii_whitespace().nth(1)?.split_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_which_ports_are_in_use() {
        let line = "   0: 0100007F:5BA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 26";
        assert_eq!(local_port(line), Some(23456));
        assert_eq!(local_port("  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn nobody_is_given_what_is_in_use() {
        let ports = Ports::default();
        let first = ports.take("run", "a").unwrap();
        assert!((FIRST..=LAST).contains(&first));
        assert_ne!(ports.take("run", "a"), Some(first));
        ports.give_back(first);
        lock(&ports.used).insert(first);
        assert_ne!(ports.take("run", "a"), Some(first));
        lock(&ports.used).extend(FIRST..=LAST);
        assert_eq!(ports.take("run", "a"), None);
    }
}
