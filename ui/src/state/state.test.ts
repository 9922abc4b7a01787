import { describe, expect, test } from 'vitest';
import { baseOf, below } from './base';
import { LiveBuffer } from './live';
import {
  absolute,
  aligned,
  describe as describeRange,
  durationMs,
  durationText,
  instantMs,
  isRelative,
  resolve,
  shift,
  stepFor,
  zoom,
} from './range';
import { address, changed, containerPath, hostPath, link, nameIn, pageOf, redirect } from './url';

const now = Date.UTC(2026, 10, 21, 12);

describe('ranges', () => {
  const instants: [string, number][] = [
    ['now', now],
    ['now-1h', now - 3_600_000],
    ['now-1h30m', now - 5_400_000],
    ['1763726400000', 1_763_726_400_000],
    ['1763726400', 1_763_726_400_000],
    ['2026-11-21', Date.UTC(2026, 10, 21)],
    ['2026-11-21 14:00', Date.UTC(2026, 10, 21, 14)],
    ['2026-11-21T14:00:00+02:00', Date.UTC(2026, 10, 21, 12)],
    ['now-', NaN],
    ['now-5parsecs', NaN],
    ['yesterday', NaN],
    ['', NaN],
  ];
  test.each(instants)('%s', (text, ms) => expect(instantMs(text, now)).toBe(ms));

  test('what means nothing, or is turned around, is the default', () => {
    const fallback = { fromMs: now - 900_000, toMs: now };
    expect(resolve({ from: 'x', to: 'now' }, now)).toEqual(fallback);
    expect(resolve({ from: 'now', to: 'now-1h' }, now)).toEqual(fallback);
  });
  test('durations there and back', () => {
    for (const text of ['15s', '1h30m', '2d', '250ms']) expect(durationText(durationMs(text))).toBe(text);
    expect(durationText(durationMs('90m'))).toBe('1h30m');
    expect(durationMs('5')).toBeNaN();
    expect(durationMs('1h x')).toBeNaN();
  });
  test('zooming keeps the end of a live range and the middle of a fixed one', () => {
    expect(zoom({ from: 'now-1h', to: 'now' }, { fromMs: now - 3_600_000, toMs: now }, 2)).toEqual({
      from: 'now-2h',
      to: 'now',
    });
    const fixed = { fromMs: now - 100_000, toMs: now };
    expect(zoom(absolute(fixed), fixed, 0.5)).toEqual({
      from: String(now - 75_000),
      to: String(now - 25_000),
    });
    expect(zoom({ from: 'now-1s', to: 'now' }, { fromMs: now - 1000, toMs: now }, 0.5).from).toBe('now-1s');
  });
  test('shifting makes a range fixed', () => {
    const moved = shift({ fromMs: now - 1000, toMs: now }, -0.5);
    expect(moved).toEqual({ from: String(now - 1500), to: String(now - 500) });
    expect(isRelative(moved)).toBe(false);
  });
  test('steps are round and enough', () => {
    expect(stepFor({ fromMs: 0, toMs: 900_000 }, 180)).toBe(5);
    expect(stepFor({ fromMs: 0, toMs: 1000 }, 180)).toBe(1);
    for (const days of [1, 30, 3000]) {
      const span = { fromMs: 0, toMs: days * 86_400_000 };
      expect((span.toMs - span.fromMs) / 1000 / stepFor(span, 200)).toBeLessThanOrEqual(200);
    }
    expect(aligned({ fromMs: 1001, toMs: 10_999 }, 5)).toEqual({ start: 5, end: 10 });
  });
  test('are told in words', () => {
    expect(describeRange({ from: 'now-1h', to: 'now' }, String, now)).toBe('Last hour');
    expect(describeRange({ from: 'now-7m', to: 'now' }, String, now)).toBe('Last 7m');
  });
});

