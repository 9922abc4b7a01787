// One row a container: who it is, its figures, and how wrong it is.

import type { Container } from '../../api/types';
import { containerName } from '../../format/names';
import type { Problem } from './problems';
import type { ContainerFigures } from './queries';

export interface ContainerRow extends ContainerFigures {
  key: string;
  /** As `namespace/pod/name`. */
  name: string;
  /** The name alone, and the pod where there is one. */
  short: string;
  pod: string;
  id: string;
  image: string;
  runtime: string;
  restarts?: number;
  /** The machine it runs on, where that is known. */
  host?: string;
  cgroup: string;
  /** Share of the memory limit. */
  share?: number;
  history: (number | null)[];
  /** Greater is worse; 0 is well. */
  wrong: number;
  state: 'critical' | 'warning' | 'ok';
  word: string;
}

export function containerRows(
  containers: readonly Container[],
  figures: ReadonlyMap<string, ContainerFigures>,
  restarts: ReadonlyMap<string, number>,
  history: ReadonlyMap<string, (number | null)[]>,
  problems: readonly Problem[],
): ContainerRow[] {
  const accused = accusations(problems);
  return containers.map((container) => {
    const id = container['container.id'];
    const one = figures.get(container.cgroup) ?? {};
    const share = one.memory !== undefined && one.limit ? one.memory / one.limit : undefined;
    const restarted = restarts.get(container.cgroup);
    const base = {
      ...one,
      key: id || container.cgroup,
      name: containerName(container),
      short: container['container.name'] || id.slice(0, 12),
      pod: [container['k8s.namespace.name'], container['k8s.pod.name']].filter(Boolean).join('/'),
      id,
      cgroup: container.cgroup,
      image: container['container.image.name'] ?? '',
      runtime: container['container.runtime'] ?? '',
      ...(restarted !== undefined ? { restarts: restarted } : {}),
      ...(share !== undefined ? { share } : {}),
      history: history.get(container.cgroup) ?? [],
    };
    const worst = accused.find(
      (a) => a.names.has(id) || a.names.has(id.slice(0, 12)) || a.names.has(container['container.name']),
    );
    return { ...base, ...judge(base, worst?.problem) };
  });
}

function judge(
  row: ContainerFigures & { restarts?: number; share?: number },
  problem: Problem | undefined,
): Pick<ContainerRow, 'wrong' | 'state' | 'word'> {
  if (problem?.severity === 'critical')
    return { wrong: 100, state: 'critical', word: problem.kind === 'finding' ? 'Finding' : 'Alert' };
  if ((row.share ?? 0) >= 0.95) return { wrong: 60 + (row.share ?? 0), state: 'critical', word: 'At limit' };
  if ((row.oom ?? 0) > 0)
    return { wrong: 50 + Math.min(9, row.oom ?? 0), state: 'warning', word: 'OOM killed' };
  if (problem) return { wrong: 40, state: 'warning', word: problem.kind === 'finding' ? 'Finding' : 'Alert' };
  if ((row.restarts ?? 0) > 0)
    return { wrong: 30 + Math.min(9, row.restarts ?? 0), state: 'warning', word: 'Restarted' };
  if ((row.share ?? 0) >= 0.85) return { wrong: 20 + (row.share ?? 0), state: 'warning', word: 'Near limit' };
  return { wrong: 0, state: 'ok', word: 'Well' };
}

/** Which containers firing problems name, by any label that names one; worst first. */
function accusations(problems: readonly Problem[]): { names: Set<string>; problem: Problem }[] {
  return problems
    .filter((p) => p.state === 'firing' && p.kind !== 'part' && p.severity !== 'info')
    .map((problem) => ({
      problem,
      names: new Set(
        ['container_id', 'container.id', 'container', 'container_name', 'name', 'id']
          .map((label) => problem.labels[label] ?? '')
          .filter(Boolean),
      ),
    }));
}
