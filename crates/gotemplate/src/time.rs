//! Go's `time.Time` and `time.Duration` as template values.

use std::any::Any;

use jiff::{Timestamp, tz::TimeZone};

use crate::{Object, Value};

/// A point in time, shown in one time zone.
#[derive(Debug, Clone)]
pub struct Time {
    timestamp: Timestamp,
    zone: TimeZone,
}

/// Seconds from year 1, Go's zero time, to the Unix epoch.
const ZERO_UNIX_S: i64 = -62_135_596_800;

impl Time {
    /// A point in time in UTC; what lies outside of years -9999 to 9999 is moved to the border.
    pub fn from_unix_ns(unix_ns: i128) -> Self {
        let clamped = unix_ns.clamp(Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
        let timestamp = Timestamp::from_nanosecond(clamped).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { timestamp, zone: TimeZone::UTC }
    }

    /// Milliseconds since the Unix epoch, in UTC.
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        Self::from_unix_ns(i128::from(unix_ms) * 1_000_000)
    }

    /// Go's zero time: the first second of year 1.
    pub fn zero() -> Self {
        Self::from_unix_ns(i128::from(ZERO_UNIX_S) * 1_000_000_000)
    }

    /// Nanoseconds since the Unix epoch.
    pub fn unix_ns(&self) -> i128 {
        self.timestamp.as_nanosecond()
    }

    /// The same point in another zone of the IANA database.
    pub fn in_zone(&self, name: &str) -> Result<Self, String> {
        let zone = match name {
            "" | "UTC" => TimeZone::UTC,
            _ => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}"))?,
        };
        Ok(Self { timestamp: self.timestamp, zone })
    }

    /// The time written after a layout that shows Go's reference time, `2006-01-02 15:04:05`.
    pub fn format(&self, layout: &str) -> String {
        let zoned = self.timestamp.to_zoned(self.zone.clone());
        let offset_s = zoned.offset().seconds();
        let mut out = String::new();
        let mut rest = layout;
        while !rest.is_empty() {
            let (element, length) = element(rest);
            let year = zoned.year();
            match element {
                Element::Literal => out.push_str(&rest[..length]),
                Element::Year => out.push_str(&format!("{year:04}")),
                Element::ShortYear => out.push_str(&format!("{:02}", year.rem_euclid(100))),
                Element::MonthName => out.push_str(month(zoned.month())),
                Element::ShortMonthName => out.push_str(&month(zoned.month())[..3]),
                Element::Month { pad } => out.push_str(&padded(zoned.month(), pad)),
                Element::WeekdayName => out.push_str(weekday(&zoned)),
                Element::ShortWeekdayName => out.push_str(&weekday(&zoned)[..3]),
                Element::Day { pad } => out.push_str(&padded(zoned.day(), pad)),
                Element::YearDay { zero } => {
                    let day = zoned.day_of_year();
                    out.push_str(&if zero { format!("{day:03}") } else { format!("{day:>3}") });
                }
                Element::Hour => out.push_str(&format!("{:02}", zoned.hour())),
                Element::Hour12 { pad } => out.push_str(&padded((zoned.hour() + 11) % 12 + 1, pad)),
                Element::Minute { pad } => out.push_str(&padded(zoned.minute(), pad)),
                Element::Second { pad } => out.push_str(&padded(zoned.second(), pad)),
                Element::HalfDay { upper } => out.push_str(match (zoned.hour() >= 12, upper) {
                    (true, true) => "PM",
                    (true, false) => "pm",
                    (false, true) => "AM",
                    (false, false) => "am",
                }),
                Element::Zone => match self.zone.to_offset_info(self.timestamp).abbreviation() {
                    "" => out.push_str(&offset(offset_s, "", false)),
                    name => out.push_str(name),
                },
                Element::Offset { colon, seconds, hours_only, zulu } => {
                    if zulu && offset_s == 0 {
                        out.push('Z');
                    } else if hours_only {
                        out.push_str(&offset(offset_s, "", false)[..3]);
                    } else {
                        out.push_str(&offset(offset_s, if colon { ":" } else { "" }, seconds));
                    }
                }
                Element::Fraction { trim } => {
                    let digits = format!("{:09}", zoned.subsec_nanosecond());
                    let mut digits = &digits[..(length - 1).min(9)];
                    if trim {
                        digits = digits.trim_end_matches('0');
                    }
                    if !digits.is_empty() {
                        out.push_str(&rest[..1]);
                        out.push_str(digits);
                    }
                }
            }
            rest = &rest[length..];
        }
        out
    }
}

fn padded(value: i8, pad: Option<char>) -> String {
    match pad {
        Some('0') => format!("{value:02}"),
        Some(_) => format!("{value:>2}"),
        None => value.to_string(),
    }
}

fn offset(seconds: i32, colon: &str, with_seconds: bool) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let s = seconds.abs();
    let mut text = format!("{sign}{:02}{colon}{:02}", s / 3600, s / 60 % 60);
    if with_seconds {
        text.push_str(&format!("{colon}{:02}", s % 60));
    }
    text
}

fn month(number: i8) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    NAMES[usize::try_from(number - 1).unwrap_or(0) % 12]
}

