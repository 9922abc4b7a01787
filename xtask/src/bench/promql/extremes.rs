//! What lies beside the queries of life: expressions made to take long, the memory of the
//! heaviest query, and a dashboard that refreshes.

use std::time::Duration;

use anyhow::Result;

use super::{
    data::Spans,
    measure::Subject,
    workload::{Case, When, request},
};
use crate::bench::{
    http::{Client, escape},
    program::Kind,
    tsdb::READY_LIMIT,
};

/// In which an error must be there.
const ERROR_GOAL: Duration = Duration::from_millis(100);
/// How long is waited for an answer to what was made to take long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Expressions that are to be refused, or answered, at once.
fn hostile() -> Vec<(&'static str, String)> {
    let deep = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let regex = |pattern: &str| format!("count({{__name__=~\"{pattern}\"}})");
    vec![
        ("1 MB: a difference of 500,000 numbers", vec!["1"; 500_000].join("-")),
        ("1 MB: one name", "a".repeat(1_000_000)),
        ("10,000 nested parentheses", deep.clone()),
        ("10,000 parentheses that stay open", deep.replace(')', "")),
        ("10,000 minus signs", format!("{}1", "-".repeat(10_000))),
        ("regular expression (((a{100}){100}){100})", regex("(((a{100}){100}){100})")),
        ("regular expression (a*)*b", regex("(a*)*(a*)*(a*)*(a*)*b")),
        ("regular expression (.*.*.*.*.*.*.*.*)x", regex(".*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*x")),
        ("regular expression of 10,000 alternatives", regex(&vec!["a.*b"; 10_000].join("|"))),
        ("regular expression of classes \\\\pL{1,900}", regex("\\\\pL{1,900}\\\\pN{1,900}")),
    ]
}

