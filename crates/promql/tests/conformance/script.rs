//! Reads scripts of Prometheus' test language: `load`, `clear`, `eval`.

use std::sync::Arc;

use vedette_model::Labels;
use vedette_promql::Histogram;

use crate::histogram;

/// Errors are text: scripts are read by developers only.
pub type Result<T> = std::result::Result<T, String>;

macro_rules! bail {
    ($($arg:tt)*) => { return Err(format!($($arg)*)) };
}

/// What a script says at one line.
#[derive(Debug)]
pub struct Command {
    pub line: usize,
    pub kind: CommandKind,
}

#[derive(Debug)]
pub enum CommandKind {
    Clear,
    /// Series with one point for each step.
    Load {
        step_ms: i64,
        series: Vec<Loaded>,
    },
    Eval(Box<Eval>),
}

/// A series to be loaded.
#[derive(Debug)]
pub struct Loaded {
    pub labels: Labels,
    pub points: Vec<Point>,
    /// Since when each point counts, from its own time; not told where `None`.
    pub starts_ms: Vec<Option<i64>>,
}

/// A point of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    Gap,
    Value(f64),
    /// A native histogram, and whether the text tells its counter reset hint.
    Histogram(Arc<Histogram>, bool),
}

#[derive(Debug)]
pub struct Eval {
    pub query: String,
    pub time: Time,
    pub ordered: bool,
    pub expect: Vec<Expect>,
    /// `expect string`
    pub text: Option<String>,
    /// `expect range vector`: start, end, step.
    pub range_vector: Option<(i64, i64, i64)>,
    pub series: Vec<(Labels, Vec<Point>)>,
    pub scalar: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
pub enum Time {
    Instant(i64),
    Range(i64, i64, i64),
}

#[derive(Debug, Clone)]
pub enum Expect {
    Fail(Text),
    Warn(Text),
    Info(Text),
    NoWarn,
    NoInfo,
}

#[derive(Debug, Clone)]
pub enum Text {
    Any,
    Exact(String),
    Regex(String),
}

/// Reads a whole script.
pub fn read(text: &str) -> Result<Vec<Command>> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|l| if l.starts_with('#') { "" } else { l }).collect();
    let mut commands = Vec::new();
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i];
        let number = i + 1;
        i += 1;
        if line.is_empty() {
            continue;
        }
        let mut block = Vec::new();
        if line != "clear" {
            while i < lines.len() && !lines[i].is_empty() {
                block.push(lines[i]);
                i += 1;
            }
        }
        let kind = command(line, &block).map_err(|e| format!("line {number}: {e}"))?;
        commands.push(Command { line: number, kind });
    }
    Ok(commands)
}

fn command(line: &str, block: &[&str]) -> Result<CommandKind> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match word {
        "clear" => Ok(CommandKind::Clear),
        "load" | "load_with_nhcb" => {
            let step_ms = duration(rest.trim())?;
            let mut series: Vec<Loaded> = Vec::new();
            let mut starts_ms = Vec::new();
            for line in block {
                let (name, points) = split_series(line)?;
                if name.ends_with("@st") {
                    starts_ms = starts(points)?;
                    continue;
                }
                let (labels, points) = (labels(name)?, self::points(points)?);
                series.push(Loaded { labels, points, starts_ms: std::mem::take(&mut starts_ms) });
            }
            if word == "load_with_nhcb" {
                let derived = histogram::from_classic(&series);
                series.extend(derived);
            }
            Ok(CommandKind::Load { step_ms, series })
        }
        "eval" | "eval_fail" | "eval_warn" | "eval_info" | "eval_ordered" => eval(word, rest.trim(), block),
        _ => bail!("unknown command {word}"),
    }
}

