//! Who made a pod: the workload above it, and which programs wrote each object on the way there.

use crate::{
    audit::Question,
    objects::{Authors, Hand, Meta, Owner, Pod},
};

use super::words;

/// Objects above one another; more than a pod, a ReplicaSet or Job, and what made that would be strange.
const LEVELS_MAX: usize = 4;

/// What is known of an object above a pod.
#[derive(Debug, Clone, Default)]
pub struct Above {
    /// What made it.
    pub controller: Option<Owner>,
    /// Which programs wrote it.
    pub authors: Option<Box<Authors>>,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// What tells it from others of its name.
    pub uid: Box<str>,
}

impl Above {
    /// What metadata say.
    pub fn of(meta: &Meta) -> Self {
        let Meta { controller, authors, created, uid, .. } = meta;
        Self {
            controller: controller.as_deref().cloned(),
            authors: authors.clone(),
            created: *created,
            uid: uid.clone(),
        }
    }
}

/// Knows the objects that make pods.
pub trait Makers {
    /// What is known of an object of that kind, namespace and name.
    fn find(&self, kind: &str, namespace: &str, name: &str) -> Made;
}

/// The answer.
#[derive(Debug, Clone)]
pub enum Made {
    /// It is known.
    Known(Box<Above>),
    /// It may become known within a moment.
    Unknown,
    /// Nobody watches such objects.
    Unwatched,
}

/// Who made a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// Kind of what a person made, or `Pod`.
    pub(super) kind: String,
    /// Its name.
    pub(super) name: String,
    /// Whether all objects that are watched were found.
    pub(super) is_whole: bool,
    /// What was written by whom, from what a person made down to the pod.
    pub(super) lines: Vec<String>,
    /// What audit records may tell of what a person made.
    pub(super) questions: Vec<Question>,
}

/// Follows the owners of a pod upwards.
pub(super) fn of(pod: &Pod, meta: &Meta, makers: &dyn Makers) -> Origin {
    let namespace = &*meta.namespace;
    let mut lines = Vec::new();
    if pod.is_mirror() {
        lines.push(format!(
            "pod {} stands for a file on the node {} (a static pod): who wrote that file is known on the node alone",
            words::plain(&meta.name),
            words::plain(pod.node_name())
        ));
        let (kind, name) = ("Pod".into(), words::plain(&meta.name));
        return Origin { kind, name, is_whole: true, lines, questions: Vec::new() };
    }
    let mut questions = questions("Pod", namespace, &meta.name, &Above::of(meta));
    lines.push(line("Pod", &meta.name, meta.authors.as_deref(), meta.created));
    let (mut kind, mut name) = ("Pod".to_owned(), words::plain(&meta.name));
    let mut is_whole = true;
    let mut above = meta.controller.as_deref().cloned();
    for _ in 0..LEVELS_MAX {
        let Some(owner) = above.take() else { break };
        (kind, name) = (words::plain(&owner.kind), words::plain(&owner.name));
        match makers.find(&owner.kind, namespace, &owner.name) {
            Made::Known(known) => {
                lines.push(line(&owner.kind, &owner.name, known.authors.as_deref(), known.created));
                // What is below it was made by a controller.
                questions = self::questions(&owner.kind, namespace, &owner.name, &known);
                above = known.controller;
            }
            Made::Unknown => {
                is_whole = false;
                lines.push(format!(
                    "{kind} {name}, which is named as the owner, is not known to the API server"
                ));
            }
            Made::Unwatched => {}
        }
    }
    // The person is nearest to the top.
    lines.reverse();
    Origin { kind, name, is_whole, lines, questions }
}

/// When an object was made, and when it was changed last.
fn questions(kind: &str, namespace: &str, name: &str, object: &Above) -> Vec<Question> {
    let changed =
        object.authors.as_deref().and_then(|authors| authors.last.as_deref().unwrap_or(&authors.first).at());
    let changed = changed.filter(|at| Some(*at) != object.created);
    let times = [(object.created, true), (changed, false)];
    let ask = |(at, is_creation): (Option<i64>, bool)| {
        Question::new(kind, namespace, name, &object.uid, at?, is_creation)
    };
    times.into_iter().filter_map(ask).collect()
}

/// What managed fields say of an object.
pub(super) fn line(kind: &str, name: &str, authors: Option<&Authors>, created: Option<i64>) -> String {
    let object = format!("{} {}", words::plain(kind), words::plain(name));
    let made_at = created.map_or_else(String::new, |at| format!(", made at {}", words::time(at)));
    let Some(Authors { first, last }) = authors else {
        return format!("{object}{made_at}: its managed fields say nothing of who wrote it");
    };
    // The time of an entry moves with each change: where it is not that of the object, another may have made it.
    let is_maker = created.is_some() && first.at() == created;
    let made = if is_maker {
        format!("{object} was made by {}", hand(first))
    } else {
        format!("{object}{made_at}; the first who is told to have written it is {}", hand(first))
    };
    match last {
        Some(last) => format!("{made}, and changed last by {}", hand(last)),
        None => made,
    }
}

fn hand(hand: &Hand) -> String {
    let at = hand.at().map_or_else(String::new, |at| format!(" at {}", words::time(at)));
    format!("{} ({}){at}", words::plain(&hand.manager), hand.operation())
}
