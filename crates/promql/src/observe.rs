//! Watches an evaluation: what each node of the expression read, gave and took, for `explain`, and
//! how many samples each step looked at, for `stats=all`. The evaluator asks for an observer where
//! it would tell it something; without one it does nothing more.
//!
//! A node's time is its own and that of the nodes below it: what the node above does with a series
//! that is passed on to it does not count.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::{Expr, Span, ast::ExprKind};

/// A clock in nanoseconds, for measuring how long things take.
pub type Stopwatch = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What one node of an expression did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeProfile {
    /// What it does, in a word or two: `sum by (job)`, `rate`, `selector`.
    pub operation: String,
    /// Where it stands in the expression.
    pub span: Span,
    /// How many nodes are above it.
    pub depth: usize,
    /// How often it was evaluated; more than once where several nodes above ask for it.
    pub evaluations: u64,
    /// Series that it found in the store.
    pub series_read: u64,
    /// Samples that it read from the store.
    pub samples_read: u64,
    /// Series that it gave.
    pub series: u64,
    /// Values that it gave, one for each series and step that has one.
    pub samples: u64,
    /// Memory of all that it read and gave, about. It is not all held at once.
    pub bytes: u64,
    /// Time that it and the nodes below it took.
    pub nanoseconds: u64,
}

/// Counts what happens in an evaluation.
pub struct Observer {
    stopwatch: Stopwatch,
    nodes: Vec<Node>,
    places: HashMap<(u32, u32), usize>,
    /// The node that is being evaluated, from 1; 0 for none.
    current: AtomicUsize,
    /// Samples that each step looked at.
    steps: Vec<AtomicU64>,
    /// Subqueries around what is being evaluated; their steps are not those of the query.
    subqueries: AtomicUsize,
    sort_ns: AtomicU64,
    prepare_ns: AtomicU64,
}

struct Node {
    operation: String,
    span: Span,
    depth: usize,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    evaluations: AtomicU64,
    series_read: AtomicU64,
    samples_read: AtomicU64,
    series: AtomicU64,
    samples: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl Observer {
    /// Watches an expression over so many steps.
    pub fn new(expr: &Expr, steps: usize, stopwatch: Stopwatch) -> Arc<Self> {
        let mut nodes = Vec::new();
        collect(expr, 0, &mut nodes);
        let places = nodes.iter().enumerate().map(|(i, node)| (key(node.span), i)).collect();
        Arc::new(Self {
            stopwatch,
            nodes,
            places,
            current: AtomicUsize::new(0),
            steps: (0..steps).map(|_| AtomicU64::new(0)).collect(),
            subqueries: AtomicUsize::new(0),
            sort_ns: AtomicU64::new(0),
            prepare_ns: AtomicU64::new(0),
        })
    }

    /// What each node did, each before those below it, in the order of the text.
    pub fn nodes(&self) -> Vec<NodeProfile> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let profile = |node: &Node| NodeProfile {
            operation: node.operation.clone(),
            span: node.span,
            depth: node.depth,
            evaluations: get(&node.counts.evaluations),
            series_read: get(&node.counts.series_read),
            samples_read: get(&node.counts.samples_read),
            series: get(&node.counts.series),
            samples: get(&node.counts.samples),
            bytes: get(&node.counts.bytes),
            nanoseconds: get(&node.counts.nanoseconds),
        };
        self.nodes.iter().map(profile).collect()
    }

    /// For each step how many samples it looked at, as Prometheus counts: a sample for each series
    /// of an instant selector, and all samples of each window.
    pub fn queryable_samples(&self) -> Vec<u64> {
        self.steps.iter().map(|step| step.load(Ordering::Relaxed)).collect()
    }

    /// Time that sorting the answer took.
    pub fn sort_nanoseconds(&self) -> u64 {
        self.sort_ns.load(Ordering::Relaxed)
    }

    /// Time that finding series took.
    pub fn prepare_nanoseconds(&self) -> u64 {
        self.prepare_ns.load(Ordering::Relaxed)
    }

