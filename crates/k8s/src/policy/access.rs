//! What a pod may do to its machine: what it is given beyond the level Baseline of the Pod Security Standards, as
//! far as privileges, namespaces of the machine, capabilities and its files go.

use crate::objects::{NotedVolume, Pod};

use super::words;

/// Lines of one pod; of more, the others are counted.
const LINES_MAX: usize = 16;

/// Paths of a machine by which one can take it. Whoever has a folder above one has it, too, and what is below is as bad.
const GRAVE_PATHS: [&str; 13] = [
    "/boot",
    "/dev",
    "/etc/kubernetes",
    "/etc/shadow",
    "/etc/cron.d",
    "/proc/sys/kernel/core_pattern",
    "/root",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/var/lib/etcd",
    "/var/lib/kubelet",
];

/// What a pod may do, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Access {
    /// One line each.
    pub(super) lines: Vec<String>,
    /// Whether any of it gives the whole machine.
    pub(super) is_grave: bool,
}

impl Access {
    /// Looks at a pod; none where it has no more than others.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let mut access = Self::default();
        let mut left_out = 0;
        let mut add = |is_grave: bool, line: String| {
            access.is_grave |= is_grave;
            if access.lines.len() < LINES_MAX { access.lines.push(line) } else { left_out += 1 }
        };
        let spec = &pod.spec;
        for (is_set, is_grave, line) in [
            (spec.host_pid, true, "it sees the processes of its machine (hostPID)"),
            (spec.host_ipc, false, "it shares memory with the processes of its machine (hostIPC)"),
            (spec.host_network, false, "it uses the network of its machine (hostNetwork)"),
            (
                spec.powers.is_host_process(),
                true,
                "its containers are processes of the machine (hostProcess)",
            ),
        ] {
            if is_set {
                add(is_grave, line.to_owned());
            }
        }
        for container in pod.all_containers() {
            let name = words::plain(&container.name);
            if container.powers.is_privileged() {
                add(true, format!("container {name} is privileged"));
            }
            if container.powers.is_host_process() {
                add(true, format!("container {name} is a process of the machine (hostProcess)"));
            }
            let added: Vec<_> = container.powers.capabilities().collect();
            if !added.is_empty() {
                let names: Vec<_> = added.iter().map(|(name, _)| *name).collect();
                let is_grave = added.iter().any(|(_, is_grave)| *is_grave);
                add(is_grave, format!("container {name} adds capabilities: {}", names.join(", ")));
            }
        }
        for volume in &spec.volumes.noted {
            if let NotedVolume::HostPath(path) = volume {
                add(is_grave_path(path), format!("it has {} of its machine (hostPath)", words::plain(path)));
            }
        }
        if left_out > 0 {
            access.lines.push(format!("and {left_out} more"));
        }
        (!access.lines.is_empty()).then_some(access)
    }
}

