//! Asks a running Vedette, for the commands `query` and `events`.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    cli::{Events, Output, Query, Server},
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
    let client = client(&args.server.url)?.timeout(ANSWER_TIMEOUT).build()?;
    let request = client.post(url(&args.server.url, path)).form(&form);
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
    // Asked for first, so that nothing happens unseen between the search and the stream.
    let live = if args.follow { Some(listen(args, &filters).await?) } else { None };
    let client = client(&args.server.url)?.timeout(ANSWER_TIMEOUT).build()?;
    let request = client.get(url(&args.server.url, "/api/vedette/v1/events")).query(&query);
    let answer = ask(request, &args.server.url).await?;
    let found = answer["events"].as_array().cloned().unwrap_or_default();
    for event in found.iter().rev() {
        print::event(event, args.output)?;
    }
    if let Some(live) = live {
        let last = found.first().and_then(event_id).unwrap_or(0);
        return follow(args, live, last).await;
    }
    if found.is_empty() {
        eprintln!("nothing found; widen --since, or look at http://…/status for what is switched off");
    } else if !answer["next"].is_null() {
        eprintln!("there are more; raise --limit or narrow the search");
    }
    Ok(())
}

/// `vedette tsdb snapshot`
pub async fn snapshot(server: &Server, skip_head: bool) -> Result<()> {
    let client = client(&server.url)?.timeout(ANSWER_TIMEOUT).build()?;
    let request = client.post(url(&server.url, "/api/v1/admin/tsdb/snapshot"));
    let answer = ask(request.form(&[("skip_head", skip_head.to_string())]), &server.url).await;
    let answer = answer.map_err(|error| match error.to_string().as_str() {
        "admin APIs disabled" => {
            anyhow::anyhow!(
                "{} makes no snapshots; set metrics.admin_api to true in its configuration",
                server.url
            )
        }
        _ => error,
    })?;
    match answer["data"]["name"].as_str() {
        Some(name) => println!("snapshots/{} below the data folder", name.escape_default()),
        None => bail!("unexpected answer: {answer}"),
    }
    Ok(())
}

/// Opens the stream of events that happen from now on.
async fn listen(args: &Events, filters: &[(&str, String)]) -> Result<reqwest::Response> {
    let response = client(&args.server.url)?
        .build()?
        .get(url(&args.server.url, "/api/vedette/v1/events/live"))
        .query(filters)
        .send()
        .await
        .with_context(|| unreachable_text(&args.server.url))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let answer = read(response, &args.server.url).await?;
    bail!("unexpected answer: {answer}")
}

/// Prints events of the stream that are newer than `last`.
async fn follow(args: &Events, mut live: reqwest::Response, mut last: u64) -> Result<()> {
    let mut buffer = Vec::new();
    while let Some(chunk) = live.chunk().await.context("the connection ended")? {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            match received(&line) {
                Some(Received::Event(id, event)) if id > last => {
                    last = id;
                    print::event(&event, args.output)?;
                    std::io::stdout().flush()?;
                }
                Some(Received::Loss(count)) => {
                    eprintln!("{count} events are missing here: they came faster than they were taken");
                }
                Some(Received::Event(..)) | None => {}
            }
        }
    }
    Ok(())
}

/// What a line of the stream tells.
#[derive(Debug, PartialEq)]
enum Received {
    /// An event, by its id.
    Event(u64, Value),
    /// So many events were too much for this reader.
    Loss(u64),
}

fn received(line: &[u8]) -> Option<Received> {
    let data: Value = serde_json::from_slice(line.strip_prefix(b"data:")?).ok()?;
    match event_id(&data) {
        Some(id) => Some(Received::Event(id, data)),
        None => data["count"].as_u64().map(Received::Loss),
    }
}

fn event_id(event: &Value) -> Option<u64> {
    event["id"].as_str()?.parse().ok()
}

async fn ask(request: reqwest::RequestBuilder, url: &str) -> Result<Value> {
    read(request.send().await.with_context(|| unreachable_text(url))?, url).await
}

/// The answer, or the error that it tells.
async fn read(response: reqwest::Response, url: &str) -> Result<Value> {
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

fn client(url: &str) -> Result<reqwest::ClientBuilder> {
    let builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(5));
    if url.starts_with("https:") {
        return Ok(builder);
    }
    // Trust is not needed here, and a machine may have no certificates to load.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let nobody = rustls::RootCertStore::empty();
    Ok(builder.tls_backend_preconfigured(config.with_root_certificates(nobody).with_no_client_auth()))
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
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_unix_seconds_or_rfc_3339() {
        assert_eq!(parse_time_ms("1.5").expect("number"), 1500);
        assert_eq!(parse_time_ms("1970-01-01T00:01:00Z").expect("RFC 3339"), 60_000);
        assert!(parse_time_ms("yesterday").expect_err("refused").to_string().contains("2026-01-31"));
        for (ms, text) in
            [(0, "0.000"), (1_700_000_000_123, "1700000000.123"), (-1, "-0.001"), (-1500, "-1.500")]
        {
            assert_eq!(seconds(ms), text);
        }
    }
    #[test]
    fn a_loss_in_the_stream_is_no_event() {
        let event = Received::Event(7, serde_json::json!({"id": "7", "kind": "exec"}));
        assert_eq!(received(b"data: {\"id\":\"7\",\"kind\":\"exec\"}\n"), Some(event));
        assert_eq!(received(b"data: {\"count\":3}\n"), Some(Received::Loss(3)));
        for line in [&b"id: 7\n"[..], b"event: loss\n", b":\n", b"data: {}\n", b"data: {\n", b"\n"] {
            assert_eq!(received(line), None);
        }
    }
}
