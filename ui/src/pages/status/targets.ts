// Targets in the order in which a person wants to see them.

import type { DroppedTarget, Labels, Target } from '../../api/prometheus';

export interface Pool {
  name: string;
  targets: Target[];
  up: number;
}

/** The badge of a pool: what was not asked yet is no failure. */
export function poolState(pool: Pool): string {
  if (pool.up === pool.targets.length) return 'ok';
  if (pool.targets.every((target) => target.health !== 'down')) return 'off';
  return pool.up === 0 ? 'failed' : 'warning';
}

/** Badge and word of a target's state. */
export const healthWords: Record<Target['health'], [state: string, word: string]> = {
  up: ['ok', 'up'],
  down: ['failed', 'down'],
  unknown: ['off', 'not yet'],
};

const order: Record<Target['health'], number> = { down: 0, unknown: 1, up: 2 };

/** By pool: pools with the largest share of what does not answer first, in each the worst targets first. */
export function byPool(targets: Target[]): Pool[] {
  const pools = new Map<string, Pool>();
  for (const target of targets) {
    let pool = pools.get(target.scrapePool);
    if (!pool) pools.set(target.scrapePool, (pool = { name: target.scrapePool, targets: [], up: 0 }));
    pool.targets.push(target);
    if (target.health === 'up') pool.up += 1;
  }
  const share = (pool: Pool): number => pool.up / pool.targets.length;
  for (const pool of pools.values())
    pool.targets.sort((a, b) => order[a.health] - order[b.health] || a.scrapeUrl.localeCompare(b.scrapeUrl));
  return [...pools.values()].sort((a, b) => share(a) - share(b) || a.name.localeCompare(b.name));
}

/** What was found for a pool: a target, or what was dropped. */
export interface Found {
  discovered: Labels;
  /** Labels of its series; null where it was dropped. */
  labels: Labels | null;
  error: string;
}

/** Everything that was found, by pool. */
export function foundByPool(active: Target[], dropped: DroppedTarget[]): Map<string, Found[]> {
  const pools = new Map<string, Found[]>();
  const add = (pool: string, found: Found): void => {
    const list = pools.get(pool);
    if (list) list.push(found);
    else pools.set(pool, [found]);
  };
  for (const target of active)
    add(target.scrapePool, { discovered: target.discoveredLabels, labels: target.labels, error: '' });
  for (const target of dropped)
    add(target.scrapePool, { discovered: target.discoveredLabels, labels: null, error: target.error ?? '' });
  return new Map([...pools].sort(([a], [b]) => a.localeCompare(b)));
}

export interface LabelChange {
  name: string;
  before?: string;
  after?: string;
}

/** Labels that differ, by name. */
export function changes(before: Labels, after: Labels): LabelChange[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names
    .filter((name) => before[name] !== after[name])
    .map((name) => ({
      name,
      ...(before[name] === undefined ? {} : { before: before[name] }),
      ...(after[name] === undefined ? {} : { after: after[name] }),
    }));
}
