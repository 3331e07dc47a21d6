//! CSV as `COPY … (FORMAT csv, ESCAPE '\')` reads it: a field in quotes may hold commas, line ends and, after a
//! backslash, quotes and backslashes; a backslash before anything else, or outside of quotes, is itself; what is empty
//! without quotes is null. (The csv crate does not tell an empty field from a quoted one.)

/// The fields of one record.
#[derive(Debug, Default)]
pub struct Record {
    values: Vec<u8>,
    /// Where each field's value ends, and whether it is one.
    fields: Vec<(usize, bool)>,
}

impl Record {
    /// How many fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The `n`th; absent: null.
    pub fn get(&self, n: usize) -> Option<&[u8]> {
        let (end, is_value) = *self.fields.get(n)?;
        let start = n.checked_sub(1).map_or(0, |before| self.fields[before].0);
        is_value.then(|| &self.values[start..end])
    }

    /// Reads the record at the beginning of `bytes`, and how many bytes it takes, its line end with them. Absent: it does
    /// not end there. At the end of the file (`is_last`) it ends without a line end, but not within quotes.
    pub fn read(&mut self, bytes: &[u8], is_last: bool) -> Option<usize> {
        self.values.clear();
        self.fields.clear();
        let (mut in_quotes, mut was_quoted, mut start) = (false, false, 0);
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'\\' if in_quotes && matches!(bytes.get(at), Some(b'"' | b'\\')) => {
                    self.values.push(bytes[at]);
                    at += 1;
                }
                b'"' => {
                    in_quotes = !in_quotes;
                    was_quoted = true;
                }
                b',' | b'\n' if !in_quotes => {
                    self.fields.push((self.values.len(), was_quoted || self.values.len() > start));
                    if byte == b'\n' {
                        return Some(at);
                    }
                    (start, was_quoted) = (self.values.len(), false);
                }
                other => self.values.push(other),
            }
        }
        (is_last && !in_quotes).then(|| {
            self.fields.push((self.values.len(), was_quoted || self.values.len() > start));
            at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Vec<Option<String>>> {
        let mut record = Record::default();
        let length = record.read(text.as_bytes(), false)?;
        assert_eq!(length, text.len());
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).expect("text");
        Some((0..record.len()).map(|n| record.get(n).map(text)).collect())
    }

    #[test]
    fn as_copy_reads_it() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("1,,\"\",a\n"), Some(vec![some("1"), None, some(""), some("a")]));
        assert_eq!(read("\"a \\\"b\\\" \\\\ \\n\",\\n\n"), Some(vec![some("a \"b\" \\ \\n"), some("\\n")]));
        assert_eq!(read("\"a,\nb\",x\"y,\"z\n"), Some(vec![some("a,\nb"), some("xy,z")]));
        assert_eq!(read("\"a\n"), None);
        assert_eq!(read("\n"), Some(vec![None]));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_had_back(fields in proptest::collection::vec(proptest::option::of("[a\"\\\\,\nö]{0,8}"), 1..5)) {
            let quoted = |field: &Option<String>| field.as_ref().map_or(String::new(), |field| {
                format!("\"{}\"", field.replace('\\', "\\\\").replace('"', "\\\""))
            });
            let line = fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
            prop_assert_eq!(read(&line), Some(fields));
        }
    }
}
