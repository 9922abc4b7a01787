//! Events in, findings out.

use std::sync::Arc;

use vedette_model::{
    Event, Fact, Finding, FindingState, LabelsBuilder, Process, Socket, SocketDirection, StreamTarget,
    Transport,
};

use crate::{
    graph::{Graph, leads_on, scope},
    ledger::{Ledger, Raised},
    metrics::DetectionMetrics,
    reverse_shell::{self, Sessions, Shell},
    rule::{Detections, FoldBy, Logic, Rule},
};

/// Limits of the detector's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Processes that the graph holds.
    pub processes_max: usize,
    /// Findings that may be firing at a time; the longest unseen is resolved to make room.
    pub findings_max: usize,
    /// A finding that goes on is told again at most this often.
    pub repeat_interval_s: u32,
    /// A shell whose process lives on is kept firing for so long after it was last seen to act.
    pub alive_max_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { processes_max: 32_768, findings_max: 4_096, repeat_interval_s: 60, alive_max_s: 86_400 }
    }
}

/// What the detector holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Processes in the graph.
    pub processes: usize,
    /// Processes given up for want of room.
    pub processes_evicted: u64,
    /// Findings that are not over.
    pub firing: usize,
}

/// Judges events by a set of rules.
pub struct Detector {
    detections: Detections,
    graph: Graph,
    sessions: Sessions,
    /// Processes of shells, for as long as the finding lasts.
    shells: std::collections::BTreeMap<u64, vedette_model::ProcessKey>,
    ledger: Ledger,
    alive_max_ns: i64,
    evicted_told: u64,
    metrics: Arc<DetectionMetrics>,
}

impl Detector {
    /// A detector that has seen nothing yet.
    pub fn new(detections: Detections, config: &Config) -> Self {
        Self {
            detections,
            graph: Graph::new(config.processes_max),
            sessions: Sessions::default(),
            shells: std::collections::BTreeMap::new(),
            ledger: Ledger::new(config.findings_max, seconds_ns(config.repeat_interval_s)),
            alive_max_ns: seconds_ns(config.alive_max_s),
            evicted_told: 0,
            metrics: Arc::default(),
        }
    }

    /// Judges one event; what is new, or due to be told again, is appended to `out`.
    pub fn observe(&mut self, event: &Event, out: &mut Vec<Finding>) {
        self.metrics.events.inc();
        let changed = self.learn(event);
        let Self { detections, graph, sessions, shells, ledger, metrics, .. } = self;
        for rule in detections.rules() {
            match &rule.logic {
                Logic::Condition { kind, holds, unless, fold_by } => {
                    let matches = event.fact.kind() == *kind
                        && holds.holds(event)
                        && !unless.iter().any(|condition| condition.holds(event));
                    if matches {
                        let finding = condition_finding(rule, event, fold_by);
                        if ledger.raise(finding, seconds_ns(rule.expire_after_s), out) == Raised::New {
                            metrics.findings.inc();
                        }
                    }
                }
                Logic::ReverseShell(parameters) => {
                    let Some(process) = event.process.as_ref().filter(|_| changed) else { continue };
                    for shell in reverse_shell::judge_around(graph, parameters, process.key) {
                        let mut judged = Judged { rule, event, graph, sessions, shells, ledger, metrics };
                        judged.shell_seen(shell, out);
                    }
                }
            }
        }
        self.metrics.evicted_findings.add(self.ledger.evict(out));
        self.refresh_metrics();
    }

    /// Tells what is due at `now_ns` (Unix time): repeats, and findings that are over.
    pub fn expire(&mut self, now_ns: i64, out: &mut Vec<Finding>) {
        self.graph.forget_ended(now_ns);
        let Self { graph, ledger, shells, sessions, alive_max_ns, .. } = self;
        let last_seen: std::collections::BTreeMap<u64, i64> =
            ledger.firing().map(|f| (f.fingerprint, f.last_ns)).collect();
        let keep = |fingerprint: u64| {
            let young = now_ns.saturating_sub(last_seen[&fingerprint]) <= *alive_max_ns;
            young && shells.get(&fingerprint).is_some_and(|key| graph.is_alive(*key))
        };
        ledger.expire(now_ns, keep, out);
        shells.retain(|fingerprint, _| ledger.contains(*fingerprint));
        sessions.retain(|fingerprint| ledger.contains(fingerprint));
        self.refresh_metrics();
    }

