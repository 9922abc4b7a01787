//! Series that no template page has and that the queries name.

use crate::bench::page::Series;

/// Label names and values without the metric's own.
type Pairs<'a> = Vec<(&'a str, String)>;

fn series(name: &str, counter: bool, value: f64, labels: Pairs<'_>) -> Series {
    let mut all = vec![("__name__".to_owned(), name.to_owned())];
    all.extend(labels.into_iter().map(|(n, v)| (n.to_owned(), v)));
    Series { counter, labels: all, value }
}

/// Families of a machine that the page of node_exporter's own tests lacks.
pub fn node() -> Vec<Series> {
    let mut all = Vec::new();
    for (i, (mount, fstype)) in
        [("/", "ext4"), ("/boot", "ext4"), ("/data", "xfs"), ("/run", "tmpfs"), ("/mnt", "nfs")]
            .iter()
            .enumerate()
    {
        for (family, value) in [
            ("node_filesystem_avail_bytes", 4e10),
            ("node_filesystem_free_bytes", 5e10),
            ("node_filesystem_size_bytes", 1e11),
            ("node_filesystem_files", 6e6),
            ("node_filesystem_files_free", 5e6),
            ("node_filesystem_readonly", 0.0),
            ("node_filesystem_device_error", 0.0),
        ] {
            let device = format!("/dev/sda{i}");
            let labels =
                vec![("device", device), ("fstype", (*fstype).into()), ("mountpoint", (*mount).into())];
            all.push(series(family, false, value, labels));
        }
    }
    for device in ["eth0", "eth1", "lo", "docker0"] {
        for direction in ["receive", "transmit"] {
            for (what, value) in [("bytes", 4e9), ("packets", 3e7), ("errs", 12.0)] {
                let family = format!("node_network_{direction}_{what}_total");
                all.push(series(&family, true, value, vec![("device", device.into())]));
            }
        }
        all.push(series("node_network_speed_bytes", false, 1.25e9, vec![("device", device.into())]));
    }
    for collector in
        ["cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "netstat", "stat", "vmstat"]
    {
        let labels = vec![("collector", collector.into())];
        all.push(series("node_scrape_collector_duration_seconds", false, 0.0042, labels));
    }
    for unit in ["cron", "dbus", "kubelet", "containerd", "ssh", "systemd-journald"] {
        for state in ["activating", "active", "deactivating", "failed", "inactive"] {
            let labels =
                vec![("name", format!("{unit}.service")), ("state", state.into()), ("type", "simple".into())];
            let value = f64::from(u8::from(state == "active"));
            all.push(series("node_systemd_unit_state", false, value, labels));
        }
    }
    let uname =
        [("domainname", "(none)"), ("machine", "x86_64"), ("release", "6.12.0"), ("sysname", "Linux")];
    let uname = uname.map(|(n, v)| (n, v.to_owned())).to_vec();
    all.push(series("node_uname_info", false, 1.0, uname));
    for (family, value) in [
        ("node_memory_MemAvailable_bytes", 6e9),
        ("node_timex_maxerror_seconds", 0.02),
        ("node_timex_offset_seconds", 0.001),
        ("node_timex_sync_status", 1.0),
    ] {
        all.push(series(family, false, value, Vec::new()));
    }
    let chip = vec![("chip", "platform_coretemp_0".into()), ("sensor", "temp1".into())];
    all.push(series("node_hwmon_temp_alarm", false, 0.0, chip));
    all
}

/// A web server of the project that Prometheus is measured with: what it says beside the
/// requests that it has answered.
pub fn web_server() -> Vec<Series> {
    let plain = |name, counter, value| series(name, counter, value, Vec::new());
    vec![
        plain("go_goroutines", false, 40.0),
        plain("go_memstats_frees_total", true, 3e7),
        plain("go_memstats_mallocs_total", true, 3.1e7),
        plain("go_gc_duration_seconds_sum", true, 12.5),
        plain("go_gc_duration_seconds_count", true, 3e4),
        plain("codelab_api_http_requests_in_progress", false, 3.0),
    ]
}

/// What a kubelet says.
pub fn kubelet(containers: usize) -> Vec<Series> {
    let mut all = vec![series("kubelet_running_pods", false, 12.0, Vec::new())];
    for n in 0..containers {
        let labels = vec![
            ("container", format!("c{}", n % 3)),
            ("id", format!("/kubepods/pod{n:04}")),
            ("image", format!("registry.example.com/app-{}:1.{}", n % 7, n % 4)),
            ("namespace", format!("team-{}", n % 5)),
            ("pod", format!("app-{n:04}")),
        ];
        all.push(series("container_memory_rss", false, 3e8, labels));
    }
    all
}

/// Bounds of the buckets of the web server's histogram, and the share of requests below each.
pub const BUCKETS: [(&str, f64); 11] = [
    ("0.0001", 0.02),
    ("0.0003", 0.11),
    ("0.001", 0.31),
    ("0.003", 0.55),
    ("0.01", 0.74),
    ("0.03", 0.87),
    ("0.1", 0.95),
    ("0.3", 0.983),
    ("1", 0.995),
    ("3", 0.999),
    ("+Inf", 1.0),
];

/// A series that counts a share of requests: its labels, and the share.
pub fn requests(method: &str, path: &str, status: &str) -> Vec<(Series, f64)> {
    let labels =
        || vec![("method", method.to_owned()), ("path", path.to_owned()), ("status", status.to_owned())];
    let mut all = vec![
        (series("codelab_api_requests_total", true, 0.0, labels()), 1.0),
        (series("codelab_api_request_duration_seconds_count", true, 0.0, labels()), 1.0),
        (series("codelab_api_request_duration_seconds_sum", true, 0.0, labels()), 0.013),
    ];
    if status != "200" {
        all.push((series("codelab_api_request_errors_total", true, 0.0, labels()), 1.0));
    }
    for (le, share) in BUCKETS {
        let mut labels = labels();
        labels.push(("le", le.to_owned()));
        all.push((series("codelab_api_request_duration_seconds_bucket", true, 0.0, labels), share));
    }
    all
}
