//! Ways from this machine to servers on engines of others, through proxies that stand here.

use super::{Elsewhere, IMAGE, succeeded, text};

const RTT: f64 = 0.02;

fn scenario(primary: &str, standby: &str, more: &str) -> String {
    format!(
        r#"
name     = "ways"
question = "What do proxies here do to servers elsewhere?"
answer   = ["failover.write_outage"]
trials   = 1
driver   = {{ kind = "docker", host = "{primary}", image = "{IMAGE}" }}

[node]
a = {{ role = "primary", site = "x" }}
b = {{ role = "standby", follows = "a", site = "y", driver = {{ kind = "docker", host = "{standby}", image = "{IMAGE}" }} }}

[postgres.settings]
shared_buffers = "16MB"
synchronous_standby_names = "ANY 1 (@nodes)"

[manager]
kind   = "builtin"
detect = {{ every = "200ms", misses = 3, timeout = "500ms" }}

[link.wan]
between = ["@clients", ["a", "b"]]
rtt     = "20ms"

[load.app]
mix     = {{ kind = "select_only", scale = 1 }}
profile = {{ kind = "open", rate = 50 }}
clients = 2
timeout = "5s"

[probe.ledger]
writers = 2
rate    = 20
timeout = "5s"

[[phase]]
name  = "calm"
lasts = "2s"
do.reset = {{ at = "1s", act = {{ kind = "reset", between = ["@clients", "@primary"] }} }}

[[phase]]
name  = "hold"
lasts = "10s"
do.hold = {{ at = "1s", for = "6s", measured = true, act = {{ kind = "stall", between = ["@manager", "a"] }} }}
{more}
"#
    )
}

/// Clients have a slow way and are reset; a manager that does not hear of the primary replaces it.
pub fn through_proxies(elsewhere: &Elsewhere) {
    let (tcp, ssh) = (elsewhere.tcp.as_str(), "ssh://root@127.0.0.1");
    println!("{}", succeeded(elsewhere.run(&scenario(tcp, ssh, ""), "tls")));
    let events = elsewhere.result("events.csv");
    assert_eq!(events.matches(",fault.done,").count(), 2, "{events}");
    let median = elsewhere.value("load.service.p50", "app").expect("a median");
    assert!((RTT..RTT * 5.0).contains(&median), "{median}");
    assert!(elsewhere.value("load.reconnects", "app").expect("a count") >= 1.0, "nothing was reset");
    assert!(events.contains(",failover.promoted,b,"), "the manager heard of the primary: {events}");
    assert_eq!(elsewhere.value("ledger.acked_lost", ""), Some(0.0));
    elsewhere.assert_nothing_left();

    let far = "[link.far]\nbetween = [\"a\", \"b\"]\nrtt = \"5ms\"\n";
    let refused = text(&elsewhere.run(&scenario(tcp, ssh, far), "tls"));
    assert!(
        refused.contains("would lead through a proxy of this machine, and `b` is on another's engine"),
        "{refused}"
    );
    // Where only the machine knows that the engine is another's.
    let unnamed = scenario("", "", far);
    let mut command = elsewhere.running(&unnamed);
    command.env("DOCKER_HOST", tcp).env("DOCKER_CERT_PATH", elsewhere.path("tls"));
    let refused = text(&command.output().unwrap());
    assert!(refused.contains("the link `far` leads from `a` to `b` through a proxy of this machine"), "{refused}");
}
