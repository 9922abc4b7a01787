//! A door for the fuzz target to how dumps of a cluster are read and judged, and good beginnings. Built only with
//! `--cfg fuzzing` and for tests, which try each beginning and some changes of it.

use serde_json::{Value, json};

use crate::{Cluster, Error, FailureMode, Judge, Options, Snapshot};

/// Nodes that are let fail, one by one.
const FAILURES: usize = 3;
/// Steps of the exact search.
const STEPS: u64 = 500;
/// A message is for a person, whatever stands in the dump.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Reads a dump, and judges the cluster in it with each treatment of failed nodes. Every pod that loses its node
/// gets another, waits for one or for its volumes, and afterwards all is as before.
pub fn snapshot(bytes: &[u8]) {
    let mut snapshot = Snapshot::default();
    if let Err(error) = snapshot.read(bytes, "fuzz") {
        return check(&error);
    }
    for mode in [FailureMode::Unreachable, FailureMode::OutOfService, FailureMode::Deleted] {
        let options = Options { mode, bare_pods_return: mode == FailureMode::Deleted, ..Options::default() };
        match Cluster::new(&snapshot, &options) {
            Ok(cluster) => judge(&cluster),
            Err(error) => check(&error),
        }
    }
}

fn judge(cluster: &Cluster) {
    let mut judge = Judge::new(cluster);
    let nodes = u32::try_from(cluster.node_names().len().min(FAILURES)).expect("few");
    let all: Vec<u32> = (0..nodes).collect();
    for failed in (0..nodes).map(|node| vec![node]).chain([all]) {
        let verdict = judge.verdict(&failed, STEPS);
        let replay = &verdict.replay;
        assert_eq!(
            replay.placed.len() + replay.pending.len() + replay.stuck.len(),
            replay.losses.displaced.len(),
            "{replay:?}"
        );
        assert_eq!(judge.replay(&failed), *replay, "nothing is left of a failure");
    }
}

fn check(error: &Error) {
    let message = error.to_string();
    assert!(!message.is_empty() && message.len() < MESSAGE_BYTES_MAX, "{} bytes", message.len());
}

