use super::*;

fn said(name: &str, major: u32) -> Option<String> {
    missing(name, Major(major)).map(|missing| missing.to_string())
}

#[test]
fn rows_are_sorted_and_stretches_follow_each_other() {
    for pair in ROWS.windows(2) {
        let (one, two) = (&pair[0], &pair[1]);
        assert!(
            one.name < two.name || (one.name == two.name && one.last + 1 == two.first),
            "{} {}",
            one.name,
            two.name
        );
    }
    for row in ROWS {
        assert_eq!(row.name, row.name.to_lowercase());
        assert!(KNOWN.contains(&row.first) && KNOWN.contains(&row.last) && row.first <= row.last, "{}", row.name);
        assert!(is_judged(row.name), "{}", row.name);
        if let Kind::Whole { unit, min, max } | Kind::Real { unit, min, max } = row.kind {
            assert!(min < max && (unit.is_empty() || amount(unit).is_some()), "{}", row.name);
        }
    }
}

#[test]
fn what_a_version_lacks_names_those_that_have_it() {
    let io_method = "`io_method` does not exist in PostgreSQL 17; 18 and later have it";
    assert_eq!(said("io_method", 17).as_deref(), Some(io_method));
    let trigger = "`promote_trigger_file` does not exist in PostgreSQL 16; 15 and earlier have it";
    assert_eq!(said("promote_trigger_file", 16).as_deref(), Some(trigger));
    let hint = missing("force_parallel_mode", Major(17)).unwrap().hint();
    assert_eq!(hint, "leave it out, or run it on `version = \"15\"`; `debug_parallel_query` took its place");
    let none = "no version of PostgreSQL from 13 to 18 has a setting `max_conections`";
    assert_eq!(said("max_conections", 17).as_deref(), Some(none));
    assert_eq!(unknown("max_conections").unwrap().to_string(), none);
    assert_eq!(unknown("wal_keep_segments").unwrap().hint(), "leave it out; `wal_keep_size` took its place");
}

#[test]
fn what_may_well_exist_is_passed() {
    for (name, major) in [
        ("io_method", 18),
        ("IO_Method", 18),
        ("DateStyle", 15),
        ("auto_explain.log_nested", 15),
        ("extension_destdir", 18),
        ("something_new", 19),
        ("ssl_ecdh_curve", 18),
        ("wal_compression", 14),
    ] {
        assert_eq!(said(name, major), None, "{name} of {major}");
    }
    assert_eq!(unknown("io_method"), None);
}

#[test]
fn values_that_no_server_takes_are_seen() {
    for (name, value, message) in [
        ("shared_buffers", "lots", "`lots` is no value of `shared_buffers`"),
        ("shared_buffers", "128mb", "`128mb` is no value of `shared_buffers`"),
        ("shared_buffers", "128s", "`128s` is no value of `shared_buffers`"),
        ("shared_buffers", "8kB", "`shared_buffers` cannot be `8kB`"),
        ("max_connections", "100MB", "`100MB` is no value of `max_connections`"),
        ("max_connections", "0", "`max_connections` cannot be `0`"),
        ("checkpoint_timeout", "2d", "`checkpoint_timeout` cannot be `2d`"),
        ("fsync", "o", "`o` is no value of `fsync`"),
        ("wal_level", "on", "`on` is no value of `wal_level`"),
        ("random_page_cost", "-1", "`random_page_cost` cannot be `-1`"),
        ("checkpoint_completion_target", "inf", "`inf` is no value of `checkpoint_completion_target`"),
        ("server_version", "17", "`server_version` cannot be set: it can only be read"),
    ] {
        let wrong = wrong(name, value, None).unwrap_or_else(|| panic!("{name} = {value} passes"));
        assert_eq!(wrong.message, message);
    }
    let size = wrong("shared_buffers", "lots", None).unwrap().hint;
    assert_eq!(size, "it takes a size, such as `64MB`; units are `B`, `kB`, `MB`, `GB` and `TB`");
    let range = wrong("shared_buffers", "8kB", None).unwrap().hint;
    assert_eq!(range, "it can be from 16 to 1073741823, in units of 8kB");
}

#[test]
fn values_that_a_server_takes_are_passed() {
    for (name, value) in [
        ("shared_buffers", "128MB"),
        ("shared_buffers", "0.5GB"),
        ("shared_buffers", "16384"),
        ("wal_buffers", "-1"),
        ("max_connections", "1e2"),
        ("max_connections", "010"),
        ("max_connections", "0x10"),
        ("checkpoint_timeout", "5 min"),
        ("fsync", "YES"),
        ("synchronous_commit", "true"),
        ("wal_level", "Hot_Standby"),
        ("log_min_messages", "debug"),
        ("default_transaction_isolation", "repeatable read"),
        ("vacuum_cost_delay", "0.5ms"),
        ("search_path", "anything"),
        ("auto_explain.log_min_duration", "anything"),
    ] {
        assert_eq!(wrong(name, value, None), None, "{name} = {value}");
    }
}

#[test]
fn a_value_is_judged_by_the_version_that_gets_it() {
    for (name, value, taken, refused) in [
        ("wal_compression", "zstd", 15, 14),
        ("log_connections", "receipt,authentication", 18, 17),
        ("io_combine_limit", "1MB", 18, 17),
        ("maintenance_work_mem", "64kB", 17, 16),
        ("password_encryption", "on", 13, 14),
    ] {
        assert_eq!(wrong(name, value, Some(Major(taken))), None, "{name} = {value} of {taken}");
        assert!(wrong(name, value, Some(Major(refused))).is_some(), "{name} = {value} of {refused}");
        assert_eq!(wrong(name, value, None), None, "{name} = {value}");
    }
    assert_eq!(wrong("wal_level", "anything", Some(Major(19))), None);
}
