// Asks again and again while somebody looks. Keeps the last good answer when asking fails, stops
// while the tab is hidden, waits longer after each failure, and has never two requests in flight.

import { untrack } from 'svelte';
import { isAbort } from '../api/client';

const waitMsMax = 30_000;

export class Poll<T> {
  data = $state.raw<T | undefined>(undefined);
  error = $state.raw<Error | undefined>(undefined);
  /** A request for something else than what is shown is under way. */
  stale = $state(false);
  /** When `data` came, in milliseconds since the epoch; 0 before. */
  at = $state(0);

  #ask: (signal: AbortSignal) => Promise<T>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | undefined;
  #failures = 0;
  #everyMs = 0;

  constructor(ask: (signal: AbortSignal) => Promise<T>) {
    this.#ask = ask;
  }

  /**
   * To be called in an effect, which returns what this returns. Asks at once; then every
   * `everyMs`, or never again where that is 0. The effect follows what it reads itself, not what
   * asking reads.
   */
  run(everyMs: number): () => void {
    this.#everyMs = everyMs;
    this.#failures = 0;
    untrack(() => {
      if (this.#everShown) this.stale = true;
      void this.#once();
    });
    const visible = (): void => {
      if (!document.hidden && this.#everyMs > 0 && !this.#running) void this.#once();
    };
    document.addEventListener('visibilitychange', visible);
    return () => {
      document.removeEventListener('visibilitychange', visible);
      clearTimeout(this.#timer);
      this.#running?.abort();
      this.#running = undefined;
    };
  }

  /** Asks now, whatever the clock says. */
  again(): void {
    this.#running?.abort();
    this.#running = undefined;
    void this.#once();
  }

  #everShown = false;

  async #once(): Promise<void> {
    clearTimeout(this.#timer);
    const mine = new AbortController();
    this.#running = mine;
    try {
      const data = await this.#ask(mine.signal);
      if (this.#running !== mine) return;
      this.data = data;
      this.error = undefined;
      this.stale = false;
      this.at = Date.now();
      this.#everShown = true;
      this.#failures = 0;
    } catch (error) {
      if (this.#running !== mine || isAbort(error)) return;
      this.error = error instanceof Error ? error : new Error(String(error));
      this.stale = false;
      this.#failures += 1;
    }
    this.#running = undefined;
    if (this.#everyMs > 0)
      this.#timer = setTimeout(() => !document.hidden && void this.#once(), this.#waitMs());
  }

  #waitMs(): number {
    return this.#failures === 0
      ? this.#everyMs
      : Math.min(waitMsMax, this.#everyMs * 2 ** Math.min(this.#failures, 5));
  }
}