/// A cluster in which everything that is looked at stands somewhere, and one of another form.
pub fn snapshots() -> Vec<Vec<u8>> {
    let expression = json!({"key": "disk", "operator": "In", "values": ["ssd", "hdd"]});
    let node = |name: &str, zone: &str| {
        json!({"kind": "Node", "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone,
            "kubernetes.io/hostname": name, "disk": "ssd", "cores": "8"}},
            "spec": {"taints": [{"key": "a", "value": "b", "effect": "PreferNoSchedule"}]},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": 10},
                "conditions": [{"type": "Ready", "status": "True"}]}})
    };
    let term = json!({"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"app": "w"}},
        "namespaceSelector": {}, "matchLabelKeys": ["app"]});
    let more = json!({"key": "cores", "operator": "Gt", "values": ["4"]});
    let owner = json!({"kind": "ReplicaSet", "name": "w", "uid": "u", "controller": true});
    let pod = |name: &str, node: &str| {
        json!({"kind": "Pod", "metadata": {"name": name, "namespace": "s", "labels": {"app": "w"},
            "ownerReferences": [owner]},
            "spec": {"nodeName": node, "nodeSelector": {"disk": "ssd"}, "priorityClassName": "high",
                "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3}],
                "topologySpreadConstraints": [{"maxSkew": 2, "minDomains": 1, "whenUnsatisfiable": "DoNotSchedule",
                    "topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": {"app": "w"}}},
                    {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "topologyKey": "disk"}],
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution":
                            {"nodeSelectorTerms": [{"matchExpressions": [expression, more]}]},
                        "preferredDuringSchedulingIgnoredDuringExecution":
                            [{"weight": 7, "preference": {"matchExpressions": [expression]}}]},
                    "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
                        [{"weight": 100, "podAffinityTerm": term}]},
                    "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
                        [{"weight": 50, "podAffinityTerm": term}]}},
                "volumes": [{"persistentVolumeClaim": {"claimName": "data"}}],
                "overhead": {"cpu": "10m"},
                "initContainers": [{"name": "i", "restartPolicy": "Always",
                    "resources": {"requests": {"cpu": "1m"}}}],
                "containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}],
                    "resources": {"requests": {"cpu": "500m", "memory": "1Gi", "example.com/x": "0"}}}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "c",
                "allocatedResources": {"cpu": "600m"}}]}})
    };
    let mut kept = pod("w-3", "n3");
    kept["metadata"]["ownerReferences"] =
        json!([{"kind": "StatefulSet", "name": "w", "uid": "k", "controller": true}]);
    kept["spec"]["volumes"] =
        json!([{"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}}]);
    kept["status"]["conditions"] = json!([{"type": "PodResizePending", "reason": "Infeasible"}]);
    let zone = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
    let list = json!({"kind": "List", "items": [node("n1", "z1"), node("n2", "z2"), node("n3", "z1"),
        pod("w-1", "n1"), pod("w-2", "n2"), kept,
        {"kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "s"},
            "spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
            "status": {"disruptionsAllowed": 1}},
        {"kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "s"},
            "spec": {"volumeName": "v", "storageClassName": "fast", "accessModes": ["ReadWriteMany"]}},
        {"kind": "PersistentVolume", "metadata": {"name": "v"},
            "spec": {"nodeAffinity": {"required": zone}, "csi": {"driver": "d", "volumeHandle": "h"}}},
        {"kind": "CSINode", "metadata": {"name": "n3"},
            "spec": {"drivers": [{"name": "d", "allocatable": {"count": 3}}]}},
        {"kind": "StorageClass", "metadata": {"name": "fast"}, "provisioner": "d",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "disk", "values": ["ssd"]}]}]},
        {"kind": "Namespace", "metadata": {"name": "s", "labels": {"team": "t"}}},
        {"kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000, "globalDefault": true}]});
    let small = json!({"kind": "NodeList", "items": [{"metadata": {"name": "a"}}]});
    [list, small].map(|list: Value| list.to_string().into_bytes()).into()
}

#[cfg(test)]
mod tests {
    use vedette_sys::Random;

    use super::*;

    /// What no API server lets stand there.
    fn absurd(random: &mut Random) -> Value {
        let all = [
            json!(null),
            json!(-1),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1e300),
            json!("-5"),
            json!("9e99999"),
            json!("99999999999999999999Ei"),
            json!(""),
            json!("x".repeat(5000)),
            json!([]),
            json!({}),
            json!([{}]),
        ];
        all[random.below(all.len() as u64) as usize].clone()
    }

    /// Puts something absurd anywhere, or an entry a second time.
    fn spoil(value: &mut Value, random: &mut Random) {
        match value {
            Value::Object(fields) if !fields.is_empty() && !random.one_in(8) => {
                let at = random.below(fields.len() as u64) as usize;
                if let Some(field) = fields.values_mut().nth(at) {
                    spoil(field, random);
                }
            }
            Value::Array(values) if !values.is_empty() && !random.one_in(8) => {
                let at = random.below(values.len() as u64) as usize;
                if random.one_in(4) {
                    values.push(values[at].clone());
                } else {
                    spoil(&mut values[at], random);
                }
            }
            other => *other = absurd(random),
        }
    }

    #[test]
    fn absurd_dumps_are_judged_or_refused() {
        let mut random = Random::new(3);
        for seed in snapshots() {
            let mut whole = Snapshot::default();
            whole.read(&seed, "seed").expect("a beginning is sound");
            Cluster::new(&whole, &Options::default()).expect("a beginning can be judged");
            snapshot(&seed);
            let dump: Value = serde_json::from_slice(&seed).expect("JSON");
            for _ in 0..3000 {
                let mut changed = dump.clone();
                for _ in 0..=random.below(3) {
                    spoil(&mut changed, &mut random);
                }
                snapshot(changed.to_string().as_bytes());
            }
        }
    }
}
