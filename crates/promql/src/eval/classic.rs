//! Quantiles and shares of classic histograms: cumulative counts by upper bound.

/// Counts that differ by less than this share of themselves differ by rounding only.
const ROUNDING: f64 = 1e-12;

/// Cumulative count of observations up to a bound.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    pub upper: f64,
    pub count: f64,
}

/// What it took to make counts grow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forced {
    pub bucket_min: f64,
    pub bucket_max: f64,
    pub difference_max: f64,
}

/// Sorts buckets and adds those of one bound, so that the first ones answered are all. `None` if
/// the bucket of everything is not there, without which the counts mean nothing.
fn merged(buckets: &mut [Bucket]) -> Option<&mut [Bucket]> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return None;
    }
    let mut last = 0;
    for i in 1..buckets.len() {
        let bucket = buckets[i];
        if bucket.upper == buckets[last].upper {
            buckets[last].count += bucket.count;
        } else {
            last += 1;
            buckets[last] = bucket;
        }
    }
    Some(&mut buckets[..=last])
}

/// Makes counts grow; tells what it took beyond removing rounding errors.
fn force_growth(buckets: &mut [Bucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut before = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == before {
            continue;
        }
        if nearly_equal(before, count) {
            bucket.count = before;
        } else if count < before {
            bucket.count = before;
            let all = forced.get_or_insert(Forced {
                bucket_min: f64::INFINITY,
                bucket_max: f64::NEG_INFINITY,
                difference_max: 0.0,
            });
            all.bucket_min = all.bucket_min.min(bucket.upper);
            all.bucket_max = all.bucket_max.max(bucket.upper);
            all.difference_max = all.difference_max.max(before - count);
        } else {
            before = count;
        }
    }
    forced
}

fn nearly_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < ROUNDING * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < ROUNDING
}

/// The `q`-quantile, observations being spread evenly within buckets, and what had to be done for it.
pub fn quantile(q: f64, buckets: &mut [Bucket]) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    let Some(buckets) = merged(buckets) else { return (f64::NAN, None) };
    let forced = force_growth(buckets);
    (quantile_of_sorted(q, buckets), forced)
}

fn quantile_of_sorted(q: f64, buckets: &[Bucket]) -> f64 {
    let Some((all, bounded)) = buckets.split_last() else { return f64::NAN };
    if bounded.is_empty() || all.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * all.count;
    let place = bounded.partition_point(|b| b.count < rank || b.count.is_nan() || rank.is_nan());
    let Some(bucket) = bounded.get(place) else { return bounded[bounded.len() - 1].upper };
    if place == 0 && bucket.upper <= 0.0 {
        return bucket.upper;
    }
    let (lower, below) = match place.checked_sub(1) {
        Some(before) => (bounded[before].upper, bounded[before].count),
        None => (0.0, 0.0),
    };
    lower + (bucket.upper - lower) * ((rank - below) / (bucket.count - below))
}

/// The share of observations between two values.
pub fn fraction(lower: f64, upper: f64, buckets: &mut [Bucket]) -> f64 {
    let Some(buckets) = merged(buckets) else { return f64::NAN };
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |value: f64| {
        rank(value, buckets).filter(|r| *r <= count || r.is_nan() || count.is_nan()).unwrap_or(count)
    };
    (rank(upper) - rank(lower)) / count
}

/// How many observations lie below a value, `None` if all do.
fn rank(value: f64, buckets: &[Bucket]) -> Option<f64> {
    let mut below = 0.0;
    for (i, bucket) in buckets.iter().enumerate() {
        let lower = match i.checked_sub(1) {
            Some(before) => buckets[before].upper,
            // A first bucket that ends above zero begins at zero.
            None if bucket.upper > 0.0 => 0.0,
            None => f64::NEG_INFINITY,
        };
        if lower >= value {
            return Some(below);
        }
        if bucket.upper > value {
            return Some(if lower == f64::NEG_INFINITY {
                // Without a lower bound nothing is known of where in the bucket they lie.
                bucket.count
            } else {
                below + (bucket.count - below) * (value - lower) / (bucket.upper - lower)
            });
        }
        below = bucket.count;
    }
    None
}
