//! Processes as `/proc` shows them. A process is known by pid *and* start time, for pids are reused.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Which process: its pid and the time it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub started: u64,
}

impl Identity {
    /// This process.
    pub fn own() -> io::Result<Identity> {
        let pid = std::process::id() as i32;
        stat(pid).map(|stat| stat.identity).ok_or_else(|| io::Error::other(format!("cannot read /proc/{pid}/stat")))
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_alive(self) -> bool {
        self.stat().is_some_and(|stat| stat.is_alive())
    }

    /// What `/proc` says of it, if it still exists.
    pub fn stat(self) -> Option<Stat> {
        stat(self.pid).filter(|stat| stat.identity == self)
    }

    /// Sends it a signal. `Ok(false)`: it was gone already.
    pub fn signal(self, signal: Signal) -> nix::Result<bool> {
        if self.stat().is_none() {
            return Ok(false);
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) => Ok(true),
            Err(Errno::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Pid and start time.
    pub identity: Identity,
    /// Name of its program, cut to 15 bytes by the kernel.
    pub name: String,
    /// One letter: `R` running, `S` sleeping, `D` waiting for a disk, `T` stopped, `Z` dead and not reaped, …
    pub state: char,
    /// Its parent's pid.
    pub parent: i32,
    /// Its session, named by the pid of the session's leader.
    pub session: i32,
}

impl Stat {
    /// Whether it runs or could: not dead, not a zombie.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// Whether it is stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    fn parse(text: &str) -> Option<Stat> {
        // The name stands in parentheses and may itself contain some.
        let (open, close) = (text.find('(')?, text.rfind(')')?);
        let rest: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
        Some(Stat {
            identity: Identity { pid: text[..open].trim().parse().ok()?, started: rest.get(19)?.parse().ok()? },
            name: text.get(open + 1..close)?.to_owned(),
            state: rest.first()?.chars().next()?,
            parent: rest.get(1)?.parse().ok()?,
            session: rest.get(3)?.parse().ok()?,
        })
    }
}

/// What `/proc` says of `pid`, if it exists.
pub fn stat(pid: i32) -> Option<Stat> {
    Stat::parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// All processes that are alive, but for pid 1 and this process.
pub fn alive() -> Vec<Stat> {
    let own = std::process::id() as i32;
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|&pid| pid > 1 && pid != own).filter_map(stat).filter(Stat::is_alive).collect()
}

/// Of `all`, the process `root` and everything that descends from it, parents before children.
pub fn tree(all: &[Stat], root: Identity) -> Vec<Stat> {
    let mut found: Vec<Stat> = all.iter().filter(|stat| stat.identity == root).cloned().collect();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next].identity.pid;
        let known: HashSet<i32> = found.iter().map(|stat| stat.identity.pid).collect();
        let children = all.iter().filter(|s| s.parent == parent && !known.contains(&s.identity.pid));
        found.extend(children.cloned());
        next += 1;
    }
    found
}

/// Of `all`, those that run `program` with a working directory at or below one of `dirs`. Who merely
/// stands there (a shell) runs another program.
pub fn standing_in(all: &[Stat], dirs: &[(PathBuf, String)]) -> Vec<Stat> {
    let belongs = |stat: &&Stat| {
        dirs.iter().any(|(dir, program)| {
            working_directory(stat.identity.pid).is_some_and(|cwd| cwd.starts_with(dir))
                && program_name(stat.identity.pid).is_some_and(|name| name == program.as_str())
        })
    };
    all.iter().filter(belongs).cloned().collect()
}

/// The working directory of a process, also when that was removed meanwhile. `None` when it is gone
/// or another user's.
pub fn working_directory(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok().map(existing_or_not)
}

/// The command line of a process; servers show there what they are doing.
pub fn title(pid: i32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned())
}

/// Identifies this boot of the machine: start times of another boot mean nothing.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn program_name(pid: i32) -> Option<std::ffi::OsString> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok().map(existing_or_not)?;
    exe.file_name().map(OsStr::to_owned)
}

/// The kernel marks the path of a removed file or directory.
fn existing_or_not(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(bytes) => Path::new(OsStr::from_bytes(bytes)).to_owned(),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_with_parentheses() {
        let line = "42 (a) b (c) S 1 42 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987 0 0 1";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.identity, Identity { pid: 42, started: 987 });
        assert_eq!((stat.name.as_str(), stat.state, stat.parent, stat.session), ("a) b (c", 'S', 1, 41));
        assert_eq!(Stat::parse("42 (a"), None);
    }

    #[test]
    fn a_tree_is_what_descends() {
        let stat = |pid, parent| Stat {
            identity: Identity { pid, started: 1 },
            name: String::new(),
            state: 'S',
            parent,
            session: 0,
        };
        let all = [stat(5, 3), stat(3, 2), stat(2, 1), stat(4, 1)];
        let pids: Vec<i32> = tree(&all, Identity { pid: 2, started: 1 }).iter().map(|s| s.identity.pid).collect();
        assert_eq!(pids, [2, 3, 5]);
        assert!(tree(&all, Identity { pid: 2, started: 9 }).is_empty(), "a reused pid was taken for the process");
    }

    #[test]
    fn this_process_is_alive_and_a_reused_pid_is_not() {
        let own = Identity::own().unwrap();
        assert!(own.is_alive());
        assert!(!Identity { started: own.started + 1, ..own }.is_alive());
    }
}
