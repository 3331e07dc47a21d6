//! The packet filter of one namespace: which packets vanish on their way into it or out of it.
//!
//! The rules stand in a chain of our own to which the namespace's own `INPUT` and `OUTPUT` jump first.
//! Every change replaces the whole chain in one transaction, by one run of `iptables-restore`. Packets are
//! dropped and never refused, those of established connections too.
//!
//! What the sender notices (Linux 6.18, nftables and legacy `iptables` alike):
//!
//! - Dropped on the way *in*, at the receiver: nothing. It sends again and again, with growing pauses
//!   (`ss` shows the timer `on`), as between hosts.
//! - Dropped on the way *out*, at the sender: `connect` hangs and sending succeeds, as between hosts, since
//!   TCP keeps the error `EPERM` to itself. (UDP and ICMP report it to the program.) But as the packet never
//!   left, TCP takes the peer for one whose window is closed (`ss` shows the timer `persist`). A
//!   `TCP_USER_TIMEOUT` of 1 s ends such a connection after 1.2 s, and in the first case after 1.4 s; keepalive
//!   ends both alike, and both go on when packets pass again.
//!
//! So [`super::cut`] drops at the receiver wherever that is a namespace.

use super::namespace::{NetError, NetNs};
use crate::base::exec::CommandError;
use crate::base::inventory::Inventory;
use crate::base::tool::{IPTABLES, IPTABLES_RESTORE, ToolError};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The chain that holds our rules.
const CHAIN: &str = "PGBENCH-RS";
/// How many seconds to wait while somebody else changes the filter.
const WAIT_SECONDS: &str = "10";

/// Which packets, seen from inside the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Those that the peer sends.
    In,
    /// Those that go to the peer.
    Out,
    /// All.
    Both,
}

/// Packets to or from a peer.
pub type Rule = (IpAddr, Direction);

/// The packet filter of a namespace, as far as it is ours; or of one namespace after the other, where every start
/// of a container makes another.
#[derive(Debug)]
pub struct Filter {
    inventory: Arc<Inventory>,
    /// Its namespace comes and goes; rules wait for the next one.
    comes_and_goes: bool,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Absent before the first one.
    ns: Option<NetNs>,
    /// How often each is blocked: of two that block the same, one may end before the other. Never `Both`.
    blocked: BTreeMap<Rule, usize>,
    /// The number of the namespace in which the chain is in use.
    prepared: Option<u64>,
}

impl Filter {
    /// The filter of `ns`; nothing is changed yet.
    pub fn new(ns: NetNs, inventory: Arc<Inventory>) -> Filter {
        let state = State { ns: Some(ns), ..State::default() };
        Filter { inventory, comes_and_goes: false, state: Mutex::new(state) }
    }

    /// The filter of a container that does not run yet. Rules that are set while it does not run are in force from
    /// its next start on.
    pub fn of_container(inventory: Arc<Inventory>) -> Filter {
        Filter { inventory, comes_and_goes: true, state: Mutex::default() }
    }

    /// Goes on in `ns`, the namespace of a container that has just been started: the rules that are to be are put in
    /// force there, if there are any.
    pub async fn enter(&self, ns: NetNs) -> Result<(), NetError> {
        let mut state = self.state.lock().await;
        (state.ns, state.prepared) = (Some(ns), None);
        if state.blocked.is_empty() { Ok(()) } else { self.apply(&mut state).await }
    }

    /// Puts the rules in force that are meant to be, none at first, so that blocking takes one step only.
    pub async fn prepare(&self) -> Result<Duration, NetError> {
        self.change(|_| ()).await
    }

    /// Lets packets vanish from now on; returns how long it took to become so.
    pub async fn block(&self, rules: &[Rule]) -> Result<Duration, NetError> {
        self.change(|blocked| each(rules, |rule| *blocked.entry(rule).or_default() += 1)).await
    }

    /// Lets packets through again, unless they were blocked more than once. A namespace that is gone needs nothing.
    pub async fn unblock(&self, rules: &[Rule]) -> Result<Duration, NetError> {
        let remove = |blocked: &mut BTreeMap<Rule, usize>| {
            each(rules, |rule| {
                if let Some(times) = blocked.get_mut(&rule) {
                    *times -= 1;
                    if *times == 0 {
                        blocked.remove(&rule);
                    }
                }
            });
        };
        let gone = self.state.lock().await.ns.as_ref().is_none_or(|ns| !ns.exists());
        if gone && !self.comes_and_goes { Ok(Duration::ZERO) } else { self.change(remove).await }
    }

    /// Lets everything through again.
    pub async fn clear(&self) -> Result<Duration, NetError> {
        self.change(BTreeMap::clear).await
    }

    async fn change(&self, what: impl FnOnce(&mut BTreeMap<Rule, usize>)) -> Result<Duration, NetError> {
        let mut state = self.state.lock().await;
        let began = Instant::now();
        let mut new = state.clone();
        what(&mut new.blocked);
        self.apply(&mut new).await?;
        *state = new;
        Ok(began.elapsed())
    }

    /// Puts the rules of `state` in force, if there is a namespace now.
    async fn apply(&self, state: &mut State) -> Result<(), NetError> {
        let Some(ns) = state.ns.clone() else { return Ok(()) };
        match self.replace(&ns, state).await {
            // A container that has ended meanwhile has no packets.
            Err(_) if self.comes_and_goes && !is_still(&ns, state.prepared) => Ok(()),
            replaced => replaced,
        }
    }

