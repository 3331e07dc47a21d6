//! A LAN of network namespaces: who reaches whom, and what a partition does to connections.

use super::fixture::not_run;
use pgbench_rs::base::index::Index;
use pgbench_rs::base::inventory::Inventory;
use pgbench_rs::base::tool::IPTABLES_RESTORE;
use pgbench_rs::net::cut::{Cut, End, between, towards};
use pgbench_rs::net::filter::{Direction, Filter};
use pgbench_rs::net::lan::{Attached, Lan};
use pgbench_rs::net::namespace::{NetNs, possible};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// Whether this machine lets us; if not, that is said.
pub fn can() -> bool {
    let can = possible().map_err(|error| error.to_string());
    let can = can.and_then(|()| IPTABLES_RESTORE.path().map(drop).map_err(|error| error.to_string()));
    if let Err(why) = &can {
        let why = why.replace("\nhint: ", "; ");
        not_run("live::net (network namespaces)", &why);
    }
    can.is_ok()
}

/// A LAN with the nodes `a` and `b` and a station.
struct Lab {
    lan: Lan,
    a: Attached,
    b: Attached,
    station: IpAddr,
    inventory: Arc<Inventory>,
    _dir: tempfile::TempDir,
}

impl Lab {
    async fn start() -> Option<Lab> {
        if !can() {
            return None;
        }
        let dir = tempfile::Builder::new().prefix("pgbench-rs-net-").tempdir().expect("a directory");
        let index = Index::at(dir.path().join("runs"));
        let inventory = Inventory::create(&index, &dir.path().join("inventory.jsonl"), "r1").expect("an inventory");
        let lan = Lan::create(&inventory, "r1").await.expect("a LAN");
        let (a, b) = (lan.node("a").await.expect("a"), lan.node("b").await.expect("b"));
        let station = lan.station().await.expect("a station");
        Some(Lab { lan, a, b, station, inventory, _dir: dir })
    }

    fn party(&self, node: &Attached) -> End {
        let filter = Arc::new(Filter::new(node.ns.clone(), self.inventory.clone()));
        End { address: node.address, filter: Some(filter) }
    }

    fn outside(&self, address: IpAddr) -> End {
        End { address, filter: None }
    }

    async fn end(self) {
        let tag = self.lan.tag().to_owned();
        self.lan.remove().await.expect("removed");
        assert_eq!(named(&tag), Vec::<String>::new());
        let entries = self.inventory.contents().entries;
        assert!(entries.iter().all(|entry| entry.gone), "{entries:?}");
    }
}

/// A test that fails leaves nothing either.
impl Drop for Lab {
    fn drop(&mut self) {
        pgbench_rs::clean::undo_own(&self.inventory);
    }
}

/// Namespaces and devices whose names contain `tag`.
pub fn named(tag: &str) -> Vec<String> {
    let list = |dir: &str| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let all = [list("/run/netns"), list("/sys/class/net")].concat();
    all.into_iter().filter(|name| name.contains(tag)).collect()
}

fn listen(at: IpAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind((at, 0))
}

fn dial(from: IpAddr, to: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&to.into(), limit)?;
    Ok(socket.into())
}

/// Both ends of a connection: the one that dialled, the one that was dialled. `None`: this machine's own side.
fn connection(from: (Option<&NetNs>, IpAddr), to: (Option<&NetNs>, IpAddr)) -> (TcpStream, TcpStream) {
    let listener = within(to.0, || listen(to.1)).expect("listens");
    let address = listener.local_addr().expect("an address");
    let one = within(from.0, || dial(from.1, address, LIMIT)).expect("connects");
    let (other, _) = listener.accept().expect("accepts");
    (one, other)
}

fn within<T: Send>(ns: Option<&NetNs>, action: impl FnOnce() -> std::io::Result<T> + Send) -> std::io::Result<T> {
    match ns {
        Some(ns) => ns.inside(action),
        None => action(),
    }
}

/// Sends a byte and sees it come.
fn passes(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"x").expect("written");
    arrives(to, SECOND)
}