fn weekday(zoned: &jiff::Zoned) -> &'static str {
    const NAMES: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    NAMES[usize::try_from(zoned.weekday().to_sunday_zero_offset()).unwrap_or(0) % 7]
}

/// One piece of a layout.
enum Element {
    Literal,
    Year,
    ShortYear,
    MonthName,
    ShortMonthName,
    Month { pad: Option<char> },
    WeekdayName,
    ShortWeekdayName,
    Day { pad: Option<char> },
    YearDay { zero: bool },
    Hour,
    Hour12 { pad: Option<char> },
    Minute { pad: Option<char> },
    Second { pad: Option<char> },
    HalfDay { upper: bool },
    Zone,
    Offset { colon: bool, seconds: bool, hours_only: bool, zulu: bool },
    Fraction { trim: bool },
}

/// The piece at the start of a layout, and its length in bytes.
fn element(layout: &str) -> (Element, usize) {
    let offset = |colon, seconds, hours_only, zulu| Element::Offset { colon, seconds, hours_only, zulu };
    // Longer pieces stand before those they begin with.
    let table: [(&str, Element); 38] = [
        ("January", Element::MonthName),
        ("Jan", Element::ShortMonthName),
        ("Monday", Element::WeekdayName),
        ("Mon", Element::ShortWeekdayName),
        ("MST", Element::Zone),
        ("2006", Element::Year),
        ("__2", Element::YearDay { zero: false }),
        ("002", Element::YearDay { zero: true }),
        ("01", Element::Month { pad: Some('0') }),
        ("02", Element::Day { pad: Some('0') }),
        ("03", Element::Hour12 { pad: Some('0') }),
        ("04", Element::Minute { pad: Some('0') }),
        ("05", Element::Second { pad: Some('0') }),
        ("06", Element::ShortYear),
        ("15", Element::Hour),
        ("_2006", Element::Literal),
        ("_2", Element::Day { pad: Some(' ') }),
        ("PM", Element::HalfDay { upper: true }),
        ("pm", Element::HalfDay { upper: false }),
        ("-07:00:00", offset(true, true, false, false)),
        ("-070000", offset(false, true, false, false)),
        ("-07:00", offset(true, false, false, false)),
        ("-0700", offset(false, false, false, false)),
        ("-07", offset(false, false, true, false)),
        ("Z07:00:00", offset(true, true, false, true)),
        ("Z070000", offset(false, true, false, true)),
        ("Z07:00", offset(true, false, false, true)),
        ("Z0700", offset(false, false, false, true)),
        ("Z07", offset(false, false, true, true)),
        ("1", Element::Month { pad: None }),
        ("2", Element::Day { pad: None }),
        ("3", Element::Hour12 { pad: None }),
        ("4", Element::Minute { pad: None }),
        ("5", Element::Second { pad: None }),
        (".0", Element::Fraction { trim: false }),
        (",0", Element::Fraction { trim: false }),
        (".9", Element::Fraction { trim: true }),
        (",9", Element::Fraction { trim: true }),
    ];
    for (text, element) in table {
        if !layout.starts_with(text) {
            continue;
        }
        match element {
            // `_2006` is an underscore before a year.
            Element::Literal => return (Element::Literal, 1),
            // A lower-case letter after it makes `Jan` part of another word.
            Element::ShortMonthName | Element::ShortWeekdayName
                if layout[3..].starts_with(|c: char| c.is_ascii_lowercase()) => {}
            Element::Fraction { trim } => {
                let digit = if trim { b'9' } else { b'0' };
                let digits = layout.bytes().skip(1).take_while(|b| *b == digit).count();
                let more = layout.as_bytes().get(digits + 1).is_some_and(u8::is_ascii_digit);
                if !more {
                    return (Element::Fraction { trim }, digits + 1);
                }
            }
            element => return (element, text.len()),
        }
    }
    (Element::Literal, layout.chars().next().map_or(1, char::len_utf8))
}

fn time_arg(args: &[Value]) -> Result<&Time, String> {
    match args {
        [value] => value
            .downcast::<Time>()
            .ok_or_else(|| format!("wrong type for value; expected time.Time; got {}", value.type_name())),
        _ => Err(format!("wrong number of args: want 1 got {}", args.len())),
    }
}

