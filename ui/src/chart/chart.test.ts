import { describe, expect, test } from 'vitest';
import { errorPlace, offset } from '../editor/position';
import { timeLabels } from './axis';
import { Course } from './course';
import { gaps, metricText, number, seriesNames, stacked, toGrid } from './grid';

describe('the grid', () => {
  const series = [
    {
      metric: { m: 'a' },
      values: [
        [10, '1'],
        [15, '2'],
        [30, '4'],
      ] as [number, string][],
    },
    {
      metric: { m: 'b' },
      values: [
        [10, '5'],
        [30, 'NaN'],
        [35, '+Inf'],
        [99, '1'],
      ] as [number, string][],
    },
  ];
  test('a step without a sample is null, never bridged', () => {
    const grid = toGrid(series, 10, 35, 5);
    expect(grid.times).toEqual([10, 15, 20, 25, 30, 35]);
    expect(grid.columns).toEqual([
      [1, 2, null, null, 4, null],
      [5, null, null, null, null, null],
    ]);
    expect(gaps(grid)).toEqual([
      [2, 4],
      [5, 6],
    ]);
  });
  test('an empty answer is one gap', () => {
    expect(gaps(toGrid([], 0, 10, 5))).toEqual([[0, 3]]);
    expect(toGrid([], 10, 5, 5).times).toEqual([]);
  });
  test('stacks add up and keep holes', () => {
    expect(
      stacked([
        [1, 2, null],
        [1, null, null],
        [1, 1, 1],
      ]),
    ).toEqual([
      [1, 2, null],
      [2, null, null],
      [3, 3, 1],
    ]);
  });
  test('sample values', () => {
    expect([number('+Inf'), number('-Inf'), number('1e3')]).toEqual([Infinity, -Infinity, 1000]);
    expect(number('NaN')).toBeNaN();
  });
});

test('series are named by what tells them apart', () => {
  expect(
    seriesNames([
      { __name__: 'up', job: 'a', instance: 'x' },
      { __name__: 'up', job: 'b', instance: 'x' },
    ]),
  ).toEqual(['{job="a"}', '{job="b"}']);
  expect(seriesNames([{ __name__: 'up' }])).toEqual(['up']);
  expect(
    seriesNames([
      { __name__: 'a', i: '1' },
      { __name__: 'b', i: '1' },
    ]),
  ).toEqual(['a', 'b']);
  expect(seriesNames([{}])).toEqual(['{}']);
  expect(metricText({ __name__: 'x', b: 'q"\n', a: '1' })).toBe('x{a="1", b="q\\"\\n"}');
});

test('the time axis names the day where it changes', () => {
  const midnight = Date.UTC(2026, 10, 21) / 1000;
  expect(timeLabels([midnight - 60, midnight, midnight + 60], 60, 'utc')).toEqual([
    '23:59',
    '11-21',
    '00:01',
  ]);
  expect(timeLabels([midnight, midnight + 5], 5, 'utc')).toEqual(['00:00:00', '00:00:05']);
});

describe('places of errors', () => {
  const cases: [string, string, [number, number] | null][] = [
    ['invalid parameter "query": 1:5: parse error: unexpected', 'sum(foo', [4, 7]],
    ['1:1: parse error: unknown function with name "rat"', 'rat(x)', [0, 3]],
    ['invalid parameter "query": 2:3: parse error: x', 'a +\n  * b', [6, 7]],
    ['1:8: parse error: unexpected end of input', 'sum(foo', [6, 7]],
    ['1:99: parse error: beyond', 'up', [1, 2]],
    ['9:1: parse error: no such line', 'up', null],
    ['query timed out', 'up', null],
    ['1:1: parse error: no expression found in input', '', [0, 0]],
  ];
  test.each(cases)('%s', (error, text, place) => {
    const found = errorPlace(error, text);
    expect(found && [found.from, found.to]).toEqual(place);
  });
  test('columns are bytes: what stands before may be longer in them', () => {
    const text = 'x{a="ä€😀"} +';
    expect(offset(text, 1, 1)).toBe(0);
    const bytes = new TextEncoder().encode('x{a="ä€😀"} ').length;
    expect(offset(text, 1, bytes + 1)).toBe(text.indexOf('+'));
  });
  test('the message loses its position', () => {
    expect(errorPlace('invalid parameter "query": 1:3: parse error: bad', 'up + +')?.message).toBe(
      'parse error: bad',
    );
  });
});

describe('the course of many figures', () => {
  const series = (figure: string, labels: Record<string, string>, ...values: [number, string][]) => ({
    metric: { figure, ...labels },
    values,
  });
  const course = new Course(
    [
      series('a', {}, [0, '1'], [10, '2']),
      series('b', {}, [10, '5'], [20, '6']),
      series('disk', { device: 'sdb' }, [0, '1']),
      series('disk', { device: 'sda' }, [0, '2']),
      series('disk', { device: 'sda' }, [0, '3']),
    ],
    0,
    20,
    10,
  );
  test('is taken apart by figure; what is missing is null, never nought', () => {
    expect(course.times).toEqual([0, 10, 20]);
    expect(course.one('a', 'A', 'c1')).toEqual([{ name: 'A', color: 'c1', values: [1, 2, null] }]);
    expect(course.one('none', 'N', 'c1')).toEqual([]);
    expect(course.values('none')).toEqual([null, null, null]);
    expect(course.computed(['a', 'b'], (a, b) => a + b)).toEqual([null, 7, null]);
  });
  test('lines have names of their own, in order', () => {
    const lines = course.each('disk', (l) => l['device'] ?? '');
    expect(lines.map((l) => [l.name, l.values[0]])).toEqual([
      ['sda', 2],
      ['sda (2)', 3],
      ['sdb', 1],
    ]);
    expect(
      course.each(
        'disk',
        () => '',
        (l) => l['device'] === 'sdb',
      ),
    ).toHaveLength(1);
  });
});
