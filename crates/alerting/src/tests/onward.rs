//! Which alerts Alertmanagers are told of, and when.

use std::sync::Arc;

use vedette_promql::{Engine, memory::MemoryReader};

use super::timeline::config;
use crate::{Alerting, Config, NotifiedAlert, Status, load};

const RULES: &str = "
groups:
- name: g
  interval: 5s
  rules:
  - alert: Down
    expr: up   ==  0
    for: 10s
    labels: {severity: page}
    annotations: {summary: 'down'}
";

/// Alerts sent, each with the time of the tick, while `up` is 0 from 20 s on for 60 s.
fn sent(config: Config, rules: &str) -> Vec<(i64, NotifiedAlert)> {
    let mut store = MemoryReader::new();
    for i in 0..60 {
        let time_ms = i * 5_000;
        let up = if (20_000..80_000).contains(&time_ms) { 0.0 } else { 1.0 };
        store.push(&[("__name__", "up"), ("job", "a")], time_ms, up);
    }
    let mut alerting = Alerting::new(config, load("rules.yml", rules).unwrap(), Arc::new(|| 0)).unwrap();
    let ticks = (0..300).map(|s| s * 1_000);
    ticks
        .flat_map(|now_ms| {
            let sent = alerting.tick(now_ms, &store, &Engine::default()).sent;
            sent.into_iter().map(move |alert| (now_ms, alert)).collect::<Vec<_>>()
        })
        .collect()
}

fn quick() -> Config {
    Config { resend_delay_ms: 20_000, resolved_retention_ms: 60_000, ..config() }
}

#[test]
fn alerts_are_sent_again_while_they_fire_and_for_a_while_when_they_are_over() {
    let sent = sent(quick(), RULES);
    let (firing, over): (Vec<_>, Vec<_>) = sent.iter().partition(|(_, a)| a.status == Status::Firing);
    // It is pending for ten seconds, of which nobody is told, and fires for less than 55.
    let first = &firing[0];
    assert!((30_000..=40_000).contains(&first.0), "{}", first.0);
    assert_eq!(firing.len(), 2);
    assert_eq!(over.len(), 3, "until it is forgotten");
    for pair in sent.windows(2) {
        // The first evaluation after the delay is one interval later; an end is told at once.
        let wait_ms = pair[1].0 - pair[0].0;
        let ends = pair[0].1.status != pair[1].1.status;
        assert!(wait_ms == 25_000 || ends && wait_ms < 25_000, "{wait_ms}");
    }
    for (_, alert) in &sent {
        assert_eq!(alert.starts_at_ms, first.1.starts_at_ms);
        assert_eq!(alert.labels.get("severity"), Some("page"));
        assert_eq!(alert.annotations.get("summary"), Some("down"));
        assert!(
            alert.generator_url.ends_with("/graph?g0.expr=up+%3D%3D+0&g0.tab=1"),
            "{}",
            alert.generator_url
        );
    }
    // One that fires is to be believed until four times the delay has passed.
    let believed_ms: Vec<i64> =
        firing.iter().map(|(_, a)| a.ends_at_ms.expect("an end") - first.1.starts_at_ms).collect();
    assert_eq!(believed_ms, [80_000, 105_000]);
    let ended_ms: Vec<_> = over.iter().map(|(_, a)| a.ends_at_ms.expect("an end")).collect();
    assert!((80_000..=85_000).contains(&ended_ms[0]) && ended_ms.iter().all(|e| *e == ended_ms[0]));
}

#[test]
fn a_long_interval_lets_an_alert_be_believed_for_longer() {
    let rules = RULES.replace("interval: 5s", "interval: 30s").replace("for: 10s", "for: 0s");
    let sent = sent(quick(), &rules);
    let (_, alert) = &sent[0];
    assert_eq!(alert.ends_at_ms.expect("an end") - alert.starts_at_ms, 120_000);
}

#[test]
fn what_was_sent_is_sent_again_after_a_restart() {
    let mut store = MemoryReader::new();
    (0..60).for_each(|i| store.push(&[("__name__", "up"), ("job", "a")], i * 5_000, 0.0));
    let fresh = || Alerting::new(quick(), load("rules.yml", RULES).unwrap(), Arc::new(|| 0)).unwrap();
    let mut alerting = fresh();
    let before: usize =
        (0..40).map(|s| alerting.tick(s * 1_000, &store, &Engine::default()).sent.len()).sum();
    assert!(before > 0);
    let mut restarted = fresh();
    restarted.restore(&alerting.snapshot(), 40_000).expect("restores");
    let after: usize =
        (40..47).map(|s| restarted.tick(s * 1_000, &store, &Engine::default()).sent.len()).sum();
    assert_eq!(after, 1);
}
