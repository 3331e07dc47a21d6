//! What a load does with what is there, and what it leaves.

use super::super::fixture::Primary;
use super::files::{Folder, LIMIT};
use super::{SMALL, client, loaded, of, order, try_load};
use pgbench_rs::etl::imdb::Schema;
use pgbench_rs::etl::load::{Analyze, Existing, Indexes, LoadError, Settings, load};

fn with(existing: Existing) -> Settings {
    Settings { existing, ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_fails_it_stays_or_goes() {
    let primary = Primary::start(&SMALL);
    let client = client(&primary).await;
    let folder = Folder::new();
    loaded(&primary, &folder, Schema::Typed, Settings::default()).await;
    let error = try_load(&primary, &folder, Schema::Typed, Settings::default()).await.expect_err("it is there");
    assert!(matches!(&error, LoadError::Exists(tables) if tables.len() == 7), "{error}");
    let again = loaded(&primary, &folder, Schema::Typed, with(Existing::Resume)).await;
    assert!(again.tables.iter().all(|table| table.kept && table.copy.is_none() && table.loaded > 0));
    assert!(again.tables.iter().all(|table| table.file.is_some()), "what the earlier load knew is told again");
    // What was loaded otherwise does not pass for the same.
    let error = try_load(&primary, &folder, Schema::Text, with(Existing::Resume)).await.expect_err("other types");
    assert!(error.to_string().contains("another schema"), "{error}");
    folder.write("title.crew", &["tt0000001\t\\N\t\\N"]);
    let error = try_load(&primary, &folder, Schema::Typed, with(Existing::Resume)).await.expect_err("other data");
    assert!(error.to_string().contains("title_crew is there already, and was loaded from other data"), "{error}");
    client.batch_execute("DROP TABLE title_crew; CREATE TABLE title_crew ()").await.expect("it is done");
    let error = try_load(&primary, &folder, Schema::Typed, with(Existing::Resume)).await.expect_err("not ours");
    assert!(error.to_string().contains("made anew since"), "{error}");
    let dropped = loaded(&primary, &folder, Schema::Text, with(Existing::Drop)).await;
    assert!(dropped.tables.iter().all(|table| !table.kept && table.copy.is_some()));
    assert_eq!(of(&dropped, "title_crew").loaded, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_a_setting_and_timed() {
    let primary = Primary::start(&SMALL);
    let client = client(&primary).await;
    let folder = Folder::new();
    let bare = Settings {
        primary_keys: false,
        indexes: Indexes::None,
        analyze: Analyze::None,
        freeze: false,
        streams: Some(1),
        ..Settings::default()
    };
    let first = loaded(&primary, &folder, Schema::Typed, bare).await;
    let indexes = "SELECT count(*) FROM pg_index WHERE indrelid IN (SELECT relation FROM pgbench_rs_load)";
    assert_eq!(client.query_one(indexes, &[]).await.expect("a count").get::<_, i64>(0), 0);
    for table in &first.tables {
        assert!(table.create.is_some() && table.copy.is_some());
        assert_eq!((table.primary_key, table.indexes, table.analyze), (None, None, None));
    }
    let full = loaded(&primary, &folder, Schema::Typed, with(Existing::Drop)).await;
    assert_eq!(client.query_one(indexes, &[]).await.expect("a count").get::<_, i64>(0), 14);
    assert!(full.tables.iter().all(|table| table.primary_key.is_some() && table.analyze.is_some()));
    assert!(of(&full, "title_basics").indexes.is_some() && of(&full, "title_crew").indexes.is_none());
    assert!(full.wal_bytes > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_server_are_taken_back_however_it_ends() {
    let primary = Primary::start(&[&SMALL[..2], &["log_min_duration_statement=-1"]].concat());
    let client = client(&primary).await;
    client.batch_execute("ALTER SYSTEM SET max_wal_size = '3GB'").await.expect("it is done");
    client.batch_execute("ALTER SYSTEM SET checkpoint_timeout = '7min'").await.expect("it is done");
    client.batch_execute("SELECT pg_reload_conf()").await.expect("it is done");
    let folder = Folder::new();
    let server = [("max_wal_size", "5GB"), ("autovacuum", "off"), ("log_min_duration_statement", "5")];
    let settings = Settings {
        server: server.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        existing: Existing::Drop,
        ..Settings::default()
    };
    let now = async || {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let shown = "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_file_settings \
                     WHERE sourcefile LIKE '%auto.conf'";
        client.query_one(shown, &[]).await.expect("a row").get::<_, String>(0)
    };
    let loaded = loaded(&primary, &folder, Schema::Typed, settings.clone()).await;
    assert_eq!(now().await, "7min 3GB");
    assert!(
        loaded.notes.iter().any(|note| note.starts_with("log_min_duration_statement: without effect")),
        "{loaded:?}"
    );
    folder.write("title.crew", &["x"]);
    let failing = Settings { max_rejects: 0, ..settings.clone() };
    try_load(&primary, &folder, Schema::Typed, failing).await.expect_err("it fails");
    assert_eq!(now().await, "7min 3GB");
    let stopped = load(order(&primary, &folder, Schema::Typed, settings.clone()), std::future::ready(())).await;
    assert!(matches!(stopped, Err(LoadError::Interrupted)));
    assert_eq!(now().await, "7min 3GB");
    // A load that is dropped in the middle is as one that was killed: it leaves them, and the next takes them back.
    let (reached, killed) = (std::cell::Cell::new(false), tokio::time::sleep(LIMIT));
    let dying = load(order(&primary, &folder, Schema::Typed, settings.clone()), async {
        reached.set(true);
        killed.await;
    });
    let mut dying = Box::pin(dying);
    while !reached.get() {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1), &mut dying).await;
    }
    drop(dying);
    assert_eq!(now().await, "off 7min 5 5GB");
    let next = super::loaded(&primary, &folder, Schema::Typed, with(Existing::Drop)).await;
    let note = "an earlier load that did not end left autovacuum, log_min_duration_statement, max_wal_size changed; taken back";
    assert_eq!(next.notes, [note]);
    assert_eq!(now().await, "7min 3GB");
    let postmaster = Settings { server: [("shared_buffers".to_owned(), "1GB".to_owned())].into(), ..settings };
    let error = try_load(&primary, &folder, Schema::Typed, postmaster).await.expect_err("it needs a restart");
    assert!(error.to_string().contains("setting shared_buffers: a change of it needs a restart"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_change_settings_of_the_server_is_told_and_leaves_nothing() {
    let primary = Primary::start(&SMALL);
    let owner = client(&primary).await;
    owner.batch_execute("CREATE ROLE loader LOGIN; GRANT CREATE ON SCHEMA public TO loader").await.expect("a role");
    let folder = Folder::new();
    let settings = Settings {
        server: [("checkpoint_timeout", "9min"), ("max_wal_size", "5GB")].map(|(n, v)| (n.into(), v.into())).into(),
        ..Settings::default()
    };
    let by_loader = async |settings: &Settings| {
        let mut order = order(&primary, &folder, Schema::Typed, settings.clone());
        order.login.user = "loader".into();
        load(order, std::future::pending()).await
    };
    let nothing = async || {
        let left = "SELECT to_regclass('pgbench_rs_load_settings') IS NULL AND to_regclass('title_basics') IS NULL \
                    AND NOT EXISTS (SELECT FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf')";
        owner.query_one(left, &[]).await.expect("a row").get::<_, bool>(0)
    };
    let refused = by_loader(&settings).await.expect_err("it may not").to_string();
    assert!(refused.contains("may not change settings of the server\nhint: "), "{refused}");
    assert!(nothing().await);
    // One of the two may be set (PostgreSQL 15 and later): the other one's refusal takes that back.
    let grants = "GRANT SELECT ON pg_file_settings TO loader; GRANT EXECUTE ON FUNCTION pg_reload_conf(), \
                  pg_show_all_file_settings() TO loader; GRANT ALTER SYSTEM ON PARAMETER checkpoint_timeout TO loader";
    owner.batch_execute(grants).await.expect("grants");
    let refused = by_loader(&settings).await.expect_err("it may not").to_string();
    assert!(refused.contains("setting max_wal_size: permission denied"), "{refused}");
    assert!(nothing().await);
    // What a dead load of another role left is said, and does not keep this one from loading.
    let left = "CREATE TABLE pgbench_rs_load_settings (name text PRIMARY KEY, before text, at timestamptz)";
    owner.batch_execute(left).await.expect("a table");
    let loaded = by_loader(&Settings::default()).await.expect("it loads");
    assert!(loaded.notes.iter().any(|note| note.contains("which this one cannot take back")), "{loaded:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cannot_be_loaded_into_say_why() {
    let primary = Primary::start(&SMALL);
    let client = client(&primary).await;
    let folder = Folder::new();
    client.batch_execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'").await.expect("done");
    let mut into_latin = order(&primary, &folder, Schema::Text, Settings::default());
    into_latin.login.dbname = "latin".into();
    let error = load(into_latin, std::future::pending()).await.expect_err("another encoding");
    assert!(error.to_string().contains("the database's encoding is LATIN1"), "{error}");
    let lock = i64::from_be_bytes(*b"pgbenchr");
    client.batch_execute(&format!("SELECT pg_advisory_lock({lock})")).await.expect("a lock");
    let error = try_load(&primary, &folder, Schema::Text, Settings::default()).await.expect_err("another load");
    assert!(error.to_string().contains("another load into this database is under way"), "{error}");
    let unknown = Settings { session: [("work_mum".to_owned(), "1MB".to_owned())].into(), ..Settings::default() };
    client.batch_execute("SELECT pg_advisory_unlock_all()").await.expect("no lock");
    let error = try_load(&primary, &folder, Schema::Text, unknown).await.expect_err("no such setting");
    assert!(error.to_string().contains("setting work_mum: unrecognized configuration parameter"), "{error}");
}