/// Prints how long each program takes until it answers what was made to take long.
pub fn hostile_rows(subjects: &mut [Subject], spans: &Spans) -> Result<()> {
    println!(
        "\nMade to take long: milliseconds until there is an answer (CPU milliseconds, extra MB): status.\n"
    );
    println!("| expression | Prometheus 2.42 | VictoriaMetrics 1.79 | Vedette |\n|---|---|---|---|");
    for (name, expr) in hostile() {
        let body = format!("query={}&time={}", escape(&expr), spans.end_ms / 1000);
        let mut cells = vec![name.replace('|', "\\|")];
        for kind in Kind::ALL {
            cells.push(match subjects.iter_mut().find(|s| s.kind == kind) {
                Some(subject) => hostile_cell(subject, &body)?,
                None => "-".to_owned(),
            });
        }
        println!("| {} |", cells.join(" | "));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn hostile_cell(subject: &mut Subject, body: &str) -> Result<String> {
    let process = &subject.program.process;
    process.reset_peak()?;
    let (resident, cpu) = (process.resident()?, process.cpu()?);
    let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
    let begun = std::time::Instant::now();
    let answer = Client::with_timeout(subject.program.address, PATIENCE).post(
        "/api/v1/query",
        headers,
        body.as_bytes(),
    );
    let took = begun.elapsed();
    let mark = if subject.kind == Kind::Vedette && took > ERROR_GOAL { " ✗" } else { "" };
    std::thread::sleep(Duration::from_millis(20));
    let restart = |subject: &mut Subject| -> Result<()> {
        subject.program.kill_and_restart(READY_LIMIT)?;
        subject.client = Client::new(subject.program.address);
        Ok(())
    };
    if subject.program.process.has_ended()? {
        restart(subject)?;
        return Ok(format!("{:.1}: the program ends", took.as_secs_f64() * 1e3));
    }
    let process = &subject.program.process;
    let extra = process.peak()?.saturating_sub(resident) as f64 / 1e6;
    let cpu = (process.cpu()? - cpu).as_millis();
    let status = match answer {
        Ok((status, _)) => status.to_string(),
        Err(_) if took >= PATIENCE => {
            // It would go on working at it.
            restart(subject)?;
            "no answer".to_owned()
        }
        Err(error) => format!("{error:#}"),
    };
    Ok(format!("{:.1} ({cpu}, {extra:.1}): {status}{mark}", took.as_secs_f64() * 1e3))
}

/// Prints the extra memory of one query in programs that have just started and are at rest.
pub fn memory_row(subjects: &mut [Subject], case: &Case) -> Result<()> {
    let mut extra = Vec::new();
    for subject in subjects.iter_mut() {
        let process = &subject.program.process;
        process.reset_peak()?;
        let before = process.resident()?;
        let (status, _) = subject.client.get(&case.target(subject.kind))?;
        let bytes = subject.program.process.peak()?.saturating_sub(before);
        println!("extra memory of {} ({status}): {:.1} MB", subject.kind.title(), bytes as f64 / 1e6);
        extra.push((subject.kind, bytes as f64));
    }
    let of = |kind| extra.iter().find(|(k, _)| *k == kind).map(|(_, bytes)| *bytes);
    if let (Some(own), Some(other)) = (of(Kind::Vedette), of(Kind::Prometheus)) {
        let share = own / other;
        let mark = if share <= 0.1 { "✓" } else { "✗" };
        println!(
            "extra memory of the heaviest query, {}: {share:.3} of Prometheus' (goal 0.1) {mark}",
            case.name
        );
    }
    Ok(())
}

/// Panels of the dashboard.
const PANELS: [&str; 6] = [
    "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
    "sum by (instance) (rate(node_network_receive_bytes_total[5m]))",
    "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
    "topk(5, rate(node_context_switches_total[1h]))",
    "max_over_time(node_load1[1h])",
    "histogram_quantile(0.99, sum by (le, path) (rate(codelab_api_request_duration_seconds_bucket[5m])))",
];
const REFRESHES: i64 = 40;
const STEP_MS: i64 = 15_000;
/// Hours that a dashboard shows; Grafana's new ones begin with 6, for which there is not enough data.
const WINDOW_HOURS: [i64; 2] = [1, 4];
/// What one round is earlier than the one before, so that it begins with nothing in the cache.
const ROUND_MS: i64 = 30 * STEP_MS;
/// For the same reason the steps of each dashboard stand between those of the others.
const DASHBOARD_MS: i64 = STEP_MS / 6;

/// Prints what dashboards take that move by a step with each refresh, with the cache of results and
/// without.
pub fn dashboard_rows(subjects: &mut [Subject], spans: &Spans, rounds: usize) -> Result<()> {
    let Some(subject) = subjects.iter_mut().find(|s| s.kind == Kind::Vedette) else { return Ok(()) };
    for (number, hours) in WINDOW_HOURS.into_iter().enumerate() {
        let last_ms = (spans.end_ms - 120_000) / STEP_MS * STEP_MS - DASHBOARD_MS * number as i64;
        dashboard_row(subject, spans, rounds, (hours, last_ms))?;
    }
    Ok(())
}

fn dashboard_row(
    subject: &mut Subject,
    spans: &Spans,
    rounds: usize,
    (hours, last_ms): (i64, i64),
) -> Result<()> {
    let mut cpu = [Duration::ZERO; 2];
    for round in 0..rounds as i64 {
        for (way, suffix) in ["", "&nocache=1"].into_iter().enumerate() {
            // Each round is a third of a step apart from the one before, and so another one to the cache.
            let end_ms = last_ms - REFRESHES * STEP_MS - round * (ROUND_MS + STEP_MS / 3);
            let targets = |number: i64| {
                let end = end_ms + number * STEP_MS;
                let start = (end - hours * 3_600_000).max(spans.node_first_ms + end_ms.rem_euclid(STEP_MS));
                PANELS.map(|panel| request(panel, When::Range { start, end, step: STEP_MS }) + suffix)
            };
            for target in targets(0) {
                subject.client.get(&target)?;
            }
            let before = subject.program.process.cpu()?;
            for target in (1..=REFRESHES).flat_map(targets) {
                subject.client.get(&target)?;
            }
            cpu[way] += subject.program.process.cpu()? - before;
        }
    }
    let per = |cpu: Duration| cpu.as_secs_f64() * 1e3 / (rounds as f64 * REFRESHES as f64);
    let [on, off] = cpu.map(per);
    let mark = if off / on >= 10.0 { "✓" } else { "✗" };
    println!(
        "\na dashboard of {} panels over {hours} h by {} s, refreshed each step: {on:.2} CPU ms a refresh with \
         the cache, {off:.2} without: {:.1} times less (goal 10) {mark}",
        PANELS.len(),
        STEP_MS / 1000,
        off / on
    );
    Ok(())
}
