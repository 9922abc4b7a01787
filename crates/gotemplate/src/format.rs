//! Go's `fmt`: printing values with verbs, and floats as `strconv` writes them.

use crate::{
    Value,
    escape::{quote, quote_rune},
};

/// The text would be longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is longer than {0} bytes")]
pub struct TooLong(pub usize);

/// A width or precision beyond this is an error, as in Go.
const WIDTH_MAX: usize = 1_000_000;

/// From this decimal exponent on, the shortest form of a float is written with an exponent.
const SHORTEST_EXPONENT_MAX: i32 = 6;

/// Nesting of lists, maps and objects that is printed.
const DEPTH_MAX: usize = 32;

/// `fmt.Sprintf`.
pub fn sprintf(format: &str, args: &[Value], bytes_max: usize) -> Result<String, TooLong> {
    let mut printer = Printer::new(bytes_max);
    printer.format(format, args);
    printer.finish()
}

/// `fmt.Sprint`: a space between two operands when neither is a string.
pub fn sprint(args: &[Value], bytes_max: usize) -> Result<String, TooLong> {
    let mut printer = Printer::new(bytes_max);
    for (i, arg) in args.iter().enumerate() {
        let strings = i > 0 && (arg.as_str().is_some() || args[i - 1].as_str().is_some());
        if i > 0 && !strings {
            printer.push(" ");
        }
        printer.value(arg, 'v', &Spec::default(), 0);
    }
    printer.finish()
}

/// `fmt.Sprintln`.
pub fn sprintln(args: &[Value], bytes_max: usize) -> Result<String, TooLong> {
    let mut printer = Printer::new(bytes_max);
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            printer.push(" ");
        }
        printer.value(arg, 'v', &Spec::default(), 0);
    }
    printer.push("\n");
    printer.finish()
}

/// `strconv.FormatFloat` for `e`, `f` and `g`; without precision the shortest text that reads
/// back as the same number.
pub fn float(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let precision = precision.map(|p| p.min(1100));
    match verb {
        'e' => exponential(&scientific(value, precision), 2),
        'f' => match precision {
            Some(p) => format!("{value:.p$}"),
            None => format!("{value}"),
        },
        _ => general(value, precision),
    }
}

fn scientific(value: f64, fraction_digits: Option<usize>) -> String {
    match fraction_digits {
        Some(p) => format!("{value:.p$e}"),
        None => format!("{value:e}"),
    }
}

/// Rust writes `1.5e6`, Go `1.5e+06`.
fn exponential(text: &str, digits_min: usize) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
    format!("{mantissa}e{sign}{digits:0>digits_min$}")
}

fn general(value: f64, precision: Option<usize>) -> String {
    let significant = precision.map(|p| p.max(1));
    let text = scientific(value, significant.map(|p| p - 1));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let exponent_max = significant.map_or(SHORTEST_EXPONENT_MAX, |p| i32::try_from(p).unwrap_or(i32::MAX));
    if exponent < -4 || exponent >= exponent_max {
        return exponential(&format!("{mantissa}e{exponent}"), 2);
    }
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    let fraction = match usize::try_from(-exponent) {
        Ok(below) => below + digits - 1,
        Err(_) => digits.saturating_sub(whole),
    };
    format!("{value:.fraction$}")
}

#[derive(Debug, Clone, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer {
    text: String,
    bytes_max: usize,
    full: bool,
}

impl Printer {
    fn new(bytes_max: usize) -> Self {
        Self { text: String::new(), bytes_max, full: false }
    }

    fn finish(self) -> Result<String, TooLong> {
        if self.full { Err(TooLong(self.bytes_max)) } else { Ok(self.text) }
    }

    fn push(&mut self, text: &str) {
        if self.full || self.text.len() + text.len() > self.bytes_max {
            self.full = true;
            return;
        }
        self.text.push_str(text);
    }

