//! Reading the spool for one receiver.
//!
//! Invariant: records come in order, each once. What a bound dropped meanwhile is passed over; it was
//! counted when it was dropped.

use std::{io, sync::Arc};

use vedette_sys::{LogError, SegmentReader};

use super::{
    Spool, log_folder,
    record::{self, Entries, Header},
};

/// Reads what a receiver has not got.
pub struct SpoolReader {
    spool: Arc<Spool>,
    key: String,
    /// The first record that has not been read.
    next: u64,
    segment: Option<(u64, SegmentReader)>,
    snappy: snap::raw::Decoder,
    body: Vec<u8>,
}

/// A record.
pub struct Spooled<'a> {
    /// What it is.
    pub header: Header,
    /// Whether only its definitions count, as its samples were read before.
    pub definitions_only: bool,
    body: &'a [u8],
}

impl Spooled<'_> {
    /// What is in it.
    pub fn entries(&self) -> Entries<'_> {
        Entries::new(self.body)
    }
}

/// What the next step is.
enum Step {
    Record(Header),
    /// The segment is at its end, and there is one behind it.
    NextSegment,
    End,
    /// Nothing more can be read of this segment.
    Damaged,
}

impl SpoolReader {
    pub(super) fn new(spool: Arc<Spool>, key: String, next: u64) -> Self {
        let snappy = snap::raw::Decoder::new();
        Self { spool, key, next, segment: None, snappy, body: Vec::new() }
    }

    /// The next record, or `None` where all is read. After an error the same call may succeed later.
    pub fn read(&mut self) -> Result<Option<Spooled<'_>>, LogError> {
        loop {
            match self.step()? {
                Step::End => return Ok(None),
                Step::NextSegment => {}
                Step::Damaged => self.leave_segment(),
                Step::Record(header) => {
                    let definitions_only = header.seq < self.next;
                    if !definitions_only {
                        self.next = header.seq + 1;
                        self.note_read(header.seq);
                    }
                    return Ok(Some(Spooled { header, definitions_only, body: &self.body }));
                }
            }
        }
    }

    fn step(&mut self) -> Result<Step, LogError> {
        let Some((number, end, has_later)) = self.place() else { return Ok(Step::End) };
        let reader = match &mut self.segment {
            Some((open, reader)) if *open == number => reader,
            other => {
                let config = &self.spool.config;
                let opened = SegmentReader::open(&*self.spool.fs, &log_folder(config), &config.log(), number);
                match opened {
                    Ok(reader) => &mut other.insert((number, reader)).1,
                    // A bound may have removed it a moment ago.
                    Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                        return Ok(Step::NextSegment);
                    }
                    Err(error) if is_damage(&error) => {
                        return Ok(self.damaged(number));
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let bytes = match reader.next(end) {
            Ok(Some(bytes)) => bytes,
            Ok(None) if has_later => {
                self.leave_segment();
                return Ok(Step::NextSegment);
            }
            Ok(None) => return Ok(Step::End),
            Err(error) if is_damage(&error) => return Ok(self.damaged(number)),
            Err(error) => return Err(error),
        };
        let Some(header) = record::header(bytes) else {
            // A later release may know it.
            return Ok(Step::NextSegment);
        };
        if record::body(bytes, &mut self.snappy, &mut self.body).is_err() {
            return Ok(self.damaged(number));
        }
        Ok(Step::Record(header))
    }

    /// The segment to read: its number and length, and whether there is one behind it.
    fn place(&mut self) -> Option<(u64, u64, bool)> {
        let inner = self.spool.inner.lock();
        let read = inner.receivers.get(&self.key)?.read;
        if read >= self.next {
            // A bound dropped what would have come next.
            self.next = read + 1;
        }
        let open = self.segment.as_ref().map(|(number, _)| *number);
        let open = open.filter(|open| inner.segments.iter().any(|s| s.number == *open));
        let number = match open {
            Some(open) => open,
            None => {
                let next = self.next;
                inner
                    .segments
                    .iter()
                    .find(|s| s.records.last().is_some_and(|(last, ..)| *last >= next))?
                    .number
            }
        };
        let has_later = inner.segments.back().is_some_and(|last| last.number > number);
        let (_, end) = inner.log.extents().find(|(n, _)| *n == number)?;
        Some((number, end, has_later))
    }

    fn leave_segment(&mut self) {
        // Nothing of it comes again: whatever was in it is read.
        let Some((number, _)) = self.segment.take() else { return };
        let inner = self.spool.inner.lock();
        if let Some((last, ..)) =
            inner.segments.iter().find(|s| s.number == number).and_then(|s| s.records.last())
        {
            self.next = self.next.max(last + 1);
        }
    }

    /// Counts what is left of a segment as lost, and passes over it.
    fn damaged(&mut self, number: u64) -> Step {
        let mut inner = self.spool.inner.lock();
        let inner = &mut *inner;
        let next = self.next;
        if let Some(segment) = inner.segments.iter().find(|s| s.number == number)
            && let Some((last, ..)) = segment.records.last()
            && let Some(receiver) = inner.receivers.get_mut(&self.key)
        {
            let rest = segment.records.iter().filter(|(seq, ..)| *seq >= next);
            receiver.losses.damaged.add(rest.map(|(_, points, _)| u64::from(*points)).sum());
            receiver.read = receiver.read.max(*last);
            self.next = self.next.max(last + 1);
            tracing::error!(segment = number, receiver = self.key, "the spool of remote write is damaged");
        }
        self.segment = None;
        Step::Damaged
    }

    fn note_read(&self, seq: u64) {
        if let Some(receiver) = self.spool.inner.lock().receivers.get_mut(&self.key) {
            receiver.read = receiver.read.max(seq);
        }
    }
}

fn is_damage(error: &LogError) -> bool {
    matches!(error, LogError::Io { source, .. } if source.kind() == io::ErrorKind::InvalidData)
}
