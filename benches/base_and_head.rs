//! The harness's own hot paths, of another commit and of the working tree, in turn on the same machine.
//!
//! ```text
//! cargo bench --bench base_and_head -- --base main [--rounds 10] [--margin 10] [--only wire,rows]
//! ```
//!
//! Both sides' criterion benches are built first, then each of them runs once a round and side, the order of the sides
//! changing from round to round (A B, B A, …), so that whatever else the machine does falls on both. A round of a
//! benchmark is one pair, the time of an iteration on either side (criterion's median of ten samples); the table has the
//! ratio over the pairs with its 95 % interval, by the same statistics as `pgbench-rs compare`. Exit code 1 where a whole
//! interval lies beyond the margin on the slow side; 2 where a side could not be built or run.

use pgbench_rs::metric::Better;
use pgbench_rs::report::statistics::median;
use pgbench_rs::report::statistics::ratio::paired;
use pgbench_rs::report::statistics::verdict::{Verdict, of_ratio};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The benches that are compared. Proxies move megabytes for seconds, and loads and clones take minutes.
const NAMES: [&str; 8] = ["histogram", "schedule", "wire", "ledger", "reconciler", "encoding", "rows", "server"];

/// What criterion is given for a round: little, because rounds are many.
const CRITERION: [&str; 8] =
    ["--bench", "--noplot", "--warm-up-time", "0.1", "--measurement-time", "0.3", "--sample-size", "10"];

/// What a benchmark is called that is slower beyond the margin.
const SLOWER: &str = "**slower**";

type Failed = Box<dyn std::error::Error>;

/// What the command line asks for.
struct Options {
    base: String,
    rounds: usize,
    margin: f64,
    only: Vec<String>,
}

/// Nanoseconds an iteration, by benchmark, of one run.
type Times = BTreeMap<String, f64>;

/// A commit's benches, by name, and what each of their benchmarks took, by round.
struct Side {
    benches: BTreeMap<String, PathBuf>,
    times: BTreeMap<String, Vec<f64>>,
}

fn main() -> ExitCode {
    // `cargo bench` says so; `cargo test` starts every bench too, and this one takes minutes.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("not measured: `make bench-compare BASE=main` does");
        return ExitCode::SUCCESS;
    }
    match options().and_then(|options| compare(&options)) {
        Ok(slower) => ExitCode::from(u8::from(slower)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Failed> {
    let mut options = Options { base: "main".into(), rounds: 10, margin: 0.1, only: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--base" => options.base = value()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--margin" => options.margin = value()?.parse::<f64>()? / 100.0,
            "--only" => options.only = value()?.split(',').map(ToOwned::to_owned).collect(),
            // What `cargo bench` itself passes on.
            "--bench" => {}
            other => return Err(format!("{other}: known are --base, --rounds, --margin, --only").into()),
        }
    }
    if options.rounds < 2 {
        return Err("one round has no interval\nhint: --rounds 2 or more".into());
    }
    Ok(options)
}

/// Builds, runs, prints, and tells whether something is slower beyond the margin.
fn compare(options: &Options) -> Result<bool, Failed> {
    let head = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = head.join("target/bench-compare");
    let commit = git(head, &["rev-parse", "--verify", "--short", &format!("{}^{{commit}}", options.base)])?;
    let tree = Worktree::of(head, &work.join("source"), &commit)?;
    let mut sides = [side(&tree.path, head, options)?, side(head, head, options)?];
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for name in NAMES {
            for which in order {
                let Some(program) = sides[which].benches.get(name) else { continue };
                for (benchmark, time) in run(name, program, &work.join("criterion"))? {
                    sides[which].times.entry(benchmark).or_default().push(time);
                }
            }
        }
    }
    let (table, slower) = table(&sides, &format!("{} ({commit})", options.base), options);
    std::fs::write(work.join("table.md"), &table)?;
    print!("{table}");
    Ok(slower)
}

/// A commit checked out beside the working tree, for as long as this lives.
struct Worktree<'a> {
    repository: &'a Path,
    path: PathBuf,
}

impl Worktree<'_> {
    fn of<'a>(repository: &'a Path, path: &Path, commit: &str) -> Result<Worktree<'a>, Failed> {
        // One that a killed run left.
        if path.exists() {
            std::fs::remove_dir_all(path)?;
        }
        git(repository, &["worktree", "prune"])?;
        let tree = Worktree { repository, path: path.to_owned() };
        git(repository, &["worktree", "add", "--detach", &path.display().to_string(), commit])?;
        Ok(tree)
    }
}

impl Drop for Worktree<'_> {
    fn drop(&mut self) {
        if let Err(error) = git(self.repository, &["worktree", "remove", "--force", &self.path.display().to_string()]) {
            eprintln!("warning: {error}");
        }
    }
}