    fn pad(&mut self, text: &str, spec: &Spec) {
        let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
        if missing == 0 {
            return self.push(text);
        }
        if missing > self.bytes_max {
            self.full = true;
            return;
        }
        if spec.minus {
            self.push(text);
            self.push(&" ".repeat(missing));
        } else {
            self.push(&if spec.zero { "0" } else { " " }.repeat(missing));
            self.push(text);
        }
    }

    fn format(&mut self, format: &str, args: &[Value]) {
        let mut rest = format;
        let mut next_arg = 0;
        let mut reordered = false;
        while !self.full {
            let Some(percent) = rest.find('%') else {
                self.push(rest);
                break;
            };
            self.push(&rest[..percent]);
            rest = &rest[percent + 1..];
            let mut cursor = Cursor { rest, next_arg, args, good_index: true, indexed: false, problem: None };
            let spec = cursor.spec();
            reordered |= cursor.indexed;
            let problem = cursor.problem.take();
            if let Some(problem) = problem {
                self.push(problem);
            }
            let Some(verb) = cursor.rest.chars().next() else {
                self.push("%!(NOVERB)");
                return;
            };
            rest = &cursor.rest[verb.len_utf8()..];
            next_arg = cursor.next_arg;
            if verb == '%' {
                self.push("%");
            } else if !cursor.good_index {
                self.push(&format!("%!{verb}(BADINDEX)"));
            } else if let Some(arg) = args.get(next_arg) {
                self.value(arg, verb, &spec, 0);
                next_arg += 1;
            } else {
                self.push(&format!("%!{verb}(MISSING)"));
            }
        }
        if !reordered && next_arg < args.len() {
            self.push("%!(EXTRA ");
            for (i, arg) in args[next_arg..].iter().enumerate() {
                if i > 0 {
                    self.push(", ");
                }
                if matches!(arg, Value::Nil) {
                    self.push("<nil>");
                } else {
                    self.push(&arg.type_name());
                    self.push("=");
                    self.value(arg, 'v', &Spec::default(), 0);
                }
            }
            self.push(")");
        }
    }

