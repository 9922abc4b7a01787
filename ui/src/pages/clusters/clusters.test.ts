import { expect, test } from 'vitest';
import type { ClusterPart, PartState } from '../../api/types';
import { nameOf, summary, wellByPart } from './words';

function part(name: string, instance: string, state: PartState): ClusterPart {
  return { part: name, instance, state, cause: '', evidence: '', next_step: '', since_unix_ms: 0 };
}

test('a cluster is told in a line, the worst first', () => {
  const parts = [
    part('etcd', '', 'failed'),
    part('kubelet', 'a', 'healthy'),
    part('kubelet', 'b', 'healthy'),
  ];
  const cluster = { name: 'c', version: '', state: 'failed' as const, parts, left_out: 0 };
  expect(summary(cluster)).toBe('1 failed, 2 healthy');
  expect(summary({ ...cluster, parts: [] })).toBe('nothing is known yet');
  expect(wellByPart(parts)).toEqual([['kubelet', 2]]);
  expect(parts.map(nameOf)).toEqual(['etcd', 'kubelet a', 'kubelet b']);
});
