//! `pgbench-rs load imdb` beside psql: the same seven files into the same end state, in turn.
//!
//! ```text
//! cargo bench --bench load -- [--rows 2000000] [--rounds 3]
//! ```
//!
//! The files are made up here, in the shape and the proportions of the public ones (`--rows` are those of title.principals).
//! Each arm loads them into a database of its own: all columns text, primary keys, logged, vacuumed and analysed, on one
//! server and with the same settings.
//!
//! - *psql, one by one*: one psql that for each file does CREATE TABLE, `\copy`, ALTER TABLE … ADD PRIMARY KEY and VACUUM
//!   (ANALYZE); `\copy` as CSV with a quote that does not occur, as its text format would change the data.
//! - *psql, seven at once*: the same, a psql for each file.
//! - *ours, text*: `pgbench-rs load imdb --schema text --indexes none`. *ours, typed* has other columns, and stands beside.
//!
//! The figures are medians; a ratio is the median of its rounds' ratios. CPU is the client's, as the system counts it.

#[path = "../tests/it/live/fixture.rs"]
#[allow(dead_code, reason = "the live tests need more of it")]
mod fixture;

use fixture::{Primary, program_path};
use nix::sys::resource::{UsageWho, getrusage};
use pgbench_rs::etl::imdb::Schema;
use pgbench_rs::etl::imdb::schema::{FILES, FileShape};
use pgbench_rs::report::statistics;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What each file has of the rows of title.principals, as of 2026-02-28.
const SHARES: [f64; 7] = [0.154, 0.564, 0.126, 0.126, 0.097, 1.0, 0.017];
/// The server's, for all arms.
const SETTINGS: [&str; 4] =
    ["max_wal_size=8GB", "checkpoint_timeout=30min", "shared_buffers=256MB", "maintenance_work_mem=256MB"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arm {
    OneByOne,
    AtOnce,
    Text,
    Typed,
}

impl Arm {
    const ALL: [Arm; 4] = [Arm::OneByOne, Arm::AtOnce, Arm::Text, Arm::Typed];

    fn name(self) -> &'static str {
        match self {
            Arm::OneByOne => "psql, one by one",
            Arm::AtOnce => "psql, seven at once",
            Arm::Text => "ours, text",
            Arm::Typed => "ours, typed",
        }
    }
}

/// What one load took.
#[derive(Clone, Copy, Debug)]
struct Took {
    wall: f64,
    cpu: f64,
}

fn main() {
    // `cargo bench` says so; `cargo test` starts every bench too, and this one takes minutes.
    if !std::env::args().any(|arg| arg == "--bench") {
        return println!("not measured: `make bench-load` does");
    }
    let (rows, rounds) = (option("--rows").unwrap_or(2_000_000), option("--rounds").unwrap_or(3));
    let dir = tempfile::tempdir().expect("a directory");
    let counts: Vec<usize> = SHARES.iter().map(|share| (share * rows as f64) as usize).collect();
    for (shape, &count) in FILES.iter().zip(&counts) {
        write(dir.path(), shape, count, rows);
    }
    let primary = Primary::start(&SETTINGS);
    let mut took: Vec<(Arm, Took)> = Vec::new();
    for round in 0..rounds {
        let mut arms = Arm::ALL;
        arms.rotate_left(round % Arm::ALL.len());
        if round % 2 == 1 {
            arms.reverse();
        }
        for arm in arms {
            let one = measure(&primary, dir.path(), arm);
            check(&primary, &counts);
            eprintln!("round {}: {}: {:.2} s, {:.2} s of CPU", round + 1, arm.name(), one.wall, one.cpu);
            took.push((arm, one));
        }
    }
    report(&took, counts.iter().sum());
}

