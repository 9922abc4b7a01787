//! `/api/v1/series`, `/api/v1/labels`, `/api/v1/label/<name>/values`, `/api/v1/metadata`.

use std::sync::Arc;

use vedette_model::{LabelQuery, MetricReader, Notes, ReadError};
use vedette_wire::prometheus::{self as wire, ErrorType};

use super::{CUT, Failure, give, invalid, limit, matcher_sets, time_range};
use crate::{request::Call, routes::Handled};

/// Lists series.
pub fn series(call: Call) -> Handled {
    Box::pin(async move {
        if call.params.all("match[]").next().is_none() {
            return give(Err((ErrorType::BadData, "no match[] parameter provided".to_owned())));
        }
        give(list(call, |reader, query| reader.series(query), wire::label_sets).await)
    })
}

/// Lists label names.
pub fn labels(call: Call) -> Handled {
    Box::pin(async move { give(list(call, |reader, query| reader.label_names(query), wire::texts).await) })
}

/// Lists the values of a label.
pub fn label_values(call: Call) -> Handled {
    Box::pin(async move {
        let name = unescape_name(&call.parts[0]);
        if name.is_empty() || name.contains(char::REPLACEMENT_CHARACTER) {
            return give(Err((ErrorType::BadData, format!("invalid label name: {name:?}"))));
        }
        give(list(call, move |reader, query| reader.label_values(&name, query), wire::texts).await)
    })
}

/// Lists metadata.
pub fn metadata(call: Call) -> Handled {
    Box::pin(async move { give(metadata_body(call).await) })
}

async fn metadata_body(call: Call) -> Result<Vec<u8>, Failure> {
    let number = |name: &str, what: &str| match call.params.given(name) {
        None => Ok(None),
        Some(text) => match text.parse::<i64>() {
            // Prometheus takes a negative number for no limit.
            Ok(number) => Ok(usize::try_from(number).ok()),
            Err(_) => Err((ErrorType::BadData, format!("{what} must be a number"))),
        },
    };
    let limit = number("limit", "limit")?;
    let per_family = number("limit_per_metric", "limit_per_metric")?.filter(|n| *n > 0);
    let family = call.params.given("metric").map(str::to_owned);
    let shared = call.shared.clone();
    let run = move |_: &_| {
        let found = match limit {
            Some(0) => Vec::new(),
            limit => shared.app.series.metadata(family.as_deref(), limit.unwrap_or(0)),
        };
        wire::answer(|out| wire::metadata(out, &found, per_family.unwrap_or(usize::MAX)))
    };
    Ok(call.shared.gate.run(&call.client, None, run).await?)
}

/// Runs one of the store's listings and writes its answer.
async fn list<T: Send + 'static>(
    call: Call,
    read: impl FnOnce(&dyn MetricReader, &LabelQuery) -> Result<Vec<T>, ReadError> + Send + 'static,
    write: impl FnOnce(&mut Vec<u8>, &[T]) + Send + 'static,
) -> Result<Vec<u8>, Failure> {
    let limit = limit(&call.params)?;
    let range = time_range(&call.params)?;
    let shared = call.shared.clone();
    let run = move |_: &_| {
        // Many regular expressions take long to parse.
        let matcher_sets = matcher_sets(&call.params)?;
        if range.end_ms < range.start_ms {
            return Err(invalid("end", "end timestamp must not be before start time"));
        }
        // One more than wanted shows whether anything is left out.
        let query =
            LabelQuery { matcher_sets, range, limit: if limit == 0 { 0 } else { limit.saturating_add(1) } };
        let series = &call.shared.app.series;
        let notes = Arc::<Notes>::default();
        let noting = series.noting(&notes);
        let mut found = read(noting.as_deref().unwrap_or(series.as_ref()), &query)
            .map_err(|e| (ErrorType::Execution, e.to_string()))?;
        let mut warnings = notes.all();
        if limit > 0 && found.len() > limit {
            found.truncate(limit);
            warnings.push(CUT.to_owned());
        }
        let mut out = Vec::with_capacity(64 + found.len() * 64);
        wire::success(&mut out, &warnings, &[], |out| write(out, &found));
        Ok(out)
    };
    shared.gate.run(&call.client, None, run).await?
}

/// A name may be written as `U__` and codes, so that it fits where only classic names do:
/// `__` stands for `_`, and `_2e_` for the character of that number.
fn unescape_name(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '_' {
            out.push(c);
            continue;
        }
        let Some((code, tail)) = rest.split_once('_') else { return name.to_owned() };
        if code.is_empty() {
            out.push('_');
        } else {
            match u32::from_str_radix(code, 16).ok().and_then(char::from_u32) {
                Some(c) if code.len() <= 6 => out.push(c),
                _ => return name.to_owned(),
            }
        }
        rest = tail;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U__a_1f600_b", "a😀b"),
            ("U__a_", "U__a_"),
            ("U__a_zz_", "U__a_zz_"),
            ("U__a_d800_", "U__a_d800_"),
            ("U__a_ffffffffff_", "U__a_ffffffffff_"),
        ] {
            assert_eq!(unescape_name(escaped), name);
        }
    }
}
