//! Keeps the lines, for tests.

/// Lines of line protocol.
#[derive(Debug, Default)]
pub struct Memory {
    text: Vec<u8>,
}

impl Memory {
    pub(super) fn keep(&mut self, lines: &[u8]) {
        self.text.extend_from_slice(lines);
    }

    /// The lines so far.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        // The encoder writes UTF-8 alone.
        self.text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).filter_map(|l| str::from_utf8(l).ok())
    }
}
