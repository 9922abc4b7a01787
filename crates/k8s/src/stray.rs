//! Containers that run on a node and belong to no pod that the API server knows: somebody went past it.
//!
//! Deterministic and synchronous: what runs, what is known and the time are handed in. A container is judged only
//! while the pods are known whole and nothing goes wrong in watching them, and only after it has been unknown
//! for longer than a watch takes to tell of a pod. What was found before a restart is taken up again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use vedette_model::{Container, Finding, FindingState, Identify, LabelsBuilder, Severity, WorkloadQuestion};

/// The name of the finding.
pub const STRAY_CONTAINER: &str = "container-without-pod";

/// How long a container may be unknown: a watch tells of a pod within a second or two, and the kubelet ends the
/// containers of one that is gone.
pub const STRAY_GRACE: Duration = Duration::from_secs(6);
/// A finding that lasts is told of again so often, as what is not told of for long counts as over.
const REPEAT_NS: i64 = 300 * 1_000_000_000;
/// Findings at a time; of more, the others are counted.
const FINDINGS_MAX: usize = 500;

const DESCRIPTION: &str = "A container runs on this node and belongs to no pod that the API server knows, so no \
    admission control and no policy has seen it. It may have been started by hand through the container runtime, or \
    its pod was deleted and it lives on. Find out who started it (see the audit log of the node, and the processes \
    that use the runtime's socket), and end it through the runtime if nobody answers for it.";

/// What is known at a time.
pub struct StrayView<'a> {
    /// What the findings are of.
    pub cluster: &'a str,
    /// This machine's name.
    pub host: &'a str,
    /// The containers that run here.
    pub containers: &'a [Arc<Container>],
    /// Knows pods, also those that are gone.
    pub pods: &'a dyn Identify,
    /// Whether the pods are known whole and as they are, and this machine is a node of the cluster. Where not,
    /// nothing is judged.
    pub may_judge: bool,
    /// Nanoseconds since the Unix epoch.
    pub now_ns: i64,
}

/// Judges containers.
#[derive(Default)]
pub struct Strays {
    /// Since when those of which no pod is known have been so, by their ids and cgroups.
    unknown: BTreeMap<(String, String), i64>,
    /// Findings that are not over, by fingerprint, and when each was told last.
    firing: BTreeMap<u64, (Finding, i64)>,
    left_out: u64,
}

impl Strays {
    /// Takes up findings that fired before a restart: they are not told again, but end.
    pub fn take_up(&mut self, findings: impl IntoIterator<Item = Finding>) {
        let mine = findings.into_iter().filter(|finding| finding.rule == STRAY_CONTAINER);
        for finding in mine.filter(|finding| finding.state == FindingState::Firing) {
            let told_ns = finding.last_ns;
            self.firing.insert(finding.fingerprint, (finding, told_ns));
        }
    }

    /// Looks at what runs; appends what is found, goes on, or is over.
    pub fn judge(&mut self, view: &StrayView<'_>, out: &mut Vec<Finding>) {
        if !view.may_judge {
            // What was unknown may have become known while nobody told.
            self.unknown.clear();
            self.repeat(view.now_ns, out);
            return;
        }
        let grace_ns = STRAY_GRACE.as_nanos() as i64;
        let strays: Vec<&Arc<Container>> =
            view.containers.iter().filter(|container| !belongs(view, container, grace_ns)).collect();
        let key = |container: &Container| (container.id.clone(), container.cgroup.clone());
        let now: BTreeMap<(String, String), &Arc<Container>> =
            strays.iter().map(|container| (key(container), *container)).collect();
        self.unknown.retain(|known, _| now.contains_key(known));
        let mut seen = Vec::new();
        for (key, container) in now {
            let since_ns = *self.unknown.entry(key).or_insert(view.now_ns);
            let finding = finding(view, container);
            let fingerprint = finding.fingerprint;
            seen.push(fingerprint);
            if self.firing.contains_key(&fingerprint) || view.now_ns - since_ns < grace_ns {
                continue;
            }
            if self.firing.len() >= FINDINGS_MAX {
                self.left_out += 1;
                continue;
            }
            out.push(finding.clone());
            self.firing.insert(fingerprint, (finding, view.now_ns));
        }
        let over: Vec<u64> = self.firing.keys().copied().filter(|known| !seen.contains(known)).collect();
        for fingerprint in over {
            if let Some((finding, _)) = self.firing.remove(&fingerprint) {
                out.push(Finding { state: FindingState::Resolved, last_ns: view.now_ns, ..finding });
            }
        }
        self.repeat(view.now_ns, out);
    }

