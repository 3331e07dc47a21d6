//! What holds of a whole synthetic data set.

use super::files::{Settings, write};
use super::names::{NO_BIRTH_YEAR, NO_PROFESSION, NO_TITLES};
use super::ratings::{LEAST_VOTES, VOTES_EXPONENT};
use super::titles::{NO_GENRES, NO_RUNTIME, NO_START_YEAR};
use super::world::CAST_EXPONENT;
use super::*;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// All of a small data set: its rows, as fields.
static SMALL: LazyLock<HashMap<Which, Vec<Vec<String>>>> = LazyLock::new(|| {
    let generator = Generator::new(Synthetic { scale: 0.002, seed: 1 });
    let table = |which| {
        let text = String::from_utf8(lines(&generator, which)).expect("UTF-8");
        (which, text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    };
    Which::ALL.into_iter().map(table).collect()
});

fn lines(generator: &Generator, which: Which) -> Vec<u8> {
    let mut lines = Vec::new();
    generator.lines(which, 0..generator.of().rows(which), &mut lines);
    lines
}

/// A column of the small data set.
fn column(which: Which, n: usize) -> impl Iterator<Item = &'static str> {
    SMALL[&which].iter().map(move |row| row[n].as_str())
}

/// A share differs from what it should be by at most five standard deviations.
fn is_share(share: f64, of: usize, wanted: f64) -> bool {
    (share - wanted).abs() <= 5.0 * (wanted * (1.0 - wanted) / of as f64).sqrt()
}

/// Bytes that change unnoticed would make old results and new ones incomparable.
#[test]
fn the_bytes_are_known() {
    let generator = Generator::new(Synthetic { scale: 0.0005, seed: 1 });
    let mut hash = Sha256::new();
    Which::ALL.iter().for_each(|which| hash.update(lines(&generator, *which)));
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, "4db251697cf2037842fc510751c5211434b0c7fedf8eb4000848ce2ca191a855");
}

#[test]
fn any_split_gives_the_same_rows() {
    let generator = Generator::new(Synthetic { scale: 0.0003, seed: 7 });
    for which in Which::ALL {
        let whole = lines(&generator, which);
        for step in [1, 7, 64, 1000] {
            let (mut parts, all) = (Vec::new(), generator.of().rows(which));
            let starts = (0..all).step_by(step as usize);
            starts.for_each(|start| generator.lines(which, start..start + step, &mut parts));
            assert!(whole == parts, "{} in steps of {step}", which.name());
        }
        assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count() as u64, generator.of().rows(which));
    }
}

#[test]
fn seeds_give_other_rows_of_the_same_number() {
    let [one, two] = [1, 2].map(|seed| Generator::new(Synthetic { scale: 0.0001, seed }));
    for which in Which::ALL {
        assert_ne!(lines(&one, which), lines(&two, which), "{}", which.name());
    }
}

#[test]
fn files_are_the_same_by_any_number_of_threads() {
    let generator = Generator::new(Synthetic { scale: 0.001, seed: 1 });
    for gzip in [false, true] {
        let read = |threads| {
            let dir = tempfile::tempdir().expect("a directory");
            let mut told = 0;
            let written = write(&generator, dir.path(), Settings { gzip, threads }, |_, rows, _| told += rows);
            let written = written.expect("written");
            assert_eq!(told, written.iter().map(|file| file.rows).sum::<u64>());
            let note = std::fs::read_to_string(dir.path().join("SYNTHETIC.txt")).expect("the note");
            assert!(note.starts_with("synthetic IMDb, scale 0.001, seed 1"), "{note}");
            let bytes = |file: &files::Written| std::fs::read(&file.path).expect("the file");
            written.iter().map(bytes).collect::<Vec<_>>()
        };
        let one = read(1);
        assert!(one == read(4), "gzip: {gzip}");
        for (which, mut bytes) in Which::ALL.into_iter().zip(one) {
            if gzip {
                let mut plain = Vec::new();
                let mut read = flate2::read::MultiGzDecoder::new(bytes.as_slice());
                std::io::Read::read_to_end(&mut read, &mut plain).expect("gzip");
                bytes = plain;
            }
            let header = format!("{}\n", source::shape(which).header());
            assert!(bytes.strip_prefix(header.as_bytes()) == Some(lines(&generator, which).as_slice()), "{which:?}");
        }
    }
}

#[test]
fn files_that_are_not_synthetic_stay() {
    let generator = Generator::new(Synthetic { scale: 0.0001, seed: 1 });
    let dir = tempfile::tempdir().expect("a directory");
    let of = |gzip| write(&generator, dir.path(), Settings { gzip, threads: 1 }, |_, _, _| {});
    std::fs::write(dir.path().join("title.crew.tsv"), "mine").expect("written");
    let error = of(false).expect_err("it is not synthetic").to_string();
    assert!(error.contains("title.crew.tsv is there"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1);
    std::fs::remove_file(dir.path().join("title.crew.tsv")).expect("removed");
    of(false).expect("written");
    of(true).expect("written over");
    assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 8);
}

