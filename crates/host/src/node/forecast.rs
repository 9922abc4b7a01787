//! When something that fills will be full.
//!
//! The rate is the median of the slopes between all pairs of kept points (Theil and Sen), which
//! neither a burst nor a clean-up turns over as it would a straight line through them. At most
//! [`POINTS_MAX`] points are kept: when there is no more room every second one goes and the rest
//! come half as often, until they reach back a day and more; then the oldest goes.

/// How many points are kept. All pairs of them are some two thousand slopes.
const POINTS_MAX: usize = 64;
/// With fewer points, or points that reach back less, nothing is said.
const POINTS_MIN: usize = 8;
const SPAN_SECONDS_MIN: f64 = 300.0;
/// How far apart points are at first, and at last.
const SPACING_SECONDS_MIN: f64 = 30.0;
const SPACING_SECONDS_MAX: f64 = 1920.0;
/// What takes longer than this (ten years) does not fill.
const HOURS_MAX: f64 = 87_600.0;

/// What is used more of something in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate(f64);

/// The course of what is used of something.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Forecast {
    /// Seconds, and what was used then.
    points: Vec<(f64, f64)>,
    spacing_seconds: f64,
    /// What is used more in a second.
    rate: Option<f64>,
}

/// Where slopes are sorted; shared, so that no forecast needs memory of its own for it.
#[derive(Debug, Default)]
pub(super) struct Slopes(Vec<f64>);

/// A clock that was set back further stays so, and what was seen before is forgotten.
const SET_BACK_SECONDS_MAX: f64 = 86_400.0;

impl Forecast {
    /// Takes a reading, if the last one kept is old enough.
    pub(super) fn observe(&mut self, seconds: f64, used: f64, slopes: &mut Slopes) {
        if self.spacing_seconds == 0.0 {
            self.spacing_seconds = SPACING_SECONDS_MIN;
        }
        match self.points.last() {
            // The clock was set back, as it is at boot before the time is known: it will be there again.
            Some((last, _)) if seconds < *last && last - seconds <= SET_BACK_SECONDS_MAX => return,
            Some((last, _)) if seconds < *last => self.points.clear(),
            Some((last, _)) if seconds - last < self.spacing_seconds => return,
            _ => {}
        }
        if self.points.len() == POINTS_MAX {
            if self.spacing_seconds < SPACING_SECONDS_MAX {
                let mut odd = false;
                self.points.retain(|_| {
                    odd = !odd;
                    !odd
                });
                self.spacing_seconds *= 2.0;
                // The newest one stayed: this reading may be too near to it now.
                if self.points.last().is_some_and(|(last, _)| seconds - last < self.spacing_seconds) {
                    return;
                }
            } else {
                self.points.remove(0);
            }
        }
        self.points.push((seconds, used));
        self.rate = slopes.median(&self.points);
    }

    /// At what rate it fills. `None` while too little is known.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.rate.map(Rate)
    }

    /// When the last reading that is kept was taken.
    pub(super) fn last(&self) -> Option<f64> {
        self.points.last().map(|(seconds, _)| *seconds)
    }

    /// What it is made of: how far apart its points are, and these.
    pub(super) fn parts(&self) -> (f64, &[(f64, f64)]) {
        (self.spacing_seconds, &self.points)
    }

    /// From what it was made of; `None` where that is none of its kind.
    pub(super) fn of_parts(
        spacing_seconds: f64,
        points: Vec<(f64, f64)>,
        slopes: &mut Slopes,
    ) -> Option<Self> {
        let is_sound = (SPACING_SECONDS_MIN..=SPACING_SECONDS_MAX).contains(&spacing_seconds)
            && (1..=POINTS_MAX).contains(&points.len())
            && points.iter().all(|(seconds, used)| seconds.is_finite() && used.is_finite())
            && points.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let rate = if is_sound { slopes.median(&points) } else { return None };
        Some(Self { points, spacing_seconds, rate })
    }
}

impl Rate {
    /// In how many hours there is nothing free any more; infinite when it does not fill.
    pub(super) fn hours(self, free: f64) -> f64 {
        let hours = free.max(0.0) / self.0 / 3600.0;
        if (0.0..HOURS_MAX).contains(&hours) { hours } else { f64::INFINITY }
    }
}

impl Slopes {
    /// The median of the slopes between all pairs of points.
    fn median(&mut self, points: &[(f64, f64)]) -> Option<f64> {
        let ((first, _), (last, _)) = (points.first()?, points.last()?);
        if points.len() < POINTS_MIN || last - first < SPAN_SECONDS_MIN {
            return None;
        }
        self.0.clear();
        for (i, (seconds, used)) in points.iter().enumerate() {
            self.0.extend(points[..i].iter().map(|(s, u)| (used - u) / (seconds - s)));
        }
        let middle = self.0.len() / 2;
        let (_, median, _) = self.0.select_nth_unstable_by(middle, f64::total_cmp);
        Some(*median)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds a reading each ten seconds for so many hours.
    fn fed(hours: f64, used: impl Fn(f64) -> f64) -> Forecast {
        let (mut forecast, mut slopes) = (Forecast::default(), Slopes::default());
        for i in 0..(hours * 360.0) as u32 {
            let seconds = f64::from(i) * 10.0;
            forecast.observe(seconds, used(seconds), &mut slopes);
            assert!(forecast.points.len() <= POINTS_MAX);
        }
        forecast
    }

    fn hours(forecast: &Forecast, free: f64) -> Option<f64> {
        forecast.rate().map(|rate| rate.hours(free))
    }

    #[test]
    fn what_fills_evenly_is_told_exactly() {
        for fed_hours in [0.2, 1.0, 9.0, 60.0] {
            let forecast = fed(fed_hours, |s| 1e12 + s * 1e6);
            let left = hours(&forecast, 3.6e9 * 5.0).unwrap();
            assert!((left - 5.0).abs() < 1e-6, "{left} after {fed_hours} hours");
        }
    }

    #[test]
    fn little_knowledge_is_silent_and_what_does_not_fill_never_full() {
        assert_eq!(hours(&fed(0.05, |s| s), 1.0), None);
        for course in [|_| 5.0, |s: f64| -s, |s: f64| s * 1e-9] {
            assert_eq!(hours(&fed(1.0, course), 1e9), Some(f64::INFINITY));
        }
        assert_eq!(hours(&fed(1.0, |s| s), 0.0), Some(0.0));
    }

    #[test]
    fn bursts_and_clean_ups_do_not_turn_it_over() {
        // A fifth of the readings are wild.
        let forecast =
            fed(6.0, |s| s * 1e6 + if ((s / 600.0) as u64).is_multiple_of(5) { 5e10 } else { 0.0 });
        let left = hours(&forecast, 3.6e9 * 10.0).unwrap();
        assert!((7.0..14.0).contains(&left), "{left}");
    }

    #[test]
    fn a_day_and_more_is_kept() {
        let forecast = fed(72.0, |s| s);
        let span = forecast.points.last().unwrap().0 - forecast.points[0].0;
        assert!(span > 24.0 * 3600.0, "{span}");
    }

    proptest! {
        #[test]
        fn no_readings_do_harm(readings in proptest::collection::vec((any::<f64>(), any::<f64>()), 0..300)) {
            let (mut forecast, mut slopes) = (Forecast::default(), Slopes::default());
            for (seconds, used) in readings {
                forecast.observe(seconds, used, &mut slopes);
                prop_assert!(forecast.points.len() <= POINTS_MAX);
                prop_assert!(hours(&forecast, 1.0).is_none_or(|h| h >= 0.0));
            }
        }
    }
}
