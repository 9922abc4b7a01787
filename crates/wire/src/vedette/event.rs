//! Events and findings as the API writes them; both borrow from the model's values.

use std::{borrow::Cow, fmt::Write as _};

use serde::Serialize;
use vedette_model as model;
use vedette_model::{Fact, FindingState, SocketDirection, StreamTarget, Transport};

use super::{LabelMap, Wide};

/// One event, flat.
#[derive(Debug, Clone, Serialize, Default)]
#[cfg_attr(test, derive(ts_rs::TS), ts(optional_fields))]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of `model::Event` and `model::Fact`")]
pub struct Event<'a> {
    #[cfg_attr(test, ts(type = "string"))]
    pub id: Wide<u64>,
    #[cfg_attr(test, ts(type = "string"))]
    pub time_unix_nano: Wide<i64>,
    #[cfg_attr(test, ts(type = "EventKind"))]
    pub kind: &'a str,
    #[serde(rename = "host.name")]
    pub host_name: &'a str,
    #[serde(rename = "container.id", skip_serializing_if = "Option::is_none")]
    pub container_id: Option<&'a str>,
    #[serde(rename = "container.name", skip_serializing_if = "Option::is_none")]
    pub container_name: Option<&'a str>,
    #[serde(rename = "container.image.name", skip_serializing_if = "Option::is_none")]
    pub container_image_name: Option<&'a str>,
    #[serde(rename = "k8s.pod.name", skip_serializing_if = "Option::is_none")]
    pub k8s_pod_name: Option<&'a str>,
    #[serde(rename = "k8s.namespace.name", skip_serializing_if = "Option::is_none")]
    pub k8s_namespace_name: Option<&'a str>,
    #[serde(rename = "k8s.pod.uid", skip_serializing_if = "Option::is_none")]
    pub k8s_pod_uid: Option<&'a str>,
    #[serde(rename = "vedette.workload.kind", skip_serializing_if = "Option::is_none")]
    pub workload_kind: Option<&'a str>,
    #[serde(rename = "vedette.workload.name", skip_serializing_if = "Option::is_none")]
    pub workload_name: Option<&'a str>,
    #[serde(rename = "process.pid", skip_serializing_if = "Option::is_none")]
    pub process_pid: Option<u32>,
    #[serde(rename = "process.start_ns", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(type = "string", optional))]
    pub process_start_ns: Option<Wide<u64>>,
    #[serde(rename = "process.parent_pid", skip_serializing_if = "Option::is_none")]
    pub process_parent_pid: Option<u32>,
    #[serde(rename = "process.command", skip_serializing_if = "Option::is_none")]
    pub process_command: Option<&'a str>,
    #[serde(rename = "process.executable.path", skip_serializing_if = "Option::is_none")]
    pub process_executable_path: Option<&'a str>,
    #[serde(rename = "process.command_args", skip_serializing_if = "Option::is_none")]
    pub process_command_args: Option<&'a [String]>,
    #[serde(rename = "process.command_line", skip_serializing_if = "Option::is_none")]
    pub process_command_line: Option<String>,
    /// Whether the sensor had to cut the arguments.
    #[serde(rename = "vedette.command_args_truncated", skip_serializing_if = "Option::is_none")]
    pub command_args_truncated: Option<bool>,
    #[serde(rename = "process.real_user.id", skip_serializing_if = "Option::is_none")]
    pub process_real_user_id: Option<u32>,
    #[serde(rename = "process.ancestors", skip_serializing_if = "Option::is_none")]
    pub process_ancestors: Option<Vec<Ancestor<'a>>>,
    #[serde(rename = "vedette.streams", skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<String>>,
    #[serde(rename = "vedette.exec.upper_layer", skip_serializing_if = "Option::is_none")]
    pub exec_upper_layer: Option<bool>,
    #[serde(rename = "vedette.exec.unlinked", skip_serializing_if = "Option::is_none")]
    pub exec_unlinked: Option<bool>,
    #[serde(rename = "vedette.child.pid", skip_serializing_if = "Option::is_none")]
    pub child_pid: Option<u32>,
    #[serde(rename = "vedette.child.start_ns", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(type = "string", optional))]
    pub child_start_ns: Option<Wide<u64>>,
    #[serde(rename = "process.exit.code", skip_serializing_if = "Option::is_none")]
    pub process_exit_code: Option<u32>,
    #[serde(rename = "vedette.exit.signal", skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<bool>,
    #[serde(rename = "network.transport", skip_serializing_if = "Option::is_none")]
    pub network_transport: Option<&'a str>,
    #[serde(rename = "vedette.network.direction", skip_serializing_if = "Option::is_none")]
    pub network_direction: Option<&'a str>,
    #[serde(rename = "network.local.address", skip_serializing_if = "Option::is_none")]
    pub network_local_address: Option<String>,
    #[serde(rename = "network.local.port", skip_serializing_if = "Option::is_none")]
    pub network_local_port: Option<u16>,
    #[serde(rename = "network.peer.address", skip_serializing_if = "Option::is_none")]
    pub network_peer_address: Option<String>,
    #[serde(rename = "network.peer.port", skip_serializing_if = "Option::is_none")]
    pub network_peer_port: Option<u16>,
    #[serde(rename = "vedette.stream", skip_serializing_if = "Option::is_none")]
    pub stream: Option<u8>,
    #[serde(rename = "vedette.pty", skip_serializing_if = "Option::is_none")]
    pub pty: Option<u32>,
    #[serde(rename = "vedette.count", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(type = "number", optional))]
    pub count: Option<u64>,
    #[serde(rename = "k8s.cluster.name", skip_serializing_if = "Option::is_none")]
    pub k8s_cluster_name: Option<&'a str>,
    #[serde(rename = "k8s.event.uid", skip_serializing_if = "Option::is_none")]
    pub k8s_event_uid: Option<&'a str>,
    /// `Normal` or `Warning`.
    #[serde(rename = "vedette.k8s.event.type", skip_serializing_if = "Option::is_none")]
    pub k8s_event_kind: Option<&'a str>,
    #[serde(rename = "k8s.event.reason", skip_serializing_if = "Option::is_none")]
    pub k8s_event_reason: Option<&'a str>,
    #[serde(rename = "k8s.event.count", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(type = "number", optional))]
    pub k8s_event_count: Option<u64>,
    #[serde(rename = "vedette.k8s.event.note", skip_serializing_if = "Option::is_none")]
    pub k8s_event_note: Option<&'a str>,
    #[serde(rename = "vedette.k8s.event.reporter", skip_serializing_if = "Option::is_none")]
    pub k8s_event_reporter: Option<&'a str>,
    /// When it happened first.
    #[serde(rename = "vedette.k8s.event.first_unix_nano", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(type = "string", optional))]
    pub k8s_event_first: Option<Wide<i64>>,
    #[serde(rename = "k8s.object.kind", skip_serializing_if = "Option::is_none")]
    pub k8s_object_kind: Option<&'a str>,
    #[serde(rename = "k8s.object.name", skip_serializing_if = "Option::is_none")]
    pub k8s_object_name: Option<&'a str>,
    #[serde(rename = "k8s.object.uid", skip_serializing_if = "Option::is_none")]
    pub k8s_object_uid: Option<&'a str>,
    /// What was asked of an API server, as `create`.
    #[serde(rename = "vedette.k8s.audit.verb", skip_serializing_if = "Option::is_none")]
    pub k8s_audit_verb: Option<&'a str>,
    #[serde(rename = "vedette.k8s.audit.id", skip_serializing_if = "Option::is_none")]
    pub k8s_audit_id: Option<&'a str>,
    /// Who asked in the name of the user.
    #[serde(rename = "vedette.k8s.audit.impersonator", skip_serializing_if = "Option::is_none")]
    pub k8s_audit_impersonator: Option<&'a str>,
    /// The pod whose account the user is.
    #[serde(rename = "vedette.k8s.audit.user_pod", skip_serializing_if = "Option::is_none")]
    pub k8s_audit_user_pod: Option<&'a str>,
    #[serde(rename = "vedette.k8s.group", skip_serializing_if = "Option::is_none")]
    pub k8s_group: Option<&'a str>,
    /// As `deployments`.
    #[serde(rename = "vedette.k8s.resource", skip_serializing_if = "Option::is_none")]
    pub k8s_resource: Option<&'a str>,
    #[serde(rename = "user.name", skip_serializing_if = "Option::is_none")]
    pub user_name: Option<&'a str>,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    pub client_address: Option<&'a str>,
    #[serde(rename = "user_agent.original", skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<&'a str>,
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    #[serde(rename = "vedette.loss.place", skip_serializing_if = "Option::is_none")]
    pub loss_place: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding<'a>>,
}

