//! Containers, server processes and the machine, beside what the servers' sessions wait for.

use super::super::Fold::{Max, Mean, Rate, Sum};
use super::super::View::{Lines, Shares, Stacked};
use super::super::{Dashboard, Panel, Query, Scope};
use super::panel;
use crate::metric::sampled::{ASH, CONTAINER, HOST, SERVER_PROCESSES};

/// Nanoseconds in a second: time of processors a second is processors.
const NS: f64 = 1e9;
const US: f64 = 1e6;
const MS: f64 = 1e3;
const ALL: &[&str] = &[];

pub fn board() -> Dashboard {
    let mut panels = containers();
    panels.extend(servers());
    panels.extend(machine());
    Dashboard {
        name: "hosts",
        title: "Hosts",
        about: "processors, memory, disks and network of containers, servers and the machine, on one axis with the waits",
        scope: Scope::Run,
        panels,
    }
}

fn containers() -> Vec<Panel> {
    let container = |field| Query::new(&CONTAINER, field, Rate);
    vec![
        panel(
            ("Container: processors", "used, as a number of processors"),
            Lines,
            "short",
            12,
            [container("cpu_user_ns").per(NS).called("user"), container("cpu_system_ns").per(NS).called("system")],
        ),
        panel(
            (
                "Container: throttled",
                "periods (100 ms) a second in which it had used up its share and was held, and those there were",
            ),
            Lines,
            "ops",
            12,
            [container("cpu_throttled_periods").called("held"), container("cpu_periods").called("periods")],
        ),
        panel(
            (
                "Waits of the server, share of DB time",
                "of all time that sessions were active, which share each class of wait events had",
            ),
            Shares,
            "short",
            12,
            [Query::new(&ASH, "sessions", Sum)
                .only(&[("state", "active")])
                .split(&["node", "wait_event_type"])
                .called("")],
        ),
        panel(
            ("Container: memory", "in use, without file cache that could be given up at once, and the limit"),
            Lines,
            "bytes",
            12,
            [
                Query::new(&CONTAINER, "memory_bytes", Max).called("used"),
                Query::new(&CONTAINER, "memory_limit_bytes", Max).called("limit"),
            ],
        ),
        panel(
            ("Container: network", "bytes a second"),
            Lines,
            "Bps",
            12,
            [container("net_rx_bytes").called("received"), container("net_tx_bytes").called("sent")],
        ),
        panel(("Container: processes", "and threads"), Lines, "short", 12, [Query::new(&CONTAINER, "pids", Max)]),
    ]
}

fn servers() -> Vec<Panel> {
    let server = |field| Query::new(&SERVER_PROCESSES, field, Rate);
    vec![
        panel(
            ("Server: processors", "used by all processes of a server that is no container"),
            Lines,
            "short",
            12,
            [server("cpu_user_ns").per(NS).called("user"), server("cpu_system_ns").per(NS).called("system")],
        ),
        panel(
            ("Server: memory", "private memory added up, and the shared memory of the process that has touched most"),
            Lines,
            "bytes",
            12,
            [
                Query::new(&SERVER_PROCESSES, "memory_private_bytes", Max).called("private"),
                Query::new(&SERVER_PROCESSES, "memory_shared_bytes", Max).called("shared"),
            ],
        ),
        panel(
            ("Server: disk", "bytes a second that reached or came from disks"),
            Lines,
            "Bps",
            12,
            [server("read_bytes").called("read"), server("write_bytes").called("written")],
        ),
    ]
}

fn machine() -> Vec<Panel> {
    let host = |field| Query::new(&HOST, field, Rate).split(ALL);
    let now = |field, fold| Query::new(&HOST, field, fold).split(ALL);
    vec![
        panel(
            ("Machine: processors", "as a number of processors"),
            Stacked,
            "short",
            12,
            [
                host("cpu_user_ns").per(NS).called("user"),
                host("cpu_system_ns").per(NS).called("system"),
                host("cpu_iowait_ns").per(NS).called("waiting for I/O"),
                host("cpu_steal_ns").per(NS).called("stolen"),
            ],
        ),
        panel(
            ("Machine: waiting", "share of the time in which something waited for processors, memory or I/O"),
            Lines,
            "percentunit",
            12,
            [
                host("cpu_waiting_us").per(US).called("processors"),
                host("memory_waiting_us").per(US).called("memory"),
                host("io_waiting_us").per(US).called("I/O"),
            ],
        ),
        panel(
            ("Machine: memory", "available, and dirty file cache"),
            Lines,
            "bytes",
            12,
            [now("memory_available_bytes", Mean).called("available"), now("memory_dirty_bytes", Max).called("dirty")],
        ),
        panel(
            ("Machine: disks", "bytes a second, all disks added up"),
            Lines,
            "Bps",
            12,
            [host("disk_read_bytes").called("read"), host("disk_write_bytes").called("written")],
        ),
        panel(
            ("Machine: disks busy", "time a second in which disks were at work, added up over them"),
            Lines,
            "percentunit",
            12,
            [host("disk_busy_ms").per(MS).called("busy")],
        ),
    ]
}
