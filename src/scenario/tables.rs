//! Tables of a file of their own, `pgbench-rs load tables FILE`, read and judged as a scenario is.

use super::check::{Finding, Part};
use super::error::ScenarioErrors;
use super::read::{locate, parse};
use super::shape;
use super::source::Source;
use crate::etl::tables::{Shape, check::check};

/// Reads a file of `[tables.NAME]`.
///
/// # Errors
/// Everything that is wrong with it: its syntax; else the shape of its parts; else all that cannot mean what it says.
pub fn read(source: &Source) -> Result<Shape, ScenarioErrors> {
    let pieces = source.pieces();
    let mut found = Vec::new();
    let mut read = None;
    if let Some(tree) = parse(&pieces, &mut Vec::new(), &mut found) {
        let shaped = shape::tables(tree.clone());
        found.extend(shaped.findings);
        read = shaped.scenario;
        if let Some(shape) = read.as_ref().filter(|_| shaped.damaged.is_empty()) {
            found.extend(check(shape).into_iter().map(|wrong| {
                let path: Vec<&str> = std::iter::once("tables").chain(wrong.path.iter().map(String::as_str)).collect();
                locate(Finding::new(&path, Part::Value, wrong.message, Some(wrong.hint)), &tree)
            }));
        }
    }
    match read {
        Some(shape) if found.is_empty() => Ok(shape),
        _ => Err(ScenarioErrors::new(&pieces, found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readmes_example_reads() {
        let readme = include_str!("../../README.md");
        let start = readme.find("[tables.customer]").expect("the example");
        let text = &readme[start..start + readme[start..].find("```").expect("its end")];
        let shape = read(&Source::new("README.md", text)).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(shape.tables.keys().collect::<Vec<_>>(), ["customer", "orders"]);
    }
}
