//! Scripts on a simulated clock. Lines, in order of time:
//!
//! ```text
//! series up{job="a"} 1x10 0x5 _x3 0+2x4      one value each step: repeats, gaps, counting up
//! at 1m expect pending Down                  also firing, inactive
//! at 1m expect notify firing Down            a message since the last such line; also resolved
//! at 1m expect silence                       no message since the last such line
//! at 1m expect value ALERTS{...} 1           also: none
//! at 1m finding shell critical
//! at 1m receiver down                        also: up, refuses
//! at 1m restart 10s                          the process ends, and begins again 10 s later
//! ```

use std::sync::Arc;

use vedette_model::{Finding, FindingState, Labels, Severity};
use vedette_promql::{Engine, EngineConfig, Value, memory::MemoryReader, parse};

use crate::{Alerting, Config, Intent, Receiver, Route, load, parse_duration_ms};

/// Not 0, so that nothing depends on the epoch.
const START_MS: i64 = 1_700_000_000_000;

pub(crate) fn config() -> Config {
    Config {
        receivers: vec![Receiver::all("hook")],
        route: Route { group_wait_ms: 5_000, group_interval_ms: 30_000, ..Route::default() },
        ..Config::default()
    }
}

#[derive(PartialEq)]
enum Hook {
    Up,
    Down,
    Refuses,
}

/// Runs a script over rule files; a failing line panics with its text.
pub(crate) fn run(step: &str, config: &Config, files: &[&str], script: &str) {
    let step_ms = parse_duration_ms(step).unwrap();
    let groups = || -> Vec<crate::Group> {
        files.iter().flat_map(|text| load("rules.yml", text).unwrap_or_else(|e| panic!("{}", e[0]))).collect()
    };
    let fresh = || Alerting::new(config.clone(), groups(), Arc::new(|| 0)).unwrap();
    let lines: Vec<&str> =
        script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let mut store = MemoryReader::new();
    let mut end_ms = START_MS;
    let mut orders = Vec::new();
    for line in lines {
        if let Some(rest) = line.strip_prefix("series ") {
            push_series(&mut store, rest, step_ms);
        } else {
            let (time, order) = line.strip_prefix("at ").and_then(|r| r.split_once(' ')).expect(line);
            let at_ms = START_MS + parse_duration_ms(time).unwrap();
            end_ms = end_ms.max(at_ms);
            orders.push((at_ms, order, line));
        }
    }
    let source = store;
    let mut store = MemoryReader::new();
    let engine = Engine::new(EngineConfig::default());
    let mut alerting = fresh();
    let mut hook = Hook::Up;
    let mut waiting: Vec<Intent> = Vec::new();
    let mut heard: Vec<Intent> = Vec::new();
    let mut orders = orders.into_iter().peekable();
    let mut now_ms = START_MS;
    while now_ms <= end_ms {
        for (labels, samples) in source.iter() {
            if let Ok(i) = samples.times_ms.binary_search(&now_ms) {
                let value = samples.histogram(i).cloned().map_or(Ok(samples.values[i]), Err);
                store.push_since(labels, now_ms, 0, value);
            }
        }
        let tick = alerting.tick(now_ms, &store, &engine);
        assert!(tick.next_deadline_ms > now_ms);
        for sample in tick.samples {
            store.push_since(
                &sample.labels,
                sample.time_ms,
                0,
                sample.histogram.map_or(Ok(sample.value), Err),
            );
        }
        waiting.extend(tick.intents);
        match hook {
            Hook::Up => {
                for intent in waiting.drain(..) {
                    alerting.delivered(intent.id);
                    heard.push(intent);
                }
            }
            Hook::Refuses => waiting.drain(..).for_each(|i| assert!(alerting.rejected(i.id, now_ms))),
            Hook::Down => {}
        }
        let mut next_ms = now_ms + step_ms;
        while let Some((_, order, line)) = orders.next_if(|(at, ..)| *at <= now_ms) {
            let words: Vec<&str> = order.splitn(4, ' ').collect();
            match words[..] {
                ["expect", state @ ("pending" | "firing" | "inactive"), name] => {
                    let view = alerting.view();
                    let rule =
                        view.groups.iter().flat_map(|g| &g.rules).find(|r| r.name == name).expect(line);
                    assert_eq!(rule.last_error, "", "{line}");
                    assert_eq!(rule.alerting.as_ref().expect(line).state.as_str(), state, "{line}");
                }
                ["expect", "notify", status, name] => {
                    let place = heard.iter().position(|i| {
                        let n = &i.notification;
                        n.status.as_str() == status && n.common_labels.get("alertname") == Some(name)
                    });
                    let Some(place) = place else { panic!("{line}: heard {heard:#?}") };
                    heard.remove(place);
                }
                ["expect", "silence"] => assert!(heard.is_empty(), "{line}: {heard:#?}"),
                ["expect", "value", ..] => {
                    let (query, expected) = order["expect value ".len()..].rsplit_once(' ').expect(line);
                    let output = engine
                        .instant(
                            &store,
                            &parse(query).expect(line),
                            now_ms,
                            &Default::default(),
                            &Default::default(),
                        )
                        .expect(line);
                    let Value::Vector(samples) = output.value else { panic!("{line}") };
                    let got = samples.first().map_or("none".to_owned(), |s| s.value.to_string());
                    assert_eq!(got, expected, "{line}");
                }
                ["finding", name, severity] => alerting.observe_finding(&finding(name, severity, now_ms)),
                ["receiver", "down"] => hook = Hook::Down,
                ["receiver", "up"] => hook = Hook::Up,
                ["receiver", "refuses"] => hook = Hook::Refuses,
                ["restart", away] => {
                    let saved = alerting.snapshot();
                    next_ms = now_ms + parse_duration_ms(away).expect(line);
                    alerting = fresh();
                    alerting.restore(&saved, next_ms).expect(line);
                    assert_eq!(
                        alerting.snapshot().len(),
                        saved.len(),
                        "{line}: what is restored is what was saved"
                    );
                    waiting.clear();
                }
                _ => panic!("unknown line: {line}"),
            }
        }
        now_ms = next_ms;
    }
}

