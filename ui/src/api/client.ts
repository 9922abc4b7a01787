// One way to ask the server. Whatever goes wrong becomes an ApiError that says what failed and
// what to do; an aborted request stays an AbortError, which nobody is told of.

import { base } from '../state/base';

export class ApiError extends Error {
  constructor(
    message: string,
    readonly remedy: string,
    /** HTTP status; 0 when there was no answer. */
    readonly status: number,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  const response = await ask(url, 'application/json', signal);
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (!response.ok) throw refusal(url, response.status, body);
  if (body === undefined)
    throw new ApiError(
      `${pathOf(url)} answered with something that is not JSON.`,
      'Is another server or a proxy in between? Look at the address in the location bar.',
      response.status,
    );
  return body as T;
}

export async function getText(url: string, signal?: AbortSignal): Promise<string> {
  const response = await ask(url, 'text/plain', signal);
  if (!response.ok) throw refusal(url, response.status, undefined);
  return response.text();
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}

async function ask(url: string, accept: string, signal?: AbortSignal): Promise<Response> {
  try {
    return await fetch(base + url, { headers: { accept }, ...(signal ? { signal } : {}) });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(
      'Vedette does not answer.',
      'Is it running? Look at its terminal or service log; this page goes on by itself when it is back.',
      0,
    );
  }
}

/** Both error shapes: Vedette's own `{error, remedy}` and Prometheus' `{status, errorType, error}`. */
function refusal(url: string, status: number, body: unknown): ApiError {
  const said = (body ?? {}) as { error?: unknown; remedy?: unknown; errorType?: unknown };
  const text =
    typeof said.error === 'string' ? said.error : `${pathOf(url)} answered with HTTP status ${status}.`;
  let remedy = typeof said.remedy === 'string' ? said.remedy : '';
  if (!remedy && status >= 500) remedy = 'The Status page says how each part of Vedette is.';
  return new ApiError(text, remedy, status);
}

function pathOf(url: string): string {
  return url.split('?', 1)[0] ?? url;
}
