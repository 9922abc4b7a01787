import { describe, expect, test } from 'vitest';
import type { VectorSample } from '../../api/prometheus';
import {
  containerNow,
  containerOver,
  growth,
  limitOf,
  listNow,
  readWho,
  runtimeId,
  whoQuery,
} from '../container/queries';
import { listRows } from '../container/list';
import type { Problem } from '../home/problems';
import { storageHealth } from '../machine/health';
import { hostRows, hostsNow } from '../machine/hosts';
import {
  cpuShares,
  diskRows,
  fileSystems,
  hostsQuery,
  interfaceRows,
  judgeFull,
  machineNow,
  machineOver,
  machineSlow,
  readHosts,
  sensorName,
} from '../machine/queries';
import { accused } from './accused';
import { Figures, figureQueries, figures as oneQuery, matchers, rateWindow } from './figures';

const sample = (figure: string, value: string, labels: Record<string, string> = {}): VectorSample => ({
  metric: { figure, ...labels },
  value: [0, value],
});
const figures = (...samples: VectorSample[]): Figures => new Figures(samples);

describe('questions', () => {
  test('rates look back four samples, by windows of few lengths', () => {
    expect(rateWindow(120)).toBe('15s');
    expect(rateWindow(24)).toBe('30s');
    expect(rateWindow(8)).toBe('60s');
    expect(rateWindow(4)).toBe('120s');
    expect(rateWindow(2)).toBe('300s');
    expect(rateWindow(0)).toBe('15s');
    expect(rateWindow(120, 60)).toBe('120s');
  });
  test('names that others gave stay inside their quotes', () => {
    expect(matchers({ id: 'a"} or up{x="', job: '\\' })).toBe('id="a\\"} or up{x=\\"",job="\\\\"');
  });
  test('long names make more queries, not longer ones, and lose no figure', () => {
    const of = Object.fromEntries(
      Array.from({ length: 30 }, (_, i) => [`f${i}`, `m{x="${'y'.repeat(200)}"}`]),
    );
    const queries = figureQueries(of);
    expect(queries.length).toBeGreaterThan(1);
    for (const query of queries) expect(encodeURIComponent(query).length).toBeLessThan(3000);
    const found = [...queries.join(' ').matchAll(/"figure", "(f\d+)"/g)].map((m) => m[1]);
    expect(found).toEqual(Object.keys(of));
    expect(figureQueries({ a: 'x' })).toEqual([oneQuery({ a: 'x' })]);
  });
  test('each is one expression with balanced brackets', () => {
    const host = { instance: 'a', job: 'b', samples: 120 };
    const who = { instance: 'a', job: 'b', cgroup: '/c', labels: { pod: 'p' }, samples: 1, there: true };
    for (const query of [
      hostsQuery(900),
      hostsQuery(900, 'a'),
      hostsNow,
      ...machineNow(host, '15s'),
      ...machineSlow(host),
      ...machineOver(host, '15s'),
      listNow('15s'),
      whoQuery('/c', '', 900),
      ...containerNow(who, '15s'),
      ...containerOver(who, '15s'),
    ]) {
      expect(query).toContain('label_replace(');
      expect(query).not.toMatch(/,,|,\}|\{,|undefined/);
      for (const [open, close] of ['()', '[]', '{}'])
        expect(query.split(open ?? '').length).toBe(query.split(close ?? '').length);
    }
  });
});

