//! The tables of IMDb's seven files. A column is called as in the file, in SQL's way: `primaryTitle` is `primary_title`.

use crate::etl::table::{Column, ColumnType, ForeignKey, Index, Table};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which types the columns have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schema {
    /// Integers, booleans, `text[]` for the lists, `jsonb` for characters.
    #[default]
    Typed,
    /// All of them `text`, as the file has them.
    Text,
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Schema::Typed => "typed",
            Schema::Text => "text",
        })
    }
}

/// What a field of the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Text.
    Text,
    /// An integer.
    Int,
    /// A number with a decimal point.
    Real,
    /// `0` or `1`.
    Flag,
    /// Words between commas.
    List,
    /// Words between commas, or U+0002, which the other names' files have.
    Akas,
    /// A JSON array of strings.
    Strings,
}

/// One of the files.
#[derive(Debug)]
pub struct FileShape {
    /// Its name without `.tsv`.
    pub file: &'static str,
    /// Its columns: the header's word, the column's name, what it is.
    pub columns: &'static [(&'static str, &'static str, Field)],
    /// How many of the first columns are the primary key.
    key: usize,
    /// Columns that refer to another table's key.
    references: &'static [(&'static str, &'static str, &'static str)],
    /// Columns that are looked up, and with what kind of index.
    indexed: &'static [(&'static str, Kind)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// By value.
    Btree,
    /// By the beginning of a text too, whatever the database's collation.
    Pattern,
    /// By an element; only of typed lists.
    Gin,
}

use Field::{Akas, Flag, Int, List, Real, Strings, Text};

/// The files, in the order in which IMDb lists them.
pub const FILES: [FileShape; 7] = [
    FileShape {
        file: "name.basics",
        columns: &[
            ("nconst", "nconst", Text),
            ("primaryName", "primary_name", Text),
            ("birthYear", "birth_year", Int),
            ("deathYear", "death_year", Int),
            ("primaryProfession", "primary_profession", List),
            ("knownForTitles", "known_for_titles", List),
        ],
        key: 1,
        references: &[],
        indexed: &[("primary_name", Kind::Pattern)],
    },
    FileShape {
        file: "title.akas",
        columns: &[
            ("titleId", "title_id", Text),
            ("ordering", "ordering", Int),
            ("title", "title", Text),
            ("region", "region", Text),
            ("language", "language", Text),
            ("types", "types", Akas),
            ("attributes", "attributes", Akas),
            ("isOriginalTitle", "is_original_title", Flag),
        ],
        key: 2,
        references: &[("title_id", "title_basics", "tconst")],
        indexed: &[],
    },
    FileShape {
        file: "title.basics",
        columns: &[
            ("tconst", "tconst", Text),
            ("titleType", "title_type", Text),
            ("primaryTitle", "primary_title", Text),
            ("originalTitle", "original_title", Text),
            ("isAdult", "is_adult", Flag),
            ("startYear", "start_year", Int),
            ("endYear", "end_year", Int),
            ("runtimeMinutes", "runtime_minutes", Int),
            ("genres", "genres", List),
        ],
        key: 1,
        references: &[],
        indexed: &[("primary_title", Kind::Pattern), ("start_year", Kind::Btree), ("genres", Kind::Gin)],
    },
    FileShape {
        file: "title.crew",
        columns: &[("tconst", "tconst", Text), ("directors", "directors", List), ("writers", "writers", List)],
        key: 1,
        references: &[("tconst", "title_basics", "tconst")],
        indexed: &[],
    },
    FileShape {
        file: "title.episode",
        columns: &[
            ("tconst", "tconst", Text),
            ("parentTconst", "parent_tconst", Text),
            ("seasonNumber", "season_number", Int),
            ("episodeNumber", "episode_number", Int),
        ],
        key: 1,
        references: &[("tconst", "title_basics", "tconst"), ("parent_tconst", "title_basics", "tconst")],
        indexed: &[("parent_tconst", Kind::Btree)],
    },
    FileShape {
        file: "title.principals",
        columns: &[
            ("tconst", "tconst", Text),
            ("ordering", "ordering", Int),
            ("nconst", "nconst", Text),
            ("category", "category", Text),
            ("job", "job", Text),
            ("characters", "characters", Strings),
        ],
        key: 2,
        references: &[("tconst", "title_basics", "tconst"), ("nconst", "name_basics", "nconst")],
        indexed: &[("nconst", Kind::Btree)],
    },
    FileShape {
        file: "title.ratings",
        columns: &[
            ("tconst", "tconst", Text),
            ("averageRating", "average_rating", Real),
            ("numVotes", "num_votes", Int),
        ],
        key: 1,
        references: &[("tconst", "title_basics", "tconst")],
        indexed: &[("num_votes", Kind::Btree)],
    },
];

