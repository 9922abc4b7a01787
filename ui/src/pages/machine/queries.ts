// What the pages of machines ask, and what they make of the answers.

import type { Labels } from '../../api/prometheus';
import { Figures, disks, figureQueries, figures, kept, matchers, nets, type Row } from '../workload/figures';

/** One host is one `instance`; its figures are those of one job, so that nothing is counted twice. */
export interface Host {
  instance: string;
  job: string;
  /** Samples of one series in the last two minutes; 0 when it is silent. */
  samples: number;
}

/** Who was there in the last `rangeSeconds`, and who still is. */
export function hostsQuery(rangeSeconds: number, instance?: string): string {
  const of = instance === undefined ? '' : matchers({ instance });
  const range = `${Math.max(300, Math.ceil(rangeSeconds))}s`;
  return figures({
    seen: `max by (instance, job) (last_over_time(node_load1{${of}}[${range}]))`,
    samples: `max by (instance, job) (count_over_time(node_load1{${of}}[2m]))`,
  });
}

/** One entry an instance: of several jobs that collect it, the one that still does, most often. */
export function readHosts(answer: Figures): Host[] {
  const hosts = new Map<string, Host>();
  for (const row of answer.rows(['seen', 'samples'], ['instance', 'job'])) {
    const instance = row.labels['instance'] ?? '';
    const host = { instance, job: row.labels['job'] ?? '', samples: row.figures['samples'] ?? 0 };
    const other = hosts.get(instance);
    if (!other || host.samples > other.samples) hosts.set(instance, host);
  }
  return [...hosts.values()].sort((a, b) => a.instance.localeCompare(b.instance, 'en', { numeric: true }));
}

function selector(host: Host): (more?: string) => string {
  const of = matchers({ instance: host.instance, job: host.job });
  return (more = '') => `{${of}${more ? `,${more}` : ''}}`;
}

/** What moves: asked every two seconds. */
export function machineNow(host: Host, window: string): string[] {
  const of = selector(host);
  const rate = (metric: string, more = ''): string => `rate(${metric}${of(more)}[${window}])`;
  const ofDisk = (metric: string): string => `sum by (device) (${rate(metric, disks)})`;
  const ofNet = (metric: string): string => `sum by (device) (${rate(metric, 'device!="lo"')})`;
  return figureQueries({
    ...shares(rate),
    ...levels((metric) => `max(${metric}${of()})`),
    cpus: `count(node_cpu_seconds_total${of('mode="idle"')})`,
    running: `max(node_procs_running${of()})`,
    blocked: `max(node_procs_blocked${of()})`,
    boot: `max(node_boot_time_seconds${of()})`,
    read: ofDisk('node_disk_read_bytes_total'),
    written: ofDisk('node_disk_written_bytes_total'),
    reads: ofDisk('node_disk_reads_completed_total'),
    writes: ofDisk('node_disk_writes_completed_total'),
    read_time: ofDisk('node_disk_read_time_seconds_total'),
    write_time: ofDisk('node_disk_write_time_seconds_total'),
    busy: ofDisk('node_disk_io_time_seconds_total'),
    received: ofNet('node_network_receive_bytes_total'),
    sent: ofNet('node_network_transmit_bytes_total'),
    receive_errors: ofNet('node_network_receive_errs_total'),
    transmit_errors: ofNet('node_network_transmit_errs_total'),
    receive_drops: ofNet('node_network_receive_drop_total'),
    transmit_drops: ofNet('node_network_transmit_drop_total'),
    up: `max by (device) (node_network_up${of('device!="lo"')})`,
    speed: `max by (device) (node_network_speed_bytes${of('device!="lo"')})`,
  });
}

