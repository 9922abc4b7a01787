import { expect, test } from 'vitest';
import type { ClusterCertificate, ClusterPart, PartState } from '../../api/types';
import { nameOf, nearness, roleOf, summary, wellByPart } from './words';

function part(name: string, instance: string, state: PartState): ClusterPart {
  return { part: name, instance, state, cause: '', evidence: '', next_step: '', since_unix_ms: 0 };
}

test('a cluster is told in a line, the worst first', () => {
  const parts = [
    part('etcd', '', 'failed'),
    part('kubelet', 'a', 'healthy'),
    part('kubelet', 'b', 'healthy'),
  ];
  const cluster = {
    name: 'c',
    version: '',
    state: 'failed' as const,
    parts,
    left_out: 0,
    certificates: [],
  };
  expect(summary(cluster)).toBe('1 failed, 2 healthy');
  expect(summary({ ...cluster, parts: [] })).toBe('nothing is known yet');
  expect(wellByPart(parts)).toEqual([['kubelet', 2]]);
  expect(parts.map(nameOf)).toEqual(['etcd', 'kubelet a', 'kubelet b']);
});

test('a certificate is near its end by days, or by its share where it is short', () => {
  const day = 86_400_000;
  const one = (lasts: number, left: number): ClusterCertificate => ({
    part: 'apiserver',
    instance: 'a',
    role: 'server',
    subject: 's',
    issuer: 'i',
    not_before_unix_ms: (left - lasts) * day,
    not_after_unix_ms: left * day,
  });
  expect(nearness(one(365, 31), 0)).toBe('ok');
  expect(nearness(one(365, 29), 0)).toBe('warning');
  expect(nearness(one(365, 6), 0)).toBe('critical');
  expect(nearness(one(365, 0), 0)).toBe('failed');
  expect(nearness(one(1, 0.5), 0)).toBe('ok');
  expect(nearness(one(1, 0.05), 0)).toBe('warning');
  expect(roleOf(one(1, 1))).toBe('its own');
});