describe('machines', () => {
  test('one entry an instance, of the job that still collects it', () => {
    const at = (instance: string, job: string) => ({ instance, job });
    const hosts = readHosts(
      figures(
        sample('seen', '1', at('b', 'old')),
        sample('seen', '1', at('b', 'new')),
        sample('seen', '1', at('a', 'old')),
        sample('samples', '24', at('b', 'new')),
      ),
    );
    expect(hosts).toEqual([
      { instance: 'a', job: 'old', samples: 0 },
      { instance: 'b', job: 'new', samples: 24 },
    ]);
    const rows = hostRows(
      hosts,
      figures(
        sample('cpus', '4', at('b', 'new')),
        sample('load1', '2', at('b', 'new')),
        sample('cpu', '3', { ...at('b', 'new'), mode: 'idle' }),
        sample('cpu', '1', { ...at('b', 'new'), mode: 'user' }),
      ),
    );
    expect(rows.map((r) => [r.instance, r.silent, r.load, r.busy])).toEqual([
      ['a', 1, undefined, undefined],
      ['b', 0, 0.5, 0.25],
    ]);
  });
  test('waiting for disks is no work', () => {
    const { busy } = cpuShares(
      figures(
        sample('cpu', '1', { mode: 'idle' }),
        sample('cpu', '1', { mode: 'iowait' }),
        sample('cpu', '2', { mode: 'user' }),
      ),
    );
    expect(busy).toBe(0.5);
    expect(cpuShares(figures()).busy).toBeNaN();
  });
  test('a device stands once, the fullest first', () => {
    const of = (device: string, mountpoint: string) => ({ device, mountpoint, fstype: 'ext4' });
    const found = fileSystems(
      figures(
        sample('fs_size', '100', of('a', '/data/x')),
        sample('fs_free', '50', of('a', '/data/x')),
        sample('fs_size', '100', of('a', '/data')),
        sample('fs_free', '50', of('a', '/data')),
        sample('fs_size', '100', of('b', '/')),
        sample('fs_free', '10', of('b', '/')),
        sample('fs_hours', '+Inf', of('b', '/')),
        sample('fs_size', '0', of('c', '/empty')),
      ),
    );
    expect(found.map((r) => [r.labels['mountpoint'], r.used, r.figures['fs_hours']])).toEqual([
      ['/', 0.9, Infinity],
      ['/data', 0.5, undefined],
    ]);
  });
  test('soon full is as bad as nearly full', () => {
    expect(judgeFull(0.2, undefined)).toBe('ok');
    expect(judgeFull(0.2, Infinity)).toBe('ok');
    expect(judgeFull(0.2, 23)).toBe('warning');
    expect(judgeFull(0.2, 3)).toBe('critical');
    expect(judgeFull(0.96, Infinity)).toBe('critical');
  });
  test('what is derived of disks, interfaces and sensors', () => {
    const [disk] = diskRows(
      figures(
        sample('reads', '1', { device: 'a' }),
        sample('writes', '3', { device: 'a' }),
        sample('read_time', '0.2', { device: 'a' }),
        sample('write_time', '0.2', { device: 'a' }),
      ),
    );
    expect([disk?.figures['requests'], disk?.figures['wait']]).toEqual([4, 0.1]);
    const [card] = interfaceRows(
      figures(sample('speed', '-125000', { device: 'e' }), sample('receive_drops', '2', { device: 'e' })),
    );
    expect([card?.figures['speed'], card?.figures['drops']]).toEqual([undefined, 2]);
    const slow = figures(
      sample('chip', '1', { chip: 'c0', chip_name: 'coretemp' }),
      sample('sensor', '1', { chip: 'c0', sensor: 'temp1', label: 'Package' }),
    );
    expect(sensorName({ chip: 'c0', sensor: 'temp1' }, slow)).toBe('coretemp Package');
    expect(sensorName({ chip: 'c1', sensor: 'temp2' }, slow)).toBe('c1 temp2');
  });
  test('storage that is broken stands above storage that fills', () => {
    const parts = storageHealth(
      figures(
        sample('vg_size', '10', { vg: 'v' }),
        sample('vg_missing', '0', { vg: 'v' }),
        sample('pool_data', '88', { vg: 'v', lv: 'p' }),
        sample('pool_state', '1', { vg: 'v', lv: 'p', state: 'rw' }),
        sample('pool_data', '1', { vg: 'v', lv: 'q' }),
        sample('pool_state', '1', { vg: 'v', lv: 'q', state: 'out_of_data_space' }),
        sample('md_required', '2', { device: 'md0' }),
        sample('md_disks', '1', { device: 'md0', state: 'active' }),
        sample('wear', '95', { device: 'nvme0' }),
        sample('wear', '5', { device: 'nvme1' }),
      ),
    );
    expect(parts.map((p) => [p.key, p.state, p.word])).toEqual([
      ['md md0', 'critical', 'Degraded'],
      ['pool v/q', 'critical', 'out of data space'],
      ['nvme nvme0', 'warning', 'Worn'],
      ['pool v/p', 'warning', 'Filling'],
      ['nvme nvme1', 'ok', 'Well'],
      ['vg v', 'ok', 'Well'],
    ]);
  });
});