    fn value(&mut self, value: &Value, verb: char, spec: &Spec, depth: usize) {
        if self.full || depth > DEPTH_MAX {
            return;
        }
        match (value, verb) {
            (_, 'T') => self.pad(&value.type_name(), spec),
            (Value::Nil, 'v') => self.pad("<nil>", spec),
            (Value::Nil, _) => self.bad_verb(value, verb),
            (Value::Bool(b), 't' | 'v') => self.pad(if *b { "true" } else { "false" }, spec),
            (Value::Int(i), _) => self.int(*i, verb, spec),
            (Value::Float(f), _) => self.float(*f, verb, spec),
            (Value::Str(text), _) => self.string(text, value, verb, spec),
            (Value::List(items), _) => self.items(items, verb, spec, depth),
            (Value::Map(map), _) => {
                let go = verb == 'v' && spec.sharp;
                self.push(&if go { format!("{}{{", value.type_name()) } else { "map[".to_owned() });
                for (i, (key, item)) in map.entries.iter().enumerate() {
                    if i > 0 {
                        self.push(if go { ", " } else { " " });
                    }
                    self.value(&Value::Str(key.clone()), verb, spec, depth + 1);
                    self.push(":");
                    self.value(item, verb, spec, depth + 1);
                }
                self.push(if go { "}" } else { "]" });
            }
            (Value::Object(object), _) => match (object.text(), object.underlying()) {
                (Some(text), _) if matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') => {
                    self.string(&text, value, verb, spec);
                }
                (_, Some(plain)) => self.value(plain, verb, spec, depth + 1),
                _ => {
                    self.push("{");
                    for (i, (name, field)) in object.fields().into_iter().enumerate() {
                        if i > 0 {
                            self.push(" ");
                        }
                        if spec.plus && verb == 'v' {
                            self.push(name);
                            self.push(":");
                        }
                        self.value(&field, verb, spec, depth + 1);
                    }
                    self.push("}");
                }
            },
            _ => self.bad_verb(value, verb),
        }
    }

    fn items(&mut self, items: &[Value], verb: char, spec: &Spec, depth: usize) {
        let go = verb == 'v' && spec.sharp;
        self.push(if go { "[]interface {}{" } else { "[" });
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.push(if go { ", " } else { " " });
            }
            self.value(item, verb, spec, depth + 1);
        }
        self.push(if go { "}" } else { "]" });
    }

    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.push(&format!("%!{verb}("));
        if matches!(value, Value::Nil) {
            self.push("<nil>");
        } else {
            self.push(&value.type_name());
            self.push("=");
            self.value(value, 'v', &Spec::default(), DEPTH_MAX);
        }
        self.push(")");
    }

    fn int(&mut self, value: i64, verb: char, spec: &Spec) {
        let magnitude = value.unsigned_abs();
        let digits = match verb {
            'v' | 'd' => magnitude.to_string(),
            'b' => format!("{magnitude:b}"),
            'o' | 'O' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            'c' | 'q' => {
                let c = u32::try_from(value).ok().and_then(char::from_u32).unwrap_or('\u{FFFD}');
                let text = if verb == 'c' { c.to_string() } else { quote_rune(c, spec.plus) };
                return self.pad(&text, spec);
            }
            'U' => return self.pad(&format!("U+{value:04X}"), spec),
            _ => return self.bad_verb(&Value::Int(value), verb),
        };
        if value == 0 && spec.precision == Some(0) {
            return self.pad("", &Spec { zero: false, ..spec.clone() });
        }
        let sign = match (value < 0, spec.plus, spec.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let prefix = match (verb, spec.sharp) {
            ('O', _) => "0o",
            ('b', true) => "0b",
            ('o', true) if !digits.starts_with('0') => "0",
            ('x', true) => "0x",
            ('X', true) => "0X",
            _ => "",
        };
        let zeros_to = match (spec.precision, spec.width) {
            (Some(p), _) => p,
            (None, Some(w)) if spec.zero && !spec.minus => w.saturating_sub(sign.len()),
            _ => 0,
        };
        if zeros_to > self.bytes_max {
            self.full = true;
            return;
        }
        // A width handed to `format!` must fit 16 bits, else it panics.
        let zeros = "0".repeat(zeros_to.saturating_sub(digits.len()));
        let text = format!("{sign}{prefix}{zeros}{digits}");
        self.pad(&text, &Spec { zero: false, ..spec.clone() });
    }

    fn float(&mut self, value: f64, verb: char, spec: &Spec) {
        let precision = spec.precision;
        let text = match verb {
            'v' | 'g' | 'G' => float(value, 'g', precision),
            'e' | 'E' => float(value, 'e', Some(precision.unwrap_or(6))),
            'f' | 'F' => float(value, 'f', Some(precision.unwrap_or(6))),
            'x' | 'X' => hexadecimal(value),
            'b' => binary(value),
            _ => return self.bad_verb(&Value::Float(value), verb),
        };
        let text =
            if matches!(verb, 'G' | 'E' | 'X') && value.is_finite() { text.to_uppercase() } else { text };
        if !value.is_finite() {
            let text = if value.is_nan() && spec.plus { "+NaN".to_owned() } else { text };
            return self.pad(&text, &Spec { zero: false, ..spec.clone() });
        }
        let (sign, digits) = match (text.strip_prefix('-'), spec.plus, spec.space) {
            (Some(digits), ..) => ("-", digits),
            (None, true, _) => ("+", text.as_str()),
            (None, _, true) => (" ", text.as_str()),
            _ => ("", text.as_str()),
        };
        if spec.zero && !spec.minus && !sign.is_empty() {
            self.push(sign);
            let width = spec.width.map(|w| w.saturating_sub(1));
            return self.pad(digits, &Spec { width, ..spec.clone() });
        }
        self.pad(&format!("{sign}{digits}"), spec);
    }

    fn string(&mut self, text: &str, value: &Value, verb: char, spec: &Spec) {
        let cut: &str = match spec.precision {
            Some(p) => text.char_indices().nth(p).map_or(text, |(i, _)| &text[..i]),
            None => text,
        };
        match verb {
            'v' if spec.sharp => self.pad(&quote(text, false), spec),
            'v' | 's' => self.pad(cut, spec),
            'q' if spec.sharp && !cut.contains(['`', '\n']) => self.pad(&format!("`{cut}`"), spec),
            'q' => self.pad(&quote(cut, spec.plus), spec),
            'x' | 'X' => {
                let bytes = &text.as_bytes()[..spec.precision.unwrap_or(text.len()).min(text.len())];
                let mut out = String::with_capacity(bytes.len() * 2);
                for (i, b) in bytes.iter().enumerate() {
                    if i > 0 && spec.space {
                        out.push(' ');
                    }
                    if spec.sharp && (i == 0 || spec.space) {
                        out.push_str(if verb == 'x' { "0x" } else { "0X" });
                    }
                    out.push_str(&if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") });
                }
                self.pad(&out, spec);
            }
            _ => self.bad_verb(value, verb),
        }
    }
}

fn hexadecimal(value: f64) -> String {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value == 0.0 || !value.is_finite() {
        return if value.is_finite() { format!("{sign}0x0p+00") } else { float(value, 'g', None) };
    }
    let (mantissa, exponent) = parts(value.abs());
    let shift = mantissa.leading_zeros();
    let normal = mantissa << shift;
    let exponent = exponent + 63 - i32::try_from(shift).unwrap_or(0);
    let fraction = format!("{:016x}", normal << 1);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}0x1{dot}{fraction}p{exponent_sign}{:02}", exponent.abs())
}