#[test]
fn references_lead_somewhere() {
    let titles: HashMap<&str, &str> = column(Which::Titles, 0).zip(column(Which::Titles, 1)).collect();
    let names: HashSet<&str> = column(Which::Names, 0).collect();
    assert_eq!((titles.len(), names.len()), (SMALL[&Which::Titles].len(), SMALL[&Which::Names].len()));
    for which in [Which::Akas, Which::Crew, Which::Principals, Which::Ratings] {
        assert!(column(which, 0).all(|title| titles.contains_key(title)), "{}", which.name());
    }
    assert!(column(Which::Principals, 2).all(|name| names.contains(name)));
    let listed = |which, n| column(which, n).filter(|list| *list != "\\N").flat_map(|list: &str| list.split(','));
    assert!(listed(Which::Names, 5).all(|title| titles.contains_key(title)));
    assert!([1, 2].into_iter().all(|n| listed(Which::Crew, n).all(|name| names.contains(name))));
    let episodes: HashSet<&str> = column(Which::Episodes, 0).collect();
    let called: HashSet<&str> = titles.iter().filter(|(_, of)| **of == "tvEpisode").map(|(title, _)| *title).collect();
    assert_eq!(episodes, called);
    assert!(column(Which::Episodes, 1).all(|series| ["tvSeries", "tvMiniSeries"].contains(&titles[series])));
    for (which, n) in [(Which::Akas, 1), (Which::Principals, 1)] {
        let keys: HashSet<(&str, &str)> = column(which, 0).zip(column(which, n)).collect();
        assert_eq!(keys.len(), SMALL[&which].len(), "a title's rows are numbered");
    }
    for which in [Which::Crew, Which::Episodes, Which::Ratings] {
        assert_eq!(column(which, 0).collect::<HashSet<_>>().len(), SMALL[&which].len());
    }
}

#[test]
fn crew_are_the_principals_of_these_categories() {
    let mut wanted: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for row in &SMALL[&Which::Principals] {
        let people = wanted.entry((&row[0], &row[3])).or_default();
        if !people.contains(&row[2].as_str()) {
            people.push(&row[2]);
        }
    }
    for row in &SMALL[&Which::Crew] {
        for (n, category) in [(1, "director"), (2, "writer")] {
            let people = wanted.get(&(row[0].as_str(), category)).map_or("\\N".to_owned(), |people| people.join(","));
            assert_eq!(row[n], people, "{category}s of {}", row[0]);
        }
    }
}

#[test]
fn shares_of_nulls_are_as_stated() {
    for (which, n, wanted) in [
        (Which::Names, 2, NO_BIRTH_YEAR),
        (Which::Names, 4, NO_PROFESSION),
        (Which::Names, 5, NO_TITLES),
        (Which::Titles, 5, NO_START_YEAR),
        (Which::Titles, 7, NO_RUNTIME),
        (Which::Titles, 8, NO_GENRES),
        (Which::Episodes, 2, episodes::NO_SEASON),
    ] {
        let rows = SMALL[&which].len();
        let share = column(which, n).filter(|field| *field == "\\N").count() as f64 / rows as f64;
        assert!(is_share(share, rows, wanted), "{}, column {n}: {share} beside {wanted}", which.name());
    }
}

/// The slope of log(how many) over log(rank), by least squares over the ranks given.
fn slope(mut counts: Vec<f64>, ranks: Range<usize>) -> f64 {
    counts.sort_by(|a, b| b.total_cmp(a));
    let points: Vec<(f64, f64)> = ranks.map(|rank| ((rank as f64).ln(), counts[rank - 1].ln())).collect();
    let n = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let above: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    above / points.iter().map(|p| (p.0 - x) * (p.0 - x)).sum::<f64>()
}

#[test]
fn cast_and_votes_fall_with_rank_as_stated() {
    let mut parts: HashMap<&str, f64> = HashMap::new();
    column(Which::Principals, 2).for_each(|name| *parts.entry(name).or_default() += 1.0);
    let cast = slope(parts.into_values().collect(), 1..200);
    assert!((cast + CAST_EXPONENT).abs() < 0.05, "{cast}");
    let votes: Vec<f64> = column(Which::Ratings, 2).map(|votes| votes.parse().expect("a number")).collect();
    assert!(votes.iter().all(|votes| *votes >= LEAST_VOTES));
    let votes = slope(votes, 20..2000);
    assert!((votes + VOTES_EXPONENT).abs() < 0.05, "{votes}");
}

#[test]
fn fields_are_hostile_and_plausible() {
    let any =
        |which, n, what: &str| assert!(column(which, n).any(|field| field.contains(what)), "{which:?} {n}: {what}");
    for what in ["\"", ",", "'", "é", "-", "&", "Episode #"] {
        any(Which::Titles, 2, what);
    }
    for what in ["Ω", "ν", "и", "夜", "े", "ñ", "ß"] {
        let all = [(Which::Akas, 2), (Which::Principals, 4)];
        assert!(all.iter().any(|(which, n)| column(*which, *n).any(|field| field.contains(what))), "{what}");
    }
    any(Which::Names, 1, "\"");
    any(Which::Names, 1, ", Jr.");
    any(Which::Principals, 5, "\\\"");
    for json in column(Which::Principals, 5).filter(|json| *json != "\\N") {
        serde_json::from_str::<Vec<String>>(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    }
    let lengths: Vec<usize> = column(Which::Titles, 2).map(|title| title.chars().count()).collect();
    let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
    assert!((12.0..28.0).contains(&mean), "mean length of titles: {mean}");
}
