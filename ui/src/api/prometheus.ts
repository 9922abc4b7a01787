// The Prometheus compatible part of the API: answers as Prometheus defines them.

import { get } from './client';

export type Labels = Record<string, string>;
export type Point = [time: number, value: string];

export interface VectorSample {
  metric: Labels;
  value: Point;
}
export interface MatrixSeries {
  metric: Labels;
  values: Point[];
}
export type QueryData =
  | { resultType: 'vector'; result: VectorSample[] }
  | { resultType: 'matrix'; result: MatrixSeries[] }
  | { resultType: 'scalar' | 'string'; result: Point };

export interface Answer<T> {
  data: T;
  warnings?: string[];
  infos?: string[];
}

export interface ActiveAlert {
  labels: Labels;
  annotations: Labels;
  state: 'pending' | 'firing' | 'inactive';
  activeAt?: string;
  value: string;
}
export interface Rule {
  type: 'alerting' | 'recording';
  name: string;
  query: string;
  duration?: number;
  keepFiringFor?: number;
  labels?: Labels;
  annotations?: Labels;
  alerts?: ActiveAlert[];
  state?: string;
  health: string;
  lastError?: string;
  evaluationTime?: number;
  lastEvaluation?: string;
}
export interface RuleGroup {
  name: string;
  file: string;
  interval: number;
  rules: Rule[];
}
export interface Target {
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  health: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
}

/** Evaluates at one time (seconds since the epoch), or now. */
export function instant(
  query: string,
  time: number | undefined,
  signal?: AbortSignal,
): Promise<Answer<QueryData>> {
  const params = new URLSearchParams({ query });
  if (time !== undefined) params.set('time', time.toFixed(3));
  return get(`/api/v1/query?${params}`, signal);
}

/** Evaluates over a range; times and step in seconds. */
export function range(
  query: string,
  start: number,
  end: number,
  step: number,
  signal?: AbortSignal,
): Promise<Answer<QueryData>> {
  const params = new URLSearchParams({ query, start: String(start), end: String(end), step: String(step) });
  return get(`/api/v1/query_range?${params}`, signal);
}

export async function metricNames(signal?: AbortSignal): Promise<string[]> {
  const answer = await get<Answer<string[]>>('/api/v1/label/__name__/values', signal);
  return answer.data;
}

export async function ruleGroups(signal?: AbortSignal): Promise<RuleGroup[]> {
  const answer = await get<Answer<{ groups: RuleGroup[] }>>('/api/v1/rules', signal);
  return answer.data.groups;
}

/** What is collected from where; null where the server does not say. */
export async function targets(signal?: AbortSignal): Promise<Target[] | null> {
  try {
    const answer = await get<Answer<{ activeTargets: Target[] }>>('/api/v1/targets?state=active', signal);
    return answer.data.activeTargets;
  } catch (error) {
    if (error instanceof Error && 'status' in error && error.status === 404) return null;
    throw error;
  }
}