    /// Begins the evaluation of a node; it ends when what this gives is dropped.
    pub(crate) fn enter(&self, span: Span) -> Visit<'_> {
        let node = self.places.get(&key(span)).copied();
        let before = node.map(|node| self.current.swap(node + 1, Ordering::Relaxed));
        if let Some(node) = node {
            add(&self.nodes[node].counts.evaluations, 1);
        }
        Visit { observer: self, node, before, begun_ns: (self.stopwatch)(), away_ns: 0 }
    }

    /// Times the sorting of the answer.
    pub(crate) fn sorting<T>(&self, sort: impl FnOnce() -> T) -> T {
        self.timed(&self.sort_ns, sort)
    }

    /// Times the finding of series.
    pub(crate) fn preparing<T>(&self, find: impl FnOnce() -> T) -> T {
        self.timed(&self.prepare_ns, find)
    }

    fn timed<T>(&self, total_ns: &AtomicU64, work: impl FnOnce() -> T) -> T {
        let begun_ns = (self.stopwatch)();
        let result = work();
        add(total_ns, (self.stopwatch)().saturating_sub(begun_ns));
        result
    }

    /// Series were found in the store.
    pub(crate) fn selected(&self, series: usize) {
        if let Some(counts) = self.current() {
            add(&counts.series_read, series as u64);
        }
    }

    /// Samples of a series were read from the store.
    pub(crate) fn read(&self, samples: usize, bytes: usize) {
        if let Some(counts) = self.current() {
            add(&counts.samples_read, samples as u64);
            add(&counts.bytes, bytes as u64);
        }
    }

    /// A step of the query looked at samples.
    pub(crate) fn looked_at(&self, step: usize, samples: usize) {
        if self.subqueries.load(Ordering::Relaxed) == 0
            && let Some(count) = self.steps.get(step)
        {
            add(count, samples as u64);
        }
    }

    /// A subquery's expression is evaluated until what this gives is dropped.
    pub(crate) fn subquery(&self) -> InSubquery<'_> {
        self.subqueries.fetch_add(1, Ordering::Relaxed);
        InSubquery(self)
    }

    fn current(&self) -> Option<&Counts> {
        let node = self.current.load(Ordering::Relaxed).checked_sub(1)?;
        Some(&self.nodes.get(node)?.counts)
    }
}

/// The evaluation of a subquery's expression.
pub(crate) struct InSubquery<'o>(&'o Observer);

impl InSubquery<'_> {
    /// Does what belongs to what is around the subquery.
    pub fn outside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.subqueries.fetch_sub(1, Ordering::Relaxed);
        let result = work();
        self.0.subqueries.fetch_add(1, Ordering::Relaxed);
        result
    }
}

impl Drop for InSubquery<'_> {
    fn drop(&mut self) {
        self.0.subqueries.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The evaluation of one node.
pub(crate) struct Visit<'o> {
    observer: &'o Observer,
    node: Option<usize>,
    /// The node that was being evaluated before.
    before: Option<usize>,
    begun_ns: u64,
    /// Time that the node above spent.
    away_ns: u64,
}

impl Visit<'_> {
    /// The node passes a series with so many values on: `up` is what the node above does with it.
    pub fn pass<T>(&mut self, samples: usize, bytes: usize, up: impl FnOnce() -> T) -> T {
        let Some(node) = self.node else { return up() };
        let observer = self.observer;
        let counts = &observer.nodes[node].counts;
        add(&counts.series, 1);
        add(&counts.samples, samples as u64);
        add(&counts.bytes, bytes as u64);
        observer.current.store(self.before.unwrap_or(0), Ordering::Relaxed);
        let begun_ns = (observer.stopwatch)();
        let result = up();
        self.away_ns += (observer.stopwatch)().saturating_sub(begun_ns);
        observer.current.store(node + 1, Ordering::Relaxed);
        result
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let Some(node) = self.node else { return };
        let elapsed_ns = (self.observer.stopwatch)().saturating_sub(self.begun_ns);
        add(&self.observer.nodes[node].counts.nanoseconds, elapsed_ns.saturating_sub(self.away_ns));
        self.observer.current.store(self.before.unwrap_or(0), Ordering::Relaxed);
    }
}

fn key(span: Span) -> (u32, u32) {
    (span.start, span.end)
}

/// Parentheses stand for what is in them.
fn collect(expr: &Expr, depth: usize, out: &mut Vec<Node>) {
    if let ExprKind::Paren(inner) = &expr.kind {
        return collect(inner, depth, out);
    }
    let node = |operation, span, depth| Node { operation, span, depth, counts: Counts::default() };
    let (first, links) = expr.chain();
    // The last operator of a chain stands above the others.
    for (i, (binary, span)) in links.iter().rev().enumerate() {
        out.push(node(binary.op.as_str().to_owned(), *span, depth + i));
    }
    if links.is_empty() {
        out.push(node(operation(expr), expr.span, depth));
        for child in expr.children() {
            collect(child, depth + 1, out);
        }
    } else {
        collect(first, depth + links.len(), out);
    }
    for (i, (binary, _)) in links.iter().enumerate() {
        collect(&binary.rhs, depth + links.len() - i, out);
    }
}

fn operation(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Number(_) => "number".to_owned(),
        ExprKind::String(_) => "text".to_owned(),
        ExprKind::Paren(_) | ExprKind::Binary(_) => unreachable!("BUG: these have no node of their own"),
        ExprKind::Unary(..) => "sign".to_owned(),
        ExprKind::Aggregate(aggregate) => {
            let clause = match (aggregate.without, aggregate.grouping.is_empty()) {
                (false, true) => String::new(),
                (without, _) => {
                    let word = if without { "without" } else { "by" };
                    format!(" {word} ({})", aggregate.grouping.join(", "))
                }
            };
            format!("{}{clause}", aggregate.op.as_str())
        }
        ExprKind::Call(call) => call.function.name.to_owned(),
        ExprKind::Vector(_) => "selector".to_owned(),
        ExprKind::Matrix(_) => "range selector".to_owned(),
        ExprKind::Subquery(_) => "subquery".to_owned(),
    }
}
