//! The control file of a data directory (`global/pg_control`), read without `pg_controldata`: a program takes longer
//! to start than a file to read, and is not there for servers in containers.

use super::control::{CONTROL_FILE, ControlData, ControlError};
use super::lsn::Lsn;
use std::path::Path;

/// The versions of the control file's layout that are known (`PG_CONTROL_VERSION`), of PostgreSQL 13 to 18: in
/// all of them what is read here lies at the same places, but for the checksum.
const LAYOUTS: [u32; 3] = [1300, 1700, 1800];
/// `DBState` in words, as `pg_controldata` prints them.
const STATES: [&str; 7] = [
    "starting up",
    "shut down",
    "shut down in recovery",
    "shutting down",
    "in crash recovery",
    "in archive recovery",
    "in production",
];
/// How often a file is read again that a server was just writing.
const ATTEMPTS: u32 = 100;

/// `wal_level` as the control file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WalLevel {
    /// Enough for crash recovery.
    Minimal,
    /// Enough for standbys.
    Replica,
    /// Enough for logical decoding.
    Logical,
}

impl WalLevel {
    /// As the setting has it.
    pub fn name(self) -> &'static str {
        match self {
            WalLevel::Minimal => "minimal",
            WalLevel::Replica => "replica",
            WalLevel::Logical => "logical",
        }
    }
}

/// What a control file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFile {
    /// Which cluster: the same in every physical copy of it, standbys included.
    pub system_identifier: u64,
    /// `PG_CONTROL_VERSION`.
    pub layout: u32,
    /// `shut down`, `in production`, …
    pub state: &'static str,
    /// Where the latest checkpoint record begins.
    pub checkpoint: Lsn,
    /// From where recovery would read.
    pub redo: Lsn,
    /// The timeline of that checkpoint.
    pub timeline: u32,
    /// Whether the server that made that checkpoint writes whole pages to its WAL; of a standby, its primary.
    pub full_page_writes: bool,
    /// How far recovery must come before a standby's directory is consistent; zero on a primary.
    pub min_recovery: Lsn,
    /// `wal_level` of the server that wrote the latest checkpoint or parameter change.
    pub wal_level: WalLevel,
    /// `max_connections`, as are those that follow: a standby must have no less.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// `max_wal_senders`.
    pub max_wal_senders: i32,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: i32,
    /// Whether commit times are kept.
    pub track_commit_timestamp: bool,
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of a WAL segment.
    pub wal_segment_size: u32,
    /// Whether data pages have checksums.
    pub data_checksums: bool,
}

impl ControlFile {
    /// Reads that of a data directory. A running server may be writing it: what has not its right checksum is read
    /// again. The file must have been written by a machine of the same byte order.
    pub fn read(dir: &Path) -> Result<ControlFile, ControlError> {
        let path = dir.join(CONTROL_FILE);
        let mut attempt = 1;
        loop {
            let bytes = std::fs::read(&path).map_err(|source| ControlError::Io { path: path.clone(), source })?;
            match ControlFile::decode(&bytes) {
                Ok(file) => return Ok(file),
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(why) => return Err(ControlError::Unknown { path, why }),
            }
        }
    }

    /// What its bytes say, else what is wrong with them.
    ///
    /// `ControlFileData` (`pg_control.h`): the checkpoint itself, `checkPointCopy`, stands at 40 and takes 88 bytes.
    pub fn decode(bytes: &[u8]) -> Result<ControlFile, String> {
        let layout = read_u32(bytes, 8)?;
        if !LAYOUTS.contains(&layout) {
            return Err(format!("version {layout} of its layout is not known"));
        }
        // `default_char_signedness` of 18 moves the nonce by one byte, and the checksum to the next multiple of four.
        let end = if layout == 1800 { 292 } else { 288 };
        let (said, is) = (read_u32(bytes, end)?, crc32c(&bytes[..end]));
        if said != is {
            return Err(format!("its checksum is {is:08x}, and it says {said:08x}"));
        }
        let state = read_u32(bytes, 16)?;
        let known = usize::try_from(state).ok().and_then(|state| STATES.get(state));
        let wal_level = match read_u32(bytes, 172)? {
            0 => WalLevel::Minimal,
            1 => WalLevel::Replica,
            2 => WalLevel::Logical,
            other => return Err(format!("wal_level {other} is not known")),
        };
        Ok(ControlFile {
            system_identifier: read_u64(bytes, 0)?,
            layout,
            state: known.ok_or_else(|| format!("state {state} is not known"))?,
            checkpoint: Lsn(read_u64(bytes, 32)?),
            redo: Lsn(read_u64(bytes, 40)?),
            timeline: read_u32(bytes, 48)?,
            full_page_writes: bytes[56] != 0,
            min_recovery: Lsn(read_u64(bytes, 136)?),
            wal_level,
            max_connections: read_i32(bytes, 180)?,
            max_worker_processes: read_i32(bytes, 184)?,
            max_wal_senders: read_i32(bytes, 188)?,
            max_prepared_transactions: read_i32(bytes, 192)?,
            max_locks_per_transaction: read_i32(bytes, 196)?,
            track_commit_timestamp: bytes[200] != 0,
            block_size: read_u32(bytes, 216)?,
            wal_segment_size: read_u32(bytes, 228)?,
            data_checksums: read_u32(bytes, 252)? != 0,
        })
    }

