import { describe, expect, test } from 'vitest';
import { best } from '../shell/match';
import { compare, csv, matches, orderText, parseOrder, sorted, wordsOf } from './sort';
import { reveal, visible } from './virtual';

describe('order', () => {
  test('missing values stand last both ways', () => {
    const rows = [{ v: 2 }, { v: NaN }, { v: 10 }, { v: undefined }, { v: 1 }];
    expect(sorted(rows, (r) => r.v, false).map((r) => r.v)).toEqual([1, 2, 10, NaN, undefined]);
    expect(sorted(rows, (r) => r.v, true).map((r) => r.v)).toEqual([10, 2, 1, NaN, undefined]);
  });
  test('numbers in names count as numbers', () => {
    expect(compare('web-2', 'web-10', false)).toBeLessThan(0);
  });
  test('equal rows keep their order', () => {
    const rows = Array.from({ length: 100 }, (_, i) => ({ i, k: i % 3 }));
    const result = sorted(rows, (r) => r.k, true);
    for (let n = 1; n < result.length; n += 1) {
      const [a, b] = [result[n - 1], result[n]];
      expect(a && b && (a.k > b.k || (a.k === b.k && a.i < b.i))).toBe(true);
    }
  });
  test('stands in the URL', () => {
    const keys = ['name', 'cpu'];
    const fallback = { key: 'name', down: false };
    for (const order of [
      { key: 'cpu', down: true },
      { key: 'name', down: false },
    ])
      expect(parseOrder(orderText(order), keys, fallback)).toEqual(order);
    expect(parseOrder('-password', keys, fallback)).toBe(fallback);
    expect(parseOrder('', keys, fallback)).toBe(fallback);
  });
});

test('all words of a filter must appear', () => {
  expect(matches('shop/cart nginx', wordsOf(' CART  shop '))).toBe(true);
  expect(matches('shop/cart nginx', wordsOf('cart redis'))).toBe(false);
});

test('CSV is quoted, and no cell is run as a formula', () => {
  expect(
    csv(
      ['a', 'b'],
      [
        ['x,"y"', 1.5],
        [null, '=1+1'],
        ['two\nlines', -3],
      ],
    ),
  ).toBe('a,b\r\n"x,""y""",1.5\r\n,\'=1+1\r\n"two\nlines",-3\r\n');
});

describe('long lists', () => {
  test('only what is seen is drawn, and the whole keeps its height', () => {
    for (const count of [0, 1, 5, 1000, 50_000])
      for (const top of [0, 17, 4000, 1_700_000, 9e9])
        for (const height of [0, 300, 1200]) {
          const w = visible(count, 34, top, height);
          expect(w.above + (w.end - w.first) * 34 + w.below).toBe(count * 34);
          expect(w.first).toBeGreaterThanOrEqual(0);
          expect(w.end).toBeLessThanOrEqual(count);
          expect(w.end - w.first).toBeLessThanOrEqual(Math.ceil(height / 34) + 18);
          const firstSeen = Math.floor(top / 34);
          if (height > 0 && firstSeen < count) {
            expect(w.first).toBeLessThanOrEqual(firstSeen);
            expect(w.end).toBeGreaterThan(firstSeen);
          }
        }
  });
  test('a row is brought into sight by the shortest way', () => {
    expect(reveal(0, 30, 100, 300)).toBe(0);
    expect(reveal(20, 30, 0, 300)).toBe(330);
    expect(reveal(5, 30, 100, 300)).toBe(100);
  });
});

test('the palette puts the begin of names first', () => {
  const names = ['node_cpu_seconds_total', 'vedette_cpu_seconds', 'cpu', 'container_cpu_usage', 'xcpu'];
  expect(best(names, (n) => n, ['cpu'], 3)).toEqual(['cpu', 'vedette_cpu_seconds', 'container_cpu_usage']);
  expect(best(names, (n) => n, ['cpu', 'node'], 9)).toEqual(['node_cpu_seconds_total']);
  expect(best(names, (n) => n, [], 2)).toEqual(names.slice(0, 2));
});