/** What changes slowly: asked every ten seconds. */
export function machineSlow(host: Host): string[] {
  const of = selector(host);
  const by = (labels: string, metric: string, more = ''): string =>
    `max by (${labels}) (${metric}${of(more)})`;
  const mount = 'device, mountpoint, fstype';
  const pool = 'vg, lv';
  const plain = (names: Record<string, string>, labels: string): Record<string, string> =>
    Object.fromEntries(Object.entries(names).map(([name, metric]) => [name, by(labels, metric)]));
  return figureQueries({
    uname: by('release, machine, sysname', 'node_uname_info'),
    os: by('pretty_name', 'node_os_info'),
    model: by('system_vendor, product_name', 'node_dmi_info'),
    fs_size: by(mount, 'node_filesystem_size_bytes', kept),
    fs_free: by(mount, 'node_filesystem_avail_bytes', kept),
    fs_files: by(mount, 'node_filesystem_files', kept),
    fs_files_free: by(mount, 'node_filesystem_files_free', kept),
    fs_readonly: by(mount, 'node_filesystem_readonly', kept),
    fs_hours: by(mount, 'node_filesystem_until_full_hours', kept),
    chip: by('chip, chip_name', 'node_hwmon_chip_names'),
    sensor: by('chip, sensor, label', 'node_hwmon_sensor_label'),
    ...plain(
      {
        vg_size: 'node_lvm_volume_group_size_bytes',
        vg_free: 'node_lvm_volume_group_free_bytes',
        vg_missing: 'node_lvm_volume_group_physical_volumes_missing',
        vg_hours: 'node_lvm_volume_group_until_full_hours',
      },
      'vg',
    ),
    pool_data: by(pool, 'node_lvm_thin_pool_data_percent'),
    pool_metadata: by(pool, 'node_lvm_thin_pool_metadata_percent'),
    pool_check: by(pool, 'node_lvm_thin_pool_needs_check'),
    pool_hours: `min by (${pool}) (node_lvm_thin_pool_until_full_hours${of()})`,
    pool_state: by(`${pool}, state`, 'node_lvm_thin_pool_state'),
    md_required: by('device', 'node_md_disks_required'),
    md_disks: by('device, state', 'node_md_disks'),
    md_state: by('device, state', 'node_md_state'),
    md_blocks: by('device', 'node_md_blocks'),
    md_synced: by('device', 'node_md_blocks_synced'),
    ...plain(
      {
        wear: 'node_nvme_wear_percent',
        spare: 'node_nvme_available_spare_percent',
        spare_least: 'node_nvme_available_spare_threshold_percent',
        disk_warning: 'node_nvme_critical_warning',
        media_errors: 'node_nvme_media_errors_total',
      },
      'device',
    ),
  });
}

/** The course of everything that has a graph. */
export function machineOver(host: Host, window: string): string[] {
  const of = selector(host);
  const rate = (metric: string, more = ''): string => `rate(${metric}${of(more)}[${window}])`;
  return figureQueries({
    ...shares(rate),
    ...levels((metric) => `max(${metric}${of()})`),
    cpus: `count(node_cpu_seconds_total${of('mode="idle"')})`,
    memory_stalled: `max(${rate('node_pressure_memory_stalled_seconds_total')})`,
    io_stalled: `max(${rate('node_pressure_io_stalled_seconds_total')})`,
    read: `sum by (device) (${rate('node_disk_read_bytes_total', disks)})`,
    written: `sum by (device) (${rate('node_disk_written_bytes_total', disks)})`,
    busy: `sum by (device) (${rate('node_disk_io_time_seconds_total', disks)})`,
    received: `sum by (device) (${rate('node_network_receive_bytes_total', nets)})`,
    sent: `sum by (device) (${rate('node_network_transmit_bytes_total', nets)})`,
    fs_used: `1 - max by (device, mountpoint) (node_filesystem_avail_bytes${of(kept)}) / max by (device, mountpoint) (node_filesystem_size_bytes${of(kept)})`,
    temperature: `max by (chip, sensor) (node_hwmon_temp_celsius${of()})`,
    zone: `max by (zone, type) (node_thermal_zone_temp${of()})`,
  });
}

function shares(rate: (metric: string) => string): Record<string, string> {
  return {
    cpu: `sum by (mode) (${rate('node_cpu_seconds_total')})`,
    cpu_waiting: `max(${rate('node_pressure_cpu_waiting_seconds_total')})`,
    memory_waiting: `max(${rate('node_pressure_memory_waiting_seconds_total')})`,
    io_waiting: `max(${rate('node_pressure_io_waiting_seconds_total')})`,
  };
}

function levels(of: (metric: string) => string): Record<string, string> {
  return {
    load1: of('node_load1'),
    load5: of('node_load5'),
    load15: of('node_load15'),
    memory_total: of('node_memory_MemTotal_bytes'),
    memory_available: of('node_memory_MemAvailable_bytes'),
    memory_free: of('node_memory_MemFree_bytes'),
    buffers: of('node_memory_Buffers_bytes'),
    cached: of('node_memory_Cached_bytes'),
    reclaimable: of('node_memory_SReclaimable_bytes'),
    swap_total: of('node_memory_SwapTotal_bytes'),
    swap_free: of('node_memory_SwapFree_bytes'),
  };
}