fn eval(word: &str, rest: &str, block: &[&str]) -> Result<CommandKind> {
    let mut words = Words(rest);
    let time = match words.next() {
        "instant" => {
            words.skip("at")?;
            Time::Instant(duration(words.next())?)
        }
        "range" => {
            words.skip("from")?;
            let from = duration(words.next())?;
            words.skip("to")?;
            let to = duration(words.next())?;
            words.skip("step")?;
            Time::Range(from, to, duration(words.next())?)
        }
        other => bail!("instant or range expected, got {other}"),
    };
    let mut eval = Eval {
        query: words.0.trim().to_owned(),
        time,
        ordered: word == "eval_ordered",
        expect: match word {
            "eval_fail" => vec![Expect::Fail(Text::Any)],
            "eval_warn" => vec![Expect::Warn(Text::Any)],
            "eval_info" => vec![Expect::Info(Text::Any)],
            _ => Vec::new(),
        },
        text: None,
        range_vector: None,
        series: Vec::new(),
        scalar: None,
    };
    for line in block {
        if let Some(expectation) = line.strip_prefix("expect ") {
            expect(&mut eval, expectation.trim())?;
        } else if let Some(message) = line.strip_prefix("expected_fail_message ") {
            eval.expect = vec![Expect::Fail(Text::Exact(message.trim().to_owned()))];
        } else if let Some(pattern) = line.strip_prefix("expected_fail_regexp ") {
            eval.expect = vec![Expect::Fail(Text::Regex(pattern.trim().to_owned()))];
        } else if let Ok(value) = number(line) {
            eval.scalar = Some(value);
        } else {
            let (name, points) = split_series(line)?;
            eval.series.push((labels(name)?, self::points(points)?));
        }
    }
    Ok(CommandKind::Eval(Box::new(eval)))
}

fn expect(eval: &mut Eval, expectation: &str) -> Result<()> {
    let (word, rest) = expectation.split_once(char::is_whitespace).unwrap_or((expectation, ""));
    let rest = rest.trim();
    let text = || {
        if let Some(text) = rest.strip_prefix("msg:") {
            Text::Exact(text.trim().to_owned())
        } else if let Some(pattern) = rest.strip_prefix("regex:") {
            Text::Regex(pattern.trim().to_owned())
        } else {
            Text::Any
        }
    };
    match word {
        "fail" => eval.expect.push(Expect::Fail(text())),
        "warn" => eval.expect.push(Expect::Warn(text())),
        "info" => eval.expect.push(Expect::Info(text())),
        "no_warn" => eval.expect.push(Expect::NoWarn),
        "no_info" => eval.expect.push(Expect::NoInfo),
        "ordered" => eval.ordered = true,
        "string" => eval.text = Some(rest.trim_matches(['"', '`', '\'']).to_owned()),
        "range" => {
            let mut words = Words(rest);
            words.skip("vector")?;
            words.skip("from")?;
            let from = duration(words.next())?;
            words.skip("to")?;
            let to = duration(words.next())?;
            words.skip("step")?;
            eval.range_vector = Some((from, to, duration(words.next())?));
        }
        _ => bail!("unknown expectation {expectation}"),
    }
    Ok(())
}

/// Words separated by blanks; what is left stands in the field.
struct Words<'t>(&'t str);

impl<'t> Words<'t> {
    fn next(&mut self) -> &'t str {
        let text = self.0.trim_start();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        self.0 = rest;
        word
    }

    fn skip(&mut self, word: &str) -> Result<()> {
        let got = self.next();
        if got == word { Ok(()) } else { bail!("{word} expected, got {got}") }
    }
}

/// `1h30m`, or a number of seconds.
pub fn duration(text: &str) -> Result<i64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let mut ms = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |e| digits + e);
        let value: f64 = rest[..digits].parse().map_err(|_| format!("bad duration {text}"))?;
        ms += value
            * match &rest[digits..unit_end] {
                "ms" => 1.0,
                "s" | "" => 1000.0,
                "m" => 60e3,
                "h" => 3600e3,
                "d" => 86400e3,
                "w" => 7.0 * 86400e3,
                "y" => 365.0 * 86400e3,
                unit => bail!("bad unit {unit}"),
            };
        rest = &rest[unit_end..];
    }
    Ok(if negative { -ms } else { ms } as i64)
}

pub fn number(text: &str) -> Result<f64> {
    match text.to_ascii_lowercase().as_str() {
        "inf" | "+inf" => Ok(f64::INFINITY),
        "-inf" => Ok(f64::NEG_INFINITY),
        "nan" => Ok(f64::NAN),
        other => other.parse().map_err(|_| format!("bad number {text}")),
    }
}

/// Splits a line into the series and its points.
fn split_series(line: &str) -> Result<(&str, &str)> {
    let mut quoted = false;
    let mut braces = 0;
    let mut escaped = false;
    for (i, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' if !quoted => braces += 1,
            '}' if !quoted => braces -= 1,
            c if c.is_whitespace() && !quoted && braces == 0 => {
                return Ok((&line[..i], line[i..].trim()));
            }
            _ => {}
        }
    }
    Ok((line, ""))
}

