//! The documents of cAdvisor, with its names of fields: `info/v1` and `info/v2` of its sources
//! describe them. Times are RFC 3339, times of processors whole nanoseconds, sizes bytes.

use serde_json::{Map, Value, json};
use vedette_model::{MachineFacts, ProcessFigures};
use vedette_wire::number::rfc3339;

use super::rows::Rows;

/// One container's specification, in version 1 and, with its names, in version 2.
pub(super) fn spec(rows: &Rows, now_ms: i64, version_2: bool) -> Value {
    let value = |name: &str| rows.value(name, now_ms);
    let has_cpu = rows.has("container_cpu_usage_seconds_total");
    let has_memory = rows.has("container_memory_usage_bytes");
    let mut spec = Map::new();
    let created = value("container_creation_time_seconds").or(value("container_start_time_seconds"));
    spec.insert("creation_time".into(), stamp_seconds(created.unwrap_or(0.0)).into());
    if version_2 {
        let (name, id) = (rows.label("name"), last_part(rows.label("id")));
        let aliases: Vec<&str> = [name, id].into_iter().filter(|alias| !alias.is_empty()).collect();
        if !name.is_empty() {
            spec.insert("aliases".into(), json!(aliases));
            spec.insert(
                "namespace".into(),
                rows.label_values("container_info", "runtime").first().copied().unwrap_or("").into(),
            );
        }
    }
    let labels = rows.let_through();
    let mut own: Map<String, Value> = Map::new();
    let mut environment: Map<String, Value> = Map::new();
    for (name, value) in labels {
        match (name.strip_prefix("container_label_"), name.strip_prefix("container_env_")) {
            (Some(label), _) => _ = own.insert(label.to_owned(), value.into()),
            (_, Some(variable)) => _ = environment.insert(variable.to_owned(), value.into()),
            (None, None) => {}
        }
    }
    for (label, name) in [
        ("pod", "io.kubernetes.pod.name"),
        ("namespace", "io.kubernetes.pod.namespace"),
        ("container", "io.kubernetes.container.name"),
    ] {
        if !rows.label(label).is_empty() {
            own.insert(name.to_owned(), rows.label(label).into());
        }
    }
    if !own.is_empty() {
        spec.insert("labels".into(), own.into());
    }
    if !environment.is_empty() {
        spec.insert("envs".into(), environment.into());
    }
    spec.insert("has_cpu".into(), has_cpu.into());
    spec.insert(
        "cpu".into(),
        json!({
            "limit": whole(value("container_spec_cpu_shares")),
            "max_limit": 0,
            "quota": whole(value("container_spec_cpu_quota")),
            "period": whole(value("container_spec_cpu_period")),
        }),
    );
    spec.insert("has_memory".into(), has_memory.into());
    // Where nothing is set, cAdvisor has the largest number.
    let limit = |name: &str| match whole(value(name)) {
        0 => u64::MAX,
        bytes => bytes,
    };
    spec.insert(
        "memory".into(),
        json!({
            "limit": limit("container_spec_memory_limit_bytes"),
            "reservation": whole(value("container_spec_memory_reservation_limit_bytes")),
            "swap_limit": limit("container_spec_memory_swap_limit_bytes"),
        }),
    );
    spec.insert("has_hugetlb".into(), false.into());
    spec.insert("has_network".into(), rows.has("container_network_receive_bytes_total").into());
    spec.insert("has_processes".into(), rows.has("container_threads").into());
    spec.insert("processes".into(), json!({ "limit": whole(value("container_threads_max")) }));
    spec.insert("has_filesystem".into(), rows.has("container_fs_usage_bytes").into());
    spec.insert("has_diskio".into(), rows.has("container_fs_reads_bytes_total").into());
    spec.insert("has_custom_metrics".into(), false.into());
    if !rows.label("image").is_empty() {
        spec.insert("image".into(), rows.label("image").into());
    }
    spec.into()
}

