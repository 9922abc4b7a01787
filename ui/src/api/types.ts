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
  | 'loss';

export type Severity = 'info' | 'warning' | 'critical';

export type FindingState = 'firing' | 'resolved';

export type Health = 'ok' | 'off' | 'degraded' | 'failed';

export type PartState = 'healthy' | 'unknown' | 'degraded' | 'failed';

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
  'container.runtime': string;
  cgroup: string;
}

export interface ContainersAnswer {
  containers: Container[];
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

export interface Cluster {
  name: string;
  version: string;
  state: PartState;
  parts: ClusterPart[];
  left_out: number;
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

export interface ErrorAnswer {
  error: string;
  remedy: string;
}
