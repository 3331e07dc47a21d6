//! The key spaces from which transactions draw: pgbench's, which follow from its scale, and IMDb's, of which the tables
//! themselves are asked before the load begins.

use super::mix::Transaction;
use super::queries::Answer;
use rand::{Rng, RngExt};
use std::fmt::Write;
use std::sync::Arc;
use tokio_postgres::{Client, Error};

/// Rows of which samples are made, about.
const SAMPLE: f64 = 10_000.0;
/// Characters of a title by which a search begins.
const PREFIX: usize = 4;

/// What the transactions of a load draw from.
#[derive(Clone, Debug)]
pub(super) struct Space {
    /// pgbench's scale.
    pub(super) scale: u32,
    /// Books that are there at the start, with the keys from 1 on.
    pub(super) books: u32,
    /// IMDb's keys.
    pub(super) imdb: Option<Arc<Imdb>>,
}

impl Space {
    /// Whether a query came to what it should, as far as that is known.
    pub(super) fn judge(&self, what: Transaction, answer: Answer) -> bool {
        let known = self.imdb.as_ref().and_then(|imdb| imdb.answers.as_ref());
        match (what, known) {
            (Transaction::ImdbQuery(n), Some(known)) => known[n] == answer,
            _ => true,
        }
    }
}

/// Keys and words of IMDb's tables in one database.
#[derive(Clone, Debug)]
pub struct Imdb {
    titles: Ids,
    people: Ids,
    /// Beginnings of titles, each with the least text that is beyond it.
    beginnings: Vec<(String, String)>,
    /// A genre and a year of the same title.
    genres: Vec<(String, i32)>,
    /// What the analytical joins come to, where that is known.
    pub(super) answers: Option<Vec<Answer>>,
}

