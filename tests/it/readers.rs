//! The README's examples of reading a results folder with other tools, run as they stand there on the reference run that
//! they name, and held against what the report says of it.

use pgbench_rs::{record, report};
use std::path::{Path, PathBuf};
use std::process::Command;

const RUN: &str = "results/2026-11-25-2core-vm-failover";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README's code blocks in a language that hold `what`.
fn examples(language: &str, what: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md is readable");
    let begin = format!("```{language}\n");
    let blocks = readme.split(&begin).skip(1);
    let code = blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned());
    code.filter(|code| code.contains(what)).collect()
}

/// A folder in which there is `results/` with nothing but the reference run, whatever runs lie beside it here.
fn alone() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(dir.path().join("results")).expect("a folder");
    std::os::unix::fs::symlink(root().join(RUN), dir.path().join(RUN)).expect("a link");
    dir
}

/// Median write outage by variant, as the report has it.
fn reported() -> Vec<(String, f64)> {
    let record = record::read(&root().join(RUN)).expect("the reference run is readable");
    let summary = serde_json::to_value(report::summarize(&record)).expect("JSON");
    let variants = summary["variants"].as_array().expect("variants").iter().map(|variant| {
        let figures = variant["figures"].as_array().expect("figures").iter();
        let is = |figure: &&serde_json::Value| {
            figure["metric"] == "failover.write_outage" && figure["subject"].is_null() && figure["node"].is_null()
        };
        let median = figures.clone().find(is).expect("an outage")["median"].as_f64().expect("a number");
        (variant["variant"].as_str().expect("a name").to_owned(), median)
    });
    variants.collect()
}

/// Runs an example, in the language's `program` with `flag` before it; every variant must have the report's figure.
fn reads_the_same(program: &Path, flag: &str, example: &str) {
    let dir = alone();
    let output = Command::new(program).args([flag, example]).current_dir(dir.path()).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{example}\n{err}");
    let reported = reported();
    assert_eq!(reported.len(), 3, "{reported:?}");
    for (variant, median) in reported {
        let line = out.lines().find(|line| line.contains(&variant)).unwrap_or_else(|| panic!("no {variant} in {out}"));
        let numbers = line.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|word| word.parse::<f64>().ok());
        assert!(numbers.into_iter().any(|number| (number - median).abs() < 0.000_51), "{variant}: {median}, and {out}");
    }
}

/// `python3` with DuckDB and pandas, which `.ci/readers` installs.
fn python() -> Option<PathBuf> {
    Some(root().join("target/readers/bin/python")).filter(|python| python.exists())
}

#[test]
fn duckdb_and_pandas_read_what_the_report_says() {
    let Some(python) = python() else {
        return super::live::not_run("readers (DuckDB and pandas)", "run: .ci/readers");
    };
    for what in ["import duckdb", "import pandas"] {
        let examples = examples("python", what);
        assert_eq!(examples.len(), 1, "the README's example with {what}");
        reads_the_same(&python, "-c", &examples[0]);
    }
}

#[test]
fn r_reads_what_the_report_says() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("Rscript")).find(|program| program.is_file());
    let Some(program) = found else {
        return super::live::not_run("readers (R)", "install R (package r-base-core)");
    };
    let examples = examples("r", "read.csv");
    assert_eq!(examples.len(), 1, "the README's example");
    reads_the_same(&program, "-e", &examples[0]);
}

/// What is in the repository stays small, and each of its runs is whole.
#[test]
fn reference_runs_are_readable_and_small() {
    let folders =
        std::fs::read_dir(root().join("results")).expect("results").map(|entry| entry.expect("an entry").path());
    let dated =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("20")) && path.is_dir();
    let mut seen = 0;
    for folder in folders.filter(dated) {
        assert!(size(&folder) <= 1 << 20, "{} has more than 1 MB", folder.display());
        // Trials that are kept for a test of ours are no run of their own.
        if !folder.join("run.json").exists() {
            continue;
        }
        let record = record::read(&folder).expect("a reference run is readable");
        assert_eq!(record.manifest.status, record::RunStatus::Finished, "{}", folder.display());
        assert!(record.trials.iter().any(|trial| trial.status == record::Status::Ok), "{}", folder.display());
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(
            name.starts_with(&record.manifest.started_at[..10]) && name.ends_with(&record.manifest.scenario),
            "{name}"
        );
        seen += 1;
    }
    assert!(seen >= 2);
}

/// Bytes of all files in `folder` and below.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| match entry.metadata().expect("metadata") {
            metadata if metadata.is_dir() => size(&entry.path()),
            metadata => metadata.len(),
        })
        .sum()
}
