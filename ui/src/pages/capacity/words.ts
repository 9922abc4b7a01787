// What the judgement of a cluster comes to, in words.

import type { CapacityCluster } from '../../api/types';

export interface Verdict {
  state: 'ok' | 'warning' | 'critical' | 'pending';
  word: string;
  text: string;
}

export function nodes(count: number): string {
  return count === 1 ? '1 node' : `${count} nodes`;
}

export function verdict(cluster: Pick<CapacityCluster, 'wanted' | 'judged'>): Verdict {
  const { judged, wanted } = cluster;
  if (!judged) return { state: 'pending', word: 'not judged yet', text: 'The objects are being read.' };
  const { survives, fails_at: failsAt } = judged;
  if (judged.nodes === 0)
    return {
      state: 'critical',
      word: 'no node is ready',
      text: 'Nothing could fail, and nothing holds.',
    };
  if (failsAt !== null && failsAt <= wanted)
    return {
      state: failsAt === 1 ? 'critical' : 'warning',
      word: `less than ${nodes(wanted)}`,
      text:
        failsAt === 1
          ? 'Not every single node may fail.'
          : `Any ${nodes(failsAt - 1)} may fail, not any ${failsAt}.`,
    };
  const more = failsAt === null ? '' : `; not any ${failsAt}`;
  if (survives >= Math.min(wanted, judged.nodes))
    return { state: 'ok', word: 'holds', text: `Any ${nodes(survives)} may fail${more}.` };
  return {
    state: 'warning',
    word: 'not sure',
    text: `Any ${nodes(survives)} may fail; whether any ${wanted} may was not tried for all sets. Raise capacity.effort.`,
  };
}
