//! How much a data set is before it is loaded: rows, bytes on disk, time. What is generated is looked at, a chunk of each
//! table; of files only their size is known.

use crate::base::units::{Size, human};
use crate::etl::chunk::Chunk;
use crate::etl::load::Indexes;
use crate::etl::source::{Part, Source};
use crate::etl::table::Table;
use crate::scenario::{Data, Scenario};
use std::collections::BTreeMap;
use std::time::Duration;

/// A row's header and its place in the page's list (`HeapTupleHeaderData`, `ItemIdData`).
const ROW: u64 = 28;
/// A row's entry in an index: header, place in the list, a short key, and pages that are nine tenths full.
const INDEX_ENTRY: u64 = 24;
/// pgbench's tables and indexes of scale 1.
pub(super) const A_SCALE: u64 = 15 << 20;
/// Bytes of tables and indexes for each byte of a text file: what synthetic rows came to.
const OF_TEXT: f64 = 2.3;
/// The same for a compressed one: gzip leaves about a fifth of IMDb's files.
const OF_GZIP: f64 = 5.0 * OF_TEXT;
/// Bytes of tables and indexes a second that two streams load on two cores.
const A_SECOND: f64 = 80.0 * 1048576.0;
/// So much longer it takes with indexes that are there before the rows.
const INDEXES_BEFORE: f64 = 2.0;

/// What these rest on, in words.
pub(super) const ASSUMED: &str = "data sets: the first rows of what is generated, 2.3 bytes for each of a text file and 11.5 of \
                                  a gzip one; 80MB a second to load, half of that into indexes that are there";

/// How much a data set is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// Rows of all tables; absent: known when they have been read.
    pub rows: Option<u64>,
    /// Tables and indexes.
    pub disk: u64,
    /// To load it.
    pub time: Duration,
}

/// Amounts of data sets, each looked at once. Absent where the files cannot be read.
#[derive(Debug, Default)]
pub(super) struct Amounts(BTreeMap<String, Option<Amount>>);

impl Amounts {
    pub fn of(&mut self, data: &Data) -> Option<Amount> {
        *self.0.entry(key(data)).or_insert_with(|| amount(data))
    }

    /// Of all data sets that are loaded before the servers of a trial exist.
    pub fn before(&mut self, scenario: &Scenario) -> Amount {
        self.sum(scenario.loaded_before().map(|(_, data)| data))
    }

    /// Of all that steps load.
    pub fn by_steps(&mut self, scenario: &Scenario) -> Amount {
        self.sum(scenario.loaded_by_steps().into_iter().filter_map(|name| scenario.data.get(name)))
    }

    fn sum<'d>(&mut self, all: impl Iterator<Item = &'d Data>) -> Amount {
        let add = |sum: Amount, of: Amount| Amount {
            rows: None,
            disk: sum.disk.saturating_add(of.disk),
            time: sum.time + of.time,
        };
        all.filter_map(|data| self.of(data)).fold(Amount::default(), add)
    }
}

/// What tells data sets apart.
pub(super) fn key(data: &Data) -> String {
    // It cannot fail on what was read from text; were it to, two sets would only be counted as one.
    serde_json::to_string(data).unwrap_or_default()
}

/// In words, with a comma in front.
pub(super) fn in_words(amount: Option<Amount>) -> String {
    let Some(amount) = amount else { return ", which cannot be read now, so nobody knows how much it is".to_owned() };
    let rows = amount.rows.map_or(String::new(), |rows| format!("{rows} rows, "));
    let disk = Size(amount.disk.next_multiple_of(1 << 20));
    format!(", {rows}about {disk} in tables and indexes, {} to load", human(amount.time))
}

