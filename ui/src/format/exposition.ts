// Reads the text exposition format: what `/metrics` says of Vedette itself. Lines that are not
// understood are left out; this is for looking at, not for storing.

export interface Exposed {
  name: string;
  labels: string;
  value: number;
  type: string;
  help: string;
}

export function parseExposition(text: string): Exposed[] {
  const rows: Exposed[] = [];
  const help = new Map<string, string>();
  const type = new Map<string, string>();
  for (const line of text.split('\n')) {
    const meta = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (meta) {
      (meta[1] === 'HELP' ? help : type).set(meta[2] ?? '', meta[3] ?? '');
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})?\s+(\S+)(\s+-?\d+)?\s*$/.exec(line);
    if (!sample) continue;
    const name = sample[1] ?? '';
    // Histograms and summaries name the family, not the series.
    const family = type.has(name) ? name : name.replace(/_(bucket|sum|count|total)$/, '');
    rows.push({
      name,
      labels: (sample[2] ?? '').slice(1, -1),
      value: Number((sample[3] ?? '').replace('Inf', 'Infinity')),
      type: type.get(name) ?? type.get(family) ?? '',
      help: help.get(name) ?? help.get(family) ?? '',
    });
  }
  return rows;
}