    /// How many findings are not over, and how many were left out as there were too many.
    pub fn figures(&self) -> (usize, u64) {
        (self.firing.len(), self.left_out)
    }

    fn repeat(&mut self, now_ns: i64, out: &mut Vec<Finding>) {
        for (finding, told_ns) in self.firing.values_mut() {
            if now_ns - *told_ns >= REPEAT_NS {
                *told_ns = now_ns;
                finding.last_ns = now_ns;
                finding.count += 1;
                out.push(finding.clone());
            }
        }
    }
}

/// Whether there is a pod that the container is of, or was until a moment ago.
fn belongs(view: &StrayView<'_>, container: &Container, grace_ns: i64) -> bool {
    let questions = [
        WorkloadQuestion::Container(&container.id),
        WorkloadQuestion::Cgroup(&container.cgroup),
        WorkloadQuestion::PodUid(&container.pod_uid),
    ];
    let asked = questions.iter().filter(|question| **question != WorkloadQuestion::PodUid(""));
    asked.flat_map(|question| view.pods.identify(question, 1)).any(|pod| {
        let gone_ns = |gone_ms: i64| view.now_ns.saturating_sub(gone_ms.saturating_mul(1_000_000));
        pod.gone_ms.is_none_or(|gone_ms| gone_ns(gone_ms) < grace_ns)
    })
}

