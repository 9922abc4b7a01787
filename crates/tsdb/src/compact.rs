//! Compaction: small segments are merged into larger ones.
//!
//! Invariant: a segment goes only after the one that replaces it is synced under its final name.

use std::{sync::Arc, sync::atomic::Ordering};

use vedette_model::{Labels, SampleBuffer, TimeRange};

use crate::{
    Tsdb,
    chunk::Effort,
    maintain::{Maintenance, StepError},
    segment::{Index, Segment, SegmentWriter},
    store::segments_folder,
};

impl Tsdb {
    /// Merges the first group of segments that fill a longer span together.
    pub(crate) fn compact(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        let Some(group) = self.compactable() else { return Ok(()) };
        let from_ms = group.iter().map(|s| s.footer.from_ms).min().unwrap_or(0);
        let until_ms = group.iter().map(|s| s.footer.until_ms).max().unwrap_or(0);
        let bounds = (from_ms, until_ms);
        let sources: Vec<u64> = group.iter().map(|s| s.id).collect();
        let folder = segments_folder(&self.config);
        let write_error = |source| StepError::Write { folder: folder.clone(), source };
        let id = maintenance.next_id;
        maintenance.next_id += 1;
        let writer = SegmentWriter::create(&*self.fs, &folder, id, Effort::Small).map_err(write_error)?;
        let merged = self.write_segment(writer, id, bounds, sources.clone(), |writer| {
            let mut merge = Merge::new(&group)?;
            let mut done = 0;
            while let Some(labels) = merge.next()? {
                writer.add(&labels, &merge.samples).map_err(write_error)?;
                self.take_turn(done);
                done += 1;
            }
            Ok(())
        })?;
        self.publish(|segments| {
            segments.retain(|s| !sources.contains(&s.id));
            segments.extend(merged.map(Arc::new));
        });
        self.metrics.compactions.inc();
        self.remove_files(&group)
    }

    fn compactable(&self) -> Option<Vec<Arc<Segment>>> {
        let segments = Arc::clone(&self.segments.read());
        let sealed_until = self.sealed_until_ms.load(Ordering::Acquire);
        for &span in &self.config.compaction_spans_ms {
            let window = |s: &Segment| {
                let window = s.footer.from_ms.div_euclid(span);
                let end = window.checked_add(1)?.checked_mul(span)?;
                let fits =
                    s.footer.until_ms <= end && end <= sealed_until && !s.damaged.load(Ordering::Relaxed);
                fits.then_some(window)
            };
            // Only neighbours: what lies between two segments must stay between them.
            let mut groups = segments.chunk_by(|a, b| window(a).is_some() && window(a) == window(b));
            if let Some(group) = groups.find(|g| g.len() > 1) {
                return Some(group.to_vec());
            }
        }
        None
    }
}

/// Goes through several segments, in order of time, series by series.
struct Merge<'a> {
    sources: Vec<Source<'a>>,
    /// Samples of the series that came last.
    samples: SampleBuffer,
}

struct Source<'a> {
    segment: &'a Segment,
    index: Arc<Index>,
    next: u32,
    labels: Option<Labels>,
}

impl<'a> Merge<'a> {
    fn new(segments: &'a [Arc<Segment>]) -> Result<Self, vedette_model::ReadError> {
        let sources = segments
            .iter()
            .map(|segment| {
                let mut source = Source { segment, index: segment.index()?, next: 0, labels: None };
                source.look();
                Ok(source)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { sources, samples: SampleBuffer::default() })
    }

    /// The labels of the next series, whose samples are then in `samples`.
    fn next(&mut self) -> Result<Option<Labels>, vedette_model::ReadError> {
        let Some(labels) = self.sources.iter().filter_map(|s| s.labels.as_ref()).min().cloned() else {
            return Ok(None);
        };
        self.samples.clear();
        for source in self.sources.iter_mut().filter(|s| s.labels.as_ref() == Some(&labels)) {
            let block = source.index.entry(source.next).block;
            source.segment.read(block, TimeRange::ALL, &mut self.samples)?;
            source.next += 1;
            source.look();
        }
        crate::reader::settle(&mut self.samples, 0);
        Ok(Some(labels))
    }
}

impl Source<'_> {
    fn look(&mut self) {
        let there = (self.next as usize) < self.index.len();
        self.labels = there.then(|| self.index.labels(self.next));
    }
}
