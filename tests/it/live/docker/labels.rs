//! What a run made on an engine, found by its label: all of that goes, and nothing else.

use super::{LIMIT, Lab, docker, start};
use pgbench_rs::clean::watchdog::Watchdog;
use pgbench_rs::driver::Part;
use pgbench_rs::driver::docker::cleanup::Kind;
use pgbench_rs::driver::docker::{Docker, Limits};
use std::path::Path;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_bears_the_label_is_removed() {
    let Some(lab) = Lab::open("removing what a run made on an engine", Docker::default()).await else { return };
    let other = format!("bystander-{}", lab.run);
    let label = format!("pgbench-rs.run={}-other", lab.run);
    let image = lab.image.reference.clone();
    docker(&["network", "create", "--label", &label, "--subnet", "198.19.255.0/24", &other]);
    docker(&["volume", "create", "--label", &label, &other]);
    let mount = format!("{other}:/x");
    docker(&["run", "-d", "--name", &other, "--label", &label, "-v", &mount, "--entrypoint=sleep", &image, "600"]);
    docker(&["volume", "create", "--label", &format!("pgbench-rs.run={}", lab.run)]);

    let server = lab.node("a", Limits::default(), &[]).await;
    start(&server).await;
    server.freeze(Part::Server).await.unwrap();
    let engine = lab.dock.engine.clone();
    let run = lab.run.clone();
    let kinds: Vec<Kind> = engine.labelled(&run).await.unwrap().iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [Kind::Container, Kind::Network, Kind::Volume]);
    // As if the harness had been killed: its end of the watchdog's pipe closes without a farewell.
    drop(Watchdog::start(Path::new(env!("CARGO_BIN_EXE_pgbench-rs")), lab.inventory.path()).unwrap());
    let began = Instant::now();
    while server.is_running() {
        assert!(began.elapsed() < LIMIT, "the watchdog did not kill the frozen container");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("the watchdog killed it after {:?}", began.elapsed());
    assert_eq!(engine.kill_labelled(&run).await.unwrap(), 0);
    drop(server);
    lab.end().await;
    assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &other]), "true");
    docker(&["network", "inspect", &other]);
    docker(&["rm", "-f", "-v", &other]);
    docker(&["volume", "rm", &other]);
    docker(&["network", "rm", &other]);
}
