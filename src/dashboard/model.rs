//! Grafana's Classic JSON, schema 41. The newer schema is refused by file provisioning; a newer Grafana moves this one on by
//! itself.

use super::query::{self, Language};
use super::{Dashboard, Fold, Panel, Scope, View};
use serde_json::{Value, json};

/// Units of Grafana's grid.
const PAGE: u32 = 24;
const HEIGHT: u32 = 8;
/// A number needs less room.
const LOW: u32 = 4;

/// `board`, asking in `language`.
pub(super) fn dashboard(board: &Dashboard, language: Language) -> Value {
    let (name, two) = (language.name(), board.scope == Scope::Two);
    json!({
        "uid": format!("pgbr-{}-{name}", board.name),
        "title": board.title,
        "description": board.about,
        "tags": ["pgbench-rs", format!("pgbench-rs-{name}")],
        "schemaVersion": 41,
        "version": 1,
        "editable": true,
        // Runs are looked at one beside the other; a shared crosshair shows the same instant in all panels.
        "graphTooltip": 1,
        "refresh": if two { "" } else { "5s" },
        "time": { "from": "now-1h", "to": "now" },
        "timepicker": { "refresh_intervals": ["1s", "5s", "30s", "1m"] },
        "links": [{
            "type": "dashboards", "tags": [format!("pgbench-rs-{name}")], "title": "pgbench-rs",
            "asDropdown": false, "keepTime": true, "includeVars": true, "targetBlank": false
        }],
        "annotations": { "list": annotations(two, language) },
        "templating": { "list": variables(two, language) },
        "panels": panels(board, language),
    })
}

fn source() -> Value {
    json!({ "type": "influxdb", "uid": "${datasource}" })
}

/// Events have no place on an axis that is not time.
fn annotations(two: bool, language: Language) -> Value {
    if two {
        return json!([]);
    }
    let text = query::events(language);
    let mut list = json!([{
        "name": "Events", "enable": true, "hide": false, "iconColor": "orange", "datasource": source(),
    }]);
    let more = match language {
        Language::Flux => json!({ "target": { "query": text, "refId": "Events" } }),
        Language::InfluxQl => json!({
            "query": text, "textColumn": "text", "tagsColumn": "kind", "fromAnnotations": true,
            "target": { "query": text, "rawQuery": true, "refId": "Events", "resultFormat": "table",
                        "textColumn": "text", "tagsColumn": "kind", "fromAnnotations": true },
        }),
    };
    extend(&mut list[0], more);
    list
}

fn variables(two: bool, language: Language) -> Vec<Value> {
    let shown = match language {
        Language::Flux => "InfluxDB (Flux)",
        Language::InfluxQl => "InfluxDB (InfluxQL)",
    };
    let mut list = vec![json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "influxdb",
        // A data source knows one of the languages.
        "regex": if language == Language::Flux { "/Flux/" } else { "/InfluxQL/" },
        "current": { "text": shown, "value": format!("pgbr-{}", language.name()) },
    })];
    if two {
        for side in ["a", "b"] {
            let run = format!("run_{side}");
            list.push(variable(&run, &format!("Run {side}"), query::values("run_id", None, language), false));
            for (tag, label) in [("variant", "Variant"), ("trial", "Trial")] {
                let values = query::values(tag, Some(&run), language);
                list.push(variable(&format!("{tag}_{side}"), &format!("{label} {side}"), values, false));
            }
        }
        for (tag, label) in [("load", "Load"), ("transaction", "Transaction")] {
            list.push(variable(tag, label, query::values(tag, Some("run_a"), language), false));
        }
        return list;
    }
    list.push(variable("run", "Run", query::values("run_id", None, language), false));
    list.push(variable("variant", "Variant", query::values("variant", Some("run"), language), true));
    list.push(variable("node", "Node", query::values("node", Some("run"), language), true));
    list
}

fn variable(name: &str, label: &str, query: String, many: bool) -> Value {
    // Names of runs begin with their date: the newest comes first.
    let sort = if name.starts_with("run") { 2 } else { 1 };
    let mut variable = json!({
        "name": name, "label": label, "type": "query", "datasource": source(), "query": query, "definition": query,
        "refresh": 2, "sort": sort, "multi": many, "includeAll": many,
    });
    if many {
        extend(&mut variable, json!({ "allValue": ".*", "current": { "text": "All", "value": "$__all" } }));
    }
    variable
}

