//! Conditions over the fields of one event: what a rule without state needs.
//!
//! A condition is a map from field to test; all must hold. A test is a value, a list of values of
//! which one must be equal, `{matches: REGEX}`, or `{not: TEST}`.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use vedette_model::{Event, EventKind, Fact, SocketDirection, StreamTarget};

/// Field names, for the error that lists them.
pub const FIELDS: &str = "container, container.name, container.image, container.namespace, container.pod, \
     process.name, process.executable, process.command_line, process.uid, parent.name, parent.executable, \
     upper_layer, unlinked, direction, peer.address, peer.port, local.port, stream, target, pty";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    InContainer,
    ContainerName,
    ContainerImage,
    ContainerNamespace,
    ContainerPod,
    ProcessName,
    ProcessExecutable,
    ProcessCommandLine,
    ProcessUid,
    ParentName,
    ParentExecutable,
    UpperLayer,
    Unlinked,
    Direction,
    PeerAddress,
    PeerPort,
    LocalPort,
    Stream,
    Target,
    Pty,
}

impl Field {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "container" => Self::InContainer,
            "container.name" => Self::ContainerName,
            "container.image" => Self::ContainerImage,
            "container.namespace" => Self::ContainerNamespace,
            "container.pod" => Self::ContainerPod,
            "process.name" => Self::ProcessName,
            "process.executable" => Self::ProcessExecutable,
            "process.command_line" => Self::ProcessCommandLine,
            "process.uid" => Self::ProcessUid,
            "parent.name" => Self::ParentName,
            "parent.executable" => Self::ParentExecutable,
            "upper_layer" => Self::UpperLayer,
            "unlinked" => Self::Unlinked,
            "direction" => Self::Direction,
            "peer.address" => Self::PeerAddress,
            "peer.port" => Self::PeerPort,
            "local.port" => Self::LocalPort,
            "stream" => Self::Stream,
            "target" => Self::Target,
            "pty" => Self::Pty,
            _ => return None,
        })
    }
}

/// A test as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum TestText {
    Bool(bool),
    Number(i64),
    Text(String),
    OneOf(Vec<Scalar>),
    Operator(Operator),
}

/// A value in a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Number(i64),
    Text(String),
}

/// A test with a word of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    matches: Option<String>,
    not: Option<Box<TestText>>,
}

#[derive(Debug, Clone)]
enum Test {
    Bool(bool),
    OneOf(Vec<String>),
    Matches(Regex),
    Not(Box<Test>),
}

/// A condition as written.
pub type ConditionText = BTreeMap<String, TestText>;

/// A condition ready to be asked.
#[derive(Debug, Clone)]
pub struct Condition {
    tests: Vec<(Field, Test)>,
}

enum Value<'a> {
    Bool(bool),
    Text(&'a str),
    Owned(String),
}

impl Condition {
    /// Prepares a condition; the error says what is wrong and what to do about it.
    pub fn new(text: &ConditionText) -> Result<Self, (String, String)> {
        let mut tests = Vec::new();
        for (name, test) in text {
            let field = Field::parse(name).ok_or_else(|| {
                (format!("no event has the field {name:?}"), format!("use one of {FIELDS}"))
            })?;
            tests.push((field, Test::new(test)?));
        }
        Ok(Self { tests })
    }

    /// Whether all tests hold. A field that the event does not have holds no test but `not`.
    pub fn holds(&self, event: &Event) -> bool {
        self.tests.iter().all(|(field, test)| test.holds(value(*field, event).as_ref()))
    }
}

