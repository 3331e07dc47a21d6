//! The command line: one file a subcommand, named as the user types it.

use crate::base::watchdog;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program.
pub fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [subcommand, inventory] if subcommand == watchdog::SUBCOMMAND => watchdog::main(Path::new(inventory)),
        _ => ExitCode::from(2),
    }
}
