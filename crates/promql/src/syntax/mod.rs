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

pub use format::pretty;
pub use parser::{DEPTH_MAX, QUERY_BYTES_MAX, parse, parse_selector};
