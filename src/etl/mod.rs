//! Bringing data in: where rows come from, what tables they belong to ([`Table`](table::Table)),
//! and how they get into a server (`COPY … (FORMAT binary)`), accounted for row by row.
//!
//! ```text
//! files (IMDb, JOB), or value = hash(seed, table, column, row)
//!   └─▶ Rows::fill ─▶ Chunk (binary COPY rows, about 256 kB) ─▶ a stream's COPY ─▶ keys, indexes, ANALYZE
//!         └─▶ rejects, each with its line and reason
//! ```

pub mod books;
pub mod chunk;
pub mod file;
pub mod imdb;
pub mod job;
pub mod load;
pub mod pgbench;
pub mod random;
pub mod rejects;
pub mod source;
pub mod synthetic;
pub mod table;
pub mod tables;