    /// Findings that are not over, by fingerprint.
    pub fn firing(&self) -> impl Iterator<Item = &Finding> {
        self.ledger.firing()
    }

    /// What the detector holds.
    pub fn stats(&self) -> Stats {
        Stats {
            processes: self.graph.len(),
            processes_evicted: self.graph.evicted,
            firing: self.ledger.len(),
        }
    }

    /// The detector's own metrics.
    pub fn metrics(&self) -> Arc<DetectionMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Takes the event into the graph. Whether it may have made a shell.
    fn learn(&mut self, event: &Event) -> bool {
        let Some(process) = &event.process else { return false };
        let container = event.container.as_ref();
        match &event.fact {
            Fact::Exec { streams, .. } => {
                self.graph.exec(process, container, streams);
                leads_on(&streams[0]) || leads_on(&streams[1]) || leads_on(&streams[2])
            }
            Fact::StreamRedirect { stream, target } => {
                self.graph.redirect(process, container, *stream, target);
                true
            }
            Fact::Connection(socket) => {
                let carries = socket.direction == SocketDirection::Outbound;
                if carries {
                    self.graph.connect(process, container, socket);
                }
                carries && socket.transport == Transport::Tcp
            }
            Fact::PtyOpen { number } => {
                self.graph.open_terminal(process, container, *number);
                true
            }
            Fact::Exit { .. } => {
                self.graph.end(process.key, event.time_ns);
                self.graph.forget_ended(event.time_ns);
                false
            }
            _ => false,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "samples are f64")]
    fn refresh_metrics(&mut self) {
        self.metrics.firing.set(self.ledger.len() as f64);
        self.metrics.processes.set(self.graph.len() as f64);
        self.metrics.evicted_processes.add(self.graph.evicted - self.evicted_told);
        self.evicted_told = self.graph.evicted;
    }
}

/// All that is needed to make a finding of a shell.
struct Judged<'a> {
    rule: &'a Rule,
    event: &'a Event,
    graph: &'a mut Graph,
    sessions: &'a mut Sessions,
    shells: &'a mut std::collections::BTreeMap<u64, vedette_model::ProcessKey>,
    ledger: &'a mut Ledger,
    metrics: &'a DetectionMetrics,
}

impl Judged<'_> {
    /// One shell gives one finding: the first process found names it, its programs and children
    /// on the same connection add to it.
    fn shell_seen(&mut self, shell: Shell, out: &mut Vec<Finding>) {
        let Some(node) = self.graph.get(shell.process) else { return };
        if node.finding.is_some_and(|finding| self.ledger.contains(finding)) {
            return;
        }
        let scope = scope(node.container.as_ref());
        let ids = event_ids(self.event);
        let open = self.sessions.finding(scope, &shell.socket).filter(|f| self.ledger.contains(*f));
        let fingerprint = if let Some(fingerprint) = open {
            self.ledger.repeat(fingerprint, self.event.time_ns, shell.evidence, &ids, out);
            fingerprint
        } else {
            let process = Arc::clone(&node.process);
            let subject = Event { container: node.container.clone(), ..self.event.clone() };
            let mut labels = base_labels(self.rule, &subject);
            process_labels(&mut labels, &process);
            labels.set("peer", &reverse_shell::address(&shell.socket));
            let mut finding = finding(self.rule, &subject, Some(&process), &labels, Some(&shell.socket));
            finding.evidence = shell.evidence;
            let fingerprint = finding.fingerprint;
            self.shells.insert(fingerprint, shell.process);
            self.sessions.set(scope, &shell.socket, fingerprint);
            if self.ledger.raise(finding, seconds_ns(self.rule.expire_after_s), out) == Raised::New {
                self.metrics.findings.inc();
            }
            fingerprint
        };
        self.graph.set_finding(shell.process, fingerprint);
    }
}