fn finding(name: &str, severity: &str, now_ms: i64) -> Finding {
    let labels = Labels::from_pairs([("alertname", name), ("severity", severity), ("host", "h")]);
    Finding {
        fingerprint: labels.stable_hash(),
        rule: name.into(),
        severity: Severity::parse(severity).unwrap(),
        title: "t".into(),
        description: "d".into(),
        labels,
        first_ns: now_ms * 1_000_000,
        last_ns: now_ms * 1_000_000,
        count: 1,
        state: FindingState::Firing,
        ancestry: vec!["bash(2)".into()],
        evidence: vec!["e".into()],
        event_ids: vec![1],
    }
}

fn push_series(store: &mut MemoryReader, text: &str, step_ms: i64) {
    let split = text.rfind('}').map_or_else(|| text.find(' ').expect(text), |i| i + 1);
    let matchers = vedette_promql::parse_selector(&text[..split]).expect(text);
    let labels = Labels::from_pairs(matchers.iter().map(|m| (m.name.as_str(), m.value.as_str())));
    let mut time_ms = START_MS;
    for token in text[split..].split_whitespace() {
        let (value, count) = token.rsplit_once('x').unwrap_or((token, "1"));
        let (start, rise) = match value.split_once('+') {
            Some((start, rise)) => (start, rise.parse().expect(text)),
            None => (value, 0.0),
        };
        for i in 0..count.parse::<u32>().expect(text) {
            if start != "_" {
                store.push_labels(&labels, time_ms, start.parse::<f64>().expect(text) + rise * f64::from(i));
            }
            time_ms += step_ms;
        }
    }
}
