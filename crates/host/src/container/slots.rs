//! Names and meanings of the series that a container has at most once, in one table.

use crate::series::Family;

/// Labels of a series beside those that all of its container have.
pub(crate) type Extra = &'static [(&'static str, &'static str)];

/// Slot, pace, type, name, further labels, meaning.
macro_rules! slots {
    ($($slot:ident: $pace:ident $kind:ident $name:literal $extra:expr, $help:literal;)*) => {
        /// The series of a container that exist at most once.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Slot {
            $($slot,)*
        }

        /// Names and meanings, in the order of [`Slot`].
        pub(crate) const FAMILIES: [(Family<'_>, Extra); [$(Slot::$slot),*].len()] =
            [$((Family::$kind($name, $help), &$extra),)*];

        impl Slot {
            /// Has a value in every pass; the others have one when their container has its turn.
            pub(crate) const fn is_fast(self) -> bool {
                match self {
                    $(Self::$slot => slots!(@is_fast $pace),)*
                }
            }
        }
    };
    (@is_fast fast) => { true };
    (@is_fast slow) => { false };
}

slots! {
    CpuUsage: fast counter "container_cpu_usage_seconds_total" [("cpu", "total")],
        "Cumulative cpu time consumed in seconds.";
    CpuUser: fast counter "container_cpu_user_seconds_total" [],
        "Cumulative user cpu time consumed in seconds.";
    CpuSystem: fast counter "container_cpu_system_seconds_total" [],
        "Cumulative system cpu time consumed in seconds.";
    CfsPeriods: fast counter "container_cpu_cfs_periods_total" [],
        "Number of elapsed enforcement period intervals.";
    CfsThrottledPeriods: fast counter "container_cpu_cfs_throttled_periods_total" [],
        "Number of throttled period intervals.";
    CfsThrottledSeconds: fast counter "container_cpu_cfs_throttled_seconds_total" [],
        "Total time duration the container has been throttled.";
    CfsBurstPeriods: fast counter "container_cpu_cfs_burst_periods_total" [],
        "Number of periods when burst occurs.";
    CfsBurstSeconds: fast counter "container_cpu_cfs_burst_seconds_total" [],
        "Total time duration the container has been bursted.";
    MemoryUsage: fast gauge "container_memory_usage_bytes" [],
        "Current memory usage in bytes, including all memory regardless of when it was accessed";
    MemoryWorkingSet: fast gauge "container_memory_working_set_bytes" [],
        "Current working set in bytes.";
    MemoryRss: slow gauge "container_memory_rss" [],
        "Size of RSS in bytes.";
    MemoryCache: slow gauge "container_memory_cache" [],
        "Number of bytes of page cache memory.";
    MemorySwap: slow gauge "container_memory_swap" [],
        "Container swap usage in bytes.";
    MemoryMappedFile: slow gauge "container_memory_mapped_file" [],
        "Size of memory mapped files in bytes.";
    MemoryKernel: slow gauge "container_memory_kernel_usage" [],
        "Size of kernel memory allocated in bytes.";
    MemoryActiveFile: slow gauge "container_memory_total_active_file_bytes" [],
        "Current total active file in bytes.";
    MemoryInactiveFile: slow gauge "container_memory_total_inactive_file_bytes" [],
        "Current total inactive file in bytes.";
    MemoryDirty: slow gauge "container_memory_file_dirty_bytes" [],
        "Bytes of cached file data that was modified and not yet written to disk.";
    MemoryWriteback: slow gauge "container_memory_file_writeback_bytes" [],
        "Bytes of cached file data that is being written to disk.";
    MemoryMaxUsage: slow gauge "container_memory_max_usage_bytes" [],
        "Maximum memory usage recorded in bytes";
    MemoryFailcnt: slow counter "container_memory_failcnt" [],
        "Number of memory usage hits limits";
    MemoryEventsHigh: slow counter "container_memory_events_high_total" [],
        "How often the container was throttled for memory above its high boundary.";
    MemoryEventsMax: slow counter "container_memory_events_max_total" [],
        "How often the container was about to go beyond its memory limit.";
    FaultsContainer: slow counter "container_memory_failures_total" [("failure_type", "pgfault"), ("scope", "container")],
        "Cumulative count of memory allocation failures.";
    FaultsHierarchy: slow counter "container_memory_failures_total" [("failure_type", "pgfault"), ("scope", "hierarchy")],
        "Cumulative count of memory allocation failures.";
    MajorFaultsContainer: slow counter "container_memory_failures_total" [("failure_type", "pgmajfault"), ("scope", "container")],
        "Cumulative count of memory allocation failures.";
    MajorFaultsHierarchy: slow counter "container_memory_failures_total" [("failure_type", "pgmajfault"), ("scope", "hierarchy")],
        "Cumulative count of memory allocation failures.";
    RefaultAnon: slow counter "container_memory_workingset_refault_anon_total" [],
        "Faults on anonymous pages that had been evicted shortly before.";
    RefaultFile: slow counter "container_memory_workingset_refault_file_total" [],
        "Faults on file pages that had been evicted shortly before.";
    PageScan: slow counter "container_memory_pgscan_total" [],
        "Pages scanned for reclaim.";
    PageSteal: slow counter "container_memory_pgsteal_total" [],
        "Pages reclaimed.";
    SpecMemoryLimit: slow gauge "container_spec_memory_limit_bytes" [],
        "Memory limit for the container.";
    SpecMemoryReservation: slow gauge "container_spec_memory_reservation_limit_bytes" [],
        "Memory reservation limit for the container.";
    SpecMemorySwap: slow gauge "container_spec_memory_swap_limit_bytes" [],
        "Memory swap limit for the container.";
    SpecCpuPeriod: slow gauge "container_spec_cpu_period" [],
        "CPU period of the container.";
    SpecCpuQuota: slow gauge "container_spec_cpu_quota" [],
        "CPU quota of the container.";
    SpecCpuShares: slow gauge "container_spec_cpu_shares" [],
        "CPU share of the container.";
    Processes: slow gauge "container_processes" [],
        "Number of processes running inside the container.";
    Threads: fast gauge "container_threads" [],
        "Number of threads running inside the container";
    ThreadsMax: slow gauge "container_threads_max" [],
        "Maximum number of threads allowed inside the container, infinity if value is zero";
    PressureCpuWaiting: slow counter "container_pressure_cpu_waiting_seconds_total" [],
        "Total time duration tasks in the container have waited due to CPU congestion.";
    PressureCpuStalled: slow counter "container_pressure_cpu_stalled_seconds_total" [],
        "Total time duration no tasks in the container could make progress due to CPU congestion.";
    PressureMemoryWaiting: slow counter "container_pressure_memory_waiting_seconds_total" [],
        "Total time duration tasks in the container have waited due to memory congestion.";
    PressureMemoryStalled: slow counter "container_pressure_memory_stalled_seconds_total" [],
        "Total time duration no tasks in the container could make progress due to memory congestion.";
    PressureIoWaiting: slow counter "container_pressure_io_waiting_seconds_total" [],
        "Total time duration tasks in the container have waited due to IO congestion.";
    PressureIoStalled: slow counter "container_pressure_io_stalled_seconds_total" [],
        "Total time duration no tasks in the container could make progress due to IO congestion.";
    CreationTime: slow gauge "container_creation_time_seconds" [],
        "Creation time of the container since unix epoch in seconds.";
    StartTime: slow gauge "container_start_time_seconds" [],
        "Start time of the container since unix epoch in seconds.";
    LastSeen: slow gauge "container_last_seen" [],
        "Last time a container was seen by the exporter";
}
