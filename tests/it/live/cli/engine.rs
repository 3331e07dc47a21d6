//! Runs on containers and in network namespaces that end in the midst of a partition: killed, or by Ctrl-C. All that
//! was made goes, and nothing else.

use super::super::docker::{docker, image_here, image_of};
use super::super::fixture::not_run;
use super::{Lab, TINY, children};
use nix::sys::signal::Signal;
use pgbench_rs::base::inventory::{Contents, Thing};
use pgbench_rs::driver::docker::Engine;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Partitions that overlap, one of them again and again, and a disk of the primary's own.
const CUT: &str = r#"
do.cut   = { at = "100ms", for = "CUT", measured = true, act = { kind = "partition", between = ["@primary", "@standbys"] } }
do.again = { at = "100ms", for = "200ms", every = "500ms", act = { kind = "partition", between = ["b", "@clients"] } }
"#;

/// The scenario with partitions, in phases of so many seconds.
fn cut(lasts: u32, disk: bool) -> String {
    let text = TINY.replace("lasts = \"1s\"", &format!("lasts = \"{lasts}s\"{CUT}"));
    let text = text.replace("CUT", &format!("{}s", lasts - 1));
    if disk { text.replace("role = \"primary\"", "role = \"primary\", disk = \"256MB\"") } else { text }
}

/// The options that make a run use containers; absent, and said so, where that cannot be.
pub fn on_containers(what: &str) -> Option<[String; 4]> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let image = runtime.block_on(async { image_here(&Engine::connect(None).await.ok()?).await });
    on_image(what, image)
}

/// The same, of one version.
pub fn on_version(what: &str, version: &str) -> Option<[String; 4]> {
    on_image(what, image_of(version))
}

fn on_image(what: &str, image: Option<String>) -> Option<[String; 4]> {
    let Some(image) = image.filter(|_| nix::unistd::geteuid().is_root()) else {
        not_run(what, "start a Docker engine, make the images with .ci/images, and run the tests as root");
        return None;
    };
    let version = image.rsplit(':').next().expect("a version").to_owned();
    Some(["--image".to_owned(), image, "--set".to_owned(), format!("postgres.version={version}")])
}

pub fn is_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        not_run(what, "run the tests as root");
    }
    root
}

/// Somebody else's container, network and volume.
struct Bystanders(String);

impl Bystanders {
    fn start(image: &str) -> Bystanders {
        let name = format!("bystander-of-cli-{}", std::process::id());
        let label = format!("pgbench-rs.run={name}");
        docker(&["network", "create", "--label", &label, "--subnet", "198.19.254.0/24", &name]);
        docker(&["volume", "create", "--label", &label, &name]);
        let mount = format!("{name}:/x");
        let args = ["run", "-d", "--name", &name, "--label", &label, "--network", &name, "-v", &mount];
        docker(&[&args[..], &["--entrypoint=sleep", image, "600"]].concat());
        Bystanders(name)
    }

    fn assert_untouched(&self) {
        assert_eq!(docker(&["inspect", "-f", "{{.State.Running}}", &self.0]), "true");
        docker(&["network", "inspect", &self.0]);
        docker(&["volume", "inspect", &self.0]);
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        // The image has a volume of its own, which has no name.
        for args in [&["rm", "-f", "-v"][..], &["volume", "rm"], &["network", "rm"]] {
            let _ = Command::new("docker").args(args).arg(&self.0).output();
        }
    }
}

/// Whether packets vanish in one of the networks of the run.
fn is_cut(lab: &Lab) -> bool {
    let Some(results) = children(&lab.path("out")).pop() else { return false };
    let contents = Contents::read(&results.join("inventory.jsonl")).unwrap_or_default();
    let Some(owner) = contents.owner else { return false };
    let mut networks: Vec<String> = Vec::new();
    for entry in &contents.entries {
        match &entry.thing {
            Thing::Namespace { name } => networks.push(format!("/run/netns/{name}")),
            Thing::Labelled { .. } => {
                let filter = format!("label=pgbench-rs.run={}", owner.run);
                for container in docker(&["ps", "-q", "--filter", &filter]).lines() {
                    let pid = Command::new("docker").args(["inspect", "-f", "{{.State.Pid}}", container]).output();
                    let pid = String::from_utf8(pid.expect("docker runs").stdout).expect("text");
                    networks.push(format!("/proc/{}/ns/net", pid.trim()));
                }
            }
            _ => {}
        }
    }
    networks.iter().any(|network| {
        let args = [&format!("--net={network}"), "iptables", "--list-rules", "PGBENCH-RS"];
        let rules = Command::new("nsenter").args(args).output().expect("nsenter runs");
        String::from_utf8_lossy(&rules.stdout).contains("-j DROP")
    })
}

/// The run's name and what it has made so far, as its inventory says.
fn made(lab: &Lab) -> (String, Vec<Thing>) {
    let contents = Contents::read(&lab.results().join("inventory.jsonl")).expect("an inventory");
    let run = contents.owner.expect("an owner").run;
    (run, contents.entries.into_iter().map(|entry| entry.thing).collect())
}

