//! As a user who is not root: the same, with nothing installed.

use super::super::fixture::open_to_all;
use super::{Lab, children};
use std::fs;
use std::process::Command;

#[test]
fn runs_as_an_ordinary_user() {
    let lab = Lab::new();
    let program = lab.path("pgbench-rs");
    fs::copy(env!("CARGO_BIN_EXE_pgbench-rs"), &program).expect("a copy of the program");
    let home = lab.path("home");
    fs::create_dir(&home).expect("a home");
    open_to_all(&home);
    let args = ["run", "tiny.toml", "--out", "out", "--work", "work"];
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    command.args(args).current_dir(lab.dir.path()).env("HOME", &home).env_remove("XDG_STATE_HOME");
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(lab.trials().iter().all(|(_, status, _)| status == "ok"), "{:?}", lab.trials());
    assert_eq!(children(&home), [home.join(".local")]);
    assert_eq!(children(&home.join(".local/state/pgbench-rs/runs")), Vec::<std::path::PathBuf>::new());
    lab.assert_nothing_left();
}
