//! What a copied directory brings with it that keeps a server from starting, or lets it do more than it should.

use super::super::lab::node;
use super::elsewhere::{clone_says, wait};
use super::lab::Lab;
use super::plain::Plain;
use pgbench_rs::base::proc;
use pgbench_rs::clone::{CloneError, Method, Prepared, Recipe};
use std::path::Path;

fn copy() -> Recipe {
    Recipe { method: Method::Copy, ..Recipe::default() }
}

/// Background workers of that library, which has them in no view.
fn workers(data: &Path) -> usize {
    let data = std::fs::canonicalize(data).expect("a directory");
    let servers = proc::standing_in(&proc::alive(), &[(data, "postgres".to_owned())]);
    let title = |stat: &proc::Stat| proc::title(stat.identity.pid).unwrap_or_default();
    servers.iter().filter(|stat| title(stat).contains("autoprewarm")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libraries_that_the_source_preloads_would_work_in_the_background() {
    let settings = [("shared_preload_libraries", "pg_prewarm,auto_explain")];
    let lab = Lab::start(|make| vec![node(make, "a", None, &settings)]).await;
    let source = lab.source("a");
    let client = lab.connect("a").await;
    client
        .batch_execute("CREATE ROLE loader LOGIN; ALTER ROLE loader SET session_preload_libraries = 'auto_explain'")
        .await
        .expect("a role");
    let attempt = lab.attempt(&source, &copy(), "c1").await;
    let kept_out = attempt.facts.kept_out.join("\n");
    assert!(kept_out.contains("preloaded libraries: pg_prewarm, auto_explain"), "{kept_out}");
    assert!(kept_out.contains("NOT kept out: libraries that sessions load by themselves, of loader"), "{kept_out}");
    let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(clone_says(&clone, "SHOW shared_preload_libraries").await, "");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(workers(clone.data()), 0);
    assert!(clone.destroy().await.left.is_empty());

    let chosen = Recipe { preload: vec!["auto_explain".to_owned(), "pg_cron".to_owned()], ..copy() };
    let clone = lab.clone(&source, &chosen, "c2").await;
    assert_eq!(clone_says(&clone, "SHOW shared_preload_libraries").await, "auto_explain");
    assert!(clone.destroy().await.left.is_empty());

    let data = lab.plain_copy("a").await;
    let plain = Plain::start(&data, lab.cluster.login("test"), &[]).await.unwrap_or_else(|said| panic!("{said}"));
    wait("the harm", || workers(&data) > 0).await;
    drop((plain, client));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_file_of_the_source_would_keep_a_server_from_starting() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let clone = lab.clone(&lab.source("a"), &copy(), "c").await;
    let theirs = lab.cluster.node("a").expect("a node").dir.join("postmaster.pid");
    let first_line = |path| std::fs::read_to_string(path).expect("a file").lines().next().map(str::to_owned);
    assert_ne!(first_line(clone.data().join("postmaster.pid")), first_line(theirs.clone()));
    let before = std::fs::read_to_string(&theirs).expect("a file");
    assert!(clone.destroy().await.left.is_empty());
    assert_eq!(std::fs::read_to_string(&theirs).expect("the source's own"), before);

    let data = lab.plain_copy("a").await;
    let said = Plain::start_over(&data, lab.cluster.login("test"), &[]).await.err().expect("the harm did not happen");
    assert!(said.contains("lock file \"postmaster.pid\" already exists"), "{said}");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_transactions_hold_their_locks_until_they_are_rolled_back() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[("max_prepared_transactions", "5")])]).await;
    let (client, source) = (lab.connect("a").await, lab.source("a"));
    client.batch_execute("CREATE TABLE t (n int)").await.expect("a table");
    client.batch_execute("BEGIN; LOCK TABLE t; PREPARE TRANSACTION 'it''s'").await.expect("prepared");
    let lock = "BEGIN; LOCK TABLE t NOWAIT; COMMIT";
    for (name, prepared, free) in [("c1", Prepared::Keep, false), ("c2", Prepared::Rollback, true)] {
        let attempt = lab.attempt(&source, &Recipe { prepared, ..copy() }, name).await;
        assert_eq!(attempt.facts.prepared, ["it's in postgres"]);
        let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
        let cloned = clone.connect(None).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(cloned.batch_execute(lock).await.is_ok(), free, "{prepared:?}");
        drop(cloned);
        assert!(clone.destroy().await.left.is_empty());
    }
    let count: i64 = client.query_one("SELECT count(*) FROM pg_prepared_xacts", &[]).await.expect("a row").get(0);
    assert_eq!(count, 1, "the source's own is rolled back");

    // A server that leaves no room for it does not come up.
    let data = lab.plain_copy("a").await;
    let said = Plain::start(&data, lab.cluster.login("test"), &["max_prepared_transactions=0"]).await.err();
    assert!(said.expect("the harm did not happen").contains("maximum number of prepared transactions reached"));
    client.batch_execute("ROLLBACK PREPARED 'it''s'").await.expect("rolled back");
    drop(client);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_altered_in_the_source_does_not_go_over_the_guards() {
    let lab = Lab::start(|make| vec![node(make, "a", None, &[])]).await;
    let client = lab.connect("a").await;
    for alter in [
        "ALTER SYSTEM SET archive_mode = 'always'",
        "ALTER SYSTEM SET archive_command = 'false'",
        "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'",
        "ALTER SYSTEM SET max_wal_senders = 17",
        "ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'",
        "ALTER SYSTEM SET work_mem = '7MB'",
    ] {
        client.batch_execute(alter).await.expect(alter);
    }
    client.batch_execute("SELECT pg_reload_conf()").await.expect("reloaded");
    let clone = lab.clone(&lab.source("a"), &copy(), "c").await;
    for (setting, value) in [
        ("archive_mode", "off"),
        ("archive_command", "(disabled)"),
        ("primary_conninfo", ""),
        ("max_wal_senders", "0"),
        ("max_logical_replication_workers", "0"),
        ("shared_preload_libraries", ""),
        ("fsync", "off"),
        ("restart_after_crash", "off"),
        ("cluster_name", "c"),
        ("work_mem", "7MB"),
    ] {
        assert_eq!(clone_says(&clone, &format!("SHOW {setting}")).await, value, "{setting}");
    }
    assert!(clone.destroy().await.left.is_empty());
    let mut recipe = copy();
    recipe.settings.insert("archive_mode".to_owned(), "on".to_owned());
    recipe.settings.insert("no_such".to_owned(), "on".to_owned());
    match lab.attempt(&lab.source("a"), &recipe, "c").await.outcome {
        Err(CloneError::Settings(problems)) => assert_eq!(problems.len(), 2, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    drop(client);
    lab.end().await;
}
