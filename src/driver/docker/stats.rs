//! What a container has used, as its engine counts: raw counters, from which rates are made when they are read.

use super::engine::{EngineError, asked};
use super::server::ContainerServer;
use crate::driver::outcome::SignalError;
use bollard::models::{ContainerBlkioStatEntry, ContainerMemoryStats, ContainerNetworkStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptionsBuilder;
use futures_util::StreamExt;
use std::collections::HashMap;

/// One reading. What the engine does not say is absent, and never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time used, in nanoseconds.
    pub cpu_usage_ns: Option<u64>,
    /// Of it, outside of the kernel.
    pub cpu_user_ns: Option<u64>,
    /// Of it, within the kernel.
    pub cpu_system_ns: Option<u64>,
    /// Periods in which its processor time was limited.
    pub cpu_periods: Option<u64>,
    /// Of them, those in which it used up what it may and was held.
    pub cpu_throttled_periods: Option<u64>,
    /// How long it was held, in nanoseconds.
    pub cpu_throttled_ns: Option<u64>,
    /// Memory in use without the file cache that could be given up at once.
    pub memory_bytes: Option<u64>,
    /// What it may use; the machine's memory when it is not limited.
    pub memory_limit_bytes: Option<u64>,
    /// File cache.
    pub memory_cache_bytes: Option<u64>,
    /// Read from block devices.
    pub blkio_read_bytes: Option<u64>,
    /// Written to block devices.
    pub blkio_write_bytes: Option<u64>,
    /// Reads from block devices.
    pub blkio_reads: Option<u64>,
    /// Writes to block devices.
    pub blkio_writes: Option<u64>,
    /// Received.
    pub net_rx_bytes: Option<u64>,
    /// Packets received.
    pub net_rx_packets: Option<u64>,
    /// Packets received in error.
    pub net_rx_errors: Option<u64>,
    /// Packets received and dropped.
    pub net_rx_dropped: Option<u64>,
    /// Sent.
    pub net_tx_bytes: Option<u64>,
    /// Packets sent.
    pub net_tx_packets: Option<u64>,
    /// Packets that could not be sent.
    pub net_tx_errors: Option<u64>,
    /// Packets dropped instead of sent.
    pub net_tx_dropped: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Stats {
    /// Its readings by their names in [`crate::metric::sampled::CONTAINER`].
    pub fn fields(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("cpu_usage_ns", self.cpu_usage_ns),
            ("cpu_user_ns", self.cpu_user_ns),
            ("cpu_system_ns", self.cpu_system_ns),
            ("cpu_periods", self.cpu_periods),
            ("cpu_throttled_periods", self.cpu_throttled_periods),
            ("cpu_throttled_ns", self.cpu_throttled_ns),
            ("memory_bytes", self.memory_bytes),
            ("memory_limit_bytes", self.memory_limit_bytes),
            ("memory_cache_bytes", self.memory_cache_bytes),
            ("blkio_read_bytes", self.blkio_read_bytes),
            ("blkio_write_bytes", self.blkio_write_bytes),
            ("blkio_reads", self.blkio_reads),
            ("blkio_writes", self.blkio_writes),
            ("net_rx_bytes", self.net_rx_bytes),
            ("net_rx_packets", self.net_rx_packets),
            ("net_rx_errors", self.net_rx_errors),
            ("net_rx_dropped", self.net_rx_dropped),
            ("net_tx_bytes", self.net_tx_bytes),
            ("net_tx_packets", self.net_tx_packets),
            ("net_tx_errors", self.net_tx_errors),
            ("net_tx_dropped", self.net_tx_dropped),
            ("pids", self.pids),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl ContainerServer {
    /// What its container has used since it was started; nothing while it does not run.
    pub async fn stats(&self) -> Result<Stats, SignalError> {
        let engine = &self.dock.engine;
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let read = Box::pin(engine.docker.stats(self.container(), Some(options))).next().await;
        let what = "reading what the container has used";
        let read = match read {
            Some(read) => read.map_err(asked(what)),
            None => Err(EngineError::Lost { what: what.to_owned(), why: "the engine said nothing".to_owned() }),
        };
        match read {
            Ok(read) => Ok(read.into()),
            Err(error) if error.status() == Some(404) => Ok(Stats::default()),
            Err(error) => Err(self.failed(error)),
        }
    }
}

impl From<ContainerStatsResponse> for Stats {
    fn from(read: ContainerStatsResponse) -> Stats {
        // Of a container that does not run the engine sends zeros. A process is there as long as one runs.
        let pids = read.pids_stats.as_ref().and_then(|pids| pids.current).filter(|pids| *pids > 0);
        if pids.is_none() && read.cpu_stats.as_ref().is_none_or(|cpu| cpu.system_cpu_usage.is_none()) {
            return Stats::default();
        }
        let cpu = read.cpu_stats.unwrap_or_default();
        let (usage, held) = (cpu.cpu_usage.unwrap_or_default(), cpu.throttling_data.unwrap_or_default());
        let memory = read.memory_stats.unwrap_or_default();
        let blkio = read.blkio_stats.unwrap_or_default();
        let (bytes, ops) = (blkio.io_service_bytes_recursive, blkio.io_serviced_recursive);
        let net = |field: fn(&ContainerNetworkStats) -> Option<u64>| summed(read.networks.as_ref(), field);
        Stats {
            cpu_usage_ns: usage.total_usage,
            cpu_user_ns: usage.usage_in_usermode,
            cpu_system_ns: usage.usage_in_kernelmode,
            cpu_periods: held.periods,
            cpu_throttled_periods: held.throttled_periods,
            cpu_throttled_ns: held.throttled_time,
            memory_bytes: in_use(&memory),
            memory_limit_bytes: memory.limit,
            memory_cache_bytes: of_memory(&memory, &["total_cache", "cache", "file"]),
            blkio_read_bytes: operations(bytes.as_deref(), "read"),
            blkio_write_bytes: operations(bytes.as_deref(), "write"),
            blkio_reads: operations(ops.as_deref(), "read"),
            blkio_writes: operations(ops.as_deref(), "write"),
            net_rx_bytes: net(|net| net.rx_bytes),
            net_rx_packets: net(|net| net.rx_packets),
            net_rx_errors: net(|net| net.rx_errors),
            net_rx_dropped: net(|net| net.rx_dropped),
            net_tx_bytes: net(|net| net.tx_bytes),
            net_tx_packets: net(|net| net.tx_packets),
            net_tx_errors: net(|net| net.tx_errors),
            net_tx_dropped: net(|net| net.tx_dropped),
            pids,
        }
    }
}

/// As the docker client shows it: without the file cache that nobody has used of late. The names differ between
/// the two versions of control groups.
fn in_use(memory: &ContainerMemoryStats) -> Option<u64> {
    let inactive = of_memory(memory, &["total_inactive_file", "inactive_file"]).unwrap_or(0);
    memory.usage.map(|usage| usage.saturating_sub(inactive))
}

fn of_memory(memory: &ContainerMemoryStats, names: &[&str]) -> Option<u64> {
    let stats = memory.stats.as_ref()?;
    names.iter().find_map(|name| stats.get(*name)).copied()
}

/// Over all devices; absent when none was used, for then the engine says nothing.
fn operations(entries: Option<&[ContainerBlkioStatEntry]>, operation: &str) -> Option<u64> {
    let of_kind =
        |entry: &&ContainerBlkioStatEntry| entry.op.as_ref().is_some_and(|op| op.eq_ignore_ascii_case(operation));
    let values = entries?.iter().filter(of_kind).filter_map(|entry| entry.value);
    values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

fn summed(
    networks: Option<&HashMap<String, ContainerNetworkStats>>,
    field: fn(&ContainerNetworkStats) -> Option<u64>,
) -> Option<u64> {
    networks?.values().filter_map(field).fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::sampled::CONTAINER;

    fn read(json: &str) -> Stats {
        serde_json::from_str::<ContainerStatsResponse>(json).unwrap().into()
    }

    #[test]
    fn both_versions_of_control_groups() {
        let v1 = read(
            r#"{"pids_stats":{"current":9},"blkio_stats":{"io_service_bytes_recursive":[
                {"major":254,"minor":0,"op":"Read","value":10},{"major":254,"minor":0,"op":"Write","value":20},
                {"major":254,"minor":0,"op":"Total","value":30},{"major":7,"minor":0,"op":"Read","value":1}],
                "io_serviced_recursive":[{"major":254,"minor":0,"op":"Write","value":2}]},
                "cpu_stats":{"cpu_usage":{"total_usage":100,"usage_in_kernelmode":40,"usage_in_usermode":60},
                "system_cpu_usage":1,"throttling_data":{"periods":3,"throttled_periods":2,"throttled_time":1}},
                "memory_stats":{"usage":1000,"stats":{"cache":300,"total_inactive_file":200,"total_cache":300},"limit":4096},
                "networks":{"eth0":{"rx_bytes":1,"rx_packets":2,"tx_bytes":3},"eth1":{"rx_bytes":10}}}"#,
        );
        assert_eq!((v1.cpu_usage_ns, v1.cpu_throttled_periods), (Some(100), Some(2)));
        assert_eq!((v1.memory_bytes, v1.memory_cache_bytes), (Some(800), Some(300)));
        assert_eq!(
            (v1.blkio_read_bytes, v1.blkio_write_bytes, v1.blkio_reads, v1.blkio_writes),
            (Some(11), Some(20), None, Some(2))
        );
        assert_eq!((v1.net_rx_bytes, v1.net_tx_bytes, v1.net_tx_errors), (Some(11), Some(3), None));
        let v2 = read(
            r#"{"pids_stats":{"current":9},"cpu_stats":{"system_cpu_usage":1},"blkio_stats":{"io_service_bytes_recursive":null},
                "memory_stats":{"usage":1000,"stats":{"file":250,"inactive_file":100},"limit":4096}}"#,
        );
        assert_eq!((v2.memory_bytes, v2.memory_cache_bytes, v2.blkio_read_bytes), (Some(900), Some(250), None));
    }

    #[test]
    fn of_a_container_that_does_not_run_there_is_nothing() {
        let zeros = r#"{"pids_stats":{},"cpu_stats":{"cpu_usage":{"total_usage":0},"throttling_data":{"periods":0}},"memory_stats":{}}"#;
        assert_eq!(read(zeros).fields(), []);
    }

    #[test]
    fn the_catalogue_has_every_field() {
        let one = Some(1);
        let all = Stats { cpu_usage_ns: one, ..Stats::default() };
        assert_eq!(all.fields(), [("cpu_usage_ns", 1)]);
        let names: Vec<&str> = CONTAINER.fields.iter().map(|field| field.name).collect();
        assert_eq!(names, FIELDS);
    }

    const FIELDS: [&str; 22] = [
        "cpu_usage_ns",
        "cpu_user_ns",
        "cpu_system_ns",
        "cpu_periods",
        "cpu_throttled_periods",
        "cpu_throttled_ns",
        "memory_bytes",
        "memory_limit_bytes",
        "memory_cache_bytes",
        "blkio_read_bytes",
        "blkio_write_bytes",
        "blkio_reads",
        "blkio_writes",
        "net_rx_bytes",
        "net_rx_packets",
        "net_rx_errors",
        "net_rx_dropped",
        "net_tx_bytes",
        "net_tx_packets",
        "net_tx_errors",
        "net_tx_dropped",
        "pids",
    ];
}
