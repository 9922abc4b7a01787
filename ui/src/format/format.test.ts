import { describe, expect, test } from 'vitest';
import { parseExposition } from './exposition';
import { containerName, endpoint, place, shortPlace, summary } from './names';
import { age, clockTime, dateTime, isZone, nanosToMs, zoneLabel } from './time';
import { format, seconds, unitOf, type Unit, grouped, untilFull } from './units';

const plain = (text: string): string => text.replaceAll('\u00a0', ' ');

describe('numbers', () => {
  const cases: [number | null, Unit, string][] = [
    [null, 'bytes', '–'],
    [NaN, 'none', '–'],
    [Infinity, 'none', '+∞'],
    [0, 'bytes', '0 B'],
    [512, 'bytes', '512 B'],
    [1023.9, 'bytes', '1.00 KiB'],
    [1536, 'bytes', '1.50 KiB'],
    [1024 ** 3 * 1.5, 'bytes', '1.50 GiB'],
    [-2048, 'bytes', '-2 KiB'],
    [5e6, 'bytes/s', '4.77 MiB/s'],
    [0, 'ratio', '0 %'],
    [0.0004, 'ratio', '<0.1 %'],
    [0.042, 'ratio', '4.2 %'],
    [0.5, 'ratio', '50 %'],
    [0.25, 'cores', '250 m'],
    [1.5, 'cores', '1.50 cores'],
    [0, 'cores', '0 cores'],
    [1, 'cores', '1 core'],
    [54.26, 'celsius', '54.3 °C'],
    [1234567, 'none', '1.23M'],
    [999.7, 'none', '1000'],
    [42, 'count', '42'],
    [0.001, 'seconds', '1 ms'],
    [90, 'seconds', '1 min 30 s'],
  ];
  test.each(cases)('%s as %s is %s', (value, unit, text) => expect(plain(format(value, unit))).toBe(text));

  test('lengths of time show their two largest parts', () => {
    expect(plain(seconds(59.4))).toBe('59.4 s');
    expect(plain(seconds(3600))).toBe('1 h');
    expect(plain(seconds(86_400 + 3600 * 5 + 59))).toBe('1 d 5 h');
    expect(plain(seconds(-120))).toBe('−2 min');
    expect(plain(seconds(2e-6))).toBe('2 µs');
  });

  const units: [string, Unit][] = [
    ['node_memory_MemTotal_bytes', 'bytes'],
    ['sum(rate(node_network_receive_bytes_total{device="eth0"}[1m]))', 'bytes/s'],
    ['rate(node_cpu_seconds_total[1m])', 'none'],
    ['node_boot_time_seconds', 'none'],
    ['scrape_duration_seconds', 'seconds'],
    ['a_bytes / b_bytes', 'none'],
    ['node_filesystem_avail_bytes{mountpoint="/"}', 'bytes'],
    ['count(node_memory_MemTotal_bytes)', 'none'],
    ['up', 'none'],
  ];
  test.each(units)('%s is in %s', (query, unit) => expect(unitOf(query)).toBe(unit));
});

describe('times', () => {
  const ms = Date.UTC(2026, 10, 21, 2, 15, 41, 123);
  test('follow the zone', () => {
    expect(dateTime(ms, 'utc')).toBe('2026-11-21 02:15:41');
    expect(dateTime(ms, 'Asia/Kolkata')).toBe('2026-11-21 07:45:41');
    expect(dateTime(ms, 'America/New_York')).toBe('2026-11-20 21:15:41');
    expect(clockTime(ms, 'utc', true)).toBe('02:15:41.123');
    expect(zoneLabel('utc', ms)).toBe('UTC');
    expect(dateTime(NaN, 'utc')).toBe('–');
  });
  test('zones are checked', () => {
    expect(isZone('browser') && isZone('utc') && isZone('Europe/Berlin')).toBe(true);
    expect(isZone('Middle/Earth')).toBe(false);
  });
  test('ages', () => {
    expect(plain(age(ms - 12_000, ms))).toBe('12 s ago');
    expect(plain(age(ms + 180_000, ms))).toBe('in 3 min');
    expect(age(ms, ms)).toBe('now');
  });
  test('nanoseconds keep their milliseconds', () => {
    expect(nanosToMs('1795227341123456789')).toBeCloseTo(1795227341123.456, 3);
    expect(nanosToMs('soon')).toBeNaN();
  });
});

