//! Native histograms: chunks with whole counts (encodings 2 and 5) and with floats (3 and 6).

use std::{ops::Range, sync::Arc};

use vedette_model::{
    HISTOGRAM_BUCKETS_MAX, HistogramCounts, NativeHistogram, ResetHint, SampleBuffer, Span, is_stale,
};

use super::{
    BUCKETS_MAX, Refused,
    bits::{BitReader, BitWriter},
    layout::{self, Layout, ReadLayout},
    starts::StartReader,
    xor::XorState,
};

/// What a chunk says of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetHeader {
    Unknown = 0b00,
    NotReset = 0b01,
    Reset = 0b10,
    Gauge = 0b11,
}

/// Which of the four encodings.
#[derive(Debug, Clone, Copy)]
pub struct Flavour {
    /// Counts are floats.
    pub float: bool,
    /// Start timestamps can be there.
    pub starts: bool,
}

/// Appends the samples of a chunk. Histograms that contradict themselves are left out.
pub fn decode(data: &[u8], flavour: Flavour, out: &mut SampleBuffer, refused: &mut Refused) -> Option<()> {
    let mut bits = BitReader::new(data);
    let (count, gauge, starts);
    if flavour.starts {
        gauge = bits.get(2)? == ResetHeader::Gauge as u64;
        count = bits.get(14)?;
        starts = Some(StartReader::new(bits.get(8)? as u8));
    } else {
        count = bits.get(16)?;
        gauge = bits.get(2)? == ResetHeader::Gauge as u64;
        bits.get(6)?;
        starts = None;
    }
    let mut starts = starts;
    let layout = layout::read(&mut bits)?;
    let positive = bucket_count(&layout.positive)?;
    let negative = bucket_count(&layout.negative)?;
    let parts = layout.positive.len() + layout.negative.len() + layout.custom_bounds.len();
    if (positive + negative + parts) as u64 * count > BUCKETS_MAX {
        return None;
    }
    let mut reader = if flavour.float {
        Reader::Float(FloatReader::default())
    } else {
        Reader::Integer(IntegerReader::default())
    };
    let mut time = Second::default();
    for i in 0..count as usize {
        let time_ms = time.next(i, bits.varbit_int()?);
        let hint = match (gauge, i) {
            (true, _) => ResetHint::Gauge,
            // Whether the chunk before is still there, and still the one before, nobody knows.
            (false, 0) => ResetHint::Unknown,
            (false, _) => ResetHint::NotReset,
        };
        let (sum, counts) = match &mut reader {
            Reader::Integer(reader) => reader.next(i, &mut bits, positive, negative)?,
            Reader::Float(reader) => reader.next(i, &mut bits, positive, negative)?,
        };
        let histogram = if is_stale(sum) {
            NativeHistogram { counts, ..NativeHistogram::stale() }
        } else {
            assemble(&layout, hint, sum, counts)
        };
        let start_ms = match &mut starts {
            Some(starts) => starts.next(i, time_ms, &mut bits)?,
            None => 0,
        };
        match histogram.validate() {
            Ok(()) => {
                out.push_histogram(time_ms, Arc::new(histogram));
                out.set_last_start(start_ms);
            }
            Err(error) => {
                refused.histograms += 1;
                refused.first.get_or_insert_with(|| format!("{error}, at {time_ms} ms"));
            }
        }
    }
    Some(())
}

fn bucket_count(spans: &[Span]) -> Option<usize> {
    let buckets = spans.iter().map(|s| u64::from(s.length)).sum::<u64>();
    usize::try_from(buckets).ok().filter(|&n| n <= HISTOGRAM_BUCKETS_MAX)
}

fn assemble(
    layout: &ReadLayout,
    reset_hint: ResetHint,
    sum: f64,
    counts: HistogramCounts,
) -> NativeHistogram {
    NativeHistogram {
        reset_hint,
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        sum,
        positive_spans: layout.positive.clone(),
        negative_spans: layout.negative.clone(),
        custom_bounds: layout.custom_bounds.clone(),
        counts,
    }
}

/// A number of which the first is written as it is, and then the difference of differences.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    value: i64,
    delta: i64,
}

