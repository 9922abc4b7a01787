//! Samples of one series from several places as one, in order of time.

use std::sync::Arc;

use vedette_model::{ResetHint, SampleBuffer};

/// Both, in order of time; of two samples at one time that of `first` stays.
pub fn merge(first: &SampleBuffer, second: &SampleBuffer) -> SampleBuffer {
    let mut out = SampleBuffer::default();
    let (mut a, mut b) = (0, 0);
    let mut from_first = None;
    while a < first.len() || b < second.len() {
        let takes_first = match (first.times_ms.get(a), second.times_ms.get(b)) {
            (Some(x), Some(y)) => x <= y,
            (x, _) => x.is_some(),
        };
        if takes_first {
            if second.times_ms.get(b) == first.times_ms.get(a) {
                b += 1;
            }
            push(&mut out, first, a, from_first == Some(false));
            a += 1;
        } else {
            push(&mut out, second, b, from_first == Some(true));
            b += 1;
        }
        from_first = Some(takes_first);
    }
    out
}

/// Appends one sample. Where the one before it came from elsewhere, nothing is known of a reset
/// between the two.
fn push(out: &mut SampleBuffer, from: &SampleBuffer, index: usize, elsewhere: bool) {
    let time_ms = from.times_ms[index];
    match from.histogram(index) {
        Some(histogram) => {
            let mut histogram = Arc::clone(histogram);
            if elsewhere && histogram.reset_hint != ResetHint::Gauge {
                Arc::make_mut(&mut histogram).reset_hint = ResetHint::Unknown;
            }
            out.push_histogram(time_ms, histogram);
        }
        None => out.push(time_ms, from.values[index]),
    }
    out.set_last_start(from.start_ms(index));
}

/// Forgets the samples of which `keep` says no.
pub fn retain(samples: &mut SampleBuffer, keep: impl Fn(i64) -> bool) {
    if samples.times_ms.iter().all(|&t| keep(t)) {
        return;
    }
    let mut out = SampleBuffer::default();
    for i in (0..samples.len()).filter(|&i| keep(samples.times_ms[i])) {
        push(&mut out, samples, i, false);
    }
    *samples = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(samples: &[(i64, f64)]) -> SampleBuffer {
        let mut buffer = SampleBuffer::default();
        samples.iter().for_each(|&(t, v)| buffer.push(t, v));
        buffer
    }

    #[test]
    fn the_first_wins_and_order_is_kept() {
        let first = buffer(&[(1, 1.0), (3, 1.0), (5, 1.0)]);
        let second = buffer(&[(0, 2.0), (3, 2.0), (4, 2.0), (9, 2.0)]);
        assert_eq!(
            merge(&first, &second),
            buffer(&[(0, 2.0), (1, 1.0), (3, 1.0), (4, 2.0), (5, 1.0), (9, 2.0)])
        );
        assert_eq!(merge(&first, &SampleBuffer::default()), first);
        assert_eq!(merge(&SampleBuffer::default(), &first), first);
    }

    #[test]
    fn what_is_not_kept_goes() {
        let mut samples = buffer(&[(1, 1.0), (3, 1.5), (5, 2.0)]);
        retain(&mut samples, |t| t != 3);
        assert_eq!(samples, buffer(&[(1, 1.0), (5, 2.0)]));
    }
}
