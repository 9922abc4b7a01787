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
  discoveredLabels: Labels;
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  globalUrl: string;
  health: 'up' | 'down' | 'unknown';
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  scrapeInterval: string;
  scrapeTimeout: string;
}
export interface DroppedTarget {
  discoveredLabels: Labels;
  scrapePool: string;
  error?: string;
}
export interface Targets {
  activeTargets: Target[];
  droppedTargets: DroppedTarget[];
  droppedTargetCounts: Record<string, number> | null;
}
export interface RelabelStep {
  rule: Record<string, string | string[] | number>;
  output: Labels;
  keep: boolean;
}
export interface Counted {
  name: string;
  value: number;
}
export interface HeadStatus {
  headStats: {
    numSeries: number;
    numLabelPairs: number;
    chunkCount: number;
    minTime: number;
    maxTime: number;
  };
  seriesCountByMetricName: Counted[];
  labelValueCountByLabelName: Counted[];
  memoryInBytesByLabelName: Counted[];
  seriesCountByLabelValuePair: Counted[];
}
export interface Block {
  ulid: string;
  minTime: number;
  maxTime: number;
  stats: { numSamples: number; numSeries: number; size?: number };
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

/** The values that a label has in the series of a metric. */
export async function labelValues(label: string, metric: string, signal?: AbortSignal): Promise<string[]> {
  const params = new URLSearchParams({ 'match[]': metric });
  const answer = await get<Answer<string[]>>(
    `/api/v1/label/${encodeURIComponent(label)}/values?${params}`,
    signal,
  );
  return answer.data;
}

export async function ruleGroups(signal?: AbortSignal): Promise<RuleGroup[]> {
  const answer = await get<Answer<{ groups: RuleGroup[] }>>('/api/v1/rules', signal);
  return answer.data.groups;
}

/** What is collected from where. */
export async function targets(signal?: AbortSignal): Promise<Targets> {
  const answer = await get<Answer<Targets>>('/api/v1/targets', signal);
  return answer.data;
}

/** What each rule of a pool makes of the labels of a target. */
export async function relabelSteps(
  pool: string,
  labels: Labels,
  signal?: AbortSignal,
): Promise<RelabelStep[]> {
  const params = new URLSearchParams({ scrapePool: pool, labels: JSON.stringify(labels) });
  const answer = await get<Answer<{ steps: RelabelStep[] }>>(
    `/api/v1/targets/relabel_steps?${params}`,
    signal,
  );
  return answer.data.steps;
}

/** Which labels make the metric store grow. */
export async function headStatus(limit: number, signal?: AbortSignal): Promise<HeadStatus> {
  const answer = await get<Answer<HeadStatus>>(`/api/v1/status/tsdb?limit=${limit}`, signal);
  return answer.data;
}

/** What the metric store has sealed. */
export async function blocks(signal?: AbortSignal): Promise<Block[]> {
  const answer = await get<Answer<{ blocks: Block[] }>>('/api/v1/status/tsdb/blocks', signal);
  return answer.data.blocks;
}

/** The configuration in force, as YAML. */
export async function configYaml(signal?: AbortSignal): Promise<string> {
  const answer = await get<Answer<{ yaml: string }>>('/api/v1/status/config', signal);
  return answer.data.yaml;
}

/** What the program was started with. */
export async function flags(signal?: AbortSignal): Promise<Record<string, string>> {
  const answer = await get<Answer<Record<string, string>>>('/api/v1/status/flags', signal);
  return answer.data;
}
