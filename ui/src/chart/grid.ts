// From the answer of a range query to columns on one time grid. A step without a sample is null,
// never a line drawn across; where all series are missing, the chart hatches a gap.

import type { Labels, MatrixSeries } from '../api/prometheus';

export interface Grid {
  /** Seconds. */
  times: number[];
  columns: (number | null)[][];
}

/** `start`, `end` and `step` in seconds, as asked for. */
export function toGrid(series: readonly MatrixSeries[], start: number, end: number, step: number): Grid {
  const count = Math.max(0, Math.floor((end - start) / step + 1e-9) + 1);
  const times = Array.from({ length: count }, (_, i) => start + i * step);
  const columns = series.map((one) => {
    const column = new Array<number | null>(count).fill(null);
    for (const [time, text] of one.values) {
      const i = Math.round((time - start) / step);
      const value = number(text);
      if (i >= 0 && i < count && Number.isFinite(value)) column[i] = value;
    }
    return column;
  });
  return { times, columns };
}

/** A sample value as Prometheus writes it. */
export function number(text: string): number {
  if (text === '+Inf' || text === 'Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  return Number(text);
}

/** Runs of steps where no series has a value, as half-open index ranges. */
export function gaps(grid: Grid): [number, number][] {
  const found: [number, number][] = [];
  let begin = -1;
  for (let i = 0; i <= grid.times.length; i += 1) {
    const empty = i < grid.times.length && grid.columns.every((c) => c[i] === null);
    if (empty && begin < 0) begin = i;
    if (!empty && begin >= 0) {
      found.push([begin, i]);
      begin = -1;
    }
  }
  return found;
}

/** Each column on top of those before it; a missing value adds nothing. */
export function stacked(columns: readonly (number | null)[][]): (number | null)[][] {
  const sum: number[] = [];
  return columns.map((column) =>
    column.map((value, i) => {
      if (value === null) return null;
      sum[i] = (sum[i] ?? 0) + value;
      return sum[i] ?? null;
    }),
  );
}

/** The labels that tell these series apart, in one line; the name first. */
export function seriesNames(all: readonly Labels[]): string[] {
  const keys = new Set(all.flatMap((labels) => Object.keys(labels)));
  keys.delete('__name__');
  const telling = [...keys].filter((key) => new Set(all.map((labels) => labels[key])).size > 1);
  const shown = all.length > 1 ? telling : [...keys];
  const names = new Set(all.map((labels) => labels['__name__']));
  return all.map((labels) => {
    const list = shown
      .filter((key) => labels[key] !== undefined && labels[key] !== '')
      .sort()
      .map((key) => `${key}="${labels[key]}"`);
    const name = names.size > 1 || list.length === 0 ? (labels['__name__'] ?? '') : '';
    return list.length > 0 ? `${name}{${list.join(', ')}}` : name || '{}';
  });
}

export function metricText(labels: Labels): string {
  const list = Object.keys(labels)
    .filter((key) => key !== '__name__')
    .sort()
    .map(
      (key) =>
        `${key}="${(labels[key] ?? '').replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
    );
  return `${labels['__name__'] ?? ''}{${list.join(', ')}}`;
}
