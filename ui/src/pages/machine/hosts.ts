// The list of machines: one query for the figures of all of them.

import { Figures, figures, kept } from '../workload/figures';
import type { Host } from './queries';

const by = 'instance, job';

export const hostsNow = figures({
  cpu: `sum by (${by}, mode) (rate(node_cpu_seconds_total[1m]))`,
  cpus: `count by (${by}) (node_cpu_seconds_total{mode="idle"})`,
  memory: `max by (${by}) (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)`,
  disk: `max by (${by}) (1 - node_filesystem_avail_bytes{${kept}} / node_filesystem_size_bytes{${kept}})`,
  hours: `min by (${by}) (node_filesystem_until_full_hours{${kept}})`,
  load1: `max by (${by}) (node_load1)`,
  boot: `max by (${by}) (node_boot_time_seconds)`,
});

export interface HostRow extends Host {
  /** 1 for a machine that was seen in the range and has no figures at its end; sorts first. */
  silent: 0 | 1;
  busy?: number;
  memory?: number;
  disk?: number;
  hours?: number;
  load?: number;
  cpus?: number;
  boot?: number;
}

export function hostRows(hosts: readonly Host[], now: Figures): HostRow[] {
  const key = (instance = '', job = ''): string => JSON.stringify([instance, job]);
  const known = new Map(
    now
      .rows(['cpus', 'memory', 'disk', 'hours', 'load1', 'boot'], ['instance', 'job'])
      .map((row) => [key(row.labels['instance'], row.labels['job']), row.figures]),
  );
  const work = new Map<string, { total: number; idle: number }>();
  for (const { labels, value } of now.all('cpu')) {
    const of = key(labels['instance'], labels['job']);
    const sum = work.get(of) ?? { total: 0, idle: 0 };
    sum.total += value;
    if (labels['mode'] === 'idle' || labels['mode'] === 'iowait') sum.idle += value;
    work.set(of, sum);
  }
  return hosts.map((host) => {
    const { load1, ...rest } = known.get(key(host.instance, host.job)) ?? {};
    const sum = work.get(key(host.instance, host.job));
    const row: HostRow = { ...host, silent: host.samples > 0 ? 0 : 1, ...rest };
    if (sum && sum.total > 0) row.busy = 1 - sum.idle / sum.total;
    if (load1 !== undefined && rest['cpus']) row.load = load1 / rest['cpus'];
    return row;
  });
}
