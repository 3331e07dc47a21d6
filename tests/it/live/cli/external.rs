//! Servers that somebody else runs, here: two that the test itself starts, and whose log-ins, data and lives the program
//! has no say in.

use super::super::access::authority::{Authority, private};
use super::super::fixture::{open_to_all, program_path, server_command};
use super::{Lab, contents};
use nix::sys::signal::Signal;
use pgbench_rs::base::user::User;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The password of the role, which must show nowhere.
const SECRET: &str = "Hunter2Geheim";

/// A primary and a standby that take the role `bench` over TLS only, and their authority's certificate.
struct Theirs {
    _dir: tempfile::TempDir,
    authority: PathBuf,
    primary: Server,
    standby: Server,
}

/// One of them, ended when dropped.
struct Server {
    data: PathBuf,
    port: u16,
}

const RULES: &str = "\
hostssl all         bench    127.0.0.1/32 scram-sha-256
host    all         postgres 127.0.0.1/32 trust
host    replication postgres 127.0.0.1/32 trust
";

fn done(command: &mut std::process::Command) -> String {
    // A server that goes on must not hold a pipe.
    let output = command.output().expect("PostgreSQL's programs are needed: apt-get install postgresql");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{command:?}: {} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

impl Server {
    fn new(dir: &Path, name: &str) -> Server {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port();
        Server { data: dir.join(name), port }
    }

    fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    fn start(&self) {
        done(server_command("pg_ctl").args(["-w", "-D"]).arg(&self.data).arg("-l").arg(self.log()).arg("start"));
    }

    fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = server_command("psql");
        psql.args(["-X", "-At", "-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string(), "-d", database]);
        done(psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql]))
    }

    fn pid(&self) -> Option<String> {
        let file = std::fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        file.lines().next().map(str::to_owned)
    }

    /// A shell command with one of PostgreSQL's programs, as who runs the server.
    fn shell(&self, program: &str, args: &str) -> String {
        let program = program_path(program);
        let user = match nix::unistd::geteuid().is_root() {
            true => "setpriv --reuid=postgres --regid=postgres --init-groups -- ",
            false => "",
        };
        format!("{user}{} -D {} {args}", program.display(), self.data.display())
    }

    fn kill(&self) -> String {
        format!("kill -9 $(head -n 1 {}/postmaster.pid)", self.data.display())
    }

    /// What is left of a killed server needs a moment to end.
    fn start_again(&self) -> String {
        let start = self.shell("pg_ctl", &format!("-w -l {} start >/dev/null 2>&1 </dev/null", self.log().display()));
        format!("for i in $(seq 50); do {start} && exit 0; sleep 0.1; done; exit 1")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = server_command("pg_ctl").args(["-m", "immediate", "-D"]).arg(&self.data).arg("stop").output();
    }
}

