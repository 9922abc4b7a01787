//! Native histograms of the series of a shard, beside the streams of their times.
//!
//! A histogram is a sample like any other: its series' stream tells its time, and [`PLACE_BITS`]
//! or the staleness marker for its value; the histogram itself stands here, under that time. So
//! all that is settled by time needs nothing of its own for histograms. Each span of a series is a
//! stream of blocks: for each histogram the signed change of the distance in time, then the
//! histogram, told by the one before ([`crate::wal::histograms`]).
//!
//! Invariant: every histogram in a series' stream of times stands here. One that is claimed
//! stands here a little before, and nobody looks for it until then.

use std::sync::Arc;

use hashbrown::HashMap;
use vedette_model::{NativeHistogram, STALE_NAN_BITS, TimeRange};

use super::blocks::{Blocks, Stream};
use crate::{
    bytes::{Cursor, put_signed},
    wal::histograms::{Reader, encode},
};

/// What the stream of times has for the value of a histogram: what takes the least room.
pub const PLACE_BITS: u64 = 0;

/// What the stream of times has for a histogram.
pub fn place_bits(histogram: &NativeHistogram) -> u64 {
    if histogram.is_stale() { STALE_NAN_BITS } else { PLACE_BITS }
}

/// About what a histogram takes that stands decoded, beside its heap.
const DECODED_BYTES: usize = size_of::<NativeHistogram>() + 16;

/// Histograms of a shard.
#[derive(Debug, Default)]
pub struct Histograms {
    series: HashMap<u32, Series>,
    /// Memory of the last histograms.
    last_bytes: usize,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Series {
    /// In order of time, one for each span of which something is kept.
    spans: Vec<Span>,
    /// What the next one is told by. It stays when its span is sealed, so that it is known when it
    /// comes again.
    last: Arc<NativeHistogram>,
    last_ms: i64,
    step_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    stream: Stream,
    first_ms: i64,
    last_ms: i64,
}

impl Histograms {
    /// Adds a histogram that is later than all of its series. In another span than the one before
    /// it begins a new stream.
    pub fn push(
        &mut self,
        slot: u32,
        time_ms: i64,
        span_start_ms: i64,
        histogram: &Arc<NativeHistogram>,
        blocks: &mut Blocks,
    ) {
        let Self { series, last_bytes, scratch } = self;
        scratch.clear();
        let series = series.entry(slot).or_insert_with(|| {
            *last_bytes += decoded_bytes(histogram);
            Series { spans: Vec::new(), last: Arc::clone(histogram), last_ms: time_ms, step_ms: 0 }
        });
        match series.spans.last_mut().filter(|span| span.last_ms >= span_start_ms) {
            Some(span) => {
                let step_ms = time_ms.wrapping_sub(span.last_ms);
                put_signed(scratch, step_ms.wrapping_sub(series.step_ms));
                encode(Some(&series.last), histogram, scratch);
                series.step_ms = step_ms;
                span.last_ms = time_ms;
                blocks.push(&mut span.stream, scratch);
            }
            None => {
                put_signed(scratch, time_ms);
                encode(None, histogram, scratch);
                series.step_ms = 0;
                let mut stream = Stream::EMPTY;
                blocks.push(&mut stream, scratch);
                series.spans.push(Span { stream, first_ms: time_ms, last_ms: time_ms });
            }
        }
        self.remember(slot, time_ms, histogram);
    }

    /// Notes the last histogram of a series, which itself is sealed.
    pub fn remember(&mut self, slot: u32, time_ms: i64, histogram: &Arc<NativeHistogram>) {
        self.last_bytes += decoded_bytes(histogram);
        let last = Arc::clone(histogram);
        match self.series.get_mut(&slot) {
            Some(series) => {
                self.last_bytes -= decoded_bytes(&series.last);
                (series.last, series.last_ms) = (last, time_ms);
            }
            None => {
                let series = Series { spans: Vec::new(), last, last_ms: time_ms, step_ms: 0 };
                self.series.insert(slot, series);
            }
        }
    }

    /// The histogram of a series at a time.
    pub fn at(&self, slot: u32, time_ms: i64, blocks: &Blocks) -> Option<Arc<NativeHistogram>> {
        let series = self.series.get(&slot)?;
        if series.last_ms == time_ms {
            return Some(Arc::clone(&series.last));
        }
        let mut copy = HistogramCopy::default();
        self.copy(slot, TimeRange { start_ms: time_ms, end_ms: time_ms }, blocks, &mut copy);
        copy.walk().at(time_ms).map(|histogram| Arc::new(histogram.clone()))
    }

