//! Lines of IMDb's files as the text format of `COPY` has them. Where all columns are text they are nearly the same: tabs
//! part the fields and `\N` is null in both. A line is looked at only as far as it takes to know that it is a row, and goes
//! on as it stands; what would mean something else to the server is escaped.

use super::schema::FileShape;
use crate::etl::chunk::Chunk;
use wide::u8x16;

/// A line as it stands in a block.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Where it begins.
    pub start: usize,
    /// Where its line end is.
    pub end: usize,
    /// Whether it is a row and may go on as it stands. No is no answer: it must be looked at closely.
    pub is_plain: bool,
}

/// Shows each line of a block that has its line end. The block must be UTF-8 without zero bytes for a line to be plain.
///
/// This is most of what a load of text does by itself, so bytes are looked at 64 at a time and once.
#[inline]
pub fn lines(shape: &FileShape, block: &[u8], mut see: impl FnMut(Line)) {
    let (mut start, mut tabs, mut is_plain) = (0, 0, true);
    let mut look = |nth: usize, bytes: &[u8; WIDTH]| {
        let Stand { mut tab, mut end, mut care } = Stand::of(bytes);
        loop {
            let here = end.trailing_zeros();
            let before = below(here);
            let mut rest = care & before;
            while rest != 0 {
                let at = rest.trailing_zeros();
                let column = tabs + (tab & below(at)).count_ones() as usize;
                is_plain &= is_null(block, nth * WIDTH + at as usize) && !shape.is_key(column);
                rest &= rest - 1;
            }
            tabs += (tab & before).count_ones() as usize;
            if end == 0 {
                break;
            }
            let line_end = nth * WIDTH + here as usize;
            see(Line { start, end: line_end, is_plain: is_plain && tabs + 1 == shape.columns.len() });
            (start, tabs, is_plain) = (line_end + 1, 0, true);
            let after = !below(here + 1);
            (tab, end, care) = (tab & after, end & after, care & after);
        }
    };
    let (whole, rest) = block.as_chunks();
    whole.iter().enumerate().for_each(|(nth, bytes)| look(nth, bytes));
    let mut last = [0; WIDTH];
    last[..rest.len()].copy_from_slice(rest);
    look(whole.len(), &last);
}

/// So many bytes are looked at at once, a bit each.
const WIDTH: usize = u64::BITS as usize;

/// Where bytes that mean something stand, the first at the lowest bit.
struct Stand {
    tab: u64,
    /// Line ends.
    end: u64,
    /// What the server would take for something else, unless it is a null.
    care: u64,
}

impl Stand {
    #[inline]
    fn of(bytes: &[u8; WIDTH]) -> Stand {
        let mut stand = Stand { tab: 0, end: 0, care: 0 };
        for (nth, &bytes) in bytes.as_chunks().0.iter().enumerate() {
            let lane = u8x16::new(bytes);
            let is = |byte: u8| lane.cmp_eq(u8x16::splat(byte));
            let put = |mask: u8x16| ((mask.move_mask() & 0xffff) as u64) << (16 * nth);
            stand.tab |= put(is(b'\t'));
            stand.end |= put(is(b'\n'));
            stand.care |= put(is(b'\\') | is(b'\r'));
        }
        stand
    }
}

/// All bits below the `n`th, which may be 64.
#[inline]
fn below(n: u32) -> u64 {
    1u64.checked_shl(n).unwrap_or(0).wrapping_sub(1)
}

/// Whether the backslash at `at` begins a field that is null.
#[inline]
fn is_null(block: &[u8], at: usize) -> bool {
    let begins = at == 0 || matches!(block[at - 1], b'\t' | b'\n');
    begins && block[at..].starts_with(b"\\N") && matches!(block.get(at + 2), None | Some(b'\t' | b'\n'))
}

/// Appends a row of any text without zero bytes, escaped.
pub fn escape(line: &[u8], chunk: &mut Chunk) {
    let mut row = Vec::with_capacity(line.len() + 16);
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            b'\\' if !is_null(line, at) => row.extend_from_slice(b"\\\\"),
            b'\r' => row.extend_from_slice(b"\\r"),
            _ => row.push(byte),
        }
    }
    row.push(b'\n');
    chunk.lines(&row, 1);
}

