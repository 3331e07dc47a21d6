//! What the server answers to one request, gathered frame by frame without allocating.

use super::error::ServerError;
use super::incoming::Frame;
use std::fmt;

/// A SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// What the server sent; anything but five ASCII characters is `XX000`.
    pub(super) fn read(bytes: &[u8]) -> SqlState {
        match bytes.try_into() {
            Ok(state) if bytes.is_ascii() => SqlState(state),
            _ => SqlState(*b"XX000"),
        }
    }

    /// Its five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the session stands after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TransactionStatus {
    /// Not in a transaction.
    #[default]
    Idle,
    /// In a transaction.
    Active,
    /// In a failed transaction, which takes nothing but its end.
    Failed,
}

/// A command tag, such as `INSERT 0 1`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    bytes: [u8; Tag::MOST],
    length: u8,
}

impl Tag {
    /// The longest tag that is kept whole; PostgreSQL's own limit is 64 with the row counts.
    const MOST: usize = 63;

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
    }
}

impl Default for Tag {
    fn default() -> Self {
        Tag { bytes: [0; Tag::MOST], length: 0 }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// SQLSTATEs of the notices that came with one answer: the first few, and how many there were.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Notices {
    states: [Option<SqlState>; Notices::MOST],
    count: u32,
}

impl Notices {
    const MOST: usize = 4;

    fn add(&mut self, state: SqlState) {
        if let Some(free) = self.states.iter_mut().find(|kept| kept.is_none()) {
            *free = Some(state);
        }
        self.count += 1;
    }

    /// The SQLSTATEs that were kept (the first four).
    pub fn iter(&self) -> impl Iterator<Item = SqlState> + '_ {
        self.states.iter().flatten().copied()
    }

    /// How many notices came.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// A command that the server has completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Its command tag (of several in one simple query, the last one's).
    pub tag: Tag,
    /// Rows that came back.
    pub rows: u64,
    /// The last row, if it was two `bigint`s in binary format.
    pub pair: Option<(i64, i64)>,
    /// Notices and warnings that came on the way.
    pub notices: Notices,
    /// Where the session stands now.
    pub status: TransactionStatus,
}

/// An answer under way.
#[derive(Debug, Default)]
pub struct Answer {
    /// What has come so far.
    pub done: Done,
    /// The ERROR or FATAL that came.
    pub error: Option<Box<ServerError>>,
}

impl Answer {
    /// Takes in a frame. True when it ended the answer: ReadyForQuery, or a FATAL after which there will be none.
    /// The error says what came that does not belong here.
    #[inline]
    pub fn take(&mut self, frame: Frame<'_>) -> Result<bool, String> {
        match frame.tag() {
            // DataRow; BindComplete; ParseComplete, CloseComplete, EmptyQueryResponse, NoData, ParameterDescription,
            // RowDescription, ParameterStatus, NotificationResponse.
            b'D' => {
                self.done.rows += 1;
                self.done.pair = pair(frame.body());
            }
            b'2' | b'1' | b'3' | b'I' | b'n' | b't' | b'T' | b'S' | b'A' => {}
            b'C' => {
                let text = frame.body().strip_suffix(b"\0").unwrap_or(frame.body());
                let length = text.len().min(Tag::MOST);
                self.done.tag.bytes[..length].copy_from_slice(&text[..length]);
                self.done.tag.length = length as u8;
            }
            b'Z' => {
                self.done.status = match frame.body() {
                    b"I" => TransactionStatus::Idle,
                    b"T" => TransactionStatus::Active,
                    b"E" => TransactionStatus::Failed,
                    other => return Err(format!("the server reports the transaction status {other:?}")),
                };
                return Ok(true);
            }
            b'E' => {
                let error =
                    ServerError::read(frame.whole()).map_err(|e| format!("cannot read the server's error: {e}"))?;
                let fatal = error.is_fatal();
                self.error = Some(Box::new(error));
                return Ok(fatal);
            }
            b'N' => {
                let notice = ServerError::read(frame.whole()).map_err(|e| format!("cannot read a notice: {e}"))?;
                self.done.notices.add(notice.sqlstate);
            }
            other => {
                return Err(format!("the server sent a message `{}` that was not asked for", other.escape_ascii()));
            }
        }
        Ok(false)
    }
}

/// Two fields of eight bytes each, as DataRow has them: how many, then each with its length.
#[inline]
fn pair(row: &[u8]) -> Option<(i64, i64)> {
    let row: &[u8; 26] = row.try_into().ok()?;
    let eight = |at: usize| -> Option<i64> {
        let length = u32::from_be_bytes(row[at..at + 4].try_into().ok()?);
        (length == 8).then_some(i64::from_be_bytes(row[at + 4..at + 12].try_into().ok()?))
    };
    (row[..2] == [0, 2]).then_some((eight(2)?, eight(14)?))
}

#[cfg(test)]
mod tests {
    use super::super::incoming::Incoming;
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn answer(bytes: &[u8]) -> Result<(Answer, bool), String> {
        let mut incoming = Incoming::default();
        incoming.push(bytes);
        let mut answer = Answer::default();
        while let Some(frame) = incoming.frame()? {
            if answer.take(frame)? {
                return Ok((answer, true));
            }
        }
        Ok((answer, false))
    }

    #[test]
    fn rows_tag_notices_and_status() {
        let notice = frame(b'N', b"SWARNING\0VWARNING\0C01000\0Mcanceled\0\0");
        let all =
            [frame(b'2', b""), frame(b'D', b"\0\0"), notice, frame(b'C', b"SELECT 1\0"), frame(b'Z', b"T")].concat();
        let (answer, over) = answer(&all).unwrap();
        assert!(over && answer.error.is_none());
        assert_eq!((answer.done.tag.as_str(), answer.done.rows), ("SELECT 1", 1));
        assert_eq!(answer.done.notices.iter().map(|s| s.to_string()).collect::<Vec<_>>(), ["01000"]);
        assert_eq!(answer.done.status, TransactionStatus::Active);
    }

    #[test]
    fn a_row_of_two_numbers_is_read() {
        let row = [&[0, 2, 0, 0, 0, 8][..], &5i64.to_be_bytes(), &[0, 0, 0, 8], &(-7i64).to_be_bytes()].concat();
        let (answer, _) = answer(&[frame(b'D', &row), frame(b'Z', b"I")].concat()).unwrap();
        assert_eq!(answer.done.pair, Some((5, -7)));
        assert_eq!(pair(&row[..25]), None);
        assert_eq!(pair(&[&[0, 1, 0, 0, 0, 20][..], &[7; 20]].concat()), None);
    }

    #[test]
    fn an_error_waits_for_ready_and_a_fatal_does_not() {
        let error = frame(b'E', b"SFEHLER\0VERROR\0C40001\0Mno\0Htry again\0\0");
        let (seen, over) = answer(&error).unwrap();
        assert!(!over);
        assert_eq!(seen.error.unwrap().to_string(), "ERROR 40001: no\nhint: try again");
        let (seen, over) = answer(&frame(b'E', b"VFATAL\0C57P01\0Mterminating\0\0")).unwrap();
        assert!(over && seen.error.unwrap().is_fatal());
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        assert!(answer(&frame(b'G', b"\0\0\0")).is_err());
        assert!(answer(&frame(b'Z', b"?")).is_err());
        assert!(answer(b"Z\0\0\0\x01").is_err(), "a length below four");
    }
}
