use proptest::prelude::*;

use super::*;
use crate::chunk::tests::any_histogram;

/// A series of histograms: some of another layout, some that differ in a few counts.
fn any_series() -> impl Strategy<Value = Vec<NativeHistogram>> {
    let change = (any::<prop::sample::Index>(), any::<u16>(), proptest::bool::weighted(0.8));
    proptest::collection::vec((any_histogram(), change), 1..20).prop_map(|steps| {
        let mut series: Vec<NativeHistogram> = Vec::new();
        for (fresh, (place, by, goes_on)) in steps {
            let next = match series.last().filter(|_| goes_on) {
                Some(last) => {
                    let mut next = last.clone();
                    match &mut next.counts {
                        HistogramCounts::Integer { positive, zero_count, .. } => {
                            *zero_count = zero_count.wrapping_add(u64::from(by));
                            let n = positive.len().max(1);
                            let change = |c: &mut u64| *c = c.wrapping_add(u64::from(by));
                            positive.get_mut(place.index(n)).into_iter().for_each(change);
                        }
                        HistogramCounts::Float { negative, .. } => {
                            let n = negative.len().max(1);
                            let change = |c: &mut f64| *c += f64::from(by) / 3.0;
                            negative.get_mut(place.index(n)).into_iter().for_each(change);
                        }
                    }
                    next
                }
                None => fresh,
            };
            series.push(next);
        }
        series
    })
}

fn whole(histogram: &NativeHistogram) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(None, histogram, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn histograms_come_back_bit_by_bit(series in any_series()) {
        let mut bytes = Vec::new();
        for (i, histogram) in series.iter().enumerate() {
            encode(i.checked_sub(1).map(|i| &series[i]), histogram, &mut bytes);
        }
        let (mut cursor, mut reader) = (Cursor::new(&bytes), Reader::default());
        for histogram in &series {
            let read = reader.read(&mut cursor).expect("sound");
            // As text, which tells NaN from NaN no worse than 0 from -0.
            prop_assert_eq!(format!("{read:?}"), format!("{histogram:?}"));
            prop_assert_eq!(whole(read), whole(histogram));
        }
        prop_assert_eq!(cursor.remaining(), 0);
    }

    #[test]
    fn damage_never_panics(
        series in any_series(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for (i, histogram) in series.iter().enumerate() {
            encode(i.checked_sub(1).map(|i| &series[i]), histogram, &mut bytes);
        }
        let place = at.index(bytes.len());
        bytes[place] ^= byte;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let (mut cursor, mut reader) = (Cursor::new(&bytes), Reader::default());
        while reader.read(&mut cursor).is_some() {}
        let mut cursor = Cursor::new(&bytes[place.min(bytes.len())..]);
        while reader.read(&mut cursor).is_some() {}
    }
}

#[test]
fn a_damaged_run_asks_for_no_memory() {
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0]);
    assert!(Reader::default().read(&mut Cursor::new(&bytes)).is_none());
}

#[test]
fn a_histogram_that_goes_on_takes_little_more_than_its_changes() {
    let mut before = NativeHistogram {
        sum: 1e6,
        positive_spans: vec![Span { offset: -10, length: 60 }],
        counts: HistogramCounts::Integer {
            count: 60_000,
            zero_count: 0,
            positive: vec![1000; 60],
            negative: Vec::new(),
        },
        ..NativeHistogram::stale()
    };
    assert!(whole(&before).len() < 160, "{}", whole(&before).len());
    let first = before.clone();
    before.sum += 12.0;
    let HistogramCounts::Integer { count, positive, .. } = &mut before.counts else { unreachable!() };
    *count += 12;
    (20..26).for_each(|i| positive[i] += 2);
    let mut bytes = Vec::new();
    encode(Some(&first), &before, &mut bytes);
    assert!(bytes.len() <= 13, "{bytes:?}");
}
