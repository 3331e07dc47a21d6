//! `pgbench-rs completions`: what the shell needs to complete commands and options.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print completions for a shell.
///
/// For bash: `pgbench-rs completions bash > ~/.local/share/bash-completion/completions/pgbench-rs`
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    /// Writes them to stdout.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        clap_complete::generate(self.shell, &mut super::Cli::command(), "pgbench-rs", &mut std::io::stdout());
        Ok(ExitCode::SUCCESS)
    }
}
