//! What the machine and the processes of its servers use, read from `/proc` into points: raw counters, from which rates
//! are made at reading time.
//!
//! A task of its own at whole seconds of the views' grid. What the kernel does not say, or not to us, is absent.

use super::grid::Grid;
use crate::base::clock::Clock;
use crate::cluster::Node;
use crate::metric::sampled::{FILE_SYSTEM, HOST, SERVER_PROCESSES};
use crate::metric::{Field, Point, Points};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Nanoseconds of a tick of the clock that `/proc` counts processor time in (`USER_HZ` is 100 on every architecture).
const TICK_NS: u64 = 10_000_000;
/// Bytes of a sector in `/proc/diskstats`, whatever the disk's are.
const SECTOR: u64 = 512;
/// How often a server's processes are read again when one of them ended meanwhile.
const TRIES: usize = 3;

type Fields = Vec<(&'static str, Field)>;

/// The task at work; it ends when this is dropped.
#[derive(Debug)]
pub struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    /// Reads the machine and those of `nodes` that are processes of it, at the whole seconds that are multiples of
    /// `every`, rounded up to a second.
    pub fn start(nodes: &[Arc<Node>], every: Duration, clock: Clock, points: &Points) -> Running {
        let (nodes, points) = (nodes.to_vec(), points.clone());
        let mut grid = Grid::new(super::next_whole_second(clock), super::container::whole_seconds(every));
        Running(tokio::spawn(async move {
            loop {
                tokio::time::sleep_until(clock.instant(grid.due()).into()).await;
                let (due, _) = grid.take(clock.elapsed());
                let nodes = nodes.clone();
                // Many small files: some milliseconds that no other task should wait for.
                if let Ok(read) = tokio::task::spawn_blocking(move || read(&nodes, due)).await {
                    points.send(read);
                }
            }
        }))
    }
}

fn read(nodes: &[Arc<Node>], due: Duration) -> Vec<Point> {
    let mut points = vec![point(HOST.name, "", machine(), due)];
    for node in nodes {
        points.extend(processes(node).map(|fields| point(SERVER_PROCESSES.name, &node.name, fields, due)));
        // A server that somebody else runs has no directory here.
        if !node.dir.as_os_str().is_empty() {
            points.extend(file_system(&node.dir).map(|fields| point(FILE_SYSTEM.name, &node.name, fields, due)));
        }
    }
    points.retain(|point| !point.fields.is_empty());
    points
}

fn point(measurement: &'static str, node: &str, fields: Fields, elapsed: Duration) -> Point {
    Point { measurement, node: node.to_owned(), role: "", tags: Vec::new(), fields, elapsed }
}

fn int(value: u64) -> Option<Field> {
    i64::try_from(value).ok().map(Field::Int)
}

