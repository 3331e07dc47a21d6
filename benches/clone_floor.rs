//! How near thin clones come to the floor: what the machine itself takes for the two things that cannot be left out.
//!
//! ```text
//! cargo bench --bench clone_floor -- [--rounds 15] [--scale 20] [--fs btrfs]
//! ```
//!
//! On a small file system of its own, of an idle server's directory, in each round and in turn:
//!
//! - *floor*: the snapshot command alone (`btrfs subvolume snapshot`, `cp -a --reflink=always`), and the bare start of a
//!   copy of the directory that was shut down in order, with a clone's own command line, until a login by the same
//!   protocol gets its first row. Starts of one such copy again and again (*in place*) stand beside it: their pages are in
//!   memory already.
//! - *recovery*: `clone.ready` less its checkpoint. *precooked*: `clone.ready`.
//!
//! *recovery, cold*: the same as recovery after the kernel's caches were dropped, which is beside the comparison.
//!
//! The figure is the median of the one over the median of the floor. It needs root.

#[path = "../tests/it/live/lab.rs"]
#[allow(dead_code, reason = "the live tests need more of it")]
mod lab;

use lab::{LIMIT, Lab, Offer};
use pgbench_rs::base::proc;
use pgbench_rs::base::units::Size;
use pgbench_rs::clone::{
    Base, Caller, Mode, Order, Phase, Precooked, Reach, Recipe, Recovery, Source, ThinClone, create,
};
use pgbench_rs::cluster::node::NodeSpec;
use pgbench_rs::disk::{Format, OwnDisk};
use pgbench_rs::driver::docker::Limits;
use pgbench_rs::pg::connect::connect;
use pgbench_rs::pg::programs::Installed;
use pgbench_rs::pg::{Host, Login};
use pgbench_rs::report::statistics::median;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Options {
    rounds: usize,
    scale: u32,
    fs: Option<String>,
}

fn main() {
    // `cargo bench` says so; `cargo test` starts every bench too, and this one takes minutes.
    if !std::env::args().any(|arg| arg == "--bench") {
        return println!("not measured: `make bench-clones` does");
    }
    let options = options();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for (format, snapshot) in [(Format::Btrfs, "btrfs subvolume snapshot"), (Format::Xfs, "cp -a --reflink=always")] {
        if options.fs.as_ref().is_none_or(|only| only == format.name()) {
            runtime.block_on(measure(&options, format, snapshot));
        }
    }
}

/// Milliseconds of each round.
#[derive(Default)]
struct Figures {
    snapshot: Vec<f64>,
    bare: Vec<f64>,
    in_place: Vec<f64>,
    recovery: Vec<f64>,
    precooked: Vec<f64>,
    cold: Vec<f64>,
}

async fn measure(options: &Options, format: Format, snapshot: &str) {
    let installed = Installed::find(&[]).expect("PostgreSQL");
    let offer = Offer::Programs(installed.choose(None).expect("a version").clone());
    let scale = options.scale;
    // pgbench's tables, and what rounds leave for as long as they take.
    let disk = OwnDisk { size: Size((256 << 20) + u64::from(scale) * (80 << 20)), format };
    let lab =
        Lab::start(&offer, |make| vec![NodeSpec { disk: Some(disk), slot: false, ..lab::node(make, "a", None, &[]) }])
            .await;
    let client = lab.connect("a").await;
    pgbench_rs::etl::pgbench::fill(&client, scale, |_, _| {}).await.expect("pgbench's tables");
    for sql in ["VACUUM", "CHECKPOINT"] {
        client.batch_execute(sql).await.expect(sql);
    }
    let bench = Bench::new(&lab);
    let stopped = bench.clone("floor", &bench.source, Mode::Recovery(Recovery { checkpoint: true })).await.1;
    let argv = command_line(&stopped);
    let host = stopped.host().clone();
    let login = stopped.login("floor");
    stopped.shut_down().await.expect("a shutdown");
    let base = bench.cook().await;

    let mut figures = Figures::default();
    for round in 0..options.rounds {
        figures.snapshot.push(bench.snapshot(snapshot, bench.source.data(), &format!("alone-{round}")));
        let copy = bench.beside(&format!("bare-{round}"));
        bench.snapshot(snapshot, stopped.data(), &format!("bare-{round}"));
        figures.bare.push(start(&argv, stopped.data(), &copy, &host, &login).await);
        figures.in_place.push(start(&argv, stopped.data(), stopped.data(), &host, &login).await);
        let recovery = Mode::Recovery(Recovery { checkpoint: true });
        figures.recovery.push(bench.ready(&format!("r{round}"), &bench.source, recovery).await);
        let precooked = Mode::Precooked(Precooked { checkpoint: true });
        figures.precooked.push(bench.ready(&format!("p{round}"), base.source(), precooked).await);
        for name in [format!("alone-{round}"), format!("bare-{round}")] {
            bench.remove(&name, format);
        }
    }
    // Apart from the rest: nothing of what was read before is in memory.
    for round in 0..options.rounds {
        std::fs::write("/proc/sys/vm/drop_caches", "3").expect("caches can be dropped");
        let recovery = Mode::Recovery(Recovery { checkpoint: true });
        figures.cold.push(bench.ready(&format!("c{round}"), &bench.source, recovery).await);
    }
    print(options, format, snapshot, figures);
    let left = [base.destroy().await.left, stopped.destroy().await.left].concat();
    assert!(left.is_empty(), "{left:?}");
    drop(client);
    lab.end().await;
}

