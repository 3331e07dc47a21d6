//! `pgbench-rs clone`: thin clones of a server that the user runs, made by hand, many at once.

mod create;
mod destroy;
mod list;
mod make;
mod reset;

use crate::clone::shelf::{Item, Shelf, State};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Make writable clones of a running server, list them, make them anew, destroy them.
///
/// A clone is a copy of the server's data directory with a server of its own on it, kept to itself: it neither
/// replicates nor archives, and nothing of the source is written to. It lives until it is destroyed.
#[derive(Debug, Args)]
pub struct Clone {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Box<create::Create>),
    List(list::List),
    Reset(reset::Reset),
    Destroy(destroy::Destroy),
}

impl Clone {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Create(command) => command.run(),
            Command::List(command) => command.run(),
            Command::Reset(command) => command.run(),
            Command::Destroy(command) => command.run(),
        }
    }
}

fn shelf() -> anyhow::Result<Shelf> {
    Shelf::of_user().context("cannot open the list of this user's clones")
}

/// Ends and removes a clone, and takes it off the shelf; what was killed and removed, in words.
fn remove(shelf: &Shelf, item: &Item) -> anyhow::Result<Vec<String>> {
    let name = &item.card.name;
    if item.state == State::Making {
        bail!("clone `{name}` is being made, by process {}\nhint: end that first", item.card.maker.pid);
    }
    wait_for(async { Ok(item.say_destroying().await?) }).with_context(|| format!("clone `{name}`"))?;
    let undone = item.remove().with_context(|| format!("clone `{name}`"))?;
    if !undone.errors.is_empty() {
        let hint = "end what uses it, or destroy the clones that were made of it, then try again";
        bail!("clone `{name}`: {}\nhint: {hint}", undone.errors.join("; "));
    }
    shelf.take_off(name)?;
    let things = undone.undone.iter().map(ToString::to_string).chain(undone.labelled);
    Ok(undone.removed.iter().map(|path| path.display().to_string()).chain(things).collect())
}

/// Waits for work in a runtime of its own.
fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
