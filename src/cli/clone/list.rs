//! `pgbench-rs clone list`.

use super::{shelf, wait_for};
use crate::base::units::{Size, human};
use crate::clone::Method;
use crate::clone::shelf::Item;
use crate::clone::stray::Stray;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// List this user's clones: running ones, what broke off half made, and those of which only their file system tells.
#[derive(Debug, Args)]
pub struct List {
    /// Only those of this owner
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A clone, as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    owner: String,
    state: crate::clone::shelf::State,
    /// It is known here; else only its file system tells of it.
    card: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    expired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Method>,
    /// Not known of one that is not known here: then it is not said.
    #[serde(rename = "unsafe", skip_serializing_if = "Option::is_none")]
    is_unsafe: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    space_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conninfo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    home: Option<std::path::PathBuf>,
    errors: Vec<String>,
}

impl List {
    /// Lists them.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let shelf = shelf()?;
        let items = shelf.all()?;
        let strays = shelf.strays(&items)?;
        let now = Timestamp::now();
        let rows = wait_for(async {
            let mut rows = Vec::new();
            for item in &items {
                rows.push(row(item, now).await);
            }
            rows.extend(strays.iter().map(|stray| stray_row(stray, now)));
            rows.retain(|row| self.owner.as_ref().is_none_or(|owner| row.owner == *owner));
            Ok(rows)
        })?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        } else if rows.is_empty() {
            writeln!(out, "there are no clones")?;
        } else {
            table(&rows, now, &mut out)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn row(item: &Item, now: Timestamp) -> Row {
    let (card, mut errors) = (&item.card, item.errors.clone());
    let ready = card.ready.as_ref();
    let space = match item.space().await {
        Ok(space) => space,
        Err(error) => {
            errors.push(error.to_string());
            None
        }
    };
    Row {
        name: card.name.clone(),
        owner: card.owner.clone(),
        state: item.state,
        card: true,
        created_at: Some(card.created_at.clone()),
        age_seconds: card.age(now).map(|age| age.as_secs_f64()),
        expires_at: card.expires_at().map(|at| at.to_string()),
        expired: item.is_expired(now),
        port: ready.filter(|ready| ready.base.is_none()).map(|ready| ready.port),
        mode: ready.map(|ready| ready.mode.clone()),
        method: ready.map(|ready| ready.method),
        is_unsafe: Some(ready.is_some_and(|ready| ready.is_unsafe)),
        space_bytes: space,
        conninfo: ready.filter(|ready| ready.base.is_none()).map(|ready| ready.conninfo.clone()),
        home: ready.map(|ready| ready.home.clone()),
        errors,
    }
}

/// One whose card is not here.
fn stray_row(stray: &Stray, now: Timestamp) -> Row {
    let told = &stray.told;
    let note = format!(
        "nothing is known of it here but what its dataset {} says of itself: it is of run {}; \
         `pgbench-rs clone destroy {}` removes it",
        told.dataset, told.run, told.dataset
    );
    Row {
        name: told.name.clone(),
        owner: told.owner.clone().unwrap_or_else(|| "?".to_owned()),
        state: stray.state,
        card: false,
        created_at: None,
        age_seconds: None,
        expires_at: told.expires.clone(),
        expired: stray.is_expired(now),
        port: None,
        mode: None,
        method: Some(Method::Zfs),
        is_unsafe: None,
        space_bytes: None,
        conninfo: None,
        home: told.at.as_deref().and_then(Path::parent).map(Path::to_owned),
        errors: vec![note],
    }
}

fn table(rows: &[Row], now: Timestamp, out: &mut impl Write) -> std::io::Result<()> {
    let header = ["NAME", "OWNER", "STATE", "AGE", "EXPIRES", "PORT", "SPACE", "MADE BY"].map(str::to_owned);
    let cells: Vec<[String; 8]> = rows.iter().map(|row| cells(row, now)).collect();
    let width = |i: usize| std::iter::once(&header).chain(&cells).map(|row| row[i].chars().count()).max().unwrap_or(0);
    for row in std::iter::once(&header).chain(&cells) {
        let pad = |(i, cell): (usize, &String)| format!("{cell:<width$}", width = width(i));
        let padded: Vec<String> = row.iter().enumerate().map(pad).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    for row in rows {
        for error in &row.errors {
            writeln!(out, "{}: {error}", row.name)?;
        }
    }
    Ok(())
}

fn cells(row: &Row, now: Timestamp) -> [String; 8] {
    let known = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    let age = row.age_seconds.map(|age| human(std::time::Duration::from_secs_f64(age)));
    let expires = row.expires_at.as_ref().map(|at| {
        let left = at.parse::<Timestamp>().ok().and_then(|at| at.duration_since(now).try_into().ok());
        left.filter(|_| !row.expired).map_or_else(|| "expired".to_owned(), |left| format!("in {}", human(left)))
    });
    let made = row.method.map(|method| match &row.mode {
        Some(mode) => format!("{method}, {mode}"),
        None => method.to_string(),
    });
    [
        row.name.clone(),
        row.owner.clone(),
        row.state.to_string(),
        known(age),
        known(expires),
        known(row.port.map(|port| port.to_string())),
        known(row.space_bytes.map(|bytes| Size(bytes).to_string())),
        known(made),
    ]
}