fn print(options: &Options, format: Format, snapshot: &str, figures: Figures) {
    let of = |values: &[f64]| median(values).expect("rounds");
    let floor = of(&figures.snapshot) + of(&figures.bare);
    println!("{}: medians of {} rounds, scale {}", format.name(), options.rounds, options.scale);
    println!("  {snapshot:<40} {:>8.2} ms", of(&figures.snapshot));
    println!(
        "  {:<40} {:>8.2} ms (in place {:.2} ms)",
        "bare start to the first row",
        of(&figures.bare),
        of(&figures.in_place)
    );
    println!("  {:<40} {:>8.2} ms", "recovery, less its checkpoint, cold", of(&figures.cold));
    for (name, values) in [("recovery, less its checkpoint", &figures.recovery), ("precooked", &figures.precooked)] {
        println!("  {name:<40} {:>8.2} ms  {:.2} of the floor", of(values), of(values) / floor);
    }
}

struct Bench {
    source: Arc<Source>,
    place: Arc<pgbench_rs::driver::Workplace>,
    make: pgbench_rs::driver::Make,
}

impl Bench {
    fn new(lab: &Lab) -> Bench {
        let node = lab.cluster.node("a").expect("the node");
        let source = Source::running("a", &node.dir, node.host.clone(), lab.cluster.login("clone")).expect("a source");
        let installed = Installed::find(&[]).expect("PostgreSQL");
        let make = pgbench_rs::driver::Make::Process(installed.choose(None).expect("a version").clone());
        let place = node.server().place().clone();
        Bench { source: Arc::new(source.ours(node.server().clone())), place, make }
    }

    fn order(&self, name: &str) -> Order {
        Order {
            name: name.to_owned(),
            within: self.source.data().parent().expect("a directory").to_owned(),
            dir: format!("clone-{name}"),
            make: self.make.clone(),
            limits: Limits::default(),
            log: None,
            reach: Reach::Login,
            port: None,
            dbname: None,
            label: Default::default(),
        }
    }

    async fn clone(&self, name: &str, source: &Arc<Source>, mode: Mode) -> (f64, ThinClone) {
        let recipe = Recipe { mode, ..Recipe::default() };
        let attempt = create(&self.place, source, &recipe, self.order(name), Caller::default()).await;
        let ready =
            attempt.ready().map(|ready| ready.saturating_sub(attempt.took(Phase::Checkpoint).unwrap_or_default()));
        let clone = attempt.outcome.unwrap_or_else(|error| panic!("{error}"));
        (ms(ready.expect("a first row")), clone)
    }

    async fn ready(&self, name: &str, source: &Arc<Source>, mode: Mode) -> f64 {
        let (ready, clone) = self.clone(name, source, mode).await;
        let left = clone.destroy().await.left;
        assert!(left.is_empty(), "{left:?}");
        ready
    }

    async fn cook(&self) -> Base {
        let recipe = Recipe { mode: Mode::Precooked(Precooked { checkpoint: true }), ..Recipe::default() };
        let base = Base::cook(&self.place, &self.source, &recipe, self.order("base"), Caller::default()).await;
        base.unwrap_or_else(|error| panic!("{error}"))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.source.data().parent().expect("a directory").join(name)
    }

    /// How long the command takes that copies `from`.
    fn snapshot(&self, command: &str, from: &Path, name: &str) -> f64 {
        let mut words = command.split(' ');
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).arg(from).arg(self.beside(name)).stdout(Stdio::null());
        let began = Instant::now();
        let status = command.status().expect("it runs");
        assert!(status.success(), "{command:?}");
        ms(began.elapsed())
    }

    fn remove(&self, name: &str, format: Format) {
        let path = self.beside(name);
        let mut command = match format {
            Format::Btrfs => Command::new("btrfs"),
            _ => Command::new("rm"),
        };
        match format {
            Format::Btrfs => command.args(["subvolume", "delete"]),
            _ => command.arg("-r"),
        };
        assert!(command.arg(&path).stdout(Stdio::null()).status().expect("it runs").success(), "{}", path.display());
    }
}

fn command_line(clone: &ThinClone) -> Vec<String> {
    let pid = std::fs::read_to_string(clone.data().join("postmaster.pid")).expect("it runs");
    let pid = pid.lines().next().expect("a pid").to_owned();
    let argv = std::fs::read(format!("/proc/{pid}/cmdline")).expect("its command line");
    argv.split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Milliseconds from the start of the server on `copy`, with what it was started with on `data`, to its first row.
async fn start(argv: &[String], data: &Path, copy: &Path, host: &Host, login: &Login) -> f64 {
    let (from, to) = (data.display().to_string(), copy.display().to_string());
    let argv: Vec<String> = argv.iter().map(|word| word.replace(&from, &to)).collect();
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(copy).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
    if nix::unistd::geteuid().is_root() {
        let user = pgbench_rs::base::user::User::named("postgres").expect("users").expect("the user postgres");
        command.uid(user.uid).gid(user.gid);
    }
    let began = Instant::now();
    let mut child: Child = command.spawn().expect("a server");
    let client = loop {
        if let Ok(client) = connect(host, login, LIMIT).await
            && client.simple_query("SELECT 1").await.is_ok()
        {
            break client;
        }
        assert!(began.elapsed() < LIMIT && child.try_wait().expect("a child").is_none(), "it does not start");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let took = ms(began.elapsed());
    drop(client);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
    child.wait().expect("a child");
    assert!(!proc::alive().iter().any(|stat| stat.identity.pid == pid.as_raw()));
    took
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn options() -> Options {
    let mut options = Options { rounds: 15, scale: 20, fs: None };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
        let number = || value.parse().unwrap_or_else(|_| panic!("{arg} takes a number"));
        match arg.as_str() {
            "--rounds" => options.rounds = number(),
            "--scale" => options.scale = number() as u32,
            "--fs" => options.fs = Some(value),
            _ => panic!("unknown: {arg}; there are --rounds, --scale and --fs"),
        }
    }
    options
}
