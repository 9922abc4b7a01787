//! Prints answers at the terminal.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use serde_json::Value;

use crate::cli::Output;

/// Prints any JSON value for programs.
pub fn value(value: &Value, output: Output) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Yaml => write!(out, "{}", serde_saphyr::to_string(value)?)?,
        Output::Json | Output::Table => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
    }
    Ok(())
}

/// Prints the `data` of a Prometheus answer as promtool does: one line a sample, a range's
/// samples below its series.
pub fn query_result(data: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let sample = |pair: &Value| {
        let (time, value) = (pair[0].as_f64().unwrap_or(0.0), pair[1].as_str().unwrap_or("").to_owned());
        (value, time)
    };
    match data["resultType"].as_str() {
        Some("vector") => {
            let rows: Vec<(String, String)> = data["result"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|row| (labels(&row["metric"]), sample(&row["value"]).0))
                .collect();
            if rows.is_empty() {
                eprintln!("empty result: no series matches now");
            }
            let width = rows.iter().map(|(l, _)| l.chars().count()).max().unwrap_or(0).min(100);
            for (labels, value) in rows {
                writeln!(out, "{labels:width$}  {value}")?;
            }
        }
        Some("matrix") => {
            for row in data["result"].as_array().into_iter().flatten() {
                writeln!(out, "{}", labels(&row["metric"]))?;
                for (value, time) in row["values"].as_array().into_iter().flatten().map(sample) {
                    writeln!(out, "  {}  {value}", clock(time))?;
                }
            }
        }
        _ => writeln!(out, "{}", sample(&data["result"]).0)?,
    }
    Ok(())
}

/// Prints one event in a line.
pub fn event(event: &Value, output: Output) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => return Ok(writeln!(out, "{}", serde_json::to_string(event)?)?),
        Output::Yaml => return Ok(write!(out, "---\n{}", serde_saphyr::to_string(event)?)?),
        Output::Table => {}
    }
    let text = |key: &str| event[key].as_str().unwrap_or("");
    let nanos: i64 = text("time_unix_nano").parse().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are shown")]
    let time = clock(nanos as f64 / 1e9);
    let kind = text("kind");
    let whose = match (text("container.name"), text("container.id")) {
        ("", "") => "host",
        ("", id) => id.get(..12).unwrap_or(id),
        (name, _) => name,
    };
    let pid = event["process.pid"].as_u64().map(|p| p.to_string()).unwrap_or_default();
    let line = format!("{time}  {kind:15}  {whose:20}  {pid:>7}  {}", detail(event));
    let colour =
        kind == "finding" && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let line = printable(&line);
    if colour {
        writeln!(out, "\x1b[1;31m{line}\x1b[0m")?;
    } else {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn detail(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or("");
    let number = |key: &str| event[key].as_u64().map(|n| n.to_string()).unwrap_or_default();
    match text("kind") {
        "finding" => event["finding"]["title"].as_str().unwrap_or("").to_owned(),
        "connection" => format!(
            "{} {} {}:{}",
            text("process.command"),
            if text("vedette.network.direction") == "inbound" { "<-" } else { "->" },
            text("network.peer.address"),
            number("network.peer.port")
        ),
        "fork" => format!("{} made {}", text("process.command"), number("vedette.child.pid")),
        "exit" => format!("{} {}", text("process.command"), number("process.exit.code")),
        "oom_kill" | "loss" => format!("{} {}", text("vedette.loss.place"), number("vedette.count")),
        _ => match text("process.command_line") {
            "" => text("process.command").to_owned(),
            line => line.to_owned(),
        },
    }
}

/// Names and arguments come from strangers: control characters must not reach the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn labels(metric: &Value) -> String {
    let pairs = metric.as_object().into_iter().flatten();
    let labels = vedette_model::Labels::from_pairs(pairs.filter_map(|(n, v)| Some((n, v.as_str()?))));
    printable(&labels.to_string())
}

/// Milliseconds as a time in UTC.
pub fn time(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms);
    time.map_or_else(|_| format!("{unix_ms} ms"), |t| t.strftime("%F %T%.3fZ").to_string())
}

fn clock(unix_seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a time out of range shows as a number")]
    let time = jiff::Timestamp::from_millisecond((unix_seconds * 1000.0).round() as i64);
    time.map_or_else(
        |_| unix_seconds.to_string(),
        |t| t.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T%.3f").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_in_one_line_without_control_characters() {
        let connection = json!({"kind": "connection", "process.command": "sh", "vedette.network.direction": "outbound",
            "network.peer.address": "10.0.0.2", "network.peer.port": 4444});
        assert_eq!(detail(&connection), "sh -> 10.0.0.2:4444");
        let exec =
            json!({"kind": "exec", "process.command": "sh", "process.command_line": "sh -c \u{1b}[2J"});
        assert_eq!(printable(&detail(&exec)), "sh -c \u{fffd}[2J");
    }
}
