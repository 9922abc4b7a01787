// A stand-in for Vedette's HTTP side, for developing the web app and for its browser tests. Never
// shipped. `node mock/server.mjs [--port N] [--dist]`; with --dist it serves the built app too,
// under the same strict policy as the real server.
import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { capacity } from './capacity.mjs';
import { clusters } from './clusters.mjs';
import { processesOf } from './machine.mjs';
import { PromqlError, evaluate, parse } from './promql.mjs';
import {
  configYaml,
  discoveryProblems,
  flags,
  headStatus,
  relabelSteps,
  scraped,
  sealed,
} from './scrape.mjs';
import { attack, hostName, makeContainers, makeEvent, makeStore, startedMs } from './world.mjs';

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
};

export function startMock({ port = 0, dist = false, containers: count = 14 } = {}) {
  const containers = makeContainers(count);
  const store = makeStore(containers);
  const last = () => Math.floor((Date.now() - startedMs + 3_600_000) / 1300);
  // Attack ids lie between ordinary ones, at the time when it happened.
  const attackAt = Math.floor((5 * 60_000 + 3_600_000) / 1300);
  const { events: special, finding } = attack(containers, attackAt * 100 + 10);
  const byId = new Map(special.map((e) => [e.id, e]));
  const event = (n) => ({ ...makeEvent(n, containers), id: String(n * 100) });

  function* newestFirst(before) {
    const limit = before ?? Infinity;
    const stories = [...special].reverse();
    for (let n = Math.min(last(), Math.floor(limit / 100)); n >= 0; n -= 1) {
      while (stories.length > 0 && Number(stories[0].id) > n * 100) {
        const one = stories.shift();
        if (Number(one.id) < limit) yield one;
      }
      if (n * 100 < limit) yield event(n);
    }
  }

  function fits(e, params) {
    const kinds = params.getAll('kind');
    if (kinds.length > 0 && !kinds.includes(e.kind)) return false;
    const container = params.get('container');
    if (container && !(e['container.id']?.startsWith(container) || e['container.name'] === container))
      return false;
    const process = params.get('process');
    if (process && `${e['process.pid']}:${e['process.start_ns']}` !== process) return false;
    const severity = ['info', 'warning', 'critical'].indexOf(params.get('severity') ?? '');
    if (
      severity >= 0 &&
      !(e.finding && ['info', 'warning', 'critical'].indexOf(e.finding.severity) >= severity)
    )
      return false;
    const text =
      `${e['process.command_line']} ${e['process.executable.path']} ${e['container.name'] ?? ''} ${e['network.peer.address'] ?? ''} ${e.finding?.title ?? ''}`.toLowerCase();
    return (params.get('text') ?? '')
      .toLowerCase()
      .split(/\s+/)
      .every((w) => text.includes(w));
  }

  const rules = () => {
    const now = new Date().toISOString();
    const since = (ms) => new Date(Date.now() - ms).toISOString();
    const rule = (name, query, severity, duration, alerts, extra = {}) => ({
      state: alerts.length > 0 ? alerts[0].state : 'inactive',
      name,
      query,
      duration,
      keepFiringFor: 0,
      labels: { severity },
      annotations: { summary: '{{ $labels.instance }}' },
      alerts,
      health: 'ok',
      evaluationTime: 0.0004,
      lastEvaluation: now,
      type: 'alerting',
      ...extra,
    });
    const disk = {
      alertname: 'DiskFullWithinDay',
      severity: 'warning',
      instance: hostName,
      device: '/dev/nvme1n1',
      mountpoint: '/var/lib/containerd',
    };
    const oom = {
      alertname: 'ContainerOomKilled',
      severity: 'warning',
      instance: hostName,
      container: 'search',
      container_id: containers[2].id.slice(0, 12),
    };
    const io = { alertname: 'IoWaitSaturation', severity: 'warning', instance: hostName };
    return [
      {
        name: 'host',
        file: 'built-in/host.yaml',
        interval: 5,
        limit: 0,
        rules: [
          rule(
            'DiskFullWithinDay',
            'predict_linear(node_filesystem_avail_bytes[1h], 24 * 3600) < 0',
            'warning',
            300,
            [
              {
                labels: disk,
                state: 'firing',
                activeAt: since(47 * 60_000),
                value: '-1.2e+10',
                annotations: {
                  summary: 'Disk /var/lib/containerd will be full within 24 hours',
                  description:
                    'At the pace of the last hour the file system on /dev/nvme1n1 is full in about 19 hours. 63 GB are free.',
                  remedy: 'Remove unused images (crictl rmi --prune) or enlarge the volume.',
                },
              },
            ],
          ),
          rule(
            'IoWaitSaturation',
            'avg by (instance) (rate(node_cpu_seconds_total{mode="iowait"}[1m])) > 0.2',
            'warning',
            60,
            [
              {
                labels: io,
                state: 'pending',
                activeAt: since(21_000),
                value: '2.3e-01',
                annotations: { summary: 'Processors wait for disks' },
              },
            ],
          ),
          rule(
            'MemoryPressure',
            'rate(node_pressure_memory_waiting_seconds_total[1m]) > 0.1',
            'warning',
            60,
            [],
          ),
        ],
      },
      {
        name: 'containers',
        file: 'built-in/containers.yaml',
        interval: 5,
        limit: 0,
        rules: [
          rule('ContainerOomKilled', 'increase(container_oom_events_total[10m]) > 0', 'warning', 0, [
            {
              labels: oom,
              state: 'firing',
              activeAt: since(4 * 60_000),
              value: '2',
              annotations: {
                summary: 'search was killed for want of memory',
                description:
                  'The kernel killed a process of shop/search twice in 10 minutes; its limit is 1 GiB.',
                remedy: 'Raise the limit or find what grows: the graph shows its memory.',
                runbook_url: 'https://example.org/runbooks/oom',
              },
            },
          ]),
          rule('ContainerRestarts', 'changes(container_start_time_seconds[15m]) > 2', 'warning', 0, []),
        ],
      },
      {
        name: 'vedette',
        file: 'built-in/vedette.yaml',
        interval: 5,
        limit: 0,
        rules: [
          rule('VedetteLosesEvents', 'rate(vedette_sensor_lost_events_total[5m]) > 0', 'warning', 0, []),
        ],
      },
    ];
  };

  const parts = () => {
    const fact = (name, value) => ({ name, value: String(value) });
    const part = (name, health, message, remedy, ...facts) => ({ name, health, message, remedy, facts });
    return [
      part(
        'collector.node',
        'ok',
        '',
        '',
        fact('interval', '1 s'),
        fact('series', 1284),
        fact('last pass', '3.1 ms'),
        ...['arp', 'bonding', 'btrfs', 'drbd', 'infiniband', 'nfs', 'zfs'].map((name) =>
          fact(name, `not on this machine: /proc/net/${name}`),
        ),
      ),
      part(
        'collector.containers',
        'ok',
        '',
        '',
        fact('containers', containers.length),
        fact('runtime', 'containerd 1.7.24'),
        fact('cgroups', 'v2'),
      ),
      part(
        'sensor',
        'ok',
        '',
        '',
        fact('programs', 9),
        fact('events', (last() * 3).toLocaleString('en')),
        fact('ring buffer', '0 % full'),
      ),
      part(
        'tsdb',
        'ok',
        '',
        '',
        fact('series', store.series.length),
        fact('samples', '4.1 M'),
        fact('WAL', '18 MiB'),
        fact('flush interval', '1 s'),
      ),
      part('eventdb', 'ok', '', '', fact('events', last()), fact('segments', 12), fact('on disk', '9.3 MiB')),
      part('ingest', 'ok', '', '', fact('batches waiting', 0)),
      part('ruler', 'ok', '', '', fact('rules', 6), fact('last tick', '2.4 ms')),
      part('detection', 'ok', '', '', fact('detections', 1)),
      part(
        'notify.ops-webhook',
        'degraded',
        'The last 3 deliveries were refused: connection refused (127.0.0.1:9099). 2 notifications wait.',
        'Start the receiver, or correct receivers[0].url in the configuration. They are delivered when it answers.',
        fact('delivered', 41),
        fact('waiting', 2),
      ),
      part('notify.file', 'ok', '', '', fact('path', '/var/lib/vedette/alerts.jsonl')),
      part('self', 'ok', '', '', fact('resident', '84 MiB'), fact('CPU', '0.9 %'), fact('threads', 14)),
    ];
  };

  const metricsText = () =>
    [
      '# HELP vedette_sensor_events_total Events read from the kernel.',
      '# TYPE vedette_sensor_events_total counter',
      ...['exec', 'fork', 'exit', 'connection', 'pty_open'].map(
        (k, i) => `vedette_sensor_events_total{kind="${k}"} ${last() * (i + 1)}`,
      ),
      '# HELP vedette_sensor_lost_events_total Events that did not fit into the ring buffer.',
      '# TYPE vedette_sensor_lost_events_total counter',
      'vedette_sensor_lost_events_total{ring="critical"} 0',
      'vedette_sensor_lost_events_total{ring="bulk"} 17',
      '# HELP vedette_ingest_dropped_samples_total Samples refused, by reason.',
      '# TYPE vedette_ingest_dropped_samples_total counter',
      'vedette_ingest_dropped_samples_total{reason="out_of_order"} 0',
      '# HELP vedette_tsdb_wal_size_bytes Size of the write-ahead log.',
      '# TYPE vedette_tsdb_wal_size_bytes gauge',
      'vedette_tsdb_wal_size_bytes 18874368',
      '# HELP vedette_tsdb_append_duration_seconds Time of one append.',
      '# TYPE vedette_tsdb_append_duration_seconds histogram',
      ...['0.001', '0.01', '0.1', '+Inf'].map(
        (le, i) => `vedette_tsdb_append_duration_seconds_bucket{le="${le}"} ${900 + i * 40}`,
      ),
      'vedette_tsdb_append_duration_seconds_sum 0.71',
      'vedette_tsdb_append_duration_seconds_count 1020',
      '# TYPE process_resident_memory_bytes gauge',
      'process_resident_memory_bytes 88080384',
      '# TYPE process_start_time_seconds gauge',
      `process_start_time_seconds ${startedMs / 1000}`,
    ].join('\n') + '\n';

  function tree(id) {
    const e = byId.get(id) ?? event(Math.floor(Number(id) / 100));
    const ours = special.some((s) => s.id === id);
    const node = (pid, name, executable, command_line, children, extra = {}) => ({
      process: { pid, start_ns: `${8_000_000 + pid}000111`, name, executable, command_line },
      started_unix_nano: null,
      exited: null,
      focus: false,
      events: [],
      children,
      ...extra,
    });
    const own = (pid) => special.filter((s) => s['process.pid'] === pid);
    const leaf = ours
      ? node(
          4702,
          'sh',
          '/bin/sh',
          special[0]['process.command_line'],
          [
            node(
              4711,
              'bash',
              '/bin/bash',
              'bash -i',
              [
                node(4715, 'id', '/usr/bin/id', 'id', [], {
                  started_unix_nano: special[4].time_unix_nano,
                  exited: { code: 0, signal: false },
                  events: own(4715),
                  focus: e['process.pid'] === 4715,
                }),
              ],
              {
                started_unix_nano: special[3].time_unix_nano,
                events: own(4711),
                focus: e['process.pid'] === 4711,
              },
            ),
          ],
          {
            started_unix_nano: special[0].time_unix_nano,
            events: own(4702),
            focus: e['process.pid'] === 4702,
          },
        )
      : node(
          e['process.pid'],
          e['process.command'],
          e['process.executable.path'],
          e['process.command_line'],
          [],
          { started_unix_nano: e.time_unix_nano, focus: true, events: [e] },
        );
    return {
      root: node(1, 'systemd', '/usr/lib/systemd/systemd', '/sbin/init', [
        node(
          ours ? 2220 : e['process.parent_pid'],
          'containerd-shim',
          '/usr/bin/containerd-shim-runc-v2',
          'containerd-shim-runc-v2 -namespace k8s.io',
          [leaf],
        ),
      ]),
    };
  }

  const json = (response, status, body) => {
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    response.end(JSON.stringify(body));
  };
  const good = (response, data) => json(response, 200, { status: 'success', data });

  /** What each node of a query did, made up from what its selectors find. */
  function explained(params) {
    const text = params.get('query') ?? '';
    const [start, end, step] = ['start', 'end', 'step'].map((n) => Number(params.get(n)));
    const steps = Math.floor((end - start) / step) + 1;
    const nodes = [];
    const visit = (tree, depth) => {
      const at = nodes.length;
      const node = { depth, series_read: 0, samples_read: 0, evaluations: 1 };
      nodes.push(node);
      const below = [...(tree.args ?? []), tree.left, tree.right].filter(Boolean);
      for (const child of below) visit(child, depth + 1);
      const direct = nodes.slice(at + 1).filter((n) => n.depth === depth + 1);
      if (tree.type === 'selector') {
        node.series_read = store.select(tree.matchers).length;
        node.samples_read = node.series_read * Math.round(end - start + 300);
      }
      const series = node.series_read || Math.max(1, ...direct.map((n) => n.series));
      node.series = tree.type === 'aggregate' ? Math.min(series, tree.by?.length ? 4 : 1) : series;
      node.samples = node.series * steps;
      node.bytes = 16 * node.samples_read + 8 * node.samples;
      node.own_seconds = 2e-8 * node.samples_read + 4e-9 * series * steps;
      node.seconds = node.own_seconds + direct.reduce((sum, n) => sum + n.seconds, 0);
      node.operation =
        tree.type === 'aggregate' && tree.by?.length
          ? `${tree.op} by (${tree.by.join(', ')})`
          : (tree.op ?? tree.name ?? (tree.window ? 'range selector' : tree.type));
      node.text = depth === 0 ? text : node.operation;
    };
    visit(parse(text), 0);
    const sum = (name) => nodes.reduce((total, n) => total + n[name], 0);
    return {
      query: text,
      steps,
      cacheable: true,
      run_seconds: nodes[0].seconds,
      find_seconds: nodes[0].seconds / 10,
      queue_seconds: 0,
      series: nodes[0].series,
      series_read: sum('series_read'),
      samples_read: sum('samples_read'),
      samples_looked_at: sum('samples_read') * 4,
      samples_peak: sum('samples_read') / 10,
      memory_bytes: sum('bytes') / 4,
      notes: [],
      nodes,
    };
  }

  const queries = () => {
    const asked = (query, ago, step_ms = 60_000) => ({
      query,
      path: step_ms ? '/api/v1/query_range' : '/api/v1/query',
      start_unix_ms: Date.now() - 21_600_000,
      end_unix_ms: Date.now(),
      step_ms,
      client: '127.0.0.1 ada Grafana/12.1.0',
      began_unix_ms: Date.now() - ago,
    });
    const slow = { queue_seconds: 0.2, series_read: 12_400, samples_read: 8_900_000, steps_reused: 0 };
    const size = { memory_bytes: 96 << 20, answer_bytes: 1 << 20 };
    return {
      active: [
        {
          asked: asked('sum by (pod) (rate(container_cpu_usage_seconds_total[5m]))', 1400),
          running_seconds: 1.4,
        },
      ],
      slow: [
        {
          ...slow,
          ...size,
          asked: asked(
            'topk(10, sum by (name, image) (rate(container_network_receive_bytes_total[1h])))',
            240_000,
          ),
          run_seconds: 7.31,
          error: '',
        },
        {
          ...slow,
          ...size,
          asked: asked('count by (__name__) ({__name__=~".+"})', 3_600_000, 0),
          run_seconds: 9.8,
          error: 'the query needs more than the 512 MiB of memory that one query may have',
        },
      ],
      interrupted: [],
      slow_from_seconds: 5,
      waiting: 0,
      memory_bytes: 41 << 20,
      memory_bytes_max: 2 << 30,
      cache: { hits: 120, partial_hits: 5310, misses: 92, bypassed: 14, entries: 84, bytes: 18 << 20 },
    };
  };

  function query(params, response, ranged) {
    const text = params.get('query') ?? '';
    let parsed;
    try {
      if (!text.trim()) throw new PromqlError('1:1: parse error: no expression found in input');
      parsed = parse(text);
      const show = (v) => (Number.isFinite(v) ? String(v) : v > 0 ? '+Inf' : v < 0 ? '-Inf' : 'NaN');
      if (!ranged) {
        const time = Number(params.get('time') ?? Date.now() / 1000);
        if (parsed.type === 'selector' && parsed.window) {
          const result = store.select(parsed.matchers).map((s) => ({
            metric: s.labels,
            values: Array.from({ length: 5 }, (_, i) => [time - 4 + i, show(s.at(time - 4 + i) ?? 0)]),
          }));
          return good(response, { resultType: 'matrix', result });
        }
        const value = evaluate(parsed, store, time);
        if (typeof value === 'number')
          return good(response, { resultType: 'scalar', result: [time, show(value)] });
        return good(response, {
          resultType: 'vector',
          result: value.map((s) => ({ metric: s.labels, value: [time, show(s.value)] })),
        });
      }
      const [start, end, step] = ['start', 'end', 'step'].map((n) => Number(params.get(n)));
      if (!(step > 0) || (end - start) / step > 11_000)
        return json(response, 400, {
          status: 'error',
          errorType: 'bad_data',
          error:
            'exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)',
        });
      const all = new Map();
      for (let t = start; t <= end + 1e-6; t += step) {
        const value = evaluate(parsed, store, t);
        for (const s of typeof value === 'number' ? [{ labels: {}, value }] : value) {
          const key = JSON.stringify(Object.entries(s.labels).sort());
          if (!all.has(key)) all.set(key, { metric: s.labels, values: [] });
          if (t <= Date.now() / 1000) all.get(key).values.push([t, show(s.value)]);
        }
      }
      return good(response, {
        resultType: 'matrix',
        result: [...all.values()].filter((s) => s.values.length > 0),
      });
    } catch (error) {
      if (!(error instanceof PromqlError)) throw error;
      return json(response, 400, {
        status: 'error',
        errorType: 'bad_data',
        error: `invalid parameter "query": ${error.message}`,
      });
    }
  }

  function live(request, response, params) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': hello\n\n');
    let n = last();
    const timer = setInterval(() => {
      while (n < last()) {
        n += 1;
        const e = event(n);
        if (fits(e, params)) response.write(`data: ${JSON.stringify(e)}\n\n`);
      }
    }, 200);
    request.on('close', () => clearInterval(timer));
  }

  function api(url, request, response) {
    const { pathname: path, searchParams: params } = url;
    if (path === '/api/v1/query') return query(params, response, false);
    if (path === '/api/v1/query_range') return query(params, response, true);
    if (path === '/api/v1/label/__name__/values')
      return good(response, [...new Set(store.series.map((s) => s.labels.__name__))].sort());
    const value = /^\/api\/v1\/label\/([^/]+)\/values$/.exec(path);
    if (value)
      return good(
        response,
        [...new Set(store.series.map((s) => s.labels[decodeURIComponent(value[1])]).filter(Boolean))].sort(),
      );
    if (path === '/api/v1/labels')
      return good(response, [...new Set(store.series.flatMap((s) => Object.keys(s.labels)))].sort());
    if (path === '/api/v1/series')
      return good(
        response,
        store.series.slice(0, 500).map((s) => s.labels),
      );
    if (path === '/api/v1/metadata')
      return good(response, { node_load1: [{ type: 'gauge', help: '1m load average.', unit: '' }] });
    if (path === '/api/v1/rules') return good(response, { groups: rules() });
    if (path === '/api/v1/alerts')
      return good(response, { alerts: rules().flatMap((g) => g.rules.flatMap((r) => r.alerts)) });
    if (path === '/api/v1/targets') return good(response, scraped());
    if (path === '/api/v1/targets/relabel_steps')
      return good(response, { steps: relabelSteps(JSON.parse(params.get('labels') ?? '{}')) });
    if (path === '/api/v1/status/tsdb')
      return good(response, headStatus(Number(params.get('limit') ?? '10')));
    if (path === '/api/v1/status/tsdb/blocks') return good(response, { blocks: sealed() });
    if (path === '/api/v1/status/config') return good(response, { yaml: configYaml });
    if (path === '/api/v1/status/flags') return good(response, flags);
    if (path === '/api/v1/status/buildinfo') return good(response, { version: '3.14.0' });
    if (path === '/metrics')
      return response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(metricsText());
    if (path.startsWith('/api/v2.1/ps/')) {
      const found = processesOf(containers, decodeURIComponent(path.slice('/api/v2.1/ps'.length)));
      return found ? json(response, 200, found) : json(response, 404, { error: 'unknown container' });
    }
    const own = path.replace('/api/vedette/v1/', '');
    if (own === 'status')
      return json(response, 200, {
        version: '0.1.0',
        revision: '20258a8f3c1d',
        started_unix_ms: startedMs,
        now_unix_ms: Date.now(),
        host: { name: hostName, id: 'b1946ac9', kernel: '6.12.9-amd64' },
        parts: parts(),
      });
    if (own === 'capacity') return json(response, 200, capacity(Date.now()));
    if (own === 'queries') return json(response, 200, queries());
    if (own === 'discovery') return json(response, 200, { problems: discoveryProblems });
    if (own === 'explain') {
      try {
        return json(response, 200, explained(params));
      } catch (error) {
        return json(response, 400, {
          error: String(error.message ?? error),
          remedy: 'Correct the expression.',
        });
      }
    }
    if (own === 'findings')
      return json(response, 200, {
        findings: [
          finding,
          {
            ...finding,
            fingerprint: '11d3a0c77be4e218',
            state: 'resolved',
            title: 'Reverse shell: python3 in build-runner was led by 198.51.100.7',
            labels: {
              ...finding.labels,
              container: 'build-runner',
              container_id: containers[8]?.id.slice(0, 12) ?? '',
            },
          },
        ],
      });
    if (own === 'clusters') return json(response, 200, { clusters: clusters() });
    if (own === 'containers')
      return json(response, 200, {
        containers: containers.map((c) => ({
          'container.id': c.id,
          'container.name': c.name,
          'container.image.name': c.image,
          'k8s.pod.name': c.pod,
          'k8s.namespace.name': c.namespace,
          'k8s.pod.uid': '',
          'vedette.workload.kind': '',
          'vedette.workload.name': '',
          'container.runtime': 'containerd',
          cgroup: c.cgroup,
        })),
      });
    if (own === 'events/live') return live(request, response, params);
    if (own === 'events') {
      const from = Number(params.get('from') ?? 0);
      const to = Number(params.get('to') ?? Date.now());
      const limit = Number(params.get('limit') ?? 100);
      const found = [];
      let scanned = 0;
      for (const e of newestFirst(params.has('before') ? Number(params.get('before')) : undefined)) {
        scanned += 1;
        const ms = Number(e.time_unix_nano.slice(0, -6));
        if (ms > to || !fits(e, params)) continue;
        if (ms < from) break;
        found.push(e);
        if (found.length > limit) break;
      }
      const more = found.length > limit;
      if (more) found.pop();
      return json(response, 200, {
        events: found,
        next: more ? found.at(-1).id : null,
        scanned,
        truncated: false,
      });
    }
    const one = /^events\/(\d+)(\/tree)?$/.exec(own);
    if (one) {
      const known =
        byId.get(one[1]) ??
        (Number(one[1]) / 100 <= last() && Number(one[1]) % 100 === 0 ? event(Number(one[1]) / 100) : null);
      if (!known)
        return json(response, 404, {
          error: `There is no event ${one[1]}.`,
          remedy: 'It may have passed out of retention.',
        });
      return json(response, 200, one[2] ? tree(one[1]) : known);
    }
    return json(response, 404, {
      error: `There is no ${path}.`,
      remedy: 'The API of this version has no such address.',
    });
  }

  const root = fileURLToPath(new URL('../dist', import.meta.url));
  function file(path, response) {
    const wanted = normalize(join(root, path));
    const found =
      wanted.startsWith(root) && extname(wanted) !== '' && existsSync(wanted)
        ? wanted
        : extname(path) === '' || /^\/(hosts|containers)\//.test(path)
          ? join(root, 'index.html')
          : null;
    if (!found || !existsSync(found))
      return response.writeHead(404, { 'content-type': 'text/plain' }).end('not found');
    response.writeHead(200, {
      'content-type': types[extname(found)] ?? 'application/octet-stream',
      'content-security-policy': policy,
      'x-content-type-options': 'nosniff',
      'cache-control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
    });
    createReadStream(found).pipe(response);
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://mock');
    try {
      if (/^\/(api|-)\//.test(url.pathname) || url.pathname === '/metrics') api(url, request, response);
      else if (dist) file(url.pathname, response);
      else response.writeHead(404).end();
    } catch (error) {
      console.error(error);
      json(response, 500, { error: String(error), remedy: 'The mock is broken.' });
    }
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () =>
      resolve({ server, url: `http://127.0.0.1:${server.address().port}` }),
    );
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--port');
  const { url } = await startMock({
    port: at > 0 ? Number(process.argv[at + 1]) : 9390,
    dist: process.argv.includes('--dist'),
  });
  console.log(url);
}
