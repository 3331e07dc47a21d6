//! A table that is loaded: its columns, and what is built on it afterwards.

use std::fmt::Write;

/// A table, in the order in which its rows' fields come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, unquoted.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Columns of the primary key; empty: none.
    pub primary_key: Vec<String>,
    /// References to other tables of the same source.
    pub foreign_keys: Vec<ForeignKey>,
    /// Further indexes.
    pub indexes: Vec<Index>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type.
    pub of: ColumnType,
    /// Whether null is refused.
    pub not_null: bool,
}

/// A column's type, named as in SQL. [`Chunk`](super::chunk::Chunk) has a method for the values of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `boolean`.
    Bool,
    /// `text`.
    Text,
    /// `character(n)`.
    Char(u32),
    /// `text[]`.
    TextArray,
    /// `jsonb`.
    Jsonb,
    /// `date`.
    Date,
    /// `timestamp`.
    Timestamp,
    /// `timestamp with time zone`.
    Timestamptz,
}

/// A reference from one table's column to another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The column that refers.
    pub column: String,
    /// The table it refers to.
    pub table: String,
    /// That table's column.
    pub references: String,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name, unquoted.
    pub name: String,
    /// What stands between the table's name and the end of `CREATE INDEX … ON table`, such as `(startYear)` or
    /// `USING gin (genres)`; SQL, quoted where it needs to be.
    pub definition: String,
}

impl ColumnType {
    /// As `CREATE TABLE` has it.
    pub fn sql(self) -> String {
        match self {
            ColumnType::Int2 => "smallint".into(),
            ColumnType::Int4 => "integer".into(),
            ColumnType::Int8 => "bigint".into(),
            ColumnType::Float4 => "real".into(),
            ColumnType::Float8 => "double precision".into(),
            ColumnType::Bool => "boolean".into(),
            ColumnType::Text => "text".into(),
            ColumnType::Char(n) => format!("character({n})"),
            ColumnType::TextArray => "text[]".into(),
            ColumnType::Jsonb => "jsonb".into(),
            ColumnType::Date => "date".into(),
            ColumnType::Timestamp => "timestamp".into(),
            ColumnType::Timestamptz => "timestamp with time zone".into(),
        }
    }
}

impl Table {
    /// `CREATE TABLE` without keys and indexes.
    pub fn create(&self) -> String {
        let mut sql = format!("CREATE TABLE {} (", quoted(&self.name));
        for (n, column) in self.columns.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(sql, "{comma}{} {}{not_null}", quoted(&column.name), column.of.sql());
        }
        sql + ")"
    }
}

/// An identifier in double quotes, as `quote_ident` writes it (always quoted).
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
