//! How names of OpenTelemetry become names of metrics and labels, by the four strategies that Prometheus
//! has: classic names or any, with or without suffixes for unit and type.

use std::borrow::Cow;

use vedette_config::prometheus::{Otlp, TranslationStrategy};

/// What decides about suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedKind {
    /// Goes up and down, and is no sum.
    Gauge,
    /// Only goes up.
    Counter,
    /// Anything else.
    Other,
}

/// Makes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namer {
    /// Whether names may have any character.
    pub is_utf8: bool,
    has_suffixes: bool,
    sanitizes_underscore: bool,
    keeps_underscores: bool,
}

impl Namer {
    pub fn new(settings: &Otlp) -> Self {
        let (is_utf8, has_suffixes) = match settings.translation_strategy {
            TranslationStrategy::UnderscoreEscapingWithSuffixes => (false, true),
            TranslationStrategy::UnderscoreEscapingWithoutSuffixes => (false, false),
            TranslationStrategy::NoUtf8EscapingWithSuffixes => (true, true),
            TranslationStrategy::NoTranslation => (true, false),
        };
        Self {
            is_utf8,
            has_suffixes,
            sanitizes_underscore: settings.label_name_underscore_sanitization,
            keeps_underscores: settings.label_name_preserve_multiple_underscores,
        }
    }

    /// The name of a metric, or why there is none.
    pub fn metric(self, name: &str, unit: &str, kind: NamedKind) -> Result<String, String> {
        let made = match (self.is_utf8, self.has_suffixes) {
            (true, true) => with_suffixes(name, unit, kind),
            (true, false) => name.to_owned(),
            (false, true) => classic_with_suffixes(name, unit, kind),
            (false, false) => classic(name),
        };
        if made.is_empty() {
            return Err(format!("the name {name:?} of a metric leaves nothing of it"));
        }
        if !self.is_utf8 && made != name && made.bytes().all(|b| b == b'_') {
            return Err(format!("the name {name:?} of a metric leaves only underscores of it"));
        }
        Ok(made)
    }

    /// The name of a label, or why there is none.
    pub fn label(self, name: &str) -> Result<Cow<'_, str>, String> {
        if name.is_empty() {
            return Err("an attribute has no name".to_owned());
        }
        let made = if self.is_utf8 { Cow::Borrowed(name) } else { self.classic_label(name) };
        if made.bytes().all(|b| b == b'_') {
            return Err(format!("the name {name:?} of an attribute leaves only underscores of it"));
        }
        Ok(made)
    }

    fn classic_label(self, name: &str) -> Cow<'_, str> {
        let clean = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let mut made = if name.bytes().all(clean) && (self.keeps_underscores || !name.contains("__")) {
            Cow::Borrowed(name)
        } else if self.keeps_underscores {
            Cow::Owned(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect())
        } else {
            let reserved = name.strip_prefix("__").and_then(|n| n.strip_suffix("__"));
            match reserved {
                Some(inner) => Cow::Owned(format!("__{}__", collapse(inner, |c| c.is_ascii_alphanumeric()))),
                None => Cow::Owned(collapse(name, |c| c.is_ascii_alphanumeric())),
            }
        };
        if made.starts_with(|c: char| c.is_ascii_digit()) {
            made = Cow::Owned(format!("key_{made}"));
        } else if self.sanitizes_underscore && made.starts_with('_') && !made.starts_with("__") {
            made = Cow::Owned(format!("key{made}"));
        }
        made
    }
}

/// The unit as metadata tells it.
pub fn unit(unit: &str) -> String {
    let (main, per) = unit_suffixes(unit);
    let parts: Vec<String> =
        [clean_unit(&main), clean_unit(&per)].into_iter().filter(|part| !part.is_empty()).collect();
    let joined = parts.join("_");
    let joined = joined.strip_prefix('_').unwrap_or(&joined);
    joined.strip_suffix('_').unwrap_or(joined).to_owned()
}

fn is_metric_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// Each stretch of characters that are not allowed becomes an underscore.
fn collapse(text: &str, is_allowed: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_allowed(c) {
            out.push(c);
        } else if !out.ends_with('_') || out.is_empty() {
            out.push('_');
        }
    }
    out
}