impl Theirs {
    fn start() -> Theirs {
        let dir = tempfile::Builder::new().prefix("pgbench-rs-theirs-").tempdir().expect("a temporary directory");
        open_to_all(dir.path());
        let (primary, standby) = (Server::new(dir.path(), "a"), Server::new(dir.path(), "b"));
        let authority = Authority::new("theirs");
        let signed = authority.sign("localhost", &["localhost"]);
        done(server_command("initdb").args(["-U", "postgres", "-A", "trust", "-N", "-D"]).arg(&primary.data));
        let port = |port| format!("port = {port}\n");
        let conf = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nssl = on\n";
        let own = std::fs::read_to_string(primary.data.join("postgresql.conf")).expect("postgresql.conf");
        for (name, text) in [
            ("server.crt", signed.certificate.as_str()),
            ("server.key", &signed.key),
            ("pg_hba.conf", RULES),
            ("postgresql.conf", &format!("{own}\n{conf}{}", port(primary.port))),
        ] {
            owned(&primary.data.join(name), text);
        }
        primary.start();
        let mut backup = server_command("pg_basebackup");
        backup.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &primary.port.to_string(), "-c", "fast", "-R", "-D"]);
        done(backup.arg(&standby.data));
        owned(&standby.data.join("postgresql.conf"), &format!("{own}\n{conf}{}", port(standby.port)));
        standby.start();
        primary.sql("postgres", &format!("CREATE ROLE bench LOGIN PASSWORD '{SECRET}'"));
        primary.sql("postgres", "GRANT pg_monitor TO bench");
        primary.sql("postgres", "CREATE DATABASE shop");
        primary.sql("shop", "CREATE SCHEMA bench AUTHORIZATION bench");
        let path = dir.path().join("authority.crt");
        private(&path, &authority.pem);
        Theirs { _dir: dir, authority: path, primary, standby }
    }

    fn conninfo(&self, server: &Server) -> String {
        let (port, authority) = (server.port, self.authority.display());
        format!(
            "host=localhost port={port} dbname=shop user=bench password={SECRET} sslmode=verify-full \
             sslrootcert={authority}"
        )
    }

    /// `driver = …` of a server, with these commands.
    fn driver(&self, server: &Server, commands: &[(&str, &str)]) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut driver = format!("{{ kind = \"external\", conninfo = {}", quoted(&self.conninfo(server)));
        for (name, command) in commands {
            driver += &format!(", {name} = {}", quoted(command));
        }
        driver + " }"
    }

    /// A scenario with everything that measures; `phases` come at its end.
    fn scenario(&self, primary: &[(&str, &str)], standby: &[(&str, &str)], phases: &str) -> String {
        let (a, b) = (self.driver(&self.primary, primary), self.driver(&self.standby, standby));
        format!(
            r#"
name     = "tiny"
question = "What do servers of somebody else's bear?"
answer   = ["load.tps"]

[node]
a = {{ role = "primary", driver = {a} }}
b = {{ role = "standby", follows = "a", driver = {b} }}

[load.app]
mix     = {{ kind = "tpcb", scale = 1 }}
profile = {{ kind = "open", rate = 50 }}
clients = 2
timeout = "1s"

[probe.ledger]
rate = 50

[probe.visibility]

{phases}
"#
        )
    }

    /// Tables of ours, on whichever of the servers is the primary.
    fn tables(&self, server: &Server) -> String {
        server
            .sql("shop", "SELECT string_agg(tablename, ' ' ORDER BY 1) FROM pg_tables WHERE tablename LIKE 'pgbench%'")
    }
}

/// A file that only the server's user can read.
fn owned(path: &Path, text: &str) {
    private(path, text);
    if nix::unistd::geteuid().is_root() {
        let user = User::named("postgres").expect("users").expect("the user of the server");
        user.own(path).expect("chown");
    }
}

fn values(lab: &Lab, metric: &str) -> Vec<f64> {
    let mut csv = csv::Reader::from_path(lab.results().join("summary.csv")).expect("summary.csv");
    let rows = csv.records().map(|row| row.expect("a row"));
    rows.filter(|row| &row[7] == metric && row[6].is_empty()).map(|row| row[9].parse().expect("a number")).collect()
}

fn assert_no_secret(lab: &Lab, said: &[&str]) {
    let mut found = Vec::new();
    for folder in ["out", "state", "work"] {
        contents(&lab.path(folder), &mut found);
    }
    for (path, bytes) in &found {
        assert!(!String::from_utf8_lossy(bytes).contains(SECRET), "the password shows in {}", path.display());
    }
    for text in said {
        assert!(!text.contains(SECRET), "the password shows: {text}");
    }
}

const CALM: &str = "[[phase]]\nname = \"one\"\nlasts = \"2s\"\n";

#[test]
fn a_run_on_them_measures_and_leaves_nothing() {
    let theirs = Theirs::start();
    let lab = Lab::with(&theirs.scenario(&[], &[], CALM).replace("[node]", "trials = 2\n[node]"));
    let set = format!("node.b.driver.conninfo={}", theirs.conninfo(&theirs.standby));
    let before = (theirs.primary.pid(), theirs.standby.pid());
    let ended = lab.start(&["--set", &set]).wait();
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let statuses: Vec<String> = lab.trials().into_iter().map(|(_, status, reason)| status + &reason).collect();
    assert_eq!(statuses, ["ok", "ok"]);
    let manifest = lab.manifest();
    assert_eq!((&manifest["driver"], &manifest["colocated"]), (&"external".into(), &false.into()));
    let conninfo = manifest["servers"][0]["conninfo"].as_str().expect("a conninfo");
    assert!(conninfo.contains("password=****") && conninfo.contains("sslmode=verify-full"), "{conninfo}");
    assert_eq!(values(&lab, "ledger.acked_lost"), [0.0, 0.0]);
    assert!(values(&lab, "ledger.acked").iter().all(|acked| *acked > 50.0), "{:?}", values(&lab, "ledger.acked"));
    let summary = lab.text_of("summary.csv");
    assert!(summary.contains(",a>b,lag.visible"), "{summary}");
    assert_eq!(theirs.tables(&theirs.primary), "");
    assert_eq!(before, (theirs.primary.pid(), theirs.standby.pid()));
    assert!(lab.results().join("nodes").read_dir().expect("a folder").next().is_none(), "logs of theirs");
    assert_no_secret(&lab, &[&ended.stdout, &ended.stderr, &lab.call(&["plan", "tiny.toml", "--json"]).stdout]);
    lab.assert_nothing_left();
}

