//! Every measurement that is ever sampled into `metrics.lp.gz`, once: its tags and its fields with
//! type and unit. A measurement is a view and a field a column of it wherever PostgreSQL has one, under
//! PostgreSQL's name; fields of our own carry their unit as a suffix.
//!
//! The list is what is *wanted*: the sampler takes of it what the server has (views lose and gain
//! columns between major versions) and the record names the rest.
//!
//! Points are stamped with the instant at which they were *due*. They were read `late_us` to `late_us + rtt_us` after
//! it, which `pgbr_sampler` says at the same stamp: rates divide by the difference of those instants. A counter that
//! fell, or another `stats_reset` or `postmaster_start_seconds`, ends a stretch: what was counted across it is not known.

mod activity;
mod harness;
mod host;
mod progress;
mod relations;
mod replication;
mod server;

pub use activity::*;
pub use harness::*;
pub use host::*;
pub use progress::*;
pub use relations::*;
pub use replication::*;
pub use server::*;

/// What is sampled under one name.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// The view's name, or one of ours.
    pub name: &'static str,
    /// Tags beside `run_id, scenario, variant, trial, node, role`.
    pub tags: &'static [&'static str],
    /// Its fields.
    pub fields: &'static [SampledField],
    /// What it is, in a sentence.
    pub about: &'static str,
}

/// A field of a [`Measurement`].
#[derive(Clone, Copy, Debug)]
pub struct SampledField {
    /// The column's name; in the newest version that has it.
    pub name: &'static str,
    /// What it is called elsewhere, or computed from there; the first whose columns are all there is read. Empty: only
    /// by its name.
    pub from: &'static [&'static str],
    /// Its type, the same in every point ever written.
    pub kind: Kind,
    /// `count`, `bytes`, `ms`, `s`, `us`, `ns`; empty for text and truth values.
    pub unit: &'static str,
}

/// A field's type, and whether it only ever grows between resets (rates are made at reading time).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Cumulative integer.
    Counter,
    /// Integer of this moment.
    Gauge,
    /// Cumulative real number: the times that views add up.
    Total,
    /// Real number of this moment.
    Real,
    /// Truth value.
    Truth,
    /// String.
    Text,
}

impl Measurement {
    /// Its field of that name.
    pub fn field(&self, name: &str) -> Option<&'static str> {
        self.fields.iter().map(|field| field.name).find(|field| *field == name)
    }
}

impl SampledField {
    /// What it may be read from, best first.
    pub fn sources(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.from.iter().copied())
    }
}

const fn f(name: &'static str, kind: Kind, unit: &'static str) -> SampledField {
    SampledField { name, from: &[], kind, unit }
}

/// A field that other versions have by other names.
const fn also(name: &'static str, from: &'static [&'static str], kind: Kind, unit: &'static str) -> SampledField {
    SampledField { name, from, kind, unit }
}

/// All of them.
pub const MEASUREMENTS: &[Measurement] = &[
    DATABASE,
    DATABASE_CONFLICTS,
    WAL,
    BGWRITER,
    CHECKPOINTER,
    IO,
    ARCHIVER,
    SLRU,
    RECOVERY_PREFETCH,
    REPLICATION,
    POSITIONS,
    WAL_RECEIVER,
    SLOTS,
    REPLICATION_SLOTS,
    SUBSCRIPTION,
    SUBSCRIPTION_STATS,
    ASH,
    LOCKS,
    LOCK_TREE,
    PREPARED,
    PROGRESS_VACUUM,
    PROGRESS_ANALYZE,
    PROGRESS_CREATE_INDEX,
    PROGRESS_CLUSTER,
    PROGRESS_BASEBACKUP,
    PROGRESS_COPY,
    USER_TABLES,
    USER_TABLES_IO,
    USER_INDEXES,
    USER_INDEXES_IO,
    TABLE_SIZE,
    DATABASE_SIZE,
    STATEMENTS,
    HOST,
    SERVER_PROCESSES,
    FILE_SYSTEM,
    CONTAINER,
    SAMPLER,
    LOAD_LATENCY,
    LOAD_BUCKETS,
    LOAD_OPS,
    LEDGER,
    LAG_VISIBLE,
    LAG,
    CLONE,
    EVENT,
];

/// Tags that every line carries; no measurement may have a tag or field of the same name.
pub const FIXED_TAGS: [&str; 6] = ["run_id", "scenario", "variant", "trial", "node", "role"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_snake_case_and_apart_from_tags() {
        for (i, measurement) in MEASUREMENTS.iter().enumerate() {
            assert!(MEASUREMENTS[i + 1..].iter().all(|other| other.name != measurement.name), "{}", measurement.name);
            let fields = measurement.fields.iter().map(|field| field.name);
            let mut names: Vec<&str> = fields.chain(measurement.tags.iter().copied()).chain(FIXED_TAGS).collect();
            for name in &names {
                assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
                assert!(!name.starts_with('_') && *name != "time", "{name} is reserved");
            }
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "a name is used twice in {}", measurement.name);
        }
    }

    #[test]
    fn every_number_has_a_unit() {
        for field in MEASUREMENTS.iter().flat_map(|measurement| measurement.fields) {
            let has_unit = ["count", "bytes", "ms", "s", "us", "ns"].contains(&field.unit);
            assert_eq!(has_unit, !matches!(field.kind, Kind::Truth | Kind::Text), "{}", field.name);
        }
    }
}