fn classic(name: &str) -> String {
    let parts: Vec<&str> =
        name.split(|c| !is_metric_char(c) && c != '_').filter(|part| !part.is_empty()).collect();
    before_digit(parts.join("_"))
}

fn before_digit(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn classic_with_suffixes(name: &str, unit: &str, kind: NamedKind) -> String {
    let mut tokens: Vec<Cow<'_, str>> =
        name.split(|c| !is_metric_char(c)).filter(|token| !token.is_empty()).map(Cow::Borrowed).collect();
    let (main, per) = unit_suffixes(unit);
    let (mut main, mut per) = (clean_unit(&main), clean_unit(&per));
    if tokens.iter().any(|token| *token == main) {
        main.clear();
    }
    if per == "per_" {
        per.clear();
    } else if per.ends_with('_') {
        per.pop();
    }
    if tokens.iter().any(|token| *token == per) {
        per.clear();
    }
    if !per.is_empty() && main.ends_with('_') {
        main.pop();
    }
    tokens.extend([main, per].into_iter().filter(|part| !part.is_empty()).map(Cow::Owned));
    let mut put_last = |suffix: &'static str| {
        tokens.retain(|token| *token != suffix);
        tokens.push(Cow::Borrowed(suffix));
    };
    if kind == NamedKind::Counter {
        put_last("total");
    }
    if unit == "1" && kind == NamedKind::Gauge {
        put_last("ratio");
    }
    before_digit(tokens.join("_"))
}

fn with_suffixes(name: &str, unit: &str, kind: NamedKind) -> String {
    let is_ratio = unit == "1" && kind == NamedKind::Gauge;
    let is_counter = kind == NamedKind::Counter;
    let (main, per) = unit_suffixes(unit);
    let mut base = name;
    let endings = [(is_ratio, "ratio"), (is_counter, "total"), (!per.is_empty(), per.as_ref())];
    for (_, suffix) in endings.iter().filter(|(is_there, _)| *is_there) {
        base = without_ending(base, suffix);
    }
    let mut made = base.to_owned();
    if !main.is_empty() && !made.ends_with(main.as_ref()) {
        made = format!("{made}_{main}");
    }
    for (_, suffix) in endings.iter().rev().filter(|(is_there, _)| *is_there) {
        made = format!("{made}_{suffix}");
    }
    made
}

/// A name without an ending and whatever stands before that, if anything is left then.
fn without_ending<'a>(name: &'a str, ending: &str) -> &'a str {
    let Some(rest) = name.strip_suffix(ending) else { return name };
    let mut chars = rest.chars();
    chars.next_back();
    if chars.as_str().is_empty() { name } else { chars.as_str() }
}

/// The unit in words, and the unit by which it is divided.
fn unit_suffixes(unit: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let known = |unit: &'static [(&str, &str)], text: &str| {
        unit.iter().find(|(short, _)| *short == text).map(|(_, word)| *word)
    };
    let is_note = |text: &str| text.contains(['{', '}']);
    let (main, per) = (main.trim(), per.trim());
    let main = if is_note(main) {
        Cow::Borrowed("")
    } else {
        known(UNITS, main).map_or(Cow::Borrowed(main), Cow::Borrowed)
    };
    let per = if per.is_empty() || is_note(per) {
        Cow::Borrowed("")
    } else {
        Cow::Owned(format!("per_{}", known(PER_UNITS, per).unwrap_or(per)))
    };
    (main, per)
}

fn clean_unit(unit: &str) -> String {
    let clean = collapse(unit, is_metric_char);
    clean.strip_prefix('_').map_or(clean.clone(), str::to_owned)
}

const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

