//! `pgbench-rs doctor`: what this machine offers, and the command that brings what is missing.

mod apart;

use crate::base::{disk, units::Size};
use crate::driver::{default_work, server_user};
use crate::pg::programs::Installed;
use crate::snapshot::{SnapshotDriver, choose};
use clap::Args;
use serde::Serialize;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Say what this machine offers: PostgreSQL versions, the user that servers run as, Docker and its images, networks
/// and disks of a server's own, how data directories are copied, InfluxDB.
///
/// Only PostgreSQL is needed to run most shipped scenarios; `partition` needs root, `small-container` and `versions` a
/// container engine. What is missing stands with the command that brings it.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Directory of PostgreSQL's programs, instead of looking for them; once for each version
    #[arg(long, value_name = "DIR")]
    postgres: Vec<PathBuf>,
    /// Where data directories would go
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// System user that servers run as when started as root
    #[arg(long, value_name = "USER")]
    server_user: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    present: bool,
    /// What was found, or what is wrong.
    found: String,
    /// Whether scenarios on bare processes need it.
    needed: bool,
    /// The command that brings it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn new(what: &'static str, result: Result<String, String>, hint: &'static str) -> Finding {
        let present = result.is_ok();
        let found = result.unwrap_or_else(|missing| missing);
        Finding { what, present, found, needed: false, hint: (!present).then(|| hint.to_owned()) }
    }

    /// What says itself what to do, in a line `hint: …`.
    fn told(what: &'static str, result: Result<String, impl std::fmt::Display>) -> Finding {
        let (present, text) = match result {
            Ok(found) => (true, found),
            Err(error) => (false, error.to_string()),
        };
        let (found, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Finding { what, present, found: found.replace('\n', "; "), needed: false, hint }
    }

    fn needed(self) -> Finding {
        Finding { needed: true, ..self }
    }
}

impl Doctor {
    /// Prints the findings; exit code 4 when something is missing without which nothing runs.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let work = self.work.clone().map_or_else(default_work, Ok)?;
        let mut findings = vec![
            Finding::new("PostgreSQL", postgres(&self.postgres), "apt-get install -y postgresql").needed(),
            Finding::new("server user", user(self.server_user.as_deref()), "useradd --system --create-home postgres")
                .needed(),
            Finding::new("work directory", work_directory(&work), "pass another one with --work DIR").needed(),
            copies(&work),
            Finding::new(
                "InfluxDB",
                influxdb(),
                "apt-get install -y influxdb && influxd & (or any server that takes line protocol on port 8086)",
            ),
        ];
        findings.extend(apart::findings());
        if self.json {
            writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(&findings)?)?;
        } else {
            print(&findings, &mut std::io::stdout().lock())?;
        }
        let fit = findings.iter().all(|finding| finding.present || !finding.needed);
        Ok(ExitCode::from(if fit { 0 } else { 4 }))
    }
}

fn print(findings: &[Finding], out: &mut impl Write) -> std::io::Result<()> {
    for finding in findings {
        let mark = match (finding.present, finding.needed) {
            (true, _) => "yes    ",
            (false, true) => "MISSING",
            (false, false) => "no     ",
        };
        writeln!(out, "{mark} {:<15} {}", finding.what, finding.found)?;
        if let Some(hint) = &finding.hint {
            writeln!(out, "{:23} hint: {hint}", "")?;
        }
    }
    Ok(())
}

fn postgres(asked: &[PathBuf]) -> Result<String, String> {
    let found = Installed::find(asked).map_err(|missing| missing.to_string())?;
    Ok(found.iter().map(|p| format!("{} in {}", p.version, p.dir.display())).collect::<Vec<_>>().join(", "))
}

fn user(asked: Option<&str>) -> Result<String, String> {
    match server_user(asked, false) {
        Ok(Some(user)) => Ok(format!("{} (uid {}), as this is root", user.name, user.uid)),
        Ok(None) => Ok(format!("uid {}, the one that runs this", nix::unistd::geteuid())),
        Err(wrong) => Err(wrong.to_string()),
    }
}

/// The nearest ancestor that exists: what a directory that is yet to be made will stand on.
fn standing(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"))
}

fn work_directory(work: &Path) -> Result<String, String> {
    let free = disk::free(work).map_err(|e| format!("{}: {e}", work.display()))?;
    Ok(format!("{}, {} free", work.display(), Size(free)))
}

/// How data directories below the work directory would be copied.
fn copies(work: &Path) -> Finding {
    let found =
        choose::look(standing(work)).map(|choice| (choice.driver, format!("`{}`: {}", choice.driver, choice.why)));
    let better = "put --work on btrfs, ZFS or XFS (mkfs.xfs -m reflink=1), or give nodes a `disk` of one";
    match found {
        Ok((SnapshotDriver::Copy, found)) => Finding::new("copies", Err(found), better),
        found => Finding::told("copies", found.map(|(_, found)| found)),
    }
}

fn influxdb() -> Result<String, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], 8086));
    let limit = Duration::from_millis(500);
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = [0; 1024];
        let n = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
    };
    let answer = ask().map_err(|e| format!("nothing answers on {address} ({e})"))?;
    let version = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("X-Influxdb-Version").then(|| value.trim().to_owned())
    });
    version.map(|v| format!("{v} on {address}")).ok_or_else(|| format!("what answers on {address} is not InfluxDB"))
}
