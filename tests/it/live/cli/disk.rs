//! Full disks: refused before anything is done, and said plainly when it happens later.

use super::super::fixture::{not_run, open_to_all};
use super::{Ended, Lab, TINY};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own in memory, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// None when this machine does not let us, which is said.
    fn mount(at: PathBuf, size: &str) -> Option<Tmpfs> {
        let options = format!("size={size},mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => {
                open_to_all(&at);
                Some(Tmpfs(at))
            }
            _ => {
                not_run("live::cli::disk (full disks)", "run the tests as root where mounting a tmpfs is allowed");
                None
            }
        }
    }

    /// Leaves only so many bytes free.
    fn fill(&self, leave: u64) {
        let ballast = File::create(self.0.join("ballast")).expect("the ballast");
        // Whoever writes there meanwhile takes some of what was free a moment ago.
        let fits = |_| {
            let free = pgbench_rs::base::disk::free(&self.0).expect("its free space");
            let size = i64::try_from(free.saturating_sub(leave)).expect("a size");
            size == 0 || nix::fcntl::posix_fallocate(&ballast, 0, size).is_ok()
        };
        assert!((0..1000).any(fits), "no room for the ballast");
    }

    /// Makes it as roomy as it was.
    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("the ballast");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn assert_names(ended: &Ended, place: &Path, option: &str) {
    let said = ended.stderr.contains(&*place.to_string_lossy()) && ended.stderr.contains("and the run needs about");
    assert!(said && ended.stderr.contains(option), "{}", ended.stderr);
}

/// More rows than any disk of ours has room for.
const MANY: &str = r#"
[data.many]
kind = "tables"
tables.many.rows    = 1_000_000_000_000
tables.many.columns = { n = { type = "bigint", values = { kind = "sequence" } } }

[[phase]]"#;

#[test]
fn data_that_does_not_fit_is_refused_before_it_is_loaded() {
    let lab = Lab::with(&TINY.replacen("[[phase]]", MANY, 1));
    let plan = lab.call(&["plan", "tiny.toml"]);
    assert!(plan.stdout.contains("1000000000000 rows, about "), "{}{}", plan.stdout, plan.stderr);
    let ended = lab.call(&["run", "tiny.toml", "--out", "out", "--work", "work"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_names(&ended, Path::new("work"), "--work DIR");
    // By a step it is loaded as well, into every node.
    let step = TINY.replacen("[[phase]]", MANY, 1) + "do.load = { act = { kind = \"load\", data = \"many\" } }\n";
    let lab = Lab::with(&step);
    let ended = lab.call(&["run", "tiny.toml", "--out", "out", "--work", "work"]);
    assert_names(&ended, Path::new("work"), "--work DIR");
}

#[test]
fn a_place_that_is_too_small_is_refused_at_once() {
    let lab = Lab::new();
    let Some(_small) = Tmpfs::mount(lab.path("work"), "48m") else { return };
    let ended = lab.call(&["run", "tiny.toml", "--out", "out", "--work", "work"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_names(&ended, Path::new("work"), "--work DIR");
    let ended = lab.call(&["run", "tiny.toml", "--out", "work/results", "--work", "out"]);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert_names(&ended, Path::new("work/results"), "--out DIR");
    assert_eq!(super::children(&lab.path("out")), Vec::<PathBuf>::new());
    lab.assert_nothing_left();
}

#[test]
fn data_directories_that_fill_the_disk_fail_their_trials() {
    let lab = Lab::with(&TINY.replace("trials   = 1", "trials = 2"));
    let Some(small) = Tmpfs::mount(lab.path("work"), "600m") else { return };
    let mut started = lab.start(&[]);
    started.until_said("making the template");
    // Enough for the template, not for a copy of it.
    small.fill(90 << 20);
    let ended = started.wait();
    small.empty();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let trials = lab.trials();
    assert_eq!(trials.len(), 2, "{trials:?}");
    for (_, status, reason) in trials {
        assert_eq!(status, "failed");
        assert!(reason.contains("No space left on device") && reason.contains("/work/"), "{reason}");
    }
    assert_eq!(lab.manifest()["status"], "finished");
    lab.assert_nothing_left();
}

#[test]
fn results_that_fill_the_disk_end_the_run() {
    let lab = Lab::with(&TINY.replace("trials   = 1", "trials = 2"));
    let Some(small) = Tmpfs::mount(lab.path("out"), "80m") else { return };
    let mut started = lab.start(&[]);
    started.until_said("only #1: one");
    small.fill(0);
    let ended = started.wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot write out/tiny-"), "{}", ended.stderr);
    assert!(ended.stderr.contains("No space left on device") && ended.stderr.contains("--out DIR"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    small.empty();
    lab.assert_nothing_left();
}
