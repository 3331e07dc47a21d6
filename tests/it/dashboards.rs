//! The dashboards that are committed are those that would be written now.

use pgbench_rs::dashboard;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn committed_dashboards_are_what_is_generated() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards");
    let mut written = BTreeSet::new();
    for (below, text) in dashboard::files() {
        let path = dir.join(&below);
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{} is another\nhint: make dashboards", path.display());
        written.insert(path);
    }
    let folders = ["flux", "influxql"].map(|folder| std::fs::read_dir(dir.join(folder)).expect("a folder"));
    let there: BTreeSet<_> = folders.into_iter().flatten().flatten().map(|file| file.path()).collect();
    assert_eq!(there, written, "a file that nothing generates");
}

/// Grafana finds them where Compose puts them, and their data sources by name.
#[test]
fn grafana_is_told_where_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (compose, files) = (read("compose/compose.yaml"), read("grafana/provisioning/dashboards/files.yaml"));
    let path = files.split_once("path: ").expect("a path").1.lines().next().expect("a line").trim();
    assert!(compose.contains(&format!("../grafana/dashboards:{path}:ro")), "{path}");
    let sources = read("grafana/provisioning/datasources/influxdb.yaml");
    for (below, text) in dashboard::files() {
        let board: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let source = &board["templating"]["list"][0]["current"];
        for (key, value) in [("uid", &source["value"]), ("name", &source["text"])] {
            let line = format!("{key}: {}", value.as_str().expect("text"));
            assert!(sources.contains(&line), "{}: no data source with {line}", below.display());
        }
    }
}
