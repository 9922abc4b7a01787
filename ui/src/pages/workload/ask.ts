// Asks for figures: now, or their course over a range.

import { instant, range } from '../../api/prometheus';
import { Course } from '../../chart/course';
import { aligned, stepFor, type Span } from '../../state/range';
import { Figures } from './figures';

/** The value of each figure at one time (seconds since the epoch), or now. */
export async function askNow(
  queries: readonly string[],
  time: number | undefined,
  signal: AbortSignal,
): Promise<Figures> {
  const answers = await Promise.all(queries.map((query) => instant(query, time, signal)));
  return new Figures(answers.flatMap(({ data }) => (data.resultType === 'vector' ? data.result : [])));
}

/** The course of each figure, by a query that knows how far rates look back at this step. */
export async function askOver(
  queries: (step: number) => readonly string[],
  span: Span,
  signal: AbortSignal,
): Promise<Course> {
  const step = stepFor(span, 180);
  const { start, end } = aligned(span, step);
  const answers = await Promise.all(queries(step).map((query) => range(query, start, end, step, signal)));
  const series = answers.flatMap(({ data }) => (data.resultType === 'matrix' ? data.result : []));
  return new Course(series, start, end, step);
}