    /// Copies what is needed for the histograms of a series in `range`.
    pub fn copy(&self, slot: u32, range: TimeRange, blocks: &Blocks, out: &mut HistogramCopy) {
        let Some(series) = self.series.get(&slot) else { return };
        for span in &series.spans {
            if range.overlaps(TimeRange { start_ms: span.first_ms, end_ms: span.last_ms }) {
                blocks.copy(span.stream, usize::MAX, &mut out.bytes);
                out.ends.push(out.bytes.len());
            }
        }
    }

    /// Removes the histograms of a series before `boundary_ms`.
    pub fn truncate_before(&mut self, slot: u32, boundary_ms: i64, blocks: &mut Blocks) {
        let Some(series) = self.series.get_mut(&slot) else { return };
        let gone = series.spans.partition_point(|span| span.last_ms < boundary_ms);
        series.spans.drain(..gone).for_each(|mut span| blocks.free(&mut span.stream));
        if series.spans.first().is_some_and(|span| span.first_ms < boundary_ms) {
            self.retain(slot, blocks, |time_ms| time_ms >= boundary_ms);
        }
    }

    /// Takes back the histograms of a series that are later than `last_ms`.
    pub fn take_back(&mut self, slot: u32, last_ms: i64, blocks: &mut Blocks) {
        if self.series.get(&slot).is_some_and(|series| series.last_ms > last_ms) {
            self.retain(slot, blocks, |time_ms| time_ms <= last_ms);
        }
    }

    /// Removes the histograms of a series in `range`.
    pub fn delete(&mut self, slot: u32, range: TimeRange, blocks: &mut Blocks) {
        let last = self.series.get(&slot).map(|series| (series.last_ms, Arc::clone(&series.last)));
        self.retain(slot, blocks, |time_ms| !range.contains(time_ms));
        // It may be sealed, and stays known.
        if let Some((last_ms, last)) = last.filter(|(last_ms, _)| !range.contains(*last_ms)) {
            self.remember(slot, last_ms, &last);
        }
    }

    fn retain(&mut self, slot: u32, blocks: &mut Blocks, keep: impl Fn(i64) -> bool) {
        let mut copy = HistogramCopy::default();
        self.copy(slot, TimeRange::ALL, blocks, &mut copy);
        self.remove_series(slot, blocks);
        let mut walk = copy.walk();
        while let Some(time_ms) = walk.advance() {
            if keep(time_ms) {
                let histogram = Arc::new(walk.histogram().clone());
                self.push(slot, time_ms, i64::MIN, &histogram, blocks);
            }
        }
    }

    /// Removes all histograms of a series.
    pub fn remove_series(&mut self, slot: u32, blocks: &mut Blocks) {
        if let Some(mut series) = self.series.remove(&slot) {
            self.last_bytes -= decoded_bytes(&series.last);
            series.spans.iter_mut().for_each(|span| blocks.free(&mut span.stream));
        }
    }

    /// Memory beside the blocks.
    pub fn heap_bytes(&self) -> usize {
        self.series.capacity() * (size_of::<Series>() + 9)
            + self.series.len() * 2 * size_of::<Span>()
            + self.last_bytes
    }
}

fn decoded_bytes(histogram: &NativeHistogram) -> usize {
    DECODED_BYTES + histogram.heap_bytes()
}

/// Copied histograms of one series.
#[derive(Debug, Default)]
pub struct HistogramCopy {
    bytes: Vec<u8>,
    /// Where each span ends.
    ends: Vec<usize>,
}

impl HistogramCopy {
    /// Forgets them, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Goes through the histograms, in order of time.
    pub fn walk(&self) -> HistogramWalk<'_> {
        HistogramWalk {
            copy: self,
            span: 0,
            cursor: Cursor::new(&[]),
            reader: Reader::default(),
            time_ms: None,
            step_ms: 0,
        }
    }
}

