//! Sums that do not lose small addends, means, variances, quantiles.

/// A sum with the error of its additions (Neumaier's variant of Kahan's method).
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    sum: f64,
    error: f64,
}

impl Sum {
    #[inline]
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        // Chosen, not branched on: which is larger is hard to foresee.
        let is_sum_larger = self.sum.abs() >= value.abs();
        let (larger, smaller) = if is_sum_larger { (self.sum, value) } else { (value, self.sum) };
        let error = self.error + ((larger - total) + smaller);
        self.error = if total.is_infinite() { 0.0 } else { error };
        self.sum = total;
    }

    /// Adds what another sum holds.
    pub fn merge(&mut self, other: Self) {
        self.add(other.sum);
        self.add(other.error);
    }

    pub fn scale(self, factor: f64) -> Self {
        Self { sum: self.sum * factor, error: self.error * factor }
    }

    pub fn is_infinite(self) -> bool {
        self.sum.is_infinite()
    }

    pub fn get(self) -> f64 {
        // An infinite sum has no meaningful error.
        if self.sum.is_infinite() { self.sum } else { self.sum + self.error }
    }
}

/// A mean; kept as a sum until that overflows, then as a running mean.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mean {
    sum: Sum,
    pub count: f64,
    running: bool,
}

impl Mean {
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.running {
            let mut next = self.sum;
            next.add(value);
            let overflows = next.sum.is_infinite() && !value.is_infinite() && !self.sum.sum.is_infinite();
            if !overflows || self.count == 1.0 {
                self.sum = next;
                return;
            }
            self.running = true;
            self.sum = self.sum.scale(1.0 / (self.count - 1.0));
        }
        self.sum = self.sum.scale((self.count - 1.0) / self.count);
        self.sum.add(value / self.count);
    }

    pub fn get(self) -> f64 {
        if self.running {
            return self.sum.get();
        }
        if self.sum.sum.is_infinite() {
            return self.sum.sum;
        }
        self.sum.sum / self.count + self.sum.error / self.count
    }
}

/// A variance by Welford's method, its parts being compensated sums.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variance {
    mean: Sum,
    squares: Sum,
    pub count: f64,
}

impl Variance {
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean.get();
        self.mean.add(delta / self.count);
        self.squares.add(delta * (value - self.mean.get()));
    }

    pub fn get(self) -> f64 {
        self.squares.get() / self.count
    }
}

/// A variance by Welford's method, as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Welford {
    mean: f64,
    squares: f64,
    count: f64,
}

impl Welford {
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    pub fn get(self) -> f64 {
        self.squares / self.count
    }
}

/// The larger of two numbers; infinity even if the other is NaN, else NaN if one is.
pub fn max(a: f64, b: f64) -> f64 {
    match (a, b) {
        (f64::INFINITY, _) | (_, f64::INFINITY) => f64::INFINITY,
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        _ => a.max(b),
    }
}

/// The smaller of two numbers; negative infinity even if the other is NaN, else NaN if one is.
pub fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}

/// Orders values with NaN first.
pub fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The `q`-quantile, interpolated between neighbours; changes the order of `values`.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let weight = rank - rank.floor();
    let (_, lower, above) = values.select_nth_unstable_by(lower, |a, b| nan_first(*a, *b));
    let lower = *lower;
    let upper = above.iter().copied().min_by(|a, b| nan_first(*a, *b)).unwrap_or(lower);
    lower * (1.0 - weight) + upper * weight
}

/// Slope per second and value at `at_ms` of the line that fits the samples best.
pub fn linear_regression(times_ms: &[i64], values: &[f64], at_ms: i64) -> (f64, f64) {
    if values.windows(2).all(|w| w[0] == w[1]) {
        return if values[0].is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, values[0]) };
    }
    let [mut x, mut y, mut xy, mut xx] = [Sum::default(); 4];
    for (t, v) in times_ms.iter().zip(values) {
        let seconds = (t - at_ms) as f64 / 1000.0;
        x.add(seconds);
        y.add(*v);
        xy.add(seconds * v);
        xx.add(seconds * seconds);
    }
    let n = values.len() as f64;
    let covariance = xy.get() - x.get() * y.get() / n;
    let variance = xx.get() - x.get() * x.get() / n;
    let slope = covariance / variance;
    (slope, y.get() / n - slope * x.get() / n)
}
