use super::*;
use crate::metric::sampled::{self, IO, Measurement, REPLICATION, STATEMENTS, WAL};

/// The columns of a version's views, as its servers said: 13.23, 14.23, 15.20, 16.14, 17.12, 18.6.
fn server(text: &str) -> Has {
    let mut has = Has::new();
    for line in text.lines() {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap().to_owned();
        let known = has.entry(word()).or_default();
        known.columns.insert(word(), word());
        known.schema = "pg_catalog".to_owned();
    }
    has
}

const VERSIONS: [(u32, &str); 6] = [
    (13, include_str!("../columns/13.txt")),
    (14, include_str!("../columns/14.txt")),
    (15, include_str!("../columns/15.txt")),
    (16, include_str!("../columns/16.txt")),
    (17, include_str!("../columns/17.txt")),
    (18, include_str!("../columns/18.txt")),
];

fn wanted(of: &Measurement) -> &'static Wanted {
    WANTED.iter().find(|wanted| wanted.of.name == of.name).unwrap()
}

/// The statement for `of`, and what the version lacks.
fn read(of: &Measurement, version: u32) -> (String, Vec<String>) {
    let text = VERSIONS.iter().find(|(major, _)| *major == version).unwrap().1;
    let (view, absent) = View::of(wanted(of), &server(text), "ARRAY[1::oid]");
    (view.map(|view| view.sql).unwrap_or_default(), absent)
}

#[test]
fn every_column_of_every_version_is_read_or_left_out() {
    for (version, text) in VERSIONS {
        assert_eq!(unknown(&server(text)), BTreeSet::new(), "{version}");
        // A view that nothing is wanted of would be passed over whole.
        let views: BTreeSet<&str> = WANTED.iter().flat_map(|wanted| wanted.views()).copied().collect();
        let passed: Vec<String> = server(text).into_keys().filter(|view| !views.contains(view.as_str())).collect();
        assert_eq!(passed, Vec::<String>::new(), "{version}");
    }
}

#[test]
fn a_column_that_came_later_is_named() {
    let mut has = server(VERSIONS[5].1);
    has.get_mut("pg_stat_wal").unwrap().columns.insert("wal_of_tomorrow".into(), "bigint".into());
    assert_eq!(unknown(&has), BTreeSet::from(["pg_stat_wal.wal_of_tomorrow".to_owned()]));
}

#[test]
fn every_field_and_column_left_out_is_in_some_version() {
    let all: Vec<Has> = VERSIONS.iter().map(|(_, text)| server(text)).collect();
    let is_there = |wanted: &Wanted, source: &str| {
        let known = |has: &Has| wanted.views().iter().find_map(|name| has.get(*name)).cloned().unwrap_or_default();
        all.iter().any(|has| columns(source).all(|column| known(has).columns.contains_key(column)))
    };
    for wanted in WANTED.iter().filter(|wanted| !matches!(wanted.shape, Shape::Whole(_))) {
        for field in wanted.of.fields {
            // 19 is announced to have it.
            let known = field.name == "wal_fpi_bytes" || field.sources().any(|source| is_there(wanted, source));
            assert!(known, "{}.{} is in no version", wanted.of.name, field.name);
        }
        for column in wanted.left_out {
            assert!(is_there(wanted, column), "{column} of {} is in no version", wanted.of.name);
        }
    }
}

#[test]
fn every_sampled_view_is_declared() {
    for wanted in WANTED {
        assert!(sampled::MEASUREMENTS.iter().any(|of| of.name == wanted.of.name), "{}", wanted.of.name);
    }
}

#[test]
fn a_column_that_the_server_lacks_costs_that_column() {
    let (sql, absent) = read(&WAL, 18);
    assert_eq!(
        sql,
        "SELECT wal_records::int8 AS wal_records, wal_fpi::int8 AS wal_fpi, wal_bytes::int8 AS wal_bytes, \
         wal_buffers_full::int8 AS wal_buffers_full, extract(epoch FROM stats_reset)::float8 AS stats_reset \
         FROM pg_catalog.pg_stat_wal"
    );
    let lacks = ["wal_fpi_bytes", "wal_write", "wal_sync", "wal_write_time", "wal_sync_time"];
    assert_eq!(absent, lacks.map(|column| format!("pg_stat_wal.{column}")));
}

#[test]
fn a_view_that_the_server_lacks_is_named_and_not_asked_for() {
    assert_eq!(read(&WAL, 13), (String::new(), vec!["pg_stat_wal".to_owned()]));
    assert_eq!(read(&IO, 15), (String::new(), vec!["pg_stat_io".to_owned()]));
}

#[test]
fn what_has_another_name_elsewhere_is_read_by_it() {
    let (sql, absent) = read(&sampled::CHECKPOINTER, 16);
    assert!(
        sql.starts_with("SELECT checkpoints_timed::int8 AS num_timed, checkpoints_req::int8 AS num_requested,"),
        "{sql}"
    );
    assert!(sql.ends_with("FROM pg_catalog.pg_stat_bgwriter"), "{sql}");
    assert!(absent.contains(&"pg_stat_checkpointer.num_done".to_owned()));
    assert!(read(&STATEMENTS, 15).0.contains("sum(blk_read_time)::float8 AS shared_blk_read_time"));
    assert!(read(&STATEMENTS, 17).0.contains("sum(shared_blk_read_time)::float8 AS shared_blk_read_time"));
    assert!(read(&IO, 17).0.contains("(reads * op_bytes)::int8 AS read_bytes"));
    assert!(read(&IO, 18).0.contains(" read_bytes::int8 AS read_bytes"));
}

#[test]
fn lsns_and_lags_become_numbers() {
    let start = "SELECT DISTINCT ON (application_name) application_name::text, state::text AS state, \
                 (sent_lsn - '0/0'::pg_lsn)::int8 AS sent_lsn,";
    let (sql, _) = read(&REPLICATION, 15);
    assert!(sql.starts_with(start) && sql.contains("extract(epoch FROM write_lag)::float8 AS write_lag"), "{sql}");
}

#[test]
fn columns_of_an_expression_are_its_words_but_for_functions() {
    let expression = "CASE WHEN pg_is_in_recovery() THEN 1 ELSE now_lsn END - restart_lsn * count(pid)";
    assert_eq!(columns(expression).collect::<Vec<_>>(), ["now_lsn", "restart_lsn", "pid"]);
}

#[test]
fn statements_of_our_own_name_the_catalogues_fields_in_order() {
    for wanted in WANTED {
        let Shape::Whole(sql) = wanted.shape else { continue };
        let mut rest = sql;
        for field in wanted.of.fields {
            let name = format!(" AS {}", field.name);
            let at = rest.find(&name).unwrap_or_else(|| panic!("{} not in order in {sql}", field.name));
            rest = &rest[at + name.len()..];
        }
    }
}
