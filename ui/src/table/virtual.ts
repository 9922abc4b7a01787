// Which rows of a long list are worth drawing. All rows have one height.

export interface Window {
  /** First row drawn. */
  first: number;
  /** One past the last row drawn. */
  end: number;
  /** Pixels of the rows before. */
  above: number;
  /** Pixels of the rows after. */
  below: number;
}

/** Rows drawn beyond the visible ones, so that scrolling shows no white. */
const margin = 8;

export function visible(count: number, rowHeight: number, scrollTop: number, height: number): Window {
  const first = clamp(Math.floor(scrollTop / rowHeight) - margin, 0, Math.max(0, count - 1));
  const end = clamp(Math.ceil((scrollTop + height) / rowHeight) + margin, first, count);
  return { first, end, above: first * rowHeight, below: (count - end) * rowHeight };
}

/** Where to scroll so that a row is wholly seen; as little as possible. */
export function reveal(row: number, rowHeight: number, scrollTop: number, height: number): number {
  const top = row * rowHeight;
  if (top < scrollTop) return top;
  if (top + rowHeight > scrollTop + height) return top + rowHeight - height;
  return scrollTop;
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