test('exposition text is read with help and type of the family', () => {
  const rows = parseExposition(
    '# HELP a_total Things.\n# TYPE a_total counter\na_total{x="1 }"} 5\n# TYPE h_seconds histogram\nh_seconds_bucket{le="+Inf"} 3\nh_seconds_sum 1.5 1700000000000\nnot a line\nup NaN\nq +Inf\n',
  );
  expect(rows.map((r) => [r.name, r.labels, r.value, r.type])).toEqual([
    ['a_total', 'x="1 }"', 5, 'counter'],
    ['h_seconds_bucket', 'le="+Inf"', 3, 'histogram'],
    ['h_seconds_sum', '', 1.5, 'histogram'],
    ['up', '', NaN, ''],
    ['q', '', Infinity, ''],
  ]);
  expect(rows[0]?.help).toBe('Things.');
});

describe('names', () => {
  test('of containers', () => {
    expect(containerName({ 'container.id': 'a'.repeat(64), 'container.name': '' })).toBe('a'.repeat(12));
    expect(
      containerName({ 'container.name': 'web', 'k8s.pod.name': 'web-1', 'k8s.namespace.name': 'shop' }),
    ).toBe('shop/web-1/web');
  });
  test('of endpoints', () => {
    expect(endpoint('::1', 80)).toBe('[::1]:80');
    expect(endpoint('10.0.0.1', 80)).toBe('10.0.0.1:80');
    expect(endpoint(undefined, undefined)).toBe('?');
  });
  test('summaries say what happened', () => {
    const base = { id: '1', time_unix_nano: '1', 'host.name': 'h' };
    expect(summary({ ...base, kind: 'exit', 'process.exit.code': 9, 'vedette.exit.signal': true })).toBe(
      'ended by signal 9',
    );
    expect(
      summary({
        ...base,
        kind: 'stream_redirect',
        'vedette.stream': 0,
        'network.peer.address': '1.2.3.4',
        'network.peer.port': 5,
      }),
    ).toBe('standard input → 1.2.3.4:5');
    expect(
      summary({ ...base, kind: 'exec', 'process.command_line': 'x', 'vedette.exec.unlinked': true }),
    ).toContain('no file');
    expect(summary({ ...base, kind: 'loss', 'vedette.count': 3, 'vedette.loss.place': 'bulk' })).toBe(
      '3 events lost (bulk)',
    );
    const told = {
      ...base,
      kind: 'kubernetes' as const,
      'k8s.event.reason': 'BackOff',
      'k8s.object.kind': 'Pod',
      'k8s.object.name': 'web-1',
      'k8s.namespace.name': 'shop',
      'vedette.k8s.event.note': 'Back-off restarting',
    };
    expect(summary({ ...told, 'k8s.event.count': 12 })).toBe(
      'BackOff: Pod shop/web-1: Back-off restarting (12 times)',
    );
    const asked = {
      ...base,
      kind: 'audit' as const,
      'user.name': 'alice',
      'vedette.k8s.audit.verb': 'create',
      'vedette.k8s.resource': 'deployments',
      'k8s.object.name': 'web',
      'k8s.namespace.name': 'shop',
    };
    expect(summary(asked)).toBe('alice: create deployments shop/web');
    const inCluster = { ...asked, 'k8s.cluster.name': 'main' };
    expect([place(inCluster), shortPlace(inCluster)]).toEqual(['main', 'main']);
    expect([place(asked), shortPlace(asked)]).toEqual([base['host.name'], base['host.name']]);
    expect(
      summary({ ...asked, 'vedette.k8s.audit.impersonator': 'admin', 'client.address': '10.0.0.7' }),
    ).toBe('alice: create deployments shop/web (asked by admin, from 10.0.0.7)');
    expect(summary({ ...told, 'k8s.event.count': 1 })).toBe('BackOff: Pod shop/web-1: Back-off restarting');
  });
});

describe('counts and times to come', () => {
  test('long numbers stand in groups', () => {
    expect([
      grouped(1234),
      grouped(12345),
      grouped('1623776'),
      grouped(-123456),
      grouped('0 lost 12345'),
    ]).toEqual(['1234', '12\u202f345', '1\u202f623\u202f776', '-123\u202f456', '0 lost 12345']);
  });
  test('what never fills says so', () => {
    expect([untilFull(undefined), untilFull(Infinity), untilFull(0), untilFull(25.5)]).toEqual([
      '–',
      'does not fill',
      'full',
      '1\u00a0d 1\u00a0h',
    ]);
  });
});
