// Colours and patterns for canvases, taken from the style sheet so that themes have one home.

export function color(variable: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

/** Diagonal hatching for where there is no data. */
export function hatch(context: CanvasRenderingContext2D): CanvasPattern | null {
  const size = 8;
  const tile = document.createElement('canvas');
  tile.width = size;
  tile.height = size;
  const pen = tile.getContext('2d');
  if (!pen) return null;
  pen.strokeStyle = color('--hatch');
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const x of [-size, 0, size]) {
    pen.moveTo(x, size);
    pen.lineTo(x + size, 0);
  }
  pen.stroke();
  return context.createPattern(tile, 'repeat');
}

const dashes = [[], [6, 3], [2, 2], [9, 3, 2, 3]];

/** Lines differ by dash too: the first eight by colour, then the dash changes with every round; beside that each second is dashed. */
export function dashOf(index: number): number[] {
  return dashes[(index % 2) + 2 * (Math.floor(index / 8) % 2)] ?? [];
}
