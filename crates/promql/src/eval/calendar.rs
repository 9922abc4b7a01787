//! Functions of a Unix time in UTC: the Gregorian calendar, without leap seconds.

use crate::function::FunctionId;

/// Functions of a Unix time in UTC.
pub fn function(id: FunctionId) -> Option<fn(f64) -> f64> {
    use FunctionId as F;
    Some(match id {
        F::Minute => |t| on_day(t, |_, second| second / 60 % 60),
        F::Hour => |t| on_day(t, |_, second| second / 3600),
        F::DayOfWeek => |t| on_day(t, |day, _| (day + 4).rem_euclid(7)),
        F::DayOfMonth => |t| on_day(t, |day, _| civil(day).2),
        F::DayOfYear => |t| on_day(t, |day, _| day - days_until(civil(day).0, 1) + 1),
        F::DaysInMonth => |t| {
            on_day(t, |day, _| {
                let (year, month, _) = civil(day);
                let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                days_until(next_year, next) - days_until(year, month)
            })
        },
        F::Month => |t| on_day(t, |day, _| civil(day).1),
        F::Year => |t| on_day(t, |day, _| civil(day).0),
        _ => return None,
    })
}

/// The year at which Go's calendar begins, where Prometheus runs: what is earlier wraps around.
const FIRST_YEAR: i64 = -292_277_022_399;

/// Gives days since the epoch and seconds of the day to `f`. What is no time is the earliest
/// number of seconds, as there.
fn on_day(time: f64, f: fn(i64, i64) -> i64) -> f64 {
    let representable = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&time);
    let seconds = i128::from(if representable { time as i64 } else { i64::MIN });
    let first = i128::from(days_until(FIRST_YEAR, 1)) * 86_400;
    let seconds = if seconds < first { seconds + (1 << 64) } else { seconds };
    f(seconds.div_euclid(86_400) as i64, seconds.rem_euclid(86_400) as i64) as f64
}

/// Year, month and day of days since 1970-01-01, in the Gregorian calendar.
pub fn civil(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to the first of a month.
fn days_until(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_wraps_around_as_in_go() {
        let day_of_year = function(FunctionId::DayOfYear).unwrap();
        assert_eq!(day_of_year(f64::NAN), 339.0);
        assert_eq!(day_of_year(f64::INFINITY), 339.0);
        assert_eq!(day_of_year(0.0), 1.0);
    }

    #[test]
    fn the_calendar_agrees_with_itself_over_eight_centuries() {
        let mut before = civil(-200_000);
        for day in -199_999..100_000 {
            let (year, month, d) = civil(day);
            assert_eq!(days_until(year, month) + d - 1, day);
            let next_day = (before.0, before.1, before.2 + 1) == (year, month, d);
            assert!(next_day || d == 1, "{before:?} then {:?}", (year, month, d));
            before = (year, month, d);
        }
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
    }
}
