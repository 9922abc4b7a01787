//! What is searched for, and what was found.

use memchr::memmem::Finder;
use vedette_model::{Event, EventKind, Fact, ProcessKey, Severity};

use crate::text::lower_case;

/// Which events to find. The default finds the newest hundred.
#[derive(Debug, Clone)]
pub struct Search {
    /// First and last nanosecond since the Unix epoch.
    pub range_ns: (i64, i64),
    /// Only these kinds; all when empty.
    pub kinds: Vec<EventKind>,
    /// Beginning of a container's id, or its exact name.
    pub container: Option<String>,
    /// Words that must all appear, in upper or lower case, in command line, executable, names,
    /// addresses or a finding's text.
    pub text: Vec<String>,
    /// Only events of this process.
    pub process: Option<ProcessKey>,
    /// Only findings at least this bad.
    pub min_severity: Option<Severity>,
    /// Only events with lower ids: the cursor of an earlier answer.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            range_ns: (i64::MIN, i64::MAX),
            kinds: Vec::new(),
            container: None,
            text: Vec::new(),
            process: None,
            min_severity: None,
            before: None,
            limit: 100,
        }
    }
}

impl Search {
    /// Whether this search would find `event`, whatever its limit and cursor: for live views.
    pub fn matches(&self, event: &Event) -> bool {
        let filter = Filter::new(self, None);
        filter.matches_fields(event)
            && (filter.words.is_empty() || filter.matches_text(crate::text::search_text(event).as_bytes()))
    }
}

/// What was found, newest (highest id) first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The events.
    pub events: Vec<Event>,
    /// Where to go on, when there may be more.
    pub next: Option<u64>,
    /// Rows looked at.
    pub scanned: u64,
    /// The search ended because it had looked at the most rows allowed; `next` goes on.
    pub truncated: bool,
    /// Damaged parts of segments that could not be searched.
    pub damaged: Vec<String>,
}

/// A search made ready: words in lower case, kinds as a set.
pub(crate) struct Filter {
    pub(crate) range_ns: (i64, i64),
    pub(crate) kinds: Option<u16>,
    pub(crate) container: Option<String>,
    pub(crate) words: Vec<Finder<'static>>,
    pub(crate) process: Option<ProcessKey>,
    /// Events of this process, of its descendants, and of its birth.
    pub(crate) lineage: Option<ProcessKey>,
    pub(crate) min_severity: Option<Severity>,
    pub(crate) before: u64,
}

pub(crate) fn kind_bit(kind: EventKind) -> u16 {
    1 << kind as u16
}

impl Filter {
    pub(crate) fn new(search: &Search, lineage: Option<ProcessKey>) -> Self {
        let mut kinds = search.kinds.iter().map(|k| kind_bit(*k)).reduce(|a, b| a | b);
        if search.min_severity.is_some() {
            kinds = Some(kinds.unwrap_or(u16::MAX) & kind_bit(EventKind::Finding));
        }
        let words = search.text.iter().filter(|w| !w.is_empty());
        Self {
            range_ns: search.range_ns,
            kinds,
            container: search.container.clone().filter(|c| !c.is_empty()),
            words: words.map(|w| Finder::new(&lower_case(w.clone())).into_owned()).collect(),
            process: search.process,
            lineage,
            min_severity: search.min_severity,
            before: search.before.unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn matches_kind(&self, kind: EventKind) -> bool {
        self.kinds.is_none_or(|kinds| kinds & kind_bit(kind) != 0)
    }

    pub(crate) fn matches_time(&self, time_ns: i64) -> bool {
        (self.range_ns.0..=self.range_ns.1).contains(&time_ns)
    }

    pub(crate) fn matches_text(&self, text: &[u8]) -> bool {
        self.words.iter().all(|word| word.find(text).is_some())
    }

    pub(crate) fn matches_container(&self, id: &str, name: &str) -> bool {
        self.container.as_deref().is_none_or(|wanted| id.starts_with(wanted) || name == wanted)
    }

    /// Everything but text and cursor.
    pub(crate) fn matches_fields(&self, event: &Event) -> bool {
        self.matches_time(event.time_ns)
            && self.matches_kind(event.fact.kind())
            && self.min_severity.is_none_or(|min| severity(event).is_some_and(|s| s >= min))
            && match &event.container {
                Some(c) => self.matches_container(&c.id, &c.name),
                None => self.container.is_none(),
            }
            && self.process.is_none_or(|key| event.process.as_ref().is_some_and(|p| p.key == key))
            && self.lineage.is_none_or(|key| lineage(event).any(|k| k == key))
    }
}

pub(crate) fn severity(event: &Event) -> Option<Severity> {
    match &event.fact {
        Fact::Finding(finding) => Some(finding.severity),
        _ => None,
    }
}

/// The processes that an event belongs to: its own, that process' ancestors, and a child it tells of.
pub(crate) fn lineage(event: &Event) -> impl Iterator<Item = ProcessKey> {
    let child = match event.fact {
        Fact::Fork { child } => Some(child),
        _ => None,
    };
    let process = event.process.as_deref();
    let ancestors = process.map_or(&[][..], |p| &p.ancestors);
    process.map(|p| p.key).into_iter().chain(ancestors.iter().map(|a| a.key)).chain(child)
}
