use proptest::prelude::*;

use super::*;
use crate::{SeriesRef, wal::Told};

const SPAN_MS: i64 = 50;

fn any_column() -> impl Strategy<Value = (Vec<i64>, Vec<u64>)> {
    let step = prop_oneof![20 => Just(5i64), 2 => -20i64..60, 1 => Just(0)];
    let value = prop_oneof![10 => Just(1.0f64), 2 => Just(2.0), 2 => any::<f64>()];
    (proptest::collection::vec((step, value), 1..40), -20i64..20, 0u8..3).prop_map(|(samples, from, same)| {
        let mut time_ms = from;
        let mut times_ms = Vec::new();
        for (step, _) in &samples {
            time_ms += step;
            times_ms.push(time_ms);
        }
        let bits = |value: f64| if same == 0 { 1.0f64.to_bits() } else { value.to_bits() };
        (times_ms, samples.iter().map(|(_, value)| bits(*value)).collect())
    })
}

proptest! {
    #[test]
    fn a_column_gives_the_same_as_its_samples_one_by_one(
        columns in proptest::collection::vec((0u32..2, any_column(), any::<bool>()), 1..6),
        sealed_until_ms in prop_oneof![Just(i64::MIN), -10i64..150],
        later in 0i64..200,
    ) {
        let [mut by_column, mut one_by_one] = [Samples::default(), Samples::default()];
        for samples in [&mut by_column, &mut one_by_one] {
            (0..2).for_each(|slot| assert_eq!(samples.begin_series(slot), 0));
        }
        let mut times = Times::new(SPAN_MS, sealed_until_ms);
        let mut shift_ms = 0;
        for (slot, (mut times_ms, bits), rebased) in columns {
            times_ms.iter_mut().for_each(|time_ms| *time_ms += shift_ms);
            shift_ms += later;
            let series = SeriesRef::new(0, slot, 0);
            let before = if rebased { 0 } else { one_by_one.series[slot as usize].last_bits };
            let mut told = Default::default();
            let column = Column::of(series, before, &times_ms, &bits, &mut told);
            times.set(column.times_ms());
            by_column.fetch(0..2);
            let mut stored = 0;
            for (at, &time_ms) in times_ms.iter().enumerate() {
                let span_start_ms = time_ms.div_euclid(SPAN_MS) * SPAN_MS;
                let rules = Rules { sealed_until_ms, late_from_ms: None, span_start_ms, epoch: 0 };
                let told: Told = column.told(at);
                prop_assert_eq!(values::decode(told.base, told.coded), told.bits);
                stored += u64::from(one_by_one.replay(time_ms, &told, &rules));
            }
            prop_assert_eq!(by_column.replay_column(&column, &times), stored);
            // Byte by byte, so that what comes later is told by the same too.
            for slot in 0..2 {
                let state = |samples: &Samples| {
                    let series = samples.series[slot];
                    let bytes = [series.older, series.running].map(|stream| {
                        let mut bytes = Vec::new();
                        samples.blocks.copy(stream, usize::MAX, &mut bytes);
                        bytes
                    });
                    let rest = (series.last_ms, series.last_bits, series.step_ms, series.flags);
                    (bytes, rest, format!("{:?}", samples.late.of(slot as u32)))
                };
                prop_assert_eq!(state(&by_column), state(&one_by_one));
            }
        }
    }
}
