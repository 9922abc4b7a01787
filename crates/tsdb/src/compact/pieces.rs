//! Which chunks of a series a merge takes over as they are.
//!
//! What is copied is neither decoded nor encoded again. Invariant: a chunk is copied only where
//! no other segment has a sample of the series in its stretch, nothing of it is left out, and
//! encoding it anew together with its neighbours would save next to nothing.

use vedette_model::TimeRange;

use crate::{
    chunk::{SAMPLES_MAX, summarize_constant},
    segment::{Body, Chunk, Segment, Times},
};

/// Chunks of fewer samples are worth being joined with others.
const COPIED_SAMPLES_MIN: usize = 1024;

/// Fewer samples between chunks that are copied would make a chunk that compresses badly.
const READ_SAMPLES_MIN: usize = 512;

/// A chunk and where it stands.
#[derive(Clone)]
pub struct Found<'a> {
    pub segment: &'a Segment,
    pub chunk: Chunk<'a>,
    /// Whether something in its stretch is left out.
    pub masked: bool,
}

/// One step through the samples of a series, in order of time.
#[derive(Clone)]
pub enum Step<'a> {
    /// The chunk can stay as it is.
    Copy(Found<'a>),
    /// The samples of a stretch have to be read; about how many they are.
    Read(TimeRange, usize),
}

/// The steps through all chunks that several segments have of one series. Puts the chunks in
/// order of time.
pub fn plan<'a>(found: &mut [Found<'a>], steps: &mut Vec<Step<'a>>) {
    steps.clear();
    let range = |f: &Found<'_>| f.chunk.summary.range;
    if !found.is_sorted_by_key(|f| range(f).start_ms) {
        found.sort_by_key(|f| range(f).start_ms);
    }
    let mut before_ms = None;
    for (i, it) in found.iter().enumerate() {
        let TimeRange { start_ms, end_ms } = range(it);
        let alone = !it.masked
            && before_ms.is_none_or(|before| before < start_ms)
            && found.get(i + 1).is_none_or(|next| end_ms < range(next).start_ms);
        before_ms = before_ms.max(Some(end_ms));
        let constant = constant_value(&it.chunk).is_some();
        // Only what was merged before is as short as it gets.
        let merged = !it.segment.footer.sources.is_empty();
        let joined = match steps.last_mut() {
            Some(Step::Copy(last)) => alone && join(&mut last.chunk, &it.chunk),
            _ => false,
        };
        if !joined {
            let copied = alone && (constant || (merged && it.chunk.count >= COPIED_SAMPLES_MIN));
            steps.push(match copied {
                true => Step::Copy(it.clone()),
                false => Step::Read(range(it), it.chunk.count),
            });
        }
    }
    if steps.len() > 1 {
        read_short_constants(steps);
        join_reads(steps);
        read_beside_short_reads(steps);
        join_reads(steps);
    }
}

/// The value of a chunk that its head tells all of.
fn constant_value(chunk: &Chunk<'_>) -> Option<f64> {
    match (chunk.body, chunk.times, chunk.starts) {
        (Body::Constant(value), Times::Regular { .. }, None) => Some(value),
        _ => None,
    }
}

/// Lengthens a constant chunk by the one that follows, if it goes on with the same value and step.
fn join(chunk: &mut Chunk<'_>, next: &Chunk<'_>) -> bool {
    let (Some(value), Some(next_value)) = (constant_value(chunk), constant_value(next)) else {
        return false;
    };
    let (Times::Regular { first_ms, step_ms }, Times::Regular { first_ms: next_ms, step_ms: next_step_ms }) =
        (chunk.times, next.times)
    else {
        return false;
    };
    let gap_ms = next_ms.wrapping_sub(chunk.summary.range.end_ms) as u64;
    let count = chunk.count + next.count;
    let goes_on = value.to_bits() == next_value.to_bits()
        && (chunk.count == 1 || step_ms == gap_ms)
        && (next.count == 1 || next_step_ms == gap_ms)
        && count <= SAMPLES_MAX;
    if goes_on {
        let range = TimeRange { end_ms: next.summary.range.end_ms, ..chunk.summary.range };
        *chunk = Chunk {
            count,
            times: Times::Regular { first_ms, step_ms: gap_ms },
            summary: summarize_constant(range, count, value),
            ..chunk.clone()
        };
    }
    goes_on
}

/// A short constant chunk among others costs more as a chunk than among the values of its neighbours.
fn read_short_constants(steps: &mut [Step<'_>]) {
    for step in steps {
        if let Step::Copy(Found { chunk, .. }) = step
            && chunk.count < COPIED_SAMPLES_MIN
        {
            *step = Step::Read(chunk.summary.range, chunk.count);
        }
    }
}

fn read_beside_short_reads(steps: &mut [Step<'_>]) {
    for i in 0..steps.len() {
        let Step::Read(_, count) = steps[i] else { continue };
        let neighbours = [i.checked_sub(1), Some(i + 1)].into_iter().flatten();
        let mut varied = neighbours.filter(|&n| match steps.get(n) {
            Some(Step::Copy(found)) => constant_value(&found.chunk).is_none(),
            _ => false,
        });
        if count < READ_SAMPLES_MIN
            && let Some(neighbour) = varied.next()
            && let Step::Copy(Found { chunk, .. }) = &steps[neighbour]
        {
            steps[neighbour] = Step::Read(chunk.summary.range, chunk.count);
        }
    }
}

fn join_reads(steps: &mut Vec<Step<'_>>) {
    steps.dedup_by(|next, before| match (before, next) {
        (Step::Read(range, count), Step::Read(next, more)) => {
            range.end_ms = range.end_ms.max(next.end_ms);
            *count += *more;
            true
        }
        _ => false,
    });
}
