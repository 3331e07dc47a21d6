//! The LAN of a trial on bare processes: a network namespace a node, joined by a bridge.
//!
//! ```text
//!  this machine's namespace        pgbr-<tag>                    pgbr-<tag>-<node>
//!  pgbr<tag> ───────────────────── host ┐
//!    .1 observer                        ├ br0 ┬ n3 ───────────── eth0 .3
//!    .2, … stations                           └ n4 ───────────── eth0 .4
//! ```
//!
//! The bridge stands in a namespace of its own. In the machine's own one, the firewall would see packets
//! between nodes as forwarded ones where `br_netfilter` is loaded, and drop them where Docker has set that
//! policy. Here it sees only what the harness itself sends and receives; a machine whose `INPUT` drops by
//! default lets the harness reach the nodes, but no node reach a proxy of the harness. Everything goes when
//! the namespaces and the one device go.
//!
//! Addresses are from 198.18.0.0/15, set aside for benchmarks (RFC 2544), one /24 a LAN.

use super::namespace::{self, NetError, NetNs, removed};
use crate::base::inventory::{Id, Inventory, Thing};
use crate::base::tool::IP;
use serde::Deserialize;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What every device made here in the machine's own namespace is called, before the tag.
const DEVICE: &str = "pgbr";
/// How many /24 there are in 198.18.0.0/15.
const SUBNETS: u32 = 512;
/// The last address that may be given away; the one after it is for broadcasts.
const LAST: u32 = 254;

/// A LAN. Dropping it removes nothing; [`Lan::remove`] does, or cleaning by the inventory.
#[derive(Debug)]
pub struct Lan {
    inventory: Arc<Inventory>,
    tag: String,
    subnet: Subnet,
    hub: NetNs,
    entries: Mutex<Vec<(Id, Thing)>>,
    /// The last address that was given away.
    given: AtomicU32,
}

/// A node's place on a LAN.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its address.
    pub address: IpAddr,
    /// Its namespace.
    pub ns: NetNs,
    hub: NetNs,
    /// The hub's end of its cable.
    port: String,
    inventory: Arc<Inventory>,
}

impl Lan {
    /// Makes a LAN without nodes; everything is named in the inventory before it is made. When it fails,
    /// nothing of it is left.
    pub async fn create(inventory: &Arc<Inventory>, run: &str) -> Result<Lan, NetError> {
        namespace::possible()?;
        let number = number(run);
        let tag = format!("{number:08x}");
        let hub = format!("pgbr-{tag}");
        let (id, ns) = NetNs::create(&hub, inventory).await?;
        let mut lan = Lan {
            inventory: inventory.clone(),
            tag,
            subnet: Subnet(0),
            hub: ns,
            entries: Mutex::new(vec![(id, Thing::Namespace { name: hub })]),
            given: AtomicU32::new(1),
        };
        match lan.lay(number).await {
            Ok(()) => Ok(lan),
            Err(error) => Err(lan.gone_after(error).await),
        }
    }

    async fn lay(&mut self, number: u32) -> Result<(), NetError> {
        let device = self.device();
        let thing = Thing::Device { name: device.clone() };
        if device_exists(&device) {
            return Err(NetError::Taken(thing));
        }
        let id = self.inventory.thing(thing.clone()).map_err(NetError::io("the inventory"))?;
        self.entries().push((id, thing));
        // Both ends at once: `ip` takes the other namespace by its name.
        let hub = self.hub_name();
        let pair = ["link", "add", &device, "type", "veth", "peer", "name", "host", "netns", &hub];
        IP.run(pair, &self.inventory).await?;
        let bridge = "link add br0 type bridge forward_delay 0\n\
                      link set br0 up\n\
                      link set host master br0 up\n";
        self.hub.ip(bridge, &self.inventory).await?;
        IP.run(["link", "set", &device, "up"], &self.inventory).await?;
        self.subnet = self.free_subnet(number).await?;
        Ok(())
    }

