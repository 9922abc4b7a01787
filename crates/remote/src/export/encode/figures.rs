//! Which of Vedette's series is which figure of cAdvisor's storage drivers.

/// A figure that a container has once.
pub struct Fixed {
    /// The family, and the labels that single the series out.
    pub family: &'static str,
    pub labels: &'static [(&'static str, &'static str)],
    /// What a value is multiplied by.
    pub scale: f64,
    /// Where it stands in the object `container_stats`.
    pub path: &'static [&'static str],
    /// Measurement and further tags of InfluxDB.
    pub influx: Option<(&'static str, &'static [(&'static str, &'static str)])>,
    pub statsd: Option<&'static str>,
    /// In the lines of standard output; some have two names.
    pub text: &'static [&'static str],
}

const NANOSECONDS: f64 = 1e9;
const NO_LABELS: &[(&str, &str)] = &[];

const fn plain(family: &'static str, path: &'static [&'static str]) -> Fixed {
    Fixed { family, labels: NO_LABELS, scale: 1.0, path, influx: None, statsd: None, text: &[] }
}

impl Fixed {
    const fn nanoseconds(mut self) -> Self {
        self.scale = NANOSECONDS;
        self
    }

    const fn with(mut self, labels: &'static [(&'static str, &'static str)]) -> Self {
        self.labels = labels;
        self
    }

    const fn influx(mut self, name: &'static str) -> Self {
        self.influx = Some((name, NO_LABELS));
        self
    }

    const fn tagged(mut self, name: &'static str, tags: &'static [(&'static str, &'static str)]) -> Self {
        self.influx = Some((name, tags));
        self
    }

    const fn statsd(mut self, name: &'static str) -> Self {
        self.statsd = Some(name);
        self
    }

    const fn text(mut self, names: &'static [&'static str]) -> Self {
        self.text = names;
        self
    }
}

const USAGE: &str = "container_memory_usage_bytes";
const FAULTS: &str = "container_memory_failures_total";
const TASKS: &str = "container_tasks_state";