describe('addresses', () => {
  test('range and zone go along, the rest does not', () => {
    const current = new URLSearchParams('from=now-1h&to=now&tz=utc&q=up&sort=-cpu');
    expect(link('/alerts', { alert: 'a b' }, current)).toBe('/alerts?from=now-1h&to=now&tz=utc&alert=a+b');
    expect(link('/explore/events', { from: '5', to: null }, current)).toBe('/explore/events?tz=utc&from=5');
  });
  test('changes replace, lists repeat, empty takes away', () => {
    const params = changed(new URLSearchParams('a=1&b=2&k=x'), {
      a: '',
      b: null,
      k: ['exec', 'exit'],
      n: '3',
    });
    expect(params.toString()).toBe('k=exec&k=exit&n=3');
    expect(address({ path: '/', params: new URLSearchParams() })).toBe('/');
  });
  test('pages', () => {
    expect(pageOf('/')).toBe('/');
    expect(pageOf('/explore/metrics/')).toBe('/explore/metrics');
    expect(pageOf('/explore/secrets')).toBeNull();
    expect(pageOf('/containers/')).toBe('/containers');
    expect(pageOf('/hostsandmore')).toBeNull();
  });
  test('a host and a cgroup stand in the address, whatever they are called', () => {
    for (const instance of ['vm', 'a.example:9100', 'a/b c?d#e%2F']) {
      const path = hostPath(instance);
      expect(new URL(path, 'http://x').pathname).toBe(path);
      expect(pageOf(path)).toBe('/hosts/*');
      expect(nameIn(path, '/hosts/*')).toBe(instance);
    }
    for (const cgroup of ['/k8s.io/a', '/system.slice/cri-containerd-0.scope', '/kubepods/pod 1/ü:%x?y']) {
      const path = containerPath(cgroup);
      expect(new URL(path, 'http://x').pathname).toBe(path);
      expect(pageOf(path)).toBe('/containers/*');
      expect(`/${nameIn(path, '/containers/*')}`).toBe(cgroup);
    }
    expect(nameIn('/hosts/%E0%A4%A', '/hosts/*')).toBe('%E0%A4%A');
    expect(nameIn('/alerts', '/alerts')).toBe('');
  });
  const old: [string, string, string | null][] = [
    ['/graph', 'g0.expr=up&g0.tab=0&g0.range_input=2h', '/explore/metrics?q=up&from=now-2h&to=now'],
    [
      '/graph',
      'g0.expr=up&g1.expr=rate(x%5B1m%5D)&g0.tab=1',
      '/explore/metrics?q=up&q=rate%28x%5B1m%5D%29&tab=table&from=now-1h&to=now',
    ],
    [
      '/query',
      'g0.expr=up&g0.tab=graph&g0.end_input=2026-11-21%2012:00&g0.range_input=1m',
      `/explore/metrics?q=up&from=${now - 60_000}&to=${now}`,
    ],
    ['/graph', 'g0.expr=up&g0.tab=0&g0.range_input=ages&g0.step_input=30', '/explore/metrics?q=up&step=30'],
    ['/graph', '', '/explore/metrics?tab=table&from=now-1h&to=now'],
    ['/rules', '', '/alerts?show=rules'],
    ['/targets', 'x=1', '/status/targets'],
    ['/service-discovery', '', '/status/discovery'],
    ['/tsdb-status', '', '/status/storage'],
    ['/config', '', '/status/configuration'],
    ['/flags', '', '/status/configuration'],
    ['/alerts', '', null],
  ];
  test.each(old)('%s?%s leads to %s', (path, query, expected) => {
    const place = redirect({ path, params: new URLSearchParams(query) });
    expect(place ? address(place) : null).toBe(expected);
  });
});

describe('the live tail', () => {
  const rows = (...ids: number[]): { id: string }[] => ids.map((id) => ({ id: String(id) }));
  const ids = (list: { id: string }[]): number[] => list.map((r) => Number(r.id));

  test('while held, what is shown does not change', () => {
    const buffer = new LiveBuffer<{ id: string }>();
    buffer.reset(rows(3, 2, 1));
    buffer.held = true;
    const before = buffer.rows;
    buffer.push(rows(4, 5));
    buffer.push(rows(6));
    expect(buffer.rows).toBe(before);
    expect(ids(buffer.waiting)).toEqual([6, 5, 4]);
    buffer.release();
    expect(ids(buffer.rows)).toEqual([6, 5, 4, 3, 2, 1]);
    expect(buffer.waiting).toEqual([]);
  });
  test('a row comes once, whoever brings it', () => {
    const buffer = new LiveBuffer<{ id: string }>();
    buffer.reset(rows(3, 2));
    buffer.push(rows(3, 4));
    buffer.push(rows(4));
    buffer.extend(rows(2, 1));
    expect(ids(buffer.rows)).toEqual([4, 3, 2, 1]);
  });
  test('memory is bounded and what is dropped is counted', () => {
    const buffer = new LiveBuffer<{ id: string }>(3);
    buffer.reset(rows(1));
    buffer.held = true;
    buffer.push(rows(2, 3, 4, 5));
    expect(ids(buffer.waiting)).toEqual([5, 4, 3]);
    expect(buffer.dropped).toBe(1);
    buffer.release();
    expect(ids(buffer.rows)).toEqual([5, 4, 3]);
    expect(buffer.dropped).toBe(0);
  });
});

describe('behind a proxy', () => {
  test('the base is as far up from the page as the server tells', () => {
    expect(baseOf('./', 'http://a/')).toBe('');
    expect(baseOf('../', 'http://a/explore/metrics?q=up')).toBe('');
    expect(baseOf('./', 'https://a/tools/vedette/alerts')).toBe('/tools/vedette');
    expect(baseOf('../../', 'https://a/v/containers/a/b')).toBe('/v');
  });

  test('paths are told from the base on', () => {
    expect(below('/v', '/v/alerts')).toBe('/alerts');
    expect(below('/v', '/v')).toBe('/');
    expect(below('/v', '/vault')).toBe('/vault');
    expect(below('', '/alerts')).toBe('/alerts');
  });
});
