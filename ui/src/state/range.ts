// Time ranges: what a person asked for (`now-1h`, a date, milliseconds) and what it means now.
// Grafana's and Prometheus' spellings are understood.

export interface Asked {
  from: string;
  to: string;
}
export interface Span {
  fromMs: number;
  toMs: number;
}

export const defaultRange: Asked = { from: 'now-15m', to: 'now' };

export const presets: { label: string; from: string }[] = [
  { label: 'Last 5 minutes', from: 'now-5m' },
  { label: 'Last 15 minutes', from: 'now-15m' },
  { label: 'Last 30 minutes', from: 'now-30m' },
  { label: 'Last hour', from: 'now-1h' },
  { label: 'Last 3 hours', from: 'now-3h' },
  { label: 'Last 6 hours', from: 'now-6h' },
  { label: 'Last 24 hours', from: 'now-24h' },
  { label: 'Last 2 days', from: 'now-2d' },
  { label: 'Last 7 days', from: 'now-7d' },
  { label: 'Last 30 days', from: 'now-30d' },
];

const unitMs: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  M: 2_592_000_000,
  y: 31_536_000_000,
};

/** `1h30m` in milliseconds, as Prometheus writes durations; NaN where it is none. */
export function durationMs(text: string): number {
  const trimmed = text.trim();
  if (!/^(\d+(\.\d+)?(ms|[smhdwMy]))+$/.test(trimmed)) return NaN;
  let sum = 0;
  for (const m of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdwMy])/g))
    sum += Number(m[1]) * (unitMs[m[2] ?? ''] ?? NaN);
  return sum;
}

/** The shortest spelling of a duration: `90m` is `1h30m`. */
export function durationText(ms: number): string {
  let rest = Math.round(ms);
  if (rest <= 0) return '0s';
  let text = '';
  for (const unit of ['d', 'h', 'm', 's', 'ms']) {
    const size = unitMs[unit] ?? 1;
    const n = Math.floor(rest / size);
    if (n > 0) text += `${n}${unit}`;
    rest -= n * size;
  }
  return text;
}

/** A point in time as asked for, in milliseconds; NaN where it is none. */
export function instantMs(text: string, nowMs: number): number {
  const trimmed = text.trim();
  if (trimmed === 'now') return nowMs;
  const relative = /^now([+-])(.+)$/.exec(trimmed);
  if (relative) return nowMs + (relative[1] === '-' ? -1 : 1) * durationMs(relative[2] ?? '');
  if (/^\d{12,14}$/.test(trimmed)) return Number(trimmed);
  if (/^\d{9,10}(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1000;
  if (/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/.test(trimmed)) {
    const iso = trimmed.replace(' ', 'T');
    // A date without a zone is UTC: a shared link means the same to everybody.
    return Date.parse(/T/.test(iso) && !/(Z|[+-]\d\d:?\d\d)$/.test(iso) ? `${iso}Z` : iso);
  }
  return NaN;
}

/** What the range means now; the default where it means nothing. */
export function resolve(asked: Asked, nowMs: number): Span {
  const fromMs = instantMs(asked.from, nowMs);
  const toMs = instantMs(asked.to, nowMs);
  if (Number.isFinite(fromMs) && Number.isFinite(toMs) && fromMs < toMs) return { fromMs, toMs };
  return { fromMs: instantMs(defaultRange.from, nowMs), toMs: nowMs };
}

export function isRelative(asked: Asked): boolean {
  return asked.to.trim() === 'now' && asked.from.trim().startsWith('now-');
}

export function describe(asked: Asked, show: (ms: number) => string, nowMs: number): string {
  if (isRelative(asked)) {
    const preset = presets.find((p) => p.from === asked.from);
    return preset ? preset.label : `Last ${asked.from.slice(4)}`;
  }
  const { fromMs, toMs } = resolve(asked, nowMs);
  const from = show(fromMs);
  const to = show(toMs);
  return from.slice(0, 10) === to.slice(0, 10) ? `${from} – ${to.slice(11)}` : `${from} – ${to}`;
}

/** Moves by a part of the range's own length. */
export function shift(span: Span, part: number): Asked {
  const by = (span.toMs - span.fromMs) * part;
  return absolute({ fromMs: span.fromMs + by, toMs: span.toMs + by });
}

/** Makes the range `factor` times as long, about its middle; a live one keeps its end. */
export function zoom(asked: Asked, span: Span, factor: number): Asked {
  const length = Math.max(1000, (span.toMs - span.fromMs) * factor);
  if (isRelative(asked))
    return { from: `now-${durationText(Math.max(1000, Math.round(length / 1000) * 1000))}`, to: 'now' };
  const middle = (span.fromMs + span.toMs) / 2;
  return absolute({ fromMs: middle - length / 2, toMs: middle + length / 2 });
}

export function absolute(span: Span): Asked {
  return { from: String(Math.round(span.fromMs)), to: String(Math.round(span.toMs)) };
}

const steps = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400];

/** Seconds between points, so that about `points` fit; a round figure, never below one. */
export function stepFor(span: Span, points: number): number {
  const exact = (span.toMs - span.fromMs) / 1000 / points;
  return steps.find((s) => s >= exact) ?? Math.ceil(exact / 86_400) * 86_400;
}

/** Start and end in seconds on multiples of the step, so that points do not flicker as time goes on. */
export function aligned(span: Span, step: number): { start: number; end: number } {
  return {
    start: Math.ceil(span.fromMs / 1000 / step) * step,
    end: Math.floor(span.toMs / 1000 / step) * step,
  };
}
