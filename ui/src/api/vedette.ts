// Vedette's own API, one function an endpoint.

import { get } from './client';
import type {
  CapacityAnswer,
  ContainersAnswer,
  Event,
  EventsAnswer,
  ExplainAnswer,
  Finding,
  FindingsAnswer,
  QueriesAnswer,
  StatusAnswer,
  TreeAnswer,
} from './types';

const root = '/api/vedette/v1';

/** What is searched for; the same for the past and for the live tail. */
export interface EventFilter {
  kinds: string[];
  container: string;
  text: string;
  process: string;
  severity: string;
}

export const noFilter: EventFilter = { kinds: [], container: '', text: '', process: '', severity: '' };

export function eventParams(filter: EventFilter): URLSearchParams {
  const params = new URLSearchParams();
  for (const kind of filter.kinds) params.append('kind', kind);
  for (const name of ['container', 'text', 'process', 'severity'] as const)
    if (filter[name]) params.set(name, filter[name]);
  return params;
}

export function status(signal?: AbortSignal): Promise<StatusAnswer> {
  return get(`${root}/status`, signal);
}

export function events(
  filter: EventFilter,
  fromMs: number,
  toMs: number,
  before: string | null,
  limit: number,
  signal?: AbortSignal,
): Promise<EventsAnswer> {
  const params = eventParams(filter);
  params.set('from', String(Math.floor(fromMs)));
  params.set('to', String(Math.ceil(toMs)));
  params.set('limit', String(limit));
  if (before) params.set('before', before);
  return get(`${root}/events?${params}`, signal);
}

export function liveUrl(filter: EventFilter): string {
  return `${root}/events/live?${eventParams(filter)}`;
}

export function event(id: string, signal?: AbortSignal): Promise<Event> {
  return get(`${root}/events/${encodeURIComponent(id)}`, signal);
}

export function tree(id: string, signal?: AbortSignal): Promise<TreeAnswer> {
  return get(`${root}/events/${encodeURIComponent(id)}/tree`, signal);
}

export async function findings(signal?: AbortSignal): Promise<Finding[]> {
  return (await get<FindingsAnswer>(`${root}/findings`, signal)).findings;
}

export async function containers(signal?: AbortSignal): Promise<ContainersAnswer['containers']> {
  return (await get<ContainersAnswer>(`${root}/containers`, signal)).containers;
}

/** How many nodes of the watched clusters may fail. */
export function capacity(signal?: AbortSignal): Promise<CapacityAnswer> {
  return get(`${root}/capacity`, signal);
}

/** Queries that run, that took long, and that ran at the last crash. */
export function queries(signal?: AbortSignal): Promise<QueriesAnswer> {
  return get(`${root}/queries`, signal);
}

/** Evaluates a query over a range and tells what each of its nodes did; times and step in seconds. */
export function explain(
  query: string,
  start: number,
  end: number,
  step: number,
  signal?: AbortSignal,
): Promise<ExplainAnswer> {
  const params = new URLSearchParams({ query, start: String(start), end: String(end), step: String(step) });
  return get(`${root}/explain?${params}`, signal);
}

/** What keeps the targets of scrape pools from being found, by pool. */
export async function discoveryProblems(signal?: AbortSignal): Promise<Record<string, string[]>> {
  const answer = await get<{ problems: Record<string, string[]> }>('/api/vedette/v1/discovery', signal);
  return answer.problems;
}
