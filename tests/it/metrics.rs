//! The README's tables of metrics and of sampled points are the catalogues'.

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
