//! `postmaster.pid`, by which a server says that it runs on a data directory, and how far it has come.

/// What `postmaster.pid` says (`miscadmin.h`: one thing a line).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pidfile<'a> {
    /// The postmaster's process id, as it sees it itself.
    pub pid: i32,
    /// When it started, in seconds since 1970.
    pub started: i64,
    /// Its port.
    pub port: u16,
    /// All that never changes while it runs: every line but the last, its status.
    pub lasting: Vec<&'a str>,
    /// `starting`, `ready`, `standby`, `stopping`.
    pub status: Option<&'a str>,
}

/// Lines before that with the status.
const LASTING: usize = 7;

impl<'a> Pidfile<'a> {
    /// Reads it; none when it is not whole.
    pub fn parse(text: &'a str) -> Option<Pidfile<'a>> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        Some(Pidfile {
            pid: lines.first()?.parse().ok()?,
            started: lines.get(2)?.parse().ok()?,
            port: lines.get(3)?.parse().ok()?,
            lasting: lines.iter().take(LASTING).copied().collect(),
            status: lines.get(LASTING).copied().filter(|status| !status.is_empty()),
        })
    }
}

impl Pidfile<'_> {
    /// Whether the server accepts connections.
    pub fn accepts(&self) -> bool {
        matches!(self.status, Some("ready" | "standby"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_postmaster_writes() {
        let text = "4711\n/data\n1700000000\n5433\n/run\n127.0.0.1\n  5433001     65536\nready   \n";
        let file = Pidfile::parse(text).unwrap();
        assert_eq!((file.pid, file.port, file.status, file.accepts()), (4711, 5433, Some("ready"), true));
        assert_eq!(file.lasting.len(), 7);
        let young = Pidfile::parse("4711\n/data\n1700000000\n5433\n").unwrap();
        assert_eq!((young.status, young.accepts()), (None, false));
        assert!(!Pidfile::parse(&text.replace("ready", "starting")).unwrap().accepts());
        assert_eq!(Pidfile::parse("4711\n"), None);
    }
}
