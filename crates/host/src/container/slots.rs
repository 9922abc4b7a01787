//! Names and meanings of the series that a container has at most once.

use crate::series::Family;

/// The series of a container that exist at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    CpuUsage,
    CpuUser,
    CpuSystem,
    CfsPeriods,
    CfsThrottledPeriods,
    CfsThrottledSeconds,
    CfsBurstPeriods,
    CfsBurstSeconds,
    MemoryUsage,
    MemoryWorkingSet,
    MemoryRss,
    MemoryCache,
    MemorySwap,
    MemoryMappedFile,
    MemoryKernel,
    MemoryActiveFile,
    MemoryInactiveFile,
    MemoryDirty,
    MemoryWriteback,
    MemoryMaxUsage,
    MemoryFailcnt,
    MemoryEventsHigh,
    MemoryEventsMax,
    FaultsContainer,
    FaultsHierarchy,
    MajorFaultsContainer,
    MajorFaultsHierarchy,
    RefaultAnon,
    RefaultFile,
    PageScan,
    PageSteal,
    SpecMemoryLimit,
    SpecMemoryReservation,
    SpecMemorySwap,
    SpecCpuPeriod,
    SpecCpuQuota,
    SpecCpuShares,
    Processes,
    Threads,
    ThreadsMax,
    PressureCpuWaiting,
    PressureCpuStalled,
    PressureMemoryWaiting,
    PressureMemoryStalled,
    PressureIoWaiting,
    PressureIoStalled,
    StartTime,
    LastSeen,
}

impl Slot {
    /// Has a value in every pass; the others have one when their container has its turn.
    pub(crate) fn is_fast(self) -> bool {
        matches!(
            self,
            Self::CpuUsage
                | Self::CpuUser
                | Self::CpuSystem
                | Self::CfsPeriods
                | Self::CfsThrottledPeriods
                | Self::CfsThrottledSeconds
                | Self::CfsBurstPeriods
                | Self::CfsBurstSeconds
                | Self::MemoryUsage
                | Self::MemoryWorkingSet
                | Self::Threads
        )
    }
}

pub(crate) type Extra = &'static [(&'static str, &'static str)];

const fn counter(slot: Slot, name: &'static str, help: &'static str) -> (Slot, Family<'static>, Extra) {
    (slot, Family::counter(name, help), &[])
}

const fn gauge(slot: Slot, name: &'static str, help: &'static str) -> (Slot, Family<'static>, Extra) {
    (slot, Family::gauge(name, help), &[])
}

const fn failures(slot: Slot, labels: Extra) -> (Slot, Family<'static>, Extra) {
    let help = "Cumulative count of memory allocation failures.";
    (slot, Family::counter("container_memory_failures_total", help), labels)
}

