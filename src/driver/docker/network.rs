//! The network of a run on one engine: a bridge on which every node has an address that stays its own, and
//! on which it can be unplugged.

use super::container::labels;
use super::engine::{Engine, EngineError, asked};
use bollard::models::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest,
    NetworkDisconnectRequest,
};
use bollard::query_parameters::ListNetworksOptions;
use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The networks to choose from: 198.18.0.0/15 in parts of 256 addresses, set aside for benchmarks of network
/// devices (RFC 2544), so that nothing else should be there.
const POOL: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const PARTS: u32 = 512;
/// The bridge itself is the first address; the nodes' are those from here on.
const FIRST: u8 = 2;
/// What lies above is for the harness's own addresses.
const LAST: u8 = 127;
/// The interface from which on an endpoint has a hardware address of its own choice; older engines make it from
/// the address, so that it stays the same, too.
const MAC_OF_ENDPOINT: usize = 44;

/// A bridge network of the run's own.
#[derive(Debug)]
pub struct Lan {
    engine: Engine,
    id: String,
    /// The bridge's device on the engine's machine; the harness's own addresses may be added to it.
    pub device: String,
    /// The first address of its 256.
    pub subnet: Ipv4Addr,
    /// No way leads out of it.
    pub internal: bool,
    free: Mutex<BTreeSet<u8>>,
}

/// Why a run has no network.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LanError {
    /// All that there are to choose from are in use.
    #[error(
        "no network is free for the containers: all of 198.18.0.0/15 is in use\n\
         hint: `pgbench-rs clean` removes what dead runs have left; `docker network ls` lists all"
    )]
    NoneFree,
    /// A network has no more addresses for nodes.
    #[error(
        "the containers' network has addresses for {} nodes, and all are taken\n\
         hint: let other nodes use `network = \"host\"`; they reach those on the network all the same",
        LAST - FIRST + 1
    )]
    Full,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Lan {
    /// Makes the network of `run` on an address range that neither the engine nor this machine uses; `internal`: one from
    /// which no way leads out.
    pub async fn create(engine: &Engine, run: &str, internal: bool) -> Result<Lan, LanError> {
        let mut hasher = DefaultHasher::new();
        (run, std::process::id(), internal).hash(&mut hasher);
        let hash = hasher.finish();
        let taken = taken(engine).await?;
        // Runs that begin at the same time do not try the same one first.
        let first = (hash % u64::from(PARTS)) as u32;
        let parts = (0..PARTS).map(|n| POOL + ((first + n) % PARTS) * 256);
        for part in parts.filter(|part| !taken.iter().any(|range| overlaps(*range, *part))) {
            let device = format!("pgbr{:08x}", hash as u32);
            let made = engine.docker.create_network(request((run, internal), part, &device)).await;
            match made.map_err(asked("creating a network")) {
                Ok(made) => {
                    let (engine, subnet) = (engine.clone(), Ipv4Addr::from(part));
                    let free = Mutex::new((FIRST..=LAST).collect());
                    return Ok(Lan { engine, id: made.id, device, subnet, internal, free });
                }
                // Somebody took it since, in a place that was not looked at.
                Err(EngineError::Refused { said, .. }) if said.contains("overlap") || said.contains("conflicts") => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LanError::NoneFree)
    }

    /// The network's id on its engine.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The harness's address on it, which is the bridge's own.
    pub fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The `n`th address of the network.
    pub fn address(&self, n: u8) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet) + u32::from(n))
    }

    /// The `number`th address that is for the harness, if there are so many.
    pub(super) fn own_address(&self, number: u8) -> Option<Ipv4Addr> {
        let n = LAST.checked_add(1)?.checked_add(number)?;
        (n < u8::MAX).then(|| self.address(n))
    }

    /// An address for one more node, until it is given back.
    pub fn take_address(&self) -> Result<Ipv4Addr, LanError> {
        self.free().pop_first().map(|n| self.address(n)).ok_or(LanError::Full)
    }

    /// A node that had this address is gone.
    pub fn give_back(&self, address: Ipv4Addr) {
        self.free().insert(address.octets()[3]);
    }

    fn free(&self) -> MutexGuard<'_, BTreeSet<u8>> {
        // Whole after every statement.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a container with that address is on this network.
    pub(super) fn endpoint(&self, address: Ipv4Addr) -> EndpointSettings {
        let [a, b, c, d] = address.octets();
        // The same after every start, so that nobody sends to where it was before.
        let mac = format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(address.to_string()),
                ..EndpointIpamConfig::default()
            }),
            mac_address: self.engine.speaks(MAC_OF_ENDPOINT).then_some(mac),
            ..EndpointSettings::default()
        }
    }

    /// Unplugs a container: it keeps running without this network, its connections hang.
    pub async fn disconnect(&self, container: &str) -> Result<(), EngineError> {
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(false) };
        self.engine.docker.disconnect_network(&self.id, request).await.map_err(asked("disconnecting a container"))
    }

    /// Plugs a container in again, at the address that it had.
    pub async fn connect(&self, container: &str, address: Ipv4Addr) -> Result<(), EngineError> {
        let request =
            NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(self.endpoint(address)) };
        self.engine.docker.connect_network(&self.id, request).await.map_err(asked("connecting a container"))
    }

    /// Removes the network, which must have no containers any more. No harm is done when it is gone.
    pub async fn remove(&self) -> Result<(), EngineError> {
        match self.engine.docker.remove_network(&self.id).await.map_err(asked("removing a network")) {
            Err(error) if error.status() == Some(404) => Ok(()),
            removed => removed,
        }
    }
}