impl Object for Time {
    fn type_name(&self) -> &str {
        "time.Time"
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn text(&self) -> Option<String> {
        Some(self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }

    fn call(&self, method: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let zoned = || self.timestamp.to_zoned(self.zone.clone());
        let small = |n: i8| Value::Int(i64::from(n));
        let whole = |n: i128| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let with_args = match method {
            "Format" => Some(match args {
                [Value::Str(layout)] => Ok(self.format(layout).into()),
                _ => Err("want a layout".to_owned()),
            }),
            "Sub" => Some(time_arg(args).map(|t| Value::object(Duration::between(t, self)))),
            "After" => Some(time_arg(args).map(|t| Value::Bool(self.timestamp > t.timestamp))),
            "Before" => Some(time_arg(args).map(|t| Value::Bool(self.timestamp < t.timestamp))),
            "Equal" => Some(time_arg(args).map(|t| Value::Bool(self.timestamp == t.timestamp))),
            "Compare" => Some(time_arg(args).map(|t| small(self.timestamp.cmp(&t.timestamp) as i8))),
            "Add" => Some(match args {
                [Value::Int(ns)] => Ok(Value::object(self.plus(*ns))),
                [value] => match value.downcast::<Duration>() {
                    Some(d) => Ok(Value::object(self.plus(d.0))),
                    None => Err(format!(
                        "wrong type for value; expected time.Duration; got {}",
                        value.type_name()
                    )),
                },
                _ => Err(format!("wrong number of args for Add: want 1 got {}", args.len())),
            }),
            "AddDate" => Some(match args {
                [Value::Int(years), Value::Int(months), Value::Int(days)] => {
                    self.add_date(*years, *months, *days)
                }
                _ => Err("want years, months and days".to_owned()),
            }),
            _ => None,
        };
        if with_args.is_some() {
            return with_args;
        }
        let value = match method {
            "String" => self.text().unwrap_or_default().into(),
            "Unix" => Value::Int(self.timestamp.as_nanosecond().div_euclid(1_000_000_000) as i64),
            "UnixMilli" => whole(self.unix_ns().div_euclid(1_000_000)),
            "UnixMicro" => whole(self.unix_ns().div_euclid(1000)),
            "UnixNano" => whole(self.unix_ns()),
            "Year" => Value::Int(i64::from(zoned().year())),
            "Month" => month(zoned().month()).into(),
            "Day" => small(zoned().day()),
            "Hour" => small(zoned().hour()),
            "Minute" => small(zoned().minute()),
            "Second" => small(zoned().second()),
            "Nanosecond" => Value::Int(i64::from(zoned().subsec_nanosecond())),
            "YearDay" => Value::Int(i64::from(zoned().day_of_year())),
            "Weekday" => weekday(&zoned()).into(),
            "IsZero" => Value::Bool(self.unix_ns() == Self::zero().unix_ns()),
            "UTC" | "Local" => Value::object(Self { timestamp: self.timestamp, zone: TimeZone::UTC }),
            _ => return None,
        };
        Some(if args.is_empty() {
            Ok(value)
        } else {
            Err(format!("wrong number of args for {method}: want 0 got {}", args.len()))
        })
    }
}

impl Time {
    fn plus(&self, ns: i64) -> Self {
        Self { zone: self.zone.clone(), ..Self::from_unix_ns(self.unix_ns() + i128::from(ns)) }
    }

    fn add_date(&self, years: i64, months: i64, days: i64) -> Result<Value, String> {
        let span = jiff::Span::new()
            .try_years(years)
            .and_then(|s| s.try_months(months))
            .and_then(|s| s.try_days(days))
            .map_err(|_| "date out of range".to_owned())?;
        let zoned = self.timestamp.to_zoned(self.zone.clone());
        let moved = zoned.checked_add(span).map_err(|_| "date out of range".to_owned())?;
        Ok(Value::object(Self { timestamp: moved.timestamp(), zone: self.zone.clone() }))
    }
}

/// A length of time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub i64);

impl Duration {
    /// From one time to another; what does not fit stops at the longest duration.
    pub fn between(from: &Time, to: &Time) -> Self {
        let ns = to.unix_ns() - from.unix_ns();
        Self(i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let ns = self.0.unsigned_abs();
        let decimal = |unit_ns: u64, ns: u64| {
            let digits = unit_ns.ilog10() as usize;
            let fraction = format!("{:0digits$}", ns % unit_ns);
            let fraction = fraction.trim_end_matches('0');
            let dot = if fraction.is_empty() { "" } else { "." };
            format!("{}{dot}{fraction}", ns / unit_ns)
        };
        match ns {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{sign}{ns}ns"),
            1_000..1_000_000 => write!(f, "{sign}{}µs", decimal(1_000, ns)),
            1_000_000..1_000_000_000 => write!(f, "{sign}{}ms", decimal(1_000_000, ns)),
            _ => {
                let minutes = ns / 60_000_000_000;
                let (hours, minutes) = (minutes / 60, minutes % 60);
                f.write_str(sign)?;
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", decimal(1_000_000_000, ns % 60_000_000_000))
            }
        }
    }
}

impl Object for Duration {
    fn type_name(&self) -> &str {
        "time.Duration"
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn call(&self, method: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let value = match method {
            "String" => self.to_string().into(),
            "Hours" => Value::Float(self.0 as f64 / 3.6e12),
            "Minutes" => Value::Float(self.0 as f64 / 6e10),
            "Seconds" => Value::Float(self.0 as f64 / 1e9),
            "Milliseconds" => Value::Int(self.0 / 1_000_000),
            "Microseconds" => Value::Int(self.0 / 1_000),
            "Nanoseconds" => Value::Int(self.0),
            "Abs" => Value::object(Self(self.0.saturating_abs())),
            _ => return None,
        };
        Some(if args.is_empty() {
            Ok(value)
        } else {
            Err(format!("wrong number of args for {method}: want 0 got {}", args.len()))
        })
    }
}
