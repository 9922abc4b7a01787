//! Rules are replaced while alerts go on.

use std::sync::Arc;

use vedette_model::{Labels, is_stale};
use vedette_promql::{Engine, memory::MemoryReader};

use super::timeline::config;
use crate::{AlertState, Alerting, Group, Status, load};

const BEFORE: &str = "
groups:
- name: kept
  interval: 10s
  rules:
  - {alert: Kept, expr: up == 0}
- name: edited
  interval: 10s
  rules:
  - {record: same, expr: up}
  - {record: gone, expr: up}
  - {record: moved, expr: up}
  - {alert: Gone, expr: up == 0}
";

const AFTER: &str = "
groups:
- name: kept
  interval: 10s
  rules:
  - {alert: Kept, expr: up == 0}
- name: edited
  interval: 20s
  rules:
  - {record: same, expr: up}
  - {record: moved, expr: up + 0}
";

fn groups(text: &str) -> Vec<Group> {
    load("rules.yml", text).expect("sound")
}

fn series(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("job", "a")])
}

#[test]
fn what_is_unchanged_goes_on_and_what_is_gone_ends() {
    let mut store = MemoryReader::new();
    for i in 0..100 {
        store.push_labels(&series("up"), i * 5_000, 0.0);
    }
    let (engine, mut now_ms) = (Engine::default(), 0);
    let mut alerting = Alerting::new(config(), groups(BEFORE), Arc::new(|| 0)).expect("sound");
    let mut told = Vec::new();
    while now_ms < 60_000 {
        let tick = alerting.tick(now_ms, &store, &engine);
        told.extend(tick.intents);
        now_ms = tick.next_deadline_ms;
    }
    for intent in told.drain(..) {
        assert!(alerting.delivered(intent.id));
    }
    let alert_of = |alerting: &Alerting, name: &str| {
        let view = alerting.view();
        let rule = view.groups.iter().flat_map(|g| &g.rules).find(|r| r.name == name).cloned();
        rule.and_then(|r| r.alerting?.alerts.into_iter().find(|a| a.state == AlertState::Firing))
    };
    let before = alert_of(&alerting, "Kept").expect("fires");
    assert!(alert_of(&alerting, "Gone").is_some());

    let mut changed = config();
    changed.external_labels = Labels::from_pairs([("cluster", "c")]);
    let last_tick_ms = alerting.last_tick_ms;
    alerting.replace_rules(changed, groups(AFTER), now_ms).expect("sound");
    let after = alert_of(&alerting, "Kept").expect("goes on");
    assert_eq!((before.active_at_ms, before.fired_at_ms), (after.active_at_ms, after.fired_at_ms));

    let (mut samples, mut ended) = (Vec::new(), Vec::new());
    while now_ms < 200_000 {
        let tick = alerting.tick(now_ms, &store, &engine);
        samples.extend(tick.samples);
        ended.extend(tick.intents);
        now_ms = tick.next_deadline_ms;
    }
    let of = |name: &str| samples.iter().filter(|s| s.labels.metric_name() == name).collect::<Vec<_>>();
    let gone = of("gone");
    assert!(gone.len() == 1 && is_stale(gone[0].value) && gone[0].time_ms > last_tick_ms, "{gone:?}");
    assert!(of("same").iter().all(|s| !is_stale(s.value)), "the rule goes on");
    let moved = of("moved");
    assert!(is_stale(moved[0].value) && moved.len() > 2, "the rule is another one: {moved:?}");
    assert!(moved.windows(2).all(|w| w[0].time_ms < w[1].time_ms), "{moved:?}");
    let times: Vec<i64> = of("same").iter().map(|s| s.time_ms).collect();
    assert!(times.windows(2).all(|w| w[1] - w[0] == 20_000), "the new interval: {times:?}");
    // Who was told of an alert is told that it is over, and the other is never said to be over.
    let all = ended.iter().flat_map(|intent| &intent.notification.alerts);
    let over: Vec<&str> =
        all.filter(|a| a.status == Status::Resolved).filter_map(|a| a.labels.get("alertname")).collect();
    assert!(over.contains(&"Gone") && !over.contains(&"Kept"), "{over:?}");
    assert!(alert_of(&alerting, "Gone").is_none());
}

#[test]
fn what_cannot_work_changes_nothing() {
    let mut alerting = Alerting::new(config(), groups(BEFORE), Arc::new(|| 0)).expect("sound");
    let mut wrong = config();
    wrong.route.group_interval_ms = -1;
    alerting.replace_rules(wrong, groups(AFTER), 0).expect_err("refused");
    assert_eq!(alerting.view().groups[1].rules.len(), 4);
}