/// Goes through copied histograms.
pub struct HistogramWalk<'a> {
    copy: &'a HistogramCopy,
    /// Spans begun.
    span: usize,
    cursor: Cursor<'a>,
    reader: Reader,
    /// The place of the walk; `None` before the first histogram.
    time_ms: Option<i64>,
    /// 0 at the first of a span.
    step_ms: i64,
}

impl HistogramWalk<'_> {
    /// The histogram of a time, which is later than those asked for before.
    pub fn at(&mut self, time_ms: i64) -> Option<&NativeHistogram> {
        while self.time_ms.is_none_or(|here| here < time_ms) {
            self.advance()?;
        }
        (self.time_ms == Some(time_ms)).then(|| self.histogram())
    }

    /// Goes to the next histogram, and gives its time.
    fn advance(&mut self) -> Option<i64> {
        let begins = self.cursor.remaining() == 0;
        if begins {
            let start = self.span.checked_sub(1).map_or(0, |before| self.copy.ends[before]);
            let end = *self.copy.ends.get(self.span)?;
            self.cursor = Cursor::new(&self.copy.bytes[start..end]);
            self.span += 1;
            self.reader.clear();
        }
        let told = self.cursor.signed().expect("BUG: a histogram without time in the head");
        self.step_ms = if begins { 0 } else { self.step_ms.wrapping_add(told) };
        let time_ms = if begins { told } else { self.time_ms.unwrap_or(0).wrapping_add(self.step_ms) };
        self.time_ms = Some(time_ms);
        assert!(self.reader.read(&mut self.cursor).is_some(), "BUG: a damaged histogram in the head");
        self.time_ms
    }

    fn histogram(&self) -> &NativeHistogram {
        self.reader.last().expect("BUG: no histogram was read")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::chunk::tests::any_histogram;

    #[derive(Debug, Clone)]
    enum Op {
        Push(u32, NativeHistogram),
        Truncate(i64),
        TakeBack(i64),
        Remove(u32),
    }

    fn any_op() -> impl Strategy<Value = Op> {
        prop_oneof![
            12 => (0u32..3, any_histogram()).prop_map(|(slot, h)| Op::Push(slot, h)),
            1 => (0i64..30).prop_map(Op::Truncate),
            1 => (0i64..5).prop_map(Op::TakeBack),
            1 => (0u32..3).prop_map(Op::Remove),
        ]
    }

    proptest! {
        #[test]
        fn equals_a_map(ops in proptest::collection::vec((any_op(), 1i64..4), 1..80)) {
            let (mut histograms, mut blocks) = (Histograms::default(), Blocks::default());
            let mut model: Vec<BTreeMap<i64, String>> = vec![BTreeMap::new(); 3];
            let mut time = 0;
            for (op, step) in ops {
                time += step;
                match op {
                    Op::Push(slot, histogram) => {
                        model[slot as usize].insert(time, format!("{histogram:?}"));
                        histograms.push(slot, time, time / 16 * 16, &Arc::new(histogram), &mut blocks);
                    }
                    Op::Truncate(back) => {
                        for slot in 0..3 {
                            histograms.truncate_before(slot, time - back, &mut blocks);
                            model[slot as usize].retain(|t, _| *t >= time - back);
                        }
                    }
                    Op::TakeBack(back) => {
                        for slot in 0..3 {
                            histograms.take_back(slot, time - back, &mut blocks);
                            model[slot as usize].retain(|t, _| *t <= time - back);
                        }
                    }
                    Op::Remove(slot) => {
                        histograms.remove_series(slot, &mut blocks);
                        model[slot as usize].clear();
                    }
                }
                for slot in 0..3u32 {
                    let mut copy = HistogramCopy::default();
                    histograms.copy(slot, TimeRange::ALL, &blocks, &mut copy);
                    let mut walk = copy.walk();
                    for (&time, histogram) in &model[slot as usize] {
                        let walked = walk.at(time).map(|h| format!("{h:?}"));
                        prop_assert_eq!(walked.as_ref(), Some(histogram));
                        let found = histograms.at(slot, time, &blocks).map(|h| format!("{h:?}"));
                        prop_assert_eq!(found.as_ref(), Some(histogram));
                    }
                    prop_assert!(walk.advance().is_none());
                }
            }
            for slot in 0..3 {
                histograms.remove_series(slot, &mut blocks);
            }
            prop_assert_eq!((blocks.used_bytes(), histograms.last_bytes), (0, 0));
        }
    }
}