fn finding(view: &StrayView<'_>, container: &Container) -> Finding {
    let mut labels = LabelsBuilder::new();
    labels
        .set("alertname", STRAY_CONTAINER)
        .set("severity", Severity::Critical.as_str())
        .set("cluster", view.cluster)
        .set("host", view.host)
        .set("container_id", &container.id);
    // Neither name nor image: they may become known while the finding lasts.
    let labels = labels.build();
    let mut evidence = vec![format!("cgroup {}", container.cgroup)];
    if !container.runtime.is_empty() {
        evidence.push(format!("{} tells of it as {}", container.runtime, container.name));
    }
    if !container.image.is_empty() {
        evidence.push(format!("its image is {}", container.image));
    }
    if !container.pod.is_empty() {
        evidence.push(format!(
            "its labels name the pod {}/{}, which the API server does not know",
            container.namespace, container.pod
        ));
    }
    Finding {
        fingerprint: labels.stable_hash(),
        rule: STRAY_CONTAINER.to_owned(),
        severity: Severity::Critical,
        title: format!("container {} on {} belongs to no pod of {}", container.name, view.host, view.cluster),
        description: DESCRIPTION.to_owned(),
        labels,
        first_ns: view.now_ns,
        last_ns: view.now_ns,
        count: 1,
        state: FindingState::Firing,
        ancestry: Vec::new(),
        evidence,
        event_ids: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::{Index, Limits};

    struct Known(Index);

    impl Identify for Known {
        fn identify(&self, question: &WorkloadQuestion<'_>, limit: usize) -> Vec<vedette_model::PodIdentity> {
            self.0.identify(question, limit)
        }

        fn generation(&self) -> u64 {
            0
        }
    }

    fn id(number: u64) -> String {
        format!("{number:064x}")
    }

    fn uid(number: u64) -> String {
        format!("{number:08x}-1111-2222-3333-444444444444")
    }

    fn put(known: &mut Known, number: u64, at_ms: i64) {
        let pod = json!({"metadata": {"namespace": "x", "name": format!("p{number}"), "uid": uid(number)},
            "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        known.0.put(&serde_json::from_value(pod).expect("sound"), 1, at_ms);
    }

    fn running(number: u64, cgroup: &str) -> Arc<Container> {
        Arc::new(Container {
            id: id(number),
            name: id(number),
            cgroup: cgroup.into(),
            ..Container::default()
        })
    }

    /// What is told at a time: `+` begins or goes on, `-` is over, with the last letter of the id.
    fn told(
        strays: &mut Strays,
        known: &Known,
        containers: &[Arc<Container>],
        may: bool,
        at_s: i64,
    ) -> String {
        let mut out = Vec::new();
        let now_ns = at_s * 1_000_000_000;
        let view = StrayView { cluster: "main", host: "n", containers, pods: known, may_judge: may, now_ns };
        strays.judge(&view, &mut out);
        let sign = |finding: &Finding| if finding.state == FindingState::Firing { '+' } else { '-' };
        let one = |finding: &Finding| {
            let id = finding.labels.get("container_id").unwrap_or("?").to_owned();
            format!("{}{}", sign(finding), &id[id.len() - 1..])
        };
        out.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_table_of_pods_and_containers() {
        let mut known = Known(Index::new("main".into(), Limits::default()));
        put(&mut known, 1, 0);
        let of_pod = |number: u64| format!("/kubepods/pod{}/{}", uid(number), id(number));
        let all = [running(1, &of_pod(1)), running(2, &of_pod(2)), running(3, "/by-hand/3")];
        let mut strays = Strays::default();
        // Time, whether it may be judged, how many of the containers run, and what is told.
        for (at_s, may, count, expected) in [
            (0, false, 3, ""),
            // The grace begins when it may be judged, not before.
            (100, true, 3, ""),
            (105, true, 3, ""),
            (106, true, 3, "+2 +3"),
            (107, true, 3, ""),
            // Nobody knows: neither new nor over.
            (110, false, 1, ""),
            (406, false, 3, "+2 +3"),
            (407, true, 2, "-3"),
            // It begins anew, with its grace.
            (408, true, 3, ""),
            (413, true, 3, ""),
            (414, true, 3, "+3"),
        ] {
            let told = told(&mut strays, &known, &all[..count], may, at_s);
            assert_eq!(told, expected, "at {at_s}");
        }
        // The pod becomes known late: it is over.
        put(&mut known, 2, 415_000);
        assert_eq!(told(&mut strays, &known, &all, true, 415), "-2");
        // A pod goes, and its container lives on beyond the grace, and then once more that of the unknown.
        known.0.remove(&uid(1), 500_000, vedette_sys::MonotonicTime(0));
        for (at_s, expected) in [(501, ""), (505, ""), (506, ""), (511, ""), (512, "+1")] {
            assert_eq!(told(&mut strays, &known, &all, true, at_s), expected, "at {at_s}");
        }
        assert_eq!(strays.figures(), (2, 0));
    }

    #[test]
    fn what_was_found_before_a_restart_is_not_told_again_but_ends() {
        let known = Known(Index::new("main".into(), Limits::default()));
        let container = [running(3, "/by-hand/3")];
        let mut before = Strays::default();
        told(&mut before, &known, &container, true, 0);
        let mut out = Vec::new();
        let view = StrayView {
            cluster: "main",
            host: "n",
            containers: &container,
            pods: &known,
            may_judge: true,
            now_ns: 7_000_000_000,
        };
        before.judge(&view, &mut out);
        let other = Finding { rule: "other".into(), fingerprint: 1, ..out[0].clone() };
        let mut after = Strays::default();
        after.take_up([out[0].clone(), other]);
        assert_eq!(after.figures(), (1, 0));
        assert_eq!(told(&mut after, &known, &container, true, 20), "");
        assert_eq!(told(&mut after, &known, &[], true, 30), "-3");
    }
}
