// A very small PromQL evaluator for the mock: enough for what the pages ask, and honest errors
// with a position for the rest. It is no reference for anything.

const functions = new Set([
  'rate',
  'irate',
  'increase',
  'changes',
  'delta',
  'label_replace',
  'abs',
  'histogram_quantile',
  'count_over_time',
  'last_over_time',
]);
const aggregations = new Set(['sum', 'avg', 'max', 'min', 'count', 'topk']);

export class PromqlError extends Error {}

export function parse(text) {
  const tokens = lex(text);
  let at = 0;
  const peek = () => tokens[at];
  const fail = (token, what) => {
    const before = text.slice(0, token.at);
    const line = before.split('\n').length;
    const column = token.at - before.lastIndexOf('\n');
    throw new PromqlError(`${line}:${column}: parse error: ${what}`);
  };
  const take = (value) => {
    const token = peek();
    if (value !== undefined && token.text !== value)
      fail(
        token,
        token.kind === 'end'
          ? `unexpected end of input, expected "${value}"`
          : `unexpected ${token.kind} "${token.text}", expected "${value}"`,
      );
    at += 1;
    return token;
  };
  const levels = [['or'], ['and', 'unless'], ['==', '!=', '>', '<', '>=', '<='], ['+', '-'], ['*', '/', '%']];
  function binary(level) {
    if (level === levels.length) return unary();
    let left = binary(level + 1);
    while (levels[level].includes(peek().text) && peek().kind !== 'string') {
      const op = take().text;
      if (peek().text === 'bool') take();
      left = { type: 'binary', op, left, right: binary(level + 1) };
    }
    return left;
  }
  function unary() {
    if (peek().text === '-') {
      take();
      return { type: 'binary', op: '-', left: { type: 'number', value: 0 }, right: unary() };
    }
    return primary();
  }
  function labelList() {
    take('(');
    const list = [];
    while (peek().text !== ')') {
      list.push(take().text);
      if (peek().text === ',') take();
    }
    take(')');
    return list;
  }
  function primary() {
    const token = peek();
    if (token.kind === 'number') return { type: 'number', value: Number(take().text) };
    if (token.kind === 'string') return { type: 'string', value: take().text };
    if (token.text === '(') {
      take();
      const inner = binary(0);
      take(')');
      return inner;
    }
    if (token.text === '{') return selector('');
    if (token.kind !== 'identifier')
      fail(
        token,
        token.kind === 'end' ? 'unexpected end of input' : `unexpected ${token.kind} "${token.text}"`,
      );
    take();
    if (aggregations.has(token.text)) {
      let by;
      const grouping = () => {
        if (peek().text === 'by' || peek().text === 'without')
          by = { word: take().text, labels: labelList() };
      };
      grouping();
      take('(');
      const args = [binary(0)];
      while (peek().text === ',') {
        take();
        args.push(binary(0));
      }
      take(')');
      grouping();
      return { type: 'aggregate', op: token.text, by, args };
    }
    if (peek().text === '(') {
      if (!functions.has(token.text)) fail(token, `unknown function with name "${token.text}"`);
      take('(');
      const args = [];
      while (peek().text !== ')') {
        args.push(binary(0));
        if (peek().text === ',') take();
        else break;
      }
      take(')');
      return { type: 'call', name: token.text, args };
    }
    return selector(token.text);
  }
  function selector(name) {
    const matchers = name ? [{ name: '__name__', op: '=', value: name }] : [];
    if (peek().text === '{') {
      take();
      while (peek().text !== '}') {
        const label = take();
        if (label.kind !== 'identifier')
          fail(
            label,
            `unexpected ${label.kind} "${label.text}" in label matching, expected identifier or "}"`,
          );
        const op = take();
        if (!['=', '!=', '=~', '!~'].includes(op.text))
          fail(op, `unexpected ${op.kind} "${op.text}" in label matching, expected label matching operator`);
        const value = take();
        if (value.kind !== 'string')
          fail(value, `unexpected ${value.kind} "${value.text}" in label matching, expected string`);
        matchers.push({ name: label.text, op: op.text, value: value.text });
        if (peek().text === ',') take();
      }
      take('}');
    }
    let window = 0;
    if (peek().text === '[') {
      take();
      window = seconds(take().text);
      take(']');
    }
    return { type: 'selector', matchers, window };
  }
  const tree = binary(0);
  if (peek().kind !== 'end') fail(peek(), `unexpected ${peek().kind} "${peek().text}"`);
  return tree;
}

function lex(text) {
  const tokens = [];
  const pattern =
    /\s+|#[^\n]*|(?<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<duration>\d+(?:ms|[smhdwy]))|(?<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?<identifier>[a-zA-Z_:][\w:]*)|(?<operator>=~|!~|!=|==|>=|<=|[-+*/%<>=(){}[\],])/gy;
  let at = 0;
  while (at < text.length) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (!match)
      throw new PromqlError(`1:${at + 1}: parse error: unexpected character: ${JSON.stringify(text[at])}`);
    for (const [kind, value] of Object.entries(match.groups ?? {}))
      if (value !== undefined)
        tokens.push({
          kind,
          at,
          text: kind === 'string' ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value,
        });
    at = pattern.lastIndex;
  }
  tokens.push({ kind: 'end', text: '', at: text.length });
  return tokens;
}