/// One moment of a container, in version 1 or 2.
pub(super) fn stats(rows: &Rows, time_ms: i64, before_ms: Option<i64>, version_2: bool) -> Value {
    let value = |name: &str| rows.value(name, time_ms);
    let count = |name: &str| whole(value(name));
    let mut stats = Map::new();
    stats.insert("timestamp".into(), stamp_ms(time_ms).into());
    if rows.has("container_cpu_usage_seconds_total") {
        stats.insert(
            "cpu".into(),
            json!({
                "usage": {
                    "total": nanos(value("container_cpu_usage_seconds_total")),
                    "user": nanos(value("container_cpu_user_seconds_total")),
                    "system": nanos(value("container_cpu_system_seconds_total")),
                },
                "cfs": {
                    "periods": count("container_cpu_cfs_periods_total"),
                    "throttled_periods": count("container_cpu_cfs_throttled_periods_total"),
                    "throttled_time": nanos(value("container_cpu_cfs_throttled_seconds_total")),
                    "burst_periods": count("container_cpu_cfs_burst_periods_total"),
                    "burst_time": nanos(value("container_cpu_cfs_burst_seconds_total")),
                },
                "schedstat": {
                    "run_time": nanos(value("container_cpu_schedstat_run_seconds_total")),
                    "runqueue_time": nanos(value("container_cpu_schedstat_runqueue_seconds_total")),
                    "run_periods": count("container_cpu_schedstat_run_periods_total"),
                },
                "load_average": count("container_cpu_load_average_10s"),
                "load_d_average": count("container_cpu_load_d_average_10s"),
            }),
        );
        if let Some(before_ms) = before_ms.filter(|before| version_2 && *before < time_ms) {
            stats.insert("cpu_inst".into(), cpu_rate(rows, before_ms, time_ms));
        }
    }
    stats.insert("diskio".into(), disk_io(rows, time_ms));
    if rows.has("container_memory_usage_bytes") {
        stats.insert("memory".into(), memory(rows, time_ms));
    }
    stats.insert("network".into(), network(rows, time_ms, version_2));
    if rows.has("container_fs_usage_bytes") {
        let all = file_systems(rows, time_ms);
        let sum = |field: &str| all.iter().filter_map(|fs| fs[field].as_u64()).sum::<u64>();
        let files = if version_2 {
            json!({ "totalUsageBytes": sum("usage"), "baseUsageBytes": 0, "inodeUsage": count("container_fs_inodes_used") })
        } else {
            all.into()
        };
        stats.insert("filesystem".into(), files);
    }
    let state = |state: &str| whole(rows.value_with("container_tasks_state", &[("state", state)], time_ms));
    let tasks = json!({
        "nr_sleeping": state("sleeping"),
        "nr_running": state("running"),
        "nr_stopped": state("stopped"),
        "nr_uninterruptible": state("uninterruptible"),
        "nr_io_wait": 0,
    });
    stats.insert(if version_2 { "load_stats" } else { "task_stats" }.into(), tasks);
    stats.insert(
        "processes".into(),
        json!({
            "process_count": count("container_processes"),
            "fd_count": count("container_file_descriptors"),
            "socket_count": count("container_sockets"),
            "threads_current": count("container_threads"),
            "threads_max": count("container_threads_max"),
        }),
    );
    if rows.has("container_oom_events_total") {
        stats.insert("oom_events".into(), count("container_oom_events_total").into());
    }
    stats.into()
}

/// Nanoseconds of processors a second, between two moments.
fn cpu_rate(rows: &Rows, before_ms: i64, time_ms: i64) -> Value {
    let seconds = milliseconds(time_ms - before_ms) / 1000.0;
    let rate = |name: &str| {
        let passed = rows.value(name, time_ms).zip(rows.value(name, before_ms)).map(|(now, then)| now - then);
        nanos(passed.map(|passed| passed.max(0.0) / seconds))
    };
    json!({ "usage": {
        "total": rate("container_cpu_usage_seconds_total"),
        "user": rate("container_cpu_user_seconds_total"),
        "system": rate("container_cpu_system_seconds_total"),
    } })
}

fn memory(rows: &Rows, time_ms: i64) -> Value {
    let count = |name: &str| whole(rows.value(name, time_ms));
    let faults = |kind: &str, scope: &str| {
        whole(rows.value_with(
            "container_memory_failures_total",
            &[("failure_type", kind), ("scope", scope)],
            time_ms,
        ))
    };
    let of = |scope: &str| json!({ "pgfault": faults("pgfault", scope), "pgmajfault": faults("pgmajfault", scope) });
    json!({
        "usage": count("container_memory_usage_bytes"),
        "max_usage": count("container_memory_max_usage_bytes"),
        "cache": count("container_memory_cache"),
        "rss": count("container_memory_rss"),
        "swap": count("container_memory_swap"),
        "mapped_file": count("container_memory_mapped_file"),
        "working_set": count("container_memory_working_set_bytes"),
        "total_active_file": count("container_memory_total_active_file_bytes"),
        "total_inactive_file": count("container_memory_total_inactive_file_bytes"),
        "failcnt": count("container_memory_failcnt"),
        "kernel": count("container_memory_kernel_usage"),
        "container_data": of("container"),
        "hierarchical_data": of("hierarchy"),
    })
}