/// One step of a process' ancestry.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[expect(missing_docs, reason = "the fields are those of `model::Ancestor`")]
pub struct Ancestor<'a> {
    pub pid: u32,
    #[cfg_attr(test, ts(type = "string"))]
    pub start_ns: Wide<u64>,
    pub name: &'a str,
    pub executable: &'a str,
}

/// A process as the tree shows it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[expect(missing_docs, reason = "the fields are those of `model::Process`")]
pub struct ProcessRef {
    pub pid: u32,
    #[cfg_attr(test, ts(type = "string"))]
    pub start_ns: Wide<u64>,
    pub name: String,
    pub executable: String,
    pub command_line: String,
}

/// A finding.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[expect(missing_docs, reason = "the fields are those of `model::Finding`")]
pub struct Finding<'a> {
    pub fingerprint: String,
    pub rule: &'a str,
    #[cfg_attr(test, ts(type = "Severity"))]
    pub severity: &'a str,
    pub title: &'a str,
    pub description: &'a str,
    #[cfg_attr(test, ts(type = "Record<string, string>"))]
    pub labels: LabelMap<'a>,
    #[cfg_attr(test, ts(type = "string"))]
    pub first_unix_nano: Wide<i64>,
    #[cfg_attr(test, ts(type = "string"))]
    pub last_unix_nano: Wide<i64>,
    #[cfg_attr(test, ts(type = "number"))]
    pub count: u64,
    #[cfg_attr(test, ts(type = "FindingState"))]
    pub state: &'a str,
    pub ancestry: &'a [String],
    pub evidence: &'a [String],
    #[cfg_attr(test, ts(type = "Array<string>"))]
    pub event_ids: Vec<Wide<u64>>,
}

