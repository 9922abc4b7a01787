// Words on the time axis: as fine as the distance between them, the day where it changes.

import { clockTime, day } from '../format/time';

export function timeLabels(splits: number[], incr: number, zone: string): string[] {
  let before = '';
  return splits.map((s) => {
    const ms = s * 1000;
    const date = day(ms, zone).slice(5);
    const changed = before !== '' && date !== before;
    before = date;
    if (incr >= 86_400 || changed) return date;
    return incr >= 60 ? clockTime(ms, zone).slice(0, 5) : clockTime(ms, zone);
  });
}
