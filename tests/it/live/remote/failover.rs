//! A failover between engines of two machines.

use super::{Elsewhere, IMAGE, certificates, succeeded, text};

/// A primary on one engine, and standbys of which one is on each; the primary is killed.
fn scenario(primary: &str, standby: &str) -> String {
    format!(
        r#"
name     = "far"
question = "Does a failover work between engines?"
answer   = ["failover.write_outage", "ledger.acked_lost"]
trials   = 1
driver   = {{ kind = "docker", host = "{primary}", image = "{IMAGE}" }}

[node]
a = {{ role = "primary" }}
b = {{ role = "standby", follows = "a" }}
c = {{ role = "standby", follows = "a", slot = true, driver = {{ kind = "docker", host = "{standby}", image = "{IMAGE}" }} }}

[postgres.settings]
shared_buffers = "16MB"
synchronous_standby_names = "ANY 1 (@nodes)"

[manager]
kind   = "builtin"
detect = {{ every = "200ms", misses = 5, timeout = "1s" }}

[probe.ledger]
writers = 2
rate    = 20

[[phase]]
name  = "kill"
lasts = "10s"
do.kill = {{ at = "2s", act = {{ kind = "kill", of = "@primary" }} }}

[[claim]]
metric      = "ledger.acked_lost"
every_trial = {{ max = 0 }}
"#
    )
}

pub fn between_them(elsewhere: &Elsewhere) {
    let tcp = elsewhere.tcp.as_str();
    println!("{}", succeeded(elsewhere.run(&scenario(tcp, "ssh://root@127.0.0.1"), "tls")));
    elsewhere.assert_nothing_left();

    // Certificates of somebody else.
    certificates(&elsewhere.path("strange"));
    let refused = text(&elsewhere.run(&scenario(tcp, tcp), "strange"));
    assert!(refused.contains("no TLS with the container engine at tcp://127.0.0.1:"), "{refused}");
    assert!(refused.contains("hint: DOCKER_CERT_PATH, or for one engine `certs`"), "{refused}");
    let nobody = "ssh://nobody-at-all@127.0.0.1";
    let nobody = text(&elsewhere.run(&scenario(nobody, nobody), "tls"));
    assert!(nobody.contains("is not reached by ssh: "), "{nobody}");
}
