//! A [`Query`] in each of InfluxDB's languages.
//!
//! Grafana puts in what begins with `$`: the variables, the page's stretch of time and the interval that one pixel or so
//! stands for. A variable that stands for all has the value `.*`, so all of them are matched as patterns.

use super::{Dashboard, Fold, Query, Scope, View, has_node};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// InfluxDB 2's own.
    Flux,
    /// Of InfluxDB 1, which 2 and 3 know as well.
    InfluxQl,
}

impl Language {
    /// The folder of its dashboards.
    pub fn name(self) -> &'static str {
        match self {
            Language::Flux => "flux",
            Language::InfluxQl => "influxql",
        }
    }
}

/// One of the two runs of [`Scope::Two`], in its variables' names.
pub(super) type Side = &'static str;

/// `query` for a panel that looks as `view`; of a comparison, of the run `side`.
pub(super) fn text(query: &Query, view: View, side: Option<Side>, language: Language) -> String {
    match (side, language) {
        (Some(side), Language::Flux) => flux_elapsed(query, side),
        (Some(side), Language::InfluxQl) => influxql_elapsed(query, side),
        (None, Language::Flux) => flux(query, view),
        (None, Language::InfluxQl) => influxql(query, view),
    }
}

/// What series are called, as each language's data source puts it: of the tags that split them, and the name.
pub(super) fn legend(query: &Query, view: View, language: Language) -> String {
    let tag = |tag: &&str| match language {
        Language::Flux => format!("${{__field.labels.{tag}}}"),
        Language::InfluxQl => format!("$tag_{tag}"),
    };
    let tags: Vec<String> = tags(query, view).iter().map(tag).collect();
    // Buckets are sorted by their names, which stand alone.
    if view == View::Heat { tags.join(" ") } else { format!("{} {}", tags.join(" "), query.name) }
}

/// Tags that make a series.
fn tags(query: &Query, view: View) -> Vec<&'static str> {
    let all = matches!(view, View::Heat | View::Number | View::Bars);
    let variant = (!all).then_some("variant");
    let split = if view == View::Number { &[][..] } else { query.split };
    variant.into_iter().chain(split.iter().copied()).collect()
}

fn function(by: Fold) -> &'static str {
    match by {
        Fold::Mean => "mean",
        Fold::Max => "max",
        Fold::Last | Fold::Rate => "last",
        Fold::Sum | Fold::PerSecond => "sum",
    }
}

/// `name / 1000`, or the name alone.
fn divided(what: String, per: f64) -> String {
    if per == 1.0 { what } else { format!("{what} / {per}") }
}

