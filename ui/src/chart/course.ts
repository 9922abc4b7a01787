// The course of many figures over one time range: one answer, taken apart into the lines of graphs.
// Every series of the answer carries the label `figure`.

import type { Labels, MatrixSeries } from '../api/prometheus';
import type { Line } from './Chart.svelte';
import { toGrid } from './grid';

export class Course {
  readonly times: number[];

  readonly #byFigure = new Map<string, { metric: Labels; values: (number | null)[] }[]>();

  /** `start`, `end` and `step` in seconds, as asked for. */
  constructor(
    series: readonly MatrixSeries[],
    readonly start: number,
    readonly end: number,
    readonly step: number,
  ) {
    const grid = toGrid(series, start, end, step);
    this.times = grid.times;
    series.forEach(({ metric }, i) => {
      const figure = metric['figure'] ?? '';
      const list = this.#byFigure.get(figure) ?? [];
      list.push({ metric, values: grid.columns[i] ?? [] });
      this.#byFigure.set(figure, list);
    });
  }

  has(...figures: string[]): boolean {
    return figures.some((figure) => this.#byFigure.has(figure));
  }

  /** The values of a figure that has one series; nulls where there is none. */
  values(figure: string): (number | null)[] {
    return this.#byFigure.get(figure)?.[0]?.values ?? this.times.map(() => null);
  }

  /** A line for a figure that has one series; none where it has no sample in the range. */
  one(figure: string, name: string, color: string, more: Partial<Line> = {}): Line[] {
    return this.has(figure) ? [{ name, color, values: this.values(figure), ...more }] : [];
  }

  /** Whose series a figure has. */
  labels(figure: string): Labels[] {
    return (this.#byFigure.get(figure) ?? []).map(({ metric }) => metric);
  }

  /** A line for each series of a figure that is wanted, in the order of their names. */
  each(figure: string, name: (labels: Labels) => string, wanted = (_labels: Labels) => true): Line[] {
    const lines = (this.#byFigure.get(figure) ?? [])
      .filter(({ metric }) => wanted(metric))
      .map(({ metric, values }) => ({ name: name(metric), values }));
    return distinct(lines).sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  }

  /** The value of each step, made of one value of each figure; null where one is missing. */
  computed(figures: string[], of: (...values: number[]) => number): (number | null)[] {
    const columns = figures.map((figure) => this.values(figure));
    return this.times.map((_t, i) => {
      const row = columns.map((c) => c[i] ?? null);
      return row.some((v) => v === null) ? null : of(...(row as number[]));
    });
  }
}

/** A legend's names tell lines apart: what comes again gets a number. */
function distinct(lines: Line[]): Line[] {
  const seen = new Map<string, number>();
  return lines.map((line) => {
    const count = (seen.get(line.name) ?? 0) + 1;
    seen.set(line.name, count);
    return count === 1 ? line : { ...line, name: `${line.name} (${count})` };
  });
}
