// What is wrong, worst first, with the next step: firing alerts, findings, and parts of Vedette
// itself that do not do their work.

import type { ActiveAlert, Rule, RuleGroup } from '../../api/prometheus';
import type { Finding, Part, Severity } from '../../api/types';
import { nanosToMs } from '../../format/time';

export interface Problem {
  key: string;
  kind: 'alert' | 'finding' | 'part';
  severity: Severity;
  state: 'firing' | 'pending' | 'resolved';
  title: string;
  text: string;
  /** What to do next, in words; empty where nobody wrote it. */
  next: string;
  sinceMs: number;
  lastMs: number;
  labels: Record<string, string>;
  alert?: { alert: ActiveAlert; rule: Rule; group: string };
  finding?: Finding;
}

const rank: Record<Severity, number> = { critical: 3, warning: 2, info: 1 };

/** Other products' words for severity, as they stand in foreign rules. */
export function severityOf(word: string | undefined): Severity {
  switch ((word ?? '').toLowerCase()) {
    case 'critical':
    case 'page':
    case 'error':
    case 'high':
    case 'emergency':
      return 'critical';
    case 'info':
    case 'none':
    case 'low':
    case 'notice':
      return 'info';
    default:
      return 'warning';
  }
}

export function fromRules(groups: readonly RuleGroup[]): Problem[] {
  return groups.flatMap((group) =>
    group.rules.flatMap((rule) =>
      (rule.alerts ?? [])
        .filter((alert) => alert.state !== 'inactive')
        .map((alert) => {
          const since = alert.activeAt ? Date.parse(alert.activeAt) : NaN;
          const notes = alert.annotations;
          return {
            key: `alert ${rule.name} ${JSON.stringify(Object.entries(alert.labels).sort())}`,
            kind: 'alert' as const,
            severity: severityOf(alert.labels['severity']),
            state: alert.state === 'pending' ? ('pending' as const) : ('firing' as const),
            title: notes['summary'] || notes['title'] || rule.name,
            text: notes['description'] || notes['message'] || '',
            next: notes['remedy'] || notes['next_step'] || notes['action'] || '',
            sinceMs: since,
            lastMs: since,
            labels: alert.labels,
            alert: { alert, rule, group: group.name },
          };
        }),
    ),
  );
}

export function fromFindings(findings: readonly Finding[]): Problem[] {
  return findings.map((finding) => ({
    key: `finding ${finding.fingerprint}`,
    kind: 'finding',
    severity: severityOf(finding.severity),
    state: finding.state,
    title: finding.title,
    text: finding.description,
    next: '',
    sinceMs: nanosToMs(finding.first_unix_nano),
    lastMs: nanosToMs(finding.last_unix_nano),
    labels: finding.labels,
    finding,
  }));
}

export function fromParts(parts: readonly Part[]): Problem[] {
  return parts
    .filter((part) => part.health === 'failed' || part.health === 'degraded')
    .map((part) => ({
      key: `part ${part.name}`,
      kind: 'part',
      severity: part.health === 'failed' ? 'critical' : 'warning',
      state: 'firing',
      title: `Vedette’s ${part.name} ${part.health === 'failed' ? 'does not work' : 'works in part only'}`,
      text: part.message,
      next: part.remedy,
      sinceMs: NaN,
      lastMs: NaN,
      labels: {},
    }));
}

const stateRank = { firing: 2, pending: 1, resolved: 0 };

/** Firing before pending before resolved; then the graver, then the newer. */
export function worstFirst(problems: readonly Problem[]): Problem[] {
  return [...problems].sort(
    (a, b) =>
      stateRank[b.state] - stateRank[a.state] ||
      rank[b.severity] - rank[a.severity] ||
      (Number.isNaN(b.lastMs) ? 0 : b.lastMs) - (Number.isNaN(a.lastMs) ? 0 : a.lastMs),
  );
}

export interface Tally {
  critical: number;
  warning: number;
  info: number;
}

export function tally(problems: readonly Problem[]): Tally {
  const count: Tally = { critical: 0, warning: 0, info: 0 };
  for (const problem of problems) if (problem.state === 'firing') count[problem.severity] += 1;
  return count;
}

export function tallyText(count: Tally): string {
  const words = [
    count.critical > 0 ? `${count.critical} critical` : '',
    count.warning > 0 ? `${count.warning} warning${count.warning > 1 ? 's' : ''}` : '',
  ].filter(Boolean);
  return words.join(', ');
}
