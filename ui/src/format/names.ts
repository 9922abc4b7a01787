// What things are called before people.

import type { Container, Event, EventKind } from '../api/types';

/** The pod's container as `namespace/pod/name`, a plain container by its name, else by its id. */
export function containerName(
  box: Partial<Pick<Container, 'container.id' | 'container.name' | 'k8s.pod.name' | 'k8s.namespace.name'>>,
): string {
  const name = box['container.name'] || (box['container.id'] ?? '').slice(0, 12);
  const pod = box['k8s.pod.name'];
  if (!pod) return name;
  const namespace = box['k8s.namespace.name'];
  return `${namespace ? `${namespace}/` : ''}${pod}/${name}`;
}

export const kindNames: Record<EventKind, string> = {
  finding: 'Finding',
  exec: 'Exec',
  connection: 'Connection',
  stream_redirect: 'Stream redirect',
  pty_open: 'Terminal opened',
  fork: 'Fork',
  exit: 'Exit',
  oom_kill: 'OOM kill',
  container_start: 'Container start',
  container_stop: 'Container stop',
  kubernetes: 'Kubernetes',
  audit: 'Audit',
  loss: 'Loss',
};
export const kinds = Object.keys(kindNames) as EventKind[];

/** An address and a port; IPv6 in brackets. */
export function endpoint(address: string | undefined, port: number | undefined): string {
  const host = address?.includes(':') ? `[${address}]` : (address ?? '?');
  return port === undefined ? host : `${host}:${port}`;
}

const streamNames = ['standard input', 'standard output', 'standard error'];

/** What happened, in one line. */
export function summary(event: Event): string {
  switch (event.kind) {
    case 'finding':
      return event.finding?.title ?? 'A finding';
    case 'exec': {
      const marks = [
        event['vedette.exec.unlinked'] ? 'no file' : '',
        event['vedette.exec.upper_layer'] ? 'not from the image' : '',
      ].filter(Boolean);
      const line = event['process.command_line'] ?? event['process.executable.path'] ?? '';
      return marks.length > 0 ? `${line}  (${marks.join(', ')})` : line;
    }
    case 'connection':
      return connection(event);
    case 'stream_redirect': {
      const stream = streamNames[event['vedette.stream'] ?? -1] ?? 'a stream';
      const target = event['network.peer.address']
        ? endpoint(event['network.peer.address'], event['network.peer.port'])
        : (event['vedette.streams'] ?? []).join(', ');
      return `${stream} → ${target || 'a socket'}`;
    }
    case 'pty_open':
      return `opened the master side of /dev/pts/${event['vedette.pty'] ?? '?'}`;
    case 'fork':
      return `made process ${event['vedette.child.pid'] ?? '?'}`;
    case 'exit':
      return event['vedette.exit.signal']
        ? `ended by signal ${event['process.exit.code'] ?? '?'}`
        : `ended with status ${event['process.exit.code'] ?? '?'}`;
    case 'oom_kill':
      return `${event['vedette.count'] ?? 1} killed for want of memory`;
    case 'container_start':
      return event['container.image.name'] ? `started from ${event['container.image.name']}` : 'started';
    case 'container_stop':
      return 'stopped';
    case 'kubernetes':
      return kubernetes(event);
    case 'audit':
      return audit(event);
    case 'loss':
      return `${event['vedette.count'] ?? '?'} events lost (${event['vedette.loss.place'] ?? 'place unknown'})`;
  }
}

/** `alice: create deployments shop/web (asked by admin, from 10.0.0.7)`. */
function audit(event: Event): string {
  const namespace = event['k8s.namespace.name'];
  const object = `${namespace ? `${namespace}/` : ''}${event['k8s.object.name'] ?? '?'}`;
  const impersonator = event['vedette.k8s.audit.impersonator'];
  const how = [
    impersonator ? `asked by ${impersonator}` : '',
    event['client.address'] ? `from ${event['client.address']}` : '',
  ].filter((part) => part !== '');
  const asked = `${event['user.name'] ?? '?'}: ${event['vedette.k8s.audit.verb'] ?? '?'} ${event['vedette.k8s.resource'] ?? '?'} ${object}`;
  return how.length > 0 ? `${asked} (${how.join(', ')})` : asked;
}

/** `BackOff: Pod shop/web-1: Back-off restarting (12 times)`. */
function kubernetes(event: Event): string {
  const namespace = event['k8s.namespace.name'];
  const object = `${namespace ? `${namespace}/` : ''}${event['k8s.object.name'] ?? '?'}`;
  const count = event['k8s.event.count'] ?? 1;
  const times = count > 1 ? ` (${count} times)` : '';
  const note = event['vedette.k8s.event.note'] ?? '';
  return `${event['k8s.event.reason'] ?? '?'}: ${event['k8s.object.kind'] ?? '?'} ${object}: ${note}${times}`;
}

function connection(event: Event): string {
  const transport = event['network.transport'] ?? '';
  const local = endpoint(event['network.local.address'], event['network.local.port']);
  const peer = endpoint(event['network.peer.address'], event['network.peer.port']);
  switch (event['vedette.network.direction']) {
    case 'inbound':
      return `${transport} from ${peer} to ${local}`;
    case 'outbound':
      return `${transport} to ${peer}`;
    default:
      return `${transport} ${local} – ${peer}`;
  }
}

/** The process that acted: `bash (4711)`. */
export function actor(event: Event): string {
  const pid = event['process.pid'];
  if (pid === undefined) return '';
  return `${event['process.command'] ?? '?'} (${pid})`;
}

/** The same, short, for a narrow column. */
export function shortPlace(event: Event): string {
  return (
    event['k8s.cluster.name'] ||
    event['container.name'] ||
    event['container.id']?.slice(0, 12) ||
    event['host.name']
  );
}

/** Where it happened: the container, else the host; what a cluster tells happened in the cluster. */
export function place(event: Event): string {
  if (event['k8s.cluster.name']) return event['k8s.cluster.name'];
  return event['container.id'] || event['container.name'] ? containerName(event) : event['host.name'];
}
