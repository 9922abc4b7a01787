//! What a cluster cannot do without and runs in pods of its own: the table, and what its pods say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use vedette_sys::MonotonicTime;

use super::{
    causes::{WORKLOAD_CRASHING, WORKLOAD_DOWN, WORKLOAD_MISSING, WORKLOAD_NEW, WORKLOAD_PARTLY},
    probe::shown,
    track::Seen,
};

/// Where nearly all of it lives.
pub const SYSTEM_NAMESPACE: &str = "kube-system";

/// All that is looked at: some network plugins have a namespace of their own.
pub const NAMESPACES: [&str; 3] = [SYSTEM_NAMESPACE, "calico-system", "kube-flannel"];

/// Something that runs in pods and that a cluster cannot do without.
#[derive(Debug, PartialEq, Eq)]
pub struct Workload {
    /// As which part it is told.
    pub part: &'static str,
    /// The label of its pods.
    pub label: (&'static str, &'static str),
}

/// All that are known, by the labels that their makers give them. Those that are not there are not told.
pub const WORKLOADS: &[Workload] = &[
    workload("coredns", "k8s-app", "kube-dns"),
    workload("kube-proxy", "k8s-app", "kube-proxy"),
    workload("calico-node", "k8s-app", "calico-node"),
    workload("calico-kube-controllers", "k8s-app", "calico-kube-controllers"),
    workload("calico-typha", "k8s-app", "calico-typha"),
    workload("canal", "k8s-app", "canal"),
    workload("cilium", "k8s-app", "cilium"),
    workload("cilium-operator", "name", "cilium-operator"),
    workload("flannel", "app", "flannel"),
    workload("kube-router", "k8s-app", "kube-router"),
    workload("weave-net", "name", "weave-net"),
    workload("antrea-agent", "component", "antrea-agent"),
    workload("kindnet", "app", "kindnet"),
    workload("aws-node", "k8s-app", "aws-node"),
    workload("azure-cns", "k8s-app", "azure-cns"),
    workload("netd", "k8s-app", "netd"),
    workload("konnectivity-agent", "k8s-app", "konnectivity-agent"),
    workload("aws-cloud-controller-manager", "k8s-app", "aws-cloud-controller-manager"),
    workload("azure-cloud-controller-manager", "component", "cloud-controller-manager"),
    workload("openstack-cloud-controller-manager", "k8s-app", "openstack-cloud-controller-manager"),
    workload("vsphere-cloud-controller-manager", "component", "cloud-controller-manager-vsphere"),
    workload("cloud-node-manager", "component", "cloud-node-manager"),
    workload("scheduler-pods", "component", "kube-scheduler"),
    workload("controller-manager-pods", "component", "kube-controller-manager"),
    workload("etcd-pods", "component", "etcd"),
    workload("apiserver-pods", "component", "kube-apiserver"),
];

const fn workload(part: &'static str, key: &'static str, value: &'static str) -> Workload {
    Workload { part, label: (key, value) }
}

/// What a pod says of itself, as far as it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodSeen {
    /// Its name.
    pub name: Box<str>,
    /// The machine that it is on; empty until it is placed.
    pub node: Box<str>,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Why one of its containers cannot run, as `CrashLoopBackOff`, and what is said of it; empty where none.
    pub stuck: String,
    /// How often its containers were started again.
    pub restarts: u64,
}

/// Reasons of waiting that do not end by themselves soon.
pub const STUCK: &[&str] = &[
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

/// The workload whose pods have this label, if it is one of the table.
pub fn of_labels<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| label(workload.label.0) == Some(workload.label.1))
}

/// A pod that starts beside others that are ready has so long. While all roll one after the other, no one of them
/// takes longer.
const STARTING: Duration = Duration::from_secs(60);

/// What is remembered of the pods of a workload from look to look.
#[derive(Debug, Default)]
pub(super) struct Readiness(BTreeMap<Box<str>, PodKnown>);