/// From left to right; one that does not fit begins a row.
fn panels(board: &Dashboard, language: Language) -> Vec<Value> {
    let (mut x, mut y, mut row) = (0, 0, 0);
    let place = |(index, of): (usize, &Panel)| {
        let height = if of.view == View::Number { LOW } else { HEIGHT };
        if x + of.width > PAGE {
            (x, y, row) = (0, y + row, 0);
        }
        let at = json!({ "x": x, "y": y, "w": of.width, "h": height });
        (x, row) = (x + of.width, row.max(height));
        panel(board, of, index + 1, at, language)
    };
    board.panels.iter().enumerate().map(place).collect()
}

fn panel(board: &Dashboard, panel: &Panel, id: usize, at: Value, language: Language) -> Value {
    let mut targets = Vec::new();
    let mut overrides = Vec::new();
    for (number, (query, side)) in query::of_panel(board, &panel.queries).enumerate() {
        let letter = char::from(b'A' + number as u8).to_string();
        let text = query::text(query, panel.view, side, language);
        let legend = query::legend(query, panel.view, language);
        let mut target = json!({ "refId": letter, "datasource": source(), "query": text });
        if language == Language::InfluxQl {
            let form = if side.is_some() { "table" } else { "time_series" };
            extend(&mut target, json!({ "rawQuery": true, "resultFormat": form, "alias": legend }));
        } else if side.is_none() {
            overrides.push(json!({
                "matcher": { "id": "byFrameRefID", "options": letter },
                "properties": [{ "id": "displayName", "value": legend }]
            }));
        }
        targets.push(target);
    }
    let (kind, options) = look(panel);
    json!({
        "id": id, "type": kind, "title": panel.title, "description": panel.about, "gridPos": at,
        "datasource": source(), "interval": "1s", "targets": targets, "options": options,
        "transformations": transformations(panel.view),
        "fieldConfig": { "defaults": { "unit": panel.unit, "custom": custom(panel.view) }, "overrides": overrides },
    })
}

/// Grafana's kind of panel, and its options.
fn look(panel: &Panel) -> (&'static str, Value) {
    let legend = json!({ "displayMode": "list", "placement": "bottom", "showLegend": true });
    let series = json!({ "legend": legend, "tooltip": { "mode": "multi", "sort": "desc" } });
    let total = if panel.queries.iter().any(|query| query.by == Fold::Max) { "max" } else { "sum" };
    let reduce = json!({ "calcs": [total], "fields": "", "values": false });
    match panel.view {
        View::Lines | View::Stacked | View::Shares | View::Marks => ("timeseries", series),
        View::Number => ("stat", json!({ "reduceOptions": reduce, "graphMode": "none", "colorMode": "none" })),
        View::Bars => {
            ("bargauge", json!({ "reduceOptions": reduce, "orientation": "horizontal", "displayMode": "basic" }))
        }
        View::Heat => (
            "heatmap",
            json!({
                "calculate": false, "cellGap": 0, "showValue": "never", "yAxis": { "unit": "short" },
                "color": { "mode": "scheme", "scheme": "Oranges", "scale": "exponential", "exponent": 0.5, "steps": 64 },
                "tooltip": { "mode": "single", "yHistogram": false }, "legend": { "show": true }
            }),
        ),
        View::Elapsed => {
            let mut trend = series;
            extend(&mut trend, json!({ "xField": "elapsed_seconds" }));
            ("trend", trend)
        }
    }
}

fn custom(view: View) -> Value {
    let stacked = |mode: &str| json!({ "drawStyle": "line", "fillOpacity": 60, "lineWidth": 0, "stacking": { "mode": mode, "group": "A" } });
    match view {
        View::Lines => {
            json!({ "drawStyle": "line", "lineWidth": 1, "fillOpacity": 0, "showPoints": "auto", "spanNulls": false })
        }
        View::Marks => json!({ "drawStyle": "points", "pointSize": 6, "showPoints": "always" }),
        View::Stacked => stacked("normal"),
        View::Shares => stacked("percent"),
        // The other run's instants lie between.
        View::Elapsed => json!({ "drawStyle": "line", "lineWidth": 1, "showPoints": "auto", "spanNulls": true }),
        View::Number | View::Heat | View::Bars => json!({}),
    }
}

/// Two runs become one table with one axis; the instants of either mean nothing to the other.
fn transformations(view: View) -> Value {
    match view {
        View::Elapsed => json!([
            { "id": "organize", "options": { "excludeByName": { "Time": true, "time": true } } },
            { "id": "joinByField", "options": { "byField": "elapsed_seconds", "mode": "outer" } },
            { "id": "sortBy", "options": { "sort": [{ "field": "elapsed_seconds" }] } }
        ]),
        _ => json!([]),
    }
}

/// Adds `more`'s keys to an object.
fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
