// What the pages of containers ask, and what they make of the answers.

import type { Labels } from '../../api/prometheus';
import type { Container } from '../../api/types';
import { Figures, figureQueries, figures, matchers } from '../workload/figures';

/** Cgroups that a runtime gave a name are containers; others are slices, pods, the root. */
const named = 'name!="",id!="/"';
const ident = 'instance, job, id, name, image, pod, namespace, container';
const one = 'instance, id';

/** All containers that are there, with who they are and what they do. */
export function listNow(window: string): string {
  const rate = (metric: string): string => `sum by (${one}) (rate(${metric}{${named}}[${window}]))`;
  const level = (metric: string): string => `max by (${one}) (${metric}{${named}})`;
  return figures({
    start: `max by (${ident}) (container_start_time_seconds{${named}})`,
    samples: `max by (instance) (count_over_time(container_start_time_seconds{${named}}[2m]))`,
    cpu: rate('container_cpu_usage_seconds_total'),
    throttled: `${rate('container_cpu_cfs_throttled_periods_total')} / ${rate('container_cpu_cfs_periods_total')}`,
    memory: level('container_memory_working_set_bytes'),
    limit: level('container_spec_memory_limit_bytes'),
    net_in: rate('container_network_receive_bytes_total'),
    net_out: rate('container_network_transmit_bytes_total'),
    read: rate('container_fs_reads_bytes_total'),
    written: rate('container_fs_writes_bytes_total'),
    fs: `sum by (${one}) (container_fs_usage_bytes{${named}})`,
    pids: level('container_processes'),
    oom: level('container_oom_events_total'),
  });
}

export function listOver(window: string): string {
  return `sum by (${one}) (rate(container_cpu_usage_seconds_total{${named}}[${window}]))`;
}

export const listRestarts = `max by (${one}) (changes(container_start_time_seconds{${named}}[1h]))`;

/** The slowest machine decides how long rates look back: at least four samples of each. */
export function slowestSamples(now: Figures | undefined): number {
  return Math.min(...(now?.all('samples').map((s) => s.value) ?? []), 120);
}

/** One container on one machine, as its series name it. */
export interface Who {
  instance: string;
  job: string;
  cgroup: string;
  labels: Labels;
  /** Samples of one series in the last two minutes. */
  samples: number;
  /** Whether it is there at the time that is looked at. */
  there: boolean;
}

/** Who had this cgroup in the last `rangeSeconds`. */
export function whoQuery(cgroup: string, instance: string, rangeSeconds: number): string {
  const of = matchers({ id: cgroup, ...(instance ? { instance } : {}) });
  const range = `${Math.max(300, Math.ceil(rangeSeconds))}s`;
  return figures({
    seen: `max by (${ident}) (last_over_time(container_start_time_seconds{${of}}[${range}]))`,
    there: `max by (instance, job) (container_start_time_seconds{${of}})`,
    samples: `max by (instance, job) (count_over_time(container_start_time_seconds{${of}}[2m]))`,
  });
}

/** One entry a machine: the newest life of the cgroup there, those that are there first. */
export function readWho(answer: Figures, cgroup: string): Who[] {
  const of = (figure: string, { instance, job }: Labels): number =>
    answer
      .all(figure)
      .find((s) => s.labels['instance'] === instance && (s.labels['job'] ?? '') === (job ?? ''))?.value ?? 0;
  const newest = [...answer.all('seen')].sort((a, b) => b.value - a.value);
  const hosts = new Map<string, Who>();
  for (const { labels } of newest) {
    const instance = labels['instance'] ?? '';
    if (hosts.has(instance)) continue;
    const there = of('there', labels) > 0;
    hosts.set(instance, {
      instance,
      job: labels['job'] ?? '',
      cgroup,
      labels,
      samples: of('samples', labels),
      there,
    });
  }
  return [...hosts.values()].sort((a, b) => Number(b.there) - Number(a.there));
}

/** The id by which runtimes, events and findings call it. */
export function runtimeId(labels: Labels): string {
  const name = labels['name'] ?? '';
  if (/^[0-9a-f]{64}$/.test(name)) return name;
  return /([0-9a-f]{64})(?!.*[0-9a-f]{64})/.exec(labels['id'] ?? '')?.[1] ?? name;
}

/** The same container as the list of running ones would tell of it. */
export function asContainer(labels: Labels): Container {
  return {
    'container.id': runtimeId(labels),
    'container.name': labels['container'] || labels['name'] || '',
    'container.image.name': labels['image'] ?? '',
    'k8s.pod.name': labels['pod'] ?? '',
    'k8s.namespace.name': labels['namespace'] ?? '',
    'k8s.pod.uid': '',
    'vedette.workload.kind': '',
    'vedette.workload.name': '',
    'container.runtime': '',
    cgroup: labels['id'] ?? '',
  };
}

