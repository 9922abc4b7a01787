// Few questions, each for many figures: every figure carries the label `figure`, so that one answer
// can be taken apart again. Pure: queries as text, answers as numbers.

import type { Answer, Labels, QueryData, VectorSample } from '../../api/prometheus';
import { number } from '../../chart/grid';

/** Disks, without what stands on other disks or in memory. */
export const disks = 'device!~"(dm-|loop|ram|zram|sr|md|fd).*"';
/** Network interfaces that lead out of the machine. */
export const nets = 'device!~"lo|(veth|docker|br-|cni|cali|flannel|cilium|lxc|virbr|tunl|kube|ifb).*"';
/** File systems that keep something. */
export const kept =
  'fstype!~"tmpfs|ramfs|devtmpfs|squashfs|overlay|nsfs|proc|sysfs|cgroup.*|autofs|fuse.*|iso9660"';

/** One query for all of these expressions. */
export function figures(of: Record<string, string>): string {
  return Object.entries(of)
    .map(([name, expression]) => `label_replace(${expression}, "figure", "${name}", "", "")`)
    .join(' or ');
}

/** Longer addresses are cut off by some proxies; a name in every matcher can make a query long. */
const encodedLengthMax = 3000;

/** The same as few queries, each of which fits into an address. */
export function figureQueries(of: Record<string, string>): string[] {
  const queries: string[] = [];
  let part: Record<string, string> = {};
  for (const [name, expression] of Object.entries(of)) {
    const longer = { ...part, [name]: expression };
    if (Object.keys(part).length > 0 && encodeURIComponent(figures(longer)).length > encodedLengthMax) {
      queries.push(figures(part));
      part = { [name]: expression };
    } else part = longer;
  }
  queries.push(figures(part));
  return queries;
}

/** Matchers for these labels; the values may hold anything. */
export function matchers(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(',');
}

/**
 * The window of rates over series of which the last two minutes hold so many samples: four samples
 * long as they are collected, never shorter than two steps, and of few lengths, so that the text of
 * a query stays the same from poll to poll.
 */
export function rateWindow(samplesInTwoMinutes: number, step = 0): string {
  const four = samplesInTwoMinutes > 0 ? 480 / samplesInTwoMinutes : 0;
  const seconds = [15, 30, 60, 120].find((s) => s >= four * 0.95) ?? 300;
  return `${Math.max(seconds, Math.ceil(step * 2))}s`;
}

export interface Row {
  labels: Labels;
  /** By the name of the figure. */
  figures: Partial<Record<string, number>>;
}

/** The answer to a query made by `figures`. */
export class Figures {
  readonly #by = new Map<string, { labels: Labels; value: number }[]>();

  constructor(samples: readonly VectorSample[]) {
    for (const { metric, value } of samples) {
      const x = number(value[1]);
      if (Number.isNaN(x)) continue;
      const name = metric['figure'] ?? '';
      const list = this.#by.get(name);
      if (list) list.push({ labels: metric, value: x });
      else this.#by.set(name, [{ labels: metric, value: x }]);
    }
  }

  static of(answer: Answer<QueryData>): Figures {
    return new Figures(answer.data.resultType === 'vector' ? answer.data.result : []);
  }

  /** The value of a figure that has one series. */
  one(name: string): number | undefined {
    return this.#by.get(name)?.[0]?.value;
  }

  /** The labels of a figure that has one series. */
  labels(name: string): Labels {
    return this.#by.get(name)?.[0]?.labels ?? {};
  }

  /** All series of a figure. */
  all(name: string): readonly { labels: Labels; value: number }[] {
    return this.#by.get(name) ?? [];
  }

  /** One row for each combination of these labels, with the named figures; the labels are those of the first. */
  rows(names: readonly string[], by: readonly string[]): Row[] {
    const rows = new Map<string, Row>();
    for (const name of names)
      for (const { labels, value } of this.all(name)) {
        const key = JSON.stringify(by.map((label) => labels[label] ?? ''));
        const row = rows.get(key) ?? { labels, figures: {} };
        row.figures[name] = value;
        rows.set(key, row);
      }
    return [...rows.values()];
  }
}
