//! How much of processor and memory a container used, in percentiles.

/// Values in percentiles of the nearest rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
    /// The median.
    pub fifty: f64,
    /// Nine tenths of the values are no larger.
    pub ninety: f64,
    /// Nineteen of twenty are no larger.
    pub ninety_five: f64,
}

impl Percentiles {
    /// Those of these values, which are put in order; `None` where there are none.
    pub fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        // The value below which that part of them lies.
        let at = |percent: usize| {
            let place = (values.len() * percent).div_ceil(100).max(1) - 1;
            values.get(place).copied()
        };
        Some(Self {
            mean: mean(values.iter().copied())?,
            max: at(100)?,
            fifty: at(50)?,
            ninety: at(90)?,
            ninety_five: at(95)?,
        })
    }

    /// Those of longer times, made of those of each minute: the median of the minutes' 90th percentiles, and
    /// so on, as nobody keeps a day of single values.
    pub fn of_minutes<'a>(minutes: impl Iterator<Item = &'a Spread> + Clone) -> Option<Self> {
        let mut nineties: Vec<f64> = minutes.clone().map(|minute| minute.ninety).collect();
        Some(Self {
            mean: mean(minutes.clone().map(|minute| minute.mean))?,
            max: minutes.map(|minute| minute.max).max_by(f64::total_cmp)?,
            ..Self::of(&mut nineties)?
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody keeps 2^53 values")]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

/// What is kept of the values of a minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
    /// Nine tenths of the values are no larger.
    pub ninety: f64,
}

impl From<Percentiles> for Spread {
    fn from(all: Percentiles) -> Self {
        Self { mean: all.mean, max: all.max, ninety: all.ninety }
    }
}

/// What a container used in one minute. `None` where nothing was told of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinuteUsage {
    /// When it ended, in milliseconds since the Unix epoch.
    pub end_ms: i64,
    /// Thousandths of a processor.
    pub cpu: Option<Spread>,
    /// Bytes of its working set.
    pub memory: Option<Spread>,
}

/// The thousandths of a processor that were used between two samples of a counter of seconds, of which each is
/// a time in milliseconds and a value; `None` where no time lies between them.
pub fn processor_rate(before: (i64, f64), now: (i64, f64)) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "times lie closer together than 2^53 ms")]
    let milliseconds = now.0.saturating_sub(before.0) as f64;
    (milliseconds > 0.0).then(|| (now.1 - before.1).max(0.0) * 1e6 / milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let expected = Percentiles { mean: 50.5, max: 100.0, fifty: 50.0, ninety: 90.0, ninety_five: 95.0 };
        assert_eq!(Percentiles::of(&mut values), Some(expected));
        assert_eq!(Percentiles::of(&mut [7.0]).map(|all| (all.fifty, all.max)), Some((7.0, 7.0)));
        assert_eq!(Percentiles::of(&mut []), None);
    }

    #[test]
    fn longer_times_are_made_of_the_minutes_means_largest_and_nineties() {
        let minute =
            |n: i32| Spread { mean: f64::from(n), max: f64::from(1000 - n), ninety: f64::from(2 * n) };
        let minutes: Vec<Spread> = (1..=20).map(minute).collect();
        let expected = Percentiles { mean: 10.5, max: 999.0, fifty: 20.0, ninety: 36.0, ninety_five: 38.0 };
        assert_eq!(Percentiles::of_minutes(minutes.iter()), Some(expected));
        assert_eq!(Percentiles::of_minutes([].iter()), None);
    }

    #[test]
    fn rates_are_those_between_two_samples_and_never_negative() {
        for (before, now, rate) in [
            ((0, 0.0), (1000, 0.5), Some(500.0)),
            ((1000, 0.5), (3000, 4.5), Some(2000.0)),
            ((3000, 9.0), (4000, 0.0), Some(0.0)),
            ((3000, 0.5), (3000, 9.0), None),
            ((3000, 0.5), (2000, 9.0), None),
        ] {
            assert_eq!(processor_rate(before, now), rate, "{before:?} {now:?}");
        }
    }
}
