// Types of Vedette's own HTTP API.
//
// GENERATED FILE IN WAITING: this file is to be replaced, as a whole, by what is generated from
// the Rust crate `wire`. Nothing but types of the API stands here, so that it can be.
// Names with dots are OpenTelemetry's; 64-bit integers are strings; absent fields are left out.

export type Severity = 'info' | 'warning' | 'critical';
export type Health = 'ok' | 'off' | 'degraded' | 'failed';
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

export interface StatusAnswer {
  version: string;
  revision: string;
  started_unix_ms: number;
  now_unix_ms: number;
  host: { name: string; id: string; kernel: string };
  parts: Part[];
}

export interface Ancestor {
  pid: number;
  start_ns: string;
  name: string;
  executable: string;
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
  'process.real_user.id'?: number;
  'process.ancestors'?: Ancestor[];
  'process.exit.code'?: number;
  'network.transport'?: string;
  'network.local.address'?: string;
  'network.local.port'?: number;
  'network.peer.address'?: string;
  'network.peer.port'?: number;
  'vedette.network.direction'?: string;
  'vedette.streams'?: string[];
  'vedette.stream'?: number;
  'vedette.exec.upper_layer'?: boolean;
  'vedette.exec.unlinked'?: boolean;
  'vedette.child.pid'?: number;
  'vedette.child.start_ns'?: string;
  'vedette.exit.signal'?: boolean;
  'vedette.pty'?: number;
  'vedette.count'?: number | string;
  'vedette.loss.place'?: string;
  finding?: Finding;
}

export interface EventsAnswer {
  events: Event[];
  next: string | null;
  scanned: number;
  truncated: boolean;
}

export interface TreeNode {
  process: { pid: number; start_ns: string; name: string; executable: string; command_line: string };
  started_unix_nano: string | null;
  exited: { code: number; signal: boolean } | null;
  focus: boolean;
  events: Event[];
  children: TreeNode[];
}

export interface TreeAnswer {
  root: TreeNode;
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
  state: 'firing' | 'resolved';
  ancestry: string[];
  evidence: string[];
  event_ids: string[];
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

export interface ErrorAnswer {
  error: string;
  remedy: string;
}
