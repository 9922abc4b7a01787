//! `kill -9` at any moment: what was acknowledged is there after the next start.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;
use vedette_e2e::{http, program::Vedette, wait_for, webhook::Webhook};

const KILLS: u64 = 20;

const RULES: &str = "groups:\n- name: test\n  interval: 1s\n  rules:\n  - alert: AlwaysFiring\n    expr: vector(1)\n    labels: {severity: info}\n";

#[test]
fn nothing_acknowledged_is_lost_over_twenty_kills() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hook = Webhook::start()?;
    std::fs::write(folder.path().join("rules.yml"), RULES)?;
    let config = format!(
        "rules: {{builtin: false, files: [rules.yml]}}\nnotify:\n  group_wait: 100ms\n  receivers:\n  - name: hook\n    webhook: {{url: '{}'}}\n",
        hook.url()
    );
    let mut seen_samples: BTreeMap<u64, String> = BTreeMap::new();
    let mut seen_events: BTreeMap<u64, Value> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for round in 0..KILLS {
        let mut vedette = Vedette::start(folder.path(), Some(&config))?;
        let begun = clock();
        vedette.wait_ready(Duration::from_secs(30))?;
        slowest = slowest.max(clock() - begun);
        check_samples(&vedette, &seen_samples)?;
        check_events(&vedette, &seen_events)?;
        // A different moment of the second in every round, so that flushes, seals and rule ticks are all hit.
        std::thread::sleep(Duration::from_millis(400 + 137 * round % 1900));
        let answer = http::get(vedette.address, "/api/v1/query?query=node_load1%5B1h%5D")?;
        for pair in answer.json()?["data"]["result"][0]["values"].as_array().into_iter().flatten() {
            let time = pair[0].as_f64().unwrap_or(0.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a time in milliseconds"
            )]
            seen_samples.insert((time * 1000.0).round() as u64, pair[1].as_str().unwrap_or("").to_owned());
        }
        for event in vedette.events("limit=1000")? {
            let id = event["id"].as_str().and_then(|i| i.parse().ok()).unwrap_or(0);
            seen_events.insert(id, event);
        }
        vedette.kill()?;
    }
    ensure!(seen_samples.len() as u64 > KILLS, "samples were stored in every round: {}", seen_samples.len());
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(Duration::from_secs(30))?;
    check_samples(&vedette, &seen_samples)?;
    check_events(&vedette, &seen_events)?;
    wait_for("a notification", Duration::from_secs(30), || Ok((!hook.alerts().is_empty()).then_some(())))?;
    let told = hook.alerts().iter().filter(|(n, s, _)| n == "AlwaysFiring" && s == "firing").count() as u64;
    ensure!(told <= 1 + KILLS, "{told} notifications of one alert over {KILLS} kills");
    println!(
        "slowest start to ready: {slowest:?}; {} samples, {} events, {told} notifications",
        seen_samples.len(),
        seen_events.len()
    );
    Ok(())
}

fn check_samples(vedette: &Vedette, seen: &BTreeMap<u64, String>) -> Result<()> {
    if seen.is_empty() {
        return Ok(());
    }
    let answer = vedette.get("/api/v1/query?query=node_load1%5B1h%5D")?;
    let values = answer["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in milliseconds")]
    let now: BTreeMap<u64, &str> = values
        .iter()
        .map(|p| ((p[0].as_f64().unwrap_or(0.0) * 1000.0).round() as u64, p[1].as_str().unwrap_or("")))
        .collect();
    for (time, value) in seen {
        ensure!(
            now.get(time) == Some(&value.as_str()),
            "the sample at {time} ms was {value} and is {:?}",
            now.get(time)
        );
    }
    Ok(())
}

fn check_events(vedette: &Vedette, seen: &BTreeMap<u64, Value>) -> Result<()> {
    for (id, event) in seen.iter().rev().take(200) {
        let answer = http::get(vedette.address, &format!("/api/vedette/v1/events/{id}"))?;
        ensure!(
            answer.status == 200 && answer.json()? == *event,
            "event {id} was {event} and is {}",
            answer.text()
        );
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the time of a start is told, not judged")]
fn clock() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