const PER_UNITS: &[(&str, &str)] = &[
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn namer(strategy: TranslationStrategy) -> Namer {
        Namer::new(&Otlp { translation_strategy: strategy, ..Otlp::default() })
    }

    /// Names as the specification of compatibility and the documentation of Prometheus give them.
    #[test]
    fn each_strategy_names_metrics_its_way() {
        use TranslationStrategy::{
            NoTranslation, NoUtf8EscapingWithSuffixes, UnderscoreEscapingWithSuffixes,
            UnderscoreEscapingWithoutSuffixes,
        };
        for (name, unit, kind, expected) in [
            (
                "http.server.duration",
                "s",
                NamedKind::Other,
                [
                    "http_server_duration_seconds",
                    "http_server_duration",
                    "http.server.duration_seconds",
                    "http.server.duration",
                ],
            ),
            (
                "requests",
                "{request}",
                NamedKind::Counter,
                ["requests_total", "requests", "requests_total", "requests"],
            ),
            (
                "foo.total.bar",
                "By",
                NamedKind::Counter,
                ["foo_bar_bytes_total", "foo_total_bar", "foo.total.bar_bytes_total", "foo.total.bar"],
            ),
            (
                "disk.io",
                "By/s",
                NamedKind::Gauge,
                ["disk_io_bytes_per_second", "disk_io", "disk.io_bytes_per_second", "disk.io"],
            ),
            (
                "memory.usage",
                "1",
                NamedKind::Gauge,
                ["memory_usage_ratio", "memory_usage", "memory.usage_ratio", "memory.usage"],
            ),
            ("a__b", "", NamedKind::Gauge, ["a_b", "a__b", "a__b", "a__b"]),
            ("5xx", "", NamedKind::Gauge, ["_5xx", "_5xx", "5xx", "5xx"]),
            (
                "system.cpu.seconds",
                "s",
                NamedKind::Counter,
                [
                    "system_cpu_seconds_total",
                    "system_cpu_seconds",
                    "system.cpu.seconds_total",
                    "system.cpu.seconds",
                ],
            ),
            (
                "rate_total",
                "m/s",
                NamedKind::Counter,
                ["rate_meters_per_second_total", "rate_total", "rate_meters_per_second_total", "rate_total"],
            ),
            ("x", "/s", NamedKind::Other, ["x_per_second", "x", "x_per_second", "x"]),
            ("x", "Öl", NamedKind::Other, ["x_l", "x", "x_Öl", "x"]),
        ] {
            let strategies = [
                UnderscoreEscapingWithSuffixes,
                UnderscoreEscapingWithoutSuffixes,
                NoUtf8EscapingWithSuffixes,
                NoTranslation,
            ];
            let made = strategies.map(|s| namer(s).metric(name, unit, kind).expect(name));
            assert_eq!(made, expected, "{name} in {unit}");
        }
        for name in ["", "日本", "...", "."] {
            assert!(
                namer(UnderscoreEscapingWithSuffixes).metric(name, "", NamedKind::Other).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn labels_are_named_by_their_strategy() {
        let classic = namer(TranslationStrategy::UnderscoreEscapingWithSuffixes);
        let collapsing = Namer { keeps_underscores: false, ..classic };
        let plain = Namer { sanitizes_underscore: false, ..classic };
        let utf8 = namer(TranslationStrategy::NoTranslation);
        for (name, expected) in [
            ("http.method", ["http_method", "http_method", "http_method", "http.method"]),
            ("a..b", ["a__b", "a_b", "a__b", "a..b"]),
            ("1st", ["key_1st", "key_1st", "key_1st", "1st"]),
            ("_x", ["key_x", "key_x", "_x", "_x"]),
            ("__x__", ["__x__", "__x__", "__x__", "__x__"]),
            ("__a.-b__", ["__a__b__", "__a_b__", "__a__b__", "__a.-b__"]),
        ] {
            let made = [classic, collapsing, plain, utf8].map(|n| n.label(name).expect(name).into_owned());
            assert_eq!(made, expected, "{name}");
        }
        for name in ["", "___"] {
            assert!(classic.label(name).is_err() && utf8.label(name).is_err(), "{name}");
        }
        assert_eq!(classic.label("日").expect("a name"), "key_");
        assert!(plain.label("日").is_err());
        assert!(utf8.label("日").is_ok());
    }

    #[test]
    fn units_are_told_in_words() {
        for (given, told) in [
            ("s", "seconds"),
            ("By/s", "bytes_per_second"),
            ("{x}", ""),
            ("1", ""),
            ("a b", "a_b"),
            ("/h", "per_hour"),
        ] {
            assert_eq!(unit(given), told, "{given}");
        }
    }
}
