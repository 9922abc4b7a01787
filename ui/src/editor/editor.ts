// The PromQL editor as one function, so that CodeMirror is loaded only where it is used. It lives
// in a shadow root: its styles become constructed style sheets, which a strict content security
// policy allows.

import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
  startCompletion,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { forceLinting, linter, lintKeymap, type Diagnostic } from '@codemirror/lint';
import { Compartment, EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';
import { get } from '../api/client';
import type { Answer, Labels } from '../api/prometheus';
import { errorPlace } from './position';

export interface EditorOptions {
  parent: HTMLElement;
  text: string;
  label: string;
  onchange: (text: string) => void;
  onrun: () => void;
}

export interface Editor {
  setText: (text: string) => void;
  /** The server's word on the text as it stands; null when it had none. */
  setError: (error: string | null) => void;
  focus: () => void;
  destroy: () => void;
}

export function createEditor(options: EditorOptions): Editor {
  const root =
    options.parent.shadowRoot ?? options.parent.attachShadow({ mode: 'open', delegatesFocus: true });
  const promql = new PromQLExtension().activateLinter(false).setComplete({ remote: names() });
  const local = promql.getLinter().promQL();
  let serverError: string | null = null;

  const check = linter(
    async (view): Promise<Diagnostic[]> => {
      const text = view.state.doc.toString();
      if (text.trim() === '') return [];
      const own = await local.call(promql.getLinter(), view);
      const fromServer = serverError === null ? null : errorPlace(serverError, text);
      // The server judges; what the browser says of the same text is only sooner.
      if (fromServer) return [{ ...fromServer, severity: 'error' }];
      return [...own].map((d) => ({ ...d, to: Math.max(d.to, Math.min(d.from + 1, text.length)) }));
    },
    { delay: 300 },
  );

  const run = (): boolean => {
    options.onrun();
    return true;
  };
  const editable = new Compartment();
  const view = new EditorView({
    parent: root as unknown as HTMLElement,
    root,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        history(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false }),
        promql.asExtension(),
        check,
        syntaxHighlighting(colors),
        look,
        EditorView.lineWrapping,
        placeholder('PromQL, for example  sum by (mode) (rate(node_cpu_seconds_total[1m]))'),
        EditorView.contentAttributes.of({ 'aria-label': options.label }),
        editable.of([]),
        typingOverSelection,
        Prec.highest(keymap.of([{ key: 'Mod-Enter', run }])),
        keymap.of([
          ...closeBracketsKeymap,
          ...completionKeymap,
          { key: 'Enter', run },
          { key: 'Shift-Enter', run: insertNewlineAndIndent },
          { key: 'Mod-Space', run: startCompletion },
          ...historyKeymap,
          ...lintKeymap,
          ...defaultKeymap,
        ]),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          serverError = null;
          options.onchange(update.state.doc.toString());
        }),
      ],
    }),
  });

  return {
    setText(text) {
      if (text !== view.state.doc.toString())
        view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    setError(error) {
      if (serverError === error) return;
      serverError = error;
      // An empty change makes the check run on the same text.
      view.dispatch({ effects: editable.reconfigure([]) });
      forceLinting(view);
      if (error === null) return;
      view.dispatch({ changes: [] });
      forceLinting(view);
    },
    focus: () => view.focus(),
    destroy() {
      view.destroy();
      promql.destroy();
    },
  };
}

/**
 * Typing over a selection, done here and not by the browser: Chromium would keep the look of the
 * replaced text in a style attribute, which a strict policy refuses and reports.
 */
const typingOverSelection = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const text = event.data;
    const { from, to, empty } = view.state.selection.main;
    if (event.inputType !== 'insertText' || !text || empty || view.composing) return false;
    event.preventDefault();
    const typed = () =>
      view.state.update(view.state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true });
    const taken = view.state
      .facet(EditorView.inputHandler)
      .some((handle) => handle(view, from, to, text, typed));
    if (!taken) view.dispatch(typed());
    return true;
  },
});