function selectors(who: Who): { own: string; pod: string } {
  const own = matchers({ instance: who.instance, job: who.job, id: who.cgroup });
  const { pod, namespace } = who.labels;
  // A pod has one network, of which the runtime's sandbox is told.
  return {
    own,
    pod: pod ? matchers({ instance: who.instance, job: who.job, namespace: namespace ?? '', pod }) : own,
  };
}

export function containerNow(who: Who, window: string): string[] {
  const { own, pod } = selectors(who);
  const rate = (metric: string, of = own): string => `sum(rate(${metric}{${of}}[${window}]))`;
  const level = (metric: string, more = ''): string => `max(${metric}{${own}${more}})`;
  return figureQueries({
    ...shared(rate, level, pod),
    start: level('container_start_time_seconds'),
    last_seen: level('container_last_seen'),
    most: level('container_memory_max_usage_bytes'),
    processes: level('container_processes'),
    threads: level('container_threads'),
    threads_max: level('container_threads_max'),
    reads: rate('container_fs_reads_total'),
    writes: rate('container_fs_writes_total'),
    receive_errors: rate('container_network_receive_errors_total', pod),
    transmit_errors: rate('container_network_transmit_errors_total', pod),
    receive_drops: rate('container_network_receive_packets_dropped_total', pod),
    transmit_drops: rate('container_network_transmit_packets_dropped_total', pod),
    fs_age: level('container_fs_usage_age_seconds'),
    fs_partial: level('container_fs_usage_partial'),
    tasks: `max by (state) (container_tasks_state{${own}})`,
    info: `max by (runtime) (container_info{${own}})`,
    restarts: `max(container_restarts_total{${matchers({ instance: who.instance, name: who.labels['name'] ?? '' })}})`,
  });
}

export function containerOver(who: Who, window: string): string[] {
  const { own, pod } = selectors(who);
  const rate = (metric: string, of = own): string => `sum(rate(${metric}{${of}}[${window}]))`;
  const level = (metric: string, more = ''): string => `max(${metric}{${own}${more}})`;
  return figureQueries({
    ...shared(rate, level, pod),
    cpu_waiting: rate('container_pressure_cpu_waiting_seconds_total'),
    cpu_stalled: rate('container_pressure_cpu_stalled_seconds_total'),
    memory_waiting: rate('container_pressure_memory_waiting_seconds_total'),
    memory_stalled: rate('container_pressure_memory_stalled_seconds_total'),
    io_waiting: rate('container_pressure_io_waiting_seconds_total'),
    io_stalled: rate('container_pressure_io_stalled_seconds_total'),
    load_10s: `${level('container_cpu_load_average_10s')} / 1000`,
    load_1m: level('container_load_average', ',window="1m",state="running"'),
    load_5m: level('container_load_average', ',window="5m",state="running"'),
    blocked_1m: level('container_load_average', ',window="1m",state="blocked"'),
  });
}

function shared(
  rate: (metric: string, of?: string) => string,
  level: (metric: string) => string,
  pod: string,
): Record<string, string> {
  return {
    cpu: rate('container_cpu_usage_seconds_total'),
    user: rate('container_cpu_user_seconds_total'),
    system: rate('container_cpu_system_seconds_total'),
    quota: `${level('container_spec_cpu_quota')} / ${level('container_spec_cpu_period')}`,
    throttled: `${rate('container_cpu_cfs_throttled_periods_total')} / ${rate('container_cpu_cfs_periods_total')}`,
    working_set: level('container_memory_working_set_bytes'),
    rss: level('container_memory_rss'),
    cache: level('container_memory_cache'),
    swap: level('container_memory_swap'),
    limit: level('container_spec_memory_limit_bytes'),
    oom: level('container_oom_events_total'),
    received: rate('container_network_receive_bytes_total', pod),
    sent: rate('container_network_transmit_bytes_total', pod),
    read: rate('container_fs_reads_bytes_total'),
    written: rate('container_fs_writes_bytes_total'),
    fs: level('container_fs_usage_bytes'),
    fs_limit: level('container_fs_limit_bytes'),
  };
}

/** No limit is written as 0, or as a number near 2^63. */
export function limitOf(value: number | undefined): number | undefined {
  return value === undefined || !(value > 0) || value > 2 ** 60 ? undefined : value;
}

/** Where a counter of kills grew, in the order of time. */
export function growth(values: readonly (number | null)[], times: readonly number[]): number[] {
  const found: number[] = [];
  let before: number | null = null;
  values.forEach((value, i) => {
    if (value === null) return;
    if (before !== null && value > before) found.push(times[i] ?? 0);
    before = value;
  });
  return found;
}
