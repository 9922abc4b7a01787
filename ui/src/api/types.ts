// Generated from crates/wire by its tests. Do not edit: change the structs and run
// VEDETTE_UPDATE=1 cargo test -p vedette-wire

export type EventKind =
  | 'finding'
  | 'exec'
  | 'connection'
  | 'stream_redirect'
  | 'pty_open'
  | 'fork'
  | 'exit'
  | 'oom_kill'
  | 'container_start'
  | 'container_stop'
  | 'kubernetes'
  | 'audit'
  | 'loss';

export type Severity = 'info' | 'warning' | 'critical';

export type FindingState = 'firing' | 'resolved';

export type Health = 'ok' | 'off' | 'degraded' | 'failed';

export type PartState = 'healthy' | 'unknown' | 'degraded' | 'failed';

export type CertificateRole = 'server' | 'server_chain' | 'client' | 'authority';

export interface Ancestor {
  pid: number;
  start_ns: string;
  name: string;
  executable: string;
}

export interface Finding {
  fingerprint: string;
  rule: string;
  severity: Severity;
  title: string;
  description: string;
  labels: Record<string, string>;
  first_unix_nano: string;
  last_unix_nano: string;
  count: number;
  state: FindingState;
  ancestry: string[];
  evidence: string[];
  event_ids: string[];
}

export interface Event {
  id: string;
  time_unix_nano: string;
  kind: EventKind;
  'host.name': string;
  'container.id'?: string;
  'container.name'?: string;
  'container.image.name'?: string;
  'k8s.pod.name'?: string;
  'k8s.namespace.name'?: string;
  'k8s.pod.uid'?: string;
  'vedette.workload.kind'?: string;
  'vedette.workload.name'?: string;
  'process.pid'?: number;
  'process.start_ns'?: string;
  'process.parent_pid'?: number;
  'process.command'?: string;
  'process.executable.path'?: string;
  'process.command_args'?: string[];
  'process.command_line'?: string;
  'vedette.command_args_truncated'?: boolean;
  'process.real_user.id'?: number;
  'process.ancestors'?: Ancestor[];
  'vedette.streams'?: string[];
  'vedette.exec.upper_layer'?: boolean;
  'vedette.exec.unlinked'?: boolean;
  'vedette.child.pid'?: number;
  'vedette.child.start_ns'?: string;
  'process.exit.code'?: number;
  'vedette.exit.signal'?: boolean;
  'network.transport'?: string;
  'vedette.network.direction'?: string;
  'network.local.address'?: string;
  'network.local.port'?: number;
  'network.peer.address'?: string;
  'network.peer.port'?: number;
  'vedette.stream'?: number;
  'vedette.pty'?: number;
  'vedette.count'?: number;
  'k8s.cluster.name'?: string;
  'k8s.event.uid'?: string;
  'vedette.k8s.event.type'?: string;
  'k8s.event.reason'?: string;
  'k8s.event.count'?: number;
  'vedette.k8s.event.note'?: string;
  'vedette.k8s.event.reporter'?: string;
  'vedette.k8s.event.first_unix_nano'?: string;
  'k8s.object.kind'?: string;
  'k8s.object.name'?: string;
  'k8s.object.uid'?: string;
  'vedette.k8s.audit.verb'?: string;
  'vedette.k8s.audit.id'?: string;
  'vedette.k8s.audit.impersonator'?: string;
  'vedette.k8s.audit.user_pod'?: string;
  'vedette.k8s.group'?: string;
  'vedette.k8s.resource'?: string;
  'user.name'?: string;
  'client.address'?: string;
  'user_agent.original'?: string;
  'http.response.status_code'?: number;
  'vedette.loss.place'?: string;
  finding?: Finding;
}

export interface EventsAnswer {
  events: Event[];
  next: string | null;
  scanned: number;
  truncated: boolean;
}

export interface Loss {
  count: number;
}

export interface ProcessRef {
  pid: number;
  start_ns: string;
  name: string;
  executable: string;
  command_line: string;
}

export interface Exited {
  code: number;
  signal: boolean;
}

export interface TreeNode {
  process: ProcessRef;
  started_unix_nano: string | null;
  exited: Exited | null;
  focus: boolean;
  events: Event[];
  children: TreeNode[];
}

export interface TreeAnswer {
  root: TreeNode;
}

export interface FindingsAnswer {
  findings: Finding[];
}

export interface Container {
  'container.id': string;
  'container.name': string;
  'container.image.name': string;
  'k8s.pod.name': string;
  'k8s.namespace.name': string;
  'k8s.pod.uid': string;
  'vedette.workload.kind': string;
  'vedette.workload.name': string;
  'container.runtime': string;
  cgroup: string;
}

export interface ContainersAnswer {
  containers: Container[];
}

export interface PodContainer {
  'container.id': string;
  'k8s.container.name': string;
  'container.image.name': string;
}

export interface PodIdentity {
  'k8s.cluster.name': string;
  'k8s.namespace.name': string;
  'k8s.pod.name': string;
  'k8s.pod.uid': string;
  'k8s.node.name': string;
  service_account: string;
  'vedette.workload.kind': string;
  'vedette.workload.name': string;
  addresses: string[];
  containers: PodContainer[];
  since_unix_ms: number;
  gone_unix_ms: number | null;
  gone_unseen: boolean;
}

export interface Workload {
  'k8s.cluster.name': string;
  'k8s.namespace.name': string;
  'vedette.workload.kind': string;
  'vedette.workload.name': string;
}