impl Second {
    /// The number, from what is written of it.
    fn next(&mut self, i: usize, written: i64) -> i64 {
        if i == 0 {
            self.value = written;
        } else {
            self.delta = self.delta.wrapping_add(written);
            self.value = self.value.wrapping_add(self.delta);
        }
        self.value
    }

    /// What is to be written of a number.
    fn written(&mut self, i: usize, value: i64) -> i64 {
        if i == 0 {
            self.value = value;
            return value;
        }
        let delta = value.wrapping_sub(self.value);
        let written = delta.wrapping_sub(self.delta);
        (self.value, self.delta) = (value, delta);
        written
    }
}

enum Reader {
    Integer(IntegerReader),
    Float(FloatReader),
}

#[derive(Debug, Default)]
struct IntegerReader {
    count: Second,
    zero_count: Second,
    sum: XorState,
    /// Positive, then negative buckets, each as difference from the bucket before it.
    buckets: Vec<Second>,
}

impl IntegerReader {
    fn next(
        &mut self,
        i: usize,
        bits: &mut BitReader<'_>,
        positive: usize,
        negative: usize,
    ) -> Option<(f64, HistogramCounts)> {
        let sum;
        let (count, zero_count);
        if i == 0 {
            count = self.count.next(0, bits.varbit_uint()? as i64);
            zero_count = self.zero_count.next(0, bits.varbit_uint()? as i64);
            sum = bits.f64()?;
            self.sum = XorState::new(sum);
            self.buckets.resize(positive + negative, Second::default());
        } else {
            count = self.count.next(i, bits.varbit_int()?);
            zero_count = self.zero_count.next(i, bits.varbit_int()?);
            sum = self.sum.read(bits)?;
        }
        if is_stale(sum) {
            let (positive, negative) = (Vec::new(), Vec::new());
            return Some((sum, HistogramCounts::Integer { count: 0, zero_count: 0, positive, negative }));
        }
        let (positive_buckets, negative_buckets) = self.buckets.split_at_mut(positive);
        let positive = read_counts(positive_buckets, i, bits)?;
        let negative = read_counts(negative_buckets, i, bits)?;
        let (count, zero_count) = (count as u64, zero_count as u64);
        Some((sum, HistogramCounts::Integer { count, zero_count, positive, negative }))
    }
}

fn read_counts(buckets: &mut [Second], i: usize, bits: &mut BitReader<'_>) -> Option<Vec<u64>> {
    let mut count = 0i64;
    buckets
        .iter_mut()
        .map(|bucket| {
            count = count.wrapping_add(bucket.next(i, bits.varbit_int()?));
            Some(count as u64)
        })
        .collect()
}

#[derive(Debug, Default)]
struct FloatReader {
    count: XorState,
    zero_count: XorState,
    sum: XorState,
    buckets: Vec<XorState>,
}

impl FloatReader {
    fn next(
        &mut self,
        i: usize,
        bits: &mut BitReader<'_>,
        positive: usize,
        negative: usize,
    ) -> Option<(f64, HistogramCounts)> {
        let mut read = |state: &mut XorState| {
            if i == 0 {
                *state = XorState::new(bits.f64()?);
                return Some(state.value());
            }
            state.read(bits)
        };
        let count = read(&mut self.count)?;
        let zero_count = read(&mut self.zero_count)?;
        let sum = read(&mut self.sum)?;
        if is_stale(sum) {
            let (positive, negative) = (Vec::new(), Vec::new());
            return Some((sum, HistogramCounts::Float { count: 0.0, zero_count: 0.0, positive, negative }));
        }
        self.buckets.resize(positive + negative, XorState::default());
        let (positive_buckets, negative_buckets) = self.buckets.split_at_mut(positive);
        let positive = positive_buckets.iter_mut().map(&mut read).collect::<Option<_>>()?;
        let negative = negative_buckets.iter_mut().map(&mut read).collect::<Option<_>>()?;
        Some((sum, HistogramCounts::Float { count, zero_count, positive, negative }))
    }
}

