//! `report.html`: what people look at. One file that asks nothing of the network: words and tables stand in it as they
//! are, plots are drawn by uPlot (MIT, in `uplot/`) from the numbers at its end. All of it comes from results folders.
//!
//! Names and reasons are other people's text: whatever goes into the page goes through [`escape`], and the numbers are
//! JSON in which no `<` is left. The page's own policy forbids every request.

mod belief;
mod clones;
mod figures;
mod latency;
mod outage;
mod plots;
mod sampled;
mod setting;

use super::compare::{Comparison, Wanted, runs, variants};
use super::{Summary, summarize};
use crate::record::{Record, RecordError};
use crate::sink::WriteError;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What counts as no difference where nobody has said.
const MARGIN: f64 = 0.05;

/// The report's name in a results folder.
pub const FILE: &str = "report.html";

/// The numbers at the page's end, a run each.
#[derive(Serialize)]
struct Data {
    runs: Vec<RunData>,
}

#[derive(Serialize)]
struct RunData {
    trials: Vec<plots::TrialPlots>,
    latency: Vec<latency::Curve>,
    quantiles: Vec<f64>,
}

/// A record, with what the page says of it.
struct Chapter<'a> {
    record: &'a Record,
    summary: Summary,
    /// Distinguishes identifiers where a page has several.
    index: usize,
    latency: Vec<latency::Curve>,
}

/// Writes the report of `record` into its folder and gives its path.
pub fn write(record: &Record) -> Result<PathBuf, RecordError> {
    let path = record.dir.join(FILE);
    write_to(&[record], &path)?;
    Ok(path)
}

/// Writes one page about `records` to `path`; the second and later ones are compared with the first.
pub fn write_to(records: &[&Record], path: &Path) -> Result<(), RecordError> {
    let page = page(records)?;
    Ok(std::fs::write(path, page).map_err(WriteError::at(path))?)
}

/// One page about `records`.
pub fn page(records: &[&Record]) -> Result<String, RecordError> {
    let mut chapters = Vec::new();
    let mut data = Data { runs: Vec::new() };
    for (index, record) in records.iter().enumerate() {
        let latency = latency::curves(record)?;
        data.runs.push(RunData {
            trials: plots::trials(record, records.len())?,
            latency: latency.clone(),
            quantiles: latency::quantiles(),
        });
        chapters.push(Chapter { record, summary: summarize(record), index, latency });
    }
    let title = chapters.iter().map(|chapter| chapter.summary.scenario.as_str()).collect::<Vec<_>>().join(" and ");
    let body: String = chapters.iter().map(|chapter| chapter.html(records.len() > 1)).collect();
    let between: String = records[1..].iter().map(|other| two_runs(records[0], other)).collect();
    // The text is a script's content: the only thing that could end it is `<`.
    let json = serde_json::to_string(&data).map_err(RecordError::Plan)?.replace('<', "\\u003c");
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data: blob:\">\n\
         <title>{}</title>\n<style>\n{}\n{}</style>\n</head>\n<body>\n<main>\n{between}{body}</main>\n\
         <script type=\"application/json\" id=\"data\">{json}</script>\n\
         <script>\n{}</script>\n<script>\n{}\n{}</script>\n</body>\n</html>\n",
        escape(&title),
        include_str!("uplot/uPlot.min.css"),
        include_str!("page.css"),
        include_str!("uplot/uPlot.iife.min.js"),
        include_str!("svg.js"),
        include_str!("page.js"),
    ))
}

/// The first section where a page is about two runs: how they compare.
fn two_runs(a: &Record, b: &Record) -> String {
    let wanted = Wanted { margin: MARGIN, only: Vec::new() };
    let common = a.plan.variants.iter().filter(|variant| b.plan.variant(&variant.name).is_some());
    let comparisons: Vec<Comparison> = common.map(|variant| runs(a, b, &variant.name, &wanted)).collect();
    if comparisons.is_empty() {
        return section("compared", "Compared", "<p>The runs have no variant in common.</p>");
    }
    section("compared", "Compared", &figures::verdicts(&comparisons))
}

impl Chapter<'_> {
    fn html(&self, of_several: bool) -> String {
        let (record, index) = (self.record, self.index);
        let mut out = setting::head(&self.summary, record, of_several);
        out += &self.answer();
        out += &self.verdicts();
        let id = |name: &str| format!("{name}-{index}");
        out += &section(&id("believe"), "Can it be believed?", &belief::html(record, &self.summary));
        out += &section(
            &id("timeline"),
            "What happened, trial by trial",
            "<noscript><p>The plots need JavaScript; the tables do not.</p></noscript>",
        );
        if let Some(html) = outage::html(record) {
            out += &section(&id("outage"), "From the fault to normal", &html);
        }
        if !self.latency.is_empty() {
            out += &section(&id("latency"), "How long clients waited", &latency::html(&self.latency, index));
        }
        if let Some(html) = clones::html(&self.summary) {
            out += &section(&id("clones"), "Where a clone's time goes", &html);
        }
        out += &section(&id("figures"), "All figures", &figures::all(&self.summary));
        out += &section(&id("setting"), "Settings and machine", &setting::html(record));
        out
    }

    /// The question and what was measured.
    fn answer(&self) -> String {
        let lines = self.summary.variants.iter().map(|variant| {
            let name = if self.summary.variants.len() > 1 {
                // A long name may be broken between its levels.
                format!("<dt>{}</dt>", escape(&variant.variant).replace(',', ",<wbr>"))
            } else {
                String::new()
            };
            format!("{name}<dd>{}</dd>", escape(&variant.answer))
        });
        let lines: String = lines.collect();
        let stopped = self.summary.stopped.iter().map(|why| format!("<p>{}</p>\n", escape(why)));
        let stopped: String = stopped.collect();
        format!(
            "<section class=\"answer\" aria-label=\"Question and answer\">\n<p class=\"question\">{}</p>\n<dl>{lines}</dl>\n{stopped}</section>\n",
            escape(&self.summary.question)
        )
    }

    /// Variants against the first, and the claims.
    fn verdicts(&self) -> String {
        let wanted = Wanted { margin: MARGIN, only: Vec::new() };
        let names: Vec<&str> = self.record.plan.variants.iter().map(|variant| variant.name.as_str()).collect();
        let others = names.iter().skip(1);
        let comparisons: Vec<Comparison> =
            others.map(|other| variants(self.record, names[0], other, &wanted)).collect();
        let mut html = figures::claims(&self.summary.claims);
        if !comparisons.is_empty() {
            html += &figures::verdicts(&comparisons);
        }
        if html.is_empty() {
            return html;
        }
        section(&format!("verdicts-{}", self.index), "Verdicts", &html)
    }
}

/// A section with its heading; `id` also names it for scripts and links.
fn section(id: &str, title: &str, html: &str) -> String {
    format!(
        "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n{html}\n</section>\n"
    )
}

/// A table that scrolls by itself where it is wider than the page; cells are HTML already.
fn table(class: &str, heads: &[String], rows: &[(String, Vec<String>)]) -> String {
    let cell = |cell: &String| format!("<td>{cell}</td>");
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let rows: String = rows
        .iter()
        .map(|(label, cells)| {
            format!("<tr><th scope=\"row\">{label}</th>{}</tr>\n", cells.iter().map(cell).collect::<String>())
        })
        .collect();
    format!(
        "<div class=\"wide\" tabindex=\"0\"><table class=\"{class}\">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// Text as text, whatever it holds.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
