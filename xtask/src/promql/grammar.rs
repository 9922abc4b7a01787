//! A query as a tree of text, and how such a tree is made smaller.
//!
//! The tree knows no more of the language than is needed to take things away: what has which type,
//! and what may be left out. So it can hold what a parser would refuse, and is printed as it was
//! made.

use std::fmt;

/// The type of a value; nodes of the same type can stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Scalar,
    Vector,
    Matrix,
    Text,
    Duration,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub kind: Type,
    pub parts: Vec<Part>,
}

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Fixed text.
    Text(String),
    /// An expression inside.
    Node(Node),
    /// Something that may be left out.
    Optional(Vec<Part>),
    /// A list, in which each item may be left out.
    List { open: &'static str, close: &'static str, items: Vec<Vec<Part>>, shown_empty: bool },
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Node> for Part {
    fn from(node: Node) -> Self {
        Self::Node(node)
    }
}

/// Makes a list of parts from texts and nodes.
macro_rules! parts {
    ($($part:expr),* $(,)?) => { vec![$($crate::promql::grammar::Part::from($part)),*] };
}
pub(super) use parts;

impl Node {
    pub fn new(kind: Type, parts: Vec<Part>) -> Self {
        Self { kind, parts }
    }

    /// Every tree that is this one with one thing taken away or made simpler, the boldest first.
    pub fn smaller(&self) -> Vec<Self> {
        let mut out = Vec::new();
        // What stands inside may stand for the whole.
        let mut inside = Vec::new();
        descendants(&self.parts, self.kind, &mut inside);
        out.extend(inside.into_iter().cloned());
        if let Some(simplest) = simplest(self.kind)
            && self.to_string().len() > simplest.len()
        {
            out.push(Self::new(self.kind, parts![simplest]));
        }
        smaller_parts(&self.parts, &mut |parts| out.push(Self::new(self.kind, parts)));
        out
    }
}

/// What says the least.
fn simplest(kind: Type) -> Option<&'static str> {
    match kind {
        Type::Scalar => Some("1"),
        Type::Text => Some("\"\""),
        Type::Duration => Some("5m"),
        Type::Vector | Type::Matrix => None,
    }
}

/// Nodes of a type that have none of that type around them.
fn descendants<'a>(parts: &'a [Part], kind: Type, out: &mut Vec<&'a Node>) {
    for part in parts {
        match part {
            Part::Text(_) => {}
            Part::Node(node) if node.kind == kind => out.push(node),
            Part::Node(node) => descendants(&node.parts, kind, out),
            Part::Optional(parts) => descendants(parts, kind, out),
            Part::List { items, .. } => items.iter().for_each(|item| descendants(item, kind, out)),
        }
    }
}

fn smaller_parts(parts: &[Part], give: &mut dyn FnMut(Vec<Part>)) {
    for (i, part) in parts.iter().enumerate() {
        let mut with = |replacement: Vec<Part>| {
            let mut smaller = parts.to_vec();
            smaller.splice(i..=i, replacement);
            give(smaller);
        };
        match part {
            Part::Text(_) => {}
            Part::Node(node) => node.smaller().into_iter().for_each(|n| with(vec![Part::Node(n)])),
            Part::Optional(inner) => {
                with(Vec::new());
                smaller_parts(inner, &mut |inner| with(vec![Part::Optional(inner)]));
            }
            Part::List { open, close, items, shown_empty } => {
                let list = |items| Part::List { open, close, items, shown_empty: *shown_empty };
                for i in 0..items.len() {
                    let mut fewer = items.clone();
                    fewer.remove(i);
                    with(vec![list(fewer)]);
                }
                for (i, item) in items.iter().enumerate() {
                    smaller_parts(item, &mut |item| {
                        let mut simpler = items.clone();
                        simpler[i] = item;
                        with(vec![list(simpler)]);
                    });
                }
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.parts, f)
    }
}

fn show(parts: &[Part], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for part in parts {
        match part {
            Part::Text(text) => f.write_str(text)?,
            Part::Node(node) => write!(f, "{node}")?,
            Part::Optional(parts) => show(parts, f)?,
            Part::List { items, shown_empty: false, .. } if items.is_empty() => {}
            Part::List { open, close, items, .. } => {
                f.write_str(open)?;
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i > 0 { ", " } else { "" })?;
                    show(item, f)?;
                }
                f.write_str(close)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str, matchers: &[&str]) -> Node {
        let items = matchers.iter().map(|m| parts![*m]).collect();
        let list = Part::List { open: "{", close: "}", items, shown_empty: false };
        Node::new(Type::Vector, vec![Part::from(name), list])
    }

    #[test]
    fn every_smaller_tree_is_smaller_and_all_parts_can_go() {
        let bound = Node::new(Type::Scalar, parts!["10"]);
        let sum = Node::new(
            Type::Vector,
            vec![
                Part::from("topk("),
                bound.into(),
                Part::from(", "),
                leaf("a", &["x=\"1\"", "y=\"2\""]).into(),
                Part::from(")"),
                Part::Optional(parts![" + 1"]),
            ],
        );
        assert_eq!(sum.to_string(), "topk(10, a{x=\"1\", y=\"2\"}) + 1");
        let smaller: Vec<String> = sum.smaller().iter().map(ToString::to_string).collect();
        assert_eq!(
            smaller,
            [
                "a{x=\"1\", y=\"2\"}",
                "topk(1, a{x=\"1\", y=\"2\"}) + 1",
                "topk(10, a{y=\"2\"}) + 1",
                "topk(10, a{x=\"1\"}) + 1",
                "topk(10, a{x=\"1\", y=\"2\"})",
            ]
        );
        // Taking away comes to an end.
        let (mut tree, mut rounds) = (sum, 0);
        while let Some(next) = tree.smaller().pop() {
            assert!(next.to_string().len() < tree.to_string().len());
            (tree, rounds) = (next, rounds + 1);
        }
        assert!(rounds >= 3, "{tree}");
    }
}
