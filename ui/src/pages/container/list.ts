// The rows of the list of containers, of all machines that the store knows.

import type { MatrixSeries } from '../../api/prometheus';
import { accused } from '../workload/accused';
import type { Figures } from '../workload/figures';
import type { Problem } from '../home/problems';
import { containerRows, type ContainerRow } from '../home/rows';
import type { ContainerFigures } from '../home/queries';
import { asContainer, limitOf } from './queries';
import { toGrid } from '../../chart/grid';

export interface History {
  series: MatrixSeries[];
  start: number;
  end: number;
  step: number;
}

const moved = [
  'cpu',
  'throttled',
  'memory',
  'limit',
  'net_in',
  'net_out',
  'read',
  'written',
  'fs',
  'pids',
  'oom',
  'start',
] as const;

export function listRows(
  now: Figures,
  restarts: Figures | undefined,
  history: History | undefined,
  problems: readonly Problem[],
): ContainerRow[] {
  const key = (instance = '', id = ''): string => JSON.stringify([instance, id]);
  const figures = new Map(
    now
      .rows(moved, ['instance', 'id'])
      .map((row) => [key(row.labels['instance'], row.labels['id']), row.figures]),
  );
  const again = new Map(
    (restarts?.all('restarts') ?? []).map((s) => [key(s.labels['instance'], s.labels['id']), s.value]),
  );
  const grid = history && toGrid(history.series, history.start, history.end, history.step);
  const course = new Map(
    (history?.series ?? []).map((s, i) => [
      key(s.metric['instance'], s.metric['id']),
      grid?.columns[i] ?? [],
    ]),
  );
  const hosts = new Map<string, Problem[]>();
  const rows: ContainerRow[] = [];
  const known = new Set<string>();
  // The newest life of a cgroup, once, however many jobs tell of it.
  for (const { labels } of [...now.all('start')].sort((a, b) => b.value - a.value)) {
    const host = labels['instance'] ?? '';
    const cgroup = labels['id'] ?? '';
    const own = key(host, cgroup);
    if (known.has(own)) continue;
    known.add(own);
    const box = asContainer(labels);
    const one: ContainerFigures = { ...figures.get(own) };
    const limit = limitOf(one.limit);
    delete one.limit;
    if (limit !== undefined) one.limit = limit;
    const here =
      hosts.get(host) ?? problems.filter((p) => accused([p], { instance: host }).length > 0 || !says(p));
    hosts.set(host, here);
    const [row] = containerRows(
      [box],
      new Map([[cgroup, one]]),
      new Map(again.has(own) ? [[cgroup, again.get(own) ?? 0]] : []),
      new Map([[cgroup, course.get(own) ?? []]]),
      here,
    );
    if (row) rows.push({ ...row, key: own, host });
  }
  return rows;
}

/** Whether a problem names a machine at all. */
function says(problem: Problem): boolean {
  return ['instance', 'host', 'host.name', 'node'].some((label) => problem.labels[label] !== undefined);
}