    /// Takes a subnet that nobody on this machine routes to. Of two that take the same one at the same
    /// moment each sees the other's route, and both go on, by steps that differ.
    async fn free_subnet(&self, number: u32) -> Result<Subnet, NetError> {
        let taken = self.routes(None).await?;
        let device = self.device();
        // Odd, so that it visits all of them.
        let step = (number >> 9) | 1;
        for i in 0..SUBNETS {
            let subnet = Subnet(number.wrapping_add(i.wrapping_mul(step)) % SUBNETS);
            if taken.iter().any(|route| route.covers(subnet)) {
                continue;
            }
            self.address("add", subnet, 1).await?;
            if self.routes(Some(subnet)).await?.iter().all(|route| route.dev.as_ref() == Some(&device)) {
                return Ok(subnet);
            }
            self.address("del", subnet, 1).await?;
        }
        Err(NetError::NoSubnet)
    }

    async fn address(&self, verb: &str, subnet: Subnet, number: u32) -> Result<(), NetError> {
        let address = format!("{}/24", subnet.address(number));
        IP.run(["address", verb, &address, "dev", &self.device()], &self.inventory).await?;
        Ok(())
    }

    async fn routes(&self, to: Option<Subnet>) -> Result<Vec<Route>, NetError> {
        let mut args = vec!["-json".to_owned(), "route".to_owned(), "show".to_owned()];
        match to {
            Some(subnet) => args.extend(["exact".to_owned(), subnet.to_string()]),
            None => args.extend(["table".to_owned(), "all".to_owned()]),
        }
        let text = IP.run(&args, &self.inventory).await?;
        parse(&text)
    }

    /// The observer's address on this machine: sampling, verdicts, control; never to be cut off.
    pub fn observer(&self) -> IpAddr {
        self.subnet.address(1)
    }

    /// Adds an address on this machine, for another party on the harness's side.
    pub async fn station(&self) -> Result<IpAddr, NetError> {
        let number = self.next()?;
        self.address("add", self.subnet, number).await?;
        Ok(self.subnet.address(number))
    }

    /// Makes a namespace for a node, with an address of its own on the LAN.
    pub async fn node(&self, name: &str) -> Result<Attached, NetError> {
        let number = self.next()?;
        let (address, port) = (self.subnet.address(number), format!("n{number}"));
        let full = format!("{}-{name}", self.hub_name());
        let (id, ns) = NetNs::create(&full, &self.inventory).await?;
        self.entries().push((id, Thing::Namespace { name: full.clone() }));
        let cable = format!(
            "link add {port} type veth peer name eth0 netns {full}\n\
             link set {port} master br0 up\n"
        );
        self.hub.ip(&cable, &self.inventory).await?;
        let own = format!("address add {address}/24 dev eth0\nlink set eth0 up\n");
        ns.ip(&own, &self.inventory).await?;
        Ok(Attached { address, ns, hub: self.hub.clone(), port, inventory: self.inventory.clone() })
    }

    /// The names that this LAN has on this machine contain this.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Its addresses, as `198.18.7.0/24`.
    pub fn subnet(&self) -> String {
        self.subnet.to_string()
    }

    /// Removes it. Processes in it should be dead: those that live keep a namespace without a network.
    pub async fn remove(&self) -> Result<(), NetError> {
        let mut entries = std::mem::take(&mut *self.entries());
        let mut left = Vec::new();
        while let Some((id, thing)) = entries.pop() {
            let removing = thing.clone();
            match removed(move || remove(&removing)).await {
                Ok(()) => self.inventory.gone(id).map_err(NetError::io("the inventory"))?,
                Err(why) => left.push((id, thing, why)),
            }
        }
        let why: Vec<String> = left.iter().map(|(_, thing, why)| format!("{thing} was not removed: {why}")).collect();
        self.entries().extend(left.into_iter().rev().map(|(id, thing, _)| (id, thing)));
        if why.is_empty() { Ok(()) } else { Err(NetError::Left(why.join("\n"))) }
    }

    async fn gone_after(&self, error: NetError) -> NetError {
        match self.remove().await {
            Ok(()) => error,
            Err(left) => NetError::Left(format!("{error}\n{left}")),
        }
    }

    fn next(&self) -> Result<u32, NetError> {
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        if number > LAST { Err(NetError::NoAddress(self.subnet())) } else { Ok(number) }
    }

    fn device(&self) -> String {
        format!("{DEVICE}{}", self.tag)
    }