impl Test {
    fn new(text: &TestText) -> Result<Self, (String, String)> {
        Ok(match text {
            TestText::Bool(value) => Self::Bool(*value),
            TestText::Number(value) => Self::OneOf(vec![value.to_string()]),
            TestText::Text(value) => Self::OneOf(vec![value.clone()]),
            TestText::OneOf(values) => Self::OneOf(
                values
                    .iter()
                    .map(|v| match v {
                        Scalar::Number(n) => n.to_string(),
                        Scalar::Text(t) => t.clone(),
                    })
                    .collect(),
            ),
            TestText::Operator(Operator { matches: Some(pattern), not: None }) => {
                let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|e| {
                    (
                        format!("the pattern {pattern:?} is wrong: {e}"),
                        "correct the regular expression".to_owned(),
                    )
                })?;
                Self::Matches(regex)
            }
            TestText::Operator(Operator { matches: None, not: Some(inner) }) => {
                Self::Not(Box::new(Self::new(inner)?))
            }
            TestText::Operator(_) => {
                return Err((
                    "a test has neither or both of `matches` and `not`".to_owned(),
                    "write `{matches: REGEX}` or `{not: TEST}`".to_owned(),
                ));
            }
        })
    }

    fn holds(&self, value: Option<&Value<'_>>) -> bool {
        match (self, value) {
            (Self::Not(inner), value) => !inner.holds(value),
            (_, None) => false,
            (Self::Bool(wanted), Some(Value::Bool(is))) => wanted == is,
            (Self::OneOf(wanted), Some(Value::Text(is))) => wanted.iter().any(|w| w == is),
            (Self::OneOf(wanted), Some(Value::Owned(is))) => wanted.contains(is),
            (Self::Matches(regex), Some(Value::Text(is))) => regex.is_match(is),
            (Self::Matches(regex), Some(Value::Owned(is))) => regex.is_match(is),
            _ => false,
        }
    }
}

fn value(field: Field, event: &Event) -> Option<Value<'_>> {
    let container = event.container.as_deref();
    let process = event.process.as_deref();
    let parent = process.and_then(|p| p.ancestors.first());
    let socket = match &event.fact {
        Fact::Connection(socket) => Some(socket),
        Fact::StreamRedirect { target: StreamTarget::Socket(socket), .. } => Some(socket),
        _ => None,
    };
    Some(match field {
        Field::InContainer => Value::Bool(container.is_some()),
        Field::ContainerName => Value::Text(&container?.name),
        Field::ContainerImage => Value::Text(&container?.image),
        Field::ContainerNamespace => Value::Text(&container?.namespace),
        Field::ContainerPod => Value::Text(&container?.pod),
        Field::ProcessName => Value::Text(&process?.name),
        Field::ProcessExecutable => Value::Text(&process?.executable),
        Field::ProcessCommandLine => Value::Owned(process?.command_line()),
        Field::ProcessUid => Value::Owned(process?.uid.to_string()),
        Field::ParentName => Value::Text(&parent?.name),
        Field::ParentExecutable => Value::Text(&parent?.executable),
        Field::UpperLayer => match &event.fact {
            Fact::Exec { upper_layer, .. } => Value::Bool(*upper_layer),
            _ => return None,
        },
        Field::Unlinked => match &event.fact {
            Fact::Exec { unlinked, .. } => Value::Bool(*unlinked),
            _ => return None,
        },
        Field::Direction => Value::Text(match socket?.direction {
            SocketDirection::Outbound => "outbound",
            SocketDirection::Inbound => "inbound",
            SocketDirection::Unknown => "unknown",
        }),
        Field::PeerAddress => Value::Owned(socket?.peer.to_string()),
        Field::PeerPort => Value::Owned(socket?.peer_port.to_string()),
        Field::LocalPort => Value::Owned(socket?.local_port.to_string()),
        Field::Stream => match &event.fact {
            Fact::StreamRedirect { stream, .. } => Value::Owned(stream.to_string()),
            _ => return None,
        },
        Field::Target => match &event.fact {
            Fact::StreamRedirect { target, .. } => Value::Text(kind(target)),
            _ => return None,
        },
        Field::Pty => match &event.fact {
            Fact::PtyOpen { number } => Value::Owned(number.to_string()),
            _ => return None,
        },
    })
}

fn kind(target: &StreamTarget) -> &'static str {
    match target {
        StreamTarget::Other => "other",
        StreamTarget::File => "file",
        StreamTarget::Device => "device",
        StreamTarget::Pipe { .. } => "pipe",
        StreamTarget::Pty { .. } => "pty",
        StreamTarget::Socket(_) => "socket",
        StreamTarget::OtherSocket { .. } => "other_socket",
    }
}

/// The kind of event that a rule asks about.
pub fn event_kind(word: &str) -> Result<EventKind, (String, String)> {
    EventKind::parse(word).ok_or_else(|| {
        let kinds: Vec<_> = EventKind::ALL.iter().map(|k| k.as_str()).collect();
        (format!("no event is of the kind {word:?}"), format!("use one of {}", kinds.join(", ")))
    })
}