fn arrives(to: &mut TcpStream, limit: Duration) -> bool {
    to.set_read_timeout(Some(limit)).expect("a limit");
    match to.read(&mut [0]) {
        Ok(n) => n == 1,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

/// How long the connection lives on, and the error that it ends with.
fn dies(stream: &mut TcpStream) -> (Duration, ErrorKind) {
    let began = Instant::now();
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let error = stream.read(&mut [0]).expect_err("nothing comes");
    (began.elapsed(), error.kind())
}

fn assert_timed_out(what: &str, (after, kind): (Duration, ErrorKind)) {
    println!("{what}: {kind} after {after:.2?}");
    assert_eq!(kind, ErrorKind::TimedOut, "{what}");
    assert!((SECOND..SECOND * 4).contains(&after), "{what}: {after:?}");
}

/// Connections between the nodes and with the harness, in all directions: the name of each, its two ends.
fn connections(lab: &Lab) -> Vec<(&'static str, TcpStream, TcpStream)> {
    let (a, b) = ((Some(&lab.a.ns), lab.a.address), (Some(&lab.b.ns), lab.b.address));
    let (observer, station) = ((None, lab.lan.observer()), (None, lab.station));
    let named = [
        ("a to b", a, b),
        ("b to a", b, a),
        ("station to a", station, a),
        ("a to station", a, station),
        ("observer to a", observer, a),
        ("station to b", station, b),
    ];
    named.map(|(name, from, to)| (name, connection(from, to))).into_iter().map(|(n, (x, y))| (n, x, y)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_reaches_everybody_and_nothing_is_left() {
    let Some(lab) = Lab::start().await else { return };
    let another = Lan::create(&lab.inventory, "r1").await.expect("another LAN at the same time");
    assert_ne!(another.subnet(), lab.lan.subnet());
    let bystander = format!("bystander-{}", std::process::id());
    ip(&["netns", "add", &bystander]);
    for (name, mut one, mut other) in connections(&lab) {
        assert!(passes(&mut one, &mut other) && passes(&mut other, &mut one), "{name}");
    }
    let began = Instant::now();
    connection((Some(&lab.a.ns), lab.a.address), (Some(&lab.b.ns), lab.b.address));
    assert!(began.elapsed() < SECOND / 2, "a connection took {:?}", began.elapsed());

    // Four: the hub, two nodes, the device.
    assert_eq!(named(lab.lan.tag()).len(), 4);
    let (tag, inventory) = (another.tag().to_owned(), lab.inventory.clone());
    assert_eq!(named(&tag).len(), 2);
    lab.lan.remove().await.expect("removed");
    lab.lan.remove().await.expect("what is gone is fine");
    assert_eq!(named(lab.lan.tag()), Vec::<String>::new());
    assert_eq!(named(&tag).len(), 2, "the other LAN was touched");
    assert!(pgbench_rs::clean::undo_own(&inventory).errors.is_empty());
    assert_eq!(named(&tag), Vec::<String>::new());
    assert_eq!(named(&bystander), std::slice::from_ref(&bystander));
    ip(&["netns", "delete", &bystander]);
}

fn ip(args: &[&str]) {
    let status = std::process::Command::new("ip").args(args).status().expect("ip runs");
    assert!(status.success(), "ip {args:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_die_of_a_partition_as_between_hosts() {
    let Some(lab) = Lab::start().await else { return };
    let (a, b, station) = (lab.party(&lab.a), lab.party(&lab.b), lab.outside(lab.station));
    let mut all = connections(&lab);
    for (_, one, other) in &all {
        for end in [one, other] {
            SockRef::from(end).set_tcp_user_timeout(Some(SECOND)).expect("TCP_USER_TIMEOUT");
        }
    }
    let ways = between(std::slice::from_ref(&a), &[b, station]);
    let cut = Cut::set(&ways).await.expect("a partition");
    println!("cut at first in {:?}", cut.took);
    std::thread::scope(|scope| {
        for (name, one, other) in &mut all {
            for (end, what) in [(one, "who dialled"), (other, "who was dialled")] {
                let what = format!("{name}, {what}");
                scope.spawn(move || match what.as_str() {
                    unhurt if unhurt.starts_with("observer") || unhurt.starts_with("station to b") => {
                        std::thread::sleep(SECOND * 4);
                    }
                    _ => {
                        end.write_all(b"unacknowledged").expect("written");
                        assert_timed_out(&what, dies(end));
                    }
                });
            }
        }
    });
    for (name, one, other) in &mut all[4..] {
        assert!(passes(one, other) && passes(other, one), "{name} is no part of the partition");
    }
    let healed = cut.heal().await.expect("healed");
    let again = Cut::set(&ways).await.expect("a partition");
    println!("healed in {healed:?}, cut again in {:?}", again.took);
    let (tried, kind) = refused_or_not(&lab.a.ns, lab.a.address, (lab.b.address, 1).into());
    assert!(kind == ErrorKind::TimedOut && tried > SECOND, "a node to a node: {kind} after {tried:?}");
    let (tried, kind) = refused_or_not(&lab.a.ns, lab.a.address, (lab.station, 1).into());
    assert!(kind == ErrorKind::TimedOut && tried > SECOND, "a node to a station: {kind} after {tried:?}");
    again.heal().await.expect("healed");
    let (_, kind) = refused_or_not(&lab.a.ns, lab.a.address, (lab.b.address, 1).into());
    assert_eq!(kind, ErrorKind::ConnectionRefused);
    lab.end().await;
}

/// What a new connection to where nobody listens meets with within two seconds.
fn refused_or_not(ns: &NetNs, from: IpAddr, to: SocketAddr) -> (Duration, ErrorKind) {
    let began = Instant::now();
    let error = ns.inside(|| dial(from, to, SECOND * 2)).expect_err("nobody listens");
    (began.elapsed(), error.kind())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_one_way_goes_on_when_it_heals() {
    let Some(lab) = Lab::start().await else { return };
    let (a, b, station) = (lab.party(&lab.a), lab.party(&lab.b), lab.outside(lab.station));
    let mut nodes = connection((Some(&lab.a.ns), a.address), (Some(&lab.b.ns), b.address));
    let mut outside = connection((Some(&lab.a.ns), a.address), (None, station.address));
    let cut = Cut::set(&towards(std::slice::from_ref(&a), &[b.clone(), station.clone()])).await.expect("a partition");
    for (one, other) in [&mut nodes, &mut outside] {
        assert!(passes(other, one), "the way back is open");
        assert!(!passes(one, other), "the way is cut");
    }
    // Of two that cut the same, the end of one leaves it cut.
    let other = Cut::set(&towards(&[a], &[b, station])).await.expect("a partition");
    cut.heal().await.expect("healed");
    assert!(!arrives(&mut nodes.1, SECOND));
    other.heal().await.expect("healed");
    for (name, (_, other)) in [("a to b", &mut nodes), ("a to station", &mut outside)] {
        let began = Instant::now();
        assert!(arrives(other, LIMIT), "{name}: what was sent into the partition is lost");
        println!("{name}: went on {:?} after it healed", began.elapsed());
    }
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keepalive_finds_a_peer_that_is_cut_off() {
    let Some(lab) = Lab::start().await else { return };
    let keepalive = TcpKeepalive::new().with_time(SECOND).with_interval(SECOND).with_retries(2);
    let mut idle = connections(&lab);
    for (_, one, other) in &idle {
        for end in [one, other] {
            SockRef::from(end).set_tcp_keepalive(&keepalive).expect("keepalive");
        }
    }
    let filter = Filter::new(lab.a.ns.clone(), lab.inventory.clone());
    filter.prepare().await.expect("prepared");
    let rules = [(lab.b.address, Direction::Both), (lab.station, Direction::Both)];
    filter.block(&rules).await.expect("blocked");
    std::thread::scope(|scope| {
        for (name, one, other) in &mut idle[..4] {
            for end in [one, other] {
                let name = &*name;
                scope.spawn(move || {
                    let (after, kind) = dies(end);
                    assert_eq!(kind, ErrorKind::TimedOut, "{name}");
                    assert!((SECOND * 2..SECOND * 6).contains(&after), "{name}: {after:?}");
                });
            }
        }
    });
    for (name, one, other) in &mut idle[4..] {
        assert!(passes(one, other), "{name} is no part of it");
    }
    filter.clear().await.expect("cleared");
    connection((Some(&lab.a.ns), lab.a.address), (Some(&lab.b.ns), lab.b.address));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pulled_cable_is_silent_and_can_be_plugged_in_again() {
    let Some(lab) = Lab::start().await else { return };
    let (mut one, mut other) = connection((Some(&lab.a.ns), lab.a.address), (Some(&lab.b.ns), lab.b.address));
    lab.a.down().await.expect("pulled");
    assert!(!passes(&mut one, &mut other));
    let (tried, kind) = refused_or_not(&lab.a.ns, lab.a.address, (lab.b.address, 1).into());
    println!("from the node whose cable is pulled: {kind} after {tried:?}");
    let (tried, kind) = refused_or_not(&lab.b.ns, lab.b.address, (lab.a.address, 1).into());
    println!("to the node whose cable is pulled: {kind} after {tried:?}");
    lab.a.up().await.expect("plugged in");
    assert!(arrives(&mut other, LIMIT), "what was sent meanwhile is lost");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_started_inside_as_another_user() {
    let Some(lab) = Lab::start().await else { return };
    let user = pgbench_rs::driver::server_user(None).expect("a user for servers");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "id -u; ip -brief address show eth0; cat /proc/self/status | grep ^CapEff"]);
    lab.a.ns.enter(&mut command, user.as_ref()).expect("enters");
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let uid = user.map_or(0, |user| user.uid);
    assert!(text.starts_with(&format!("{uid}\n")) && text.contains(&lab.a.address.to_string()), "{text}");
    assert!(uid == 0 || text.contains("0000000000000000"), "{text}");
    assert!(Path::new("/proc/self/ns/net").exists());
    lab.end().await;
}
