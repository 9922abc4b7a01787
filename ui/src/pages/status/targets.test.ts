import { describe, expect, it } from 'vitest';
import type { Target } from '../../api/prometheus';
import { byPool, changes, foundByPool, poolState } from './targets';

function target(scrapePool: string, scrapeUrl: string, health: Target['health']): Target {
  return {
    discoveredLabels: { __address__: scrapeUrl },
    labels: { job: scrapePool },
    scrapePool,
    scrapeUrl,
    globalUrl: scrapeUrl,
    health,
    lastError: '',
    lastScrape: '',
    lastScrapeDuration: 0,
    scrapeInterval: '15s',
    scrapeTimeout: '10s',
  };
}

describe('targets', () => {
  it('shows what is wrong first', () => {
    const pools = byPool([
      target('a', 'http://1', 'up'),
      target('b', 'http://3', 'up'),
      target('b', 'http://4', 'unknown'),
      target('b', 'http://2', 'down'),
      target('c', 'http://5', 'up'),
    ]);
    expect(pools.map((p) => [p.name, p.up, p.targets.map((t) => t.scrapeUrl)])).toEqual([
      ['b', 1, ['http://2', 'http://4', 'http://3']],
      ['a', 1, ['http://1']],
      ['c', 1, ['http://5']],
    ]);
  });

  it('takes a pool for failed only when a target is down', () => {
    const state = (...health: Target['health'][]): string[] =>
      byPool(health.map((h, i) => target('a', `http://${i}`, h))).map(poolState);
    expect(state('up', 'up')).toEqual(['ok']);
    expect(state('unknown', 'up')).toEqual(['off']);
    expect(state('unknown', 'down')).toEqual(['failed']);
    expect(state('up', 'down')).toEqual(['warning']);
  });

  it('puts what was dropped beside what is scraped', () => {
    const found = foundByPool(
      [target('b', 'x', 'up')],
      [
        { discoveredLabels: { __address__: 'y' }, scrapePool: 'b' },
        { discoveredLabels: { __address__: 'z' }, scrapePool: 'a', error: 'no' },
      ],
    );
    expect([...found.keys()]).toEqual(['a', 'b']);
    expect(found.get('b')?.map((f) => f.labels)).toEqual([{ job: 'b' }, null]);
    expect(found.get('a')?.[0]?.error).toBe('no');
  });

  it('tells which labels a rule changed', () => {
    expect(changes({ a: '1', b: '2', c: '3' }, { a: '1', b: 'x', d: '4' })).toEqual([
      { name: 'b', before: '2', after: 'x' },
      { name: 'c', before: '3' },
      { name: 'd', after: '4' },
    ]);
  });
});
