//! Shared memory that a killed server leaves in the system: it outlives its processes and would stay
//! until the next boot, for the data directory whose next start would remove it is removed instead.

use std::fs;
use std::path::PathBuf;

/// How the server names its POSIX segments (`dsm_impl.c`).
const POSIX_PREFIX: &str = "/dev/shm/PostgreSQL.";
/// How the kernel shows System V segments in a process's memory map.
const SYSV_PREFIX: &str = "/SYSV";

/// A segment that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A POSIX segment: a file.
    Posix(PathBuf),
    /// A System V segment, by its id.
    SysV(i32),
}

/// The segments that `pid` has mapped. Empty when it is gone or another user's.
pub fn mapped(pid: i32) -> Vec<Segment> {
    parse(&fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default())
}

fn parse(maps: &str) -> Vec<Segment> {
    let segment = |line: &str| {
        // Address, permissions, offset, device, inode (of a System V segment: its id), path.
        let mut fields = line.split_ascii_whitespace();
        let (inode, path) = (fields.nth(4)?, fields.next()?);
        match path {
            _ if path.starts_with(POSIX_PREFIX) => Some(Segment::Posix(path.into())),
            _ if path.starts_with(SYSV_PREFIX) => inode.parse().ok().map(Segment::SysV),
            _ => None,
        }
    };
    maps.lines().filter_map(segment).collect()
}

impl Segment {
    /// Removes it, unless a process is attached to it. One that is gone already, or is another user's,
    /// is none of ours to speak of.
    pub fn release(&self) {
        match self {
            Segment::Posix(path) => drop(fs::remove_file(path)),
            Segment::SysV(id) if attached(*id) == Some(0) => {
                #[expect(unsafe_code, reason = "IPC_RMID reads no buffer; the system checks id and owner")]
                unsafe {
                    nix::libc::shmctl(*id, nix::libc::IPC_RMID, std::ptr::null_mut());
                }
            }
            Segment::SysV(_) => {}
        }
    }
}

/// How many processes are attached to a System V segment.
fn attached(id: i32) -> Option<u64> {
    let table = fs::read_to_string("/proc/sysvipc/shm").ok()?;
    let mut lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let header = lines.next()?;
    let column = |name: &str| header.iter().position(|field| *field == name);
    let (of_id, of_count) = (column("shmid")?, column("nattch")?);
    let row = lines.find(|row| row.get(of_id).and_then(|field| field.parse().ok()) == Some(id))?;
    row.get(of_count)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_kinds_from_a_memory_map() {
        let maps = "7f10-7f20 rw-s 00000000 00:19 7 /dev/shm/PostgreSQL.1518406780\n\
                    7f20-7f30 rw-s 00000000 00:01 131085 /SYSV000c5e21 (deleted)\n\
                    7f30-7f40 rw-s 00000000 00:01 9 /dev/zero (deleted)\n\
                    7f40-7f50 rw-s 00000000 00:19 8 /dev/shm/other\n\
                    7f50-7f60 rw-p 00000000 00:00 0\n";
        let posix = Segment::Posix("/dev/shm/PostgreSQL.1518406780".into());
        assert_eq!(parse(maps), [posix, Segment::SysV(131_085)]);
    }
}
