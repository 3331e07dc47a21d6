use super::*;
use serde_json::Value;
use std::collections::BTreeSet;

fn boards() -> Vec<(PathBuf, Value)> {
    files().into_iter().map(|(path, text)| (path, serde_json::from_str(&text).unwrap())).collect()
}

#[test]
fn every_field_is_in_the_catalogue_and_only_what_is_counted_has_a_rate() {
    let boards = all();
    assert_eq!(boards.len(), 6);
    for (board, panel) in boards.iter().flat_map(|board| board.panels.iter().map(move |panel| (board, panel))) {
        for query in &panel.queries {
            let what = format!("{}: {}: {}.{}", board.name, panel.title, query.from.name, query.field.name);
            assert!(query.from.field(query.field.name).is_some(), "{what}");
            let counted = matches!(query.field.kind, Kind::Counter | Kind::Total);
            let since =
                ["num_timed", "num_requested", "apply_error_count", "sync_error_count"].contains(&query.field.name);
            assert_eq!(query.by == Fold::Rate, counted && !since, "{what}");
            assert!(!matches!(query.field.kind, Kind::Text | Kind::Truth), "{what}");
            for tag in query.split.iter().chain(query.only.iter().map(|(tag, _)| tag)) {
                assert!(query.from.tags.contains(tag) || *tag == "node" && has_node(query.from), "{what}: {tag}");
            }
            if board.scope == Scope::Two {
                assert!(query.from.field("elapsed_seconds").is_some(), "{what}");
            }
        }
    }
}

/// Names in the text that is written, whoever wrote it: they are looked for in the catalogue.
#[test]
fn every_name_in_every_query_is_in_the_catalogue() {
    let known: BTreeSet<&str> =
        crate::metric::sampled::MEASUREMENTS.iter().map(|measurement| measurement.name).collect();
    let mut judged = 0;
    for (path, board) in boards() {
        for target in board["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap())
        {
            let query = target["query"].as_str().unwrap();
            let mark = if path.starts_with("flux") { "_measurement == \"" } else { "FROM \"" };
            for (at, _) in query.match_indices(mark) {
                let name = query[at + mark.len()..].split('"').next().unwrap();
                assert!(known.contains(name), "{}: {name}", path.display());
                judged += 1;
            }
        }
    }
    assert!(judged > 150, "{judged}");
}

#[test]
fn ids_are_unique_and_panels_lie_beside_each_other() {
    let mut uids = BTreeSet::new();
    for (path, board) in boards() {
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()), "{}", path.display());
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let what = format!("{}: {}", path.display(), panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{what}");
            for key in ["title", "description"] {
                assert!(panel[key].as_str().is_some_and(|text| !text.is_empty()), "{what}: {key}");
            }
            assert!(panel["fieldConfig"]["defaults"]["unit"].as_str().is_some_and(|unit| !unit.is_empty()), "{what}");
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{what}");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{what} lies upon another at {x}, {y}");
                }
            }
            let letters: BTreeSet<&str> =
                panel["targets"].as_array().unwrap().iter().map(|target| target["refId"].as_str().unwrap()).collect();
            assert_eq!(letters.len(), panel["targets"].as_array().unwrap().len(), "{what}");
        }
    }
}

#[test]
fn both_languages_of_a_rate() {
    let query = Query::new(&crate::metric::sampled::IO, "read_time", Fold::Rate).split(&["node", "object"]).per(1000.0);
    assert_eq!(
        query::text(&query, View::Lines, None, Language::InfluxQl),
        r#"SELECT sum("rate") / 1000 FROM (SELECT non_negative_derivative(last("read_time"), 1s) AS "rate" FROM "pg_stat_io" WHERE "run_id" =~ /^$run$/ AND "variant" =~ /^$variant$/ AND "node" =~ /^$node$/ AND $timeFilter GROUP BY time($__interval), * fill(none)) WHERE $timeFilter GROUP BY time($__interval), "variant", "node", "object" fill(none)"#
    );
    assert_eq!(
        query::text(&query, View::Lines, None, Language::Flux),
        r#"from(bucket: v.defaultBucket)
  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)
  |> filter(fn: (r) => r._measurement == "pg_stat_io" and r._field == "read_time" and r.run_id =~ /^${run:regex}$/ and r.variant =~ /^${variant:regex}$/ and r.node =~ /^${node:regex}$/)
  |> aggregateWindow(every: v.windowPeriod, fn: last, createEmpty: false)
  |> derivative(unit: 1s, nonNegative: true)
  |> group(columns: ["variant", "node", "object"])
  |> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false)
  |> map(fn: (r) => ({r with _value: float(v: r._value) / 1000.0}))"#
    );
}
