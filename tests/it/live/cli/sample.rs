//! Sampling without a scenario.

use super::super::fixture::Primary;
use super::super::receivers::{Kind, Receiver, assert_same, written};
use super::Lab;
use serde_json::Value;

#[test]
fn any_server_into_a_folder_and_one_that_is_down_is_said_to_be() {
    let server = Primary::start(&["fsync=off"]);
    let lab = Lab::new();
    let dsn = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", server.host.port);
    let nobody = "host=127.0.0.1 port=1 user=postgres password=hidden";
    let ended = lab.call(&["sample", "--dsn", &dsn, "--dsn", nobody, "--dir", "s", "--for", "3s", "--json"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let outcome: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let of = |server: &str, metric: &str| outcome["servers"][server][metric].as_f64();
    let here = format!("127.0.0.1:{}", server.host.port);
    assert!(of(&here, "sampler.ticks").is_some_and(|ticks| ticks > 15.0), "{outcome}");
    assert_eq!((of(&here, "sampler.down"), of("127.0.0.1:1", "sampler.down")), (Some(0.0), Some(1.0)), "{outcome}");
    assert!(ended.stderr.contains("127.0.0.1:1 is not sampled: cannot reach"), "{}", ended.stderr);
    let (samples, lines) = written(&lab.path("s/metrics.lp.gz"));
    assert_eq!(outcome["points"]["written"], lines, "{outcome}");
    assert!(!samples.is_empty());
    assert!(lab.text("s/lock_edges.csv").starts_with("run_id,variant,trial,node,began_ms"));
    let again = lab.call(&["sample", "--dsn", &dsn, "--dir", "s", "--for", "1s"]);
    assert_eq!(again.code, Some(4));
    assert!(again.stderr.contains("hint: the folder must be new"), "{}", again.stderr);
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("hidden"));
}

#[test]
fn a_server_for_points_gets_the_same_as_the_file() {
    let Some(influx) = Receiver::start(Kind::Influx1) else { return };
    let (server, lab) = (Primary::start(&["fsync=off"]), Lab::new());
    let dsn = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", server.host.port);
    let url = format!("http://127.0.0.1:{}", influx.port);
    let ended = lab.call(&["sample", "--dsn", &dsn, "--dir", "s", "--for", "3s", "--to", &url, "--database", "lab"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let (samples, lines) = written(&lab.path("s/metrics.lp.gz"));
    assert!(ended.stdout.contains(&format!("{lines} of {lines} points acknowledged")), "{}", ended.stdout);
    assert_same(&influx.contents(), &samples, 0.0);
}
