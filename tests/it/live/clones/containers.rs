//! Clones whose servers are containers, of processes and of containers.

use super::super::fixture::not_run;
use super::super::lab::{HOW, LIMIT, Offer, image, node};
use super::lab::{Beats, Lab, told};
use super::lives::given_up;
use pgbench_rs::clone::worth::{Checks, Mark};
use pgbench_rs::clone::{
    Caller, Method, Mode, Order, Phase, Protect, Reach, Recipe, Resetwal, Source, ThinClone, create,
};
use pgbench_rs::driver::docker::{Dock, Docker, Network};
use pgbench_rs::driver::{Make, Server};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const ALL: Checks = Checks { tpcb: true, amcheck: true };

async fn docker(lab: &Lab, network: Network, reference: &str) -> Make {
    let settings = Docker { network, ..Docker::default() };
    let dock = Dock::open(&lab.place, &settings).await.unwrap_or_else(|error| panic!("{error}"));
    let image = dock.image(reference, |_| {}).await.unwrap_or_else(|error| panic!("{error}"));
    Make::Docker { dock, image: Arc::new(image) }
}

async fn whole(lab: &Lab, source: &Arc<Source>, recipe: &Recipe, order: Order) {
    let before = lab.left();
    let mark = Mark::take(source, Some(&Beats::watermark())).await.expect("a mark");
    let attempt = create(&lab.place, source, recipe, order, Caller::default()).await;
    println!("{}", told(&attempt));
    for phase in [Phase::ContainerCreate, Phase::ContainerStart, Phase::Start, Phase::FirstRow] {
        assert!(attempt.took(phase).is_some(), "no {phase}: {:?} {:?}", attempt.spans, attempt.outcome);
    }
    let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(&**clone.server(), Server::Container(_)));
    let worth = clone.worth(&mark, ALL).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(worth.is_whole() && worth.rows_lost == Some(0), "{worth:?}");
    let destroyed = clone.destroy().await;
    assert!(destroyed.left.is_empty(), "{destroyed:?}");
    assert_eq!(lab.left(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_are_cloned_into_containers() {
    let Some(Offer::Image(reference)) = image(15).await else { return not_run("live::clones::containers", HOW) };
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let (source, load, beats) = (lab.source("a"), lab.load("a"), lab.beats("a").await);
    let recipe = Recipe { method: Method::Copy, ..Recipe::default() };
    let (host, bridge) =
        (docker(&lab, Network::Host, &reference).await, docker(&lab, Network::Bridge, &reference).await);
    whole(&lab, &source, &recipe, Order { make: host.clone(), ..lab.order("host") }).await;
    whole(&lab, &source, &recipe, Order { make: bridge.clone(), ..lab.order("bridge") }).await;
    whole(&lab, &source, &recipe, Order { make: bridge.clone(), reach: Reach::Socket, ..lab.order("socket") }).await;
    let mut broken = recipe.clone();
    broken.settings.insert("shared_buffers".to_owned(), "4TB".to_owned());
    let before = lab.left();
    let failed =
        create(&lab.place, &source, &broken, Order { make: bridge, ..lab.order("c") }, Caller::default()).await;
    assert!(failed.outcome.expect_err("it cannot start").to_string().contains("could not map anonymous shared memory"));
    assert_eq!(lab.left(), before);
    drop((load, beats, host));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_leaves_no_container() {
    let Some(offer) = image(15).await else { return not_run("live::clones::containers", HOW) };
    let lab = Lab::start_on(Path::new("/var/tmp"), &offer, |make| vec![node(make, "a", None, &[])]).await;
    let before = lab.labelled();
    let recipe = Recipe { method: Method::Copy, query: Some("SELECT 1".to_owned()), ..Recipe::default() };
    let phases = [Phase::ContainerCreate, Phase::ContainerStart, Phase::Start, Phase::FirstRow, Phase::Settle];
    given_up(&lab, &recipe, &phases).await;
    assert_eq!(lab.labelled(), before);
    let reset = Recipe { mode: Mode::Resetwal(Resetwal::default()), protect: Protect::Freeze, ..recipe };
    given_up(&lab, &reset, &[Phase::Freeze, Phase::Resetwal, Phase::ContainerStart]).await;
    assert_eq!(lab.labelled(), before);
    lab.end().await;
}

/// Another machine, as far as routes can tell: a network namespace behind this one, in which somebody listens.
struct Elsewhere {
    name: String,
    address: String,
    port: u16,
    _listener: std::net::TcpListener,
}

impl Elsewhere {
    /// None where namespaces cannot be made.
    fn make() -> Option<Elsewhere> {
        let id = std::process::id() % 10_000;
        let (name, here, there) = (format!("pgbrt{id}"), format!("pgbrh{id}"), format!("pgbrn{id}"));
        let ip = |args: &str| {
            let output = Command::new("ip").args(args.split(' ')).output();
            output.is_ok_and(|output| output.status.success())
        };
        let made = ip(&format!("netns add {name}"))
            && ip(&format!("link add {here} type veth peer name {there} netns {name}"))
            && ip(&format!("address add 203.0.113.1/24 dev {here}"))
            && ip(&format!("link set {here} up"))
            && ip(&format!("-n {name} address add 203.0.113.2/24 dev {there}"))
            && ip(&format!("-n {name} link set {there} up"))
            && ip(&format!("-n {name} route add default via 203.0.113.1"));
        let file = std::fs::File::open(format!("/run/netns/{name}"));
        let listener = file.ok().filter(|_| made).and_then(|file| {
            let bind = move || {
                nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
                std::net::TcpListener::bind(("203.0.113.2", 0)).ok()
            };
            // Of a thread of its own, which ends: a socket stays where it was made.
            std::thread::spawn(bind).join().ok().flatten()
        });
        let Some(listener) = listener else {
            ip(&format!("netns delete {name}"));
            return None;
        };
        let port = listener.local_addr().expect("an address").port();
        Some(Elsewhere { name, address: "203.0.113.2".to_owned(), port, _listener: listener })
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Whether a clone's server reaches somebody.
async fn reaches(clone: &ThinClone, whom: &Elsewhere) -> bool {
    let client = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
    client.batch_execute("CREATE TEMP TABLE said (line text)").await.expect("a table");
    let Elsewhere { address, port, .. } = whom;
    let try_it = format!("COPY said FROM PROGRAM 'timeout 5 bash -c \"exec 3<>/dev/tcp/{address}/{port}\"'");
    client.batch_execute(&try_it).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_an_internal_network_no_way_leads_out() {
    let Some(Offer::Image(reference)) = image(15).await else { return not_run("live::clones::containers", HOW) };
    let Some(elsewhere) = Elsewhere::make() else {
        return not_run("live::clones::containers (egress)", "run the tests as root, with iproute2");
    };
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let (source, recipe) = (lab.source("a"), Recipe { method: Method::Copy, ..Recipe::default() });
    for (network, out) in [(Network::Bridge, true), (Network::Internal, false)] {
        let order = Order { make: docker(&lab, network, &reference).await, ..lab.order(&format!("{network:?}")) };
        let attempt = create(&lab.place, &source, &recipe, order, Caller::default()).await;
        let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(reaches(&clone, &elsewhere).await, out, "{network:?}");
        assert!(clone.destroy().await.left.is_empty());
    }
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_are_cloned_into_containers() {
    for version in [15, 17, 18] {
        let Some(Offer::Image(reference)) = image(version).await else {
            return not_run("live::clones::containers", HOW);
        };
        let lab = Lab::start_on(Path::new("/var/tmp"), &Offer::Image(reference), |make| {
            vec![node(make, "a", None, &[]), node(make, "s", Some("a"), &[])]
        })
        .await;
        let (load, beats) = (lab.load("a"), lab.beats("a").await);
        tokio::time::sleep(Duration::from_millis(500)).await;
        for name in ["a", "s"] {
            let source = lab.source(name);
            for (i, protect) in [Protect::Auto, Protect::Freeze].into_iter().enumerate() {
                let recipe = Recipe { method: Method::Copy, protect, ..Recipe::default() };
                whole(&lab, &source, &recipe, lab.order(&format!("{name}{i}"))).await;
            }
        }
        let mode = Mode::Resetwal(Resetwal::default());
        let recipe = Recipe { method: Method::Copy, mode, ..Recipe::default() };
        let attempt = lab.attempt(&lab.source("a"), &recipe, "r").await;
        println!("{}", told(&attempt));
        assert!(attempt.took(Phase::Resetwal).is_some_and(|took| took < LIMIT), "{:?}", attempt.outcome);
        if let Ok(clone) = attempt.outcome {
            assert!(clone.destroy().await.left.is_empty());
        }
        drop((load, beats));
        lab.end().await;
    }
}
