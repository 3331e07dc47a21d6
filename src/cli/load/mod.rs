//! `pgbench-rs load`: data into any server.

mod imdb;
mod job;
mod pgbench;
pub mod show;
pub mod synthetic;
mod tables;
mod target;

use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Load data into a server, each row accounted for.
///
/// Binary COPY over several connections, the largest table first; each table in one transaction with its primary key and
/// indexes. Rows that cannot be loaded are counted and stand in a folder of rejects, with line and reason. What was
/// complete when a load was ended stays, and `--existing resume` goes on from there.
#[derive(Debug, Args)]
pub struct Load {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Imdb(Box<imdb::Imdb>),
    Synthetic(Box<synthetic::SyntheticImdb>),
    Tables(Box<tables::UserTables>),
    Pgbench(pgbench::Pgbench),
    Job(Box<job::Job>),
}

impl Load {
    /// Does it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Imdb(command) => command.run(),
            Command::Synthetic(command) => command.run(),
            Command::Tables(command) => command.run(),
            Command::Pgbench(command) => command.run(),
            Command::Job(command) => command.run(),
        }
    }
}