/// `name{label="value"}`
pub fn labels(text: &str) -> Result<Labels> {
    let (name, inside) = match text.split_once('{') {
        Some((name, rest)) => (name, rest.strip_suffix('}').ok_or("missing brace")?),
        None => (text, ""),
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    if !name.is_empty() {
        pairs.push(("__name__".to_owned(), name.to_owned()));
    }
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let label = if rest.starts_with('"') {
            take_quoted(&mut rest)?
        } else {
            let end = rest.find('=').ok_or("missing =")?;
            let label = rest[..end].trim().to_owned();
            rest = &rest[end..];
            label
        };
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('=') {
            rest = after.trim_start();
            let value = take_quoted(&mut rest)?;
            pairs.push((label, value));
        } else {
            pairs.push(("__name__".to_owned(), label));
        }
        rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
    Ok(Labels::from_pairs(pairs))
}

fn take_quoted(rest: &mut &str) -> Result<String> {
    let inner = rest.strip_prefix('"').ok_or_else(|| format!("quote expected at {rest}"))?;
    let mut out = String::new();
    let mut chars = inner.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &inner[i + 1..];
                return Ok(out);
            }
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c)) => out.push(c),
                None => bail!("unfinished escape"),
            },
            c => out.push(c),
        }
    }
    bail!("unterminated string")
}

fn points(text: &str) -> Result<Vec<Point>> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if rest.starts_with("{{") {
            rest = take_histograms(rest, &mut out)?;
            continue;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        take_points(&rest[..end], &mut out)?;
        rest = rest[end..].trim_start();
    }
    Ok(out)
}

/// `{{…}}`, `{{…}}x5`, `{{…}}+{{…}}x5`
fn take_histograms<'t>(text: &'t str, out: &mut Vec<Point>) -> Result<&'t str> {
    let end = text.find("}}").ok_or("unfinished histogram")?;
    let (first, told) = histogram::parse(&text[2..end])?;
    let mut rest = &text[end + 2..];
    let mut step = None;
    if rest.starts_with("+{{") || rest.starts_with("-{{") {
        let end = rest.find("}}").ok_or("unfinished histogram")?;
        step = Some((rest.starts_with('-'), histogram::parse(&rest[3..end])?.0));
        rest = &rest[end + 2..];
    }
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let times = match rest[..end].strip_prefix('x') {
        Some(n) => n.parse::<usize>().map_err(|e| e.to_string())?,
        None => 0,
    };
    let mut current = first;
    for i in 0..=times {
        if let Some((negative, step)) = step.as_ref().filter(|_| i > 0) {
            let merged = if *negative { current.subtract(step) } else { current.add(step) };
            merged.map_err(|_| "histograms that do not go together")?;
        }
        out.push(Point::Histogram(Arc::new(current.clone()), told));
    }
    Ok(rest[end..].trim_start())
}

/// `-1mx5`, `-30s-1mx2`, `_`: since when points count, from their own time.
fn starts(text: &str) -> Result<Vec<Option<i64>>> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let (base, times) = match word.rsplit_once('x') {
            Some((base, n)) => (base, Some(n.parse::<usize>().map_err(|e| e.to_string())?)),
            None => (word, None),
        };
        if base == "_" {
            out.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        let split = base[1..].find(['+', '-']).map(|i| i + 1);
        let (first, step) = match split {
            Some(i) => (duration(&base[..i])?, duration(&base[i..])?),
            None => (duration(base)?, 0),
        };
        out.extend((0..=times.unwrap_or(0) as i64).map(|i| Some(first + i * step)));
    }
    Ok(out)
}

fn take_points(word: &str, out: &mut Vec<Point>) -> Result<()> {
    let (base, times) = match word.rsplit_once('x') {
        Some((base, n)) => (base, Some(n.parse::<usize>().map_err(|e| e.to_string())?)),
        None => (word, None),
    };
    if base == "_" {
        out.extend(std::iter::repeat_n(Point::Gap, times.unwrap_or(1)));
        return Ok(());
    }
    if base == "stale" {
        let stale = Point::Value(vedette_model::stale_nan());
        out.extend(std::iter::repeat_n(stale, times.map_or(1, |n| n + 1)));
        return Ok(());
    }
    let Some(times) = times else {
        out.push(Point::Value(number(base)?));
        return Ok(());
    };
    let bytes = base.as_bytes();
    let split =
        (1..bytes.len()).find(|i| matches!(bytes[*i], b'+' | b'-') && !matches!(bytes[*i - 1], b'e' | b'E'));
    let (first, step) = match split {
        Some(i) => (number(&base[..i])?, number(&base[i..])?),
        None => (number(base)?, 0.0),
    };
    let mut value = first;
    for _ in 0..=times {
        out.push(Point::Value(value));
        value += step;
    }
    Ok(())
}
