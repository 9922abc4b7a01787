// What is said of clusters in a line.

import type { Cluster, ClusterPart, PartState } from '../../api/types';

/** A part, and which of several it is. */
export function nameOf(part: ClusterPart): string {
  return part.instance === '' ? part.part : `${part.part} ${part.instance}`;
}

const order: PartState[] = ['failed', 'degraded', 'unknown', 'healthy'];

/** `1 failed, 2 unknown, 14 healthy`. */
export function summary(cluster: Cluster): string {
  const counts = order.map(
    (state) => [cluster.parts.filter((p) => p.state === state).length, state] as const,
  );
  const words = counts.filter(([count]) => count > 0).map(([count, state]) => `${count} ${state}`);
  return words.length > 0 ? words.join(', ') : 'nothing is known yet';
}

/** The healthy parts by name, and how many of each there are. */
export function wellByPart(parts: ClusterPart[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const part of parts)
    if (part.state === 'healthy') counts.set(part.part, (counts.get(part.part) ?? 0) + 1);
  return [...counts];
}