/// Whether one of those paths is this one, above or below it.
fn is_grave_path(path: &str) -> bool {
    let parts = |path: &'_ str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        let parts: Vec<String> = parts.map(str::to_owned).collect();
        // `/var/run` leads to `/run`.
        match parts.as_slice() {
            [var, run, rest @ ..] if var == "var" && run == "run" => {
                std::iter::once("run".to_owned()).chain(rest.iter().cloned()).collect()
            }
            _ => parts,
        }
    };
    let own = parts(path);
    GRAVE_PATHS.iter().any(|grave| {
        let grave = parts(grave);
        grave.starts_with(&own) || own.starts_with(&grave)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn access(spec: &Value) -> Option<Access> {
        let pod = json!({"metadata": {"name": "p"}, "spec": spec});
        Access::of(&serde_json::from_value(pod).expect("sound"))
    }

    #[test]
    fn a_table_of_pods() {
        let container = |context: Value| json!({"name": "c", "image": "i", "securityContext": context});
        let with = |context: Value| json!({"containers": [container(context)]});
        let path = |path: &str| json!({"volumes": [{"name": "v", "hostPath": {"path": path, "type": ""}}]});
        // The specification; how many lines it gives, and whether it is grave.
        for (spec, expected) in [
            (json!({}), None),
            (
                json!({"hostPID": false, "hostIPC": null, "hostNetwork": false, "securityContext": {"runAsUser": 0}}),
                None,
            ),
            (with(json!({"privileged": false, "allowPrivilegeEscalation": true})), None),
            (with(json!({"capabilities": {"add": ["CHOWN", "NET_BIND_SERVICE"], "drop": ["ALL"]}})), None),
            (
                json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "x"}}]}),
                None,
            ),
            (json!({"hostPID": true}), Some((1, true))),
            (json!({"hostIPC": true}), Some((1, false))),
            (json!({"hostNetwork": true}), Some((1, false))),
            (json!({"hostPID": true, "hostIPC": true, "hostNetwork": true}), Some((3, true))),
            (json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}), Some((1, true))),
            (with(json!({"privileged": true})), Some((1, true))),
            (with(json!({"windowsOptions": {"hostProcess": true}})), Some((1, true))),
            (with(json!({"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}})), Some((1, false))),
            (with(json!({"capabilities": {"add": ["SYS_ADMIN"]}})), Some((1, true))),
            (json!({"initContainers": [container(json!({"privileged": true}))]}), Some((1, true))),
            (json!({"ephemeralContainers": [container(json!({"privileged": true}))]}), Some((1, true))),
            (path("/"), Some((1, true))),
            (path(""), Some((1, true))),
            (path("/var/run/docker.sock"), Some((1, true))),
            (path("/run/"), Some((1, true))),
            (path("//var/./run//"), Some((1, true))),
            (path("/etc"), Some((1, true))),
            (path("/etc/ssl/certs"), Some((1, false))),
            (path("/etc/shadow.d"), Some((1, false))),
            (path("/root//.ssh"), Some((1, true))),
            (path("/dev/mem"), Some((1, true))),
            (path("/var/lib"), Some((1, true))),
            (path("/var/lib/kubelet/pods"), Some((1, true))),
            (path("/var/log"), Some((1, false))),
            (path("/rooted"), Some((1, false))),
        ] {
            let found = access(&spec).map(|access| (access.lines.len(), access.is_grave));
            assert_eq!(found, expected, "{spec}");
        }
    }

    #[test]
    fn what_is_written_is_bounded_and_plain() {
        let container = |number: usize| {
            json!({"name": format!("c\u{1b}[2J\n{number}"), "image": "i",
            "securityContext": {"privileged": true}})
        };
        let all: Vec<Value> = (0..100).map(container).collect();
        let found = access(&json!({"containers": all})).expect("privileged");
        assert_eq!(found.lines.len(), LINES_MAX + 1);
        assert_eq!(found.lines[LINES_MAX], "and 84 more");
        assert!(found.lines.iter().all(|line| !line.chars().any(char::is_control)), "{:?}", found.lines);
        let long = json!({"volumes": [{"name": "v", "hostPath": {"path": "/é".repeat(100_000)}}]});
        assert!(access(&long).expect("a path").lines[0].len() < 1000);
    }

    /// The pods by which Kubernetes tests its own admission, where they lie beside the project.
    #[test]
    fn the_cases_of_pod_security_admission_are_judged_alike() {
        const OURS: [&str; 5] = [
            "privileged",
            "hostNamespaces",
            "hostPathVolumes",
            "capabilities_baseline",
            "windowsHostProcess",
        ];
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance/pod-security");
        let folder = std::env::var("VEDETTE_POD_SECURITY_DIR").unwrap_or_else(|_| beside.to_owned());
        let Ok(cases) = std::fs::read_to_string(format!("{folder}/cases.jsonl")) else {
            println!("skipped: there are no cases in {folder}");
            return;
        };
        let (mut allowed, mut denied) = (0, 0);
        for case in cases.lines() {
            let case: Value = serde_json::from_str(case).expect("a case");
            let is_ours = case["check"].as_str().is_some_and(|check| OURS.contains(&check));
            let is_allowed = case["expect"] == "allow";
            if !is_ours && !is_allowed {
                continue;
            }
            let manifest = case["manifest"].as_str().expect("a manifest");
            let pod: Value = serde_saphyr::from_str(manifest).expect("YAML");
            let found = Access::of(&serde_json::from_value(pod).expect("a pod"));
            assert_eq!(found.is_none(), is_allowed, "{}: {found:?}", case["case"]);
            if is_allowed { allowed += 1 } else { denied += 1 }
        }
        println!("{allowed} pods are allowed and {denied} are not");
        assert!(allowed > 50 && denied > 10, "{allowed} and {denied}");
    }
}
