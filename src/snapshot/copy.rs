//! The driver `copy`: all bytes are read and written. It works everywhere, takes as long as there are bytes, and is what
//! the others are compared with.

use super::{Capabilities, Sharing};
use rustix::io::{Errno, read, write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// Files are read one after the other while the server writes: torn within a file and between files ("File System Level
/// Backup" in PostgreSQL's manual: the server must be shut down, or `pg_backup_start` be used).
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    atomic: false,
    keeps_write_order: false,
    shares_blocks: Sharing::Nothing,
    shares_cache: false,
    quota: false,
};

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// Copies the bytes of an open file into an empty one. Not by `copy_file_range`, which shares blocks where it can.
pub(super) fn bytes(from: OwnedFd, to: OwnedFd, buffer: &mut Vec<u8>, stop: &AtomicBool) -> Result<(), Errno> {
    buffer.resize(CHUNK, 0);
    while !stop.load(Ordering::Relaxed) {
        let n = match read(&from, &mut buffer[..]) {
            Ok(0) => break,
            Err(Errno::INTR) => continue,
            n => n?,
        };
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            match write(&to, rest) {
                Err(Errno::INTR) => {}
                n => rest = &rest[n?..],
            }
        }
    }
    Ok(())
}
