// Two clusters: one that is well, and one in which several parts are not.

const minutes = (n) => Date.now() - n * 60_000;
const well = (part, instance = '') => ({
  part,
  instance,
  state: 'healthy',
  cause: '',
  evidence: '',
  next_step: '',
  since_unix_ms: minutes(300),
});

const certificate = (role, subject, days, lasts = 365) => ({
  part: 'apiserver',
  instance: '10.0.0.1:6443',
  role,
  subject,
  issuer: 'kubernetes',
  not_before_unix_ms: Date.now() + (days - lasts) * 86_400_000,
  not_after_unix_ms: Date.now() + days * 86_400_000,
});

export function clusters() {
  const nodes = Array.from({ length: 14 }, (_, n) => well('kubelet', `node-${n + 1}`));
  const base = [well('apiserver', '10.0.0.1:6443'), well('coredns'), well('kube-proxy'), well('scheduler')];
  const wrong = [
    {
      ...well('etcd', '10.0.0.1:6443'),
      state: 'failed',
      cause: 'etcd_check',
      evidence: '/livez [-]etcd failed: reason withheld',
      next_step:
        'The API server cannot read or write its store. On a control plane node: etcdctl endpoint health --cluster and etcdctl endpoint status -w table.',
      since_unix_ms: minutes(3),
    },
    {
      ...well('kubelet', 'node-7'),
      state: 'degraded',
      cause: 'pressure',
      evidence: 'DiskPressure is True: KubeletHasDiskPressure',
      next_step:
        'The node runs out of what the evidence names and will turn pods out: free some or move work.',
      since_unix_ms: minutes(42),
    },
    {
      ...well('controller-manager'),
      state: 'unknown',
      cause: 'watch_barred',
      evidence:
        'the account may not get leases.coordination.k8s.io in the namespace kube-system; grant it by a Role in kube-system with the rule {apiGroups: ["coordination.k8s.io"], resources: [leases], verbs: [get]}',
      next_step: 'Vedette may not see what tells of this part. Grant it by a role.',
      since_unix_ms: minutes(120),
    },
  ];
  return [
    {
      name: 'production',
      version: 'v1.36.0',
      state: 'failed',
      left_out: 0,
      certificates: [
        certificate('server', 'kube-apiserver', 12),
        certificate('client', 'vedette', 200),
        certificate('authority', 'kubernetes', 2900, 3650),
      ],
      parts: [...wrong, ...base, ...nodes.filter((node) => node.instance !== 'node-7')],
    },
    {
      name: 'staging',
      version: 'v1.35.2',
      state: 'healthy',
      left_out: 0,
      certificates: [certificate('server', 'kube-apiserver', 300)],
      parts: [...base, well('etcd'), ...nodes],
    },
  ];
}