impl<'a> From<&'a model::Finding> for Finding<'a> {
    fn from(finding: &'a model::Finding) -> Self {
        Self {
            fingerprint: format!("{:016x}", finding.fingerprint),
            rule: &finding.rule,
            severity: finding.severity.as_str(),
            title: &finding.title,
            description: &finding.description,
            labels: LabelMap(Cow::Borrowed(&finding.labels)),
            first_unix_nano: Wide(finding.first_ns),
            last_unix_nano: Wide(finding.last_ns),
            count: finding.count,
            state: match finding.state {
                FindingState::Firing => "firing",
                FindingState::Resolved => "resolved",
            },
            ancestry: &finding.ancestry,
            evidence: &finding.evidence,
            event_ids: finding.event_ids.iter().map(|id| Wide(*id)).collect(),
        }
    }
}

impl<'a> From<&'a model::Event> for Event<'a> {
    fn from(event: &'a model::Event) -> Self {
        let mut out = Self {
            id: Wide(event.id),
            time_unix_nano: Wide(event.time_ns),
            kind: event.fact.kind().as_str(),
            host_name: &event.host.name,
            ..Self::default()
        };
        if let Some(container) = event.container.as_deref() {
            out.container_id = present(&container.id);
            out.container_name = present(&container.name);
            out.container_image_name = present(&container.image);
            out.k8s_pod_name = present(&container.pod);
            out.k8s_namespace_name = present(&container.namespace);
            out.k8s_pod_uid = present(&container.pod_uid);
            out.workload_kind = present(&container.workload.kind);
            out.workload_name = present(&container.workload.name);
        }
        if let Some(process) = event.process.as_deref() {
            out.set_process(process);
        }
        out.set_fact(&event.fact);
        out
    }
}

impl<'a> Event<'a> {
    fn set_process(&mut self, process: &'a model::Process) {
        self.process_pid = Some(process.key.pid);
        self.process_start_ns = Some(Wide(process.key.start_ns));
        self.process_parent_pid = process.ancestors.first().map(|parent| parent.key.pid);
        self.process_command = present(&process.name);
        self.process_executable_path = present(&process.executable);
        if !process.args.is_empty() {
            self.process_command_args = Some(&process.args);
            self.process_command_line = Some(process.command_line());
        }
        self.command_args_truncated = process.args_truncated.then_some(true);
        self.process_real_user_id = Some(process.uid);
        if !process.ancestors.is_empty() {
            self.process_ancestors = Some(process.ancestors.iter().map(Ancestor::from).collect());
        }
    }

    fn set_fact(&mut self, fact: &'a Fact) {
        match fact {
            Fact::Exec { streams, upper_layer, unlinked } => {
                self.streams = Some(streams.iter().map(stream_text).collect());
                self.exec_upper_layer = Some(*upper_layer);
                self.exec_unlinked = Some(*unlinked);
            }
            Fact::Fork { child } => {
                self.child_pid = Some(child.pid);
                self.child_start_ns = Some(Wide(child.start_ns));
            }
            Fact::Exit { code, signal } => {
                self.process_exit_code = Some(*code);
                self.exit_signal = Some(*signal);
            }
            Fact::Connection(socket) => self.set_socket(socket),
            Fact::StreamRedirect { stream, target } => {
                self.stream = Some(*stream);
                match target {
                    StreamTarget::Socket(socket) => self.set_socket(socket),
                    other => self.streams = Some(vec![stream_text(other)]),
                }
            }
            Fact::PtyOpen { number } => self.pty = Some(*number),
            Fact::OomKill { count } => self.count = Some(*count),
            Fact::ContainerStart | Fact::ContainerStop => {}
            Fact::Finding(finding) => self.finding = Some(Finding::from(finding.as_ref())),
            Fact::Loss { place, count } => {
                self.loss_place = Some(place);
                self.count = Some(*count);
            }
            Fact::Kubernetes(event) => self.set_kubernetes(event),
            Fact::Audit(asked) => self.set_audit(asked),
        }
    }

