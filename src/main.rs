//! `pgbench-rs`: see `pgbench-rs --help`.

fn main() -> std::process::ExitCode {
    pgbench_rs::cli::main()
}
