//! The tables of the Join Order Benchmark: their columns, and the 23 indexes on what refers to others that its queries
//! expect.

use crate::etl::chunk::int;
use crate::etl::table::{Column, ColumnType, ForeignKey, Index, Table};

/// One of the files.
#[derive(Debug)]
pub struct FileShape {
    /// The table's name, and the file's without `.csv`.
    pub name: &'static str,
    /// Its columns. The first is the primary key.
    pub columns: &'static [&'static str],
}

/// What a column of this name refers to, in whichever table, and whether it is indexed.
const REFERENCES: [(&str, &str, bool); 13] = [
    ("company_id", "company_name", true),
    ("company_type_id", "company_type", true),
    ("info_type_id", "info_type", true),
    ("keyword_id", "keyword", true),
    ("kind_id", "kind_type", true),
    ("link_type_id", "link_type", true),
    ("linked_movie_id", "title", true),
    ("movie_id", "title", true),
    ("person_id", "name", true),
    ("person_role_id", "char_name", true),
    ("role_id", "role_type", true),
    ("status_id", "comp_cast_type", false),
    ("subject_id", "comp_cast_type", false),
];

const fn file(name: &'static str, columns: &'static [&'static str]) -> FileShape {
    FileShape { name, columns }
}

/// The 21 files.
pub const FILES: [FileShape; 21] = [
    file(
        "aka_name",
        &["id", "person_id", "name", "imdb_index", "name_pcode_cf", "name_pcode_nf", "surname_pcode", "md5sum"],
    ),
    file(
        "aka_title",
        &[
            "id",
            "movie_id",
            "title",
            "imdb_index",
            "kind_id",
            "production_year",
            "phonetic_code",
            "episode_of_id",
            "season_nr",
            "episode_nr",
            "note",
            "md5sum",
        ],
    ),
    file("cast_info", &["id", "person_id", "movie_id", "person_role_id", "note", "nr_order", "role_id"]),
    file("char_name", &["id", "name", "imdb_index", "imdb_id", "name_pcode_nf", "surname_pcode", "md5sum"]),
    file("comp_cast_type", &["id", "kind"]),
    file("company_name", &["id", "name", "country_code", "imdb_id", "name_pcode_nf", "name_pcode_sf", "md5sum"]),
    file("company_type", &["id", "kind"]),
    file("complete_cast", &["id", "movie_id", "subject_id", "status_id"]),
    file("info_type", &["id", "info"]),
    file("keyword", &["id", "keyword", "phonetic_code"]),
    file("kind_type", &["id", "kind"]),
    file("link_type", &["id", "link"]),
    file("movie_companies", &["id", "movie_id", "company_id", "company_type_id", "note"]),
    file("movie_info", &["id", "movie_id", "info_type_id", "info", "note"]),
    file("movie_info_idx", &["id", "movie_id", "info_type_id", "info", "note"]),
    file("movie_keyword", &["id", "movie_id", "keyword_id"]),
    file("movie_link", &["id", "movie_id", "linked_movie_id", "link_type_id"]),
    file(
        "name",
        &["id", "name", "imdb_index", "imdb_id", "gender", "name_pcode_cf", "name_pcode_nf", "surname_pcode", "md5sum"],
    ),
    file("person_info", &["id", "person_id", "info_type_id", "info", "note"]),
    file("role_type", &["id", "role"]),
    file(
        "title",
        &[
            "id",
            "title",
            "imdb_index",
            "kind_id",
            "production_year",
            "imdb_id",
            "phonetic_code",
            "episode_of_id",
            "season_nr",
            "episode_nr",
            "series_years",
            "md5sum",
        ],
    ),
];

/// Numbers are the identifiers, the places in an order and the year; all else is text.
pub fn is_int(column: &str) -> bool {
    column.ends_with("id") || column.ends_with("_nr") || matches!(column, "nr_order" | "production_year")
}

impl FileShape {
    /// A value as the server writes it.
    pub fn value(&self, n: usize, field: &[u8]) -> String {
        match int(field) {
            Some(value) if is_int(self.columns[n]) => value.to_string(),
            _ => String::from_utf8_lossy(field).into_owned(),
        }
    }

    /// Its table.
    pub fn table(&self) -> Table {
        let column = |(n, name): (usize, &&str)| Column {
            name: (*name).to_owned(),
            of: if is_int(name) { ColumnType::Int4 } else { ColumnType::Text },
            not_null: n == 0,
        };
        let refers = || REFERENCES.iter().filter(|(column, ..)| self.columns.contains(column));
        let key = |(column, table, _): &(&str, &str, bool)| ForeignKey {
            column: (*column).to_owned(),
            table: (*table).to_owned(),
            references: "id".to_owned(),
        };
        let index = |(column, ..): &(&str, &str, bool)| Index {
            // As the benchmark calls them.
            name: format!("{column}_{}", self.name),
            definition: format!("({column})"),
        };
        Table {
            name: self.name.to_owned(),
            columns: self.columns.iter().enumerate().map(column).collect(),
            primary_key: vec!["id".to_owned()],
            foreign_keys: refers().map(key).collect(),
            indexes: refers().filter(|(.., indexed)| *indexed).map(index).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_the_benchmarks_indexes() {
        let tables: Vec<Table> = FILES.iter().map(FileShape::table).collect();
        assert_eq!(tables.iter().map(|table| table.indexes.len()).sum::<usize>(), 23);
        for key in tables.iter().flat_map(|table| &table.foreign_keys) {
            assert!(tables.iter().any(|table| table.name == key.table), "{key:?}");
        }
    }
}
