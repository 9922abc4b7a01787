// What Home asks. Few questions, each for many figures: every figure carries the label `figure`,
// so that one answer can be taken apart again. Pure: queries as text, answers as numbers.

import type { MatrixSeries, VectorSample } from '../../api/prometheus';
import { number } from '../../chart/grid';
import { disks, figures, kept, nets } from '../workload/figures';

const node = 'job="node-exporter"';
const cadvisor = 'job="kubelet",metrics_path="/metrics/cadvisor"';

/** Window of live rates: long enough for a 5 s interval, short enough to follow. */
export const liveWindow = '15s';

function hostRates(window: string): Record<string, string> {
  const rate = (metric: string, matchers = node): string => `rate(${metric}{${matchers}}[${window}])`;
  return {
    cpu: `sum by (mode) (${rate('node_cpu_seconds_total')})`,
    psi_cpu: `max(${rate('node_pressure_cpu_waiting_seconds_total')})`,
    psi_memory: `max(${rate('node_pressure_memory_waiting_seconds_total')})`,
    psi_io: `max(${rate('node_pressure_io_waiting_seconds_total')})`,
    disk_read: `sum(${rate('node_disk_read_bytes_total', `${node},${disks}`)})`,
    disk_written: `sum(${rate('node_disk_written_bytes_total', `${node},${disks}`)})`,
    net_in: `sum(${rate('node_network_receive_bytes_total', `${node},${nets}`)})`,
    net_out: `sum(${rate('node_network_transmit_bytes_total', `${node},${nets}`)})`,
  };
}

const hostLevels: Record<string, string> = {
  load1: `max(node_load1{${node}})`,
  memory_total: `max(node_memory_MemTotal_bytes{${node}})`,
  memory_available: `max(node_memory_MemAvailable_bytes{${node}})`,
};

/** Figures of the machine at one time. */
export const hostNow = figures({
  ...hostRates(liveWindow),
  ...hostLevels,
  fs_size: `max by (device, mountpoint) (node_filesystem_size_bytes{${node},${kept}})`,
  fs_avail: `max by (device, mountpoint) (node_filesystem_avail_bytes{${node},${kept}})`,
  cpus: `count(node_cpu_seconds_total{${node},mode="idle"})`,
  boot: `max(node_boot_time_seconds{${node}})`,
});

/** The machine over a range. */
export function hostOver(step: number): string {
  return figures({ ...hostRates(`${Math.max(15, step * 2)}s`), ...hostLevels });
}

const cpu = (window: string): string =>
  `sum by (id) (rate(container_cpu_usage_seconds_total{${cadvisor},name!="",id!="/"}[${window}]))`;
const level = (metric: string): string => `max by (id) (${metric}{${cadvisor},name!="",id!="/"})`;

/** Figures of all containers at one time. */
export const containersNow = figures({
  cpu: cpu(liveWindow),
  memory: level('container_memory_working_set_bytes'),
  limit: level('container_spec_memory_limit_bytes'),
  net_in: `sum by (id) (rate(container_network_receive_bytes_total{${cadvisor},name!="",id!="/"}[${liveWindow}]))`,
  net_out: `sum by (id) (rate(container_network_transmit_bytes_total{${cadvisor},name!="",id!="/"}[${liveWindow}]))`,
  pids: level('container_processes'),
  oom: level('container_oom_events_total'),
  start: level('container_start_time_seconds'),
});

/** What changes slowly or costs more: asked seldom. */
export const containersSlow = `changes(container_start_time_seconds{${cadvisor},name!="",id!="/"}[1h])`;

export function containersOver(step: number): string {
  return cpu(`${Math.max(15, step * 2)}s`);
}

export interface FileSystem {
  mountpoint: string;
  device: string;
  size: number;
  available: number;
  used: number;
}

export interface HostFigures {
  /** Share of all CPU time by mode. */
  modes: Map<string, number>;
  busy: number;
  one: Map<string, number>;
  fileSystems: FileSystem[];
}

export function readHost(samples: readonly VectorSample[]): HostFigures {
  const one = new Map<string, number>();
  const modes = new Map<string, number>();
  const sizes = new Map<string, FileSystem>();
  for (const { metric, value } of samples) {
    const figure = metric['figure'] ?? '';
    const x = number(value[1]);
    if (!Number.isFinite(x)) continue;
    if (figure === 'cpu') modes.set(metric['mode'] ?? '', x);
    else if (figure === 'fs_size' || figure === 'fs_avail') {
      const mountpoint = metric['mountpoint'] ?? '';
      const device = metric['device'] ?? '';
      const fs = sizes.get(mountpoint) ?? { mountpoint, device, size: NaN, available: NaN, used: NaN };
      if (figure === 'fs_size') fs.size = x;
      else fs.available = x;
      sizes.set(mountpoint, fs);
    } else one.set(figure, x);
  }
  const total = [...modes.values()].reduce((a, b) => a + b, 0);
  if (total > 0) for (const [mode, x] of modes) modes.set(mode, x / total);
  const busy = modes.size === 0 ? NaN : 1 - (modes.get('idle') ?? 0) - (modes.get('iowait') ?? 0);
  return { modes, busy, one, fileSystems: fileSystems([...sizes.values()]) };
}

/** The fullest first; a device mounted at several places stands once, at its shortest path. */
function fileSystems(all: FileSystem[]): FileSystem[] {
  const byDevice = new Map<string, FileSystem>();
  for (const fs of all) {
    if (!(fs.size > 0) || !Number.isFinite(fs.available)) continue;
    fs.used = 1 - fs.available / fs.size;
    const other = byDevice.get(fs.device);
    if (!other || fs.mountpoint.length < other.mountpoint.length) byDevice.set(fs.device, fs);
  }
  return [...byDevice.values()].sort((a, b) => b.used - a.used);
}

export interface ContainerFigures {
  cpu?: number;
  memory?: number;
  limit?: number;
  net_in?: number;
  net_out?: number;
  pids?: number;
  oom?: number;
  start?: number;
  /** Share of the periods in which its quota held it. */
  throttled?: number;
  read?: number;
  written?: number;
  /** What it wrote into its own layer. */
  fs?: number;
}

/** By cgroup path. */
export function readContainers(samples: readonly VectorSample[]): Map<string, ContainerFigures> {
  const all = new Map<string, ContainerFigures>();
  for (const { metric, value } of samples) {
    const id = metric['id'];
    const x = number(value[1]);
    if (id === undefined || !Number.isFinite(x)) continue;
    let one = all.get(id);
    if (!one) all.set(id, (one = {}));
    const figure = metric['figure'] as keyof ContainerFigures;
    // No limit is written as 0, or as a number near 2^63.
    if (figure === 'limit' && (x === 0 || x > 2 ** 60)) continue;
    one[figure] = x;
  }
  return all;
}

export function figureOf(series: readonly MatrixSeries[], figure: string): MatrixSeries[] {
  return series.filter((s) => s.metric['figure'] === figure);
}