/** Names for completion, by the Prometheus API; a server that fails means fewer offers, no error. */
function names() {
  const ask = async <T>(url: string, otherwise: T): Promise<T> => {
    try {
      return (await get<Answer<T>>(url)).data;
    } catch {
      return otherwise;
    }
  };
  const match = (
    metric: string | undefined,
    matchers?: { name: string; type: string; value: string }[],
  ): string => {
    const list = [...(matchers ?? [])].map(
      (m) => `${m.name}="${m.value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`,
    );
    if (!metric && list.length === 0) return '';
    return `?match[]=${encodeURIComponent(`${metric ?? ''}{${list.join(',')}}`)}`;
  };
  let cached: Promise<string[]> | undefined;
  return {
    labelNames: (metric?: string) => ask<string[]>(`/api/v1/labels${match(metric)}`, []),
    labelValues: (label: string, metric?: string) =>
      ask<string[]>(`/api/v1/label/${encodeURIComponent(label)}/values${match(metric)}`, []),
    metricNames: () => (cached ??= ask<string[]>('/api/v1/label/__name__/values', [])),
    metricMetadata: () => ask<Record<string, { type: string; help: string }[]>>('/api/v1/metadata', {}),
    series: async (metric: string) => {
      const list = await ask<Labels[]>(`/api/v1/series${match(metric)}`, []);
      return list.map((labels) => new Map(Object.entries(labels)));
    },
    flags: () => Promise.resolve({}),
  };
}

const colors = HighlightStyle.define([
  { tag: tags.number, color: 'var(--c2)' },
  { tag: tags.string, color: 'var(--c3)' },
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: 'var(--c4)' },
  { tag: tags.function(tags.variableName), color: 'var(--c1)' },
  { tag: tags.labelName, color: 'var(--c7)' },
  { tag: tags.comment, color: 'var(--text-2)', fontStyle: 'italic' },
  { tag: tags.operator, color: 'var(--text-2)' },
]);

const look = EditorView.theme({
  '&': { fontSize: '0.875rem', color: 'var(--text)', background: 'transparent' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-content': { padding: '0.42rem 0', caretColor: 'var(--text)' },
  '.cm-line': { padding: '0 0.6rem' },
  '.cm-placeholder': { color: 'var(--text-2)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '&.cm-focused .cm-matchingBracket': {
    background: 'var(--accent-soft)',
    outline: '1px solid var(--accent)',
  },
  '.cm-tooltip': {
    border: '1px solid var(--line)',
    borderRadius: '8px',
    background: 'var(--raised)',
    color: 'var(--text)',
    boxShadow: 'var(--shadow-high)',
    overflow: 'hidden',
    zIndex: '50',
  },
  '.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', maxHeight: '18rem' },
  '.cm-tooltip-autocomplete > ul > li': { padding: '0.2rem 0.6rem', display: 'flex', gap: '1rem' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': {
    background: 'var(--accent-soft)',
    color: 'var(--accent)',
  },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700' },
  '.cm-completionDetail': { marginLeft: 'auto', color: 'var(--text-2)', fontStyle: 'normal' },
  '.cm-completionInfo': { maxWidth: '24rem', padding: '0.5rem 0.7rem', fontFamily: 'var(--font)' },
  '.cm-diagnostic': { padding: '0.35rem 0.7rem', fontFamily: 'var(--font)', fontSize: '0.8125rem' },
  '.cm-diagnostic-error': { borderLeft: '4px solid var(--critical)' },
  '.cm-lintRange-error': {
    backgroundImage: 'none',
    background: 'var(--critical-soft)',
    borderRadius: '2px',
    textDecoration: 'underline wavy var(--critical) 1.5px',
    textUnderlineOffset: '3px',
    textDecorationSkipInk: 'none',
  },
  '.cm-lintPoint-error:after': { borderBottomColor: 'var(--critical)' },
});