/** Share of all CPU time by mode, and of all modes in which work is done. */
export function cpuShares(now: Figures): { busy: number; modes: Map<string, number> } {
  const modes = new Map(now.all('cpu').map(({ labels, value }) => [labels['mode'] ?? '', value]));
  const total = [...modes.values()].reduce((a, b) => a + b, 0);
  if (!(total > 0)) return { busy: NaN, modes: new Map() };
  for (const [mode, value] of modes) modes.set(mode, value / total);
  return { busy: 1 - (modes.get('idle') ?? 0) - (modes.get('iowait') ?? 0), modes };
}

/** The fullest first; a device that is mounted at several places stands once, at its shortest path. */
export function fileSystems(slow: Figures): (Row & { used: number })[] {
  const names = ['fs_size', 'fs_free', 'fs_files', 'fs_files_free', 'fs_readonly', 'fs_hours'];
  const byDevice = new Map<string, Row & { used: number }>();
  const rows = slow.rows(names, ['device', 'mountpoint', 'fstype']);
  const shown = shortest(rows.map((row) => row.labels));
  for (const row of rows) {
    const { fs_size: size, fs_free: free } = row.figures;
    if (size && free !== undefined && shown(row.labels))
      byDevice.set(row.labels['device'] ?? '', { ...row, used: 1 - free / size });
  }
  return [...byDevice.values()].sort((a, b) => b.used - a.used);
}

/** Whether these labels are those of a device's shortest mount point, of all that are given. */
export function shortest(all: readonly Labels[]): (labels: Labels) => boolean {
  const paths = new Map<string, string>();
  for (const labels of all) {
    const other = paths.get(labels['device'] ?? '');
    if (other === undefined || path(labels).length < other.length)
      paths.set(labels['device'] ?? '', path(labels));
  }
  return (labels) => paths.get(labels['device'] ?? '') === path(labels);
}

/** Where a file system is mounted. */
export function path(labels: Labels): string {
  return labels['mountpoint'] ?? '';
}

/** Disks with what they do now; the time of one request and the share of time at work are derived. */
export function diskRows(now: Figures): Row[] {
  const names = ['read', 'written', 'reads', 'writes', 'read_time', 'write_time', 'busy'];
  const rows = now.rows(names, ['device']);
  for (const { figures: f } of rows) {
    const requests = (f['reads'] ?? 0) + (f['writes'] ?? 0);
    f['requests'] = requests;
    if (requests > 0) f['wait'] = ((f['read_time'] ?? 0) + (f['write_time'] ?? 0)) / requests;
  }
  return rows;
}

export function interfaceRows(now: Figures): Row[] {
  const names = ['received', 'sent', 'receive_errors', 'transmit_errors', 'receive_drops', 'transmit_drops'];
  const rows = now.rows([...names, 'up', 'speed'], ['device']);
  for (const { figures: f } of rows) {
    f['errors'] = (f['receive_errors'] ?? 0) + (f['transmit_errors'] ?? 0);
    f['drops'] = (f['receive_drops'] ?? 0) + (f['transmit_drops'] ?? 0);
    // A driver that does not know its link's speed says -1 or 0.
    if (!((f['speed'] ?? 0) > 0)) delete f['speed'];
  }
  return rows;
}

/** What a temperature sensor is called, by its chip and its number. */
export function sensorName(labels: Labels, slow: Figures | undefined): string {
  const { chip = '', sensor = '' } = labels;
  const chipName = slow?.all('chip').find((c) => c.labels['chip'] === chip)?.labels['chip_name'] ?? chip;
  const label = slow?.all('sensor').find((s) => s.labels['chip'] === chip && s.labels['sensor'] === sensor)
    ?.labels['label'];
  return `${chipName} ${label ?? sensor}`;
}

export type Judged = 'critical' | 'warning' | 'ok';

/** How bad it is that something is full so soon, or so full already. */
export function judgeFull(used: number, hours: number | undefined): Judged {
  if (used >= 0.95 || (hours ?? Infinity) < 4) return 'critical';
  if (used >= 0.85 || (hours ?? Infinity) < 24) return 'warning';
  return 'ok';
}
