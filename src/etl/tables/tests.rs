//! What is read, found wrong and made.

use super::check::check;
use super::shape::{Column, Gaussian, Scalar, Sequence, Table, TypeName, Uniform, Values, Zipf};
use super::*;
use crate::etl::table::ColumnType;
use std::collections::HashMap;

fn column(of: ColumnType, values: Values) -> Column {
    Column { of: TypeName(of), values: Some(values), references: None, nulls: 0.0 }
}

fn id() -> Column {
    column(ColumnType::Int8, Values::Sequence(Sequence::default()))
}

/// Its name, rows, primary key and columns.
type Written<'t> = (&'t str, u64, &'t [&'t str], &'t [(&'t str, Column)]);

fn shape(tables: &[Written<'_>]) -> Shape {
    let table = |&(name, rows, key, columns): &(&str, u64, &[&str], &[(&str, Column)])| {
        let columns = columns.iter().map(|(name, column)| ((*name).to_owned(), column.clone())).collect();
        let primary_key = key.iter().map(|name| (*name).to_owned()).collect();
        (name.to_owned(), Table { rows, primary_key, columns, indexes: Default::default() })
    };
    Shape { seed: 1, tables: tables.iter().map(table).collect() }
}

/// The fields of a table's rows as they are sent, in parts.
fn fields(tables: &Tables, table: usize, of: u32) -> Vec<Vec<Option<Vec<u8>>>> {
    let mut all = Vec::new();
    for number in 0..of {
        let mut rows = tables.open(table, Part { number, of });
        let mut chunk = Chunk::default();
        while rows.fill(&mut chunk) {}
        let mut bytes = chunk.bytes();
        let mut take = |n: usize| -> Vec<u8> {
            let (first, rest) = bytes.split_at(n);
            bytes = rest;
            first.to_vec()
        };
        for _ in 0..chunk.rows() {
            let fields = u16::from_be_bytes(take(2).try_into().expect("two"));
            let field = |_| {
                let length = i32::from_be_bytes(take(4).try_into().expect("four"));
                (length >= 0).then(|| take(length as usize))
            };
            all.push((0..fields).map(field).collect());
        }
    }
    all
}

fn int(field: &Option<Vec<u8>>) -> i64 {
    i64::from_be_bytes(field.clone().expect("no null").try_into().expect("eight bytes"))
}

#[test]
fn references_are_rows_that_are_there() {
    let zipf = Values::Zipf(Zipf { exponent: 1.2, distinct: None, start: 0 });
    let to = |values| Column { references: Some("customer.id".into()), values, ..id() };
    let ten = column(ColumnType::Int8, Values::Sequence(Sequence { start: 10, step: 5, ..Sequence::default() }));
    let each = Some(Values::Sequence(Sequence { each: 4, ..Sequence::default() }));
    let shape = shape(&[
        ("customer", 50, &["id"], &[("id", ten)]),
        ("orders", 4000, &["id"], &[("id", id()), ("any", to(None)), ("few", to(Some(zipf))), ("each", to(each))]),
    ]);
    assert_eq!(check(&shape), []);
    let tables = Tables::new(shape);
    let there: Vec<i64> = fields(&tables, 0, 1).iter().map(|row| int(&row[0])).collect();
    assert_eq!((there[0], there[49]), (10, 10 + 49 * 5));
    let rows = fields(&tables, 1, 1);
    assert_eq!(rows, fields(&tables, 1, 7), "parts are the whole");
    let mut most = [0; 2];
    for (n, most) in [1, 2].into_iter().zip(&mut most) {
        let mut seen: HashMap<i64, u32> = HashMap::new();
        rows.iter().for_each(|row| *seen.entry(int(&row[n])).or_default() += 1);
        assert!(seen.keys().all(|key| there.contains(key)));
        *most = seen.into_values().max().expect("some");
    }
    assert!(most[0] < 130 && most[1] > 800, "{most:?}");
    let each: Vec<i64> = rows.iter().map(|row| int(&row[3])).take(9).collect();
    assert_eq!(each, [10, 10, 10, 10, 15, 15, 15, 15, 20]);
}

#[test]
fn ranges_times_and_nulls_are_kept() {
    let text = |text: &str| Some(Scalar::Text(text.into()));
    let year = Uniform { min: text("2024-01-01"), max: text("2024-12-31T23:59:59Z"), rising: true };
    let mut at = column(ColumnType::Timestamptz, Values::Uniform(year));
    at.nulls = 0.25;
    let small = Uniform { min: Some(Scalar::Whole(-3)), max: Some(Scalar::Whole(3)), rising: false };
    let normal = Gaussian { mean: 100.0, deviation: 15.0, min: Some(70.0), max: None };
    let shape = shape(&[(
        "log",
        4000,
        &[],
        &[
            ("at", at),
            ("small", column(ColumnType::Int8, Values::Uniform(small))),
            ("normal", column(ColumnType::Int8, Values::Gaussian(normal))),
        ],
    )]);
    assert_eq!(check(&shape), []);
    let rows = fields(&Tables::new(shape), 0, 1);
    let times: Vec<i64> = rows.iter().filter(|row| row[0].is_some()).map(|row| int(&row[0])).collect();
    // Five standard deviations of a quarter of 4000.
    assert!((2863..=3137).contains(&times.len()), "{}", times.len());
    assert!(times.is_sorted());
    // 2024-01-01 and 2025-01-01 in microseconds since 2000-01-01.
    assert!(times[0] >= 757_382_400_000_000 && *times.last().expect("some") < 789_004_800_000_000);
    let mut seen: Vec<i64> = rows.iter().map(|row| int(&row[1])).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [-3, -2, -1, 0, 1, 2, 3]);
    let normal: Vec<i64> = rows.iter().map(|row| int(&row[2])).collect();
    let mean = normal.iter().sum::<i64>() as f64 / 4000.0;
    assert!((mean - 100.0).abs() < 1.5 && normal.iter().min() == Some(&70), "{mean}");
}

