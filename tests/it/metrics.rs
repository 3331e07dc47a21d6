//! The README's table of metrics is the catalogue's.

use pgbench_rs::metric::catalogue;
use std::path::Path;

const BEGIN: &str = "<!-- metrics -->\n";
const END: &str = "<!-- /metrics -->";

/// `UPDATE_README=1 cargo test --test it metrics::` writes the table anew.
#[test]
fn the_readme_has_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md is readable");
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has a line `<!-- metrics -->`");
    let (table, after) = rest.split_once(END).expect("README.md has a line `<!-- /metrics -->` below the first");
    let wanted = format!("\n{}\n", catalogue::table());
    if std::env::var_os("UPDATE_README").is_some_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("README.md is writable");
    } else {
        assert_eq!(table, wanted, "\nhint: UPDATE_README=1 cargo test --test it metrics::");
    }
}
