//! Servers of this machine on networks of several kinds and engines: who reaches whom.

use super::{Elsewhere, IMAGE, alias, succeeded, text};

/// The primary uses the machine's own network, two standbys the bridge of its engine, which one of them calls otherwise,
/// and the fourth the machine's network on another engine. One that is on the bridge takes over.
pub fn beside_a_bridge(elsewhere: &Elsewhere) {
    let (alias, other) = (alias(elsewhere), elsewhere.path("docker.sock"));
    let other = format!("unix://{}", other.display());
    let scenario = format!(
        r#"
name     = "beside"
question = "Do servers on a bridge and beside it reach each other?"
answer   = ["failover.write_outage"]
trials   = 1
driver   = {{ kind = "docker", image = "{IMAGE}" }}

[node]
a = {{ role = "primary", driver = {{ kind = "docker", image = "{IMAGE}", network = "host" }} }}
b = {{ role = "standby", follows = "a", priority = 200, driver = {{ kind = "docker", image = "{IMAGE}", host = "{alias}" }} }}
c = {{ role = "standby", follows = "a", driver = {{ kind = "docker", image = "{IMAGE}", host = "{other}", network = "host" }} }}
d = {{ role = "standby", follows = "a", priority = 0 }}

[postgres.settings]
shared_buffers = "16MB"
synchronous_standby_names = "ANY 1 (@nodes)"

[manager]
kind   = "builtin"
detect = {{ every = "200ms", misses = 3, timeout = "1s" }}

[link.near]
between = ["b", "c"]
rtt     = "2ms"

[probe.ledger]
writers = 2
rate    = 20

[[phase]]
name  = "kill"
lasts = "8s"
do.kill = {{ at = "2s", act = {{ kind = "kill", of = "@primary" }} }}

[[claim]]
metric      = "ledger.acked_lost"
every_trial = {{ max = 0 }}
"#
    );
    println!("{}", succeeded(elsewhere.running(&scenario).output().unwrap()));
    let events = elsewhere.result("events.csv");
    assert!(events.contains(",failover.promoted,b,"), "{events}");
    let summary = elsewhere.result("summary.csv");
    for standby in ["c", "d"] {
        let row =
            summary.lines().find(|line| line.contains("standby.streaming") && line.contains(&format!(",{standby},")));
        assert!(row.is_some(), "{standby} does not stream from the new primary: {summary}");
    }
    elsewhere.assert_nothing_left();
}

/// Only the machine knows that the two are not the same.
pub fn bridges_of_two(elsewhere: &Elsewhere) {
    let other = elsewhere.path("docker.sock");
    let scenario = super::small(&format!("{{ kind = \"docker\", image = \"{IMAGE}\" }}"));
    let standby = format!(
        "node.b = {{ role = \"standby\", follows = \"a\", driver = {{ kind = \"docker\", host = \"unix://{}\", image = \"{IMAGE}\" }} }}\n\n[postgres",
        other.display()
    );
    let refused = text(&elsewhere.running(&scenario.replacen("\n[postgres", &standby, 1)).output().unwrap());
    assert!(refused.contains("`a` is on a network of the engine at unix:///"), "{refused}");
    assert!(
        refused.contains("hint: two engines' networks do not reach each other; let the nodes of one use"),
        "{refused}"
    );
    elsewhere.assert_nothing_left();
}
