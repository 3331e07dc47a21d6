//! Prepared statements as byte templates: one execution is a copy of the head, the parameters, a constant tail.

use bytes::{BufMut, BytesMut};
use std::error::Error;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// A parameter, sent in binary format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param<'a> {
    /// `int4`
    Int4(i32),
    /// `int8`
    Int8(i64),
    /// `text` and its kin
    Text(&'a str),
}

impl ToSql for Param<'_> {
    fn to_sql(&self, of: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Param::Int4(value) => value.to_sql(of, out),
            Param::Int8(value) => value.to_sql(of, out),
            Param::Text(value) => value.to_sql(of, out),
        }
    }

    fn accepts(of: &Type) -> bool {
        [Type::INT4, Type::INT8, Type::TEXT].contains(of)
    }

    to_sql_checked!();
}

/// A statement prepared on one connection; it means nothing on another one.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Bind up to the parameters: tag, room for the length, unnamed portal, statement name, "all binary".
    head: Box<[u8]>,
}

/// What follows Bind's parameters: all results binary; Execute of the unnamed portal without a row limit; Sync.
const TAIL: &[u8] = b"\0\x01\0\x01E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";

/// The part of [`TAIL`] that still belongs to Bind.
const RESULT_FORMATS: usize = 4;

impl Statement {
    /// The template of the statement prepared as `name` (which holds no zero byte).
    pub fn new(name: &str) -> Statement {
        let mut head = Vec::with_capacity(name.len() + 12);
        head.extend_from_slice(b"B\0\0\0\0\0");
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b"\0\0\x01\0\x01");
        Statement { head: head.into() }
    }

    /// Appends Bind, Execute and Sync to `out`. A wrong number or type of parameters is for the server to refuse.
    #[inline]
    pub fn encode(&self, params: &[Param<'_>], out: &mut BytesMut) {
        let base = out.len();
        out.put_slice(&self.head);
        out.put_u16(params.len() as u16);
        for param in params {
            match param {
                Param::Int4(value) => {
                    out.put_i32(4);
                    out.put_i32(*value);
                }
                Param::Int8(value) => {
                    out.put_i32(8);
                    out.put_i64(*value);
                }
                Param::Text(value) => {
                    out.put_i32(value.len() as i32);
                    out.put_slice(value.as_bytes());
                }
            }
        }
        out.put_slice(TAIL);
        let length = (out.len() - base - 1 - (TAIL.len() - RESULT_FORMATS)) as u32;
        out[base + 1..base + 5].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::message::frontend;

    #[test]
    fn the_template_is_what_the_protocol_crate_writes() {
        let mut ours = BytesMut::new();
        Statement::new("s7").encode(&[Param::Int4(-5), Param::Int8(1 << 40), Param::Text("xyz")], &mut ours);

        let values: Vec<Vec<u8>> = vec![(-5i32).to_be_bytes().into(), (1i64 << 40).to_be_bytes().into(), b"xyz".into()];
        let mut theirs = BytesMut::new();
        let bound = frontend::bind(
            "",
            "s7",
            [1],
            values,
            |value, buf| {
                buf.put_slice(&value);
                Ok(postgres_protocol::IsNull::No)
            },
            [1],
            &mut theirs,
        );
        assert!(bound.is_ok());
        frontend::execute("", 0, &mut theirs).unwrap();
        frontend::sync(&mut theirs);
        assert_eq!(ours, theirs);
    }
}
