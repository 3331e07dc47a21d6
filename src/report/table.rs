//! Plain text in columns and paragraphs: no colour, nothing wider than a hundred characters.

/// Widest line.
pub(super) const WIDTH: usize = 100;

/// A row: its label, and a cell for each column.
pub(super) struct Row {
    pub(super) label: String,
    pub(super) cells: Vec<String>,
}

/// Columns side by side under their `heads`; as many as fit, the others in tables below.
pub(super) fn table(heads: &[&str], rows: &[Row]) -> String {
    let label = rows.iter().map(|row| width(&row.label)).max().unwrap_or(0) + 2;
    let column = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(i)).map(|cell| width(cell));
        cells.chain([width(heads[i])]).max().unwrap_or(0) + 2
    };
    let mut out = String::new();
    let mut next = 0;
    while next < heads.len() {
        let mut columns = vec![];
        let mut used = label;
        while next < heads.len() && (columns.is_empty() || used + column(next) <= WIDTH) {
            used += column(next);
            columns.push(next);
            next += 1;
        }
        let head = ("", columns.iter().map(|i| heads[*i]).collect::<Vec<_>>());
        let body = rows.iter().map(|row| {
            let cells = columns.iter().map(|i| row.cells.get(*i).map_or("", String::as_str));
            (row.label.as_str(), cells.collect())
        });
        for (name, cells) in std::iter::once(head).chain(body) {
            let mut line = pad(name, label);
            for (i, cell) in columns.iter().zip(cells) {
                line += &pad(cell, column(*i));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        if next < heads.len() {
            out.push('\n');
        }
    }
    out
}

/// A paragraph: `first` before its first line, as many blanks before the others.
pub(super) fn paragraph(first: &str, text: &str) -> String {
    let indent = width(first);
    let mut out = first.to_owned();
    let mut used = indent;
    let mut fresh = true;
    for word in text.split_whitespace() {
        let length = width(word);
        if !fresh && used + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            used = indent;
            fresh = true;
        }
        if !fresh {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
        fresh = false;
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// Characters, which in what reports print take one column each.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_goes_below() {
        let heads = ["a".repeat(40), "b".repeat(40), "c".repeat(40)];
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let rows = [Row { label: "µ".into(), cells: vec!["1".into(), "2".into(), "3".into()] }];
        let text = table(&heads, &rows);
        assert_eq!(text.lines().count(), 5);
        assert!(text.lines().all(|line| width(line) <= WIDTH));
        assert!(text.lines().nth(4).unwrap().ends_with('3'));
    }

    #[test]
    fn paragraphs_are_folded_under_their_first_word() {
        let text = paragraph("  x: ", &"word ".repeat(40));
        assert!(text.lines().all(|line| width(line) <= WIDTH));
        assert!(text.lines().skip(1).all(|line| line.starts_with("     word")));
        assert_eq!(text.matches("word").count(), 40);
    }
}
