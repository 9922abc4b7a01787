//! The rules in `content/rules`: they fire when they should, and are silent when they should.

use std::{fs, path::Path};

use super::timeline::{config, run};
use crate::{Rule, check, load};

const HOST: &str = include_str!("../../../../content/rules/host.yml");
const CONTAINERS: &str = include_str!("../../../../content/rules/containers.yml");
const KUBERNETES: &str = include_str!("../../../../content/rules/kubernetes.yml");
const VEDETTE: &str = include_str!("../../../../content/rules/vedette.yml");

#[test]
fn they_have_no_problem() {
    let files = [
        ("host.yml", HOST),
        ("containers.yml", CONTAINERS),
        ("kubernetes.yml", KUBERNETES),
        ("vedette.yml", VEDETTE),
    ];
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
fn a_part_of_a_cluster_that_fails_is_told_at_once() {
    run(
        "1s",
        &config(),
        &[KUBERNETES],
        r#"
        series vedette_cluster_part_up{cluster="c",part="etcd",instance="a:1"} 1x10 0x10 1x40
        series vedette_cluster_part_up{cluster="c",part="kubelet",instance="n"} 1x10 NaNx50
        series vedette_cluster_part_problem_info{cluster="c",part="coredns",instance="",state="degraded"} _x10 1x50
        series vedette_cluster_part_problem_info{cluster="c",part="kubelet",instance="n",state="unknown"} _x10 1x50
        series vedette_cluster_part_database_bytes{cluster="c",part="etcd",instance="a:1"} 95x200
        series vedette_cluster_part_database_quota_bytes{cluster="c",part="etcd",instance="a:1"} 100x200
        at 9s expect inactive ClusterPartFailed
        at 12s expect firing ClusterPartFailed
        at 12s expect value count(ALERTS{alertname="ClusterPartFailed",part="etcd",alertstate="firing"}) 1
        at 12s expect value count(ALERTS{alertname="ClusterPartFailed"}) 1
        at 15s expect pending ClusterPartDegraded
        at 25s expect firing ClusterPartDegraded
        at 25s expect inactive ClusterPartFailed
        at 25s expect value count(ALERTS{alertname="ClusterPartDegraded"}) 1
        at 40s expect pending ClusterEtcdSpaceLow
        at 65s expect firing ClusterEtcdSpaceLow
    "#,
    );
}

#[test]
fn certificates_that_end_soon_are_told_by_days_or_by_their_share() {
    // Scripts begin at 1700000000. A year is 31536000 s: told 30 and 7 days before its end. Of what lasts for a day a
    // twelfth is 7200 s, and a 52nd 1661 s. What has just begun for a day, or for ten years, is well.
    run(
        "1s",
        &config(),
        &[KUBERNETES],
        r#"
        series vedette_cluster_certificate_not_after_seconds{subject="year"} 1702592100x300
        series vedette_cluster_certificate_not_before_seconds{subject="year"} 1671056100x300
        series vedette_cluster_certificate_not_after_seconds{subject="week"} 1700604900x300
        series vedette_cluster_certificate_not_before_seconds{subject="week"} 1669068900x300
        series vedette_cluster_certificate_not_after_seconds{subject="day"} 1700007300x300
        series vedette_cluster_certificate_not_before_seconds{subject="day"} 1699920900x300
        series vedette_cluster_certificate_not_after_seconds{subject="fresh"} 1700086400x300
        series vedette_cluster_certificate_not_before_seconds{subject="fresh"} 1700000000x300
        series vedette_cluster_certificate_not_after_seconds{subject="over"} 1699999900x300
        series vedette_cluster_certificate_not_before_seconds{subject="over"} 1668463900x300
        series vedette_cluster_certificate_not_after_seconds{subject="far"} 2015360000x300
        series vedette_cluster_certificate_not_before_seconds{subject="far"} 1700000000x300
        at 99s expect value count(ALERTS{alertname="ClusterCertificateEndsSoon",subject=~"year|day|fresh|far"}) none
        at 99s expect value count(ALERTS{alertname="ClusterCertificateEndsVerySoon"}) 1
        at 99s expect firing ClusterCertificateEndsVerySoon
        at 170s expect value count(ALERTS{alertname="ClusterCertificateEndsSoon",alertstate="firing"}) 4
        at 170s expect value count(ALERTS{alertname="ClusterCertificateEndsSoon",subject=~"fresh|far"}) none
        at 170s expect value count(ALERTS{alertname="ClusterCertificateEndsVerySoon",alertstate="firing"}) 2
        at 170s expect value count(ALERTS{alertname="ClusterCertificateEndsVerySoon",subject=~"over|week"}) 2
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
        series container_cpu_cfs_periods_total{id="/a",name="q",instance="h"} 0+10x180
        series container_cpu_cfs_throttled_periods_total{id="/a",name="q",instance="h"} 0+4x180
        series container_cpu_cfs_periods_total{id="/b",name="free",instance="h"} 0+10x180
        series container_cpu_cfs_throttled_periods_total{id="/b",name="free",instance="h"} 0+1x180
        at 25s expect inactive ContainerOomKill
        at 40s expect firing ContainerCpuAtQuota
        at 40s expect inactive ContainerCpuHigh
        at 40s expect firing ContainerOomKill
        at 40s expect firing ContainerMemoryNearLimit
        at 40s expect value count(ALERTS{alertname="ContainerMemoryNearLimit"}) 1
        at 40s expect inactive ContainerRestarting
        at 50s expect pending ContainerCpuThrottled
        at 60s expect firing ContainerRestarting
        at 90s expect firing ContainerCpuThrottled
        at 90s expect value count(ALERTS{alertname="ContainerCpuThrottled"}) 1
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
fn a_full_disk_is_told_unless_nobody_writes_there() {
    run(
        "5s",
        &config(),
        &[HOST],
        r#"
        series node_filesystem_size_bytes{instance="h",device="a",mountpoint="/full",fstype="ext4"} 1000x60
        series node_filesystem_avail_bytes{instance="h",device="a",mountpoint="/full",fstype="ext4"} 31x20 29x40
        series node_filesystem_readonly{instance="h",device="a",mountpoint="/full",fstype="ext4"} 0x60
        series node_filesystem_size_bytes{instance="h",device="b",mountpoint="/image",fstype="ext4"} 1000x60
        series node_filesystem_avail_bytes{instance="h",device="b",mountpoint="/image",fstype="ext4"} 0x60
        series node_filesystem_readonly{instance="h",device="b",mountpoint="/image",fstype="ext4"} 1x60
        series node_filesystem_size_bytes{instance="h",device="c",mountpoint="/run",fstype="tmpfs"} 1000x60
        series node_filesystem_avail_bytes{instance="h",device="c",mountpoint="/run",fstype="tmpfs"} 0x60
        series node_filesystem_readonly{instance="h",device="c",mountpoint="/run",fstype="tmpfs"} 0x60
        at 95s expect inactive HostDiskAlmostFull
        at 150s expect pending HostDiskAlmostFull
        at 175s expect firing HostDiskAlmostFull
        at 175s expect value count(ALERTS{alertname="HostDiskAlmostFull"}) 1
        at 175s expect value count(ALERTS{mountpoint="/full"}) 1
    "#,
    );
}

#[test]
fn a_collector_that_fails_is_told_apart_from_one_that_the_kernel_lacks() {
    run(
        "5s",
        &config(),
        &[HOST],
        r#"
        series node_scrape_collector_success{instance="h",collector="disk"} 1x20 0x60
        series vedette_part_health{instance="h",part="collector.node",health="degraded"} 0x20 1x60
        series node_scrape_collector_success{instance="old",collector="pressure"} 0x80
        series vedette_part_health{instance="old",part="collector.node",health="degraded"} 0x80
        at 150s expect pending HostCollectorFailing
        at 250s expect firing HostCollectorFailing
        at 250s expect value count(ALERTS{alertname="HostCollectorFailing"}) 1
        at 250s expect value count(ALERTS{collector="disk"}) 1
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
        series vedette_part_health{instance="h",part="runtime./run/x.sock",health="off"} 1x80
        series vedette_part_health{instance="h",part="tsdb",health="failed"} 0x40 1x40
        series vedette_ruler_evaluation_failures_total{instance="h"} 0x20 0+1x60
        series vedette_ruler_missed_evaluations_total{instance="h"} 0x40 0+1x40
        series vedette_ruler_panics_total{instance="h"} 0x20 1x60
        series vedette_ruler_detection_panics_total{instance="h"} 0x80
        series vedette_ruler_findings_dropped_total{instance="h"} 0x20 3x60
        series vedette_tsdb_append_failures_total{instance="h"} 0x20 1x60
        at 95s expect inactive VedetteEventsLost
        at 95s expect inactive VedettePartOff
        at 95s expect inactive VedetteRulesFail
        at 95s expect inactive VedetteFaultCaught
        at 95s expect inactive VedetteFindingsDropped
        at 120s expect firing VedetteEventsLost
        at 120s expect firing VedetteFaultCaught
        at 120s expect firing VedetteFindingsDropped
        at 130s expect firing VedettePartOff
        at 130s expect value count(ALERTS{alertname="VedettePartOff"}) 1
        at 130s expect firing VedetteStoreWriteFails
        at 150s expect firing VedetteRulesFail
        at 195s expect inactive VedettePartFailed
        at 195s expect inactive VedetteRulesLate
        at 230s expect firing VedettePartFailed
        at 350s expect firing VedetteRulesLate
    "#,
    );
}

#[test]
fn what_the_stores_do_not_take_is_told() {
    run(
        "5s",
        &config(),
        &[VEDETTE],
        r#"
        series vedette_ingest_rejected_samples_total{instance="h",reason="labels"} 0x20 0+5x60
        series vedette_ingest_rejected_samples_total{instance="h",reason="future"} 0x20 0+1x60
        series vedette_ingest_rejected_events_total{instance="h",reason="size"} 0x20 0+1x60
        series vedette_collector_events_dropped_total{instance="h"} 0x20 0+9x60
        series vedette_ingest_batches_total{instance="h",answer="accepted"} 0+5x80
        series vedette_ingest_batches_total{instance="h",answer="unknown_series"} 0x20 0+5x60
        series vedette_ingest_batches_total{instance="h",answer="retry"} 0x20 0+1x60
        at 95s expect inactive VedetteSamplesRejected
        at 95s expect inactive VedetteBatchesRejected
        at 95s expect inactive VedetteEventsLost
        at 120s expect firing VedetteEventsLost
        at 120s expect value count(ALERTS{alertname="VedetteEventsLost"}) 2
        at 200s expect firing VedetteBatchesRejected
        at 200s expect value count(ALERTS{alertname="VedetteBatchesRejected"}) 1
        at 350s expect firing VedetteSamplesRejected
        at 350s expect value count(ALERTS{alertname="VedetteSamplesRejected"}) 1
    "#,
    );
}

#[test]
fn notifications_that_do_not_arrive_are_told() {
    run(
        "5s",
        &config(),
        &[VEDETTE],
        r#"
        series vedette_response_notifications_pending{instance="h",receiver="dead"} 0x20 1x60
        series vedette_response_notifications_delivered_total{instance="h",receiver="dead"} 7x80
        series vedette_response_notifications_pending{instance="h",receiver="busy"} 0x20 2x60
        series vedette_response_notifications_delivered_total{instance="h",receiver="busy"} 0+1x80
        series vedette_response_notifications_lost_total{instance="h",receiver="dead"} 0x60 4x20
        series vedette_response_attempts_refused_total{instance="h",receiver="picky"} 0x20 1x60
        series vedette_ruler_oldest_intent_seconds{instance="h"} 0x20 0+5x60
        at 95s expect inactive VedetteNotificationsRefused
        at 120s expect firing VedetteNotificationsRefused
        at 150s expect inactive VedetteNotificationsStuck
        at 150s expect inactive VedetteNotificationsHeldBack
        at 230s expect firing VedetteNotificationsHeldBack
        at 270s expect firing VedetteNotificationsStuck
        at 270s expect value count(ALERTS{alertname="VedetteNotificationsStuck"}) 1
        at 270s expect value count(ALERTS{receiver="dead"}) 1
        at 270s expect inactive VedetteNotificationsLost
        at 320s expect firing VedetteNotificationsLost
    "#,
    );
}

#[test]
fn every_alert_fires_in_a_timeline() {
    let timelines = include_str!("builtin.rs");
    for rule in rules() {
        let line = format!("expect firing {}\n", rule.name);
        assert!(timelines.contains(&line), "{} has no timeline in which it fires", rule.name);
    }
}

/// A rule over series that nobody gives can never fire, and looks like peace.
#[test]
fn every_metric_that_they_judge_is_given_by_some_crate() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = String::new();
    for name in fs::read_dir(crates).unwrap() {
        let folder = name.unwrap().path();
        if folder.file_name() != Some("alerting".as_ref()) {
            read_sources(&folder.join("src"), &mut sources);
        }
    }
    // Names whose last part is the kernel's own word.
    let assembled = ["node_memory_", "node_vmstat_"];
    for rule in rules() {
        for metric in rule.expr.metric_names() {
            let known = sources.contains(&format!("\"{metric}\""))
                || assembled.iter().any(|p| metric.starts_with(p) && sources.contains(*p));
            assert!(known, "{} judges {metric}, which nobody gives", rule.name);
        }
    }
}

fn rules() -> impl Iterator<Item = Rule> {
    let groups = [HOST, CONTAINERS, VEDETTE].into_iter().flat_map(|text| load("f", text).unwrap());
    groups.flat_map(|group| group.rules)
}

fn read_sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name() != Some("tests.rs".as_ref())
        {
            out.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