    /// Whether the server was shut down in order.
    pub fn is_shut_down(&self) -> bool {
        self.state.starts_with("shut down")
    }

    /// Name of the WAL segment of this timeline that holds the byte at `lsn`.
    pub fn segment(&self, lsn: Lsn) -> String {
        self.segment_name(lsn.0 / u64::from(self.wal_segment_size))
    }

    /// Names of the WAL segments of this timeline from that of `from` to that of the last byte before `to`.
    pub fn segments(&self, from: Lsn, to: Lsn) -> impl Iterator<Item = String> {
        let size = u64::from(self.wal_segment_size);
        let (first, last) = (from.0 / size, to.0.saturating_sub(1) / size);
        (first..=last.max(first)).map(|number| self.segment_name(number))
    }

    /// `XLogFileName` (`xlog_internal.h`).
    fn segment_name(&self, number: u64) -> String {
        let in_an_id = (1 << 32) / u64::from(self.wal_segment_size);
        format!("{:08X}{:08X}{:08X}", self.timeline, number / in_an_id, number % in_an_id)
    }
}

impl From<ControlFile> for ControlData {
    fn from(file: ControlFile) -> ControlData {
        ControlData { state: file.state.to_owned(), checkpoint: file.checkpoint, timeline: file.timeline }
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let part = bytes.get(at..at + N).and_then(|part| part.try_into().ok());
    part.ok_or_else(|| format!("it is only {} bytes long", bytes.len()))
}

fn read_u32(bytes: &[u8], at: usize) -> Result<u32, String> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn read_i32(bytes: &[u8], at: usize) -> Result<i32, String> {
    array(bytes, at).map(i32::from_ne_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Result<u64, String> {
    array(bytes, at).map(u64::from_ne_bytes)
}

/// CRC-32C (Castagnoli), bit by bit: there are not three hundred bytes of it.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The bytes of a control file in which `set` stand, with its checksum.
    pub fn bytes(layout: u32, set: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        let size = (16u32 << 20).to_ne_bytes();
        let always: [(usize, &[u8]); 2] = [(8, &layout.to_ne_bytes()), (228, &size)];
        for (at, value) in always.iter().chain(set) {
            bytes[*at..*at + value.len()].copy_from_slice(value);
        }
        let end = if layout == 1800 { 292 } else { 288 };
        let crc = crc32c(&bytes[..end]).to_ne_bytes();
        bytes[end..end + 4].copy_from_slice(&crc);
        bytes
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        // Check value of the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn reads_the_file_itself() {
        for layout in LAYOUTS {
            let (state, lsn, level) = (6u32.to_ne_bytes(), 0x300_0028u64.to_ne_bytes(), 1u32.to_ne_bytes());
            let (timeline, most) = (2u32.to_ne_bytes(), 7i32.to_ne_bytes());
            let file = [(16, &state[..]), (32, &lsn[..]), (48, &timeline[..]), (172, &level[..]), (192, &most[..])];
            let file = ControlFile::decode(&bytes(layout, &file)).unwrap();
            assert_eq!((file.state, file.checkpoint, file.timeline), ("in production", Lsn(0x300_0028), 2));
            assert_eq!((file.wal_level, file.max_prepared_transactions), (WalLevel::Replica, 7));
        }
    }

    #[test]
    fn what_is_torn_or_unknown_is_no_control_file() {
        let mut torn = bytes(1300, &[]);
        assert_eq!(ControlFile::decode(&torn[..40]), Err("it is only 40 bytes long".to_owned()));
        torn[100] = 1;
        assert!(ControlFile::decode(&torn).unwrap_err().contains("its checksum is"));
        let unknown = ControlFile::decode(&bytes(1201, &[]));
        assert_eq!(unknown, Err("version 1201 of its layout is not known".to_owned()));
    }

    #[test]
    fn segments_are_named_as_postgresql_does() {
        let timeline = 3u32.to_ne_bytes();
        let file = ControlFile::decode(&bytes(1700, &[(48, &timeline)])).unwrap();
        assert_eq!(file.segment(Lsn(0x1_0100_0000)), "000000030000000100000001");
        let names: Vec<String> = file.segments(Lsn(0xFF00_0028), Lsn(0x1_0100_0000)).collect();
        assert_eq!(names, ["0000000300000000000000FF", "000000030000000100000000"]);
        assert_eq!(file.segments(Lsn(0x100_0000), Lsn(0x100_0000)).count(), 1);
    }
}
