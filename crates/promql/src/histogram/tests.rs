use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use vedette_model::{CUSTOM_BUCKETS_SCHEMA, HistogramCounts, NativeHistogram, ResetHint, Span};

use super::{Histogram, HistogramMean, HistogramSum, Keep, bounds};

/// Buckets as index and count.
type Sparse = BTreeMap<i32, u32>;

fn spans(buckets: &Sparse) -> (Vec<Span>, Vec<f64>) {
    let mut spans = Vec::new();
    let mut end = 0;
    for index in buckets.keys() {
        spans.push(Span { offset: index - end, length: 1 });
        end = index + 1;
    }
    (spans, buckets.values().map(|c| f64::from(*c)).collect())
}

fn histogram(
    schema: i8,
    (zero_threshold, zero_count): (f64, u32),
    positive: &Sparse,
    negative: &Sparse,
) -> Histogram {
    let total = positive.values().chain(negative.values()).sum::<u32>() + zero_count;
    let (positive_spans, positive) = spans(positive);
    let (negative_spans, negative) = spans(negative);
    let native = NativeHistogram {
        reset_hint: ResetHint::Unknown,
        schema,
        zero_threshold,
        sum: f64::from(total) * 1.5,
        positive_spans,
        negative_spans,
        custom_bounds: Vec::new(),
        counts: HistogramCounts::Float {
            count: f64::from(total),
            zero_count: f64::from(zero_count),
            positive,
            negative,
        },
    };
    Histogram::from_native(&native).expect("sound")
}

fn custom(limits: &[u8], counts: &[u32]) -> Histogram {
    let mut custom_bounds: Vec<f64> = limits.iter().map(|b| f64::from(*b)).collect();
    custom_bounds.sort_by(f64::total_cmp);
    custom_bounds.dedup();
    let positive: Vec<f64> =
        (0..=custom_bounds.len()).map(|i| f64::from(counts.get(i).copied().unwrap_or(0))).collect();
    let native = NativeHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        sum: 7.0,
        positive_spans: vec![Span { offset: 0, length: positive.len() as u32 }],
        custom_bounds,
        counts: HistogramCounts::Float {
            count: positive.iter().sum(),
            zero_count: 0.0,
            positive,
            negative: Vec::new(),
        },
        ..NativeHistogram::stale()
    };
    Histogram::from_native(&native).expect("sound")
}

fn sparse() -> impl Strategy<Value = Sparse> {
    proptest::collection::btree_map(-12..12i32, 0..50u32, 0..8)
}

fn exponential() -> impl Strategy<Value = Histogram> {
    // One is a bound in each schema. With other thresholds sums of different schemas are, as in
    // Prometheus, not exact: a bucket may be partly inside the zero bucket of the sum.
    let threshold = prop_oneof![Just(0.0), Just(1.0)];
    (-4..=8i8, threshold, 0..9u32, sparse(), sparse()).prop_map(|(schema, threshold, zero, mut p, mut n)| {
        // A source puts what is inside its zero bucket there and nowhere else.
        let outside = |i: &i32| bounds::exponential(i64::from(*i) - 1, schema) >= threshold;
        p.retain(|i, _| outside(i));
        n.retain(|i, _| outside(i));
        histogram(schema, (threshold, zero), &p, &n)
    })
}

fn of_custom_bounds() -> impl Strategy<Value = Histogram> {
    (vec(any::<u8>(), 0..6), vec(0..50u32, 0..7)).prop_map(|(limits, counts)| custom(&limits, &counts))
}

fn total(h: &Histogram) -> f64 {
    h.buckets().map(|b| b.count).sum()
}

/// Compacted, without the bits of the sum.
fn form(h: &Histogram) -> Histogram {
    let mut form = h.clone();
    form.compact();
    form.hint = ResetHint::Unknown;
    form
}

