//! A source that is reached over TLS alone, and whose certificate is checked: also by `pg_basebackup`.

use super::super::access::authority::{Authority, private, server};
use super::super::lab::node;
use super::lab::Lab;
use pgbench_rs::clone::{Caller, Method, Order, Reach, Recipe, Source, create};
use pgbench_rs::pg::conninfo::{Environment, resolve};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

const RULES: &str = "\
hostssl all,replication postgres 127.0.0.1/32 trust
";

/// A file that the servers' user can read, too.
fn readable(path: &Path, text: &str) {
    private(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("chmod");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_basebackup_checks_the_certificate() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let home = lab.place.dir().join("tls");
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let primary = server(&right.sign("server", &["db.example"]), &right, RULES);
    readable(&home.join("right.crt"), &right.pem);
    readable(&home.join("wrong.crt"), &wrong.pem);
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).expect("chmod");
    let environment = Environment { variables: Default::default(), home: Some(home.clone()), user: None };
    let source = |conninfo: &str| {
        let port = primary.host.port;
        let conninfo = format!("{conninfo} hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres");
        let host = resolve(&conninfo, &environment).unwrap_or_else(|error| panic!("{error}")).into_host("a");
        let source = Source::running("a", &primary.data(), host, lab.cluster.login("test"));
        Arc::new(source.unwrap_or_else(|error| panic!("{error}")))
    };
    let recipe = Recipe { method: Method::Basebackup, ..Recipe::default() };
    let order = |name: &str| Order { reach: Reach::Socket, ..lab.order(name) };
    let right = format!("host=db.example sslmode=verify-full sslrootcert={}", home.join("right.crt").display());
    let attempt = create(&lab.place, &source(&right), &recipe, order("c"), Caller::default()).await;
    let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(clone.destroy().await.left.is_empty());

    // The program's own check, and not ours alone: a root that is another's by the time that it looks.
    let swapped = home.join("swapped.crt");
    readable(&swapped, &fs::read_to_string(home.join("right.crt")).expect("a file"));
    let ours = source(&format!("host=db.example sslmode=verify-full sslrootcert={}", swapped.display()));
    readable(&swapped, &wrong.pem);
    let attempt = create(&lab.place, &ours, &recipe, order("d"), Caller::default()).await;
    let error = attempt.outcome.expect_err("not signed by that").to_string();
    assert!(error.contains("pg_basebackup") && error.contains("certificate verify failed"), "{error}");
    lab.end().await;
}
