//! Publications and subscriptions of a plan as text.

use crate::cluster::logical::{Initial, Publication, Tables};
use crate::scenario::Scenario;
use std::fmt::{self, Write};

/// A line for each, and what a reader may not have meant.
pub(super) fn lines(f: &mut fmt::Formatter<'_>, scenario: &Scenario) -> fmt::Result {
    for (name, publication) in &scenario.publication {
        writeln!(f, "  publication {name} on {}: {}", publication.on, tables(publication))?;
    }
    for one in scenario.subscriptions() {
        let copy = match one.copy {
            Initial::Initial => "tables copied first",
            Initial::None => "no copy",
        };
        let mut line = format!("{} to {} from {}: {}, {copy}", one.name, one.to, one.from, one.publications.join(", "));
        if one.slot != one.name {
            write!(line, ", slot {}", one.slot)?;
        }
        for (option, value) in one.options {
            write!(line, ", {option} = {value}")?;
        }
        writeln!(f, "  subscription {line}")?;
    }
    for note in scenario.notes() {
        writeln!(f, "  note: {note}")?;
    }
    Ok(())
}

fn tables(publication: &Publication) -> String {
    let Tables::Listed(tables) = &publication.tables else { return "all tables".to_owned() };
    let table = |(name, part): (&String, &crate::cluster::logical::Part)| {
        let columns = part.columns.as_ref().map_or_else(String::new, |columns| format!(" ({})", columns.join(", ")));
        let filter = part.filter.as_ref().map_or_else(String::new, |filter| format!(" where {filter}"));
        format!("{name}{columns}{filter}")
    };
    tables.iter().map(table).collect::<Vec<_>>().join(", ")
}
