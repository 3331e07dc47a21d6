//! The buffer that answers are read into: one allocation for the life of a connection.

/// Bytes a connection's buffer starts with; it grows for a longer message only.
const FIRST: usize = 8 * 1024;

/// A message longer than this is taken for a garbled stream.
const LONGEST: usize = 1 << 30;

/// Received bytes that were not yet taken out as frames.
#[derive(Debug)]
pub struct Incoming {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Incoming {
    fn default() -> Self {
        Incoming { bytes: vec![0; FIRST], start: 0, end: 0 }
    }
}

/// One whole message of the server.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    whole: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The message's tag byte.
    #[inline]
    pub fn tag(&self) -> u8 {
        self.whole[0]
    }

    /// What follows the length.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        &self.whole[5..]
    }

    /// Tag, length and body.
    #[inline]
    pub fn whole(&self) -> &'a [u8] {
        self.whole
    }
}

impl Incoming {
    /// Takes out the next frame, if all of it has come. The error says why the stream cannot be PostgreSQL's.
    #[inline]
    pub fn frame(&mut self) -> Result<Option<Frame<'_>>, String> {
        let Some(&[_, a, b, c, d]) = self.bytes[self.start..self.end].first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(4..LONGEST).contains(&length) {
            return Err(format!("the server sent a message of {length} bytes"));
        }
        let from = self.start;
        if self.end - from < 1 + length {
            return Ok(None);
        }
        self.start += 1 + length;
        Ok(Some(Frame { whole: &self.bytes[from..from + 1 + length] }))
    }

    /// Where the next bytes go; never empty. Follow it with [`Incoming::filled`].
    #[inline]
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `count` bytes were written into [`Incoming::room`].
    #[inline]
    pub fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// Appends bytes that came some other way.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let long = vec![7; 3 * FIRST];
        let mut stream = Vec::new();
        for body in [&b""[..], b"abc", &long, b"z"] {
            stream.push(b'D');
            stream.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            stream.extend_from_slice(body);
        }
        for step in [1, 3, 4096, stream.len()] {
            let mut incoming = Incoming::default();
            let mut bodies = Vec::new();
            for chunk in stream.chunks(step) {
                incoming.push(chunk);
                while let Some(frame) = incoming.frame().unwrap() {
                    bodies.push(frame.body().to_vec());
                }
            }
            assert_eq!(bodies, [vec![], b"abc".to_vec(), long.clone(), b"z".to_vec()], "in steps of {step}");
        }
    }
}
