//! Each field of the documents beside the series that it is made of, by the names of `info/v1` and `info/v2` of
//! cAdvisor and of its families.

use vedette_model::{Labels, METRIC_NAME};

use super::{super::rows::by_container, *};
use crate::latest::SeriesCourse;

/// A series' name and own label, and where its value stands.
type Field = (&'static str, Option<(&'static str, &'static str)>, &'static str);

const SECONDS: &[Field] = &[
    ("container_cpu_usage_seconds_total", None, "/cpu/usage/total"),
    ("container_cpu_user_seconds_total", None, "/cpu/usage/user"),
    ("container_cpu_system_seconds_total", None, "/cpu/usage/system"),
    ("container_cpu_cfs_throttled_seconds_total", None, "/cpu/cfs/throttled_time"),
    ("container_cpu_cfs_burst_seconds_total", None, "/cpu/cfs/burst_time"),
    ("container_cpu_schedstat_run_seconds_total", None, "/cpu/schedstat/run_time"),
    ("container_cpu_schedstat_runqueue_seconds_total", None, "/cpu/schedstat/runqueue_time"),
];

const STATS: &[Field] = &[
    ("container_cpu_cfs_periods_total", None, "/cpu/cfs/periods"),
    ("container_cpu_cfs_throttled_periods_total", None, "/cpu/cfs/throttled_periods"),
    ("container_cpu_cfs_burst_periods_total", None, "/cpu/cfs/burst_periods"),
    ("container_cpu_schedstat_run_periods_total", None, "/cpu/schedstat/run_periods"),
    ("container_cpu_load_average_10s", None, "/cpu/load_average"),
    ("container_cpu_load_d_average_10s", None, "/cpu/load_d_average"),
    ("container_memory_usage_bytes", None, "/memory/usage"),
    ("container_memory_max_usage_bytes", None, "/memory/max_usage"),
    ("container_memory_cache", None, "/memory/cache"),
    ("container_memory_rss", None, "/memory/rss"),
    ("container_memory_swap", None, "/memory/swap"),
    ("container_memory_mapped_file", None, "/memory/mapped_file"),
    ("container_memory_working_set_bytes", None, "/memory/working_set"),
    ("container_memory_total_active_file_bytes", None, "/memory/total_active_file"),
    ("container_memory_total_inactive_file_bytes", None, "/memory/total_inactive_file"),
    ("container_memory_failcnt", None, "/memory/failcnt"),
    ("container_memory_kernel_usage", None, "/memory/kernel"),
    ("container_network_receive_bytes_total", Some(("interface", "eth0")), "/network/interfaces/0/rx_bytes"),
    (
        "container_network_receive_packets_total",
        Some(("interface", "eth0")),
        "/network/interfaces/0/rx_packets",
    ),
    (
        "container_network_receive_errors_total",
        Some(("interface", "eth0")),
        "/network/interfaces/0/rx_errors",
    ),
    (
        "container_network_receive_packets_dropped_total",
        Some(("interface", "eth0")),
        "/network/interfaces/0/rx_dropped",
    ),
    ("container_network_transmit_bytes_total", Some(("interface", "eth0")), "/network/interfaces/0/tx_bytes"),
    (
        "container_network_transmit_packets_total",
        Some(("interface", "eth0")),
        "/network/interfaces/0/tx_packets",
    ),
    (
        "container_network_transmit_errors_total",
        Some(("interface", "eth0")),
        "/network/interfaces/0/tx_errors",
    ),
    (
        "container_network_transmit_packets_dropped_total",
        Some(("interface", "eth0")),
        "/network/interfaces/0/tx_dropped",
    ),
    ("container_fs_reads_bytes_total", Some(("device", "/dev/a")), "/diskio/io_service_bytes/0/stats/Read"),
    ("container_fs_writes_bytes_total", Some(("device", "/dev/a")), "/diskio/io_service_bytes/0/stats/Write"),
    ("container_fs_reads_total", Some(("device", "/dev/a")), "/diskio/io_serviced/0/stats/Read"),
    ("container_fs_writes_total", Some(("device", "/dev/a")), "/diskio/io_serviced/0/stats/Write"),
    ("container_fs_usage_bytes", Some(("device", "/dev/a")), "/filesystem/0/usage"),
    ("container_fs_limit_bytes", Some(("device", "/dev/a")), "/filesystem/0/capacity"),
    ("container_fs_inodes_total", Some(("device", "/dev/a")), "/filesystem/0/inodes"),
    ("container_fs_inodes_free", Some(("device", "/dev/a")), "/filesystem/0/inodes_free"),
    ("container_fs_reads_merged_total", Some(("device", "/dev/a")), "/filesystem/0/reads_merged"),
    ("container_fs_sector_reads_total", Some(("device", "/dev/a")), "/filesystem/0/sectors_read"),
    ("container_fs_writes_merged_total", Some(("device", "/dev/a")), "/filesystem/0/writes_merged"),
    ("container_fs_sector_writes_total", Some(("device", "/dev/a")), "/filesystem/0/sectors_written"),
    ("container_fs_io_current", Some(("device", "/dev/a")), "/filesystem/0/io_in_progress"),
    ("container_tasks_state", Some(("state", "sleeping")), "/task_stats/nr_sleeping"),
    ("container_tasks_state", Some(("state", "running")), "/task_stats/nr_running"),
    ("container_tasks_state", Some(("state", "stopped")), "/task_stats/nr_stopped"),
    ("container_tasks_state", Some(("state", "uninterruptible")), "/task_stats/nr_uninterruptible"),
    ("container_processes", None, "/processes/process_count"),
    ("container_file_descriptors", None, "/processes/fd_count"),
    ("container_sockets", None, "/processes/socket_count"),
    ("container_threads", None, "/processes/threads_current"),
    ("container_threads_max", None, "/processes/threads_max"),
    ("container_oom_events_total", None, "/oom_events"),
];