fn binary(value: f64) -> String {
    if !value.is_finite() {
        return float(value, 'g', None);
    }
    let (mantissa, exponent) = parts(value.abs());
    let sign = if value.is_sign_negative() { "-" } else { "" };
    format!("{sign}{mantissa}p{exponent:+}")
}

/// Mantissa and exponent of a finite number: `mantissa * 2^exponent`.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let field = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = bits & ((1 << 52) - 1);
    if field == 0 { (fraction, -1074) } else { (fraction | (1 << 52), field - 1075) }
}

/// Reads what stands between `%` and the verb.
struct Cursor<'a> {
    rest: &'a str,
    next_arg: usize,
    args: &'a [Value],
    good_index: bool,
    indexed: bool,
    problem: Option<&'static str>,
}

impl Cursor<'_> {
    fn spec(&mut self) -> Spec {
        let mut spec = Spec::default();
        while let Some(c) = self.rest.chars().next() {
            match c {
                '#' => spec.sharp = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                ' ' => spec.space = true,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        self.index();
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            match self.star() {
                Some(width) => {
                    spec.minus |= width < 0;
                    spec.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.problem = Some("%!(BADWIDTH)"),
            }
        } else {
            spec.width = self.number();
        }
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            self.index();
            if let Some(rest) = self.rest.strip_prefix('*') {
                self.rest = rest;
                match self.star() {
                    Some(precision) => spec.precision = usize::try_from(precision).ok(),
                    None => self.problem = Some("%!(BADPREC)"),
                }
            } else {
                spec.precision = Some(self.number().unwrap_or(0));
            }
        }
        self.index();
        spec
    }

    fn number(&mut self) -> Option<usize> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = self.rest[..digits].parse().ok().filter(|n| *n <= WIDTH_MAX);
        self.rest = &self.rest[digits..];
        number
    }

    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next_arg);
        self.next_arg += 1;
        match arg {
            Some(Value::Int(n)) if n.unsigned_abs() <= WIDTH_MAX as u64 => Some(*n),
            _ => None,
        }
    }

    /// `[n]`: the next argument is the n-th.
    fn index(&mut self) {
        let Some(rest) = self.rest.strip_prefix('[') else { return };
        self.indexed = true;
        let Some(end) = rest.find(']') else {
            self.good_index = false;
            self.rest = rest;
            return;
        };
        match rest[..end].parse::<usize>() {
            Ok(n) if (1..=self.args.len()).contains(&n) => self.next_arg = n - 1,
            _ => self.good_index = false,
        }
        self.rest = &rest[end + 1..];
    }
}