#[derive(Debug, Default)]
struct PodKnown {
    was_ready: bool,
    /// Since when it is not.
    unready: Option<MonotonicTime>,
}

impl Readiness {
    /// Takes the pods that there are now.
    pub(super) fn take(&mut self, pods: &[PodSeen], now: MonotonicTime) {
        let names: BTreeSet<&str> = pods.iter().map(|pod| &*pod.name).collect();
        self.0.retain(|name, _| names.contains(&**name));
        for pod in pods {
            let known = self.0.entry(pod.name.clone()).or_default();
            known.was_ready |= pod.is_ready;
            known.unready = if pod.is_ready { None } else { known.unready.or(Some(now)) };
        }
    }

    /// For some time nothing was seen: since when a pod is not ready is not known any more.
    pub(super) fn begin_again(&mut self) {
        self.0.values_mut().for_each(|known| known.unready = None);
    }

    fn is_new(&self, pod: &PodSeen) -> bool {
        self.0.get(&pod.name).is_none_or(|known| !known.was_ready)
    }

    fn is_late(&self, pod: &PodSeen, now: MonotonicTime) -> bool {
        let since = self.0.get(&pod.name).and_then(|known| known.unready);
        since.is_some_and(|since| now.since(since) >= STARTING)
    }
}

/// What its pods say of a workload. Those on machines that are themselves not well do not count against it:
/// that is told of the machine.
pub(super) fn seen(
    pods: &[PodSeen],
    known: &Readiness,
    now: MonotonicTime,
    is_node_well: impl Fn(&str) -> bool,
) -> Seen {
    if pods.is_empty() {
        return Seen::wrong(WORKLOAD_MISSING, "there is no pod of it any more");
    }
    let ready = pods.iter().filter(|pod| pod.is_ready).count();
    let mut failing: Vec<&PodSeen> = pods.iter().filter(|pod| !pod.is_ready).collect();
    if failing.is_empty() {
        return Seen::good();
    }
    // Those that say why come first.
    failing.sort_by_key(|pod| pod.stuck.is_empty());
    let tell = |pod: &PodSeen| {
        let place = if pod.node.is_empty() { "no node".to_owned() } else { format!("node {}", pod.node) };
        let why = if pod.stuck.is_empty() { "not ready" } else { &*pod.stuck };
        let restarts = match pod.restarts {
            0 => String::new(),
            n => format!(", {n} restarts"),
        };
        shown(&format!("{ready} of {} pods ready; {} on {place}: {why}{restarts}", pods.len(), pod.name))
    };
    if ready == 0 {
        // As where the only pod is replaced: the old one is gone, and the new one begins.
        let is_new = pods.iter().all(|pod| pod.stuck.is_empty() && known.is_new(pod));
        return Seen::wrong(if is_new { WORKLOAD_NEW } else { WORKLOAD_DOWN }, tell(failing[0]));
    }
    failing.retain(|pod| is_node_well(&pod.node));
    match failing.first() {
        Some(pod) if !pod.stuck.is_empty() => Seen::wrong(WORKLOAD_CRASHING, tell(pod)),
        _ => match failing.iter().find(|pod| known.is_late(pod, now)) {
            Some(pod) => Seen::wrong(WORKLOAD_PARTLY, tell(pod)),
            None => Seen::good(),
        },
    }
}

