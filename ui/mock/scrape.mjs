// What the mock scrapes, stores and is configured with.

const minute = 60_000;

function found(pool, address, more = {}) {
  return {
    __address__: address,
    __metrics_path__: '/metrics',
    __scheme__: 'http',
    __scrape_interval__: '15s',
    __scrape_timeout__: '10s',
    job: pool,
    ...more,
  };
}

function target(pool, address, health, labels = {}, lastError = '') {
  const url = `http://${address}/metrics`;
  return {
    discoveredLabels: found(pool, address, { __meta_filepath: `/etc/prometheus/${pool}.json` }),
    labels: { instance: address, job: pool, ...labels },
    scrapePool: pool,
    scrapeUrl: url,
    globalUrl: url,
    lastError,
    lastScrape: health === 'unknown' ? '0001-01-01T00:00:00Z' : new Date(Date.now() - 7000).toISOString(),
    lastScrapeDuration: health === 'unknown' ? 0 : 0.0184,
    health,
    scrapeInterval: '15s',
    scrapeTimeout: '10s',
  };
}

export function scraped() {
  const nodes = Array.from({ length: 6 }, (_, i) =>
    target('node', `10.0.0.${i + 1}:9100`, 'up', { env: 'prod', rack: `r${(i % 2) + 1}` }),
  );
  return {
    activeTargets: [
      target('blackbox', '10.0.1.1:9115', 'unknown'),
      target(
        'kubelet',
        '10.0.0.3:10250',
        'down',
        { env: 'prod' },
        'cannot connect to 10.0.0.3:10250: connection refused',
      ),
      target('kubelet', '10.0.0.4:10250', 'up', { env: 'prod' }),
      ...nodes,
    ],
    droppedTargets: [
      {
        discoveredLabels: found('node', 'legacy.example:9100', { __meta_owner: 'none' }),
        scrapePool: 'node',
      },
    ],
    droppedTargetCounts: { blackbox: 0, ec2: 0, kubelet: 0, node: 1 },
  };
}

export const discoveryProblems = {
  ec2: ['ec2_sd_configs is not run by Vedette; let a program list the machines and use http_sd_configs'],
};

export function relabelSteps(labels) {
  const kept = labels['__meta_owner'] === undefined;
  const rules = [
    { source_labels: ['__meta_owner'], separator: ';', regex: 'none', replacement: '$1', action: 'drop' },
    { separator: ';', regex: '(.*)', target_label: 'env', replacement: 'prod', action: 'replace' },
    { separator: ';', regex: '__meta_filepath', replacement: '$1', action: 'labeldrop' },
  ];
  const withEnv = { ...labels, env: 'prod' };
  const { __meta_filepath: _, ...last } = withEnv;
  const outputs = kept ? [labels, withEnv, last] : [{}, {}, {}];
  return rules.map((rule, i) => ({ rule, output: outputs[i], keep: kept }));
}

export function headStatus(limit) {
  const counted = (names, most) =>
    names.slice(0, limit).map((name, i) => ({ name, value: Math.round(most / (i + 1)) }));
  const metrics = [
    'container_network_receive_bytes_total',
    'node_cpu_seconds_total',
    'container_cpu_usage_seconds_total',
    'node_systemd_unit_state',
    'vedette_api_requests_total',
  ];
  const labels = ['__name__', 'id', 'name', 'device', 'instance', 'job', 'mode'];
  return {
    headStats: {
      numSeries: 128_400,
      numLabelPairs: 9_204,
      chunkCount: 128_400,
      minTime: Date.now() - 14 * minute,
      maxTime: Date.now() - 900,
    },
    seriesCountByMetricName: counted(metrics, 20_400),
    labelValueCountByLabelName: counted(labels, 1_840),
    memoryInBytesByLabelName: counted(labels, 4_200_000),
    seriesCountByLabelValuePair: counted(['job=node', 'env=prod', 'job=kubelet', 'mode=idle'], 96_000),
  };
}

export function sealed() {
  return Array.from({ length: 12 }, (_, i) => ({
    ulid: (12 - i).toString(16).padStart(16, '0'),
    minTime: Date.now() - (i + 2) * 120 * minute,
    maxTime: Date.now() - (i + 1) * 120 * minute,
    stats: { numSamples: 61_000_000 + i * 1000, numSeries: 128_000 + i, size: 44_000_000 + i * 4096 },
    compaction: { level: 1 },
    version: 1,
  }));
}

export const configYaml = `global:
  scrape_interval: 15s
  scrape_timeout: 10s
  evaluation_interval: 15s
scrape_configs:
- job_name: node
  metrics_path: /metrics
  scheme: http
  basic_auth:
    username: scraper
    password: <secret>
  file_sd_configs:
  - files: [/etc/prometheus/node.json]
    refresh_interval: 5m
`;

export const flags = {
  'config.file': '/etc/prometheus/prometheus.yml',
  'query.max-concurrency': '20',
  'query.timeout': '2m',
  'storage.tsdb.path': '/var/lib/vedette/metrics',
  'storage.tsdb.retention.time': '15d',
  'web.config.file': '',
  'web.enable-lifecycle': 'false',
  'web.listen-address': '127.0.0.1:9090',
};
