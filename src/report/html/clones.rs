//! Where the time of making a clone goes: a bar for each variant and campaign, made of its parts.

use super::super::clones::PARTS;
use super::super::humane::number;
use super::super::{Figure, Summary, VariantSummary};
use super::{escape, table};
use std::fmt::Write;

/// Parts that come after the first row, so that `clone.ready` does not hold them.
const AFTERWARDS: [&str; 5] = ["clone.cook", "clone.cold", "clone.warm", "clone.stop", "clone.destroy"];

/// Bars and their table; none of a run without clones.
pub(super) fn html(summary: &Summary) -> Option<String> {
    let bars: Vec<Bar<'_>> = summary.variants.iter().flat_map(bars).collect();
    let longest = bars.iter().map(Bar::length).max_by(f64::total_cmp).filter(|longest| *longest > 0.0)?;
    let parts: Vec<(usize, &str)> = parts().map(|(i, (label, _))| (i, label)).collect();
    let present = |part: usize| bars.iter().any(|bar| bar.parts.iter().any(|(i, _)| *i == part));
    let legend: String = parts.iter().filter(|(i, _)| present(*i)).fold(String::new(), |mut out, (i, label)| {
        let _ = write!(out, "<li><i class=\"part{}\"></i>{label}</li>", colour(*i));
        out
    });
    let drawn: String = bars.iter().map(|bar| bar.html(longest)).collect();
    let heads: Vec<String> = ["clone".to_owned(), "ready".to_owned()]
        .into_iter()
        .chain(parts.iter().filter(|(i, _)| present(*i)).map(|(_, label)| (*label).to_owned()))
        .collect();
    let rows: Vec<_> = bars.iter().map(|bar| bar.row(&parts, &present)).collect();
    Some(format!(
        "<ul class=\"legend\">{legend}</ul>\n<div class=\"bars\">{drawn}</div>\n<p class=\"note\">Medians, from the request \
         of a clone to its first row. Medians of parts do not add up to the median of the whole, whose length the line \
         under each bar shows.</p>\n<details><summary>As a table</summary>{}</details>",
        table("figures", &heads, &rows)
    ))
}

fn parts() -> impl Iterator<Item = (usize, (&'static str, &'static str))> {
    PARTS.into_iter().filter(|(_, metric)| !AFTERWARDS.contains(metric)).enumerate()
}

/// Which of twelve colours a part has; those that are seen together differ.
fn colour(part: usize) -> usize {
    const COLOURS: [usize; 13] = [0, 1, 8, 3, 2, 11, 6, 7, 10, 9, 5, 4, 8];
    COLOURS.get(part).copied().unwrap_or(0)
}

struct Bar<'a> {
    label: String,
    ready: &'a Figure,
    /// Which part, and how long it takes in seconds.
    parts: Vec<(usize, f64)>,
}

/// The campaigns of a variant.
fn bars(variant: &VariantSummary) -> Vec<Bar<'_>> {
    let ready = variant.figures.iter().filter(|figure| {
        figure.metric == "clone.ready" && figure.subject.as_deref().is_some_and(|subject| !subject.contains('/'))
    });
    let bar = |ready: &'_ Figure| {
        let of = |metric: &str| variant.figure(metric, ready.phase.as_deref(), ready.subject.as_deref());
        let known = parts().filter_map(|(i, (_, metric))| Some((i, of(metric)?.median)));
        known.filter(|(_, seconds)| *seconds > 0.0).collect()
    };
    ready
        .map(|ready| Bar {
            label: format!("{} · {}", variant.variant, ready.subject.as_deref().unwrap_or_default()),
            parts: bar(ready),
            ready,
        })
        .collect()
}

impl Bar<'_> {
    fn length(&self) -> f64 {
        self.parts.iter().map(|(_, seconds)| seconds).sum::<f64>().max(self.ready.median)
    }

    fn html(&self, longest: f64) -> String {
        let share = |seconds: f64| 100.0 * seconds / longest;
        let parts = self.parts.iter().fold(String::new(), |mut out, (i, seconds)| {
            let label = parts().nth(*i).map_or("", |(_, (label, _))| label);
            let value = number("s", *seconds);
            let inside = if share(*seconds) > 9.0 { value.as_str() } else { "" };
            let _ = write!(
                out,
                "<i class=\"part{}\" style=\"width:{:.2}%\" title=\"{label}: {value}\">{inside}</i>",
                colour(*i),
                share(*seconds)
            );
            out
        });
        format!(
            "<div class=\"bar\"><span class=\"name\">{}</span><span class=\"total\">{}</span><div class=\"track\">{parts}</div>\
             <div class=\"whole\" style=\"width:{:.2}%\"></div></div>\n",
            escape(&self.label),
            number("s", self.ready.median),
            share(self.ready.median)
        )
    }

    fn row(&self, parts: &[(usize, &str)], present: &impl Fn(usize) -> bool) -> (String, Vec<String>) {
        let of = |part: usize| self.parts.iter().find(|(i, _)| *i == part).map(|(_, seconds)| number("s", *seconds));
        let cells = parts.iter().filter(|(i, _)| present(*i)).map(|(i, _)| of(*i).unwrap_or_else(|| "–".into()));
        (escape(&self.label), std::iter::once(number("s", self.ready.median)).chain(cells).collect())
    }
}
