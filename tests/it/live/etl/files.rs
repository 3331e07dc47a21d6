//! Files of IMDb's shape, written by hand: the names and titles are nobody's.

use pgbench_rs::etl::imdb::schema::FILES;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest that a test waits for what must come.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A folder with the seven files.
pub struct Folder {
    dir: tempfile::TempDir,
}

/// Rows that are well, by file.
pub const GOOD: [(&str, &[&str]); 7] = [
    (
        "name.basics",
        &[
            "nm0000001\tÅsa Öberg\t1899\t1987\tsoundtrack,actor\ttt0000001,tt0000002",
            "nm0000002\tJoão \"Jo\" d'Ávila\t1924\t\\N\t\\N\t\\N",
            "nm0000003\t李小明\t\\N\t\\N\tactor\ttt0000003",
        ],
    ),
    (
        "title.akas",
        &[
            "tt0000001\t1\tAlso \\t called\tDE\t\\N\timdbDisplay\t\\N\t0",
            "tt0000001\t2\tΚάτι\tGR\tel\timdbDisplay,working\tliteral title\t1",
            "tt0000003\t1\t\\\\N\t\\N\t\\N\t\\N\t\\N\t\\N",
        ],
    ),
    (
        "title.basics",
        &[
            "tt0000001\tshort\tA \"lone quote\t\"Both\"\t0\t1894\t\\N\t1\tDocumentary,Short",
            "tt0000002\ttvSeries\tBack\\slash\\N\tN\\\t1\t1990\t1999\t\\N\t\\N",
            "tt0000003\tmovie\t 'spaces' \t\t0\t\\N\t\\N\t45\tDrama",
            "tt0000004\ttvEpisode\tCR\rinside\t\u{7f}\u{1}\t0\t2001\t\\N\t0\tSci-Fi",
        ],
    ),
    ("title.crew", &["tt0000001\tnm0000001\t\\N", "tt0000002\tnm0000001,nm0000002\tnm0000003"]),
    ("title.episode", &["tt0000004\ttt0000002\t1\t9"]),
    (
        "title.principals",
        &[
            "tt0000001\t1\tnm0000001\tself\t\\N\t[\"Herself\"]",
            "tt0000001\t2\tnm0000002\tactor\t\\N\t[\"Self \\\"X\\\"\", \"Ω\"]",
            "tt0000003\t1\tnm0000003\tdirector\tdirector of photography\t\\N",
        ],
    ),
    ("title.ratings", &["tt0000001\t5.8\t1472", "tt0000003\t0.1\t2147483647"]),
];

impl Folder {
    /// With the good rows.
    pub fn new() -> Folder {
        let folder = Folder { dir: tempfile::tempdir().expect("a directory") };
        for (file, rows) in GOOD {
            folder.write(file, rows);
        }
        folder
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, file: &str) -> PathBuf {
        self.path().join(format!("{file}.tsv"))
    }

    /// The bytes of a file with these rows.
    pub fn bytes<R: AsRef<[u8]>>(file: &str, rows: &[R]) -> Vec<u8> {
        let shape = FILES.iter().find(|shape| shape.file == file).expect("a file");
        let mut bytes = shape.header().into_bytes();
        for row in rows {
            bytes.push(b'\n');
            bytes.extend_from_slice(row.as_ref());
        }
        bytes.push(b'\n');
        bytes
    }

    /// Makes a file of these rows.
    pub fn write<R: AsRef<[u8]>>(&self, file: &str, rows: &[R]) {
        fs::write(self.file(file), Self::bytes(file, rows)).expect("it is written");
    }

    /// The rows of a table's rejects: line and reason.
    pub fn rejects(&self, name: &str) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.path().join(format!("rejects/{name}.tsv"))).unwrap_or_default();
        let mut columns = text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned));
        let row = |columns: &mut dyn Iterator<Item = String>| Some((columns.next()?, columns.next()?));
        columns.by_ref().filter_map(|mut columns| row(&mut columns)).collect()
    }
}

/// Good rows of a file.
pub fn good(file: &str) -> Vec<String> {
    let (_, rows) = GOOD.iter().find(|(name, _)| *name == file).expect("a file");
    rows.iter().map(|row| (*row).to_owned()).collect()
}