fn report(took: &[(Arm, Took)], rows: usize) {
    let of = |arm: Arm, what: fn(&Took) -> f64| -> Vec<f64> {
        took.iter().filter(|(a, _)| *a == arm).map(|(_, took)| what(took)).collect()
    };
    println!("{rows} rows");
    println!("{:<22}{:>9}{:>12}{:>16}", "", "time", "rows/s", "CPU per row");
    for arm in Arm::ALL {
        let (wall, cpu) = (median(&of(arm, |took| took.wall)), median(&of(arm, |took| took.cpu)));
        let (rate, per_row) = (rows as f64 / wall, cpu * 1e6 / rows as f64);
        println!("{:<22}{wall:>7.2} s{rate:>12.0}{per_row:>13.3} us", arm.name());
    }
    for (name, than) in
        [("as fast as psql, one by one", Arm::OneByOne), ("as fast as psql, seven at once", Arm::AtOnce)]
    {
        let ratios: Vec<f64> =
            of(than, |t| t.wall).iter().zip(of(Arm::Text, |t| t.wall)).map(|(theirs, ours)| theirs / ours).collect();
        let (low, high) = ratios.iter().fold((f64::MAX, f64::MIN), |(low, high), r| (low.min(*r), high.max(*r)));
        println!("ours, text: {:.2} times {name} ({low:.2} to {high:.2})", median(&ratios));
    }
    let typed = median(&of(Arm::Typed, |t| t.wall)) / median(&of(Arm::Text, |t| t.wall));
    println!("typed columns take {typed:.2} times as long as text");
}

fn median(values: &[f64]) -> f64 {
    statistics::median(values).expect("there are rounds")
}

fn option(name: &str) -> Option<usize> {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1)?.parse().ok()
}

fn measure(primary: &Primary, dir: &Path, arm: Arm) -> Took {
    let fresh = "DROP DATABASE IF EXISTS load;\nCREATE DATABASE load;\nCHECKPOINT;\n";
    wait(vec![psql(primary, "postgres", fresh)]);
    let before = cpu();
    let began = Instant::now();
    wait(match arm {
        Arm::OneByOne => {
            let script = FILES.iter().map(|shape| copy(dir, shape) + &vacuum(shape));
            vec![psql(primary, "load", &script.collect::<String>())]
        }
        Arm::AtOnce => FILES.iter().map(|shape| psql(primary, "load", &copy(dir, shape))).collect(),
        Arm::Text | Arm::Typed => vec![ours(primary, dir, if arm == Arm::Text { "text" } else { "typed" })],
    });
    if arm == Arm::AtOnce {
        // A transaction that is still open keeps VACUUM from marking what it has loaded as visible to all.
        wait(FILES.iter().map(|shape| psql(primary, "load", &vacuum(shape))).collect());
    }
    Took { wall: began.elapsed().as_secs_f64(), cpu: (cpu() - before).as_secs_f64() }
}

fn wait(children: Vec<std::process::Child>) {
    for mut child in children {
        assert!(child.wait().expect("it ends").success(), "a load failed");
    }
}

/// CPU of the children that have ended: the server has not.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the usage");
    let time = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

fn copy(dir: &Path, shape: &FileShape) -> String {
    let table = shape.table(Schema::Text);
    let name = &table.name;
    format!(
        "{};\n\\copy {name} from '{}/{}.tsv' (FORMAT csv, DELIMITER E'\\t', NULL '\\N', QUOTE E'\\b', HEADER)\n\
         ALTER TABLE {name} ADD PRIMARY KEY ({});\n",
        table.create(),
        dir.display(),
        shape.file,
        table.primary_key.join(", ")
    )
}

fn vacuum(shape: &FileShape) -> String {
    format!("VACUUM (ANALYZE) {};\n", shape.table(Schema::Text).name)
}

