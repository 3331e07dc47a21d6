//! The README's tables of metrics and of sampled points are the catalogues'.

use pgbench_rs::metric::sampled::MEASUREMENTS;
use pgbench_rs::metric::{catalogue, table};
use std::path::Path;

#[test]
fn the_readme_has_the_catalogue() {
    agrees("metrics", &catalogue::table());
}

#[test]
fn the_readme_has_all_that_is_sampled() {
    agrees("points", &table::table());
}

/// Each measurement stands where it comes from, once, and fields that are named are there.
#[test]
fn the_way_from_a_view_to_a_panel_is_the_catalogues() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).expect("README.md is readable");
    let page = readme.split_once("### From a view to a panel\n").expect("the page").1;
    let page = page.split("What happens in a run").next().expect("its end");
    let table =
        page.split_once("<!-- etl -->").and_then(|(_, rest)| rest.split_once("<!-- /etl -->")).expect("a table").0;
    let last = table.lines().filter_map(|row| row.trim_end_matches('|').rsplit('|').next()).skip(3);
    let mut named: Vec<&str> = last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let mut known: Vec<&str> = MEASUREMENTS.iter().map(|measurement| measurement.name).collect();
    named.sort_unstable();
    known.sort_unstable();
    assert_eq!(named, known);
    let mut fields = 0;
    for (from, field) in page.split('`').skip(1).step_by(2).filter_map(|name| name.split_once('.')) {
        let Some(measurement) = MEASUREMENTS.iter().find(|measurement| measurement.name == from) else { continue };
        assert!(measurement.field(field).is_some(), "{from}.{field}");
        fields += 1;
    }
    assert!(fields >= 4, "{fields}");
}

/// `UPDATE_README=1 cargo test --test it metrics::` writes the tables anew.
fn agrees(name: &str, wanted: &str) {
    // Both tests write the same file.
    static WRITING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = WRITING.lock();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md is readable");
    let (before, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("README.md has no line {begin}"));
    let (table, after) = rest.split_once(&end).unwrap_or_else(|| panic!("README.md has no line {end} below the first"));
    let wanted = format!("\n{wanted}\n");
    if std::env::var_os("UPDATE_README").is_some_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{begin}{wanted}{end}{after}")).expect("README.md is writable");
    } else {
        assert_eq!(table, wanted, "\nhint: UPDATE_README=1 cargo test --test it metrics::");
    }
}
