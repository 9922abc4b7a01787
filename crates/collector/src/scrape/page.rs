//! The page of a target from scrape to scrape, for as long as nothing but its values changes.
//!
//! Such a page is compared with its form as a whole, and its samples are put under the numbers that
//! they had before, in order; no series is looked up. Whatever differs from the form is read as any
//! other answer, so this decides what reading costs, never what comes of it. Targets of one kind mostly
//! have equal pages, so equal forms are kept once.

use std::{collections::HashSet, sync::Arc};

use vedette_scrape::SeriesCache;
use vedette_wire::exposition::{Dialect, PageForm};

use super::{draft::Draft, numbers::DROPPED, reading::Counts};

/// A form takes at most this and so much for each sample: no target fills the memory by its comments.
const FORM_BYTES: usize = 16 << 10;
const FORM_SAMPLE_BYTES: usize = 512;

/// Forms of pages, each once.
#[derive(Debug, Default)]
pub(crate) struct Forms {
    all: HashSet<Arc<PageForm>>,
    /// How many there were when those that nobody uses were last removed.
    swept: usize,
}

impl Forms {
    fn shared(&mut self, form: PageForm) -> Arc<PageForm> {
        if let Some(known) = self.all.get(&form) {
            return Arc::clone(known);
        }
        if self.all.len() > 2 * self.swept + 16 {
            self.all.retain(|known| Arc::strong_count(known) > 1);
            self.swept = self.all.len();
        }
        let form = Arc::new(form);
        self.all.insert(Arc::clone(&form));
        form
    }
}

/// What is known of the page of a target.
#[derive(Debug, Default)]
pub(crate) enum Page {
    /// It has just changed.
    #[default]
    Changed,
    /// It has no form.
    Formless,
    /// It had this form last.
    Known(Known),
}

/// A form, and the numbers of its samples.
#[derive(Debug)]
pub(crate) struct Known {
    form: Arc<PageForm>,
    numbers: Box<[u32]>,
    dropped: usize,
    /// A page of it has come since it was learned.
    was_met: bool,
}

impl Page {
    /// Reads a page of the form that is known into an empty draft; nothing, if it has another.
    pub(crate) fn read(&mut self, body: &[u8], dialect: Dialect, draft: &mut Draft) -> Option<Counts> {
        let Self::Known(Known { form, numbers, dropped, was_met }) = self else { return None };
        if !draft.push_page(form, body, dialect, numbers, *dropped > 0) {
            return None;
        }
        *was_met = true;
        let kept = (numbers.len() - *dropped) as u64;
        Some(Counts { scraped: numbers.len() as u64, kept, stored: kept, ..Counts::default() })
    }

    /// Learns from a page that was read line by line, and whose series the cache knows.
    pub(crate) fn learn(
        &mut self,
        body: &[u8],
        dialect: Dialect,
        cache: &SeriesCache<u32>,
        forms: &mut Forms,
    ) {
        if !cache.is_same_order() {
            *self = Self::Changed;
        } else if matches!(self, Self::Known(Known { was_met: false, .. })) {
            // Something beside the values changes although the series do not: it will do so again.
            *self = Self::Formless;
        } else if !matches!(self, Self::Formless) {
            let numbers: Box<[u32]> = cache.current().collect();
            let bytes_max = |samples| FORM_BYTES + FORM_SAMPLE_BYTES * samples;
            let form = PageForm::of(body, dialect, bytes_max).filter(|form| {
                // A series that was there twice has one number only.
                form.len() == numbers.len() && form.heap_bytes() <= bytes_max(form.len())
            });
            *self = form.map_or(Self::Formless, |form| {
                let dropped = numbers.iter().filter(|number| **number == DROPPED).count();
                Self::Known(Known { form: forms.shared(form), numbers, dropped, was_met: false })
            });
        }
    }

    /// Forgets what was known, as the series of the page are not the last that came.
    pub(crate) fn forget(&mut self) {
        *self = Self::Changed;
    }
}