fn psql(primary: &Primary, database: &str, script: &str) -> std::process::Child {
    let mut command = Command::new(program_path("psql"));
    command.args(["-X", "-q", "-h", "127.0.0.1", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-d", database, "-p"]);
    command.arg(primary.host.port.to_string()).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("psql is needed: apt-get install postgresql-client");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(script.as_bytes()).expect("it reads");
    child
}

fn ours(primary: &Primary, dir: &Path, schema: &str) -> std::process::Child {
    let to = format!("host=127.0.0.1 port={} user=postgres dbname=load sslmode=disable", primary.host.port);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgbench-rs"));
    command.args(["load", "imdb", "--schema", schema, "--indexes", "none", "--json", "--to", &to, "--from"]).arg(dir);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// The end state: every row, and the keys.
fn check(primary: &Primary, counts: &[usize]) {
    for (shape, count) in FILES.iter().zip(counts) {
        let name = shape.table(Schema::Text).name;
        let state = "SELECT relallvisible || ' of ' || relpages || ' pages, ' || relpersistence || ', ' || reltuples";
        let assert = format!(
            "DO $$ BEGIN IF (SELECT count(*) FROM {name}) <> {count} OR (SELECT count(*) FROM pg_index WHERE indrelid = \
             '{name}'::regclass AND indisprimary) <> 1 OR (SELECT relallvisible <> relpages OR relpages = 0 OR \
             relpersistence <> 'p' OR reltuples <= 0 FROM pg_class WHERE oid = '{name}'::regclass) THEN RAISE '{name}: %', \
             ({state} FROM pg_class WHERE oid = '{name}'::regclass); END IF; END $$;\n"
        );
        wait(vec![psql(primary, "load", &assert)]);
    }
}

/// A file of `count` rows. Nothing in it is from IMDb.
fn write(dir: &Path, shape: &FileShape, count: usize, principals: usize) {
    let mut file = BufWriter::new(File::create(dir.join(format!("{}.tsv", shape.file))).expect("a file"));
    let mut random = SmallRng::seed_from_u64(count as u64);
    writeln!(file, "{}", shape.header()).expect("it is written");
    let titles = principals / 8;
    for row in 0..count {
        let line = line(shape.file, row, titles, &mut random);
        writeln!(file, "{line}").expect("it is written");
    }
    file.flush().expect("it is written");
}

const WORDS: [&str; 12] =
    ["River", "of", "Glass", "the", "Élan", "Night", "\"Quoted\"", "and", "Дом", "Return", "Silent", "Part"];

fn words(random: &mut SmallRng, least: usize, most: usize) -> String {
    let count = random.random_range(least..=most);
    (0..count).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn line(file: &str, row: usize, titles: usize, random: &mut SmallRng) -> String {
    let title = |random: &mut SmallRng| format!("tt{:07}", random.random_range(0..titles.max(1)));
    let name = |random: &mut SmallRng| format!("nm{:07}", random.random_range(0..titles.max(1)));
    let year = random.random_range(1900..2026);
    match file {
        "name.basics" => {
            let known = [title(random), title(random), title(random)].join(",");
            format!("nm{row:07}\t{}\t{year}\t\\N\tactor,producer\t{known}", words(random, 2, 3))
        }
        "title.akas" => {
            let (of, ordering) = (row / 5, row % 5 + 1);
            format!("tt{of:07}\t{ordering}\t{}\tDE\t\\N\timdbDisplay\t\\N\t0", words(random, 1, 5))
        }
        "title.basics" => {
            let title = words(random, 1, 5);
            format!("tt{row:07}\ttvEpisode\t{title}\t{title}\t0\t{year}\t\\N\t{}\tDrama,Comedy", row % 120)
        }
        "title.crew" => format!("tt{row:07}\t{}\t{}", name(random), [name(random), name(random)].join(",")),
        "title.episode" => format!("tt{row:07}\t{}\t{}\t{}", title(random), row % 10 + 1, row % 24 + 1),
        "title.principals" => {
            let (of, ordering) = (row / 8, row % 8 + 1);
            match row % 3 {
                0 => format!("tt{of:07}\t{ordering}\t{}\tactor\t\\N\t[\"{}\"]", name(random), WORDS[row % 6]),
                1 => format!("tt{of:07}\t{ordering}\t{}\twriter\tscreenplay\t\\N", name(random)),
                _ => format!("tt{of:07}\t{ordering}\t{}\tdirector\t\\N\t\\N", name(random)),
            }
        }
        _ => format!("tt{row:07}\t{}.{}\t{}", row % 10, row % 9, row % 5000),
    }
}
