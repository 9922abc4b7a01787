//! Targets of objects that the API server of our tests has. What is expected was written down from
//! Prometheus' documentation of its labels.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::watch};
use vedette_config::{
    HttpClient,
    discovery::{AttachMetadata, Selector},
};
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_model::Labels;
use vedette_sys::SystemClock;
use vedette_test_apiserver::ApiServer;

use super::*;
use crate::Timing;

/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(60);
const PREFIX: &str = "__meta_kubernetes_";

type Told = (Option<Vec<TargetGroup>>, Result<(), String>);

struct Rig {
    server: ApiServer,
    hub: Arc<Hub>,
}

/// What one entry told last.
struct Entry(watch::Receiver<Told>);

impl Rig {
    fn new() -> Self {
        let options = Options {
            user_agent: "Vedette/test".into(),
            unix_socket: None,
            proxy_environment: ProxyEnvironment::default(),
            clock: Arc::new(SystemClock),
        };
        let timing = Timing {
            retry_first: Duration::from_millis(2),
            retry_max: Duration::from_millis(50),
            ..Timing::default()
        };
        Self { server: ApiServer::start(), hub: Arc::new(Hub::new(Handle::current(), options, timing)) }
    }

    fn config(&self, role: Role) -> Kubernetes {
        Kubernetes {
            api_server: Some(self.server.url().parse().expect("a URL")),
            role,
            kubeconfig_file: None,
            client: HttpClient::default(),
            known_cluster: None,
            namespaces: Vec::new(),
            own_namespace: false,
            selectors: Vec::new(),
            attach_metadata: AttachMetadata::default(),
        }
    }

    fn run(&self, config: &Kubernetes) -> Entry {
        let (sender, receiver) = watch::channel((None, Ok(())));
        let tell: Tell = Box::new(move |groups, outcome| {
            sender.send_modify(|told: &mut Told| {
                told.0 = groups.or(told.0.take());
                told.1 = outcome;
            });
            !sender.is_closed()
        });
        tokio::spawn(Discoverer::new(self.hub.clone(), config, PathBuf::from("/none")).run(tell));
        Entry(receiver)
    }
}

impl Entry {
    async fn wait(&mut self, what: &str, holds: impl Fn(&Told) -> bool) {
        let waited = tokio::time::timeout(SOON, self.0.wait_for(|told| holds(told))).await.map(|w| w.is_ok());
        assert_eq!(waited, Ok(true), "{what}: {:?}", self.0.borrow());
    }

    /// Waits until exactly these targets are told; names are without what all begin with.
    async fn wait_for(&mut self, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        expected.sort();
        let what = format!("{expected:#?}");
        self.wait(&what, |(groups, _)| groups.as_ref().is_some_and(|groups| shown(groups) == expected)).await;
    }
}

fn shown(groups: &[TargetGroup]) -> Vec<String> {
    let one = |labels: Labels| {
        let pairs = labels.iter().map(|(name, value)| format!("{}={value}", name.trim_start_matches(PREFIX)));
        pairs.collect::<Vec<_>>().join(" ")
    };
    let mut all: Vec<String> = groups.iter().flat_map(TargetGroup::discovered).map(one).collect();
    all.sort();
    all
}