fn assert_gone(things: &[Thing]) {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
    for thing in things {
        let left = match thing {
            Thing::Namespace { name } => Path::new("/run/netns").join(name).exists(),
            Thing::Device { name } => Path::new("/sys/class/net").join(name).exists(),
            Thing::Mount { path } => mounts.contains(&*path.to_string_lossy()),
            Thing::Cgroup { path } | Thing::Directory { path, .. } => path.exists(),
            _ => false,
        };
        assert!(!left, "{thing} is left");
    }
    // On its devices stood its addresses.
    let loops = Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]).output();
    let loops = String::from_utf8(loops.expect("losetup runs").stdout).expect("text");
    for thing in things {
        if let Thing::Mount { path } = thing {
            assert!(!loops.contains(&*path.parent().expect("a parent").to_string_lossy()), "{loops}");
        }
    }
}

/// The names of everything on the engine that bears this run's label.
fn labelled(run: &str) -> String {
    let filter = format!("label=pgbench-rs.run={run}");
    let names = |args: &[&str]| docker(&[args, &["--filter", &filter]].concat());
    let containers = names(&["ps", "-a", "--format", "{{.Names}}"]);
    [containers, names(&["network", "ls", "--format", "{{.Name}}"]), names(&["volume", "ls", "-q"])]
        .join(" ")
        .trim()
        .to_owned()
}

fn words(listed: &Value, field: &str) -> Vec<String> {
    let words = listed[field].as_array().expect("an array");
    words.iter().map(|word| word.as_str().expect("text").to_owned()).collect()
}

#[test]
fn containers_killed_within_a_partition() {
    let Some(options) = on_containers("live::cli::engine (kill -9 of a run on containers)") else { return };
    let bystanders = Bystanders::start(&options[1]);
    let lab = Lab::with(&cut(40, true));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut started = lab.start(&options);
    started.until("packets vanish", is_cut);
    let (run, things) = made(&lab);
    assert!(things.iter().any(|thing| matches!(thing, Thing::Mount { .. })), "{things:?}");
    started.signal(Signal::SIGKILL);
    assert_eq!(started.wait().code, None);
    lab.assert_nothing_runs_soon();

    // The engine knows of an end a moment later than the kernel.
    let runs = |listed: &Value| words(listed, "others").iter().any(|other| other.contains("(runs)"));
    let began = Instant::now();
    let mut listed = lab.clean(&["--dry-run"]);
    while runs(&listed) && began.elapsed() < Duration::from_secs(5) {
        listed = lab.clean(&["--dry-run"]);
    }
    let others = words(&listed, "others");
    for kind in ["container ", "network ", "mount "] {
        assert!(others.iter().any(|other| other.starts_with(kind)), "no {kind}: {listed}");
    }
    assert!(!runs(&listed), "{listed}");
    let text = lab.call(&["clean", "--dry-run"]).stdout;
    assert!(text.contains(&format!("left    container pgbench-rs-{run}-")), "{text}");
    let before = labelled(&run);
    assert!(before.contains(&format!("pgbench-rs-{run}")), "a dry run removes nothing: {before}");

    let cleaned = lab.clean(&[]);
    assert_eq!(cleaned["errors"], json!([]));
    let mut undone = words(&cleaned, "undone");
    let mut expected = others;
    undone.sort();
    expected.sort();
    assert_eq!(undone, expected);
    assert_eq!(labelled(&run), "");
    assert_gone(&things);
    bystanders.assert_untouched();
    lab.assert_nothing_left();
}

#[test]
fn namespaces_killed_within_a_partition() {
    if !is_root("live::cli::engine (kill -9 of a run in network namespaces)") {
        return;
    }
    let lab = Lab::with(&cut(40, true));
    let mut started = lab.start(&[]);
    started.until("packets vanish", is_cut);
    let (_, things) = made(&lab);
    for kind in ["network namespace ", "network device ", "mount "] {
        assert!(things.iter().any(|thing| thing.to_string().starts_with(kind)), "no {kind}: {things:?}");
    }
    started.signal(Signal::SIGKILL);
    assert_eq!(started.wait().code, None);
    lab.assert_nothing_runs_soon();
    let cleaned = lab.clean(&[]);
    assert_eq!(cleaned["errors"], json!([]));
    assert_gone(&things);
    lab.assert_nothing_left();
}

/// The same scenario to its end, to the middle, and the partitions of a phase are taken back at its end.
#[test]
fn partitions_are_taken_back() {
    let Some(options) = on_containers("live::cli::engine (a run on containers)") else { return };
    for options in [&options[..], &[]] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let lab = Lab::with(&cut(2, false));
        let ended = lab.start(&options).wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let events = lab.text_of("events.csv");
        let count = |what: &str| events.lines().filter(|line| line.contains(what)).count();
        let (done, undone) = (count("fault.done"), count("is taken back"));
        assert!(done == undone && done == 1 + 4, "{events}");
        assert_eq!(count("fault.failed"), 0, "{events}");
        assert_gone(&made(&lab).1);
        lab.assert_nothing_left();
    }
}

#[test]
fn ctrl_c_within_a_partition() {
    let Some(options) = on_containers("live::cli::engine (Ctrl-C of a run on containers)") else { return };
    for options in [&options[..], &[]] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let lab = Lab::with(&cut(40, true));
        let mut started = lab.start(&options);
        started.until("packets vanish", is_cut);
        let (run, things) = made(&lab);
        started.signal(Signal::SIGINT);
        let ended = started.wait();
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        assert_eq!(lab.manifest()["status"], "interrupted");
        assert_eq!(labelled(&run), "");
        assert_gone(&things);
        lab.assert_nothing_left();
    }
}