/// Names and meanings, in the order of [`Slot`].
pub(crate) const FAMILIES: [(Slot, Family<'_>, Extra); 48] = [
    (
        Slot::CpuUsage,
        Family::counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds."),
        &[("cpu", "total")],
    ),
    counter(
        Slot::CpuUser,
        "container_cpu_user_seconds_total",
        "Cumulative user cpu time consumed in seconds.",
    ),
    counter(
        Slot::CpuSystem,
        "container_cpu_system_seconds_total",
        "Cumulative system cpu time consumed in seconds.",
    ),
    counter(
        Slot::CfsPeriods,
        "container_cpu_cfs_periods_total",
        "Number of elapsed enforcement period intervals.",
    ),
    counter(
        Slot::CfsThrottledPeriods,
        "container_cpu_cfs_throttled_periods_total",
        "Number of throttled period intervals.",
    ),
    counter(
        Slot::CfsThrottledSeconds,
        "container_cpu_cfs_throttled_seconds_total",
        "Total time duration the container has been throttled.",
    ),
    counter(
        Slot::CfsBurstPeriods,
        "container_cpu_cfs_burst_periods_total",
        "Number of periods when burst occurs.",
    ),
    counter(
        Slot::CfsBurstSeconds,
        "container_cpu_cfs_burst_seconds_total",
        "Total time duration the container has been bursted.",
    ),
    gauge(
        Slot::MemoryUsage,
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
    ),
    gauge(Slot::MemoryWorkingSet, "container_memory_working_set_bytes", "Current working set in bytes."),
    gauge(Slot::MemoryRss, "container_memory_rss", "Size of RSS in bytes."),
    gauge(Slot::MemoryCache, "container_memory_cache", "Number of bytes of page cache memory."),
    gauge(Slot::MemorySwap, "container_memory_swap", "Container swap usage in bytes."),
    gauge(Slot::MemoryMappedFile, "container_memory_mapped_file", "Size of memory mapped files in bytes."),
    gauge(Slot::MemoryKernel, "container_memory_kernel_usage", "Size of kernel memory allocated in bytes."),
    gauge(
        Slot::MemoryActiveFile,
        "container_memory_total_active_file_bytes",
        "Current total active file in bytes.",
    ),
    gauge(
        Slot::MemoryInactiveFile,
        "container_memory_total_inactive_file_bytes",
        "Current total inactive file in bytes.",
    ),
    gauge(
        Slot::MemoryDirty,
        "container_memory_file_dirty_bytes",
        "Bytes of cached file data that was modified and not yet written to disk.",
    ),
    gauge(
        Slot::MemoryWriteback,
        "container_memory_file_writeback_bytes",
        "Bytes of cached file data that is being written to disk.",
    ),
    gauge(Slot::MemoryMaxUsage, "container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes"),
    counter(Slot::MemoryFailcnt, "container_memory_failcnt", "Number of memory usage hits limits"),
    counter(
        Slot::MemoryEventsHigh,
        "container_memory_events_high_total",
        "How often the container was throttled for memory above its high boundary.",
    ),
    counter(
        Slot::MemoryEventsMax,
        "container_memory_events_max_total",
        "How often the container was about to go beyond its memory limit.",
    ),
    failures(Slot::FaultsContainer, &[("failure_type", "pgfault"), ("scope", "container")]),
    failures(Slot::FaultsHierarchy, &[("failure_type", "pgfault"), ("scope", "hierarchy")]),
    failures(Slot::MajorFaultsContainer, &[("failure_type", "pgmajfault"), ("scope", "container")]),
    failures(Slot::MajorFaultsHierarchy, &[("failure_type", "pgmajfault"), ("scope", "hierarchy")]),
    counter(
        Slot::RefaultAnon,
        "container_memory_workingset_refault_anon_total",
        "Faults on anonymous pages that had been evicted shortly before.",
    ),
    counter(
        Slot::RefaultFile,
        "container_memory_workingset_refault_file_total",
        "Faults on file pages that had been evicted shortly before.",
    ),
    counter(Slot::PageScan, "container_memory_pgscan_total", "Pages scanned for reclaim."),
    counter(Slot::PageSteal, "container_memory_pgsteal_total", "Pages reclaimed."),
    gauge(Slot::SpecMemoryLimit, "container_spec_memory_limit_bytes", "Memory limit for the container."),
    gauge(
        Slot::SpecMemoryReservation,
        "container_spec_memory_reservation_limit_bytes",
        "Memory reservation limit for the container.",
    ),
    gauge(
        Slot::SpecMemorySwap,
        "container_spec_memory_swap_limit_bytes",
        "Memory swap limit for the container.",
    ),
    gauge(Slot::SpecCpuPeriod, "container_spec_cpu_period", "CPU period of the container."),
    gauge(Slot::SpecCpuQuota, "container_spec_cpu_quota", "CPU quota of the container."),
    gauge(Slot::SpecCpuShares, "container_spec_cpu_shares", "CPU share of the container."),
    gauge(Slot::Processes, "container_processes", "Number of processes running inside the container."),
    gauge(Slot::Threads, "container_threads", "Number of threads running inside the container"),
    gauge(
        Slot::ThreadsMax,
        "container_threads_max",
        "Maximum number of threads allowed inside the container, infinity if value is zero",
    ),
    counter(
        Slot::PressureCpuWaiting,
        "container_pressure_cpu_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to CPU congestion.",
    ),
    counter(
        Slot::PressureCpuStalled,
        "container_pressure_cpu_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to CPU congestion.",
    ),
    counter(
        Slot::PressureMemoryWaiting,
        "container_pressure_memory_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to memory congestion.",
    ),
    counter(
        Slot::PressureMemoryStalled,
        "container_pressure_memory_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to memory congestion.",
    ),
    counter(
        Slot::PressureIoWaiting,
        "container_pressure_io_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to IO congestion.",
    ),
    counter(
        Slot::PressureIoStalled,
        "container_pressure_io_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to IO congestion.",
    ),
    gauge(
        Slot::StartTime,
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds.",
    ),
    gauge(Slot::LastSeen, "container_last_seen", "Last time a container was seen by the exporter"),
];
