// Numbers as people read them: few digits, always with a unit, never a false precision.

export type Unit =
  'none' | 'bytes' | 'bytes/s' | 'ratio' | 'percent' | 'seconds' | 'cores' | 'ops/s' | 'count' | 'celsius';

const binary = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
const si = ['', 'k', 'M', 'G', 'T', 'P'];
const missing = '–';
/** A space that never breaks: number and unit stay together. */
const nbsp = '\u00a0';

export function format(value: number | null | undefined, unit: Unit): string {
  if (value === null || value === undefined || Number.isNaN(value)) return missing;
  if (!Number.isFinite(value)) return value > 0 ? '+∞' : '−∞';
  switch (unit) {
    case 'bytes':
      return bytes(value);
    case 'bytes/s':
      return `${bytes(value)}/s`;
    case 'ratio':
      return percent(value * 100);
    case 'percent':
      return percent(value);
    case 'seconds':
      return seconds(value);
    case 'cores':
      return Math.abs(value) < 1 && value !== 0
        ? `${digits(value * 1000)}${nbsp}m`
        : `${digits(value)}${nbsp}${value === 1 ? 'core' : 'cores'}`;
    case 'ops/s':
      return `${short(value)}/s`;
    case 'count':
      return count(value);
    case 'celsius':
      return `${digits(Math.round(value * 10) / 10)}${nbsp}°C`;
    case 'none':
      return short(value);
  }
}

/** Hours until something is full: the figure is infinite where nothing fills. */
export function untilFull(hours: number | undefined): string {
  if (hours === undefined || Number.isNaN(hours)) return missing;
  if (!Number.isFinite(hours)) return 'does not fill';
  return hours < 1 / 60 ? 'full' : seconds(Math.round(hours * 60) * 60);
}

/** About three significant digits; whole numbers stay whole. */
export function digits(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 100 || Number.isInteger(value)) return String(Math.round(value));
  if (size >= 10) return value.toFixed(1);
  if (size >= 0.01) return value.toFixed(2);
  return value.toPrecision(2);
}

/** A whole number in groups of three, from five digits on. */
export function grouped(value: number | string): string {
  return String(value).replace(
    /^(-?)(\d{5,})$/,
    (_all, sign: string, whole: string) => sign + whole.replace(/\B(?=(\d{3})+$)/g, '\u202f'),
  );
}

function bytes(value: number): string {
  const [scaled, step] = scale(value, 1024, binary.length - 1);
  return `${step === 0 ? Math.round(scaled) : digits(scaled)}${nbsp}${binary[step]}`;
}

function percent(value: number): string {
  const size = Math.abs(value);
  const text = size >= 10 || value === 0 ? value.toFixed(0) : size >= 0.095 ? value.toFixed(1) : '<0.1';
  return `${text}${nbsp}%`;
}

function short(value: number): string {
  const size = Math.abs(value);
  if (size < 1000) return digits(value);
  const [scaled, step] = scale(value, 1000, si.length - 1);
  return `${digits(scaled)}${si[step]}`;
}

function count(value: number): string {
  return Math.abs(value) < 10_000 ? String(Math.round(value)) : short(value);
}

/** A length of time: the two largest parts that matter. */
export function seconds(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return `0${nbsp}s`;
  if (size < 0.001) return `${digits(value * 1e6)}${nbsp}µs`;
  if (size < 1) return `${digits(value * 1e3)}${nbsp}ms`;
  if (size < 60) return `${digits(value)}${nbsp}s`;
  const sign = value < 0 ? '−' : '';
  const whole = Math.round(size);
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor((whole % 86_400) / 3600), 'h'],
    [Math.floor((whole % 3600) / 60), 'min'],
    [whole % 60, 's'],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  return (
    sign +
    parts
      .slice(first, first + 2)
      .filter(([n]) => n > 0)
      .map(([n, u]) => `${n}${nbsp}${u}`)
      .join(' ')
  );
}

/** Scales down by `base` until the number is short; rounding up to the base counts as reaching it. */
function scale(value: number, base: number, stepMax: number): [number, number] {
  let scaled = value;
  let step = 0;
  while (step < stepMax && Math.abs(scaled) >= base - 0.5) {
    scaled /= base;
    step += 1;
  }
  return [scaled, step];
}

/** The unit that a metric's name promises, by the naming rules of Prometheus. */
export function unitOf(expression: string): Unit {
  const rate = /\b(rate|irate|deriv)\s*\(/.test(expression);
  const name = /([a-zA-Z_:][a-zA-Z0-9_:]*_(bytes|seconds|ratio|percent)(_total)?)\b/.exec(expression);
  // A quotient of two like things has no unit, and what is compared or counted loses its own.
  if (/[/]|\bcount\b|\bcount_over_time\b|\bchanges\b/.test(withoutStrings(expression))) return 'none';
  if (!name) return 'none';
  switch (name[2]) {
    case 'bytes':
      return rate ? 'bytes/s' : 'bytes';
    case 'seconds':
      return rate ? 'none' : /timestamp|_time_seconds/.test(name[1] ?? '') ? 'none' : 'seconds';
    case 'ratio':
      return 'ratio';
    default:
      return 'percent';
  }
}

function withoutStrings(expression: string): string {
  return expression.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`/g, '');
}