proptest! {
    #[test]
    fn addition_is_that_of_the_naive_model(schema in -4..=8i8, a in sparse(), b in sparse(), c in sparse(), d in sparse()) {
        let mut sum = histogram(schema, (0.0, 1), &a, &b);
        sum.add(&histogram(schema, (0.0, 2), &c, &d)).expect("compatible");
        let merged = |x: &Sparse, y: &Sparse| {
            let mut all = x.clone();
            y.iter().for_each(|(i, n)| *all.entry(*i).or_default() += n);
            all
        };
        let expected = histogram(schema, (0.0, 3), &merged(&a, &c), &merged(&b, &d));
        prop_assert_eq!(form(&sum), form(&expected));
    }

    #[test]
    fn reduction_is_that_of_the_naive_model(schema in -3..=8i8, to in -4..8i8, buckets in sparse()) {
        prop_assume!(to < schema);
        let mut reduced = histogram(schema, (0.0, 0), &buckets, &buckets);
        reduced.reduce_to(to);
        // A bucket goes where its upper bound is.
        let mut expected = Sparse::new();
        for (index, count) in &buckets {
            let upper = bounds::exponential(i64::from(*index), schema);
            let place = (-1000..1000).find(|i| bounds::exponential(*i, to) >= upper * (1.0 - 1e-12)).expect("in range");
            *expected.entry(place as i32).or_default() += count;
        }
        prop_assert_eq!(form(&reduced), form(&histogram(to, (0.0, 0), &expected, &expected)));
    }

    #[test]
    fn merging_commutes_with_reducing(a in exponential(), b in exponential(), to in -4..=8i8) {
        let mut late = a.clone();
        late.add(&b).expect("compatible");
        late.reduce_to(to);
        let (mut early, mut other) = (a, b);
        early.reduce_to(to);
        other.reduce_to(to);
        early.add(&other).expect("compatible");
        prop_assert_eq!(early.schema, late.schema);
        prop_assert_eq!(total(&early), total(&late));
        // A wider zero bucket may take whole coarse buckets in where it took single fine ones.
        if early.zero_threshold == late.zero_threshold && early.zero_count == late.zero_count {
            prop_assert_eq!(form(&early), form(&late));
        }
    }

    #[test]
    fn nothing_is_lost_in_a_sum(a in exponential(), b in exponential()) {
        let mut sum = a.clone();
        sum.add(&b).expect("compatible");
        prop_assert_eq!(total(&sum), total(&a) + total(&b));
        prop_assert_eq!(sum.count, a.count + b.count);
        prop_assert!(sum.zero_threshold >= a.zero_threshold.max(b.zero_threshold));
        prop_assert_eq!(sum.schema, a.schema.min(b.schema));
        let mut turned = b.clone();
        turned.add(&a).expect("compatible");
        prop_assert_eq!(form(&sum), form(&turned));
        let mut kept = HistogramSum::of(&a);
        kept.add(&b).expect("compatible");
        prop_assert_eq!(form(&kept.get()), form(&sum));
        let mut mean = HistogramMean::of(&a);
        mean.add(&b).expect("compatible");
        let mut half = sum.clone();
        half.divide(2.0);
        prop_assert_eq!(form(&mean.get()), form(&half));
    }

    #[test]
    fn what_is_added_can_be_subtracted(schema in -4..=8i8, a in sparse(), b in sparse()) {
        let (first, second) = (histogram(schema, (0.5, 3), &a, &b), histogram(schema, (0.5, 4), &b, &a));
        // Buckets inside the zero bucket of both are not told apart from it.
        prop_assume!(a.keys().chain(b.keys()).all(|i| bounds::exponential(i64::from(*i), schema) > 0.5));
        let mut back = first.clone();
        back.add(&second).expect("compatible");
        back.subtract(&second).expect("compatible");
        prop_assert_eq!(form(&back), form(&first));
    }

    #[test]
    fn custom_bounds_are_reconciled_without_loss(a in of_custom_bounds(), b in of_custom_bounds()) {
        let mut sum = a.clone();
        let merged = sum.add(&b).expect("compatible");
        prop_assert_eq!(merged.reconciled, a.custom_bounds() != b.custom_bounds());
        prop_assert_eq!(total(&sum), total(&a) + total(&b));
        for bound in sum.custom_bounds() {
            let below = |h: &Histogram| h.buckets().filter(|x| x.upper <= *bound).map(|x| x.count).sum::<f64>();
            prop_assert!(a.custom_bounds().contains(bound) && b.custom_bounds().contains(bound));
            prop_assert_eq!(below(&sum), below(&a) + below(&b));
        }
        prop_assert!(sum.clone().add(&histogram(0, (0.0, 1), &Sparse::new(), &Sparse::new())).is_err());
        prop_assert!(!sum.is_reset_since(&a));
    }

    #[test]
    fn a_counter_that_grows_is_not_reset(a in exponential(), b in exponential()) {
        let mut later = a.clone();
        later.add(&b).expect("compatible");
        prop_assert!(!later.is_reset_since(&a), "{} after {}", later, a);
        if b.schema == a.schema && b.zero_threshold == a.zero_threshold {
            prop_assert!(later.continues(&a));
            if total(&b) > 0.0 {
                prop_assert!(a.is_reset_since(&later), "{} after {}", a, later);
            }
        }
    }

    #[test]
    fn quantile_and_fraction_are_inverse(h in exponential(), q in 0.01..0.99f64) {
        prop_assume!(h.count > 0.0);
        let value = h.quantile(q).value;
        let share = h.fraction(f64::NEG_INFINITY, value).value;
        // The observations of a zero bucket without width all stand at one value.
        let at_once = h.zero_count > 0.0 && h.zero_threshold == 0.0;
        prop_assert!(at_once || (share - q).abs() < 1e-6, "{share} at {value}, the {q}-quantile of {h}");
        prop_assert!(h.quantile(q * 0.9).value <= value + value.abs() * 1e-9);
        let parts = h.fraction(f64::NEG_INFINITY, 1.0).value + h.fraction(1.0, f64::INFINITY).value;
        prop_assert!((parts - 1.0).abs() < 1e-9);
    }

    #[test]
    fn two_sides_of_a_cut_are_the_whole(h in prop_oneof![exponential(), of_custom_bounds()], at in -40.0..260.0f64) {
        let (mut below, mut above) = (h.clone(), h.clone());
        below.trim(at, Keep::Below);
        above.trim(at, Keep::Above);
        // What lies in a bucket without end goes one way or is dropped.
        let endless = h.buckets().any(|b| b.count > 0.0 && (b.lower.is_infinite() || b.upper.is_infinite()));
        let parts = below.count + above.count;
        prop_assert!(endless || (parts - h.count).abs() < 1e-9 * h.count.max(1.0), "{below} and {above} of {h}");
        prop_assert!(below.buckets().all(|b| b.count == 0.0 || b.lower < at || b.lower < 0.0));
        prop_assert!(parts <= h.count * (1.0 + 1e-9));
    }

    #[test]
    fn hostile_histograms_do_no_harm(
        schema in prop_oneof![any::<i8>(), -4..=8i8, Just(CUSTOM_BUCKETS_SCHEMA)],
        threshold in any::<f64>(),
        spans in vec((any::<i32>(), prop_oneof![any::<u32>(), 0..4u32]), 0..6),
        counts in vec(any::<f64>(), 0..12),
        limits in vec(any::<f64>(), 0..4),
        at in any::<f64>(),
        other in exponential(),
    ) {
        let spans: Vec<Span> = spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
        let native = NativeHistogram {
            schema,
            zero_threshold: threshold,
            sum: at,
            positive_spans: spans.clone(),
            negative_spans: Vec::new(),
            custom_bounds: limits,
            counts: HistogramCounts::Float { count: at, zero_count: at, positive: counts, negative: Vec::new() },
            ..NativeHistogram::stale()
        };
        let Ok(h) = Histogram::from_native(&native) else { return Ok(()) };
        use_all(&h, &other, at);
    }

    #[test]
    fn far_away_buckets_do_no_harm(
        schema in -4..=8i8,
        threshold in prop_oneof![Just(0.0), Just(f64::INFINITY), Just(f64::MIN_POSITIVE), 0.0..1e300f64],
        offset in any::<i32>(),
        gap in prop_oneof![0..3i32, 0..i32::MAX],
        counts in vec(any::<f64>(), 3),
        at in any::<f64>(),
        other in exponential(),
    ) {
        let spans = vec![Span { offset, length: 2 }, Span { offset: gap, length: 1 }];
        let native = NativeHistogram {
            schema,
            zero_threshold: threshold,
            positive_spans: spans.clone(),
            negative_spans: spans,
            counts: HistogramCounts::Float { count: at, zero_count: at, positive: counts.clone(), negative: counts },
            ..NativeHistogram::stale()
        };
        let Ok(h) = Histogram::from_native(&native) else { return Ok(()) };
        let back = Histogram::from_native(&h.to_native()).expect("its own form");
        prop_assert!(back.same_as(&h));
        use_all(&h, &other, at);
    }
}

