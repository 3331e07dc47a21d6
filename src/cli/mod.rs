//! The command line: one file a subcommand, named as the user types it.

mod check;
mod clean;
mod clone;
mod compare;
mod completions;
mod dashboards;
mod destination;
mod doctor;
mod export;
mod generate;
mod history;
mod list;
mod load;
mod new;
mod plan;
mod replay;
mod report;
mod run;
mod sample;
mod selftest;
mod source;
mod template;

use crate::base::mask::mask;
use crate::driver::start::whole;
use crate::record::Record;
use crate::scenario::ScenarioErrors;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// A laboratory for PostgreSQL topologies.
///
/// A scenario file says which servers stand where, what load they get, what is done to them and what is
/// watched; `run` does all of it, measures it, tears it down and answers the scenario's question.
#[derive(Debug, Parser)]
#[command(name = "pgbench-rs", version, after_help = AFTER, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Begin with:
  pgbench-rs doctor                 what this machine offers
  pgbench-rs list                   the shipped scenarios and their questions
  pgbench-rs plan failover          everything that a run would do
  pgbench-rs run failover           do it; the answer on the terminal, the record in results/
  pgbench-rs new my.toml --from failover
  pgbench-rs clone create --from 'dbname=postgres' --data-dir DIR    a writable clone of a server that you run

Exit codes: 0 fine, 1 a claim failed or a regression, 2 bad scenario or arguments, 4 the run failed, a variant has no valid trial
or a claim cannot be judged, 3 `compare` or `history` cannot tell, 130 interrupted. Data goes to stdout, progress and messages to stderr.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Plan(plan::Plan),
    Check(check::Check),
    List(list::List),
    New(new::New),
    Report(report::Report),
    Compare(compare::Compare),
    History(history::History),
    Export(export::Export),
    Selftest(selftest::Selftest),
    Replay(replay::Replay),
    Dashboards(dashboards::Dashboards),
    Sample(sample::Sample),
    Clean(clean::Clean),
    Clone(clone::Clone),
    Load(load::Load),
    Generate(generate::Generate),
    Template(template::Template),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    /// Ends the servers of a run whose harness died; started by `run` itself
    #[command(name = "__watchdog", hide = true)]
    Watchdog {
        inventory: std::path::PathBuf,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::List(command) => command.run(),
        Command::New(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::History(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Selftest(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Dashboards(command) => command.run(),
        Command::Sample(command) => command.run(),
        Command::Clean(command) => command.run(),
        Command::Clone(command) => command.run(),
        Command::Load(command) => command.run(),
        Command::Generate(command) => command.run(),
        Command::Template(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Watchdog { inventory } => Ok(crate::clean::watchdog::main(&inventory)),
    };
    result.unwrap_or_else(|error| {
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(std::io::stderr(), "error: {}", mask(&whole(error.as_ref())));
        ExitCode::from(match () {
            () if error.is::<Usage>() || error.is::<ScenarioErrors>() => 2,
            () if error.is::<Interrupted>() => 130,
            () => 4,
        })
    })
}

/// An error of the arguments rather than of the run: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// A signal ended it, and what it had begun was undone: exit code 130.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// The record in a results folder that the command line names.
fn record(dir: &Path) -> Result<Record, Usage> {
    crate::record::read(dir).map_err(|error| Usage(whole(&error)))
}
