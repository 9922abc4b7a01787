// Capacity of a made-up cluster in which one node too many is needed, and its outages.

const none = { count: 0, first: [] };
const failure = (nodes, pending) => ({
  nodes,
  displaced: 11,
  pending: { count: pending.length, first: pending },
  pending_by_priority: pending.length ? [{ priority: 1000, pods: pending.length }] : [],
  stuck: { count: 1, first: ['data/postgres-0'] },
  lost: none,
  bound: none,
  budgets_broken: [],
  reason: null,
  could_fit: pending.length ? true : null,
  moves: pending.map((pod) => ({ pod, node: 'worker-5' })),
});

export function capacity(now) {
  const hour = 3_600_000;
  const outage = (node, agoHours, minutes) => ({
    node,
    pool: 'general',
    began_unix_ms: now - agoHours * hour - 41_000,
    noticed_unix_ms: now - agoHours * hour,
    ended_unix_ms: minutes === null ? null : now - agoHours * hour + minutes * 60_000,
    gone_unix_ms: null,
    rebooted: minutes !== null,
    unseen: false,
    pods: 12,
    pods_again_unix_ms: minutes === null ? null : now - agoHours * hour + 380_000,
  });
  const worst = failure(['worker-2', 'worker-4'], ['shop/web-6c9f-x2x', 'shop/web-6c9f-q8v']);
  return {
    now_unix_ms: now,
    clusters: [
      {
        name: 'production',
        wanted: 2,
        trouble: [],
        incomplete: [
          'csinodes.storage.k8s.io: the account may not watch csinodes.storage.k8s.io in all namespaces',
        ],
        age_seconds: 0,
        judged: {
          at_unix_ms: now - 20_000,
          took_seconds: 0.4,
          nodes: 6,
          pods: 73,
          kinds: 21,
          survives: 1,
          fails_at: 2,
          curve: [
            { failures: 1, sets: 6, tried: 6, exact: true, share_min: 1, share_max: 1, mean_pending: 0 },
            {
              failures: 2,
              sets: 15,
              tried: 15,
              exact: true,
              share_min: 0.8,
              share_max: 0.8,
              mean_pending: 0.4,
            },
            {
              failures: 3,
              sets: 20,
              tried: 12,
              exact: false,
              share_min: 0.21,
              share_max: 0.6,
              mean_pending: 3.1,
            },
          ],
          witness: worst,
          single_failures: [],
          single_failures_found: 0,
          zones: [
            {
              key: 'topology.kubernetes.io/zone',
              value: 'a',
              failure: failure(['worker-1', 'worker-2'], []),
            },
            { key: 'topology.kubernetes.io/zone', value: 'b', failure: worst },
          ],
          advice: { nodes: 1, like: 'worker-2', sets_tried: 28, exact: true },
          pending_before: none,
          gated: none,
          notes: [],
        },
        outages: {
          since_unix_ms: now - 900 * hour,
          pools: [
            {
              pool: 'general',
              nodes: 6,
              outages: 3,
              open: 1,
              mean_to_detect_seconds: 41,
              mean_to_recover_seconds: 1310,
              recovery_is_whole: false,
              median_to_recover_seconds: 540,
              mean_to_run_again_seconds: 380,
              mean_between_failures_seconds: 6_400_000,
              down: 0.0002,
            },
          ],
          recent: [outage('worker-4', 0.5, null), outage('worker-1', 200, 9), outage('worker-4', 460, 14)],
          count: 3,
          down_at_once: [0.9988, 0.0012, 0.0000006, 0],
          expected_shortfall_pods: 0.00002,
          beyond_judged: 0,
        },
      },
    ],
  };
}
