// URLs: each holds the whole state of its page. Parameters of the header (range, zone) are kept
// from page to page; old links of Prometheus lead to the right page.

import { durationMs, instantMs } from './range';

export interface Place {
  path: string;
  params: URLSearchParams;
}

/** Kept when another page is opened. */
export const kept = ['from', 'to', 'tz', 'live'];

export type Change = Record<string, string | string[] | null | undefined>;

/** A copy with some parameters set, replaced (list) or, where null or empty, taken away. */
export function changed(params: URLSearchParams, change: Change): URLSearchParams {
  const copy = new URLSearchParams(params);
  for (const [name, value] of Object.entries(change)) {
    copy.delete(name);
    if (value === null || value === undefined || value === '') continue;
    for (const one of Array.isArray(value) ? value : [value]) copy.append(name, one);
  }
  return copy;
}

/** The address of a page, with the header's parameters of where we are. */
export function link(path: string, change: Change, current: URLSearchParams): string {
  const params = new URLSearchParams();
  for (const name of kept) {
    const value = current.get(name);
    if (value !== null) params.set(name, value);
  }
  return address({ path, params: changed(params, change) });
}

export function address(place: Place): string {
  const query = place.params.toString();
  return query ? `${place.path}?${query}` : place.path;
}

export const pages = [
  '/',
  '/alerts',
  '/explore/metrics',
  '/explore/events',
  '/hosts',
  '/hosts/*',
  '/containers',
  '/containers/*',
  '/capacity',
  '/status',
  '/status/targets',
  '/status/discovery',
  '/status/storage',
  '/status/configuration',
] as const;
export type PagePath = (typeof pages)[number];

export function pageOf(path: string): PagePath | null {
  const trimmed = path.length > 1 ? path.replace(/\/+$/, '') : path;
  return (
    pages.find((p) => p === trimmed) ??
    pages.find((p) => p.endsWith('/*') && trimmed.startsWith(p.slice(0, -1))) ??
    null
  );
}

/** What the rest of a page's address names: a host, or a cgroup without its first slash. */
export function nameIn(path: string, page: PagePath | null): string {
  if (!page?.endsWith('/*')) return '';
  const rest = path.slice(page.length - 1).replace(/\/+$/, '');
  try {
    return decodeURIComponent(rest);
  } catch {
    return rest;
  }
}

export function hostPath(instance: string): string {
  return `/hosts/${encodeURIComponent(instance)}`;
}

/** The address of a container is its cgroup's path, as it was in cAdvisor. */
export function containerPath(cgroup: string): string {
  return `/containers${cgroup.split('/').map(encodeURIComponent).join('/')}`;
}

/** Prometheus' pages about itself. */
const fromPrometheusPage: Record<string, PagePath> = {
  '/targets': '/status/targets',
  '/service-discovery': '/status/discovery',
  '/tsdb-status': '/status/storage',
  '/config': '/status/configuration',
  '/flags': '/status/configuration',
};

/** Where an address leads that is not one of ours: a shorter spelling, or a link to Prometheus. */
export function redirect(place: Place): Place | null {
  const path = place.path.length > 1 ? place.path.replace(/\/+$/, '') : place.path;
  if (path === '/graph' || path === '/query')
    return { path: '/explore/metrics', params: fromPrometheus(place.params) };
  if (path === '/explore') return { path: '/explore/metrics', params: place.params };
  const moved = fromPrometheusPage[path];
  if (moved) return { path: moved, params: new URLSearchParams() };
  if (path === '/rules') return { path: '/alerts', params: new URLSearchParams({ show: 'rules' }) };
  if (path === '/index.html') return { path: '/', params: place.params };
  return null;
}

/** `g0.expr`, `g0.range_input`, `g0.end_input`, `g0.tab`, `g0.step_input` of Prometheus' graph page. */
function fromPrometheus(old: URLSearchParams): URLSearchParams {
  const params = new URLSearchParams();
  for (let panel = 0; panel < 100; panel += 1) {
    const expression = old.get(`g${panel}.expr`);
    if (expression === null) break;
    if (expression) params.append('q', expression);
  }
  // Until version 3 the tab was a number, 0 the graph; the table was and is what opens without it.
  const tab = old.get('g0.tab');
  if (tab !== '0' && tab !== 'graph') params.set('tab', 'table');
  const length = durationMs(old.get('g0.range_input') ?? '1h');
  const endText = old.get('g0.end_input') ?? old.get('g0.moment_input') ?? '';
  const end = endText ? instantMs(endText, NaN) : NaN;
  if (Number.isFinite(length)) {
    params.set(
      'from',
      Number.isFinite(end) ? String(end - length) : `now-${old.get('g0.range_input') ?? '1h'}`,
    );
    params.set('to', Number.isFinite(end) ? String(end) : 'now');
  }
  const step = old.get('g0.step_input');
  if (step && Number(step) > 0) params.set('step', step);
  return params;
}
