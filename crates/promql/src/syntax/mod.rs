//! From text to a checked expression tree, and back.

mod check;
mod duration;
mod format;
mod lexer;
pub(crate) mod number;
mod parser;
pub(crate) mod quote;
mod selector;
#[cfg(test)]
mod tests;

pub(crate) use check::check_edges;
pub use format::pretty;
pub(crate) use parser::CHAIN_DEPTH;
pub use parser::{CHAIN_MAX, DEPTH_MAX, QUERY_BYTES_MAX, parse, parse_selector};