fn git(of: &Path, args: &[&str]) -> Result<String, Failed> {
    let output = Command::new("git").arg("-C").arg(of).args(args).output()?;
    if !output.status.success() {
        return Err(format!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Builds the benches that the sources in `source` have. Dependencies are the same ones and are built once: both sides
/// share the target directory of `head`.
fn side(source: &Path, head: &Path, options: &Options) -> Result<Side, Failed> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let names =
        NAMES.into_iter().filter(|name| wanted(name)).filter(|name| source.join(format!("benches/{name}.rs")).exists());
    let benches = names.flat_map(|name| ["--bench", name]);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["bench", "--no-run", "--locked", "--message-format=json-render-diagnostics"]).args(benches);
    cargo.current_dir(source).env("CARGO_TARGET_DIR", head.join("target"));
    let output = cargo.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the benches in {} do not build", source.display()).into());
    }
    let mut benches = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let message: serde_json::Value = serde_json::from_slice(line)?;
        let is_bench = message["target"]["kind"][0] == "bench";
        if let (true, Some(name), Some(program)) =
            (is_bench, message["target"]["name"].as_str(), message["executable"].as_str())
        {
            benches.insert(name.to_owned(), PathBuf::from(program));
        }
    }
    if benches.is_empty() {
        return Err(format!("no bench to compare in {}", source.display()).into());
    }
    Ok(Side { benches, times: BTreeMap::new() })
}

/// Runs a bench once.
fn run(name: &str, program: &Path, home: &Path) -> Result<Times, Failed> {
    if home.exists() {
        std::fs::remove_dir_all(home)?;
    }
    let output = Command::new(program).args(CRITERION).env("CRITERION_HOME", home).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    let mut times = Times::new();
    results(name, home, &mut times)?;
    if times.is_empty() {
        Err(format!("{} left no result in {}", program.display(), home.display()).into())
    } else {
        Ok(times)
    }
}

/// Reads what criterion left in `folder` and below, a folder `new` for each benchmark.
fn results(bench: &str, folder: &Path, times: &mut Times) -> Result<(), Failed> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name == "new") {
            let json = |file: &str| -> Result<serde_json::Value, Failed> {
                Ok(serde_json::from_slice(&std::fs::read(path.join(file))?)?)
            };
            let (about, estimates) = (json("benchmark.json")?, json("estimates.json")?);
            let id = about["full_id"].as_str().ok_or("a benchmark without a name")?;
            let time = estimates["median"]["point_estimate"].as_f64().ok_or("no median")?;
            times.insert(format!("{bench}: {id}"), time);
        } else if path.is_dir() {
            results(bench, &path, times)?;
        }
    }
    Ok(())
}

/// The table as Markdown, and whether something is slower beyond the margin.
fn table(sides: &[Side; 2], base: &str, options: &Options) -> (String, bool) {
    let [was, is] = sides;
    let (mut rows, mut counts) = (String::new(), BTreeMap::<&str, usize>::new());
    for (name, after) in &is.times {
        let Some(before) = was.times.get(name) else {
            let _ = writeln!(rows, "| {name} | – | {} | – | new |", typical(after));
            continue;
        };
        let pairs: Vec<(f64, f64)> = before.iter().copied().zip(after.iter().copied()).collect();
        let ratio = paired(&pairs);
        let verdict = ratio.map_or(Verdict::CannotTell, |ratio| of_ratio(&ratio, options.margin, Better::Lower));
        let word = match verdict {
            Verdict::Worse => SLOWER,
            Verdict::Better => "faster",
            other => other.name(),
        };
        *counts.entry(word).or_default() += 1;
        let ratio = ratio.map_or_else(|| "–".into(), |r| format!("{:.3} ({:.3}–{:.3})", r.estimate, r.low, r.high));
        let _ = writeln!(rows, "| {name} | {} | {} | {ratio} | {word} |", typical(before), typical(after));
    }
    for name in was.times.keys().filter(|name| !is.times.contains_key(*name)) {
        let _ = writeln!(rows, "| {name} | {} | – | – | gone |", typical(&was.times[name]));
    }
    let slower = counts.contains_key(SLOWER);
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let text = format!(
        "### Hot paths beside {base}\n\n{}: of {} rounds, both sides in turn; margin {:.0} %.\n\n\
         | benchmark | base | head | head / base (95 %) | verdict |\n| --- | --- | --- | --- | --- |\n{rows}\n\
         Medians of an iteration; the ratio is that of geometric means over the rounds. Slower and faster: the whole interval lies \
         beyond the margin; same: all of it within. One interval in twenty leaves out the true ratio.\n",
        counts.join(", "),
        options.rounds,
        options.margin * 100.0
    );
    (text, slower)
}

/// The median time of an iteration.
fn typical(nanoseconds: &[f64]) -> String {
    let time = median(nanoseconds).unwrap_or(f64::NAN);
    let (factor, unit) =
        [(1e9, "s"), (1e6, "ms"), (1e3, "µs")].into_iter().find(|(f, _)| time >= *f).unwrap_or((1.0, "ns"));
    format!("{:.3} {unit}", time / factor)
}
