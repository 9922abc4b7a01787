//! Go's text/template language, for the annotations of alerts and the texts of notifications.
//!
//! A text is parsed once into a [`Template`] and executed as often as needed over a [`Value`].
//! Templates are foreign input: parsing nests at most so deep, and execution stops at the limits
//! of steps, depth and bytes given in [`Limits`], so no text can panic, run away or fill memory.
//! Functions beyond the language's own come from the caller by [`Functions`]; this crate knows
//! neither alerts nor HTTP.

mod ast;
mod builtins;
mod error;
mod escape;
mod exec;
pub mod format;
mod lexer;
mod number;
mod parser;
pub mod time;
mod value;

use std::{collections::BTreeMap, sync::Arc};

pub use builtins::{Functions, NoFunctions, Param, Signature};
pub use error::Error;
pub use value::{Map, Object, Value};

/// What one execution may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the rendered text, and of any one string made on the way.
    pub output_bytes_max: usize,
    /// Nodes evaluated, loop turns included; a string costs a step for each 64 bytes.
    pub steps_max: u64,
    /// Nesting of templates, control structures and parentheses.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { output_bytes_max: 1 << 20, steps_max: 1_000_000, depth_max: 100 }
    }
}

/// A named text and all definitions it can reach by `{{template}}`. Cloning shares the parsed trees.
#[derive(Debug, Clone, Default)]
pub struct Template {
    trees: BTreeMap<String, Arc<ast::Tree>>,
}

impl Template {
    /// A set without any text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses one text under a name. The functions must know every name that the text calls.
    pub fn parse(name: &str, text: &str, functions: &dyn Functions) -> Result<Self, Error> {
        let mut set = Self::new();
        set.add(name, text, functions)?;
        Ok(set)
    }

    /// Parses a further text into the set: it and its definitions take the place of those with
    /// the same name, unless the new one is nothing but white space.
    pub fn add(&mut self, name: &str, text: &str, functions: &dyn Functions) -> Result<(), Error> {
        for (name, tree) in parser::parse(name, text, functions)? {
            let keep = tree.is_blank() && self.trees.contains_key(&name);
            if !keep {
                self.trees.insert(name, Arc::new(tree));
            }
        }
        Ok(())
    }

    /// Names of all texts and definitions, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.trees.keys().map(String::as_str)
    }

    /// Renders one of the texts over `data`.
    pub fn execute(
        &self,
        name: &str,
        data: &Value,
        functions: &dyn Functions,
        limits: &Limits,
    ) -> Result<String, Error> {
        exec::execute(self, name, data, functions, limits)
    }

    fn tree(&self, name: &str) -> Option<&Arc<ast::Tree>> {
        self.trees.get(name)
    }
}

#[cfg(test)]
mod tests;