fn request((run, internal): (&str, bool), part: u32, device: &str) -> NetworkCreateRequest {
    let config = IpamConfig {
        subnet: Some(format!("{}/24", Ipv4Addr::from(part))),
        gateway: Some(Ipv4Addr::from(part + 1).to_string()),
        ..IpamConfig::default()
    };
    let options = [("com.docker.network.bridge.name".to_owned(), device.to_owned())];
    NetworkCreateRequest {
        name: format!("pgbench-rs-{run}{}", if internal { "-internal" } else { "" }),
        internal: Some(internal),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
        options: Some(options.into_iter().collect()),
        labels: Some(labels(run, None)),
        ..NetworkCreateRequest::default()
    }
}

/// An address and the length of its prefix.
type Range = (u32, u32);

/// The ranges that the engine's networks and this machine's routes use.
async fn taken(engine: &Engine) -> Result<Vec<Range>, EngineError> {
    let listed = engine.docker.list_networks(None::<ListNetworksOptions>).await.map_err(asked("listing networks"))?;
    let configs = listed.into_iter().filter_map(|network| network.ipam?.config).flatten();
    let mut ranges: Vec<Range> = configs.filter_map(|config| cidr(&config.subnet?)).collect();
    // Where there is no such file, the engine's word is all there is.
    ranges.extend(routes(&std::fs::read_to_string("/proc/net/route").unwrap_or_default()));
    Ok(ranges)
}

fn cidr(text: &str) -> Option<Range> {
    let (address, length) = text.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    Some((address.into(), length.parse().ok()?))
}

/// The destinations in the kernel's table of routes, but for the default.
fn routes(table: &str) -> Vec<Range> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::swap_bytes);
        let (destination, mask) = (number(1)?, number(7)?);
        (mask != 0).then_some((destination, mask.count_ones()))
    };
    table.lines().skip(1).filter_map(route).collect()
}

fn overlaps((address, length): Range, part: u32) -> bool {
    // The shorter of the two prefixes decides.
    let length = length.min(24);
    let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
    address & mask == part & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_seen() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     tun0\t000112C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let ranges = routes(table);
        assert_eq!(ranges, [(u32::from(Ipv4Addr::new(198, 18, 1, 0)), 24)]);
        assert!(overlaps(ranges[0], POOL + 256) && !overlaps(ranges[0], POOL));
        let wide = cidr("198.18.0.0/16").unwrap();
        assert!(overlaps(wide, POOL + 256 * 255) && !overlaps(wide, POOL + 256 * 256));
        assert!(overlaps(cidr("198.19.3.77/32").unwrap(), POOL + 256 * 256 + 3 * 256));
        assert_eq!(cidr("fd00::/8"), None);
    }
}
