//! Families of pods, nodes and namespaces: objects as an API server gives them, and the rows that kube-state-metrics
//! documents for such objects.

use serde_json::{Value, json};

use super::{Allowed, Format, KINDS};

/// The rows of a family, of one object.
fn rows_with(plural: &str, object: &Value, family: &str, allowed: &Allowed) -> Vec<String> {
    let kind = KINDS.iter().find(|kind| kind.resource.plural == plural).expect("a kind");
    let page = kind.page(&[&object.to_string()], allowed, Format::Text).expect("sound");
    assert!(page.contains(&format!("# HELP {family} ")), "there is no family {family}");
    let of = |row: &&str| row.strip_prefix(family).is_some_and(|rest| rest.starts_with('{'));
    page.lines().filter(of).map(str::to_owned).collect()
}

fn rows(plural: &str, object: &Value, family: &str) -> Vec<String> {
    rows_with(plural, object, family, &Allowed::default())
}

/// Pairs of a family and its rows without the name and without the labels that all rows of the object begin with.
fn expect(plural: &str, object: &Value, head: &str, expected: &[(&str, &[&str])]) {
    for (family, rows_expected) in expected {
        let told = rows(plural, object, family);
        let expected: Vec<String> = rows_expected
            .iter()
            .map(|row| match row.split_once("} ") {
                Some((labels, value)) => format!("{family}{{{head},{labels}}} {value}"),
                None => format!("{family}{{{head}}} {row}"),
            })
            .collect();
        assert_eq!(told, expected, "{family}");
    }
}

const POD: &str = r#"namespace="shop",pod="web-1",uid="u-1""#;

/// A pod of two containers, one of which has ended before and waits, and an init container that is done.
fn pod() -> Value {
    json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1", "creationTimestamp": "2017-07-14T02:40:00Z",
            "deletionTimestamp": "2017-07-14T02:50:00Z",
            "labels": {"app": "web", "app.kubernetes.io/name": "shopWeb", "secret": "x"},
            "annotations": {"note": "a \"b\"\nc"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": true},
                {"kind": "Thing", "name": "t"}]},
        "spec": {"nodeName": "n1", "serviceAccountName": "cook", "hostNetwork": true, "priorityClassName": "high",
            "restartPolicy": "Always", "runtimeClassName": "gvisor", "schedulerName": "default-scheduler",
            "overhead": {"cpu": "250m", "memory": "120Mi"},
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"operator": "Exists"}, {"operator": "Exists"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "db", "readOnly": true}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}, {"name": "conf", "configMap": {}}],
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpus"},
                {"name": "net", "resourceClaimName": "net-1"}],
            "containers": [
                {"name": "app", "image": "web:1", "resources": {
                    "requests": {"cpu": "70m", "memory": "128Mi", "nvidia.com/gpu": "2", "hugepages-2Mi": "4Mi",
                        "strange": "1"},
                    "limits": {"cpu": "1", "ephemeral-storage": "1G"}}},
                {"name": "side", "image": "side:2"}],
            "initContainers": [{"name": "setup", "image": "setup:3", "restartPolicy": "Always",
                "resources": {"requests": {"cpu": "0.0001"}, "limits": {"memory": "0.5"}}}]},
        "status": {"phase": "Running", "qosClass": "Burstable", "startTime": "2017-07-14T02:40:05Z",
            "podIP": "10.0.0.9", "hostIP": "10.1.0.1", "podIPs": [{"ip": "10.0.0.9"}, {"ip": "fd00::9"}, {"ip": "?"}],
            "resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "web-1-gpu-x"}],
            "conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": "2017-07-14T02:41:00Z"},
                {"type": "Initialized", "status": "True", "lastTransitionTime": "2017-07-14T02:40:10Z"},
                {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2017-07-14T02:40:20Z"},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2017-07-14T02:40:01Z"},
                {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}],
            "containerStatuses": [
                {"name": "app", "image": "r/web:1", "imageID": "r/web@sha256:1", "containerID": "containerd://1",
                    "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137,
                        "startedAt": "2017-07-14T02:40:30Z", "finishedAt": "2017-07-14T02:40:40Z"}}},
                {"name": "side", "image": "r/side:2", "imageID": "i2", "containerID": "c2", "ready": true,
                    "restartCount": 0, "state": {"running": {"startedAt": "2017-07-14T02:40:15Z"}}}],
            "initContainerStatuses": [{"name": "setup", "image": "r/setup:3", "imageID": "i3", "containerID": "c3",
                "ready": true, "restartCount": 1, "state": {"terminated": {"reason": "Completed", "exitCode": 0,
                    "startedAt": "2017-07-14T02:40:06Z", "finishedAt": "2017-07-14T02:40:08Z"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 2,
                    "finishedAt": "2017-07-14T02:40:04Z"}}}]}
    })
}

