import { describe, expect, test } from 'vitest';
import type { Finding } from '../../api/types';
import { fromFindings, fromParts, fromRules, severityOf, tally, tallyText, worstFirst } from './problems';
import { containersNow, hostNow, hostOver, readContainers, readHost } from './queries';
import { containerRows } from './rows';

const finding = (over: Partial<Finding>): Finding => ({
  fingerprint: 'f',
  rule: 'reverse-shell',
  severity: 'critical',
  title: 't',
  description: '',
  labels: {},
  first_unix_nano: '1000000000',
  last_unix_nano: '2000000000',
  count: 1,
  state: 'firing',
  ancestry: [],
  evidence: [],
  event_ids: [],
  ...over,
});

describe('what is wrong', () => {
  test('firing before pending before resolved, graver first, newer first', () => {
    const problems = worstFirst([
      ...fromFindings([
        finding({ fingerprint: 'resolved', state: 'resolved' }),
        finding({ fingerprint: 'old' }),
        finding({ fingerprint: 'new', last_unix_nano: '9000000000' }),
        finding({ fingerprint: 'mild', severity: 'info' }),
      ]),
      ...fromRules([
        {
          name: 'g',
          file: '',
          interval: 1,
          rules: [
            {
              type: 'alerting',
              name: 'R',
              query: 'q',
              health: 'ok',
              alerts: [
                { labels: { severity: 'page' }, annotations: { summary: 's' }, state: 'pending', value: '1' },
                { labels: { severity: 'warning' }, annotations: {}, state: 'firing', value: '1' },
                { labels: {}, annotations: {}, state: 'inactive', value: '1' },
              ],
            },
          ],
        },
      ]),
      ...fromParts([
        { name: 'sensor', health: 'failed', message: 'm', remedy: 'r', facts: [] },
        { name: 'x', health: 'off', message: '', remedy: '', facts: [] },
      ]),
    ]);
    expect(problems.map((p) => `${p.state} ${p.severity} ${p.kind}`)).toEqual([
      'firing critical finding',
      'firing critical finding',
      'firing critical part',
      'firing warning alert',
      'firing info finding',
      'pending critical alert',
      'resolved critical finding',
    ]);
    expect(problems[0]?.key).toBe('finding new');
    expect(tallyText(tally(problems))).toBe('3 critical, 1 warning');
  });
  test('foreign words for severity', () => {
    expect(['page', 'P1', undefined, 'none', 'Critical'].map(severityOf)).toEqual([
      'critical',
      'warning',
      'warning',
      'info',
      'critical',
    ]);
  });
});

describe('figures', () => {
  const sample = (figure: string, value: string, labels: Record<string, string> = {}) => ({
    metric: { figure, ...labels },
    value: [0, value] as [number, string],
  });
  test('of the machine', () => {
    const host = readHost([
      sample('cpu', '2', { mode: 'user' }),
      sample('cpu', '1', { mode: 'iowait' }),
      sample('cpu', '5', { mode: 'idle' }),
      sample('load1', '1.5'),
      sample('fs_size', '100', { device: 'a', mountpoint: '/data/x' }),
      sample('fs_avail', '10', { device: 'a', mountpoint: '/data/x' }),
      sample('fs_size', '100', { device: 'a', mountpoint: '/data' }),
      sample('fs_avail', '10', { device: 'a', mountpoint: '/data' }),
      sample('fs_size', '0', { device: 'none', mountpoint: '/proc' }),
      sample('memory_total', 'NaN'),
    ]);
    expect(host.busy).toBeCloseTo(0.25);
    expect(host.modes.get('iowait')).toBeCloseTo(0.125);
    expect(host.fileSystems.map((f) => f.mountpoint)).toEqual(['/data']);
    expect(host.one.has('memory_total')).toBe(false);
    expect(readHost([]).busy).toBeNaN();
  });
  test('of containers: no limit is no limit', () => {
    const all = readContainers([
      sample('limit', '9223372036854771712', { id: '/a' }),
      sample('memory', '5', { id: '/a' }),
      sample('limit', '0', { id: '/b' }),
    ]);
    expect(all.get('/a')).toEqual({ memory: 5 });
    expect(all.get('/b')).toEqual({});
  });
  test('questions are one expression each, with balanced brackets', () => {
    for (const query of [hostNow, containersNow, hostOver(60)]) {
      expect(query).toContain(' or ');
      for (const [open, close] of ['()', '[]', '{}'])
        expect(query.split(open ?? '').length).toBe(query.split(close ?? '').length);
    }
  });
  test('the worst container stands out', () => {
    const box = (name: string) => ({
      'container.id': name.repeat(20),
      'container.name': name,
      'container.image.name': '',
      'k8s.pod.name': '',
      'k8s.namespace.name': '',
      'k8s.pod.uid': '',
      'vedette.workload.kind': '',
      'vedette.workload.name': '',
      'container.runtime': '',
      cgroup: `/${name}`,
    });
    const rows = containerRows(
      [box('well'), box('full'), box('oom'), box('evil'), box('again')],
      new Map([
        ['/full', { memory: 99, limit: 100 }],
        ['/oom', { oom: 2 }],
      ]),
      new Map([['/again', 3]]),
      new Map(),
      fromFindings([
        finding({ labels: { container: 'evil' } }),
        finding({ state: 'resolved', labels: { container: 'well' } }),
      ]),
    );
    const order = [...rows].sort((a, b) => b.wrong - a.wrong).map((r) => `${r.short}: ${r.word}`);
    expect(order).toEqual([
      'evil: Finding',
      'full: At limit',
      'oom: OOM killed',
      'again: Restarted',
      'well: Well',
    ]);
  });
});