fn pod(name: &str, ip: &str) -> Value {
    json!({"metadata": {"namespace": "x", "name": name, "uid": "u",
            "labels": {"app.kubernetes.io/name": "web"}, "annotations": {"a-b": "c"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "controller": true}]},
        "spec": {"nodeName": "n1", "containers": [
                {"name": "c", "image": "i:1", "ports": [
                    {"name": "http", "containerPort": 80, "protocol": "TCP"},
                    {"name": "more", "containerPort": 81, "protocol": "TCP"}]}],
            "initContainers": [{"name": "first", "image": "j"}]},
        "status": {"phase": "Running", "podIP": ip, "hostIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "containerID": "containerd://1"}]}})
}

/// What is told of that pod wherever it is behind a target.
const POD: &str = "pod_annotation_a_b=c pod_annotationpresent_a_b=true";
const POD_REST: &str = "pod_host_ip=10.0.0.1 pod_ip=10.1.0.1 pod_label_app_kubernetes_io_name=web \
    pod_labelpresent_app_kubernetes_io_name=true pod_name=web-1-a pod_node_name=n1 pod_phase=Running pod_ready=true \
    pod_uid=u";

fn node(name: &str, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"providerID": "p://1"},
        "status": {"addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "InternalIP", "address": "10.0.0.2"}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "False"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}})
}

fn service() -> Value {
    json!({"metadata": {"namespace": "x", "name": "s", "labels": {"l": "v"}},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.9.0.1", "loadBalancerIP": "1.1.1.1",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_targets_with_all_that_is_attached() {
    let rig = Rig::new();
    rig.server.put("/api/v1/pods", pod("web-1-a", "10.1.0.1"));
    rig.server.put("/api/v1/pods", pod("web-1-b", ""));
    let mut plain = rig.run(&rig.config(Role::Pod));
    let container = |rest: &str| {
        format!("{POD} {rest} pod_controller_kind=ReplicaSet pod_controller_name=web-1 {POD_REST}")
    };
    let port = |number: u32, name: &str| {
        let rest = format!(
            "pod_container_id=containerd://1 pod_container_image=i:1 pod_container_init=false pod_container_name=c \
             pod_container_port_name={name} pod_container_port_number={number} pod_container_port_protocol=TCP"
        );
        format!("__address__=10.1.0.1:{number} namespace=x {}", container(&rest))
    };
    let first = container("pod_container_image=j pod_container_init=true pod_container_name=first");
    let first = format!("__address__=10.1.0.1 namespace=x {first}");
    plain.wait_for(&[&port(80, "http"), &port(81, "more"), &first]).await;

    // With what is attached; a pod on a node that is not chosen is no target.
    let mut config = rig.config(Role::Pod);
    config.attach_metadata =
        AttachMetadata { node: true, namespace: true, deployment: true, ..config.attach_metadata };
    config.selectors = vec![Selector { role: Role::Node, label: "zone=a".into(), field: String::new() }];
    config.namespaces = vec!["x".into(), "y".into(), "x".into()];
    let mut rich = rig.run(&config);
    rich.wait_for(&[]).await;
    let owner = json!([{"kind": "Deployment", "name": "web", "controller": true}]);
    let set = json!({"metadata": {"namespace": "x", "name": "web-1", "ownerReferences": owner}});
    rig.server.put("/apis/apps/v1/replicasets", set);
    rig.server.put("/api/v1/namespaces", json!({"metadata": {"name": "x", "labels": {"team": "t"}}}));
    rig.server.put("/api/v1/nodes", node("n1", &json!({"zone": "a"})));
    let attached = |target: String| {
        let with = "namespace=x namespace_label_team=t namespace_labelpresent_team=true node_label_zone=a \
            node_labelpresent_zone=true node_name=n1";
        let target = target.replace("namespace=x", with);
        target.replace("pod_host_ip", "pod_deployment_name=web pod_host_ip")
    };
    rich.wait_for(&[&attached(port(80, "http")), &attached(port(81, "more")), &attached(first.clone())])
        .await;
    // What is attached changes, and goes.
    rig.server.put("/api/v1/nodes", node("n1", &json!({"zone": "b"})));
    rich.wait_for(&[]).await;
    rig.server.remove("/api/v1/pods", "x", "web-1-a");
    plain.wait_for(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_told_with_their_pods() {
    let rig = Rig::new();
    let mut object = pod("j-1-x", "10.1.0.1");
    object["metadata"]["ownerReferences"] = json!([{"kind": "Job", "name": "j-1", "controller": true}]);
    rig.server.put("/api/v1/pods", object);
    let owner = json!([{"kind": "CronJob", "name": "j", "controller": true}]);
    rig.server.put(
        "/apis/batch/v1/jobs",
        json!({"metadata": {"namespace": "x", "name": "j-1", "ownerReferences": owner}}),
    );
    let mut config = rig.config(Role::Pod);
    config.attach_metadata = AttachMetadata { job: true, cronjob: true, ..config.attach_metadata };
    let mut entry = rig.run(&config);
    entry
        .wait("jobs", |(groups, _)| {
            let all = shown(groups.as_deref().unwrap_or_default()).join("\n");
            all.matches("pod_cronjob_name=j ").count() == 3 && all.matches("pod_job_name=j-1 ").count() == 3
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_services_and_ingresses_are_targets() {
    let rig = Rig::new();
    rig.server.put("/api/v1/nodes", node("n1", &json!({"zone": "a"})));
    rig.server.put("/api/v1/nodes", json!({"metadata": {"name": "without-address"}}));
    rig.server.put("/api/v1/services", service());
    let external = json!({"metadata": {"namespace": "x", "name": "e"}, "spec": {"type": "ExternalName",
        "externalName": "o.example", "ports": [{"port": 1, "protocol": "TCP"}]}});
    rig.server.put("/api/v1/services", external);
    let ingress = json!({"metadata": {"namespace": "x", "name": "i"}, "spec": {"ingressClassName": "nginx",
        "tls": [{"hosts": ["*.a.example"]}], "rules": [
            {"host": "w.a.example", "http": {"paths": [{"path": "/p"}, {"path": ""}]}}, {"host": "b.example"}]}});
    rig.server.put("/apis/networking.k8s.io/v1/ingresses", ingress);
    rig.run(&rig.config(Role::Node))
        .wait_for(&["__address__=10.0.0.1:10250 node_address_Hostname=h node_address_InternalIP=10.0.0.1 \
            node_condition_memorypressure=false node_condition_ready=true node_label_zone=a \
            node_labelpresent_zone=true node_name=n1 node_provider_id=p://1 instance=n1"])
        .await;
    rig.run(&rig.config(Role::Service))
        .wait_for(&[
            "__address__=s.x.svc:80 namespace=x service_cluster_ip=10.9.0.1 service_label_l=v \
             service_labelpresent_l=true service_loadbalancer_ip=1.1.1.1 service_name=s service_port_name=http \
             service_port_number=80 service_port_protocol=TCP service_type=LoadBalancer",
            "__address__=e.x.svc:1 namespace=x service_external_name=o.example service_name=e \
             service_port_number=1 service_port_protocol=TCP service_type=ExternalName",
        ])
        .await;
    let ingress = |host: &str, path: &str, scheme: &str| {
        format!(
            "__address__={host} ingress_class_name=nginx ingress_host={host} ingress_name=i ingress_path={path} \
             ingress_scheme={scheme} namespace=x"
        )
    };
    let (p, root) = (ingress("w.a.example", "/p", "https"), ingress("w.a.example", "/", "https"));
    rig.run(&rig.config(Role::Ingress)).wait_for(&[&p, &root, &ingress("b.example", "/", "http")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_and_slices_are_targets_with_their_pods() {
    let rig = Rig::new();
    rig.server.put("/api/v1/services", service());
    rig.server.put("/api/v1/pods", pod("web-1-a", "10.1.0.1"));
    let of = json!({"kind": "Pod", "namespace": "x", "name": "web-1-a"});
    let endpoints = json!({"metadata": {"namespace": "x", "name": "s"}, "subsets": [{
        "addresses": [{"ip": "10.1.0.1", "nodeName": "n1", "targetRef": of}],
        "notReadyAddresses": [{"ip": "10.1.0.9", "hostname": "h"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]});
    rig.server.put("/api/v1/endpoints", endpoints);
    let slice = |name: &str, family: &str, address: &str| {
        json!({"metadata": {"namespace": "x", "name": name, "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": family, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": true, "serving": true,
                "terminating": false}, "nodeName": "n1", "zone": "z", "targetRef": of}]})
    };
    rig.server.put("/apis/discovery.k8s.io/v1/endpointslices", slice("s-1", "IPv4", "10.1.0.1"));
    rig.server.put(
        "/apis/discovery.k8s.io/v1/endpointslices",
        json!({"metadata": {"namespace": "x", "name": "empty"}, "addressType": "IPv4", "endpoints": null, "ports": null}),
    );
    let container = |port: u32, name: &str| {
        format!(
            "{POD} pod_container_image=i:1 pod_container_init=false pod_container_name=c pod_container_port_name={name} \
             pod_container_port_number={port} pod_container_port_protocol=TCP pod_controller_kind=ReplicaSet \
             pod_controller_name=web-1 {POD_REST}"
        )
    };
    let service = "service_label_l=v service_labelpresent_l=true service_name=s";
    let ready = format!(
        "__address__=10.1.0.1:80 endpoint_address_target_kind=Pod endpoint_address_target_name=web-1-a \
         endpoint_node_name=n1 endpoint_port_name=http endpoint_port_protocol=TCP endpoint_ready=true \
         endpoints_name=s namespace=x {} {service}",
        container(80, "http")
    );
    let other =
        format!("__address__=10.1.0.1:81 endpoints_name=s namespace=x {} {service}", container(81, "more"));
    let not_ready = format!(
        "__address__=10.1.0.9:80 endpoint_hostname=h endpoint_port_name=http endpoint_port_protocol=TCP \
         endpoint_ready=false endpoints_name=s namespace=x {service}"
    );
    let mut entry = rig.run(&rig.config(Role::Endpoints));
    entry.wait_for(&[&ready, &other, &not_ready]).await;

    let group = "endpointslice_label_kubernetes_io_service_name=s \
        endpointslice_labelpresent_kubernetes_io_service_name=true endpointslice_name=s-1";
    let named = format!(
        "__address__=10.1.0.1:80 endpointslice_address_target_kind=Pod endpointslice_address_target_name=web-1-a \
         endpointslice_address_type=IPv4 endpointslice_endpoint_conditions_ready=true \
         endpointslice_endpoint_conditions_serving=true endpointslice_endpoint_conditions_terminating=false \
         endpointslice_endpoint_node_name=n1 endpointslice_endpoint_zone=z {group} endpointslice_port=80 \
         endpointslice_port_name=http endpointslice_port_protocol=TCP namespace=x {} {service}",
        container(80, "http")
    );
    let other = format!(
        "__address__=10.1.0.1:81 endpointslice_address_type=IPv4 {group} namespace=x {} {service}",
        container(81, "more")
    );
    let mut entry = rig.run(&rig.config(Role::EndpointSlice));
    entry.wait_for(&[&named, &other]).await;
    // The pod is gone before its slice: what only it told is told no more.
    rig.server.remove("/api/v1/pods", "x", "web-1-a");
    entry
        .wait("without the pod", |(groups, _)| {
            let all = shown(groups.as_deref().unwrap_or_default());
            all.len() == 1 && !all[0].contains(" pod_")
        })
        .await;
    assert_eq!(rig.hub.watches(), 4, "pods, services, endpoints and slices are watched once each");
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_told_and_targets_stay() {
    let rig = Rig::new();
    rig.server.put("/api/v1/services", service());
    let mut entry = rig.run(&rig.config(Role::Service));
    entry.wait("one target", |told| told.0.as_ref().is_some_and(|groups| groups.len() == 1)).await;
    rig.server.behave(|b| b.fails_with = Some((503, 0)));
    let is_told = |(groups, outcome): &Told| {
        let words = outcome.as_ref().err().map_or("", String::as_str);
        groups.as_ref().is_some_and(|groups| groups.len() == 1)
            && ["services", "503", "since", "is kept"].iter().all(|word| words.contains(word))
    };
    entry.wait("the trouble", is_told).await;
    rig.server.behave(|b| b.fails_with = None);
    entry.wait("well again", |(_, outcome)| outcome.is_ok()).await;

    // What is only attached and forbidden is named, and the targets are told without it.
    let forbid = |verb: &str| (verb.to_owned(), "namespaces".to_owned());
    rig.server.behave(|b| b.forbidden = vec![forbid("list"), forbid("watch")]);
    let mut config = rig.config(Role::Service);
    config.attach_metadata.namespace = true;
    let mut entry = rig.run(&config);
    entry
        .wait("targets without namespaces", |(groups, outcome)| {
            groups.as_ref().is_some_and(|groups| groups.len() == 1)
                && outcome.as_ref().is_err_and(|words| words.contains("namespaces in all namespaces"))
        })
        .await;
    // Where nothing is whole nothing is told but the trouble.
    let forbid = |verb: &str| (verb.to_owned(), "ingresses".to_owned());
    rig.server.behave(|b| b.forbidden = vec![forbid("list"), forbid("watch")]);
    let mut entry = rig.run(&rig.config(Role::Ingress));
    entry.wait("only trouble", |(groups, outcome)| groups.is_none() && outcome.is_err()).await;
    let nowhere = Kubernetes { api_server: None, ..rig.config(Role::Pod) };
    let mut entry = rig.run(&nowhere);
    entry
        .wait("no cluster", |(_, outcome)| {
            outcome.as_ref().is_err_and(|words| words.contains("no pod of a cluster"))
        })
        .await;
}
