//! `--keep`: servers stay up until `clean --kept`, and nobody is told their password.

use super::super::fixture::program_path;
use super::{Lab, contents};
use std::process::Command;

#[test]
fn kept_servers_stay_until_they_are_cleaned_on_purpose() {
    let lab = Lab::new();
    let ended = lab.start(&["--keep"]).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().filter_map(|line| line.strip_prefix("kept up: ")).collect();
    assert_eq!(lines.len(), 2, "{}", ended.stdout);
    for line in &lines {
        let (node, command) = line.split_once(": ").expect("a node's name first");
        let answer = shell(&format!("{command} -Atc 'SHOW cluster_name'"));
        assert_eq!(answer.trim(), node, "{command}");
    }

    let (_, passfile) = lines[0].split_once("PGPASSFILE=").expect("a password file");
    let passfile = passfile.split(' ').next().expect("a path");
    let passfile = std::fs::read_to_string(passfile).expect("the password file");
    let password = passfile.lines().next().and_then(|line| line.rsplit(':').next()).expect("a password");
    assert!(password.len() > 8, "no password: {password}");
    let mut files = vec![("stdout".into(), ended.stdout.clone().into()), ("stderr".into(), ended.stderr.into_bytes())];
    contents(&lab.path("out"), &mut files);
    assert!(files.len() > 8, "too few: {files:?}");
    for (path, bytes) in files {
        let told = bytes.windows(password.len()).any(|part| part == password.as_bytes());
        assert!(!told, "the password stands in {}", path.display());
    }

    let servers = lab.processes().len();
    let cleaned = lab.clean(&[]);
    assert_eq!((&cleaned["killed"], &cleaned["removed"]), (&0.into(), &serde_json::json!([])));
    assert!(cleaned["kept_directories"].as_array().is_some_and(|dirs| dirs.len() >= 3), "{cleaned}");
    assert!(cleaned["kept_processes"].as_array().is_some_and(|pids| pids.len() >= 2), "{cleaned}");
    assert!(servers >= 2 && lab.processes().len() >= 2, "kept servers ended");
    lab.clean(&["--kept"]);
    lab.assert_nothing_left();
}

fn shell(command: &str) -> String {
    let bin = program_path("psql");
    let path = format!("{}:{}", bin.parent().unwrap_or(&bin).display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh").args(["-c", command]).env("PATH", path).output().expect("sh runs");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