#[cfg(test)]
mod tests {
    use super::super::{Rows, Schema, schema::FILES};
    use super::*;
    use crate::etl::rejects::Reject;
    use proptest::prelude::*;

    /// Rows and rejects of a file with this text after its header, in binary or as text.
    fn read(shape: &'static FileShape, text: &[u8], is_text: bool) -> (Vec<u8>, u64, Vec<Reject>) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("t.tsv");
        let header = shape.header() + "\n";
        std::fs::write(&path, [header.as_bytes(), text].concat()).expect("it is written");
        let mut rows = Rows::open(&path, shape, Schema::Text).expect("it opens");
        let (mut chunk, mut rejects) = (Chunk::default(), Vec::new());
        loop {
            let read = if is_text { rows.fill(&mut chunk) } else { rows.look(&mut chunk, |_, _, _| {}) };
            rejects.extend(rows.rejected());
            if !read.expect("it is read") {
                return (chunk.bytes().to_vec(), chunk.rows(), rejects);
            }
        }
    }

    /// What the server makes of a text COPY (`CopyReadLine`, `CopyReadAttributesText`), as a binary one would have it.
    fn binary(text: &[u8]) -> Chunk {
        let mut chunk = Chunk::default();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\n").expect("every line has its end");
            assert!(!line.contains(&b'\r'), "the server would take it for a line end");
            chunk.begin(line.split(|&byte| byte == b'\t').count() as u16);
            for field in line.split(|&byte| byte == b'\t') {
                let (mut read, mut bytes) = (Vec::new(), field.iter());
                while let Some(&byte) = bytes.next() {
                    read.push(match byte {
                        b'\\' => match bytes.next() {
                            Some(b'r') => b'\r',
                            Some(b'\\') => b'\\',
                            other => {
                                assert_eq!(
                                    (other, field),
                                    (Some(&b'N'), &b"\\N"[..]),
                                    "an escape that we do not write"
                                );
                                b'N'
                            }
                        },
                        _ => byte,
                    });
                }
                if field == b"\\N" { chunk.null() } else { chunk.raw(&read) }
            }
            chunk.end();
        }
        chunk
    }

    fn same(shape: &'static FileShape, text: &[u8]) {
        let (rows, count, rejects) = read(shape, text, true);
        let (wanted, wanted_count, wanted_rejects) = read(shape, text, false);
        assert_eq!((count, rejects), (wanted_count, wanted_rejects));
        assert_eq!(binary(&rows).bytes(), wanted, "{:?}", String::from_utf8_lossy(text));
    }

    proptest! {
        /// Whatever the lines are, text brings the same rows and rejects as binary.
        #[test]
        fn it_is_as_in_binary(
            lines in proptest::collection::vec(proptest::collection::vec("[a\\\\N\r. é\u{2}]{0,5}|\\PC{0,70}|\\\\N", 2..5), 0..40),
            ends in any::<bool>(),
            bytes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..3),
        ) {
            let rows: Vec<String> = lines.iter().map(|fields| fields.join("\t")).collect();
            let mut text = (rows.join("\n") + if ends { "\n" } else { "" }).into_bytes();
            same(&FILES[6], &text);
            same(&FILES[3], &text);
            for (at, byte) in bytes {
                let at = usize::from(at) % text.len().max(1);
                if let Some(place) = text.get_mut(at) {
                    *place = byte;
                }
            }
            same(&FILES[6], &text);
        }
    }

    #[test]
    fn lines_that_are_passed_on_closely_or_not_at_all() {
        let key_of_two = &FILES[5];
        for text in [
            "tt1\t1\tnm1\tactor\t\\N\t[\"A\"]\n",
            "tt1\t\\N\tnm1\tactor\t\\N\t\\N\n",
            "\\N\t1\tnm1\tactor\t\\N\t\\N\n",
            "tt1\t1\t\\N\t\\N\t\\N\t\\N",
            "tt1\t1\t\\NN\t\\\\N\t\\.\t\r\n\\.\n",
            "\n\n",
        ] {
            same(key_of_two, text.as_bytes());
            for shift in 50..70 {
                let before = format!("tt{}\t1\tb\tc\td\te\n", "x".repeat(shift));
                same(key_of_two, (before + text).as_bytes());
            }
        }
    }
}