/// One chunk of histograms: of one kind, with comparable buckets, behind a staleness marker only
/// further ones.
pub fn encode(samples: &SampleBuffer, range: Range<usize>, float: bool, reset: ResetHeader) -> Vec<u8> {
    let histogram =
        |i: usize| layout::at(&samples.histograms, i).expect("BUG: a run of histograms has a float");
    let mut common: Option<Layout> = None;
    for i in range.clone() {
        let h = histogram(i);
        match &mut common {
            None => common = Some(Layout::of(h)),
            Some(common) if !h.is_stale() => common.extend(h),
            Some(_) => {}
        }
    }
    let common = common.expect("BUG: a run of histograms is empty");
    let mut out = BitWriter::default();
    out.put(range.len() as u64, 16);
    out.put(reset as u64, 2);
    out.put(0, 6);
    layout::write(&common, &mut out);
    let mut time = Second::default();
    let mut writer = Writer::new(float, &common);
    for (i, index) in range.enumerate() {
        out.put_varbit_int(time.written(i, samples.times_ms[index]));
        writer.write(i, histogram(index), &common, &mut out);
    }
    out.finish()
}

/// State of the columns of counts.
struct Writer {
    float: bool,
    count: Second,
    zero_count: Second,
    sum: XorState,
    whole: Vec<Second>,
    floats: Vec<XorState>,
    float_count: XorState,
    float_zero_count: XorState,
}

impl Writer {
    fn new(float: bool, common: &Layout) -> Self {
        Self {
            float,
            count: Second::default(),
            zero_count: Second::default(),
            sum: XorState::default(),
            whole: vec![Second::default(); common.buckets()],
            floats: vec![XorState::default(); common.buckets()],
            float_count: XorState::default(),
            float_zero_count: XorState::default(),
        }
    }

    fn write(&mut self, i: usize, h: &NativeHistogram, common: &Layout, out: &mut BitWriter) {
        if h.is_stale() {
            return self.write_stale(i, h.sum, out);
        }
        match &h.counts {
            HistogramCounts::Integer { count, zero_count, positive, negative } => {
                let (count, zero_count) = (*count as i64, *zero_count as i64);
                if i == 0 {
                    out.put_varbit_uint(self.count.written(0, count) as u64);
                    out.put_varbit_uint(self.zero_count.written(0, zero_count) as u64);
                } else {
                    out.put_varbit_int(self.count.written(i, count));
                    out.put_varbit_int(self.zero_count.written(i, zero_count));
                }
                write_float(&mut self.sum, i, h.sum, out);
                let mut counts = Vec::with_capacity(self.whole.len());
                layout::spread(&h.positive_spans, positive, &common.positive, &mut counts);
                layout::spread(&h.negative_spans, negative, &common.negative, &mut counts);
                let mut before = 0i64;
                for (at, (&count, bucket)) in counts.iter().zip(&mut self.whole).enumerate() {
                    if at == common.positive.len() {
                        before = 0;
                    }
                    out.put_varbit_int(bucket.written(i, (count as i64).wrapping_sub(before)));
                    before = count as i64;
                }
            }
            HistogramCounts::Float { count, zero_count, positive, negative } => {
                write_float(&mut self.float_count, i, *count, out);
                write_float(&mut self.float_zero_count, i, *zero_count, out);
                write_float(&mut self.sum, i, h.sum, out);
                let mut counts = Vec::with_capacity(self.floats.len());
                layout::spread(&h.positive_spans, positive, &common.positive, &mut counts);
                layout::spread(&h.negative_spans, negative, &common.negative, &mut counts);
                for (&count, bucket) in counts.iter().zip(&mut self.floats) {
                    write_float(bucket, i, count, out);
                }
            }
        }
    }

    /// A marker has no buckets, and its counts mean nothing.
    fn write_stale(&mut self, i: usize, sum: f64, out: &mut BitWriter) {
        if self.float {
            write_float(&mut self.float_count, i, 0.0, out);
            write_float(&mut self.float_zero_count, i, 0.0, out);
        } else {
            out.put_varbit_int(0);
            out.put_varbit_int(0);
        }
        write_float(&mut self.sum, i, sum, out);
    }
}

fn write_float(state: &mut XorState, i: usize, value: f64, out: &mut BitWriter) {
    if i == 0 {
        *state = XorState::new(value);
        out.put_f64(value);
    } else {
        state.write(value, out);
    }
}
