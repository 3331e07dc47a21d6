//! Thin clones: how soon, how large, how old.

use super::super::Fold::Last;
use super::super::View::{Lines, Marks, Stacked};
use super::super::{Dashboard, Query, Scope};
use super::panel;
use crate::metric::sampled::{CLONE, FILE_SYSTEM};

/// The parts of a clone's making that follow each other, until its first row.
const PARTS: [&str; 9] = ["look", "checkpoint", "freeze", "snapshot", "clone", "thaw", "fixup", "start", "first_row"];

pub fn board() -> Dashboard {
    let clone = |field: &str| Query::new(&CLONE, field, Last).split(&["subject"]);
    let panels = vec![
        panel(
            ("Ready", "from the request of a clone to its first row, at the instant of the request"),
            Marks,
            "s",
            12,
            [clone("ready")],
        ),
        panel(
            ("Where the time goes", "the parts until the first row; what a clone did not do is not there"),
            Stacked,
            "s",
            12,
            PARTS.map(clone),
        ),
        panel(
            ("Queries", "the first real one, cold, and the same again"),
            Marks,
            "s",
            12,
            [clone("cold"), clone("warm")],
        ),
        panel(
            ("Stood still", "how long the source was frozen, and how long its checkpoint took"),
            Marks,
            "s",
            12,
            [clone("stood_still"), clone("checkpoint")],
        ),
        panel(
            ("Space of a clone's own", "where the file system tells, when it was ready"),
            Marks,
            "bytes",
            12,
            [clone("space")],
        ),
        panel(("WAL replayed", "before the first row"), Marks, "bytes", 12, [clone("replayed")]),
        panel(
            ("Age", "from the clone's newest transaction to its request; negative: it came later"),
            Marks,
            "s",
            12,
            [clone("age")],
        ),
        panel(
            ("File systems", "what is free where data directories are"),
            Lines,
            "bytes",
            12,
            [Query::new(&FILE_SYSTEM, "free_bytes", Last).called("free")],
        ),
    ];
    Dashboard {
        name: "clones",
        title: "Clones",
        about: "how soon thin clones are ready, and what they cost",
        scope: Scope::Run,
        panels,
    }
}
