// Order, filter and export of table rows. Pure: the same rows and order give the same table.

export type Cell = string | number | null | undefined;

export interface Order {
  key: string;
  down: boolean;
}

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Missing values stand last in both directions: they say nothing about order. */
export function compare(a: Cell, b: Cell, down: boolean): number {
  const noA = isMissing(a);
  const noB = isMissing(b);
  if (noA || noB) return noA === noB ? 0 : noA ? 1 : -1;
  const order =
    typeof a === 'number' && typeof b === 'number' ? a - b : collator.compare(String(a), String(b));
  return down ? -order : order;
}

/** A stable sort; rows that are equal keep their order. */
export function sorted<T>(rows: readonly T[], value: (row: T) => Cell, down: boolean): T[] {
  const keyed = rows.map((row) => ({ row, value: value(row) }));
  keyed.sort((a, b) => compare(a.value, b.value, down));
  return keyed.map((k) => k.row);
}

/** All words must appear somewhere in the row's text. */
export function matches(text: string, words: string[]): boolean {
  return words.every((word) => text.includes(word));
}

export function wordsOf(filter: string): string[] {
  return filter.toLowerCase().split(/\s+/).filter(Boolean);
}

/** `-cpu` is downwards by cpu, `cpu` upwards: short enough for a URL. */
export function orderText(order: Order): string {
  return order.down ? `-${order.key}` : order.key;
}

export function parseOrder(text: string, keys: readonly string[], fallback: Order): Order {
  const down = text.startsWith('-');
  const key = down ? text.slice(1) : text;
  return keys.includes(key) ? { key, down } : fallback;
}

/** RFC 4180; a cell that a spreadsheet would run as a formula is made text. */
export function csv(header: string[], rows: Cell[][]): string {
  return [header, ...rows].map((row) => row.map(csvCell).join(',')).join('\r\n') + '\r\n';
}

function csvCell(cell: Cell): string {
  if (isMissing(cell)) return '';
  if (typeof cell === 'number') return String(cell);
  const text = /^[=+\-@\t\r]/.test(String(cell)) ? `'${cell}` : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function isMissing(cell: Cell): cell is null | undefined {
  return cell === null || cell === undefined || (typeof cell === 'number' && Number.isNaN(cell));
}
