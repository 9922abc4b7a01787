//! Prometheus' functions for labels and annotations.

use std::any::Any;

use vedette_gotemplate::{
    Functions, Object, Param, Signature, Value,
    time::{Duration, Time},
};
use vedette_model::Labels;

use crate::{duration::parse_duration_ms, humanize};

/// One sample in the answer to `query`.
#[derive(Debug, Clone)]
pub(crate) struct TemplateSample {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// Bytes that a replacement in a text may come to.
const REPLACED_BYTES_MAX: usize = 1 << 20;

/// Runs a query for a template.
pub(crate) type Query<'a> = dyn Fn(&str) -> Result<Vec<TemplateSample>, String> + 'a;

/// The functions at execution.
pub(crate) struct RuleFunctions<'a> {
    pub(crate) query: &'a Query<'a>,
    pub(crate) now_ms: i64,
    pub(crate) external_url: &'a str,
}

/// The functions at parsing: only their names and parameters count.
pub(crate) struct NamesOnly;

impl Functions for NamesOnly {
    fn signature(&self, name: &str) -> Option<Signature> {
        signature(name)
    }

    fn call(&self, name: &str, _args: &[Value]) -> Result<Value, String> {
        Err(format!("{name} cannot be called here"))
    }
}

fn signature(name: &str) -> Option<Signature> {
    use Param::{Any, Str};
    Some(match name {
        "query" | "title" | "toUpper" | "toLower" | "graphLink" | "tableLink" | "stripPort"
        | "stripDomain" | "parseDuration" | "safeHtml" | "urlQueryEscape" => Signature::fixed(&[Str]),
        "first" | "value" | "strvalue" | "humanize" | "humanize1024" | "humanizeDuration"
        | "humanizePercentage" | "humanizeTimestamp" | "toTime" | "toDuration" => Signature::fixed(&[Any]),
        "label" | "sortByLabel" => Signature::fixed(&[Str, Any]),
        "match" => Signature::fixed(&[Str, Str]),
        "reReplaceAll" => Signature::fixed(&[Str, Str, Str]),
        "args" => Signature::variadic(&[Any]),
        "externalURL" | "pathPrefix" | "now" => Signature::fixed(&[]),
        _ => return None,
    })
}

impl Functions for RuleFunctions<'_> {
    fn signature(&self, name: &str) -> Option<Signature> {
        signature(name)
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        let text = |i: usize| args.get(i).and_then(Value::as_str).unwrap_or_default();
        let any = |i: usize| args.get(i).unwrap_or(&Value::Nil);
        Ok(match name {
            "query" => Value::list((self.query)(text(0))?.into_iter().map(Value::object)),
            "first" => {
                let items = any(0).as_list().ok_or_else(|| wrong(any(0), "template.queryResult"))?;
                items.first().ok_or("first() called on vector with no elements")?.clone()
            }
            "label" => sample(any(1))?.labels.get(text(0)).unwrap_or_default().into(),
            "value" => sample(any(0))?.value.into(),
            "strvalue" => sample(any(0))?.labels.get("__value__").unwrap_or_default().into(),
            "sortByLabel" => sort_by_label(text(0), any(1))?,
            "args" => {
                let numbered = args.iter().enumerate().map(|(i, v)| (format!("arg{i}").into(), v.clone()));
                Value::map(numbered)
            }
            "humanize" => humanize::metric(number(any(0))?).into(),
            "humanize1024" => humanize::binary(number(any(0))?).into(),
            "humanizeDuration" => humanize::duration(number(any(0))?).into(),
            "humanizePercentage" => humanize::percentage(number(any(0))?).into(),
            "humanizeTimestamp" => humanize::timestamp(number(any(0))?)?.into(),
            "toTime" => Value::object(humanize::time(number(any(0))?)?),
            "toDuration" => Value::object(Duration((number(any(0))? * 1e9) as i64)),
            "now" => (self.now_ms as f64 / 1000.0).into(),
            "title" => title(text(0)).into(),
            "toUpper" => text(0).to_uppercase().into(),
            "toLower" => text(0).to_lowercase().into(),
            "match" => pattern(text(0))?.is_match(text(1)).into(),
            "reReplaceAll" => replace_all(&pattern(text(0))?, text(2), text(1))?.into(),
            "graphLink" => format!("/graph?g0.expr={}&g0.tab=0", url_query(text(0))).into(),
            "tableLink" => format!("/graph?g0.expr={}&g0.tab=1", url_query(text(0))).into(),
            "urlQueryEscape" => url_query(text(0)).into(),
            "safeHtml" => text(0).into(),
            "stripPort" => strip_port(text(0)).into(),
            "stripDomain" => strip_domain(text(0)).into(),
            "parseDuration" => (parse_duration_ms(text(0))? as f64 / 1000.0).into(),
            "externalURL" => self.external_url.into(),
            "pathPrefix" => path(self.external_url).into(),
            _ => return Err(format!("function {name:?} not defined")),
        })
    }
}

