import { expect, test } from 'vitest';
import type { CapacityJudgement } from '../../api/types';
import { verdict } from './words';

function said(wanted: number, survives: number, failsAt: number | null, nodes = 9): string[] {
  const judged = { survives, fails_at: failsAt, nodes } as CapacityJudgement;
  const { state, text } = verdict({ wanted, judged });
  return [state, text];
}

test('a verdict says how many nodes may fail, and whether that is enough', () => {
  expect(said(1, 0, 1)).toEqual(['critical', 'Not every single node may fail.']);
  expect(said(1, 1, 2)).toEqual(['ok', 'Any 1 node may fail; not any 2.']);
  expect(said(2, 1, 2)).toEqual(['warning', 'Any 1 node may fail, not any 2.']);
  expect(said(1, 3, null)).toEqual(['ok', 'Any 3 nodes may fail.']);
  expect(said(3, 1, null)[0]).toBe('warning');
  expect(said(3, 1, 4)[0]).toBe('warning');
  // Fewer nodes than shall be able to fail.
  expect(said(3, 2, null, 2)[0]).toBe('ok');
  expect(said(1, 0, null, 0)[0]).toBe('critical');
  expect(verdict({ wanted: 1, judged: null }).state).toBe('pending');
});