fn disk_io(rows: &Rows, time_ms: i64) -> Value {
    let table = |read: &str, write: &str| -> Vec<Value> {
        let devices = rows.label_values(read, "device");
        let of = |device: &&str| {
            let value = |name: &str| whole(rows.value_with(name, &[("device", device)], time_ms));
            let usage = "container_blkio_device_usage_total";
            let number = |label: &str| {
                let values = rows.label_values(usage, label);
                let mine = values
                    .into_iter()
                    .find(|v| rows.value_with(usage, &[("device", device), (label, v)], time_ms).is_some());
                mine.and_then(|v| v.parse::<u64>().ok()).unwrap_or(0)
            };
            let (reads, writes) = (value(read), value(write));
            json!({
                "device": device, "major": number("major"), "minor": number("minor"),
                "stats": { "Read": reads, "Write": writes, "Total": reads + writes },
            })
        };
        devices.iter().map(of).collect()
    };
    json!({
        "io_service_bytes": table("container_fs_reads_bytes_total", "container_fs_writes_bytes_total"),
        "io_serviced": table("container_fs_reads_total", "container_fs_writes_total"),
    })
}

fn network(rows: &Rows, time_ms: i64, version_2: bool) -> Value {
    let name = |direction: &str, what: &str| format!("container_network_{direction}_{what}_total");
    let interfaces = rows.label_values("container_network_receive_bytes_total", "interface");
    let of = |interface: &&str| {
        let mut figures = Map::new();
        figures.insert("name".into(), (*interface).into());
        for (prefix, direction) in [("rx", "receive"), ("tx", "transmit")] {
            for (field, what) in [
                ("bytes", "bytes"),
                ("packets", "packets"),
                ("errors", "errors"),
                ("dropped", "packets_dropped"),
            ] {
                let value = rows.value_with(&name(direction, what), &[("interface", interface)], time_ms);
                figures.insert(format!("{prefix}_{field}"), whole(value).into());
            }
        }
        figures
    };
    let all: Vec<Map<String, Value>> = interfaces.iter().map(of).collect();
    // Version 1 has the first interface at the top.
    let mut network = all.first().filter(|_| !version_2).cloned().unwrap_or_default();
    network.insert("interfaces".into(), all.into_iter().map(Value::from).collect());
    network.into()
}

fn file_systems(rows: &Rows, time_ms: i64) -> Vec<Value> {
    let devices = rows.label_values("container_fs_usage_bytes", "device");
    let of = |device: &&str| {
        let value = |name: &str| whole(rows.value_with(name, &[("device", device)], time_ms));
        let (capacity, usage) = (value("container_fs_limit_bytes"), value("container_fs_usage_bytes"));
        let inodes = value("container_fs_inodes_total");
        json!({
            "device": device, "type": "vfs", "capacity": capacity, "usage": usage, "base_usage": 0,
            "available": capacity.saturating_sub(usage), "has_inodes": inodes > 0, "inodes": inodes,
            "inodes_free": value("container_fs_inodes_free"),
            "reads_completed": value("container_fs_reads_total"),
            "reads_merged": value("container_fs_reads_merged_total"),
            "sectors_read": value("container_fs_sector_reads_total"),
            "writes_completed": value("container_fs_writes_total"),
            "writes_merged": value("container_fs_writes_merged_total"),
            "sectors_written": value("container_fs_sector_writes_total"),
            "io_in_progress": value("container_fs_io_current"),
        })
    };
    devices.iter().map(of).collect()
}

/// The machine's file systems, as version 2.1 lists them.
pub(super) fn storage(root: &Rows, time_ms: i64) -> Value {
    let all = file_systems(root, time_ms).into_iter().map(|fs| {
        json!({
            "timestamp": stamp_ms(time_ms), "device": fs["device"], "mountpoint": "",
            "capacity": fs["capacity"], "available": fs["available"], "usage": fs["usage"],
            "labels": [], "inodes": fs["inodes"], "inodes_free": fs["inodes_free"],
        })
    });
    all.collect()
}

