//! Files that are not as they should be, and the real ones' first rows.

use super::super::fixture::{Primary, not_run};
use super::files::{Folder, GOOD, good};
use super::{SMALL, client, lines, loaded, of, try_load};
use flate2::{Compression, write::GzEncoder};
use pgbench_rs::etl::imdb::{Schema, schema::FILES};
use pgbench_rs::etl::load::{Existing, ForeignKeys, Indexes, LoadError, Settings};
use std::fs;
use std::io::Write;

/// A line with its `jsonb` and `real` as values, which the server writes otherwise than the file.
fn normal(file: &str, line: &str) -> String {
    let fields = line.split('\t').enumerate().map(|(n, field)| match (file, n) {
        ("title.principals", 5) => {
            serde_json::from_str::<serde_json::Value>(field).map_or(field.to_owned(), |value| value.to_string())
        }
        ("title.ratings", 1) => field.parse::<f32>().expect("a number").to_string(),
        _ => field.to_owned(),
    });
    fields.collect::<Vec<_>>().join("\t")
}

#[tokio::test(flavor = "multi_thread")]
async fn good_rows_are_read_back_field_by_field() {
    let primary = Primary::start(&SMALL);
    let client = client(&primary).await;
    let folder = Folder::new();
    for schema in [Schema::Text, Schema::Typed] {
        let settings = Settings { existing: Existing::Drop, foreign_keys: ForeignKeys::Checked, ..Settings::default() };
        let loaded = loaded(&primary, &folder, schema, settings).await;
        for (file, rows) in GOOD {
            let table = of(&loaded, &file.replace('.', "_"));
            let rows: Vec<String> = rows.iter().map(|row| normal(file, row)).collect();
            let read = lines(&client, file, schema).await.iter().map(|row| normal(file, row)).collect::<Vec<_>>();
            assert_eq!(read, rows, "{file}");
            assert_eq!((table.rows_in, table.loaded, table.rejected), (rows.len() as u64, rows.len() as u64, 0));
            let digest = table.file.as_ref().expect("a file");
            assert_eq!(digest.bytes, fs::metadata(&digest.path).expect("a file").len());
            assert_eq!(digest.blake3.len(), 64);
        }
        assert!(!folder.path().join("rejects").exists(), "nothing was rejected");
    }
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated";
    assert_eq!(client.query_one(keys, &[]).await.expect("a count").get::<_, i64>(0), 7);
    let frozen = "SELECT relallvisible = relpages AND relpages > 0 FROM pg_class WHERE relname = 'title_principals'";
    assert!(client.query_one(frozen, &[]).await.expect("a row").get::<_, bool>(0));
}

