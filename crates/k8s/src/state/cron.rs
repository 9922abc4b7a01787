//! Times as `cron` has them: five fields of minutes, hours, days, months and days of the week, `@daily` and its
//! kin, and `@every 90m`.

use jiff::{Timestamp, civil::Time, tz::TimeZone};

use super::duration;

/// When something is due.
#[derive(Debug)]
pub(super) struct Schedule {
    /// None where this machine knows no zones at all, so that it can tell neither times nor mistakes.
    zone: Option<TimeZone>,
    times: Times,
}

#[derive(Debug)]
enum Times {
    /// Every so many seconds.
    Every(i64),
    Fields(Box<Fields>),
}

/// Each a set of numbers, one bit a number.
#[derive(Debug)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Either of the days must fit, as neither is left open; else both.
    is_any_day: bool,
}

/// What has not come in so long never will, as a 30th of February.
const DAYS_MAX: i64 = 5 * 366;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const MACROS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Schedule {
    /// Reads times and the name of their zone, UTC if there is none. A zone before the times, as
    /// `CRON_TZ=Asia/Tokyo 0 9 * * *`, counts more. None for what cannot be understood.
    pub(super) fn parse(text: &str, zone: Option<&str>) -> Option<Self> {
        let mut text = text.trim();
        let mut zone = zone;
        if let Some(rest) = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) {
            let (name, rest) = rest.split_once(' ')?;
            (zone, text) = (Some(name), rest.trim());
        }
        let zone = match zone {
            None | Some("" | "UTC") => Some(TimeZone::UTC),
            Some(_) if jiff::tz::db().is_definitively_empty() => None,
            Some(name) => Some(TimeZone::get(name).ok()?),
        };
        let times = if let Some(span) = text.strip_prefix("@every ") {
            Times::Every(span_seconds(span)?)
        } else if text.starts_with('@') {
            let (_, fields) = MACROS.iter().find(|(name, _)| *name == text)?;
            Times::Fields(Box::new(Fields::parse(fields)?))
        } else {
            Times::Fields(Box::new(Fields::parse(text)?))
        };
        Some(Self { zone, times })
    }

    /// The first time after this one, both in seconds since 1970; none if there is none within five
    /// years, or if this machine does not know the zone.
    pub(super) fn next(&self, after: i64) -> Option<i64> {
        match &self.times {
            Times::Every(seconds) => after.checked_add(*seconds),
            Times::Fields(fields) => fields.next(after, self.zone.as_ref()?),
        }
    }
}

impl Fields {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace();
        let mut next = || fields.next();
        let (minutes, hours, days, months, weekdays) = (next()?, next()?, next()?, next()?, next()?);
        if fields.next().is_some() {
            return None;
        }
        let (days, is_every_day) = set(days, 1, 31, &[])?;
        let (weekdays, is_every_weekday) = set(weekdays, 0, 6, WEEKDAYS)?;
        Some(Self {
            minutes: set(minutes, 0, 59, &[])?.0,
            hours: set(hours, 0, 23, &[])?.0,
            days,
            months: set(months, 1, 12, MONTHS)?.0,
            weekdays,
            is_any_day: !is_every_day && !is_every_weekday,
        })
    }

    /// Goes on by the largest step that can miss nothing. Steps within a day are steps of real time, so that an
    /// hour that a zone skips is skipped and one that it has twice counts twice.
    fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        // Offsets of today's zones are of whole minutes, so a whole minute is one everywhere.
        let mut at = after.div_euclid(MINUTE).checked_add(1)?.checked_mul(MINUTE)?;
        let end = after.checked_add(DAYS_MAX * 24 * HOUR)?;
        while at <= end {
            let time = zone.to_datetime(Timestamp::from_second(at).ok()?);
            let (date, number) = (time.date(), |value: i8| u32::from(value.unsigned_abs()));
            let has = |set: u64, value: i8| set >> number(value) & 1 == 1;
            let is_day = has(self.days, date.day());
            let is_weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
            let fits = if self.is_any_day { is_day || is_weekday } else { is_day && is_weekday };
            let day = if !has(self.months, date.month()) {
                Some(date.last_of_month().tomorrow().ok()?)
            } else if !fits {
                Some(date.tomorrow().ok()?)
            } else {
                None
            };
            at = if let Some(day) = day {
                let begin = day.to_datetime(Time::midnight()).to_zoned(zone.clone()).ok()?;
                // A zone may skip a whole day; time goes on all the same.
                begin.timestamp().as_second().max(at + MINUTE)
            } else if !has(self.hours, time.hour()) {
                at + HOUR - i64::from(time.minute()) * MINUTE - i64::from(time.second())
            } else if !has(self.minutes, time.minute()) {
                at + MINUTE - i64::from(time.second())
            } else {
                return Some(at);
            };
        }
        None
    }
}

