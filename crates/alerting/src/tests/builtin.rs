//! The rules in `content/rules`: they fire when they should, and are silent when they should.

use super::timeline::{config, run};
use crate::check;

const HOST: &str = include_str!("../../../../content/rules/host.yml");
const CONTAINERS: &str = include_str!("../../../../content/rules/containers.yml");
const VEDETTE: &str = include_str!("../../../../content/rules/vedette.yml");

#[test]
fn they_have_no_problem() {
    let files = [("host.yml", HOST), ("containers.yml", CONTAINERS), ("vedette.yml", VEDETTE)];
    let problems = check(&files.map(|(name, text)| (name.to_owned(), text.to_owned())));
    assert!(problems.is_empty(), "{}", problems[0]);
}

#[test]
fn burning_a_core_is_told_of_within_thirty_seconds() {
    run(
        "1s",
        &config(),
        &[CONTAINERS],
        r#"
        series container_cpu_usage_seconds_total{id="/a",name="burn",instance="h"} 0+0.01x20 0.2+1x60
        series container_cpu_usage_seconds_total{id="/b",name="calm",instance="h"} 0+0.5x80
        series container_cpu_usage_seconds_total{id="/",instance="h"} 0+1.6x80
        at 19s expect inactive ContainerCpuHigh
        at 33s expect pending ContainerCpuHigh
        at 50s expect firing ContainerCpuHigh
        at 50s expect value count(ALERTS{alertname="ContainerCpuHigh",alertstate="firing"}) 1
        at 50s expect notify firing ContainerCpuHigh
        at 50s expect inactive ContainerCpuAtQuota
    "#,
    );
}

#[test]
fn container_limits() {
    run(
        "1s",
        &config(),
        &[CONTAINERS],
        r#"
        series container_cpu_usage_seconds_total{id="/a",name="q",instance="h"} 0+0.48x90
        series container_spec_cpu_quota{id="/a",name="q",instance="h"} 50000x90
        series container_spec_cpu_period{id="/a",name="q",instance="h"} 100000x90
        series container_memory_working_set_bytes{id="/a",name="q",instance="h"} 95x90
        series container_spec_memory_limit_bytes{id="/a",name="q",instance="h"} 100x90
        series container_memory_working_set_bytes{id="/b",name="free",instance="h"} 95x90
        series container_spec_memory_limit_bytes{id="/b",name="free",instance="h"} 0x90
        series container_oom_events_total{id="/a",name="q",instance="h"} 0x30 1x60
        series container_restarts_total{id="/a",name="q",instance="h"} 0x30 1x10 2x10 3x40
        at 25s expect inactive ContainerOomKill
        at 40s expect firing ContainerCpuAtQuota
        at 40s expect inactive ContainerCpuHigh
        at 40s expect firing ContainerOomKill
        at 40s expect firing ContainerMemoryNearLimit
        at 40s expect value count(ALERTS{alertname="ContainerMemoryNearLimit"}) 1
        at 40s expect inactive ContainerRestarting
        at 60s expect firing ContainerRestarting
    "#,
    );
}

#[test]
fn a_filling_disk_is_told_apart_from_noise() {
    run(
        "1m",
        &config(),
        &[HOST],
        r#"
        series node_filesystem_size_bytes{instance="h",device="a",mountpoint="/full",fstype="ext4"} 1000x130
        series node_filesystem_avail_bytes{instance="h",device="a",mountpoint="/full",fstype="ext4"} 390+-1x130
        series node_filesystem_readonly{instance="h",device="a",mountpoint="/full",fstype="ext4"} 0x130
        series node_filesystem_size_bytes{instance="h",device="b",mountpoint="/noise",fstype="ext4"} 1000x130
        series node_filesystem_avail_bytes{instance="h",device="b",mountpoint="/noise",fstype="ext4"} 300x70 299x60
        series node_filesystem_readonly{instance="h",device="b",mountpoint="/noise",fstype="ext4"} 0x130
        series node_filesystem_size_bytes{instance="h",device="c",mountpoint="/roomy",fstype="ext4"} 1000x130
        series node_filesystem_avail_bytes{instance="h",device="c",mountpoint="/roomy",fstype="ext4"} 900+-1x130
        series node_filesystem_readonly{instance="h",device="c",mountpoint="/roomy",fstype="ext4"} 0x130
        at 30m expect inactive HostDiskFullSoon
        at 75m expect firing HostDiskFullSoon
        at 75m expect value count(ALERTS{alertname="HostDiskFullSoon"}) 1
        at 75m expect value count(ALERTS{mountpoint="/full"}) 1
        at 75m expect inactive HostDiskAlmostFull
    "#,
    );
}

#[test]
fn saturation_of_the_host() {
    run(
        "5s",
        &config(),
        &[HOST],
        r#"
        series node_cpu_seconds_total{instance="h",cpu="0",mode="idle"} 0+3x60
        series node_cpu_seconds_total{instance="h",cpu="0",mode="iowait"} 0x20 0+2x40
        series node_pressure_io_waiting_seconds_total{instance="h"} 0x20 0+3x40
        series node_pressure_memory_waiting_seconds_total{instance="h"} 0x20 0+2x40
        series node_memory_MemAvailable_bytes{instance="h"} 10x60
        series node_memory_MemTotal_bytes{instance="h"} 100x60
        series node_vmstat_oom_kill{instance="h"} 0x20 1x40
        series node_time_seconds{instance="h"} 1700000000+5x20 1700000600+5x40
        at 90s expect inactive HostIowaitHigh
        at 90s expect inactive HostMemoryPressure
        at 90s expect inactive HostOomKill
        at 90s expect inactive HostClockSkew
        at 110s expect firing HostOomKill
        at 230s expect firing HostIowaitHigh
        at 230s expect firing HostMemoryPressure
        at 230s expect firing HostClockSkew
    "#,
    );
}

#[test]
fn a_host_that_is_no_longer_read() {
    run(
        "5s",
        &config(),
        &[HOST],
        r#"
        series node_boot_time_seconds{instance="gone"} 1x20 _x40
        series node_boot_time_seconds{instance="there"} 1x60
        at 100s expect inactive HostNotRead
        at 180s expect firing HostNotRead
        at 180s expect value count(ALERTS{alertname="HostNotRead"}) 1
        at 190s expect notify firing HostNotRead
    "#,
    );
}

#[test]
fn vedette_watches_itself() {
    run(
        "5s",
        &config(),
        &[VEDETTE],
        r#"
        series vedette_ebpf_events_dropped_total{instance="h",class="exec"} 0x20 5x60
        series vedette_part_health{instance="h",part="sensor",health="off"} 0x20 1x60
        series vedette_part_health{instance="h",part="tsdb",health="failed"} 0x80
        series vedette_ruler_oldest_intent_seconds{instance="h"} 0x20 0+5x60
        series vedette_ruler_evaluation_failures_total{instance="h"} 0x20 0+1x60
        series vedette_ruler_missed_evaluations_total{instance="h"} 0x80
        series vedette_tsdb_append_failures_total{instance="h"} 0x20 1x60
        at 95s expect inactive VedetteEventsLost
        at 95s expect inactive VedettePartOff
        at 95s expect inactive VedetteRulesFail
        at 120s expect firing VedetteEventsLost
        at 130s expect firing VedettePartOff
        at 130s expect firing VedetteStoreWriteFails
        at 150s expect firing VedetteRulesFail
        at 290s expect firing VedetteNotificationsStuck
        at 290s expect inactive VedettePartFailed
        at 290s expect inactive VedetteRulesLate
    "#,
    );
}
