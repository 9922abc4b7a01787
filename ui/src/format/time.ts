// Times with zone and age. Zones are `browser`, `utc`, or a name of the IANA database.

import { seconds } from './units';

export function zoneName(zone: string): string | undefined {
  if (zone === 'browser') return undefined;
  if (zone === 'utc') return 'UTC';
  return zone;
}

/** Whether the browser knows the zone; a foreign link may hold anything. */
export function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zoneName(zone) });
    return true;
  } catch {
    return false;
  }
}

/** What is shown of the zone beside times: `UTC`, `CET`, `GMT+5:30`. */
export function zoneLabel(zone: string, atMs: number): string {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: zoneName(zone),
    timeZoneName: 'short',
  }).formatToParts(atMs);
  return parts.find((p) => p.type === 'timeZoneName')?.value ?? 'UTC';
}

const formats = new Map<string, Intl.DateTimeFormat>();

function parts(ms: number, zone: string): Record<string, string> {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('en-GB', {
      timeZone: zoneName(zone),
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      hourCycle: 'h23',
    });
    formats.set(zone, format);
  }
  return Object.fromEntries(format.formatToParts(ms).map((p) => [p.type, p.value]));
}

/** `2026-11-21 02:15:41`, with milliseconds where asked for. */
export function dateTime(ms: number, zone: string, millis = false): string {
  if (!Number.isFinite(ms)) return '–';
  const p = parts(ms, zone);
  const tail = millis ? `.${String(Math.floor(((ms % 1000) + 1000) % 1000)).padStart(3, '0')}` : '';
  return `${p['year']}-${p['month']}-${p['day']} ${p['hour']}:${p['minute']}:${p['second']}${tail}`;
}

/** `02:15:41.123`. */
export function clockTime(ms: number, zone: string, millis = false): string {
  return dateTime(ms, zone, millis).slice(11);
}

export function day(ms: number, zone: string): string {
  return dateTime(ms, zone).slice(0, 10);
}

/** `12 s ago`, `in 3 min`, `now`. */
export function age(ms: number, nowMs: number): string {
  const s = (nowMs - ms) / 1000;
  if (Math.abs(s) < 1.5) return 'now';
  const text = seconds(Math.round(Math.abs(s)));
  return s > 0 ? `${text} ago` : `in ${text}`;
}

/** Nanoseconds since the epoch as a string, to milliseconds, without losing what a float would. */
export function nanosToMs(nanos: string): number {
  if (!/^-?\d+$/.test(nanos)) return NaN;
  return Number(BigInt(nanos) / 1000n) / 1000;
}