/// The machine.
pub(super) fn machine(machine: &MachineFacts, root: &Rows, now_ms: i64) -> Map<String, Value> {
    let file_systems: Vec<Value> = file_systems(root, now_ms)
        .into_iter()
        .map(|fs| {
            json!({
                "device": fs["device"], "capacity": fs["capacity"], "type": "vfs", "inodes": fs["inodes"],
                "has_inodes": fs["has_inodes"],
            })
        })
        .collect();
    let disks: Map<String, Value> = machine
        .disks
        .iter()
        .map(|disk| {
            let document = json!({
                "name": disk.name, "major": disk.major, "minor": disk.minor, "size": disk.size_bytes,
                "scheduler": disk.scheduler,
            });
            (format!("{}:{}", disk.major, disk.minor), document)
        })
        .collect();
    let networks: Vec<Value> = machine
        .networks
        .iter()
        .map(|n| json!({ "name": n.name, "mac_address": n.address, "speed": n.speed_mbits, "mtu": n.mtu }))
        .collect();
    let document = json!({
        "timestamp": stamp_ms(now_ms),
        "vendor_id": machine.vendor,
        "num_cores": machine.cores,
        "num_physical_cores": machine.physical_cores,
        "num_sockets": machine.sockets,
        "cpu_frequency_khz": machine.frequency_khz,
        "memory_capacity": machine.memory_bytes,
        "swap_capacity": machine.swap_bytes,
        "memory_by_type": {},
        "nvm": { "memory_mode_capacity": 0, "app direct_mode_capacity": 0, "avg_power_budget": 0 },
        "hugepages": [],
        "machine_id": machine.machine_id,
        "system_uuid": machine.system_uuid,
        "boot_id": machine.boot_id,
        "filesystems": file_systems,
        "disk_map": disks,
        "network_devices": networks,
        "topology": [],
        "cloud_provider": "Unknown",
        "instance_type": "Unknown",
        "instance_id": "None",
    });
    match document {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The machine and its versions.
pub(super) fn attributes(facts: &MachineFacts, root: &Rows, version: &str, now_ms: i64) -> Value {
    let machine = machine(facts, root, now_ms);
    let mut attributes = Map::new();
    for (name, value) in [
        ("kernel_version", facts.kernel.as_str()),
        ("container_os_version", &facts.os),
        ("docker_version", ""),
        ("docker_api_version", ""),
        ("cadvisor_version", version),
    ] {
        attributes.insert(name.to_owned(), value.into());
    }
    let shared = [
        "num_cores",
        "cpu_frequency_khz",
        "memory_capacity",
        "machine_id",
        "system_uuid",
        "hugepages",
        "filesystems",
        "disk_map",
        "network_devices",
        "topology",
        "cloud_provider",
        "instance_type",
    ];
    attributes.extend(machine.into_iter().filter(|(name, _)| shared.contains(&name.as_str())));
    attributes.into()
}

/// A process as `ps` has it.
pub(super) fn process(process: &ProcessFigures) -> Value {
    let seconds = whole(Some(process.cpu_seconds));
    json!({
        "user": process.user,
        "pid": process.pid,
        "parent_pid": process.parent_pid,
        "start_time": stamp_seconds(process.start_seconds),
        "percent_cpu": tenths(process.cpu_percent),
        "percent_mem": tenths(process.memory_percent),
        "rss": process.resident_bytes,
        "virtual_size": process.virtual_bytes,
        "status": process.state.to_string(),
        "running_time": format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        "cgroup_path": process.cgroup,
        "cmd": process.command,
        "fd_count": process.open_files,
        "psr": process.processor,
    })
}

pub(super) fn stamp_ms(time_ms: i64) -> String {
    rfc3339(time_ms.saturating_mul(1_000_000))
}

fn stamp_seconds(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a cast bounds it")]
    let ms = (seconds * 1000.0) as i64;
    stamp_ms(ms)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A figure that counts, or none as zero.
pub(super) fn whole(value: Option<f64>) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast bounds it")]
    let whole = value.unwrap_or(0.0).round() as u64;
    whole
}

/// Seconds in nanoseconds.
fn nanos(seconds: Option<f64>) -> u64 {
    whole(seconds.map(|seconds| seconds * 1e9))
}

#[expect(clippy::cast_precision_loss, reason = "differences of times are small")]
fn milliseconds(ms: i64) -> f64 {
    ms as f64
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
