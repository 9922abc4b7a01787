//! Documents on their way to a sink: their bytes one behind another, and what each stands for.

/// A document's place in the spool: grows from one document to the next, also over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// When its record was spooled.
    pub spooled_ms: i64,
    /// Its record.
    pub seq: u64,
    /// Its first sample in the record.
    pub ordinal: u32,
}

impl Place {
    /// Whether a sink that has everything up to `known` has this one. The time tells places of a spool
    /// from those of one that was removed: numbers begin anew then.
    pub fn is_within(&self, known: &Self) -> bool {
        self.spooled_ms <= known.spooled_ms && (self.seq, self.ordinal) <= (known.seq, known.ordinal)
    }
}

/// What a sink takes or refuses as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where its bytes end in [`Batch::bytes`].
    pub end: usize,
    /// Samples in it.
    pub points: u32,
    /// Where it comes from.
    pub place: Place,
    /// The time of its samples.
    pub time_ms: i64,
    /// The same for the same document, whenever it is made.
    pub id: u128,
    /// Equal for documents whose order matters.
    pub key: u64,
}

/// Documents that are sent together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// All documents.
    pub bytes: Vec<u8>,
    /// Where each ends, and what it is.
    pub documents: Vec<Document>,
}

impl Batch {
    /// Samples in it.
    pub fn points(&self) -> u64 {
        self.documents.iter().map(|document| u64::from(document.points)).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The bytes of a document.
    pub fn document(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.documents[before].end);
        &self.bytes[begin..self.documents[at].end]
    }

    /// Some of the documents, named in rising order.
    pub fn subset(&self, chosen: impl Iterator<Item = usize>) -> Self {
        let mut subset = Self::default();
        for at in chosen {
            subset.bytes.extend_from_slice(self.document(at));
            subset.documents.push(Document { end: subset.bytes.len(), ..self.documents[at].clone() });
        }
        subset
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The sink has all of it.
    Taken,
    /// The sink has all but these.
    Partly {
        /// Documents that it will never take.
        refused: Vec<usize>,
        /// Documents that it may take later.
        again: Vec<usize>,
        /// What it said of one of them.
        message: String,
    },
    /// The sink may take it later; whether it has some of it is not known.
    Again {
        /// How long it asks to wait.
        after: Option<std::time::Duration>,
        /// What it said, or why it could not be reached.
        message: String,
    },
    /// The sink will never take it.
    Refused {
        /// Samples that it took all the same.
        taken: u64,
        /// What it said.
        message: String,
    },
    /// Less at once may be taken.
    TooLarge {
        /// What it said.
        message: String,
    },
}
