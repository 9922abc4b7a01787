//! Asks a running Vedette, for the commands `query` and `events`.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    cli::{Events, Output, Query},
    config::parse_duration,
    print,
};

/// Time for one answer; queries have their own limit at the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);
/// Points of a range when no step is given.
const RANGE_POINTS: u64 = 250;

/// `vedette query`
pub async fn query(args: &Query, now_ms: i64) -> Result<()> {
    let mut form = vec![("query", args.expr.clone())];
    let path = if let Some(since) = &args.since {
        let range = duration("--since", since)?;
        let end_ms = args.time.as_deref().map_or(Ok(now_ms), parse_time_ms)?;
        let step = match &args.step {
            Some(step) => duration("--step", step)?,
            None => Duration::from_secs((range.as_secs() / RANGE_POINTS).max(1)),
        };
        let start_ms = end_ms.saturating_sub(i64::try_from(range.as_millis())?);
        form.push(("start", seconds(start_ms)));
        form.push(("end", seconds(end_ms)));
        form.push(("step", step.as_secs_f64().to_string()));
        "/api/v1/query_range"
    } else {
        if let Some(time) = &args.time {
            form.push(("time", seconds(parse_time_ms(time)?)));
        }
        "/api/v1/query"
    };
    let request = client()?.post(url(&args.server.url, path)).form(&form);
    let answer = ask(request, &args.server.url).await?;
    for key in ["warnings", "infos"] {
        for text in answer[key].as_array().into_iter().flatten().filter_map(Value::as_str) {
            eprintln!("{}: {text}", key.trim_end_matches('s'));
        }
    }
    match args.output {
        Output::Table => print::query_result(&answer["data"]),
        other => print::value(&answer["data"], other),
    }
}

/// `vedette events`
pub async fn events(args: &Events, now_ms: i64) -> Result<()> {
    let since = i64::try_from(duration("--since", &args.since)?.as_millis())?;
    let mut query: Vec<(&str, String)> = args.kind.iter().map(|k| ("kind", k.clone())).collect();
    query.extend(args.container.iter().map(|c| ("container", c.clone())));
    query.extend(args.text.iter().map(|t| ("text", t.clone())));
    let filters = query.clone();
    query.push(("from", (now_ms - since).to_string()));
    query.push(("to", (now_ms + 60_000).to_string()));
    query.push(("limit", args.limit.to_string()));
    let request = client()?.get(url(&args.server.url, "/api/vedette/v1/events")).query(&query);
    let answer = ask(request, &args.server.url).await?;
    let found = answer["events"].as_array().cloned().unwrap_or_default();
    for event in found.iter().rev() {
        print::event(event, args.output)?;
    }
    if args.follow {
        let last = found.first().and_then(|e| e["id"].as_str()?.parse().ok()).unwrap_or(0);
        return follow(args, &filters, last).await;
    }
    if found.is_empty() {
        eprintln!("nothing found; widen --since, or look at http://…/status for what is switched off");
    } else if !answer["next"].is_null() {
        eprintln!("there are more; raise --limit or narrow the search");
    }
    Ok(())
}

async fn follow(args: &Events, filters: &[(&str, String)], mut last: u64) -> Result<()> {
    let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build()?;
    let mut response = client
        .get(url(&args.server.url, "/api/vedette/v1/events/live"))
        .query(filters)
        .send()
        .await
        .with_context(|| unreachable_text(&args.server.url))?;
    if !response.status().is_success() {
        bail!("{}: {}", response.status(), response.text().await?);
    }
    let mut buffer = Vec::new();
    while let Some(chunk) = response.chunk().await.context("the connection ended")? {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            let Ok(event) = serde_json::from_slice::<Value>(data) else { continue };
            let id = event["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
            if id > last {
                last = id;
                print::event(&event, args.output)?;
                std::io::stdout().flush()?;
            }
        }
    }
    Ok(())
}

async fn ask(request: reqwest::RequestBuilder, url: &str) -> Result<Value> {
    let response = request.send().await.with_context(|| unreachable_text(url))?;
    let status = response.status();
    let body = response.bytes().await.context("the answer broke off")?;
    let answer: Value = serde_json::from_slice(&body)
        .with_context(|| format!("{url} answered {status}, but no JSON; is it a Vedette?"))?;
    if !status.is_success() {
        let error = answer["error"].as_str().unwrap_or("no reason given");
        match answer["remedy"].as_str().filter(|r| !r.is_empty()) {
            Some(remedy) => bail!("{error}; {remedy}"),
            None => bail!("{error}"),
        }
    }
    Ok(answer)
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).timeout(ANSWER_TIMEOUT).build()?)
}

fn unreachable_text(url: &str) -> String {
    format!("no Vedette answers at {url}; start one with `vedette up`, or name another with --url")
}

fn url(base: &str, path: &str) -> String {
    format!("{}{path}", base.trim_end_matches('/'))
}

fn duration(flag: &str, text: &str) -> Result<Duration> {
    parse_duration(text)
        .filter(|d| !d.is_zero())
        .with_context(|| format!("{flag} {text:?} is no duration; write for example 30s, 5m, 2h, 1d"))
}

pub fn parse_time_ms(text: &str) -> Result<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "times beyond the range are refused by the server"
        )]
        return Ok((seconds * 1000.0).round() as i64);
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        anyhow::anyhow!("{text:?} is no time; write Unix seconds or for example 2026-01-31T12:00:00Z")
    })?;
    Ok(time.as_millisecond())
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_unix_seconds_or_rfc_3339() {
        assert_eq!(parse_time_ms("1.5").expect("number"), 1500);
        assert_eq!(parse_time_ms("1970-01-01T00:01:00Z").expect("RFC 3339"), 60_000);
        assert!(parse_time_ms("yesterday").expect_err("refused").to_string().contains("2026-01-31"));
        assert_eq!(seconds(-1500), "-2.500");
    }
}
