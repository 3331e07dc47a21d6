//! What `make observe` would start: read by Compose, which starts nothing.

use std::path::Path;
use std::process::{Command, Output};

/// `ARGS` of the Compose that is there.
fn compose(args: &[&str]) -> Option<Output> {
    let call = |program: &str, first: &[&str]| Command::new(program).args(first).args(args).output().ok();
    let plugin = call("docker", &["compose"]).filter(|output| output.status.success());
    plugin.or_else(|| call("docker-compose", &[]))
}

#[test]
fn observing_is_for_this_machine_alone_with_pinned_images() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("compose/compose.yaml");
    let Some(output) = compose(&["-f", &file.to_string_lossy(), "config"]) else {
        let how = "install Docker Compose: sudo .ci/setup-tests (package docker-compose)";
        return crate::live::not_run("compose (what `make observe` starts)", how);
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = |start: &'static str| text.lines().map(str::trim).filter_map(move |line| line.strip_prefix(start));
    let images: Vec<&str> = lines("image: ").collect();
    assert_eq!(images.len(), 2, "{text}");
    for image in images {
        let tag = image.rsplit(':').next().unwrap_or_default();
        assert!(tag.starts_with(|c: char| c.is_ascii_digit()), "{image} is not pinned");
    }
    assert_eq!(text.matches("healthcheck:").count(), 2, "{text}");
    // One form of Compose's output or the other.
    let loopback = text.matches("127.0.0.1:8086:8086").count() + text.matches("127.0.0.1:3000:3000").count();
    let loopback = loopback + text.matches("host_ip: 127.0.0.1").count();
    assert_eq!(loopback, 2, "{text}");
    let ignored = std::fs::read_to_string(root.join(".gitignore")).expect(".gitignore");
    assert!(ignored.lines().any(|line| line == "/compose/secrets/"), "secrets could be committed");
}

/// The data sources name what the composed servers are set up with.
#[test]
fn grafana_is_told_what_influxdb_is_set_up_with() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (servers, sources) = (read("compose/compose.yaml"), read("grafana/provisioning/datasources/influxdb.yaml"));
    let setup = |name: &str| {
        let rest = servers.split_once(&format!("DOCKER_INFLUXDB_INIT_{name}: ")).expect("it is set up").1;
        rest.lines().next().unwrap_or_default().to_owned()
    };
    let (org, bucket, token) = (setup("ORG"), setup("BUCKET"), setup("ADMIN_TOKEN_FILE"));
    for line in [
        format!("organization: {org}"),
        format!("defaultBucket: {bucket}"),
        format!("dbName: {bucket}"),
        format!("token: $__file{{{token}}}"),
        format!("httpHeaderValue1: Token $__file{{{token}}}"),
        "url: http://influxdb:8086".to_owned(),
    ] {
        assert!(sources.lines().any(|found| found.trim() == line), "the data sources lack `{line}`");
    }
}