    fn hub_name(&self) -> String {
        format!("pgbr-{}", self.tag)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<(Id, Thing)>> {
        // The list is whole after every statement.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attached {
    /// Pulls its cable: its device stays up with its address and loses the carrier, as when a switch's port
    /// goes dead. Nothing is answered, nothing is refused.
    pub async fn down(&self) -> Result<(), NetError> {
        self.hub.ip(&format!("link set {} down\n", self.port), &self.inventory).await
    }

    /// Plugs it in again.
    pub async fn up(&self) -> Result<(), NetError> {
        self.hub.ip(&format!("link set {} up\n", self.port), &self.inventory).await
    }
}

/// A number that no other LAN of this machine has: of the run, this process and how many it made.
fn number(run: &str) -> u32 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let mut hasher = DefaultHasher::new();
    (run, std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)).hash(&mut hasher);
    hasher.finish() as u32
}

fn remove(thing: &Thing) -> Result<(), String> {
    match thing {
        Thing::Namespace { name } => namespace::delete(name),
        Thing::Device { name } => delete_device(name),
        other => Err(format!("{other} is no part of a network")),
    }
}

/// Whether a device of this machine is called so.
pub fn device_exists(name: &str) -> bool {
    PathBuf::from("/sys/class/net").join(name).symlink_metadata().is_ok()
}

/// Deletes a device that was made here; one that is gone is fine. It also goes by itself a moment after
/// the namespace at its other end.
pub fn delete_device(name: &str) -> Result<(), String> {
    if !device_exists(name) {
        return Ok(());
    }
    if !name.starts_with(DEVICE) || Path::new(name).components().count() != 1 {
        return Err(format!("the device {name} does not bear a name of ours"));
    }
    match IP.run_here(["link", "delete", name]) {
        Err(error) if device_exists(name) => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// One of the 512 subnets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subnet(u32);

impl Subnet {
    fn address(self, number: u32) -> IpAddr {
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        Ipv4Addr::from(base + self.0 * 256 + number).into()
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/24", self.address(0))
    }
}

/// A line of `ip -json route`.
#[derive(Debug, Deserialize)]
struct Route {
    /// `default`, an address, or an address and a prefix's length.
    dst: Option<String>,
    dev: Option<String>,
}

impl Route {
    /// Whether it leads to addresses of `subnet` in particular. Routes that lead to an eighth of all
    /// addresses and more (the default one, those of a VPN that takes everything) do not count.
    fn covers(&self, subnet: Subnet) -> bool {
        let Some(dst) = &self.dst else { return false };
        let (address, length) = dst.split_once('/').unwrap_or((dst, "32"));
        let (Ok(address), Ok(length)) = (address.parse::<Ipv4Addr>(), length.parse::<u32>()) else { return false };
        let IpAddr::V4(ours) = subnet.address(0) else { return false };
        let mask = u32::MAX.checked_shl(32 - length.min(24)).unwrap_or(0);
        length > 3 && u32::from(address) & mask == u32::from(ours) & mask
    }
}

fn parse(text: &str) -> Result<Vec<Route>, NetError> {
    // Older versions print nothing at all when there is no route.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|error| NetError::io("`ip -json route` printed something else")(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_which_subnets_are_in_use() {
        let text = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},{"dst":"0.0.0.0/1","dev":"wg0"},
            {"dst":"198.18.2.0/24","dev":"x"},{"dst":"198.18.3.7","dev":"y"},{"dst":"198.19.0.0/17","dev":"z"},
            {"type":"local","dst":"172.17.0.1","dev":"docker0"},{"dst":"fe80::/64","dev":"eth0"}]"#;
        let routes = parse(text).unwrap();
        let taken: Vec<u32> = (0..SUBNETS).filter(|&n| routes.iter().any(|r| r.covers(Subnet(n)))).collect();
        let expected: Vec<u32> = [2, 3].into_iter().chain(256..384).collect();
        assert_eq!(taken, expected);
        assert!(parse("").unwrap().is_empty());
        assert_eq!(Subnet(511).address(254).to_string(), "198.19.255.254");
    }

    #[test]
    fn names_differ_and_fit() {
        let (one, two) = (number("r"), number("r"));
        assert_ne!(one, two);
        assert!(format!("{DEVICE}{one:08x}").len() <= 15);
    }
}
