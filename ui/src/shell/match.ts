// How well something found by its name fits what was typed: all words must appear; a match at the
// begin of the name, or of a word in it, counts more; shorter names before longer.

export function score(name: string, words: string[]): number {
  if (words.length === 0) return 1;
  const text = name.toLowerCase();
  let sum = 0;
  for (const word of words) {
    const at = text.indexOf(word);
    if (at < 0) return 0;
    sum += at === 0 ? 4 : /[^a-z0-9]/.test(text[at - 1] ?? '') ? 2 : 1;
  }
  return sum + 1 / (1 + text.length);
}

/** The best `limit`, best first; equal ones keep their order. */
export function best<T>(items: readonly T[], name: (item: T) => string, words: string[], limit: number): T[] {
  return items
    .map((item, i) => ({ item, i, score: score(name(item), words) }))
    .filter((s) => s.score > 0)
    .sort((a, b) => (words.length === 0 ? a.i - b.i : b.score - a.score || a.i - b.i))
    .slice(0, limit)
    .map((s) => s.item);
}