/// Keys of a table.
#[derive(Clone, Debug)]
pub enum Ids {
    /// The prefix with the numbers 1 to so many, of seven digits or more: the synthetic tables have no gaps.
    Counted(&'static str, u64),
    /// These.
    Listed(Vec<String>),
}

/// Why IMDb's tables cannot be read from.
#[derive(Debug, thiserror::Error)]
pub enum ImdbError {
    /// The database refuses it.
    #[error("IMDb's tables cannot be read: {}", crate::pg::connect::in_words(.0))]
    Sql(#[from] Error),
    /// There is nothing to draw.
    #[error("no row of {0} was found to draw keys from\nhint: load IMDb's tables with a `[data.NAME]`, typed")]
    Empty(&'static str),
}

/// A key, without memory of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Id {
    bytes: [u8; Id::MOST],
    length: u8,
}

impl Id {
    /// IMDb's keys have nine or ten characters.
    const MOST: usize = 22;

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Write for Id {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let from = usize::from(self.length);
        let room = self.bytes.get_mut(from..from + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len() as u8;
        Ok(())
    }
}

impl Ids {
    #[inline]
    fn draw(&self, rng: &mut impl Rng) -> Id {
        let mut id = Id::default();
        // Longer than any key there is, it would be cut off, and be found nowhere.
        let _ = match self {
            Ids::Counted(prefix, count) => write!(id, "{prefix}{:07}", rng.random_range(1..=*count)),
            Ids::Listed(all) => id.write_str(&all[rng.random_range(0..all.len())]),
        };
        id
    }
}

/// The variables of one transaction on IMDb's tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImdbDraw<'s> {
    pub(super) title: Id,
    pub(super) person: Id,
    pub(super) beginning: &'s (String, String),
    pub(super) genre: &'s (String, i32),
}

impl Imdb {
    /// Asks a database with the typed tables what there is to be drawn. Of synthetic tables it is known how many titles and
    /// people they have (`counted`); of others, keys are sampled. `answers` are those of the analytical joins, where they
    /// are known.
    pub async fn sample(
        client: &Client,
        counted: Option<(u64, u64)>,
        answers: Option<Vec<Answer>>,
    ) -> Result<Imdb, ImdbError> {
        let (titles, people) = match counted {
            Some((titles, people)) => (Ids::Counted("tt", titles), Ids::Counted("nm", people)),
            None => (
                Ids::Listed(texts(client, "tconst", "title_basics").await?),
                Ids::Listed(texts(client, "nconst", "name_basics").await?),
            ),
        };
        let words = texts(client, "primary_title", "title_basics").await?;
        let beginnings: Vec<(String, String)> = words.iter().filter_map(|title| beginning(title)).collect();
        let share = share(client, "title_basics").await?;
        let genres = format!(
            "SELECT genres[1], start_year FROM title_basics TABLESAMPLE SYSTEM ({share}) REPEATABLE (1) \
             WHERE genres[1] IS NOT NULL AND start_year IS NOT NULL"
        );
        let rows = client.query(&genres, &[]).await?;
        let genres: Vec<(String, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        if beginnings.is_empty() || genres.is_empty() {
            return Err(ImdbError::Empty("title_basics"));
        }
        Ok(Imdb { titles, people, beginnings, genres, answers })
    }

    #[inline]
    pub(super) fn draw(&self, rng: &mut impl Rng) -> ImdbDraw<'_> {
        ImdbDraw {
            title: self.titles.draw(rng),
            person: self.people.draw(rng),
            beginning: &self.beginnings[rng.random_range(0..self.beginnings.len())],
            genre: &self.genres[rng.random_range(0..self.genres.len())],
        }
    }
}

async fn texts(client: &Client, column: &str, table: &'static str) -> Result<Vec<String>, ImdbError> {
    let share = share(client, table).await?;
    let sql =
        format!("SELECT {column} FROM {table} TABLESAMPLE SYSTEM ({share}) REPEATABLE (1) WHERE {column} IS NOT NULL");
    let rows = client.query(&sql, &[]).await?;
    if rows.is_empty() { Err(ImdbError::Empty(table)) } else { Ok(rows.iter().map(|row| row.get(0)).collect()) }
}

/// The percentage of a table's pages that has some [`SAMPLE`] rows; all, where nothing is known of it.
async fn share(client: &Client, table: &'static str) -> Result<f64, ImdbError> {
    let row =
        client.query_one("SELECT reltuples::float8 FROM pg_class WHERE oid = $1::text::regclass", &[&table]).await?;
    let rows: f64 = row.get(0);
    Ok(if rows > SAMPLE { 100.0 * SAMPLE / rows } else { 100.0 })
}

/// The first characters of a title, and the least text that is greater than all that begin with them. Texts are compared
/// byte by byte (`text_pattern_ops`), so the last byte is raised by one: that of ASCII stays ASCII.
fn beginning(title: &str) -> Option<(String, String)> {
    let end = title.char_indices().nth(PREFIX).map_or(title.len(), |(at, _)| at);
    let from = &title[..end];
    let last = from.bytes().last().filter(|last| (b' '..b'~').contains(last))?;
    let mut beyond = from[..from.len() - 1].to_owned();
    beyond.push(char::from(last + 1));
    Some((from.to_owned(), beyond))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    #[test]
    fn counted_keys_are_all_there_are_and_no_others() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let ids = Ids::Counted("tt", 3);
        let drawn: std::collections::BTreeSet<String> =
            (0..200).map(|_| ids.draw(&mut rng).as_str().to_owned()).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), ["tt0000001", "tt0000002", "tt0000003"]);
        let long = Ids::Counted("nm", 1).draw(&mut rng);
        assert_eq!(long.as_str(), "nm0000001");
        let listed = Ids::Listed(vec!["tt12345678".into()]);
        assert_eq!(listed.draw(&mut rng).as_str(), "tt12345678");
    }

    #[test]
    fn a_beginning_ends_before_the_next_one() {
        assert_eq!(beginning("The Ship"), Some(("The ".into(), "The!".into())));
        assert_eq!(beginning("Up"), Some(("Up".into(), "Uq".into())));
        assert_eq!(beginning("Café au lait"), None, "its fourth character is not ASCII");
        assert_eq!(beginning("Łódź 1"), None);
        assert_eq!(beginning("Åke A"), Some(("Åke ".into(), "Åke!".into())));
        assert_eq!(beginning(""), None);
    }
}