function seconds(text) {
  const unit = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, y: 31_536_000 };
  const found = /^(\d+)(ms|[smhdwy])$/.exec(text);
  return found ? Number(found[1]) * unit[found[2]] : 60;
}

/** `store.select(matchers)` gives `{labels, at(t), rate(t)}`. A vector is a list of {labels, value}. */
export function evaluate(tree, store, time) {
  switch (tree.type) {
    case 'number':
      return tree.value;
    case 'string':
      return tree.value;
    case 'selector':
      return pick(tree, store, time)
        .map((s) => ({ labels: s.labels, value: s.at(time) }))
        .filter((s) => s.value !== null);
    case 'call': {
      const [first, ...rest] = tree.args;
      if (tree.name === 'label_replace') {
        const [to, value] = rest.map((r) => r.value);
        return evaluate(first, store, time).map((s) => ({
          labels: { ...s.labels, [to]: value },
          value: s.value,
        }));
      }
      if (tree.name === 'abs')
        return evaluate(first, store, time).map((s) => ({ ...s, value: Math.abs(s.value) }));
      if (first?.type !== 'selector' || !first.window)
        throw new PromqlError(
          `1:1: parse error: expected type range vector in call to function "${tree.name}", got instant vector`,
        );
      if (tree.name === 'last_over_time' || tree.name === 'count_over_time')
        return pick(first, store, time)
          .map((s) => ({ labels: s.labels, value: s.at(time) }))
          .filter((s) => s.value !== null)
          .map((s) => (tree.name === 'last_over_time' ? s : { ...s, value: first.window }));
      return pick(first, store, time)
        .map((s) => {
          const { __name__, ...labels } = s.labels;
          const now = s.at(time);
          if (now === null) return null;
          const rate = s.rate ? s.rate(time) : 0;
          const value =
            tree.name === 'changes'
              ? (s.changes ?? 0)
              : tree.name === 'increase'
                ? rate * first.window
                : rate;
          return { labels, value };
        })
        .filter(Boolean);
    }
    case 'aggregate': {
      const top = tree.op === 'topk';
      const input = evaluate(tree.args.at(-1), store, time);
      if (top) return [...input].sort((a, b) => b.value - a.value).slice(0, tree.args[0].value);
      const groups = new Map();
      for (const s of input) {
        const { __name__, ...all } = s.labels;
        const labels = Object.fromEntries(
          Object.entries(all).filter(([name]) =>
            tree.by ? tree.by.labels.includes(name) === (tree.by.word === 'by') : false,
          ),
        );
        const key = JSON.stringify(Object.entries(labels).sort());
        const group = groups.get(key) ?? { labels, values: [] };
        group.values.push(s.value);
        groups.set(key, group);
      }
      const sum = (v) => v.reduce((a, b) => a + b, 0);
      const of = {
        sum,
        count: (v) => v.length,
        max: (v) => Math.max(...v),
        min: (v) => Math.min(...v),
        avg: (v) => sum(v) / v.length,
      };
      return [...groups.values()].map((g) => ({ labels: g.labels, value: of[tree.op](g.values) }));
    }
    case 'binary':
      return operate(tree.op, evaluate(tree.left, store, time), evaluate(tree.right, store, time));
  }
  throw new PromqlError('1:1: parse error: not understood by the mock');
}

function pick(tree, store, time) {
  return store.select(tree.matchers, time);
}

function operate(op, left, right) {
  const calc = {
    '+': (a, b) => a + b,
    '-': (a, b) => a - b,
    '*': (a, b) => a * b,
    '/': (a, b) => a / b,
    '%': (a, b) => a % b,
  }[op];
  const test = {
    '>': (a, b) => a > b,
    '<': (a, b) => a < b,
    '>=': (a, b) => a >= b,
    '<=': (a, b) => a <= b,
    '==': (a, b) => a === b,
    '!=': (a, b) => a !== b,
  }[op];
  const bare = ({ __name__, ...labels }) => labels;
  const key = (s) => JSON.stringify(Object.entries(bare(s.labels)).sort());
  if (op === 'or') {
    const have = new Set(left.map(key));
    return [...left, ...right.filter((s) => !have.has(key(s)))];
  }
  if (op === 'and' || op === 'unless') {
    const have = new Set(right.map(key));
    return left.filter((s) => have.has(key(s)) === (op === 'and'));
  }
  if (typeof left === 'number' && typeof right === 'number')
    return calc ? calc(left, right) : Number(test(left, right));
  const one = (s, a, b) => (calc ? { labels: bare(s.labels), value: calc(a, b) } : test(a, b) ? s : null);
  if (typeof right === 'number') return left.map((s) => one(s, s.value, right)).filter(Boolean);
  if (typeof left === 'number') return right.map((s) => one(s, left, s.value)).filter(Boolean);
  const others = new Map(right.map((s) => [key(s), s]));
  return left
    .map((s) => (others.has(key(s)) ? one(s, s.value, others.get(key(s)).value) : null))
    .filter(Boolean);
}