/// The numbers of a field, and whether it leaves them open: `*`, `7`, `mon-fri`, `*/5`, `0-30/10`, `10/5`, and
/// several of them with commas between.
fn set(text: &str, min: u32, max: u32, names: &[&str]) -> Option<(u64, bool)> {
    let number = |text: &str| -> Option<u32> {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(at) => u32::try_from(at).ok()? + min,
            None => digits(text)?,
        };
        (min..=max).contains(&number).then_some(number)
    };
    let (mut set, mut is_open) = (0, false);
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(digits(step).filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (begin, end) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => {
                is_open |= step.is_none_or(|step| step == 1);
                (min, max)
            }
            Some((begin, end)) => (number(begin)?, number(end)?),
            // `10/5` goes on to the end.
            None if step.is_some() => (number(range)?, max),
            None => (number(range)?, number(range)?),
        };
        if begin > end {
            return None;
        }
        for number in (begin..=end).step_by(step.unwrap_or(1) as usize) {
            set |= 1 << number;
        }
    }
    Some((set, is_open))
}

fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Seconds of a span as `1h30m`, at least one.
fn span_seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.starts_with(['+', '-']) {
        return None;
    }
    let seconds = duration::seconds(text)?;
    // Larger ones are beyond any calendar.
    (seconds < 1e11).then_some((seconds as i64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times after one, both as texts in the zone.
    fn next(text: &str, zone: &str, after: &str, times: usize) -> Vec<String> {
        let zone_name = (!zone.is_empty()).then_some(zone);
        let schedule = Schedule::parse(text, zone_name).unwrap_or_else(|| panic!("{text} {zone}"));
        let mut at = after.parse::<Timestamp>().expect("a time").as_second();
        let mut found = Vec::new();
        for _ in 0..times {
            match schedule.next(at) {
                Some(next) => at = next,
                None => break,
            }
            found.push(Timestamp::from_second(at).expect("a time").to_string());
        }
        found
    }

    #[test]
    fn times_of_all_forms() {
        for (text, after, expected) in [
            ("* * * * *", "2026-11-22T03:04:05Z", "2026-11-22T03:05:00Z"),
            ("* * * * *", "2026-11-22T03:04:00Z", "2026-11-22T03:05:00Z"),
            ("25 * * * *", "2026-11-22T03:30:00Z", "2026-11-22T04:25:00Z"),
            ("0 */6 * * *", "2026-11-22T03:04:05Z", "2026-11-22T06:00:00Z"),
            ("0 */6 * * *", "2026-11-22T18:00:00Z", "2026-11-23T00:00:00Z"),
            ("10/20 * * * *", "2026-11-22T03:30:00Z", "2026-11-22T03:50:00Z"),
            ("0-30/15 9-17 * * MON-FRI", "2026-11-20T17:30:00Z", "2026-11-23T09:00:00Z"),
            ("5,35 1 * * ?", "2026-11-22T01:06:00Z", "2026-11-22T01:35:00Z"),
            ("0 0 29 2 *", "2026-11-22T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 12 * JAN,jul Sun", "2026-11-22T00:00:00Z", "2027-01-03T12:00:00Z"),
            // Both days are named, so either will do: the 25th is a Wednesday, the 27th a Friday.
            ("0 0 25 * 5", "2026-11-22T00:00:00Z", "2026-11-25T00:00:00Z"),
            ("0 0 25 * 5", "2026-11-25T00:00:00Z", "2026-11-27T00:00:00Z"),
            // A step of more than one does not leave it open either.
            ("0 0 */10 * 1", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            ("0 0 13 * */1", "2026-11-22T00:00:00Z", "2026-12-13T00:00:00Z"),
            ("@yearly", "2026-11-22T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("@annually", "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"),
            ("@monthly", "2026-11-22T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("@weekly", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"),
            ("@daily", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            ("@midnight", "2026-11-22T00:00:01Z", "2026-11-23T00:00:00Z"),
            ("@hourly", "2026-11-22T00:59:59Z", "2026-11-22T01:00:00Z"),
            ("@every 1h30m", "2026-11-22T00:00:07Z", "2026-11-22T01:30:07Z"),
            ("@every 10ms", "2026-11-22T00:00:07Z", "2026-11-22T00:00:08Z"),
            ("* * * * *", "1969-12-31T23:58:30Z", "1969-12-31T23:59:00Z"),
        ] {
            assert_eq!(next(text, "", after, 1), [expected], "{text} after {after}");
        }
    }

    /// Whether the names of zones are known here.
    fn knows_zones() -> bool {
        let knows = !jiff::tz::db().is_definitively_empty();
        if !knows {
            println!("SKIPPED zones: this machine has no list of them");
        }
        knows
    }

    #[test]
    fn zones_count() {
        if !knows_zones() {
            return;
        }
        let after = "2026-11-22T03:00:00Z";
        for (text, zone, expected) in [
            ("0 9 * * *", "Asia/Tokyo", "2026-11-23T00:00:00Z"),
            ("CRON_TZ=Asia/Tokyo 0 9 * * *", "", "2026-11-23T00:00:00Z"),
            ("TZ=Asia/Tokyo 0 9 * * *", "Europe/Berlin", "2026-11-23T00:00:00Z"),
            ("30 9 * * *", "Asia/Kolkata", "2026-11-22T04:00:00Z"),
            ("0 9 * * *", "Europe/Berlin", "2026-11-22T08:00:00Z"),
            ("0 9 * * *", "UTC", "2026-11-22T09:00:00Z"),
        ] {
            assert_eq!(next(text, zone, after, 1), [expected], "{text} {zone}");
        }
    }

    /// In Berlin the hour after 2 is skipped on 2026-03-29 and comes twice on 2026-10-25.
    #[test]
    fn an_hour_that_is_skipped_is_and_one_that_comes_twice_does() {
        if !knows_zones() {
            return;
        }
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 1),
            ["2026-03-30T00:30:00Z"],
            "half past two does not come that night"
        );
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 3),
            ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    /// Minute by minute, with numbers named one by one.
    #[test]
    fn the_next_time_is_that_of_a_search_through_all_minutes() {
        let mut random = vedette_sys::Random::new(5);
        let zone = if knows_zones() { "Europe/Berlin" } else { "UTC" };
        let place = TimeZone::get(zone).expect("a zone");
        for _ in 0..60 {
            let mut some = |min: i8, max: i8, most: u64| -> Vec<i8> {
                let count = 1 + random.below(most);
                (0..count)
                    .map(|_| min + random.below(u64::from((max - min).unsigned_abs()) + 1) as i8)
                    .collect()
            };
            let sets = [some(0, 59, 3), some(0, 23, 4), some(1, 31, 9), some(1, 12, 9), some(0, 6, 3)];
            let is_open = [random.below(2) == 0, random.below(2) == 0];
            let text = |at: usize| sets[at].iter().map(i8::to_string).collect::<Vec<_>>().join(",");
            let day = |at: usize, is_open: bool| if is_open { "*".to_owned() } else { text(at) };
            let fields = [text(0), text(1), day(2, is_open[0]), text(3), day(4, is_open[1])].join(" ");
            // Some time of 2026.
            let after = 1_767_225_600 + random.below(365 * 24 * 3600) as i64;
            let fits = |at: &i64| {
                let time = place.to_datetime(Timestamp::from_second(*at).expect("a time"));
                let weekday = time.weekday().to_sunday_zero_offset();
                let (day, weekday) = (sets[2].contains(&time.day()), sets[4].contains(&weekday));
                let fits_day = match is_open {
                    [true, true] => true,
                    [true, false] => weekday,
                    [false, true] => day,
                    [false, false] => day || weekday,
                };
                let (minutes, hours, months) = (&sets[0], &sets[1], &sets[3]);
                let has = minutes.contains(&time.minute()) && hours.contains(&time.hour());
                fits_day && has && months.contains(&time.month())
            };
            let minutes = (after / 60 + 1..).take(60 * 24 * 40).map(|minute| minute * 60);
            let Some(wanted) = minutes.into_iter().find(fits) else { continue };
            let schedule = Schedule::parse(&fields, Some(zone)).expect("sound");
            assert_eq!(schedule.next(after), Some(wanted), "{fields} after {after}");
        }
    }

    #[test]
    fn what_never_comes_does_not() {
        assert_eq!(next("0 0 30 2 *", "", "2026-11-22T00:00:00Z", 1), Vec::<String>::new());
        let schedule = Schedule::parse("* * * * *", None).expect("sound");
        for far in [i64::MIN, i64::MAX, i64::MAX - 59, 253_402_300_799] {
            assert_eq!(schedule.next(far), None, "{far}");
        }
        assert_eq!(Schedule::parse("@every 1h", None).expect("sound").next(i64::MAX), None);
    }

    #[test]
    fn what_cannot_be_understood_is_told() {
        for text in [
            "",
            "*",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 * ",
            "* * * 0 *",
            "* * * * 7",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "1- * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "*/+5 * * * *",
            "1,,2 * * * *",
            "1/2/3 * * * *",
            "* * * foo *",
            "@often",
            "@every",
            "@every x",
            "@every 5",
            "@every 1d",
            "@every -5m",
            "@every 1e9h",
            "CRON_TZ=UTC",
        ] {
            assert!(Schedule::parse(text, None).is_none(), "{text}");
        }
        if !knows_zones() {
            return;
        }
        assert!(Schedule::parse("CRON_TZ=No/Where * * * * *", None).is_none());
        assert!(Schedule::parse("* * * * *", Some("No/Where")).is_none());
        assert!(Schedule::parse("* * * * *", Some("../../etc/passwd")).is_none());
    }
}