/// Does everything with a histogram that a query can.
fn use_all(h: &Histogram, other: &Histogram, at: f64) {
    _ = h.to_string();
    _ = (h.quantile(at), h.quantile(0.3), h.fraction(at, 1.0), h.variance());
    _ = (h.is_reset_since(other), other.is_reset_since(h), h.continues(other), other.continues(h));
    for keep in [Keep::Below, Keep::Above] {
        h.clone().trim(at, keep);
    }
    for (a, b) in [(h, other), (other, h)] {
        let (mut sum, mut difference) = (a.clone(), a.clone());
        _ = (sum.add(b), difference.subtract(b));
        sum.compact();
        let mut mean = HistogramMean::of(a);
        _ = mean.add(b);
        _ = mean.get();
    }
    h.clone().divide(at);
    h.clone().multiply(at);
}

#[test]
fn histograms_are_written_as_prometheus_does() {
    let h = histogram(0, (0.25, 2), &Sparse::from([(1, 3), (2, 0), (30, 1)]), &Sparse::from([(0, 4)]));
    assert_eq!(
        h.to_string(),
        "{count:10, sum:15, [-1,-0.5):4, [-0.25,0.25]:2, (1,2]:3, (5.36870912e+08,1.073741824e+09]:1}"
    );
    assert_eq!(
        custom(&[5, 10], &[1, 2, 3]).to_string(),
        "{count:6, sum:7, [-Inf,5]:1, (5,10]:2, (10,+Inf]:3}"
    );
}