    async fn replace(&self, ns: &NetNs, state: &mut State) -> Result<(), NetError> {
        let number = ns.number()?;
        // The path of a container's namespace has the number of a process in it, which another process may get.
        if state.prepared.is_some_and(|prepared| prepared != number) {
            return Err(NetError::Left(format!("{} leads to another namespace now", ns.path().display())));
        }
        let jumps = if state.prepared.is_some() { Vec::new() } else { self.missing_jumps(ns).await? };
        let text = script(&jumps, state.blocked.keys());
        let args = ["--noflush", "--wait", WAIT_SECONDS];
        let restore = ns.command(&IPTABLES_RESTORE.path()?, args)?.input(text);
        restore.run(&self.inventory).await.map_err(|error| refused(ns, error))?;
        state.prepared = Some(number);
        Ok(())
    }

    /// The chains that do not jump to ours yet.
    async fn missing_jumps(&self, ns: &NetNs) -> Result<Vec<&'static str>, NetError> {
        let list = ns.command(&IPTABLES.path()?, ["--wait", WAIT_SECONDS, "--list-rules"])?;
        let rules = list.run(&self.inventory).await.map_err(|error| refused(ns, error))?.stdout;
        let missing = |chain: &&str| !rules.lines().any(|rule| rule.trim_end() == format!("-A {chain} -j {CHAIN}"));
        Ok(["INPUT", "OUTPUT"].into_iter().filter(missing).collect())
    }
}

/// What helps when `iptables` fails, by what it says of the kernel (nftables and legacy) and `nsenter` of its rights.
const HINTS: &[(&[&str], &str)] = &[
    (
        &[
            "Table does not exist",
            "can't initialize iptables table",
            "Protocol not supported",
            "Module ip_tables not found",
        ],
        "the kernel lacks the packet filter: modprobe nf_tables nft_compat, or ip_tables iptable_filter, on the machine itself",
    ),
    (
        &["you must be root", "Permission denied", "Operation not permitted"],
        "run as root; within a container, give it the capabilities SYS_ADMIN and NET_ADMIN, and the machine's process ids",
    ),
    (
        &["Another app is currently holding the xtables lock"],
        "somebody else changes the packet filter all the time; run this again",
    ),
];

fn refused(ns: &NetNs, error: CommandError) -> NetError {
    let said = error.to_string();
    match HINTS.iter().find(|(words, _)| words.iter().any(|words| said.contains(words))) {
        Some((_, hint)) => NetError::Filter { ns: ns.path().display().to_string(), said, hint },
        None => ToolError::from(error).into(),
    }
}

/// Whether a path still leads to a namespace, and to the one of that number if it is known.
fn is_still(ns: &NetNs, number: Option<u64>) -> bool {
    ns.number().is_ok_and(|now| number.is_none_or(|number| number == now))
}

fn each(rules: &[Rule], mut then: impl FnMut(Rule)) {
    for &(peer, direction) in rules {
        match direction {
            Direction::Both => {
                then((peer, Direction::In));
                then((peer, Direction::Out));
            }
            one => then((peer, one)),
        }
    }
}

/// What `iptables-restore` is told: our chain anew, other chains untouched.
fn script<'a>(jumps: &[&str], blocked: impl Iterator<Item = &'a Rule>) -> String {
    let jumps: String = jumps.iter().map(|chain| format!("-I {chain} 1 -j {CHAIN}\n")).collect();
    let rules: String = blocked
        .map(|(peer, direction)| {
            // A peer's address is never this namespace's own, so one chain does for both ways.
            let end = if *direction == Direction::Out { "-d" } else { "-s" };
            format!("-A {CHAIN} {end} {peer} -j DROP\n")
        })
        .collect();
    format!("*filter\n:{CHAIN} - [0:0]\n{jumps}{rules}COMMIT\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_writes_the_whole_chain() {
        let peer = |n: u8| IpAddr::from([198, 18, 0, n]);
        let blocked = BTreeMap::from([((peer(3), Direction::In), 1), ((peer(1), Direction::Out), 2)]);
        let expected = "*filter\n:PGBENCH-RS - [0:0]\n-I INPUT 1 -j PGBENCH-RS\n\
                        -A PGBENCH-RS -d 198.18.0.1 -j DROP\n-A PGBENCH-RS -s 198.18.0.3 -j DROP\nCOMMIT\n";
        assert_eq!(script(&["INPUT"], blocked.keys()), expected);
        assert_eq!(script(&[], [].iter()), "*filter\n:PGBENCH-RS - [0:0]\nCOMMIT\n");
    }

    #[test]
    fn a_kernel_without_packet_filter_is_told_from_missing_rights() {
        let failed = |stderr: &str| {
            let (argv, status) = ("iptables-restore".to_owned(), "exited with status 3".to_owned());
            let error = CommandError::Failed { argv, status, stderr: stderr.to_owned() };
            refused(&NetNs::named("pgbr-1"), error).to_string()
        };
        let kernel = failed("iptables v1.8.9 (legacy): can't initialize iptables table `filter': Table does not exist");
        assert!(
            kernel.starts_with("packets cannot vanish in /run/netns/pgbr-1: ") && kernel.contains("modprobe"),
            "{kernel}"
        );
        let rights = failed(
            "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)",
        );
        assert!(rights.contains("\nhint: run as root"), "{rights}");
        assert!(!failed("iptables-restore: line 2 failed").contains("hint"));
    }
}
