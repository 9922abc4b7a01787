//! Collects what is to be told about a query, each thing once.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    output::{Annotation, AnnotationKind},
    span::Span,
};

/// More different annotations than this are dropped: nobody reads them, and hostile labels could
/// make any number of them.
const ANNOTATIONS_MAX: usize = 100;

/// Annotations by kind and message; of equal ones the first place stays.
#[derive(Debug, Default)]
pub struct Annotations(RefCell<BTreeMap<(AnnotationKind, String), Span>>);

impl Annotations {
    pub fn warn(&self, span: Span, message: String) {
        self.add(AnnotationKind::Warning, span, message);
    }

    pub fn info(&self, span: Span, message: String) {
        self.add(AnnotationKind::Info, span, message);
    }

    fn add(&self, kind: AnnotationKind, span: Span, message: String) {
        let mut all = self.0.borrow_mut();
        if all.len() < ANNOTATIONS_MAX {
            all.entry((kind, message)).or_insert(span);
        }
    }

    /// Warnings and infos.
    pub fn finish(self) -> (Vec<Annotation>, Vec<Annotation>) {
        self.0
            .into_inner()
            .into_iter()
            .map(|((kind, message), span)| Annotation { kind, message, span })
            .partition(|a| a.kind == AnnotationKind::Warning)
    }
}