/// Pods of workloads of the table, by part.
pub type PodsByPart = BTreeMap<&'static str, Vec<PodSeen>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, is_ready: bool, stuck: &str) -> PodSeen {
        PodSeen { name: name.into(), node: node.into(), is_ready, stuck: stuck.into(), restarts: 0 }
    }

    fn at(second: u64) -> MonotonicTime {
        MonotonicTime(second * 1_000_000_000)
    }

    fn word_at(known: &mut Readiness, pods: &[PodSeen], second: u64) -> &'static str {
        known.take(pods, at(second));
        seen(pods, known, at(second), |node| node != "dead").cause.map_or("", |cause| cause.word)
    }

    /// Of pods that were all ready once, a minute after that.
    fn word(pods: &[PodSeen]) -> &'static str {
        let mut known = Readiness::default();
        let well: Vec<_> = pods.iter().map(|pod| PodSeen { is_ready: true, ..pod.clone() }).collect();
        known.take(&well, at(0));
        known.take(pods, at(1));
        word_at(&mut known, pods, 61)
    }

    #[test]
    fn pods_say_how_a_workload_is() {
        let (well, other) = (pod("a", "n1", true, ""), pod("b", "n2", true, ""));
        assert_eq!(word(&[well.clone(), other]), "");
        assert_eq!(word(&[]), "no_pods");
        assert_eq!(word(&[well.clone(), pod("b", "n2", false, "")]), "partly_ready");
        assert_eq!(word(&[well.clone(), pod("b", "n2", false, "CrashLoopBackOff")]), "crashing");
        assert_eq!(word(&[well.clone(), pod("b", "dead", false, "")]), "", "that is told of the node");
        assert_eq!(word(&[pod("b", "dead", false, "")]), "none_ready", "none is none, wherever it was");
        let crash = PodSeen { restarts: 7, ..pod("c", "n3", false, "CrashLoopBackOff: back-off 5m0s") };
        let down = seen(&[pod("b", "n2", false, ""), crash], &Readiness::default(), at(0), |_| true);
        assert_eq!(down.cause, Some(WORKLOAD_DOWN));
        assert_eq!(
            down.evidence,
            "0 of 2 pods ready; c on node n3: CrashLoopBackOff: back-off 5m0s, 7 restarts"
        );
    }

    #[test]
    fn pods_that_roll_one_after_the_other_have_each_their_time() {
        let mut known = Readiness::default();
        // Each of five is not ready for 50 seconds, for more than four minutes together.
        for second in 0..250 {
            let pods: Vec<_> = (0..5).map(|n| pod(&format!("p{n}"), "n1", second / 50 != n, "")).collect();
            assert_eq!(word_at(&mut known, &pods, second), "", "{second}");
        }
        let pods = [pod("p0", "n1", true, ""), pod("p1", "n1", false, "")];
        assert_eq!(word_at(&mut known, &pods, 300), "");
        assert_eq!(word_at(&mut known, &pods, 359), "");
        assert_eq!(word_at(&mut known, &pods, 360), "partly_ready");
        known.begin_again();
        assert_eq!(word_at(&mut known, &pods, 361), "", "nobody knows since when");
    }

    #[test]
    fn a_pod_that_replaces_the_only_one_has_time_to_start() {
        let mut known = Readiness::default();
        assert_eq!(word_at(&mut known, &[pod("a", "n1", true, "")], 0), "");
        assert_eq!(word_at(&mut known, &[pod("b", "n1", false, "")], 1), "none_ready_yet");
        assert_eq!(word_at(&mut known, &[pod("b", "n1", false, "ErrImagePull")], 2), "none_ready");
        assert_eq!(word_at(&mut known, &[pod("b", "n1", true, "")], 3), "");
        assert_eq!(word_at(&mut known, &[pod("b", "n1", false, "")], 4), "none_ready", "it was ready");
    }

    #[test]
    fn labels_name_the_workload() {
        let of = |key: &'static str, value: &'static str| {
            of_labels(|asked| (asked == key).then_some(value)).map(|workload| workload.part)
        };
        assert_eq!(of("k8s-app", "kube-dns"), Some("coredns"));
        assert_eq!(of("component", "kube-scheduler"), Some("scheduler-pods"));
        assert_eq!(of("app", "kube-dns"), None);
        let mut parts: Vec<_> = WORKLOADS.iter().map(|workload| workload.part).collect();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), WORKLOADS.len(), "no part is told twice");
    }
}