/// Figures whose paths begin alike stand together.
pub const FIXED: &[Fixed] = &[
    plain("container_cpu_usage_seconds_total", &["cpu", "usage", "total"])
        .nanoseconds()
        .with(&[("cpu", "total")])
        .influx("cpu_usage_total")
        .statsd("cpu_cumulative_usage")
        .text(&["cpu_usage_total", "cpu_cumulative_usage"]),
    plain("container_cpu_user_seconds_total", &["cpu", "usage", "user"])
        .nanoseconds()
        .influx("cpu_usage_user")
        .statsd("cpu_usage_user")
        .text(&["cpu_usage_user"]),
    plain("container_cpu_system_seconds_total", &["cpu", "usage", "system"])
        .nanoseconds()
        .influx("cpu_usage_system")
        .statsd("cpu_usage_system")
        .text(&["cpu_usage_system"]),
    plain("container_cpu_cfs_periods_total", &["cpu", "cfs", "periods"]),
    plain("container_cpu_cfs_throttled_periods_total", &["cpu", "cfs", "throttled_periods"]),
    plain("container_cpu_cfs_throttled_seconds_total", &["cpu", "cfs", "throttled_time"]).nanoseconds(),
    plain("container_cpu_schedstat_run_seconds_total", &["cpu", "schedstat", "run_time"]).nanoseconds(),
    plain("container_cpu_schedstat_runqueue_seconds_total", &["cpu", "schedstat", "runqueue_time"])
        .nanoseconds(),
    plain("container_cpu_schedstat_run_periods_total", &["cpu", "schedstat", "run_periods"]),
    plain("container_cpu_load_average_10s", &["cpu", "load_average"])
        .influx("load_average")
        .statsd("cpu_load_average")
        .text(&["load_average"]),
    plain(USAGE, &["memory", "usage"]).influx("memory_usage").statsd("memory_usage").text(&["memory_usage"]),
    plain("container_memory_max_usage_bytes", &["memory", "max_usage"])
        .influx("memory_max_usage")
        .text(&["memory_max_usage"]),
    plain("container_memory_cache", &["memory", "cache"]).influx("memory_cache").text(&["memory_cache"]),
    plain("container_memory_rss", &["memory", "rss"])
        .influx("memory_rss")
        .statsd("memory_rss")
        .text(&["memory_rss"]),
    plain("container_memory_swap", &["memory", "swap"]).influx("memory_swap").text(&["memory_swap"]),
    plain("container_memory_mapped_file", &["memory", "mapped_file"])
        .influx("memory_mapped_file")
        .statsd("memory_mapped_file")
        .text(&["memory_mapped_file"]),
    plain("container_memory_working_set_bytes", &["memory", "working_set"])
        .influx("memory_working_set")
        .statsd("memory_working_set")
        .text(&["memory_working_set"]),
    plain("container_memory_failcnt", &["memory", "failcnt"])
        .influx("memory_failcnt")
        .text(&["memory_failcnt"]),
    plain(FAULTS, &["memory", "container_data", "pgfault"])
        .with(&[("failure_type", "pgfault"), ("scope", "container")])
        .tagged("memory_failure", &[("failure_type", "pgfault"), ("scope", "container")])
        .text(&["memory_failure.container.pgfault"]),
    plain(FAULTS, &["memory", "container_data", "pgmajfault"])
        .with(&[("failure_type", "pgmajfault"), ("scope", "container")])
        .tagged("memory_failure", &[("failure_type", "pgmajfault"), ("scope", "container")])
        .text(&["memory_failure.container.pgmajfault"]),
    plain(FAULTS, &["memory", "hierarchical_data", "pgfault"])
        .with(&[("failure_type", "pgfault"), ("scope", "hierarchy")])
        .tagged("memory_failure", &[("failure_type", "pgfault"), ("scope", "hierarchical")])
        .text(&["memory_failure.hierarchical.pgfault"]),
    plain(FAULTS, &["memory", "hierarchical_data", "pgmajfault"])
        .with(&[("failure_type", "pgmajfault"), ("scope", "hierarchy")])
        .tagged("memory_failure", &[("failure_type", "pgmajfault"), ("scope", "hierarchical")])
        .text(&["memory_failure.hierarchical.pgmajfault"]),
    plain(TASKS, &["task_stats", "nr_sleeping"]).with(&[("state", "sleeping")]),
    plain(TASKS, &["task_stats", "nr_running"]).with(&[("state", "running")]),
    plain(TASKS, &["task_stats", "nr_stopped"]).with(&[("state", "stopped")]),
    plain(TASKS, &["task_stats", "nr_uninterruptible"]).with(&[("state", "uninterruptible")]),
    plain(TASKS, &["task_stats", "nr_io_wait"]).with(&[("state", "iowaiting")]),
    plain("container_processes", &["processes", "process_count"]),
    plain("container_file_descriptors", &["processes", "fd_count"]),
    plain("container_sockets", &["processes", "socket_count"]),
    plain("container_threads", &["processes", "threads_current"]),
    plain("container_threads_max", &["processes", "threads_max"]),
    plain("container_oom_events_total", &["oom_events"]),
];

/// Figures of a network interface: family, and the name in each interface. The first interface's are
/// those of the container, too.
pub const INTERFACE: &[(&str, &str)] = &[
    ("container_network_receive_bytes_total", "rx_bytes"),
    ("container_network_receive_packets_total", "rx_packets"),
    ("container_network_receive_errors_total", "rx_errors"),
    ("container_network_receive_packets_dropped_total", "rx_dropped"),
    ("container_network_transmit_bytes_total", "tx_bytes"),
    ("container_network_transmit_packets_total", "tx_packets"),
    ("container_network_transmit_errors_total", "tx_errors"),
    ("container_network_transmit_packets_dropped_total", "tx_dropped"),
];

/// Those that InfluxDB, statsd and standard output get.
pub const INTERFACE_FLAT: &[&str] = &["rx_bytes", "rx_errors", "tx_bytes", "tx_errors"];

/// Figures of a file system: family, name in `filesystem`, and elsewhere.
pub const FILESYSTEM: &[(&str, &str, Option<&str>)] = &[
    ("container_fs_limit_bytes", "capacity", Some("fs_limit")),
    ("container_fs_usage_bytes", "usage", Some("fs_usage")),
    ("container_fs_inodes_total", "inodes", None),
    ("container_fs_inodes_free", "inodes_free", None),
];

/// Figures of a block device: family, list in `diskio`, and the kind of access.
pub const DISK: &[(&str, &str, &str)] = &[
    ("container_fs_reads_bytes_total", "io_service_bytes", "Read"),
    ("container_fs_writes_bytes_total", "io_service_bytes", "Write"),
    ("container_fs_reads_total", "io_serviced", "Read"),
    ("container_fs_writes_total", "io_serviced", "Write"),
];
