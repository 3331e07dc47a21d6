//! A failover when ways lead through proxies: who is promoted is reached through another proxy than before.

use super::{LIMIT, Lab};
use pgbench_rs::failover::Phase;
use pgbench_rs::manager::{Builtin, Detect, Fence, Running};
use pgbench_rs::pg::standby_names::StandbyNames;

pub async fn through_proxies(lab: &mut Lab) {
    let settings =
        Builtin { detect: Detect::default(), fence: Fence::Driver, site: Some("y".to_owned()), automatic: true };
    let (cluster, clock, events) = (lab.reach.cluster.clone(), lab.reach.clock, lab.reach.events.clone());
    let synchronous = StandbyNames::parse("").expect("a value");
    let manager = Running::start(settings, cluster.clone(), synchronous, clock, events).await.expect("a manager");
    lab.node("a").kill().await.expect("killed");
    let repointed = async {
        while let Some(event) = lab.events.recv().await {
            println!("{} {}", event.kind, event.text);
            if event.kind == "failover.repointed" {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, repointed).await.expect("a failover in time");
    let way = cluster.way(lab.node("t"), lab.node("s"));
    assert_ne!(way.host, lab.node("s").host.host, "it leads through no proxy");
    let from = "SELECT sender_host || ':' || sender_port FROM pg_stat_wal_receiver WHERE status = 'streaming'";
    lab.until("t", from, &format!("{}:{}", way.host, way.port)).await;
    let row = lab.next_row();
    lab.query("s", &format!("INSERT INTO t VALUES ({row})")).await;
    lab.arrives_at("t", row, "through the proxy of the other way").await;
    let outcome = manager.stop().await;
    assert_eq!((outcome.primary.as_str(), &outcome.phase), ("s", &Phase::Stable));
}