/// The fields whose values are known.
fn known<const N: usize>(values: [(&'static str, Option<u64>); N]) -> Fields {
    values.into_iter().filter_map(|(name, value)| Some((name, int(value?)?))).collect()
}

fn file_system(dir: &Path) -> Option<Fields> {
    let stat = nix::sys::statvfs::statvfs(dir).ok()?;
    let bytes = |blocks: u64| Some(blocks.checked_mul(stat.fragment_size())).flatten();
    Some(known([
        ("size_bytes", bytes(stat.blocks())),
        ("free_bytes", bytes(stat.blocks_free())),
        ("available_bytes", bytes(stat.blocks_available())),
    ]))
}

fn machine() -> Fields {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut fields = processors(&text("/proc/stat"));
    let load = text("/proc/loadavg").split_ascii_whitespace().next().and_then(|load| load.parse().ok());
    fields.extend(load.map(|load| ("load1", Field::Float(load))));
    fields.extend(memory(&text("/proc/meminfo")));
    let is_disk = |name: &str| !name.starts_with("loop") && Path::new("/sys/block").join(name).join("device").exists();
    fields.extend(disks(&text("/proc/diskstats"), is_disk));
    let pressure = |of: &str| pressure(&text(&format!("/proc/pressure/{of}")));
    fields.extend(known([
        ("cpu_waiting_us", pressure("cpu")),
        ("memory_waiting_us", pressure("memory")),
        ("io_waiting_us", pressure("io")),
    ]));
    fields
}

/// Of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn processors(text: &str) -> Fields {
    let Some(all) = text.lines().find_map(|line| line.strip_prefix("cpu ")) else { return Vec::new() };
    let ticks: Vec<u64> = all.split_ascii_whitespace().map_while(|tick| tick.parse().ok()).collect();
    let ns =
        |of: &[usize]| of.iter().map(|i| ticks.get(*i)).sum::<Option<u64>>().and_then(|sum| sum.checked_mul(TICK_NS));
    let count = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count() as u64;
    known([
        ("cpu_user_ns", ns(&[0, 1])),
        ("cpu_system_ns", ns(&[2, 5, 6])),
        ("cpu_idle_ns", ns(&[3])),
        ("cpu_iowait_ns", ns(&[4])),
        ("cpu_steal_ns", ns(&[7])),
        ("cpus", Some(count)),
    ])
}

/// A value of `/proc/meminfo` or `/proc/<pid>/status`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn memory(text: &str) -> Fields {
    let bytes = |name: &str| kilobytes(text, name);
    let swap_used = bytes("SwapTotal").zip(bytes("SwapFree")).and_then(|(total, free)| total.checked_sub(free));
    known([
        ("memory_total_bytes", bytes("MemTotal")),
        ("memory_available_bytes", bytes("MemAvailable")),
        ("memory_dirty_bytes", bytes("Dirty")),
        ("memory_writeback_bytes", bytes("Writeback")),
        ("swap_used_bytes", swap_used),
    ])
}

/// Of `/proc/diskstats`, whole disks added up: reads, sectors read, writes, sectors written, time busy.
fn disks(text: &str, is_disk: impl Fn(&str) -> bool) -> Fields {
    let mut sums: Option<[u64; 5]> = None;
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if !words.get(2).is_some_and(|name| is_disk(name)) {
            continue;
        }
        let values = [3, 5, 7, 9, 12].map(|i| words.get(i).and_then(|word| word.parse::<u64>().ok()));
        let sums = sums.get_or_insert_default();
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value.unwrap_or_default();
        }
    }
    let Some([reads, read, writes, written, busy]) = sums else { return Vec::new() };
    known([
        ("disk_read_bytes", read.checked_mul(SECTOR)),
        ("disk_write_bytes", written.checked_mul(SECTOR)),
        ("disk_reads", Some(reads)),
        ("disk_writes", Some(writes)),
        ("disk_busy_ms", Some(busy)),
    ])
}

/// Microseconds for which something had to wait.
fn pressure(text: &str) -> Option<u64> {
    text.lines().find(|line| line.starts_with("some "))?.rsplit_once("total=")?.1.trim().parse().ok()
}

/// What a process has used, and those that it waited for when they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Used {
    user: u64,
    system: u64,
    faults: u64,
    /// Processor time of those that ended.
    ended: u64,
    private: u64,
    shared: u64,
    /// Bytes read and written, calls to read and write; absent where we may not look.
    io: Option<[u64; 4]>,
}

/// All processes of a server together; nothing while there is none, or none that stays for as long as a look takes.
fn processes(node: &Node) -> Option<Fields> {
    for _ in 0..TRIES {
        let pids: Vec<i32> = node.processes().iter().map(|stat| stat.identity.pid).collect();
        let postmaster = *pids.first()?;
        // Who ends between two looks would be counted twice or not at all.
        let before = used(postmaster)?.ended;
        let all: Vec<Used> = pids.iter().filter_map(|pid| used(*pid)).collect();
        if used(postmaster)?.ended == before && all.len() == pids.len() {
            return Some(together(&all));
        }
    }
    None
}

fn used(pid: i32) -> Option<Used> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
    Used::parse(&read("stat").ok()?, &read("status").ok()?, read("io").ok().as_deref())
}

