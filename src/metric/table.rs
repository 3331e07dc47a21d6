//! What is sampled, as a table for people.

use super::sampled::{Kind, MEASUREMENTS, SampledField};

/// All of them as a Markdown table, for the documentation.
pub fn table() -> String {
    let mut table = "| measurement | tags | fields | what it is |\n|---|---|---|---|\n".to_owned();
    for measurement in MEASUREMENTS {
        let tags: Vec<String> = measurement.tags.iter().map(|tag| format!("`{tag}`")).collect();
        let fields: Vec<String> = measurement.fields.iter().map(in_words).collect();
        let (name, about) = (measurement.name, measurement.about.replace('|', "\\|"));
        table += &format!("| `{name}` | {} | {} | {about} |\n", tags.join(", "), fields.join("; "));
    }
    table
}

/// A field with its unit (nothing for counts) and, where it only grows, a `+`; of numbers that are no integers `~`.
fn in_words(field: &SampledField) -> String {
    let mark = match field.kind {
        Kind::Counter => "+",
        Kind::Gauge => "",
        Kind::Total => "~+",
        Kind::Real => "~",
        Kind::Truth => " true or false",
        Kind::Text => " text",
    };
    let unit = if matches!(field.unit, "" | "count") { String::new() } else { format!(" {}", field.unit) };
    format!("`{}`{mark}{unit}", field.name)
}