    fn set_audit(&mut self, asked: &'a model::ApiRequest) {
        self.k8s_cluster_name = present(&asked.cluster);
        self.k8s_audit_verb = present(&asked.verb);
        self.k8s_audit_id = present(&asked.audit_id);
        self.k8s_audit_impersonator = present(&asked.impersonator);
        self.k8s_audit_user_pod = present(&asked.user_pod);
        self.k8s_group = present(&asked.group);
        self.k8s_resource = present(&asked.resource);
        self.k8s_namespace_name = present(&asked.namespace);
        self.k8s_object_name = present(&asked.name);
        self.k8s_object_uid = present(&asked.uid);
        self.k8s_pod_name = present(&asked.name).filter(|_| asked.resource == "pods");
        self.user_name = present(&asked.user);
        self.client_address = present(&asked.client);
        self.user_agent = present(&asked.user_agent);
        self.status_code = Some(asked.code);
    }

    fn set_kubernetes(&mut self, event: &'a model::KubernetesEvent) {
        self.k8s_cluster_name = present(&event.cluster);
        self.k8s_event_uid = present(&event.uid);
        self.k8s_event_kind = present(&event.kind);
        self.k8s_event_reason = present(&event.reason);
        self.k8s_event_count = Some(event.count);
        self.k8s_event_note = present(&event.note);
        self.k8s_event_reporter = present(&event.reporter);
        self.k8s_event_first = Some(Wide(event.first_ns));
        self.k8s_object_kind = present(&event.object_kind);
        self.k8s_object_name = present(&event.object_name);
        self.k8s_object_uid = present(&event.object_uid);
        self.k8s_namespace_name = present(&event.namespace);
        self.k8s_pod_name = Some(&*event.object_name).filter(|_| event.object_kind == "Pod");
        self.workload_kind = present(&event.workload.kind);
        self.workload_name = present(&event.workload.name);
    }

    fn set_socket(&mut self, socket: &model::Socket) {
        self.network_transport = Some(transport_word(socket.transport));
        self.network_direction = Some(direction_word(socket.direction));
        self.network_local_address = Some(socket.local.to_string());
        self.network_local_port = Some(socket.local_port);
        self.network_peer_address = Some(socket.peer.to_string());
        self.network_peer_port = Some(socket.peer_port);
    }
}

impl<'a> From<&'a model::Ancestor> for Ancestor<'a> {
    fn from(ancestor: &'a model::Ancestor) -> Self {
        Self {
            pid: ancestor.key.pid,
            start_ns: Wide(ancestor.key.start_ns),
            name: &ancestor.name,
            executable: &ancestor.executable,
        }
    }
}

impl Default for Wide<u64> {
    fn default() -> Self {
        Self(0)
    }
}

impl Default for Wide<i64> {
    fn default() -> Self {
        Self(0)
    }
}

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn transport_word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

fn direction_word(direction: SocketDirection) -> &'static str {
    match direction {
        SocketDirection::Outbound => "outbound",
        SocketDirection::Inbound => "inbound",
        SocketDirection::Unknown => "unknown",
    }
}

fn stream_text(target: &StreamTarget) -> String {
    let mut text = String::new();
    match target {
        StreamTarget::Other => text.push_str("other"),
        StreamTarget::File => text.push_str("file"),
        StreamTarget::Device => text.push_str("device"),
        StreamTarget::Pipe { inode } => write!(text, "pipe {inode}").expect("BUG: text takes all"),
        StreamTarget::Pty { number } => write!(text, "pty {number}").expect("BUG: text takes all"),
        StreamTarget::Socket(s) => write!(
            text,
            "socket {} {} {}",
            transport_word(s.transport),
            direction_word(s.direction),
            std::net::SocketAddr::new(s.peer, s.peer_port)
        )
        .expect("BUG: text takes all"),
        StreamTarget::OtherSocket { inode } => write!(text, "socket {inode}").expect("BUG: text takes all"),
    }
    text
}