#[test]
fn their_commands_kill_and_start_and_their_tables_stay() {
    let theirs = Theirs::start();
    let primary = &theirs.primary;
    let mut pgbench = server_command("pgbench");
    pgbench.args(["-i", "-q", "-h", "127.0.0.1", "-U", "postgres", "-p", &primary.port.to_string(), "shop"]);
    done(&mut pgbench);
    for table in ["accounts", "branches", "history", "tellers"] {
        primary.sql("shop", &format!("ALTER TABLE pgbench_{table} OWNER TO bench"));
    }
    let phases = "[[phase]]\nname = \"kill\"\nlasts = \"6s\"\n\
                  do.kill = { at = \"1s\", act = { kind = \"kill\", of = \"@primary\" }, for = \"1s\" }\n";
    let (kill, start) = (primary.kill(), primary.start_again());
    let lab = Lab::with(&theirs.scenario(&[("kill", &kill), ("start", &start)], &[], phases));
    let before = primary.pid();
    let ended = lab.start(&[]).wait();
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    assert_eq!(lab.trials()[0].1, "ok", "{:?}", lab.trials());
    let outage = values(&lab, "failover.write_outage");
    assert!(matches!(outage[..], [outage] if (0.9..4.5).contains(&outage)), "{outage:?}");
    assert_eq!(values(&lab, "ledger.acked_lost"), [0.0]);
    assert!(ended.stderr.contains("are used as they are, and left"), "{}", ended.stderr);
    assert!(primary.pid().is_some() && primary.pid() != before);
    assert_eq!(theirs.tables(primary), "pgbench_accounts pgbench_branches pgbench_history pgbench_tellers");
    assert_no_secret(&lab, &[&ended.stdout, &ended.stderr]);
    lab.assert_nothing_left();
}

#[test]
fn ctrl_c_gives_them_back() {
    let theirs = Theirs::start();
    let (kill, start) = (theirs.primary.kill(), theirs.primary.start_again());
    let phases = "[[phase]]\nname = \"one\"\nlasts = \"40s\"\n\
                  do.kill = { at = \"1s\", act = { kind = \"kill\", of = \"a\" } }\n";
    let lab = Lab::with(&theirs.scenario(&[("kill", &kill), ("start", &start)], &[], phases));
    let standby = theirs.standby.pid();
    let primary = theirs.primary.pid().expect("it runs");
    let mut started = lab.start(&[]);
    started.until_said("only #1: one");
    started.until("killed", |_| !Path::new(&format!("/proc/{primary}")).exists());
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert_eq!(theirs.tables(&theirs.primary), "", "{}", ended.stderr);
    assert_eq!(theirs.standby.pid(), standby);
    lab.assert_nothing_left();
}

#[test]
fn a_switchover_is_the_command_of_a_standby() {
    let theirs = Theirs::start();
    let promote = theirs.standby.shell("pg_ctl", "-w promote");
    let phases = "[[phase]]\nname = \"switch\"\nlasts = \"4s\"\n\
                  do.over = { at = \"1s\", act = { kind = \"switchover\" } }\n";
    let lab = Lab::with(&theirs.scenario(&[], &[("promote", &promote)], phases));
    let ended = lab.start(&[]).wait();
    let events = lab.text_of("events.csv");
    assert!(events.contains(",switchover.promoted,b,b accepts writes"), "{events} {}", ended.stderr);
    assert_eq!(theirs.standby.sql("shop", "SELECT pg_is_in_recovery()"), "f");
    // The old primary was not told to stop, so there are two.
    assert_eq!((theirs.tables(&theirs.primary), theirs.tables(&theirs.standby)), (String::new(), String::new()));
    lab.assert_nothing_left();
}