fn influxql(query: &Query, view: View) -> String {
    let mut filter = r#""run_id" =~ /^$run$/ AND "variant" =~ /^$variant$/"#.to_owned();
    if has_node(query.from) {
        filter += r#" AND "node" =~ /^$node$/"#;
    }
    for (tag, value) in query.only {
        filter += &format!(r#" AND "{tag}" = '{value}'"#);
    }
    let group: String = tags(query, view).iter().map(|tag| format!(r#", "{tag}""#)).collect();
    let (field, from) = (query.field.name, query.from.name);
    let group = format!("GROUP BY time($__interval){group} fill(none)");
    match query.by {
        Fold::Rate => {
            let rate = format!(
                r#"SELECT non_negative_derivative(last("{field}"), 1s) AS "rate" FROM "{from}" WHERE {filter} AND $timeFilter GROUP BY time($__interval), * fill(none)"#
            );
            let sum = divided(r#"sum("rate")"#.to_owned(), query.per);
            format!("SELECT {sum} FROM ({rate}) WHERE $timeFilter {group}")
        }
        by => {
            let value = divided(format!(r#"{}("{field}")"#, function(by)), query.per);
            let value = if by == Fold::PerSecond { format!("{value} * 1000 / $__interval_ms") } else { value };
            format!(r#"SELECT {value} FROM "{from}" WHERE {filter} AND $timeFilter {group}"#)
        }
    }
}

/// Tags that a comparison chooses one value of, as two lines at one instant are none.
fn chosen(query: &Query) -> impl Iterator<Item = &'static str> {
    ["load", "transaction"].into_iter().filter(|tag| query.from.tags.contains(tag))
}

fn influxql_elapsed(query: &Query, side: Side) -> String {
    let (field, from) = (query.field.name, query.from.name);
    let chosen: String = chosen(query).map(|tag| format!(r#" AND "{tag}" =~ /^${tag}$/"#)).collect();
    let value = divided(format!(r#""{field}""#), query.per);
    format!(
        r#"SELECT "elapsed_seconds", {value} AS "{} {side}" FROM "{from}" WHERE "run_id" =~ /^$run_{side}$/ AND "variant" =~ /^$variant_{side}$/ AND "trial" =~ /^$trial_{side}$/{chosen}"#,
        query.name
    )
}

fn flux(query: &Query, view: View) -> String {
    let (field, from) = (query.field.name, query.from.name);
    let mut filter = format!(
        r#"r._measurement == "{from}" and r._field == "{field}" and r.run_id =~ /^${{run:regex}}$/ and r.variant =~ /^${{variant:regex}}$/"#
    );
    if has_node(query.from) {
        filter += " and r.node =~ /^${node:regex}$/";
    }
    for (tag, value) in query.only {
        filter += &format!(r#" and r.{tag} == "{value}""#);
    }
    let columns = tags(query, view).iter().map(|tag| format!(r#""{tag}""#)).collect::<Vec<_>>().join(", ");
    let mut pipe = vec![
        "from(bucket: v.defaultBucket)".to_owned(),
        "range(start: v.timeRangeStart, stop: v.timeRangeStop)".to_owned(),
        format!("filter(fn: (r) => {filter})"),
    ];
    let window = |function: &str| format!("aggregateWindow(every: v.windowPeriod, fn: {function}, createEmpty: false)");
    if query.by == Fold::Rate {
        pipe.push(window("last"));
        pipe.push("derivative(unit: 1s, nonNegative: true)".to_owned());
        pipe.push(format!("group(columns: [{columns}])"));
        pipe.push(window("sum"));
    } else {
        pipe.push(format!("group(columns: [{columns}])"));
        // Tables that became one are in order each by itself.
        pipe.push(r#"sort(columns: ["_time"])"#.to_owned());
        pipe.push(window(function(query.by)));
    }
    let scale = match query.by {
        Fold::PerSecond => format!("float(v: r._value) * 1000.0 / float(v: $__interval_ms) / {:?}", query.per),
        _ if query.per == 1.0 => String::new(),
        _ => format!("float(v: r._value) / {:?}", query.per),
    };
    if !scale.is_empty() {
        pipe.push(format!("map(fn: (r) => ({{r with _value: {scale}}}))"));
    }
    pipe.join("\n  |> ")
}

fn flux_elapsed(query: &Query, side: Side) -> String {
    let (field, from, name) = (query.field.name, query.from.name, query.name);
    let chosen: String = chosen(query).map(|tag| format!(" and r.{tag} =~ /^${{{tag}:regex}}$/")).collect();
    [
        "from(bucket: v.defaultBucket)".to_owned(),
        "range(start: 0)".to_owned(),
        format!(
            r#"filter(fn: (r) => r._measurement == "{from}" and (r._field == "{field}" or r._field == "elapsed_seconds") and r.run_id =~ /^${{run_{side}:regex}}$/ and r.variant =~ /^${{variant_{side}:regex}}$/ and r.trial =~ /^${{trial_{side}:regex}}$/{chosen})"#
        ),
        r#"map(fn: (r) => ({r with _value: float(v: r._value)}))"#.to_owned(),
        r#"pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")"#.to_owned(),
        "group()".to_owned(),
        format!(
            r#"map(fn: (r) => ({{"elapsed_seconds": r.elapsed_seconds, "{name} {side}": r.{field} / {:?}}}))"#,
            query.per
        ),
        r#"sort(columns: ["elapsed_seconds"])"#.to_owned(),
    ]
    .join("\n  |> ")
}

/// The query of a variable: the values of a tag, of the runs that are chosen.
pub(super) fn values(tag: &str, of: Option<&str>, language: Language) -> String {
    let from = match tag {
        "load" => "load_ops",
        "transaction" => "load_latency",
        "node" => "pgbr_sampler",
        // Every run has some.
        _ => "pgbr_event",
    };
    match language {
        Language::Flux => {
            let of = of.map(|run| format!(" and r.run_id =~ /^${{{run}:regex}}$/")).unwrap_or_default();
            format!(
                "import \"influxdata/influxdb/schema\"\nschema.tagValues(bucket: v.defaultBucket, tag: \"{tag}\", predicate: (r) => r._measurement == \"{from}\"{of}, start: 0)"
            )
        }
        Language::InfluxQl => {
            let of = of.map(|run| format!(r#" WHERE "run_id" =~ /^${run}$/"#)).unwrap_or_default();
            format!(r#"SHOW TAG VALUES FROM "{from}" WITH KEY = "{tag}"{of}"#)
        }
    }
}

/// The events of the runs that are shown.
pub(super) fn events(language: Language) -> String {
    match language {
        Language::Flux => [
            "from(bucket: v.defaultBucket)",
            "range(start: v.timeRangeStart, stop: v.timeRangeStop)",
            r#"filter(fn: (r) => r._measurement == "pgbr_event" and r._field == "text" and r.run_id =~ /^${run:regex}$/ and r.variant =~ /^${variant:regex}$/)"#,
            "group()",
            r#"rename(columns: {_time: "time", _value: "text", kind: "tags"})"#,
            r#"keep(columns: ["time", "text", "tags"])"#,
        ]
        .join("\n  |> "),
        Language::InfluxQl => {
            r#"SELECT "text", "kind" FROM "pgbr_event" WHERE "run_id" =~ /^$run$/ AND "variant" =~ /^$variant$/ AND $timeFilter"#
                .to_owned()
        }
    }
}

/// The queries of a panel with what each is of: of a comparison both runs'.
pub(super) fn of_panel<'a>(
    board: &Dashboard,
    queries: &'a [Query],
) -> impl Iterator<Item = (&'a Query, Option<Side>)> + use<'a> {
    let sides: &[Option<Side>] = if board.scope == Scope::Two { &[Some("a"), Some("b")] } else { &[None] };
    queries.iter().flat_map(move |query| sides.iter().map(move |side| (query, *side)))
}
