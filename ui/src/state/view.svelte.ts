// What the header sets for all pages: time range, zone, live mode; and the clock they share.

import { clockTime, dateTime, isZone, zoneLabel } from '../format/time';
import { absolute, defaultRange, isRelative, resolve, shift, zoom, type Asked, type Span } from './range';
import { router } from './router.svelte';

function knownZone(asked: string | null): string {
  return asked !== null && isZone(asked) ? asked : 'browser';
}

class View {
  /** The time by which ages are shown; once a second, and not while nobody looks. */
  now = $state(Date.now());

  start(): void {
    setInterval(() => {
      if (!document.hidden) this.now = Date.now();
    }, 1000);
  }

  // Derived one by one, as plain values: who reads them is told only when they change, and not
  // at every change of the address.
  #from = $derived(router.params.get('from') ?? defaultRange.from);
  #to = $derived(router.params.get('to') ?? defaultRange.to);
  relative = $derived(isRelative({ from: this.#from, to: this.#to }));
  /** Whether figures follow the time; a fixed range never does. */
  live = $derived(this.relative && router.params.get('live') !== '0');
  zone = $derived(knownZone(router.params.get('tz')));

  get asked(): Asked {
    return { from: this.#from, to: this.#to };
  }

  get zoneLabel(): string {
    return zoneLabel(this.zone, this.now);
  }

  /** The range as it is at this moment; not followed by effects, ask again when polling. */
  span(): Span {
    return resolve(this.asked, Date.now());
  }

  setRange(asked: Asked): void {
    const isDefault = asked.from === defaultRange.from && asked.to === defaultRange.to;
    router.set({ from: isDefault ? null : asked.from, to: isDefault ? null : asked.to, live: null });
  }

  setSpan(span: Span): void {
    this.setRange(absolute(span));
  }

  setZone(zone: string): void {
    router.set({ tz: zone === 'browser' ? null : zone });
  }

  toggleLive(): void {
    if (!this.relative) this.setRange(defaultRange);
    else router.set({ live: this.live ? '0' : null }, { replace: true });
  }

  shift(part: number): void {
    this.setRange(shift(this.span(), part));
  }

  zoom(factor: number): void {
    this.setRange(zoom(this.asked, this.span(), factor));
  }

  dateTime(ms: number, millis = false): string {
    return dateTime(ms, this.zone, millis);
  }

  clockTime(ms: number, millis = false): string {
    return clockTime(ms, this.zone, millis);
  }
}

export const view = new View();
