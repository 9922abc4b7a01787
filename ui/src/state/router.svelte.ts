// The address is the state. Components read `router.path` and `router.params` and never keep a
// copy; every change goes through `go` or `set`, so that back and forward restore what was shown.

import { base, below } from './base';
import { address, changed, link, redirect, type Change, type Place } from './url';

function here(): Place {
  return { path: below(base, window.location.pathname), params: new URLSearchParams(window.location.search) };
}

class Router {
  #place = $state.raw<Place>(here());

  get path(): string {
    return this.#place.path;
  }

  get params(): URLSearchParams {
    return this.#place.params;
  }

  param(name: string): string {
    return this.#place.params.get(name) ?? '';
  }

  /** Begins to follow the browser's history and the clicks on links. */
  start(): void {
    this.#settle(here());
    window.addEventListener('popstate', () => this.#settle(here()));
    document.addEventListener('click', (event) => this.#follow(event));
  }

  /** The address of a page in the current range and zone. */
  link(path: string, change: Change = {}): string {
    return base + link(path, change, this.#place.params);
  }

  go(url: string, how: { replace?: boolean } = {}): void {
    const target = new URL(url, window.location.href);
    const before = this.#place.path;
    if (target.href !== window.location.href)
      history[how.replace ? 'replaceState' : 'pushState'](
        null,
        '',
        target.pathname + target.search + target.hash,
      );
    this.#settle(here());
    if (this.#place.path !== before) {
      window.scrollTo(0, 0);
      // A new page begins at its heading, for the eye and for a screen reader.
      requestAnimationFrame(() =>
        document.querySelector<HTMLElement>('main h1')?.focus({ preventScroll: true }),
      );
    }
  }

  /** Changes parameters of this page. Typing replaces; a decision makes a step in the history. */
  set(change: Change, how: { replace?: boolean } = {}): void {
    this.go(base + address({ path: this.#place.path, params: changed(this.#place.params, change) }), how);
  }

  #settle(place: Place): void {
    const better = redirect(place);
    if (better) history.replaceState(null, '', base + address(better));
    this.#place = better ?? place;
  }

  #follow(event: MouseEvent): void {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const anchor = event.target instanceof Element ? event.target.closest('a') : null;
    if (!anchor || anchor.target || anchor.hasAttribute('download')) return;
    const url = new URL(anchor.href, window.location.href);
    if (url.origin !== window.location.origin || anchor.getAttribute('href')?.startsWith('#')) return;
    if (/^\/(api|metrics|-)(\/|$)/.test(below(base, url.pathname))) return;
    event.preventDefault();
    this.go(url.href);
  }
}

export const router = new Router();
