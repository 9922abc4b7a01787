// Where in the text a query failed. The server names it `line:col` (both from 1, columns in
// bytes, as in Prometheus); the editor counts UTF-16 units from the begin.

export interface Place {
  from: number;
  to: number;
  message: string;
}

/** The place of a server's error, or null where it names none. */
export function errorPlace(error: string, text: string): Place | null {
  const found = /(?:^|[\s:])(\d+):(\d+): (.+)$/s.exec(error);
  if (!found) return null;
  const from = offset(text, Number(found[1]), Number(found[2]));
  if (from === null) return null;
  return { ...widen(text, from), message: (found[3] ?? error).trim() };
}

/** UTF-16 offset of a position in lines and bytes; null where the text has no such line. */
export function offset(text: string, line: number, column: number): number | null {
  if (line < 1 || column < 1) return null;
  let begin = 0;
  for (let l = 1; l < line; l += 1) {
    const end = text.indexOf('\n', begin);
    if (end < 0) return null;
    begin = end + 1;
  }
  const newline = text.indexOf('\n', begin);
  const lineEnd = newline < 0 ? text.length : newline;
  let bytes = column - 1;
  let at = begin;
  while (bytes > 0 && at < lineEnd) {
    const code = text.codePointAt(at) ?? 0;
    bytes -= code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    at += code < 0x10000 ? 1 : 2;
  }
  return at;
}

/** To the end of the word; an error at the very end underlines the last character. */
function widen(text: string, from: number): { from: number; to: number } {
  if (from >= text.length) return { from: Math.max(0, text.length - 1), to: text.length };
  const word = /^[a-zA-Z0-9_:.]+/.exec(text.slice(from));
  return { from, to: from + (word ? word[0].length : 1) };
}
