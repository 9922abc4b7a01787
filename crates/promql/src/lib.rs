//! PromQL, the query language of Prometheus 3.14: parser, formatter and evaluator.
//!
//! ```
//! use vedette_promql::{Cancel, Engine, EngineConfig, Limits, memory::MemoryReader, parse};
//!
//! let mut store = MemoryReader::new();
//! store.push(&[("__name__", "up"), ("job", "node")], 0, 1.0);
//! let expr = parse("sum(up) + 1").expect("valid");
//! let engine = Engine::new(EngineConfig::default());
//! let output = engine.instant(&store, &expr, 0, &Limits::default(), &Cancel::new()).expect("evaluates");
//! assert_eq!(format!("{expr}"), "sum(up) + 1");
//! # let vedette_promql::Value::Vector(samples) = output.value else { panic!() };
//! # assert_eq!(samples[0].value, 2.0);
//! ```
//!
//! Native histograms stand beside the columns of floats (`histogram` has their algebra), so that a
//! series of floats costs nothing for them.
//!
//! The evaluator goes series by series, not step by step: it reads one series, computes all of
//! its steps, and passes the column on (`eval`). Time, threads, budget and cancellation are
//! handed in; this crate reads no clock and no file.

pub mod ast;
mod budget;
mod cache;
mod engine;
mod eval;
mod function;
mod histogram;
mod limits;
pub mod memory;
mod observe;
mod output;
mod span;
mod syntax;
mod threads;

pub use ast::{Expr, ExprKind, ValueType};
pub use budget::{MemoryBudget, MemoryPool};
pub use cache::{CacheStats, CachedOutput, RangeCache};
pub use engine::{Engine, EngineConfig};
pub use function::{FUNCTIONS, Function};
pub use histogram::{Bucket, Histogram};
pub use limits::{Cancel, Limits, QueryError};
pub use observe::{NodeProfile, Observer, Stopwatch};
pub use output::{
    Annotation, AnnotationKind, Answered, Ended, Point, Points, QueryOutput, Sample, Series, Stats, Value,
    WriteNumber, Written,
};
pub use span::{ParseError, ParseErrors, Span};
pub use syntax::{CHAIN_MAX, DEPTH_MAX, QUERY_BYTES_MAX, parse, parse_selector, pretty};
pub use threads::Threads;

/// The longest duration that a query can write, about 292 years.
const DURATION_SECONDS_MAX: f64 = 9_223_372_036.0;
