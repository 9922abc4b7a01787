// What is said of clusters in a line.

import type { CertificateRole, Cluster, ClusterCertificate, ClusterPart, PartState } from '../../api/types';

/** A part, and which of several it is. */
export function nameOf(part: ClusterPart): string {
  return part.instance === '' ? part.part : `${part.part} ${part.instance}`;
}

const order: PartState[] = ['failed', 'degraded', 'unknown', 'healthy'];

/** `1 failed, 2 unknown, 14 healthy`. */
export function summary(cluster: Cluster): string {
  const counts = order.map(
    (state) => [cluster.parts.filter((p) => p.state === state).length, state] as const,
  );
  const words = counts.filter(([count]) => count > 0).map(([count, state]) => `${count} ${state}`);
  return words.length > 0 ? words.join(', ') : 'nothing is known yet';
}

/** The healthy parts by name, and how many of each there are. */
export function wellByPart(parts: ClusterPart[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const part of parts)
    if (part.state === 'healthy') counts.set(part.part, (counts.get(part.part) ?? 0) + 1);
  return [...counts];
}

const dayMs = 86_400_000;

/** How near the end of a certificate is, by the measure of the alerts that ship. */
export function nearness(one: ClusterCertificate, nowMs: number): 'failed' | 'critical' | 'warning' | 'ok' {
  const left = one.not_after_unix_ms - nowMs;
  const whole = one.not_after_unix_ms - one.not_before_unix_ms;
  if (left <= 0) return 'failed';
  if (left < 7 * dayMs && left < whole / 52) return 'critical';
  if (left < 30 * dayMs && left < whole / 12) return 'warning';
  return 'ok';
}

const roles: Record<CertificateRole, string> = {
  server: 'its own',
  server_chain: 'above its own',
  client: 'Vedette’s',
  authority: 'trusted authority',
};

/** For what a certificate is used. */
export function roleOf(one: ClusterCertificate): string {
  return roles[one.role];
}