export interface WorkloadsAnswer {
  workloads: Workload[];
  pods: PodIdentity[];
  truncated: boolean;
}

export interface Fact {
  name: string;
  value: string;
}

export interface Part {
  name: string;
  health: Health;
  message: string;
  remedy: string;
  facts: Fact[];
}

export interface HostInfo {
  name: string;
  id: string;
  kernel: string;
}

export interface StatusAnswer {
  version: string;
  revision: string;
  started_unix_ms: number;
  now_unix_ms: number;
  host: HostInfo;
  parts: Part[];
}

export interface ClusterPart {
  part: string;
  instance: string;
  state: PartState;
  cause: string;
  evidence: string;
  next_step: string;
  since_unix_ms: number;
}

export interface ClusterCertificate {
  part: string;
  instance: string;
  role: CertificateRole;
  subject: string;
  issuer: string;
  not_before_unix_ms: number;
  not_after_unix_ms: number;
}

export interface Cluster {
  name: string;
  version: string;
  state: PartState;
  parts: ClusterPart[];
  left_out: number;
  certificates: ClusterCertificate[];
}

export interface ClustersAnswer {
  clusters: Cluster[];
}

export interface AskedQuery {
  query: string;
  path: string;
  start_unix_ms: number;
  end_unix_ms: number;
  step_ms: number;
  client: string;
  began_unix_ms: number;
}

export interface ActiveQuery {
  asked: AskedQuery;
  running_seconds: number;
}

export interface FinishedQuery {
  asked: AskedQuery;
  queue_seconds: number;
  run_seconds: number;
  series_read: number;
  samples_read: number;
  memory_bytes: number;
  answer_bytes: number;
  steps_reused: number;
  error: string;
}

export interface CacheFigures {
  hits: number;
  partial_hits: number;
  misses: number;
  bypassed: number;
  entries: number;
  bytes: number;
}

export interface QueriesAnswer {
  active: ActiveQuery[];
  slow: FinishedQuery[];
  interrupted: string[];
  slow_from_seconds: number;
  waiting: number;
  memory_bytes: number;
  memory_bytes_max: number;
  cache: CacheFigures;
}

export interface ExplainNode {
  operation: string;
  text: string;
  depth: number;
  series_read: number;
  samples_read: number;
  series: number;
  samples: number;
  bytes: number;
  evaluations: number;
  seconds: number;
  own_seconds: number;
}

export interface ExplainAnswer {
  query: string;
  steps: number;
  cacheable: boolean;
  run_seconds: number;
  find_seconds: number;
  queue_seconds: number;
  series: number;
  series_read: number;
  samples_read: number;
  samples_looked_at: number;
  samples_peak: number;
  memory_bytes: number;
  notes: string[];
  nodes: ExplainNode[];
}

export interface CapacityPods {
  count: number;
  first: string[];
}

export interface CapacityPriority {
  priority: number;
  pods: number;
}

export interface CapacityMove {
  pod: string;
  node: string;
}

export interface CapacityFailure {
  nodes: string[];
  displaced: number;
  pending: CapacityPods;
  pending_by_priority: CapacityPriority[];
  stuck: CapacityPods;
  lost: CapacityPods;
  bound: CapacityPods;
  budgets_broken: string[];
  reason: string | null;
  could_fit: boolean | null;
  moves: CapacityMove[];
}

export interface CapacityZone {
  key: string;
  value: string;
  failure: CapacityFailure;
}

export interface CapacityPoint {
  failures: number;
  sets: number;
  tried: number;
  exact: boolean;
  share_min: number;
  share_max: number;
  mean_pending: number;
}

export interface CapacityAdvice {
  nodes: number;
  like: string;
  sets_tried: number;
  exact: boolean;
}

export interface CapacityJudgement {
  at_unix_ms: number;
  took_seconds: number;
  nodes: number;
  pods: number;
  kinds: number;
  survives: number;
  fails_at: number | null;
  curve: CapacityPoint[];
  witness: CapacityFailure | null;
  single_failures: CapacityFailure[];
  single_failures_found: number;
  zones: CapacityZone[];
  advice: CapacityAdvice | null;
  pending_before: CapacityPods;
  gated: CapacityPods;
  notes: string[];
}

export interface CapacityPool {
  pool: string;
  nodes: number;
  outages: number;
  open: number;
  mean_to_detect_seconds: number | null;
  mean_to_recover_seconds: number | null;
  recovery_is_whole: boolean;
  median_to_recover_seconds: number | null;
  mean_to_run_again_seconds: number | null;
  mean_between_failures_seconds: number | null;
  down: number;
}

export interface CapacityOutage {
  node: string;
  pool: string;
  began_unix_ms: number;
  noticed_unix_ms: number;
  ended_unix_ms: number | null;
  gone_unix_ms: number | null;
  rebooted: boolean;
  unseen: boolean;
  pods: number;
  pods_again_unix_ms: number | null;
}

export interface CapacityOutages {
  since_unix_ms: number | null;
  pools: CapacityPool[];
  recent: CapacityOutage[];
  count: number;
  down_at_once: number[];
  expected_shortfall_pods: number | null;
  beyond_judged: number | null;
}

export interface CapacityCluster {
  name: string;
  wanted: number;
  trouble: string[];
  incomplete: string[];
  age_seconds: number;
  judged: CapacityJudgement | null;
  outages: CapacityOutages;
}

export interface CapacityAnswer {
  now_unix_ms: number;
  clusters: CapacityCluster[];
}

export interface ErrorAnswer {
  error: string;
  remedy: string;
}
