//! The six pages, one a file.

pub mod clones;
pub mod compare;
pub mod hosts;
pub mod replication;
pub mod run;
pub mod storage;

use super::{Panel, Query, View};

/// A panel of `width` 24ths of the page.
fn panel(
    (title, about): (&'static str, &'static str),
    view: View,
    unit: &'static str,
    width: u32,
    queries: impl Into<Vec<Query>>,
) -> Panel {
    Panel { title, about, view, unit, width, queries: queries.into() }
}
