//! What is read: a file, and what the command line lays over it.

use std::ops::Range;

/// A scenario's text and the `--set` arguments that go over it.
#[derive(Clone, Debug)]
pub struct Source {
    file: String,
    text: String,
    sets: Vec<String>,
}

impl Source {
    /// `text`, called `file` in errors.
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        Source { file: file.into(), text: text.into(), sets: Vec::new() }
    }

    /// With `path=value` arguments, in order; later ones win.
    pub fn with_sets(mut self, sets: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.sets.extend(sets.into_iter().map(Into::into));
        self
    }

    /// The file's text, as it goes into the record.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The arguments, as typed after `--set`.
    pub fn sets(&self) -> &[String] {
        &self.sets
    }

    /// The file and the arguments, each with its place in one common count of bytes.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let mut pieces = vec![Piece { file: self.file.clone(), text: self.text.clone(), start: 0, lines: true }];
        let mut start = self.text.len() + 1;
        for set in &self.sets {
            let text = format!("{FLAG}{set}");
            let length = text.len();
            pieces.push(Piece { file: "command line".into(), text, start, lines: false });
            start += length + 1;
        }
        pieces
    }
}

/// How an argument is shown in errors.
pub(super) const FLAG: &str = "--set ";

/// One of the texts that make up a scenario.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// What it is called in errors.
    pub file: String,
    pub text: String,
    /// Where it starts in the count of bytes that all pieces share.
    pub start: usize,
    /// Whether line numbers mean anything in it.
    pub lines: bool,
}

/// A span as people count: lines and characters, both from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub file: String,
    /// Absent on the command line.
    pub line: Option<usize>,
    pub column: usize,
    /// The whole line, for the caret to stand under.
    pub source: String,
    /// How many characters of that line are meant, at least one.
    pub width: usize,
}

/// Where `span` is.
pub(super) fn spot(pieces: &[Piece], span: &Range<usize>) -> Spot {
    let piece = pieces.iter().rev().find(|piece| piece.start <= span.start).unwrap_or(&pieces[0]);
    let start = floor(&piece.text, span.start - piece.start);
    let end = floor(&piece.text, span.end.saturating_sub(piece.start)).max(start);
    let line_start = piece.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = piece.text[start..].find('\n').map_or(piece.text.len(), |newline| start + newline);
    Spot {
        file: piece.file.clone(),
        line: piece.lines.then(|| piece.text[..line_start].matches('\n').count() + 1),
        column: piece.text[line_start..start].chars().count() + 1,
        source: piece.text[line_start..line_end].trim_end().replace('\t', " "),
        width: piece.text[start..end.min(line_end)].trim_end().chars().count().max(1),
    }
}

/// The last character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_falls_into_the_file_or_an_argument() {
        let source = Source::new("x.toml", "name = \"ä\"\nlasts = 5\n").with_sets(["trials=2", "seed=x"]);
        let pieces = source.pieces();
        let in_file = spot(&pieces, &(20..21));
        assert_eq!((in_file.file.as_str(), in_file.line, in_file.column, in_file.width), ("x.toml", Some(2), 9, 1));
        assert_eq!(in_file.source, "lasts = 5");
        let last = pieces.last().map_or(0, |piece| piece.start);
        let in_set = spot(&pieces, &(last + 11..last + 12));
        assert_eq!((in_set.line, in_set.column, in_set.source.as_str()), (None, 12, "--set seed=x"));
    }

    #[test]
    fn a_span_over_several_lines_marks_the_rest_of_the_first() {
        let pieces = Source::new("x", "a = [\n 1\n]\n").pieces();
        assert_eq!(spot(&pieces, &(4..10)).width, 1);
        assert_eq!(spot(&pieces, &(0..10)).width, 5);
        assert_eq!(spot(&pieces, &(99..100)).width, 1);
    }
}