fn amount(data: &Data) -> Option<Amount> {
    let source = data.source().ok()?;
    let tables = source.tables();
    let amounts: Vec<_> = (0..tables.len()).map(|table| source.amount(table)).collect();
    let disk = match data {
        Data::Pgbench(data) => A_SCALE * u64::from(data.scale),
        Data::Imdb(files) => {
            let plain = |name: &str| files.from.join(name).exists();
            let of = |(table, amount): (&Table, &crate::etl::source::Amount)| {
                let times = if plain(&format!("{}.tsv", table.name.replace('_', "."))) { OF_TEXT } else { OF_GZIP };
                amount.bytes.unwrap_or_default() as f64 * times
            };
            tables.iter().zip(&amounts).map(of).sum::<f64>() as u64
        }
        Data::SyntheticImdb(_) | Data::Tables(_) => (0..tables.len())
            .map(|nth| amounts[nth].rows.unwrap_or_default().saturating_mul(a_row(&source, nth, &tables[nth], data)))
            .fold(0, u64::saturating_add),
    };
    let slower = if data.settings().indexes == Indexes::Before { INDEXES_BEFORE } else { 1.0 };
    let time = Duration::from_secs_f64(disk as f64 / A_SECOND * slower);
    Some(Amount { rows: amounts.iter().try_fold(0, |sum: u64, amount| sum.checked_add(amount.rows?)), disk, time })
}

/// Bytes of a row and of its entries in indexes, from the first rows: of a generated table all are alike.
fn a_row(source: &Source, nth: usize, table: &Table, data: &Data) -> u64 {
    let mut chunk = Chunk::default();
    let made = source.open(nth, Part::WHOLE).and_then(|mut rows| rows.fill(&mut chunk));
    let settings = data.settings();
    let keys = u64::from(settings.primary_keys && !table.primary_key.is_empty());
    let others = if settings.indexes == Indexes::None { 0 } else { table.indexes.len() as u64 };
    let columns = table.columns.len() as u64;
    let fields = match (made, chunk.rows()) {
        (Ok(_), 1..) => chunk.bytes().len() as u64 / chunk.rows(),
        _ => 0,
    };
    // COPY sends a count of fields and a length of four bytes before each, where a row has about one.
    ROW + fields.saturating_sub(2 + 3 * columns) + INDEX_ENTRY * (keys + others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Source as Text;
    use crate::scenario::read::read;

    fn amount_of(data: &str) -> Option<Amount> {
        let text = format!(
            "name = \"x\"\nquestion = \"?\"\n[node]\na = {{ role = \"primary\" }}\n[data.d]\n{data}\n[[phase]]\nname = \"p\"\n\
             lasts = \"1s\""
        );
        let read = read(&Text::new("x.toml", text)).unwrap_or_else(|errors| panic!("{errors}"));
        amount(&read.scenario.data["d"])
    }

    #[test]
    fn amounts_are_about_what_was_measured() {
        // 2,451,518 rows in 257 MB, with indexes; loaded in 2.3 s, with indexes before the rows in 5.5 s.
        let imdb = amount_of("kind = \"synthetic_imdb\"\nscale = 0.012\nseed = 1").unwrap();
        assert_eq!(imdb.rows, Some(2_451_518));
        assert!((200..330).contains(&(imdb.disk >> 20)), "{imdb:?}");
        assert!((1500..5000).contains(&imdb.time.as_millis()), "{imdb:?}");
        let before = amount_of("kind = \"synthetic_imdb\"\nscale = 0.012\nload.indexes = \"before\"").unwrap();
        assert!(before.time > imdb.time * 3 / 2, "{before:?}");
        let bench = amount_of("kind = \"pgbench\"\nscale = 10").unwrap();
        assert_eq!((bench.rows, bench.disk), (Some(1_000_110), 10 * A_SCALE));
    }

    #[test]
    fn of_files_the_size_is_known() {
        let dir = tempfile::tempdir().unwrap();
        for shape in &crate::etl::imdb::schema::FILES {
            std::fs::write(dir.path().join(format!("{}.tsv", shape.file)), vec![b'x'; 1000]).unwrap();
        }
        let imdb = format!("kind = \"imdb\"\nfrom = \"{}\"", dir.path().display());
        let plain = amount_of(&imdb).unwrap();
        assert_eq!((plain.rows, plain.disk), (None, 16_100));
        let from = |name: &str| dir.path().join(name);
        std::fs::rename(from("title.akas.tsv"), from("title.akas.tsv.gz")).unwrap();
        assert_eq!(amount_of(&imdb).unwrap().disk, 16_100 - 2_300 + 11_500);
        std::fs::remove_file(from("title.crew.tsv")).unwrap();
        assert_eq!(amount_of(&imdb), None, "what is not there has no size");
    }
}
