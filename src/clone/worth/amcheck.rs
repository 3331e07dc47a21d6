//! `pg_amcheck`: whether tables and indexes are sound.

use crate::base::exec::Command;
use crate::clone::error::CloneError;
use crate::clone::method::any_programs;
use crate::clone::thin::ThinClone;
use serde::Serialize;
use std::time::Duration;

/// It reads everything, and every index once more.
const LIMIT: Duration = Duration::from_secs(3600);
/// How many findings are kept in words.
const KEPT: usize = 5;
/// Its exit status when it found something.
const FOUND: i32 = 2;

/// What `pg_amcheck` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amcheck {
    /// How many findings.
    pub findings: usize,
    /// The first of them.
    pub first: Vec<String>,
}

impl Amcheck {
    /// What it printed: for each finding a line that says where, and one with the particulars, indented.
    fn read(printed: &str) -> Amcheck {
        let mut found: Vec<String> = Vec::new();
        for line in printed.lines().filter(|line| !line.trim().is_empty()) {
            match found.last_mut().filter(|_| line.starts_with(char::is_whitespace)) {
                Some(last) => {
                    last.push(' ');
                    last.push_str(line.trim());
                }
                None => found.push(line.to_owned()),
            }
        }
        let findings = found.len();
        found.truncate(KEPT);
        Amcheck { findings, first: found }
    }
}

impl ThinClone {
    pub(super) async fn amcheck(&self) -> Result<Amcheck, CloneError> {
        let place = self.place();
        let programs = any_programs(place, "pg_amcheck")?;
        let (host, login) = (self.host(), self.login("pgbench-rs amcheck"));
        let who = host.who(&login);
        let command = Command::new(programs.path("pg_amcheck"), LIMIT)
            .args(["--heapallindexed", "--install-missing", "--no-password"])
            .args(["--host", &host.host, "--port", &host.port.to_string(), "--username", who.user])
            .arg(who.dbname)
            .env("PGPASSFILE", place.passfile())
            .user(place.setup.user.as_ref());
        let output = command.run_to_status(&[0, FOUND], &place.setup.inventory).await?;
        Ok(Amcheck::read(&output.stdout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_and_the_first_kept() {
        let one = "heap table \"postgres.public.t\", block 0, offset 1:\n    xmin 741 equals or exceeds next valid \
                   transaction ID 0:740\n";
        let other = "btree index \"postgres.public.t_pkey\":\n    ERROR:  heap tuple (0,1) from table \"t\" lacks \
                     matching index tuple\n";
        let read = Amcheck::read(&format!("{one}{other}{}", one.repeat(9)));
        assert_eq!((read.findings, read.first.len()), (11, KEPT));
        assert!(
            read.first[1].ends_with("t_pkey\": ERROR:  heap tuple (0,1) from table \"t\" lacks matching index tuple")
        );
        assert_eq!(Amcheck::read(""), Amcheck::default());
    }
}