fn wrong(value: &Value, expected: &str) -> String {
    format!("wrong type for value; expected {expected}; got {}", value.type_name())
}

fn sample(value: &Value) -> Result<&TemplateSample, String> {
    value.downcast().ok_or_else(|| wrong(value, "*template.sample"))
}

fn sort_by_label(label: &str, list: &Value) -> Result<Value, String> {
    let items = list.as_list().ok_or_else(|| wrong(list, "template.queryResult"))?;
    let mut samples = items.iter().map(sample).collect::<Result<Vec<_>, _>>()?;
    samples
        .sort_by(|a, b| a.labels.get(label).unwrap_or_default().cmp(b.labels.get(label).unwrap_or_default()));
    Ok(Value::list(samples.into_iter().cloned().map(Value::object)))
}

fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(f) => Ok(*f),
        Value::Int(i) => Ok(*i as f64),
        Value::Str(text) => {
            go_float(text).ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
        }
        other => match (other.downcast::<Duration>(), other.downcast::<Time>()) {
            (Some(d), _) => Ok(d.0 as f64 / 1e9),
            (_, Some(t)) => Ok(t.unix_ns() as f64 / 1e9),
            _ => Err(format!("can't convert {} to float", other.type_name())),
        },
    }
}

fn go_float(text: &str) -> Option<f64> {
    text.parse().ok().or_else(|| match text.to_ascii_lowercase().trim_start_matches('+') {
        "inf" | "infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        _ => None,
    })
}

fn pattern(text: &str) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(text).size_limit(1 << 20).build().map_err(|e| {
        format!("error parsing regexp {text:?}: {}", e.to_string().lines().last().unwrap_or_default())
    })
}

/// Go and Rust write groups in a replacement alike. A short replacement of each character of a
/// long text can be far longer than both, so it ends before memory is taken for it.
fn replace_all(pattern: &regex::Regex, text: &str, replacement: &str) -> Result<String, String> {
    let groups = replacement.matches('$').count();
    let mut out = String::new();
    let mut done = 0;
    for found in pattern.captures_iter(text) {
        let whole = found.get_match();
        out.push_str(&text[done..whole.start()]);
        done = whole.end();
        // A group lies within what was found.
        if out.len() + replacement.len() + groups * whole.len() > REPLACED_BYTES_MAX {
            return Err(format!("the text is longer than {REPLACED_BYTES_MAX} bytes"));
        }
        found.expand(replacement, &mut out);
    }
    out.push_str(&text[done..]);
    Ok(out)
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        start = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    out
}

fn url_query(text: &str) -> String {
    let escape = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
        b' ' => "+".into(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// The address of a rule's expression in the web app.
pub(crate) fn table_link(external_url: &str, query: &str) -> String {
    format!("{}/graph?g0.expr={}&g0.tab=1", external_url.trim_end_matches('/'), url_query(query))
}

fn strip_port(host_port: &str) -> &str {
    match host_port.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            match inner {
                Some(inner) => inner,
                None if host.contains(':') => host_port,
                None => host,
            }
        }
        _ => host_port,
    }
}

/// Keeps the first part of a host name, and the port; addresses stay as they are.
fn strip_domain(host_port: &str) -> String {
    let host = strip_port(host_port);
    if host.parse::<std::net::IpAddr>().is_ok() {
        return host_port.to_owned();
    }
    let short = host.split('.').next().unwrap_or(host);
    match host_port.strip_prefix(host) {
        Some(port) => format!("{short}{port}"),
        None => short.to_owned(),
    }
}

fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |i| &rest[i..])
}

impl Object for TemplateSample {
    fn type_name(&self) -> &str {
        "*template.sample"
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Labels" => Some(Value::string_map(&self.labels)),
            "Value" => Some(self.value.into()),
            _ => None,
        }
    }
}
