//! How a watch is: whether what it knows is whole, how old that is, and what keeps it from more.

use std::time::Duration;

use parking_lot::Mutex;
use vedette_sys::MonotonicTime;

use crate::{
    Error, Right,
    objects::{AnyResource, Resource},
};

/// The state of one watch, told while it runs.
#[derive(Debug)]
pub struct Health {
    resource: AnyResource,
    state: Mutex<WatchState>,
}

/// How a watch is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchState {
    /// Whether a list came to its end at least once. From then on what is known is never less than a state
    /// that the cluster was in.
    pub is_whole: bool,
    /// When the server told something last.
    pub last_contact: Option<MonotonicTime>,
    /// What goes wrong.
    pub trouble: Option<Trouble>,
    /// Lists that came to their end.
    pub lists: u64,
    /// Events that were taken.
    pub events: u64,
    /// Times that something went wrong.
    pub failures: u64,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words, with the remedy where there is one.
    pub text: String,
    /// The right that is missing, if that is it.
    pub missing: Option<Right>,
    /// Whether the cluster does not have the resource.
    pub is_not_found: bool,
    /// When it began, in milliseconds since the epoch.
    pub since_unix_ms: i64,
}

impl Health {
    /// Nothing is known yet.
    pub fn new(resource: AnyResource) -> Self {
        Self { resource, state: Mutex::default() }
    }

    /// What is watched.
    pub fn resource(&self) -> &AnyResource {
        &self.resource
    }

    /// How it is.
    pub fn state(&self) -> WatchState {
        self.state.lock().clone()
    }

    /// What goes wrong, in one line for people.
    pub fn told(&self) -> Option<String> {
        let state = self.state.lock();
        state.trouble.as_ref().map(|trouble| trouble.told(&self.resource, state.is_whole))
    }

    pub(crate) fn heard(&self, now: MonotonicTime, events: u64) {
        let mut state = self.state.lock();
        state.last_contact = Some(now);
        state.events += events;
        state.trouble = None;
    }

    /// What comes while a list is under way does not yet say that all is well.
    pub(crate) fn heard_part(&self, now: MonotonicTime) {
        self.state.lock().last_contact = Some(now);
    }

    pub(crate) fn whole(&self, now: MonotonicTime) {
        let mut state = self.state.lock();
        state.is_whole = true;
        state.lists += 1;
        state.last_contact = Some(now);
        state.trouble = None;
    }

    /// Whether this is another trouble than before.
    pub(crate) fn failed(&self, error: &Error, unix_ms: i64) -> bool {
        let mut state = self.state.lock();
        state.failures += 1;
        let text = error.told();
        if state.trouble.as_ref().is_some_and(|trouble| trouble.text == text) {
            return false;
        }
        let since_unix_ms = state.trouble.as_ref().map_or(unix_ms, |trouble| trouble.since_unix_ms);
        let missing = error.refusal().and_then(|refusal| refusal.missing.clone());
        let is_not_found = error.refusal().is_some_and(|refusal| refusal.code == 404);
        state.trouble = Some(Trouble { text, missing, is_not_found, since_unix_ms });
        true
    }
}

impl WatchState {
    /// How long ago the server told something, where something goes wrong; what is known is so old.
    pub fn age(&self, now: MonotonicTime) -> Option<Duration> {
        let last = self.last_contact?;
        self.trouble.as_ref().map(|_| now.since(last))
    }
}

impl Trouble {
    /// One line for people: what, of which resource, since when.
    pub fn told<T: AsRef<str>>(&self, resource: &Resource<T>, is_whole: bool) -> String {
        let since = jiff::Timestamp::from_millisecond(self.since_unix_ms).unwrap_or_default();
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
        let kept = if is_whole { "; what was known before is kept" } else { "" };
        format!("{}: {} (since {since}{kept})", resource.name(), self.text)
    }
}