#[test]
fn everything_wrong_is_found_with_its_path() {
    let mut twice = id();
    twice.values = Some(Values::Sequence(Sequence { each: 2, ..Sequence::default() }));
    let to = Column { references: Some("nowhere.id".into()), values: None, ..id() };
    let zipf = column(ColumnType::Text, Values::Zipf(Zipf { exponent: 1.0, distinct: Some(3), start: 0 }));
    let wide = column(ColumnType::Int2, Values::Sequence(Sequence { start: 1, ..Sequence::default() }));
    let never = Uniform { min: Some(Scalar::Whole(3)), max: Some(Scalar::Whole(1)), rising: false };
    let never = column(ColumnType::Int4, Values::Uniform(never));
    let shape = shape(&[(
        "t",
        40_000,
        &["id"],
        &[("id", twice), ("to", to), ("zipf", zipf), ("wide", wide), ("never", never)],
    )]);
    let paths: Vec<String> = check(&shape).iter().map(|wrong| wrong.path.join(".")).collect();
    assert_eq!(
        paths,
        [
            "t.primary_key",
            "t.columns.to.references",
            "t.columns.zipf.values",
            "t.columns.wide.values",
            "t.columns.never.values"
        ]
    );
}

#[test]
fn a_key_of_references_ends_with_the_other_tables_rows() {
    let each = Values::Sequence(Sequence { each: 4, ..Sequence::default() });
    let line = column(ColumnType::Int8, Values::Sequence(Sequence { cycle: Some(4), ..Sequence::default() }));
    let order = Column { references: Some("orders.id".into()), values: Some(each), ..id() };
    let lines = |rows| {
        let columns = [("order_id", order.clone()), ("line", line.clone())];
        check(&shape(&[("orders", 10, &["id"], &[("id", id())]), ("line", rows, &["order_id", "line"], &columns)]))
    };
    assert_eq!(lines(40), []);
    assert_eq!(lines(41).iter().map(|wrong| wrong.path.join(".")).collect::<Vec<_>>(), ["line.primary_key"]);
}

#[test]
fn types_are_named_as_in_sql() {
    let read = |text: &str| serde_json::from_value::<TypeName>(text.into()).map(|of| of.0).map_err(|e| e.to_string());
    assert_eq!(read("Double Precision"), Ok(ColumnType::Float8));
    assert_eq!(read("char(12)"), Ok(ColumnType::Char(12)));
    assert_eq!(read("character (3)"), Ok(ColumnType::Char(3)));
    assert_eq!(read("timestamptz"), Ok(ColumnType::Timestamptz));
    for wrong in ["char(0)", "char", "varchar", "json", ""] {
        assert!(read(wrong).is_err_and(|error| error.contains("is no type that can be made")), "{wrong}");
    }
}