const SPEC: &[Field] = &[
    ("container_spec_cpu_shares", None, "/cpu/limit"),
    ("container_spec_cpu_quota", None, "/cpu/quota"),
    ("container_spec_cpu_period", None, "/cpu/period"),
    ("container_spec_memory_limit_bytes", None, "/memory/limit"),
    ("container_spec_memory_reservation_limit_bytes", None, "/memory/reservation"),
    ("container_spec_memory_swap_limit_bytes", None, "/memory/swap_limit"),
    ("container_threads_max", None, "/processes/limit"),
];

/// A container with a series of each field, whose value is the place of the field.
fn rows(fields: &[Field]) -> Rows {
    let course = |(value, (name, label, _)): (u32, &Field)| SeriesCourse {
        labels: Labels::from_pairs([("id", "/c"), (METRIC_NAME, *name)].into_iter().chain(*label)),
        samples: vec![(1000, f64::from(value))],
    };
    by_container((1..).zip(fields).map(course).collect()).remove("/c").unwrap()
}

fn check(fields: &[Field], factor: u64, document: impl Fn(&Rows) -> Value) {
    let document = document(&rows(fields));
    for (value, (name, _, place)) in (1_u64..).zip(fields) {
        assert_eq!(document.pointer(place), Some(&json!(value * factor)), "{name} at {place}: {document}");
    }
}

#[test]
fn every_field_is_made_of_its_own_series() {
    check(SECONDS, 1_000_000_000, |rows| stats(rows, 1000, None, false));
    let with_time: Vec<Field> = STATS.iter().chain(&SECONDS[..1]).copied().collect();
    let document = stats(&rows(&with_time), 1000, None, false);
    check(STATS, 1, |_| document.clone());
    check(SPEC, 1, |rows| spec(rows, 1000, false));
}

#[test]
fn faults_are_told_by_kind_and_scope() {
    let kinds = [
        ("pgfault", "container"),
        ("pgfault", "hierarchy"),
        ("pgmajfault", "container"),
        ("pgmajfault", "hierarchy"),
    ];
    let course = |name: &str, extra: &[(&str, &str)], value: u32| SeriesCourse {
        labels: Labels::from_pairs([("id", "/c"), (METRIC_NAME, name)].iter().chain(extra).copied()),
        samples: vec![(1000, f64::from(value))],
    };
    let mut courses: Vec<_> = (1..)
        .zip(kinds)
        .map(|(value, (kind, scope))| {
            course("container_memory_failures_total", &[("failure_type", kind), ("scope", scope)], value)
        })
        .collect();
    courses.push(course("container_memory_usage_bytes", &[], 9));
    let rows = by_container(courses).remove("/c").unwrap();
    let document = stats(&rows, 1000, None, false);
    for (value, (kind, scope)) in (1..).zip(kinds) {
        let whose = if scope == "container" { "container_data" } else { "hierarchical_data" };
        assert_eq!(document["memory"][whose][kind], json!(value), "{document}");
    }
}