describe('containers', () => {
  const id = 'ab'.repeat(32);
  test('the newest life of the cgroup on each machine, those that are there first', () => {
    const at = (instance: string, name: string) => ({ instance, job: 'k', id: '/c', name });
    const list = readWho(
      figures(
        sample('seen', '5', at('gone', 'x')),
        sample('seen', '1', at('here', 'old')),
        sample('seen', '4', at('here', 'new')),
        sample('there', '4', { instance: 'here', job: 'k' }),
        sample('samples', '7', { instance: 'here', job: 'k' }),
      ),
      '/c',
    );
    expect(list.map((w) => [w.instance, w.labels['name'], w.there, w.samples])).toEqual([
      ['here', 'new', true, 7],
      ['gone', 'x', false, 0],
    ]);
  });
  test('its id is what the runtime calls it', () => {
    expect(runtimeId({ name: id, id: '/x' })).toBe(id);
    expect(runtimeId({ name: 'web', id: `/docker/${id}` })).toBe(id);
    expect(runtimeId({ name: 'web', id: `/system.slice/cri-containerd-${id}.scope` })).toBe(id);
    expect(runtimeId({ name: 'burner', id: '/k8s.io/burner' })).toBe('burner');
  });
  test('no limit is no limit, and kills are where the counter grew', () => {
    expect([limitOf(0), limitOf(2 ** 63), limitOf(-1), limitOf(NaN), limitOf(5)]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      5,
    ]);
    expect(growth([null, 3, 3, null, 4, 0, 1], [0, 1, 2, 3, 4, 5, 6])).toEqual([4, 6]);
  });
  test('the same cgroup on two machines is two rows, each with its own figures', () => {
    const at = (instance: string) => ({ instance, id: '/c' });
    const rows = listRows(
      figures(
        sample('start', '1', { ...at('a'), name: 'web', job: 'x' }),
        sample('start', '1', { ...at('a'), name: 'web', job: 'y' }),
        sample('start', '1', { ...at('b'), name: 'web' }),
        sample('memory', '99', at('b')),
        sample('limit', '100', at('b')),
        sample('limit', '0', at('a')),
      ),
      figures(sample('restarts', '2', at('a'))),
      undefined,
      [],
    );
    expect(rows.map((r) => [r.host, r.memory, r.share, r.restarts])).toEqual([
      ['a', undefined, undefined, 2],
      ['b', 99, 0.99, undefined],
    ]);
  });
});

describe('what names a thing', () => {
  const problem = (labels: Record<string, string>, kind: Problem['kind'] = 'alert'): Problem => ({
    key: JSON.stringify(labels),
    kind,
    severity: 'warning',
    state: 'firing',
    title: '',
    text: '',
    next: '',
    sinceMs: 0,
    lastMs: 0,
    labels,
  });
  const of = (labels: Record<string, string>, cgroup?: string): boolean =>
    accused([problem(labels)], {
      instance: 'vm',
      ...(cgroup === undefined ? {} : { cgroup, names: ['web', 'ab'.repeat(32)] }),
    }).length === 1;
  test('a machine by instance or host', () => {
    expect(of({ instance: 'vm' })).toBe(true);
    expect(of({ host: 'vm', container: 'web' })).toBe(true);
    expect(of({ instance: 'other' })).toBe(false);
    expect(of({})).toBe(false);
    expect(accused([problem({ instance: 'vm' }, 'part')], { instance: 'vm' })).toEqual([]);
  });
  test('a container by its cgroup, else by a name, on its own machine only', () => {
    expect(of({ id: '/c', name: 'web' }, '/c')).toBe(true);
    expect(of({ id: '/d', name: 'web' }, '/c')).toBe(false);
    expect(of({ container_id: 'abababababab' }, '/c')).toBe(true);
    expect(of({ container: 'web', instance: 'other' }, '/c')).toBe(false);
    expect(of({ instance: 'vm' }, '/c')).toBe(false);
  });
});