#[test]
fn hints_are_merged() {
    use ResetHint::{Gauge, NotReset, Reset, Unknown};
    for (a, b, merged, collision) in [
        (Unknown, Unknown, Unknown, false),
        (NotReset, NotReset, NotReset, false),
        (NotReset, Unknown, Unknown, false),
        (Gauge, Reset, Gauge, false),
        (NotReset, Gauge, Gauge, false),
        (Reset, NotReset, Unknown, true),
        (NotReset, Reset, Unknown, true),
    ] {
        let with = |hint| Histogram::empty(0).with_hint(hint);
        let mut sum = with(a);
        assert_eq!(sum.add(&with(b)).map(|m| m.collision), Ok(collision), "{a:?} and {b:?}");
        assert_eq!(sum.hint, merged, "{a:?} and {b:?}");
    }
}

#[test]
fn a_mean_does_not_overflow() {
    let large = |count: f64| Histogram { count, sum: 1.0, ..Histogram::empty(0) };
    let mut mean = HistogramMean::of(&large(f64::MAX));
    for count in [1e308, f64::MAX, 4.0] {
        mean.add(&large(count)).expect("compatible");
    }
    let mean = mean.get();
    assert!((mean.count / (f64::MAX / 2.0 + 1e308 / 4.0) - 1.0).abs() < 1e-12, "{mean}");
    assert!((mean.sum - 1.0).abs() < 1e-12, "{mean}");
}
