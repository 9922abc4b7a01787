//! Selectors as numbers: every string that is compared is interned once.

use std::collections::HashMap;

use crate::{
    Error,
    objects::{Expression, LabelSelector, Labels, NodeSelector, NodeTerm, Taint, Toleration},
};

/// Strings by number.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Names {
    /// The number of a string, given when it is new.
    pub fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = u32::try_from(self.names.len()).expect("BUG: more strings than a snapshot can hold");
        self.ids.insert(name.into(), id);
        self.names.push(name.into());
        id
    }

    /// The number of a string that was given one.
    pub fn find(&self, name: &str) -> u32 {
        *self.ids.get(name).expect("BUG: names of nodes are given numbers first")
    }

    /// The string of a number.
    pub fn name(&self, id: u32) -> &str {
        &self.names[id as usize]
    }

    /// Labels by number, in the order of their keys; only those that `wanted` lets through.
    pub fn labels(&mut self, labels: &Labels, wanted: impl Fn(&str) -> bool) -> LabelSet {
        let mut set: LabelSet =
            labels.iter().filter(|(k, _)| wanted(k)).map(|(k, v)| (self.id(k), self.id(v))).collect();
        set.sort_unstable();
        set
    }
}

/// Labels in the order of their keys' numbers.
pub(crate) type LabelSet = Vec<(u32, u32)>;

/// The value of a label.
pub(crate) fn value(labels: &[(u32, u32)], key: u32) -> Option<u32> {
    labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    In(Vec<u32>),
    NotIn(Vec<u32>),
    Exists,
    Missing,
    Above(i64),
    Below(i64),
    /// Of no node: it compares with what is no number, which the API server lets through.
    Never,
}

/// One condition on labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Condition {
    key: u32,
    test: Test,
}

impl Condition {
    /// That the label is one of these.
    pub fn one_of(key: u32, values: Vec<u32>) -> Self {
        Self { key, test: Test::In(values) }
    }

    /// That the label is there and none of these, or not there.
    pub fn none_of(key: u32, values: Vec<u32>) -> Self {
        Self { key, test: Test::NotIn(values) }
    }

    fn read(e: &Expression, names: &mut Names, of_nodes: bool) -> Result<Self, String> {
        let values: Vec<u32> = e.values.iter().map(|v| names.id(v)).collect();
        let some = |values: Vec<u32>| {
            if values.is_empty() {
                Err(format!("{} of {:?} needs values", e.operator, e.key))
            } else {
                Ok(values)
            }
        };
        let number = |test: fn(i64) -> Test| match e.values.as_slice() {
            [one] => Ok(one.parse::<i64>().map_or(Test::Never, test)),
            _ => Err(format!("{} of {:?} needs one value", e.operator, e.key)),
        };
        let test = match e.operator.as_str() {
            "In" => Test::In(some(values)?),
            "NotIn" => Test::NotIn(some(values)?),
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::Missing,
            "Gt" if of_nodes => number(Test::Above)?,
            "Lt" if of_nodes => number(Test::Below)?,
            other => return Err(format!("{other:?} is no operator of a selector")),
        };
        Ok(Self { key: names.id(&e.key), test })
    }

    fn holds(&self, labels: &[(u32, u32)], names: &Names) -> bool {
        let value = value(labels, self.key);
        let number = || value.and_then(|v| names.name(v).parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|v| values.contains(&v)),
            Test::NotIn(values) => value.is_none_or(|v| !values.contains(&v)),
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::Above(than) => number().is_some_and(|n| n > *than),
            Test::Below(than) => number().is_some_and(|n| n < *than),
            Test::Never => false,
        }
    }
}

/// A selector of labels. Without conditions it selects all; `None` in objects selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Selector {
    /// All of these; absent: nothing is selected.
    pub conditions: Option<Vec<Condition>>,
}

impl Selector {
    pub fn read(selector: Option<&LabelSelector>, names: &mut Names) -> Result<Self, String> {
        let Some(selector) = selector else { return Ok(Self { conditions: None }) };
        let mut conditions: Vec<Condition> = selector
            .match_labels
            .iter()
            .map(|(k, v)| {
                let (key, value) = (names.id(k), names.id(v));
                Condition::one_of(key, vec![value])
            })
            .collect();
        for expression in &selector.match_expressions {
            conditions.push(Condition::read(expression, names, false)?);
        }
        Ok(Self { conditions: Some(conditions) })
    }

    /// How much there is to compare with.
    pub fn size(&self) -> usize {
        let of = |condition: &Condition| match &condition.test {
            Test::In(values) | Test::NotIn(values) => 1 + values.len(),
            _ => 1,
        };
        self.conditions.as_ref().map_or(0, |all| all.iter().map(of).sum())
    }

    pub fn selects(&self, labels: &[(u32, u32)], names: &Names) -> bool {
        self.conditions.as_ref().is_some_and(|all| all.iter().all(|c| c.holds(labels, names)))
    }
}

/// A node as selectors see it.
pub(crate) struct NodeView<'a> {
    pub labels: &'a [(u32, u32)],
    pub name: u32,
}

/// One term of a selector of nodes.
#[derive(Debug)]
pub(crate) struct NodeConditions {
    labels: Vec<Condition>,
    fields: Vec<Condition>,
}

impl NodeConditions {
    pub fn read(term: &NodeTerm, names: &mut Names) -> Result<Self, String> {
        let mut read = |list: &[Expression]| {
            list.iter().map(|e| Condition::read(e, names, true)).collect::<Result<Vec<_>, _>>()
        };
        let (labels, fields) = (read(&term.match_expressions)?, read(&term.match_fields)?);
        if let Some(field) = term.match_fields.iter().find(|f| f.key != "metadata.name") {
            return Err(format!("matchFields knows metadata.name only, not {:?}", field.key));
        }
        Ok(Self { labels, fields })
    }

    /// Whether it can be read at all. One that cannot selects no node; where it is required, another term may.
    pub fn is_readable(&self) -> bool {
        self.labels.iter().all(|c| c.test != Test::Never)
    }

    pub fn selects(&self, node: &NodeView<'_>, names: &Names) -> bool {
        // A term without conditions selects no node.
        let any = !self.labels.is_empty() || !self.fields.is_empty();
        any && self.labels.iter().all(|c| c.holds(node.labels, names))
            && self.fields.iter().all(|c| match &c.test {
                Test::In(values) => values.contains(&node.name),
                Test::NotIn(values) => !values.contains(&node.name),
                _ => false,
            })
    }
}

/// The nodes that any term selects.
pub(crate) fn node_terms(selector: &NodeSelector, names: &mut Names) -> Result<Vec<NodeConditions>, String> {
    selector.node_selector_terms.iter().map(|t| NodeConditions::read(t, names)).collect()
}

/// Whether one of the tolerations bears the taint.
pub(crate) fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|t| tolerates(t, taint))
}

/// Whether the toleration bears the taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    (toleration.effect.is_empty() || toleration.effect == taint.effect)
        && (toleration.key == taint.key || toleration.key.is_empty() && toleration.operator == "Exists")
        && match toleration.operator.as_str() {
            "Exists" => true,
            "" | "Equal" => toleration.value == taint.value,
            _ => false,
        }
}

/// Says which object a problem belongs to.
pub(crate) fn at(object: impl FnOnce() -> String) -> impl FnOnce(String) -> Error {
    move |problem| Error::Constraint { object: object(), problem }
}