#[test]
fn pods_are_told() {
    expect(
        "pods",
        &pod(),
        POD,
        &[
            (
                "kube_pod_info",
                &[
                    r#"host_ip="10.1.0.1",pod_ip="10.0.0.9",node="n1",created_by_kind="ReplicaSet",created_by_name="web",priority_class="high",host_network="true"} 1"#,
                ],
            ),
            ("kube_pod_created", &["1500000000"]),
            ("kube_pod_deletion_timestamp", &["1500000600"]),
            ("kube_pod_start_time", &["1500000005"]),
            ("kube_pod_completion_time", &[]),
            (
                "kube_pod_owner",
                &[
                    r#"owner_kind="ReplicaSet",owner_name="web",owner_is_controller="true"} 1"#,
                    r#"owner_kind="Thing",owner_name="t",owner_is_controller="false"} 1"#,
                ],
            ),
            ("kube_pod_ips", &[r#"ip="10.0.0.9",ip_family="4"} 1"#, r#"ip="fd00::9",ip_family="6"} 1"#]),
            ("kube_pod_restart_policy", &[r#"type="Always"} 1"#]),
            ("kube_pod_runtimeclass_name_info", &[r#"runtimeclass_name="gvisor"} 1"#]),
            ("kube_pod_scheduler", &[r#"name="default-scheduler"} 1"#]),
            ("kube_pod_service_account", &[r#"service_account="cook"} 1"#]),
            ("kube_pod_overhead_cpu_cores", &["0.25"]),
            ("kube_pod_overhead_memory_bytes", &["125829120"]),
            (
                "kube_pod_tolerations",
                &[
                    r#"key="a",operator="Exists",value="",effect="NoExecute",toleration_seconds="300"} 1"#,
                    r#"key="",operator="Exists",value="",effect="",toleration_seconds=""} 1"#,
                ],
            ),
            (
                "kube_pod_spec_volumes_persistentvolumeclaims_info",
                &[
                    r#"volume="data",persistentvolumeclaim="db",ephemeral="false"} 1"#,
                    r#"volume="scratch",persistentvolumeclaim="web-1-scratch",ephemeral="true"} 1"#,
                ],
            ),
            (
                "kube_pod_spec_volumes_persistentvolumeclaims_readonly",
                &[
                    r#"volume="data",persistentvolumeclaim="db",ephemeral="false"} 1"#,
                    r#"volume="scratch",persistentvolumeclaim="web-1-scratch",ephemeral="true"} 0"#,
                ],
            ),
            (
                "kube_pod_resourceclaim_info",
                &[
                    r#"claim_name="gpu",resourceclaim_name="web-1-gpu-x",resourceclaim_template_name="gpus"} 1"#,
                    r#"claim_name="net",resourceclaim_name="net-1",resourceclaim_template_name=""} 1"#,
                ],
            ),
            ("kube_pod_labels", &[]),
            ("kube_pod_annotations", &[]),
        ],
    );
}

#[test]
fn states_of_pods_are_told() {
    expect(
        "pods",
        &pod(),
        POD,
        &[
            (
                "kube_pod_status_phase",
                &[
                    r#"phase="Pending"} 0"#,
                    r#"phase="Succeeded"} 0"#,
                    r#"phase="Failed"} 0"#,
                    r#"phase="Unknown"} 0"#,
                    r#"phase="Running"} 1"#,
                ],
            ),
            (
                "kube_pod_status_qos_class",
                &[
                    r#"qos_class="BestEffort"} 0"#,
                    r#"qos_class="Burstable"} 1"#,
                    r#"qos_class="Guaranteed"} 0"#,
                ],
            ),
            (
                "kube_pod_status_ready",
                &[r#"condition="true"} 0"#, r#"condition="false"} 1"#, r#"condition="unknown"} 0"#],
            ),
            (
                "kube_pod_status_scheduled",
                &[r#"condition="true"} 1"#, r#"condition="false"} 0"#, r#"condition="unknown"} 0"#],
            ),
            ("kube_pod_status_scheduled_time", &["1500000001"]),
            ("kube_pod_status_initialized_time", &["1500000010"]),
            ("kube_pod_status_container_ready_time", &["1500000020"]),
            ("kube_pod_status_ready_time", &[]),
            ("kube_pod_status_unschedulable", &[]),
            ("kube_pod_status_unscheduled_time", &[]),
            ("kube_pod_status_disruption_reason", &[r#"reason="EvictionByEvictionAPI"} 1"#]),
            ("kube_pod_status_reason", &[]),
        ],
    );
    let placed = json!({"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
        "lastTransitionTime": "2017-07-14T02:40:00Z"});
    let waits = json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1"},
        "status": {"phase": "Pending", "reason": "Strange", "conditions": [placed,
            {"type": "DisruptionTarget", "status": "False", "reason": "Whim"}]}});
    expect(
        "pods",
        &waits,
        POD,
        &[
            ("kube_pod_status_unschedulable", &["1"]),
            ("kube_pod_status_unscheduled_time", &["1500000000"]),
            ("kube_pod_status_scheduled_time", &[]),
            ("kube_pod_status_reason", &[r#"reason="SchedulingGated"} 1"#, r#"reason="Other"} 1"#]),
            ("kube_pod_status_disruption_reason", &[r#"reason="Other"} 1"#]),
            ("kube_pod_owner", &[r#"owner_kind="",owner_name="",owner_is_controller=""} 1"#]),
            ("kube_pod_created", &[]),
        ],
    );
}

#[test]
fn containers_are_told() {
    expect(
        "pods",
        &pod(),
        POD,
        &[
            (
                "kube_pod_container_info",
                &[
                    r#"container="app",image_spec="web:1",image="r/web:1",image_id="r/web@sha256:1",container_id="containerd://1"} 1"#,
                    r#"container="side",image_spec="side:2",image="r/side:2",image_id="i2",container_id="c2"} 1"#,
                ],
            ),
            ("kube_pod_container_status_waiting", &[r#"container="app"} 1"#, r#"container="side"} 0"#]),
            (
                "kube_pod_container_status_waiting_reason",
                &[r#"container="app",reason="CrashLoopBackOff"} 1"#],
            ),
            ("kube_pod_container_status_running", &[r#"container="app"} 0"#, r#"container="side"} 1"#]),
            ("kube_pod_container_state_started", &[r#"container="side"} 1500000015"#]),
            ("kube_pod_container_status_terminated", &[r#"container="app"} 0"#, r#"container="side"} 0"#]),
            ("kube_pod_container_status_terminated_reason", &[]),
            (
                "kube_pod_container_status_last_terminated_reason",
                &[r#"container="app",reason="OOMKilled"} 1"#],
            ),
            ("kube_pod_container_status_last_terminated_exitcode", &[r#"container="app"} 137"#]),
            ("kube_pod_container_status_last_terminated_timestamp", &[r#"container="app"} 1500000040"#]),
            ("kube_pod_container_status_ready", &[r#"container="app"} 0"#, r#"container="side"} 1"#]),
            (
                "kube_pod_container_status_restarts_total",
                &[r#"container="app"} 3"#, r#"container="side"} 0"#],
            ),
            (
                "kube_pod_container_resource_requests",
                &[
                    r#"container="app",node="n1",resource="cpu",unit="core"} 0.07"#,
                    r#"container="app",node="n1",resource="hugepages_2Mi",unit="byte"} 4194304"#,
                    r#"container="app",node="n1",resource="memory",unit="byte"} 134217728"#,
                    r#"container="app",node="n1",resource="nvidia_com_gpu",unit="integer"} 2"#,
                ],
            ),
            (
                "kube_pod_container_resource_limits",
                &[
                    r#"container="app",node="n1",resource="cpu",unit="core"} 1"#,
                    r#"container="app",node="n1",resource="ephemeral_storage",unit="byte"} 1000000000"#,
                ],
            ),
        ],
    );
}

#[test]
fn init_containers_are_told() {
    expect(
        "pods",
        &pod(),
        POD,
        &[
            (
                "kube_pod_init_container_info",
                &[
                    r#"container="setup",image_spec="setup:3",image="r/setup:3",image_id="i3",container_id="c3",restart_policy="Always"} 1"#,
                ],
            ),
            ("kube_pod_init_container_status_waiting", &[r#"container="setup"} 0"#]),
            ("kube_pod_init_container_status_waiting_reason", &[]),
            ("kube_pod_init_container_status_running", &[r#"container="setup"} 0"#]),
            ("kube_pod_init_container_status_terminated", &[r#"container="setup"} 1"#]),
            (
                "kube_pod_init_container_status_terminated_reason",
                &[r#"container="setup",reason="Completed"} 1"#],
            ),
            (
                "kube_pod_init_container_status_last_terminated_reason",
                &[r#"container="setup",reason="Error"} 1"#],
            ),
            ("kube_pod_init_container_status_last_terminated_exitcode", &[r#"container="setup"} 2"#]),
            (
                "kube_pod_init_container_status_last_terminated_timestamp",
                &[r#"container="setup"} 1500000004"#],
            ),
            ("kube_pod_init_container_state_started", &[r#"container="setup"} 1500000006"#]),
            ("kube_pod_init_container_status_ready", &[r#"container="setup"} 1"#]),
            ("kube_pod_init_container_status_restarts_total", &[r#"container="setup"} 1"#]),
            (
                "kube_pod_init_container_resource_requests",
                &[r#"container="setup",node="n1",resource="cpu",unit="core"} 0.001"#],
            ),
            (
                "kube_pod_init_container_resource_limits",
                &[r#"container="setup",node="n1",resource="memory",unit="byte"} 1"#],
            ),
        ],
    );
}

#[test]
fn a_pod_that_is_done_tells_when() {
    let ended = |name: &str, at: &str| json!({"name": name, "state": {"terminated": {"reason": "Evicted", "exitCode": 1, "finishedAt": at}}});
    let pod = json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1"},
        "status": {"phase": "Failed", "containerStatuses":
            [ended("a", "2017-07-14T02:40:20Z"), ended("b", "2017-07-14T02:40:10Z")]}});
    expect(
        "pods",
        &pod,
        POD,
        &[
            ("kube_pod_completion_time", &["1500000020"]),
            (
                "kube_pod_container_status_terminated_reason",
                &[r#"container="a",reason="Evicted"} 1"#, r#"container="b",reason="Evicted"} 1"#],
            ),
            ("kube_pod_status_reason", &[r#"reason="Evicted"} 1"#]),
            ("kube_pod_container_info", &[]),
        ],
    );
}

#[test]
fn labels_and_annotations_are_told_where_they_are_allowed() {
    let list = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<_>>();
    let allowed = Allowed { labels: list(&["app.kubernetes.io/name", "none"]), annotations: list(&["*"]) };
    let told = |family: &str| rows_with("pods", &pod(), family, &allowed);
    assert_eq!(
        told("kube_pod_labels"),
        [format!(r#"kube_pod_labels{{{POD},label_app_kubernetes_io_name="shopWeb"}} 1"#)]
    );
    assert_eq!(
        told("kube_pod_annotations"),
        [format!(r#"kube_pod_annotations{{{POD},annotation_note="a \"b\"\nc"}} 1"#)]
    );
}

#[test]
fn nodes_are_told() {
    let node = json!({
        "metadata": {"name": "n1", "creationTimestamp": "2017-07-14T02:40:00Z",
            "labels": {"node-role.kubernetes.io/control-plane": "", "x": "y"}},
        "spec": {"providerID": "cloud://1", "podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24", "fd00::/64"],
            "unschedulable": true, "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
        "status": {"addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "fd00::1"},
                {"type": "InternalIP", "address": "10.1.0.1"}, {"type": "ExternalIP", "address": "192.0.2.1"}],
            "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110", "odd": "1"},
            "allocatable": {"cpu": "3920m", "example.com/thing": "5"},
            "conditions": [{"type": "Ready", "status": "Unknown"}],
            "nodeInfo": {"kernelVersion": "6.1", "osImage": "Debian", "containerRuntimeVersion": "containerd://2",
                "kubeletVersion": "v1.36.0", "systemUUID": "s"}}
    });
    expect(
        "nodes",
        &node,
        r#"node="n1""#,
        &[
            (
                "kube_node_info",
                &[
                    r#"kernel_version="6.1",os_image="Debian",container_runtime_version="containerd://2",kubelet_version="v1.36.0",kubeproxy_version="deprecated",provider_id="cloud://1",pod_cidr="10.0.0.0/24",system_uuid="s",internal_ip="10.1.0.1"} 1"#,
                ],
            ),
            ("kube_node_created", &["1500000000"]),
            ("kube_node_deletion_timestamp", &[]),
            ("kube_node_role", &[r#"role="control-plane"} 1"#]),
            ("kube_node_spec_unschedulable", &["1"]),
            ("kube_node_spec_taint", &[r#"key="k",value="v",effect="NoSchedule"} 1"#]),
            ("kube_node_spec_pod_cidrs", &[r#"pod_cidr="10.0.0.0/24"} 1"#, r#"pod_cidr="fd00::/64"} 1"#]),
            (
                "kube_node_status_addresses",
                &[
                    r#"type="Hostname",address="n1"} 1"#,
                    r#"type="InternalIP",address="fd00::1"} 1"#,
                    r#"type="InternalIP",address="10.1.0.1"} 1"#,
                    r#"type="ExternalIP",address="192.0.2.1"} 1"#,
                ],
            ),
            (
                "kube_node_status_capacity",
                &[
                    r#"resource="cpu",unit="core"} 4"#,
                    r#"resource="memory",unit="byte"} 17179869184"#,
                    r#"resource="pods",unit="integer"} 110"#,
                ],
            ),
            (
                "kube_node_status_allocatable",
                &[r#"resource="cpu",unit="core"} 3.92"#, r#"resource="example_com_thing",unit="integer"} 5"#],
            ),
            (
                "kube_node_status_condition",
                &[
                    r#"condition="Ready",status="true"} 0"#,
                    r#"condition="Ready",status="false"} 0"#,
                    r#"condition="Ready",status="unknown"} 1"#,
                ],
            ),
        ],
    );
}

#[test]
fn namespaces_are_told() {
    let namespace = json!({"metadata": {"name": "shop", "creationTimestamp": "2017-07-14T02:40:00Z"},
        "status": {"phase": "Terminating", "conditions": [{"type": "NamespaceContentRemaining", "status": "True"}]}});
    expect(
        "namespaces",
        &namespace,
        r#"namespace="shop""#,
        &[
            ("kube_namespace_created", &["1500000000"]),
            ("kube_namespace_status_phase", &[r#"phase="Active"} 0"#, r#"phase="Terminating"} 1"#]),
            (
                "kube_namespace_status_condition",
                &[
                    r#"condition="NamespaceContentRemaining",status="true"} 1"#,
                    r#"condition="NamespaceContentRemaining",status="false"} 0"#,
                    r#"condition="NamespaceContentRemaining",status="unknown"} 0"#,
                ],
            ),
        ],
    );
}

#[test]
fn pages_name_each_family_once_with_rows_or_without() {
    let kind = KINDS.iter().find(|kind| kind.resource.plural == "pods").expect("pods");
    let objects: Vec<String> = (0..3)
        .map(|n| json!({"metadata": {"name": format!("p{n}"), "namespace": "s"}}).to_string())
        .collect();
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    for format in [Format::Text, Format::OpenMetrics] {
        let page = kind.page(&objects, &Allowed::default(), format).expect("sound");
        let families = (kind.families)();
        let types: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert_eq!(types.len(), families.len());
        let is_open = format == Format::OpenMetrics;
        assert_eq!(page.ends_with("# EOF\n"), is_open);
        let counter = "kube_pod_container_status_restarts";
        let counter = if is_open { format!("{counter} counter") } else { format!("{counter}_total counter") };
        assert!(types.contains(&&*counter) && types.contains(&"kube_pod_info gauge"), "{types:?}");
        assert_eq!(page.matches("kube_pod_info{").count(), 3);
        assert_eq!(page.matches("kube_pod_completion_time{").count(), 0);
    }
}