/// Rows of title.principals of which each but the good ones must be among the rejects, with this reason.
fn hostile() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let good = good("title.principals");
    let row = |text: &str, why| (text.as_bytes().to_vec(), why);
    vec![
        row(&good[0], None),
        row("", Some("1 columns instead of 6")),
        row("tt0000002\t1\tnm0000001\tself\t\\N", Some("5 columns instead of 6")),
        row("tt0000002\t1\tnm0000001\tself\t\\N\t\\N\t\\N", Some("7 columns instead of 6")),
        (b"tt0000002\t1\tnm0000001\tse\xfflf\t\\N\t\\N".to_vec(), Some("no UTF-8 at byte 25 of the line")),
        (b"tt0000002\t1\tnm0000001\ts\0lf\t\\N\t\\N".to_vec(), Some("a zero byte")),
        row("tt0000002\tone\tnm0000001\tself\t\\N\t\\N", Some("ordering is no integer: one")),
        row("tt0000002\t99999999999\tnm0000001\tself\t\\N\t\\N", Some("ordering is no integer: 99999999999")),
        row("\\N\t1\tnm0000001\tself\t\\N\t\\N", Some("tconst is null, and of the primary key")),
        row(&good[1], None),
        row("tt0000002\t1\tnm0000001\tself\t\\N\t[\"a", Some("characters is no JSON array of strings: [\"a")),
        // The second of its key, though otherwise unlike the first.
        row("tt0000001\t2\tnm0000003\tactor\t\\N\t\\N", Some("duplicate of (tconst, ordering): tt0000001, 2")),
        // A number may have zeros before it, and is the same key.
        row("tt0000001\t01\tnm0000003\tactor\t\\N\t\\N", Some("duplicate of (tconst, ordering): tt0000001, 1")),
        row(&good[1], Some("duplicate of (tconst, ordering): tt0000001, 2")),
        row(&good[2], None),
        // Orphans, of one key, of the other, and of both.
        row("tt9999999\t1\tnm0000001\tself\t\\N\t\\N", Some("tconst refers to no row of title_basics: tt9999999")),
        row("tt0000002\t7\tnm9999999\tself\t\\N\t\\N", Some("nconst refers to no row of name_basics: nm9999999")),
        row("tt9999999\t2\tnm9999999\tself\t\\N\t\\N", Some("tconst refers to no row of title_basics: tt9999999")),
        row("tt9999999\t2\tnm0000001\tself\t\\N\t\\N", Some("duplicate of (tconst, ordering): tt9999999, 2")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_loaded_or_rejected_with_its_line() {
    let primary = Primary::start(&SMALL);
    let client = client(&primary).await;
    let folder = Folder::new();
    let (rows, reasons): (Vec<Vec<u8>>, Vec<_>) = hostile().into_iter().unzip();
    folder.write("title.principals", &rows);
    for indexes in [Indexes::After, Indexes::Before] {
        let settings =
            Settings { existing: Existing::Drop, foreign_keys: ForeignKeys::Checked, indexes, ..Settings::default() };
        let loaded = loaded(&primary, &folder, Schema::Typed, settings).await;
        let table = of(&loaded, "title_principals");
        let bad = reasons.iter().flatten().count() as u64;
        assert_eq!((table.rows_in, table.loaded, table.rejected), (rows.len() as u64, rows.len() as u64 - bad, bad));
        let read: Vec<String> = lines(&client, "title.principals", Schema::Typed).await;
        let read: Vec<String> = read.iter().map(|row| normal("title.principals", row)).collect();
        let wanted: Vec<String> = good("title.principals").iter().map(|row| normal("title.principals", row)).collect();
        assert_eq!(read, wanted);
        let mut found = folder.rejects("title_principals");
        found.extend(folder.rejects("title_principals.orphans"));
        found.sort_by_key(|(line, _)| line.parse::<u64>().expect("a line"));
        // The header is the first line.
        let wanted: Vec<(String, String)> = (2..)
            .zip(&reasons)
            .filter_map(|(line, why)| why.map(|why: &str| (format!("{line}"), why.to_owned())))
            .collect();
        assert_eq!(found, wanted, "{indexes:?}");
        let state =
            "SELECT rows_in = loaded + rejected, loaded FROM pgbench_rs_load WHERE table_name = 'title_principals'";
        let state = client.query_one(state, &[]).await.expect("the state");
        assert_eq!((state.get::<_, bool>(0), state.get::<_, i64>(1)), (true, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_rejects_fail_and_leave_no_table() {
    let primary = Primary::start(&SMALL);
    let folder = Folder::new();
    folder.write("title.crew", &["x"; 5]);
    let settings = Settings { max_rejects: 4, ..Settings::default() };
    let error = try_load(&primary, &folder, Schema::Typed, settings.clone()).await.expect_err("too many");
    let wanted = "more than 4 rejected rows; the last in title_crew: 1 columns instead of 3";
    assert!(error.to_string().starts_with(wanted), "{error}");
    let there = client(&primary).await.query_one("SELECT to_regclass('title_crew') IS NULL", &[]).await;
    assert!(there.expect("a row").get::<_, bool>(0));
    // Orphans and duplicates are held against it as well.
    folder.write("title.crew", &["tt8\t\\N\t\\N", "tt8\t\\N\t\\N", "tt9\t\\N\t\\N", "tt7\t\\N\t\\N"]);
    let settings = Settings {
        existing: Existing::Drop,
        foreign_keys: ForeignKeys::Checked,
        max_rejects: 3,
        ..Settings::default()
    };
    let error = try_load(&primary, &folder, Schema::Typed, settings.clone()).await.expect_err("too many");
    assert!(matches!(error, LoadError::TooMany { limit: 3, .. }), "{error}");
    let loaded = loaded(&primary, &folder, Schema::Typed, Settings { max_rejects: 4, ..settings }).await;
    assert_eq!((of(&loaded, "title_crew").loaded, of(&loaded, "title_crew").rejected), (0, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay_when_keys_are_not_validated() {
    let primary = Primary::start(&SMALL);
    let folder = Folder::new();
    folder.write("title.ratings", &["tt9999999\t5.8\t1"]);
    let settings = Settings { foreign_keys: ForeignKeys::NotValid, ..Settings::default() };
    let loaded = loaded(&primary, &folder, Schema::Typed, settings).await;
    assert_eq!((of(&loaded, "title_ratings").loaded, of(&loaded, "title_ratings").rejected), (1, 0));
    let keys = "SELECT count(*), bool_or(convalidated) FROM pg_constraint WHERE contype = 'f'";
    let keys = client(&primary).await.query_one(keys, &[]).await.expect("a row");
    assert_eq!((keys.get::<_, i64>(0), keys.get::<_, bool>(1)), (7, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read_fail_the_load() {
    let primary = Primary::start(&SMALL);
    let folder = Folder::new();
    let bytes = Folder::bytes("title.akas", &vec![good("title.akas").concat(); 1000]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&bytes).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let path = folder.path().join("title.akas.tsv.gz");
    fs::write(&path, &gzip).expect("it is written");
    let both = pgbench_rs::etl::imdb::Files::open(folder.path(), Schema::Text).expect_err("it is there twice");
    assert!(both.to_string().contains("are both there"), "{both}");
    fs::remove_file(folder.file("title.akas")).expect("it is there");
    fs::write(&path, &gzip[..gzip.len() / 2]).expect("it is written");
    let error = try_load(&primary, &folder, Schema::Text, Settings::default()).await.expect_err("it is cut");
    assert!(error.to_string().contains("title.akas.tsv.gz: its compressed bytes end"), "{error}");
    let there = client(&primary).await.query_one("SELECT to_regclass('title_akas') IS NULL", &[]).await;
    assert!(there.expect("a row").get::<_, bool>(0), "no table of a file that was cut");
    fs::write(folder.file("title.crew"), "tconst\tdirectors\n").expect("it is written");
    fs::write(&path, &gzip).expect("it is written");
    let settings = Settings { existing: Existing::Resume, ..Settings::default() };
    let error = try_load(&primary, &folder, Schema::Text, settings).await.expect_err("a wrong header");
    assert!(
        error.to_string().contains("its first line is `tconst directors`, and should be `tconst directors writers`")
    );
    fs::remove_file(&path).expect("it is there");
    let missing = pgbench_rs::etl::imdb::Files::open(folder.path(), Schema::Text).expect_err("it is missing");
    assert!(missing.to_string().contains("has no title.akas.tsv[.gz]"), "{missing}");
}

/// The first rows of the public files, which nobody may hand on: where they are, `PGBENCH_RS_IMDB_SAMPLE` says.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_files_first_rows_are_read_back() {
    let Some(sample) = std::env::var_os("PGBENCH_RS_IMDB_SAMPLE") else {
        return not_run("live::etl (real rows of IMDb)", "set PGBENCH_RS_IMDB_SAMPLE to a folder with the seven files");
    };
    let primary = Primary::start(&SMALL);
    let client = client(&primary).await;
    let folder = Folder::new();
    for shape in &FILES {
        let from = std::path::Path::new(&sample).join(format!("{}.tsv", shape.file));
        fs::write(folder.file(shape.file), fs::read(from).expect("a file")).expect("it is written");
    }
    for (schema, foreign_keys) in [
        (Schema::Text, ForeignKeys::None),
        (Schema::Typed, ForeignKeys::NotValid),
        (Schema::Typed, ForeignKeys::Checked),
    ] {
        let settings = Settings { existing: Existing::Drop, foreign_keys, ..Settings::default() };
        let loaded = loaded(&primary, &folder, schema, settings).await;
        for shape in &FILES {
            let table = of(&loaded, &shape.file.replace('.', "_"));
            let text = fs::read_to_string(folder.file(shape.file)).expect("a file");
            let wanted: Vec<String> = text.lines().skip(1).map(|line| normal(shape.file, line)).collect();
            assert!(wanted.len() > 10 && table.rows_in == wanted.len() as u64);
            if foreign_keys == ForeignKeys::Checked {
                // Of the first rows most refer to later ones.
                let orphans = folder.rejects(&format!("{}.orphans", table.name)).len() as u64;
                assert_eq!((table.rejected, table.loaded), (orphans, table.rows_in - orphans), "{}", table.name);
                continue;
            }
            let read = lines(&client, shape.file, schema).await;
            assert_eq!(read.iter().map(|row| normal(shape.file, row)).collect::<Vec<_>>(), wanted, "{}", shape.file);
        }
    }
}
