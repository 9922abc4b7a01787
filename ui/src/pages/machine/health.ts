// What is known of LVM, software RAID and the wear of NVMe disks, each with a judgement.

import type { Unit } from '../../format/units';
import type { Figures, Row } from '../workload/figures';
import { judgeFull, type Judged } from './queries';

export type Fact = { name: string; value: number | undefined; unit: Unit } | { name: string; hours: number };

export interface StoragePart {
  key: string;
  kind: string;
  name: string;
  state: Judged;
  word: string;
  facts: Fact[];
}

/** The worst first. */
export function storageHealth(slow: Figures): StoragePart[] {
  const rank: Record<Judged, number> = { critical: 2, warning: 1, ok: 0 };
  return [...groups(slow), ...pools(slow), ...arrays(slow), ...wear(slow)].sort(
    (a, b) => rank[b.state] - rank[a.state] || a.key.localeCompare(b.key, 'en', { numeric: true }),
  );
}

function known(name: string, value: number | undefined, unit: Unit): Fact[] {
  return value === undefined ? [] : [{ name, value, unit }];
}

function untilFull(hours: number | undefined): Fact[] {
  return hours === undefined ? [] : [{ name: 'until full', hours }];
}

function groups(slow: Figures): StoragePart[] {
  return slow.rows(['vg_size', 'vg_free', 'vg_missing', 'vg_hours'], ['vg']).map(({ labels, figures: f }) => {
    const missing = f['vg_missing'] ?? 0;
    const hours = judgeFull(0, f['vg_hours']);
    return {
      key: `vg ${labels['vg']}`,
      kind: 'volume group',
      name: labels['vg'] ?? '',
      state: missing > 0 ? 'critical' : hours,
      word: missing > 0 ? `${missing} missing` : hours === 'ok' ? 'Well' : 'Filling',
      facts: [
        ...known('size', f['vg_size'], 'bytes'),
        ...known('not taken', f['vg_free'], 'bytes'),
        ...untilFull(f['vg_hours']),
      ],
    };
  });
}

function pools(slow: Figures): StoragePart[] {
  const names = ['pool_data', 'pool_metadata', 'pool_check', 'pool_hours'];
  const name = ({ labels }: Pick<Row, 'labels'>): string => `${labels['vg']}/${labels['lv']}`;
  return slow.rows(names, ['vg', 'lv']).map((row) => {
    const { figures: f } = row;
    const mode = slow
      .all('pool_state')
      .find(
        (s) => s.value === 1 && s.labels['vg'] === row.labels['vg'] && s.labels['lv'] === row.labels['lv'],
      )?.labels['state'];
    const used = Math.max(f['pool_data'] ?? 0, f['pool_metadata'] ?? 0) / 100;
    const full = judgeFull(used, f['pool_hours']);
    const broken = (mode !== undefined && mode !== 'rw') || f['pool_check'] === 1;
    return {
      key: `pool ${name(row)}`,
      kind: 'thin pool',
      name: name(row),
      state: broken ? 'critical' : full,
      word:
        f['pool_check'] === 1
          ? 'Needs a check'
          : broken
            ? (mode ?? '').replaceAll('_', ' ')
            : full === 'ok'
              ? 'Well'
              : 'Filling',
      facts: [
        ...known('data', f['pool_data'], 'percent'),
        ...known('metadata', f['pool_metadata'], 'percent'),
        ...untilFull(f['pool_hours']),
      ],
    };
  });
}

function arrays(slow: Figures): StoragePart[] {
  return slow.rows(['md_required', 'md_blocks', 'md_synced'], ['device']).map(({ labels, figures: f }) => {
    const device = labels['device'] ?? '';
    const of = (figure: string) => slow.all(figure).filter((s) => s.labels['device'] === device);
    const disks = new Map(of('md_disks').map((s) => [s.labels['state'] ?? '', s.value]));
    const state = of('md_state').find((s) => s.value === 1)?.labels['state'] ?? 'unknown';
    const failed = disks.get('failed') ?? 0;
    const short = (disks.get('active') ?? Infinity) < (f['md_required'] ?? 0);
    const synced = f['md_blocks'] ? (f['md_synced'] ?? f['md_blocks']) / f['md_blocks'] : undefined;
    return {
      key: `md ${device}`,
      kind: 'software RAID',
      name: device,
      state: failed > 0 || short ? 'critical' : synced !== undefined && synced < 1 ? 'warning' : 'ok',
      word: failed > 0 || short ? 'Degraded' : synced !== undefined && synced < 1 ? state : 'Well',
      facts: [
        ...known('disks at work', disks.get('active'), 'count'),
        ...known('required', f['md_required'], 'count'),
        ...known('failed', disks.get('failed'), 'count'),
        ...known('spare', disks.get('spare'), 'count'),
        ...(synced !== undefined && synced < 1 ? known('in sync', synced, 'ratio') : []),
      ],
    };
  });
}

function wear(slow: Figures): StoragePart[] {
  const names = ['wear', 'spare', 'spare_least', 'disk_warning', 'media_errors'];
  return slow.rows(names, ['device']).map(({ labels, figures: f }) => {
    const alarm = (f['disk_warning'] ?? 0) > 0;
    const spent = (f['spare'] ?? 100) <= (f['spare_least'] ?? 0);
    const worn = (f['wear'] ?? 0) >= 90;
    return {
      key: `nvme ${labels['device']}`,
      kind: 'NVMe disk',
      name: labels['device'] ?? '',
      state: alarm || spent ? 'critical' : worn || (f['media_errors'] ?? 0) > 0 ? 'warning' : 'ok',
      word: alarm
        ? 'Warns'
        : spent
          ? 'No spare left'
          : worn
            ? 'Worn'
            : (f['media_errors'] ?? 0) > 0
              ? 'Errors'
              : 'Well',
      facts: [
        ...known('worn', f['wear'], 'percent'),
        ...known('spare left', f['spare'], 'percent'),
        ...known('media errors', f['media_errors'], 'count'),
      ],
    };
  });
}