impl Field {
    fn column_type(self, schema: Schema) -> ColumnType {
        match (schema, self) {
            (Schema::Text, _) | (_, Field::Text) => ColumnType::Text,
            (_, Field::Int) => ColumnType::Int4,
            (_, Field::Real) => ColumnType::Float4,
            (_, Field::Flag) => ColumnType::Bool,
            (_, Field::List | Field::Akas) => ColumnType::TextArray,
            (_, Field::Strings) => ColumnType::Jsonb,
        }
    }
}

impl FileShape {
    /// The file's first line.
    pub fn header(&self) -> String {
        self.columns.iter().map(|(word, ..)| *word).collect::<Vec<_>>().join("\t")
    }

    /// Whether the `n`th column may not be null.
    pub fn is_key(&self, n: usize) -> bool {
        n < self.key
    }

    /// A field as the server writes the value that it became.
    pub fn value(&self, n: usize, field: &[u8], schema: Schema) -> String {
        let text = String::from_utf8_lossy(field).into_owned();
        match (schema, self.columns[n].2) {
            // It may have had zeros before it.
            (Schema::Typed, Field::Int) => text.parse().map_or(text, |value: i32| value.to_string()),
            _ => text,
        }
    }

    /// Its table.
    pub fn table(&self, schema: Schema) -> Table {
        let name = self.file.replace('.', "_");
        let column = |(n, &(_, column, field)): (usize, &(&str, &str, Field))| Column {
            name: column.to_owned(),
            of: field.column_type(schema),
            not_null: self.is_key(n),
        };
        let reference = |&(column, table, references): &(&str, &str, &str)| ForeignKey {
            column: column.to_owned(),
            table: table.to_owned(),
            references: references.to_owned(),
        };
        let index = |&(column, kind): &(&str, Kind)| {
            let definition = match (kind, schema) {
                (Kind::Gin, Schema::Text) => return None,
                (Kind::Gin, Schema::Typed) => format!("USING gin ({column})"),
                (Kind::Pattern, _) => format!("({column} text_pattern_ops)"),
                (Kind::Btree, _) => format!("({column})"),
            };
            Some(Index { name: format!("{name}_{column}_idx"), definition })
        };
        Table {
            columns: self.columns.iter().enumerate().map(column).collect(),
            primary_key: self.columns[..self.key].iter().map(|(_, column, _)| (*column).to_owned()).collect(),
            foreign_keys: self.references.iter().map(reference).collect(),
            indexes: self.indexed.iter().filter_map(index).collect(),
            name,
        }
    }
}

/// The seven tables, in the order of [`FILES`].
pub fn tables(schema: Schema) -> Vec<Table> {
    FILES.iter().map(|file| file.table(schema)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_to_a_primary_key() {
        for schema in [Schema::Typed, Schema::Text] {
            let tables = tables(schema);
            for table in &tables {
                for key in &table.foreign_keys {
                    let to = tables.iter().find(|to| to.name == key.table).expect("a table of ours");
                    assert_eq!(to.primary_key, [key.references.as_str()], "{} of {}", key.column, table.name);
                    assert!(table.columns.iter().any(|column| column.name == key.column));
                }
            }
        }
    }
}