#[test]
fn a_way_to_them_is_slowed_here() {
    let theirs = Theirs::start();
    let phases = format!("{CALM}\n[link.wan]\nbetween = [\"@clients\", \"a\"]\nrtt = \"20ms\"\n");
    let lab = Lab::with(&theirs.scenario(&[], &[], &phases).replace("tpcb", "select_only"));
    let ended = lab.start(&[]).wait();
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let summary = lab.text_of("summary.csv");
    let median = summary.lines().find(|line| line.contains(",app,load.service.p50,")).expect("a median");
    let seconds: f64 = median.rsplit(',').next().and_then(|value| value.parse().ok()).expect("a number");
    assert!((0.02..0.2).contains(&seconds), "{median}");
}

#[test]
fn two_runs_do_not_share_a_schema() {
    let theirs = Theirs::start();
    let lab = Lab::with(&theirs.scenario(&[], &[], &CALM.replace("2s", "40s")));
    let mut first = lab.start(&[]);
    first.until_said("only #1: one");
    let other = Lab::with(&theirs.scenario(&[], &[], CALM));
    let ended = other.start(&[]).wait();
    let (_, status, reason) = other.trials().remove(0);
    assert_eq!((ended.code, status.as_str()), (Some(4), "failed"), "{}", ended.stderr);
    assert!(reason.contains("another run is using database shop on localhost"), "{reason}");
    assert!(theirs.tables(&theirs.primary).contains("pgbench_rs_ledger"), "the first one's tables are gone");
    first.signal(Signal::SIGINT);
    assert_eq!(first.wait().code, Some(130));
    assert_eq!(theirs.tables(&theirs.primary), "");
}

#[test]
fn clean_says_what_a_killed_run_may_have_left() {
    let theirs = Theirs::start();
    let lab = Lab::with(&theirs.scenario(&[], &[], &CALM.replace("2s", "40s")));
    let mut started = lab.start(&[]);
    started.until_said("only #1: one");
    started.signal(Signal::SIGKILL);
    started.wait();
    assert!(theirs.tables(&theirs.primary).contains("pgbench_rs_ledger"));
    let left = lab.clean(&["--dry-run"]);
    let said = left["others"].to_string();
    let port = theirs.primary.port;
    for part in [&format!("database shop on localhost:{port}, as bench"), "DROP TABLE IF EXISTS pgbench_rs_ledger"] {
        assert!(said.contains(part), "{left}");
    }
    for text in [&said, &lab.text_of("inventory.jsonl"), &lab.text_of("run.json"), &lab.text("stderr")] {
        assert!(!text.contains(SECRET), "the password shows: {text}");
    }
    lab.clean(&[]);
    lab.assert_nothing_left();
}

#[test]
fn what_cannot_be_reached_or_is_otherwise_is_said() {
    let theirs = Theirs::start();
    let wrong = theirs.scenario(&[], &[], CALM).replace("password=", "password=not");
    let ended = Lab::with(&wrong).start(&[]).wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("password authentication failed"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(SECRET) && !ended.stdout.contains(SECRET), "{}", ended.stderr);

    let swapped = theirs.scenario(&[], &[], CALM);
    let (a, b) = (format!("port={}", theirs.primary.port), format!("port={}", theirs.standby.port));
    let swapped = swapped.replace(&a, "port=X").replace(&b, &a).replace("port=X", &b);
    let lab = Lab::with(&swapped);
    let ended = lab.start(&[]).wait();
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(lab.trials()[0].2.contains("`a` is to be a primary, and its server is a standby"), "{:?}", lab.trials());

    let settings = theirs.scenario(&[], &[], CALM) + "[postgres.settings]\nwork_mem = \"5MB\"\n";
    let lab = Lab::with(&settings);
    lab.start(&[]).wait();
    let (_, status, reason) = lab.trials().remove(0);
    assert_eq!(status, "invalid");
    assert!(reason.contains("work_mem should be `5MB` and is `4MB`"), "{reason}");
    assert_eq!(theirs.tables(&theirs.primary), "");
}