impl Used {
    fn parse(stat: &str, status: &str, io: Option<&str>) -> Option<Used> {
        let after_name: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // Numbers of the manual page count from 1 and begin before the name.
        let field = |number: usize| after_name.get(number - 3)?.parse::<u64>().ok();
        let ended = [field(16)?, field(17)?];
        let io = io.and_then(|io| {
            let value =
                |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
            Some([value("read_bytes")?, value("write_bytes")?, value("syscr")?, value("syscw")?])
        });
        Some(Used {
            user: field(14)? + ended[0],
            system: field(15)? + ended[1],
            faults: field(12)? + field(13)?,
            ended: ended[0] + ended[1],
            private: kilobytes(status, "RssAnon").unwrap_or_default(),
            shared: kilobytes(status, "RssShmem").unwrap_or_default(),
            io,
        })
    }
}

fn together(all: &[Used]) -> Fields {
    let sum = |of: fn(&Used) -> u64| Some(all.iter().map(of).sum::<u64>());
    let io = |i: usize| all.iter().map(|used| used.io.map(|io| io[i])).sum::<Option<u64>>();
    known([
        ("processes", Some(all.len() as u64)),
        ("cpu_user_ns", sum(|used| used.user * TICK_NS)),
        ("cpu_system_ns", sum(|used| used.system * TICK_NS)),
        ("memory_private_bytes", sum(|used| used.private)),
        ("memory_shared_bytes", all.iter().map(|used| used.shared).max()),
        ("read_bytes", io(0)),
        ("write_bytes", io(1)),
        ("read_calls", io(2)),
        ("write_calls", io(3)),
        ("major_faults", sum(|used| used.faults)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(fields: &Fields, name: &str) -> Option<i64> {
        fields.iter().find_map(|(field, value)| match value {
            Field::Int(n) if *field == name => Some(*n),
            _ => None,
        })
    }

    #[test]
    fn the_machine_as_the_kernel_says() {
        let fields = processors("cpu  10 2 30 400 5 6 7 8 0 0\ncpu0 1\ncpu1 1\nintr 5\n");
        let expected = [("cpu_user_ns", 12), ("cpu_system_ns", 43), ("cpu_idle_ns", 400), ("cpu_steal_ns", 8)];
        for (name, ticks) in expected {
            assert_eq!(value(&fields, name), Some(ticks * TICK_NS as i64), "{name}");
        }
        assert_eq!(value(&fields, "cpus"), Some(2));
        let fields = memory("MemTotal:  100 kB\nDirty:   3 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\n");
        assert_eq!(
            (value(&fields, "memory_total_bytes"), value(&fields, "swap_used_bytes")),
            (Some(102_400), Some(6144))
        );
        assert_eq!(value(&fields, "memory_available_bytes"), None, "an old kernel does not say");
        let text = "8 0 sda 1 0 2 0 3 0 4 0 0 50 0\n8 1 sda1 1 0 2 0 3 0 4 0 0 50 0\n8 16 sdb 1 0 2 0 3 0 4 0 0 50 0\n";
        let fields = disks(text, |name| name.len() == 3);
        assert_eq!((value(&fields, "disk_write_bytes"), value(&fields, "disk_busy_ms")), (Some(8 * 512), Some(100)));
        assert_eq!(pressure("some avg10=0.00 total=77\nfull avg10=0.00 total=5\n"), Some(77));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn processes_are_added_up_with_those_that_ended() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 11 12 100 200 30 40 20 0 1 0 5 0 0";
        let io = "rchar: 9\nsyscr: 3\nsyscw: 4\nread_bytes: 1\nwrite_bytes: 2\n";
        let one = Used::parse(stat, "RssAnon:  4 kB\nRssShmem:  8 kB\n", Some(io)).unwrap();
        assert_eq!((one.user, one.system, one.faults, one.ended), (130, 240, 23, 70));
        let fields = together(&[one, Used { shared: 1 << 20, ..one }]);
        assert_eq!(value(&fields, "cpu_user_ns"), Some(260 * TICK_NS as i64));
        assert_eq!(
            (value(&fields, "memory_private_bytes"), value(&fields, "memory_shared_bytes")),
            (Some(8192), Some(1 << 20))
        );
        assert_eq!((value(&fields, "write_bytes"), value(&fields, "read_calls")), (Some(4), Some(6)));
        assert_eq!(value(&together(&[one, Used { io: None, ..one }]), "read_bytes"), None, "a part is no sum");
    }
}
