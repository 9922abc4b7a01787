//! Pods.

mod containers;

use std::net::IpAddr;

use self::containers as c;
use super::{
    Family, Head,
    Kind::{self, Counter, Gauge, Info, StateSet},
    Rows, Stateful, annotations,
    common::owners,
    created, deleted, labels, resources, states_of, time,
};
use crate::objects::{Object as _, Pod};

const fn family(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    rows: fn(&Pod, &mut Rows<'_>),
) -> Family<Pod> {
    Family { name, help, kind, rows }
}

/// Reasons of pods, of their conditions and of the ends of their containers; others are not told, but `Other`
/// stands for one of the pod itself.
const REASONS: [&str; 8] = [
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "PreemptionByScheduler",
    "SchedulingGated",
    "Shutdown",
    "TerminationByKubelet",
    "UnexpectedAdmissionError",
];
/// Reasons why a pod is ended from outside.
const DISRUPTIONS: [&str; 5] = [
    "DeletionByPodGC",
    "DeletionByTaintManager",
    "EvictionByEvictionAPI",
    "PreemptionByScheduler",
    "TerminationByKubelet",
];
/// What stands for a reason that is not known.
const OTHER: &str = "Other";

impl Stateful for Pod {
    #[rustfmt::skip]
    const FAMILIES: &'static [Family<Self>] = &[
        family("kube_pod_completion_time", Gauge, "Unix time at which the last container of a pod ended.", |pod, rows| {
            let ends = pod.status.container_statuses.iter().filter_map(|status| status.state.terminated()?.finished);
            time(ends.max().filter(|seconds| *seconds > 0), rows);
        }),
        family("kube_pod_container_info", Info, "What a container of a pod is.", |pod, rows| {
            c::info(&pod.status.container_statuses, &pod.spec.containers, false, rows);
        }),
        family("kube_pod_container_resource_limits", Gauge, "How much of a resource a container may take.", |pod, rows| {
            c::amounts(&pod.spec.containers, |container| &container.resources.limits, pod, rows);
        }),
        family("kube_pod_container_resource_requests", Gauge, "How much of a resource a container asks for.", |pod, rows| {
            c::amounts(&pod.spec.containers, |container| &container.resources.requests, pod, rows);
        }),
        family("kube_pod_container_state_started", Gauge, "Unix time at which a container started.", |pod, rows| {
            c::started(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_container_status_last_terminated_reason", Gauge, "Why a container ended the last time.", |pod, rows| {
            c::last_reason(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_container_status_last_terminated_exitcode", Gauge, "The exit code that a container left the last time.", |pod, rows| {
            c::last_exit_code(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_container_status_last_terminated_timestamp", Gauge, "Unix time at which a container ended the last time.", |pod, rows| {
            c::last_end(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_container_status_ready", Gauge, "Whether a container takes work.", |pod, rows| {
            c::each(&pod.status.container_statuses, rows, |status| f64::from(status.ready));
        }),
        family("kube_pod_container_status_restarts_total", Counter, "How often a container has started again.", |pod, rows| {
            c::each(&pod.status.container_statuses, rows, |status| f64::from(status.restart_count));
        }),
        family("kube_pod_container_status_running", Gauge, "Whether a container runs.", |pod, rows| {
            c::running(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_container_status_terminated", Gauge, "Whether a container has ended.", |pod, rows| {
            c::terminated(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_container_status_terminated_reason", Gauge, "Why a container has ended.", |pod, rows| {
            c::terminated_reason(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_container_status_waiting", Gauge, "Whether a container waits to be started.", |pod, rows| {
            c::waiting(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_container_status_waiting_reason", Gauge, "Why a container waits to be started.", |pod, rows| {
            c::waiting_reason(&pod.status.container_statuses, rows);
        }),
        family("kube_pod_created", Gauge, "Unix creation timestamp", created),
        family("kube_pod_deletion_timestamp", Gauge, "Unix deletion timestamp", deleted),
        family("kube_pod_info", Info, "What a pod is and where it runs.", info),
        family("kube_pod_ips", Info, "An address of a pod.", |pod, rows| {
            for address in &pod.status.pod_ips {
                if let Ok(parsed) = address.ip.parse::<IpAddr>() {
                    let family = if parsed.is_ipv4() { "4" } else { "6" };
                    rows.row(&[("ip", &address.ip), ("ip_family", family)], 1.0);
                }
            }
        }),
        family("kube_pod_init_container_info", Info, "What an init container of a pod is.", |pod, rows| {
            c::info(&pod.status.init_container_statuses, &pod.spec.init_containers, true, rows);
        }),
        family("kube_pod_init_container_resource_limits", Gauge, "How much of a resource an init container may take.", |pod, rows| {
            c::amounts(&pod.spec.init_containers, |container| &container.resources.limits, pod, rows);
        }),
        family("kube_pod_init_container_resource_requests", Gauge, "How much of a resource an init container asks for.", |pod, rows| {
            c::amounts(&pod.spec.init_containers, |container| &container.resources.requests, pod, rows);
        }),
        family("kube_pod_init_container_state_started", Gauge, "Unix time at which an init container started.", |pod, rows| {
            c::started(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_init_container_status_last_terminated_reason", Gauge, "Why an init container ended the last time.", |pod, rows| {
            c::last_reason(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_init_container_status_last_terminated_exitcode", Gauge, "The exit code that an init container left the last time.", |pod, rows| {
            c::last_exit_code(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_init_container_status_last_terminated_timestamp", Gauge, "Unix time at which an init container ended the last time.", |pod, rows| {
            c::last_end(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_init_container_status_ready", Gauge, "Whether an init container is done, or takes work.", |pod, rows| {
            c::each(&pod.status.init_container_statuses, rows, |status| f64::from(status.ready));
        }),
        family("kube_pod_init_container_status_restarts_total", Counter, "How often an init container has started again.", |pod, rows| {
            c::each(&pod.status.init_container_statuses, rows, |status| f64::from(status.restart_count));
        }),
        family("kube_pod_init_container_status_running", Gauge, "Whether an init container runs.", |pod, rows| {
            c::running(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_init_container_status_terminated", Gauge, "Whether an init container has ended.", |pod, rows| {
            c::terminated(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_init_container_status_terminated_reason", Gauge, "Why an init container has ended.", |pod, rows| {
            c::terminated_reason(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_init_container_status_waiting", Gauge, "Whether an init container waits to be started.", |pod, rows| {
            c::waiting(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_init_container_status_waiting_reason", Gauge, "Why an init container waits to be started.", |pod, rows| {
            c::waiting_reason(&pod.status.init_container_statuses, rows);
        }),
        family("kube_pod_annotations", Gauge, "Kubernetes annotations converted to Prometheus labels.", annotations),
        family("kube_pod_labels", Gauge, "Kubernetes labels converted to Prometheus labels.", labels),
        family("kube_pod_overhead_cpu_cores", Gauge, "Cores that a pod takes beside its containers.", |pod, rows| {
            if let Some(amount) = pod.spec.overhead.get("cpu") {
                rows.row(&[], resources::cores(amount));
            }
        }),
        family("kube_pod_overhead_memory_bytes", Gauge, "Memory that a pod takes beside its containers.", |pod, rows| {
            if let Some(amount) = pod.spec.overhead.get("memory") {
                rows.row(&[], resources::whole(amount));
            }
        }),
        family("kube_pod_owner", Info, "An object that a pod goes with.", owners),
        family("kube_pod_resourceclaim_info", Info, "A device that a pod claims.", |pod, rows| {
            for claim in &pod.spec.resource_claims {
                // Of a claim that was made for the pod only the status tells the name.
                let made = pod.status.resource_claim_statuses.iter().find(|made| made.name == claim.name);
                let name = made.map_or(&claim.resource_claim_name, |made| &made.resource_claim_name);
                let template = &claim.resource_claim_template_name;
                rows.row(&[("claim_name", &claim.name), ("resourceclaim_name", name), ("resourceclaim_template_name", template)], 1.0);
            }
        }),
        family("kube_pod_restart_policy", Gauge, "When the containers of a pod are started again.", |pod, rows| {
            rows.row(&[("type", &pod.spec.restart_policy)], 1.0);
        }),
        family("kube_pod_runtimeclass_name_info", Info, "The runtime class of a pod.", |pod, rows| {
            if !pod.spec.runtime_class_name.is_empty() {
                rows.row(&[("runtimeclass_name", &pod.spec.runtime_class_name)], 1.0);
            }
        }),
        family("kube_pod_scheduler", Info, "Who places a pod.", |pod, rows| {
            rows.row(&[("name", &pod.spec.scheduler_name)], 1.0);
        }),
        family("kube_pod_service_account", Info, "The account that a pod acts as.", |pod, rows| {
            rows.row(&[("service_account", pod.service_account())], 1.0);
        }),
        family("kube_pod_spec_volumes_persistentvolumeclaims_info", Info, "A volume of a pod that is claimed.", |pod, rows| {
            volumes(pod, rows, |_| 1.0);
        }),
        family("kube_pod_spec_volumes_persistentvolumeclaims_readonly", Gauge, "Whether a claimed volume of a pod is only read.", |pod, rows| {
            volumes(pod, rows, f64::from);
        }),
        family("kube_pod_start_time", Gauge, "Unix time at which a node took a pod up.", |pod, rows| {
            time(pod.status.start_time.0, rows);
        }),
        family("kube_pod_status_container_ready_time", Gauge, "Unix time since which all containers of a pod are ready.", |pod, rows| {
            since(pod, "ContainersReady", "True", rows);
        }),
        family("kube_pod_status_disruption_reason", Gauge, "Why a pod is ended from outside.", |pod, rows| {
            // Whatever its status and whether or not it says why, as kube-state-metrics has it.
            if let Some(target) = pod.condition("DisruptionTarget") {
                let known = DISRUPTIONS.contains(&&*target.reason);
                rows.row(&[("reason", if known { &target.reason } else { OTHER })], 1.0);
            }
        }),
        family("kube_pod_status_initialized_time", Gauge, "Unix time since which the init containers of a pod are done.", |pod, rows| {
            since(pod, "Initialized", "True", rows);
        }),
        family("kube_pod_status_phase", StateSet, "Phase of a pod: 1 for the one it is in.", |pod, rows| {
            if !pod.phase().is_empty() {
                rows.states("phase", &["Pending", "Succeeded", "Failed", "Unknown", "Running"], |phase| phase == pod.phase());
            }
        }),
        family("kube_pod_status_qos_class", StateSet, "Quality of service of a pod: 1 for the class it is of.", |pod, rows| {
            let class = &*pod.status.qos_class;
            if !class.is_empty() {
                rows.states("qos_class", &["BestEffort", "Burstable", "Guaranteed"], |known| known == class);
            }
        }),
        family("kube_pod_status_ready", StateSet, "Whether a pod takes work: 1 for what holds.", |pod, rows| {
            condition(pod, "Ready", rows);
        }),
        family("kube_pod_status_ready_time", Gauge, "Unix time since which a pod takes work.", |pod, rows| {
            since(pod, "Ready", "True", rows);
        }),
        family("kube_pod_status_reason", Gauge, "Why a pod is in its state.", reason),
        family("kube_pod_status_scheduled", StateSet, "Whether a pod is placed: 1 for what holds.", |pod, rows| {
            condition(pod, "PodScheduled", rows);
        }),
        family("kube_pod_status_scheduled_time", Gauge, "Unix time since which a pod is placed.", |pod, rows| {
            since(pod, "PodScheduled", "True", rows);
        }),
        family("kube_pod_status_unschedulable", Gauge, "1 for a pod that cannot be placed.", |pod, rows| {
            if pod.condition("PodScheduled").is_some_and(|placed| &*placed.status == "False") {
                rows.row(&[], 1.0);
            }
        }),
        family("kube_pod_status_unscheduled_time", Gauge, "Unix time since which a pod cannot be placed.", |pod, rows| {
            since(pod, "PodScheduled", "False", rows);
        }),
        family("kube_pod_tolerations", Info, "A taint that a pod bears.", tolerations),
    ];

    fn head(&self, head: &mut Head) {
        let meta = self.meta();
        head.label("namespace", &meta.namespace).label("pod", &meta.name).label("uid", &meta.uid);
    }
}

fn info(pod: &Pod, rows: &mut Rows<'_>) {
    let owner = pod.meta().controller.as_ref();
    let labels = [
        ("host_ip", pod.host_ip()),
        ("pod_ip", pod.ip()),
        ("node", pod.node_name()),
        ("created_by_kind", owner.map_or("", |owner| &owner.kind)),
        ("created_by_name", owner.map_or("", |owner| &owner.name)),
        ("priority_class", &pod.spec.priority_class_name),
        ("host_network", if pod.is_on_host_network() { "true" } else { "false" }),
    ];
    rows.row(&labels, 1.0);
}

fn volumes(pod: &Pod, rows: &mut Rows<'_>, value: fn(bool) -> f64) {
    let name = &*pod.meta().name;
    for volume in &pod.spec.volumes.claims {
        let made = || [name, "-", &volume.name].concat();
        let (claim, ephemeral) = match &volume.claim {
            Some(claim) => (claim.to_string(), "false"),
            // The claim that is made for a pod is called after both.
            None => (made(), "true"),
        };
        let labels = [("volume", &*volume.name), ("persistentvolumeclaim", &claim), ("ephemeral", ephemeral)];
        rows.row(&labels, value(volume.read_only));
    }
}

fn condition(pod: &Pod, kind: &str, rows: &mut Rows<'_>) {
    if let Some(condition) = pod.condition(kind) {
        rows.either(&[], "condition", states_of(condition));
    }
}

/// Since when a condition has this status, if it has.
fn since(pod: &Pod, kind: &str, status: &str, rows: &mut Rows<'_>) {
    time(pod.condition(kind).filter(|of| &*of.status == status).and_then(|of| of.last_transition), rows);
}

fn reason(pod: &Pod, rows: &mut Rows<'_>) {
    let own = &*pod.status.reason;
    let of_conditions = || pod.status.conditions.iter().map(|condition| &*condition.reason);
    let ends = || pod.status.container_statuses.iter().filter_map(|status| status.state.terminated());
    for known in REASONS {
        if own == known || of_conditions().any(|of| of == known) || ends().any(|end| &*end.reason == known) {
            rows.row(&[("reason", known)], 1.0);
        }
    }
    if !own.is_empty() && !REASONS.contains(&own) {
        rows.row(&[("reason", OTHER)], 1.0);
    }
}

fn tolerations(pod: &Pod, rows: &mut Rows<'_>) {
    let all = &pod.spec.tolerations;
    for (at, toleration) in all.iter().enumerate() {
        // Two rows with the same labels would make a page that cannot be read.
        if all[..at].contains(toleration) {
            continue;
        }
        let mut buffer = itoa::Buffer::new();
        let seconds = toleration.toleration_seconds.map_or("", |seconds| buffer.format(seconds));
        let labels = [
            ("key", &*toleration.key),
            ("operator", &toleration.operator),
            ("value", &toleration.value),
            ("effect", &toleration.effect),
            ("toleration_seconds", seconds),
        ];
        rows.row(&labels, 1.0);
    }
}
