//! An event in memory, with the text that searches look at.

use std::sync::Arc;

use vedette_model::Event;

use crate::text::search_text;

pub(crate) struct Entry {
    pub event: Arc<Event>,
    pub text: Box<str>,
}

impl Entry {
    pub(crate) fn new(event: Event) -> Self {
        Self { text: search_text(&event), event: Arc::new(event) }
    }
}
