//! Clones whose servers are containers, of processes and of containers.

use super::super::fixture::not_run;
use super::super::lab::{HOW, LIMIT, Offer, image, node};
use super::lab::{Beats, Lab, told};
use pgbench_rs::clone::worth::{Checks, Mark};
use pgbench_rs::clone::{Caller, Method, Mode, Order, Phase, Protect, Reach, Recipe, Resetwal, Source, create};
use pgbench_rs::driver::docker::{Dock, Docker, Network};
use pgbench_rs::driver::{Make, Server};
use std::path::Path;
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
