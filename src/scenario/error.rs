//! What is wrong with a scenario: all of it at once, each with its place.

use super::source::{Piece, spot};
use crate::base::mask::mask;
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// Everything that is wrong with a scenario, in the order of its text.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ScenarioErrors {
    problems: Vec<Problem>,
}

/// One thing that is wrong, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, or `command line`.
    pub file: String,
    /// From 1; absent on the command line.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: usize,
    /// What is addressed, such as `load.app.clients`.
    pub path: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// The line it stands in.
    pub source: String,
    /// How many characters the caret marks.
    pub width: usize,
}

impl ScenarioErrors {
    /// The problems, in the order of the text.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Places `findings` in the text; what is found twice at one place is said once.
    pub(super) fn new(pieces: &[Piece], mut findings: Vec<Located>) -> Self {
        findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
        let mut problems: Vec<Problem> = Vec::new();
        for Located { span, path, message, hint } in findings {
            let spot = spot(pieces, &span);
            let source = mask(&spot.source);
            // What is marked may be longer than what is shown of it.
            let shown = source.chars().count().saturating_sub(spot.column - 1).max(1);
            let problem = Problem {
                file: spot.file,
                line: spot.line,
                column: spot.column,
                path,
                message: mask(&message),
                hint,
                source,
                width: spot.width.min(shown),
            };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        ScenarioErrors { problems }
    }
}

impl std::error::Error for ScenarioErrors {}

impl fmt::Display for ScenarioErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    /// Place and message; the line with a caret under what is meant; the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.map(|line| line.to_string()).unwrap_or_default();
        let margin = number.len();
        match self.line {
            Some(line) => writeln!(f, "{}:{line}:{}: {}", self.file, self.column, self.message)?,
            None => writeln!(f, "{}: {}", self.file, self.message)?,
        }
        writeln!(f, " {:margin$} |", "")?;
        writeln!(f, " {number} | {}", self.source)?;
        write!(f, " {:margin$} | {:indent$}{}", "", "", "^".repeat(self.width), indent = self.column - 1)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// A finding that knows its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub span: Range<usize>,
    pub path: Option<String>,
    pub message: String,
    pub hint: Option<String>,
}
