//! Samples as the columns of their stretches one after the other, which is what all codecs together
//! make of them: for tests and fuzzing. Segments add summaries and share times.

use std::ops::Range;

use vedette_model::SampleBuffer;

use super::{
    Decoder, Effort, Encoder, SAMPLES_MAX, Stretch, histograms, starts, stretches, times, values,
    with_decoder,
};
use crate::bytes::{Cursor, put_signed, put_varint};

impl Encoder {
    /// Appends the samples in `range`.
    pub fn encode_samples(
        &mut self,
        samples: &SampleBuffer,
        range: Range<usize>,
        effort: Effort,
        out: &mut Vec<u8>,
    ) {
        for stretch in stretches(samples, range, SAMPLES_MAX) {
            let times_ms = &samples.times_ms[stretch.range()];
            let starts_ms = samples.starts_ms.get(stretch.range());
            out.push(u8::from(matches!(stretch, Stretch::Histograms(..))));
            put_varint(out, times_ms.len() as u64);
            put_signed(out, times_ms[0]);
            match times::regular_step(times_ms) {
                Some(step) => {
                    out.push(0);
                    put_varint(out, step);
                }
                None => {
                    out.push(1);
                    times::encode_column(times_ms, effort, &mut self.times, &mut self.values.ints, out);
                }
            }
            starts::encode(starts_ms.unwrap_or(&vec![0; times_ms.len()]), times_ms[0], out);
            match stretch {
                Stretch::Floats(range) => {
                    values::encode(&samples.values[range], effort, &mut self.values, out);
                }
                Stretch::Histograms(_, which) => {
                    let histograms = &samples.histograms[which];
                    histograms::encode(histograms, effort, &mut self.histograms, &mut self.values, out);
                }
            }
        }
    }
}

/// Appends what was encoded; `None`, and `out` as before, when the bytes are damaged.
pub fn decode(chunk: &[u8], out: &mut SampleBuffer) -> Option<()> {
    let start = out.len();
    let mut cursor = Cursor::new(chunk);
    let decoded = with_decoder(|decoder| {
        while cursor.remaining() > 0 || out.len() == start {
            decode_stretch(&mut cursor, out.len() > start, decoder, out)?;
        }
        Some(())
    });
    if decoded.is_none() {
        out.truncate(start);
    }
    decoded
}

fn decode_stretch(
    cursor: &mut Cursor<'_>,
    follows: bool,
    decoder: &mut Decoder,
    out: &mut SampleBuffer,
) -> Option<()> {
    let Decoder { times, values, histograms } = decoder;
    let before = out.len();
    let kind = cursor.byte()?;
    let count = usize::try_from(cursor.varint()?).ok().filter(|n| (1..=SAMPLES_MAX).contains(n))?;
    let first = cursor.signed()?;
    match cursor.byte()? {
        0 => times::regular(first, cursor.varint()?, count, &mut out.times_ms)?,
        _ => times::decode_column(cursor, first, count, times, &mut values.ints, &mut out.times_ms)?,
    }
    if follows && out.times_ms[before] <= out.times_ms[before - 1] {
        return None;
    }
    out.starts_ms.resize(before, 0);
    starts::decode(cursor, first, count, &mut out.starts_ms)?;
    if kind == 0 {
        values::decode(cursor, count, values, &mut out.values)?;
    } else {
        let number = u32::try_from(before).ok()?;
        histograms::decode(cursor, count, number, histograms, values, &mut out.histograms)?;
        let from = out.histograms.len() - count;
        out.values.extend(out.histograms[from..].iter().map(|(_, h)| h.sum));
    }
    (out.times_ms.len() == out.values.len()).then_some(())
}