fn condition_finding(rule: &Rule, event: &Event, fold_by: &[FoldBy]) -> Finding {
    let mut labels = base_labels(rule, event);
    let socket = match &event.fact {
        Fact::Connection(socket) | Fact::StreamRedirect { target: StreamTarget::Socket(socket), .. } => {
            Some(socket)
        }
        _ => None,
    };
    let process = event.process.as_ref();
    for by in fold_by {
        match (by, process) {
            (FoldBy::Process, Some(process)) => process_labels(&mut labels, process),
            (FoldBy::Executable, Some(process)) => drop(labels.set("executable", &process.executable)),
            (FoldBy::Peer, _) => drop(socket.map(|s| labels.set("peer", &reverse_shell::address(s)))),
            _ => {}
        }
    }
    let mut finding = finding(rule, event, process, &labels, socket);
    if let Some(process) = process {
        finding.evidence =
            vec![format!("{}({}) ran {}", process.name, process.key.pid, process.command_line())];
    }
    finding
}

/// Labels that all findings have.
fn base_labels(rule: &Rule, event: &Event) -> LabelsBuilder {
    let mut labels = LabelsBuilder::new();
    labels.set("alertname", &rule.name).set("severity", rule.severity.as_str()).set("host", &event.host.name);
    if let Some(container) = &event.container {
        labels
            .set("container", &container.name)
            .set("container_id", &container.id)
            .set("image", &container.image)
            .set("namespace", &container.namespace)
            .set("pod", &container.pod)
            .set("workload_kind", &container.workload.kind)
            .set("workload", &container.workload.name);
    }
    labels
}

fn process_labels(labels: &mut LabelsBuilder, process: &Process) {
    labels
        .set("process", &process.name)
        .set("pid", &process.key.pid.to_string())
        .set("process_start_ns", &process.key.start_ns.to_string());
}

fn finding(
    rule: &Rule,
    event: &Event,
    process: Option<&Arc<Process>>,
    labels: &LabelsBuilder,
    socket: Option<&Socket>,
) -> Finding {
    let labels = labels.build();
    // The workload may become known while the finding lasts; it stays the same finding.
    let subject = labels.to_builder().set("workload_kind", "").set("workload", "").build();
    Finding {
        fingerprint: subject.stable_hash(),
        rule: rule.name.clone(),
        severity: rule.severity,
        title: fill_title(&rule.title, event, process, socket),
        description: rule.description.clone(),
        labels,
        first_ns: event.time_ns,
        last_ns: event.time_ns,
        count: 1,
        state: FindingState::Firing,
        ancestry: process.map(|p| ancestry(p)).unwrap_or_default(),
        evidence: Vec::new(),
        event_ids: event_ids(event),
    }
}

fn fill_title(title: &str, event: &Event, process: Option<&Arc<Process>>, socket: Option<&Socket>) -> String {
    let value = |name: &str| match name {
        "process" => process.map(|p| p.name.clone()),
        "pid" => process.map(|p| p.key.pid.to_string()),
        "executable" => process.map(|p| p.executable.clone()),
        "parent" => process.and_then(|p| p.ancestors.first()).map(|a| a.name.clone()),
        "host" => Some(event.host.name.clone()),
        "container" => {
            Some(event.container.as_ref().map_or_else(|| event.host.name.clone(), |c| c.name.clone()))
        }
        "peer" => socket.map(reverse_shell::address),
        _ => None,
    };
    let mut text = String::new();
    let mut parts = title.split('{');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        text.push_str(&value(name).filter(|v| !v.is_empty()).unwrap_or_else(|| "?".to_owned()));
        text.push_str(rest);
    }
    text
}

fn ancestry(process: &Process) -> Vec<String> {
    let own = format!("{}({})", process.name, process.key.pid);
    let above = process.ancestors.iter().map(|a| format!("{}({})", a.name, a.key.pid));
    std::iter::once(own).chain(above).collect()
}

fn event_ids(event: &Event) -> Vec<u64> {
    if event.id == 0 { Vec::new() } else { vec![event.id] }
}

fn seconds_ns(seconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000_000
}

#[cfg(test)]
mod tests;
