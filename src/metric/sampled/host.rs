//! Processors, memory, disks and network of machines, servers and containers.

use super::Kind::{Counter, Gauge, Real};
use super::{Measurement, f};

/// What a node's container has used since it was started, as its engine counts.
pub const CONTAINER: Measurement = Measurement {
    name: "container",
    tags: &[],
    fields: &[
        f("cpu_usage_ns", Counter, "ns"),
        f("cpu_user_ns", Counter, "ns"),
        f("cpu_system_ns", Counter, "ns"),
        f("cpu_periods", Counter, "count"),
        f("cpu_throttled_periods", Counter, "count"),
        f("cpu_throttled_ns", Counter, "ns"),
        f("memory_bytes", Gauge, "bytes"),
        f("memory_limit_bytes", Gauge, "bytes"),
        f("memory_cache_bytes", Gauge, "bytes"),
        f("blkio_read_bytes", Counter, "bytes"),
        f("blkio_write_bytes", Counter, "bytes"),
        f("blkio_reads", Counter, "count"),
        f("blkio_writes", Counter, "count"),
        f("net_rx_bytes", Counter, "bytes"),
        f("net_rx_packets", Counter, "count"),
        f("net_rx_errors", Counter, "count"),
        f("net_rx_dropped", Counter, "count"),
        f("net_tx_bytes", Counter, "bytes"),
        f("net_tx_packets", Counter, "count"),
        f("net_tx_errors", Counter, "count"),
        f("net_tx_dropped", Counter, "count"),
        f("pids", Gauge, "count"),
    ],
    about: "what a server's container has used; memory without the file cache that could be given up at once",
};

/// The machine of the laboratory, from `/proc`. Processor times have the grain of the kernel's clock tick, 10 ms.
pub const HOST: Measurement = Measurement {
    name: "host",
    tags: &[],
    fields: &[
        f("cpu_user_ns", Counter, "ns"),
        f("cpu_system_ns", Counter, "ns"),
        f("cpu_idle_ns", Counter, "ns"),
        f("cpu_iowait_ns", Counter, "ns"),
        f("cpu_steal_ns", Counter, "ns"),
        f("cpus", Gauge, "count"),
        f("load1", Real, "count"),
        f("memory_total_bytes", Gauge, "bytes"),
        f("memory_available_bytes", Gauge, "bytes"),
        f("memory_dirty_bytes", Gauge, "bytes"),
        f("memory_writeback_bytes", Gauge, "bytes"),
        f("swap_used_bytes", Gauge, "bytes"),
        f("disk_read_bytes", Counter, "bytes"),
        f("disk_write_bytes", Counter, "bytes"),
        f("disk_reads", Counter, "count"),
        f("disk_writes", Counter, "count"),
        f("disk_busy_ms", Counter, "ms"),
        f("cpu_waiting_us", Counter, "us"),
        f("memory_waiting_us", Counter, "us"),
        f("io_waiting_us", Counter, "us"),
    ],
    about: "the machine that the laboratory runs on: processors, memory, whole disks added up, and how long something had to wait for each (pressure stall information, `some`)",
};

/// The processes of a server that is no container, from `/proc`: the postmaster and all that descends from it.
/// The kernel adds what a process that ended has used to its parent.
pub const SERVER_PROCESSES: Measurement = Measurement {
    name: "server_processes",
    tags: &[],
    fields: &[
        f("processes", Gauge, "count"),
        f("cpu_user_ns", Counter, "ns"),
        f("cpu_system_ns", Counter, "ns"),
        f("memory_private_bytes", Gauge, "bytes"),
        f("memory_shared_bytes", Gauge, "bytes"),
        f("read_bytes", Counter, "bytes"),
        f("write_bytes", Counter, "bytes"),
        f("read_calls", Counter, "count"),
        f("write_calls", Counter, "count"),
        f("major_faults", Counter, "count"),
    ],
    about: "all processes of a server of this machine together, those that ended included in what counts: processor time, private memory (added up) and shared memory (of the one that has touched most), bytes that reached or came from disks, and calls",
};

/// The file system of a data directory on this machine (`statvfs`).
pub const FILE_SYSTEM: Measurement = Measurement {
    name: "file_system",
    tags: &[],
    fields: &[f("size_bytes", Gauge, "bytes"), f("free_bytes", Gauge, "bytes"), f("available_bytes", Gauge, "bytes")],
    about: "the file system that the data directory of a node is on",
};
