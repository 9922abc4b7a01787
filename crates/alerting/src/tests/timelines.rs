//! The life of alerts and messages about them.

use proptest::prelude::*;
use vedette_model::{HistogramCounts, NativeHistogram};
use vedette_promql::{Engine, memory::MemoryReader};

use super::timeline::{config, run};
use crate::{
    Alerting, Config, NotifiedAlert, Receiver, Status, dispatch::Dispatcher, load, notification::fingerprint,
};

const DOWN: &str = "
groups:
- name: g
  interval: 5s
  rules:
  - alert: Down
    expr: up == 0
    for: 20s
    annotations: {summary: '{{ $labels.job }} is {{ $value }}'}
";

const RECORDED: &str = "
groups:
- name: g
  interval: 5s
  rules:
  - record: recorded
    expr: rate(latency[1m])
  - record: count
    expr: histogram_count(recorded)
  - alert: Any
    expr: recorded
    annotations: {value: '{{ $value }}'}
";

#[test]
fn histograms_are_recorded_and_seen_by_later_rules() {
    let counts = |count: u64| HistogramCounts::Integer {
        count,
        zero_count: count,
        positive: Vec::new(),
        negative: Vec::new(),
    };
    let mut store = MemoryReader::new();
    let labels = vedette_model::Labels::from_pairs([("__name__", "latency"), ("job", "a")]);
    for i in 0..5 {
        let histogram = NativeHistogram { sum: 1.0, counts: counts(i * 30), ..NativeHistogram::stale() };
        store.push_histogram(&labels, i as i64 * 15_000, histogram.into());
    }
    let groups = load("rules.yml", RECORDED).unwrap();
    let mut alerting = Alerting::new(config(), groups, std::sync::Arc::new(|| 0)).unwrap();
    let mut samples = Vec::new();
    for now_ms in [0, 60_000] {
        samples = alerting.tick(now_ms, &store, &Engine::default()).samples;
    }
    let find = |name: &str| samples.iter().find(|s| s.labels.metric_name() == name).expect(name);
    let recorded = find("recorded").histogram.as_ref().expect("a histogram");
    // The group looks somewhere within its interval.
    assert!((1.5..=2.0).contains(&recorded.count()), "{recorded:?}");
    assert_eq!(recorded.reset_hint, vedette_model::ResetHint::Gauge);
    assert_eq!(find("count").value, recorded.count());
    assert_eq!(find("ALERTS").value, 1.0);
    let view = alerting.view();
    let alert = &view.groups[0].rules[2].alerting.as_ref().expect("an alert").alerts[0];
    let told = alert.annotations.get("value").expect("the annotation");
    assert!(told.starts_with("{count:") && told.contains("[-0,0]:"), "{told}");
}

#[test]
fn an_alert_lives_and_is_told_of() {
    run(
        "5s",
        &config(),
        &[DOWN],
        r#"
        series up{job="a"} 1x6 0x12 1x40
        at 20s expect inactive Down
        at 35s expect pending Down
        at 35s expect value ALERTS{alertname="Down",alertstate="pending",job="a"} 1
        at 45s expect pending Down
        at 45s expect silence
        at 60s expect firing Down
        at 60s expect value ALERTS{alertstate="firing"} 1
        at 60s expect value ALERTS{alertstate="pending"} none
        at 60s expect value ALERTS_FOR_STATE 1700000030
        at 65s expect notify firing Down
        at 85s expect silence
        at 100s expect inactive Down
        at 100s expect value ALERTS none
        at 130s expect notify resolved Down
        at 230s expect silence
    "#,
    );
}

#[test]
fn a_short_trouble_never_fires() {
    run(
        "5s",
        &config(),
        &[DOWN],
        r#"
        series up{job="a"} 1x6 0x3 1x2 0x3 1x40
        at 35s expect pending Down
        at 50s expect inactive Down
        at 60s expect pending Down
        at 120s expect inactive Down
        at 120s expect silence
    "#,
    );
}

#[test]
fn keep_firing_for_bridges_gaps() {
    let rules = DOWN.replace("for: 20s", "keep_firing_for: 30s");
    run(
        "5s",
        &config(),
        &[&rules],
        r#"
        series up{job="a"} 1x6 0x4 1x4 0x2 1x40
        at 35s expect firing Down
        at 60s expect firing Down
        at 95s expect firing Down
        at 120s expect inactive Down
    "#,
    );
}

#[test]
fn a_restart_forgets_nothing() {
    run(
        "5s",
        &config(),
        &[DOWN],
        r#"
        series up{job="a"} 1x6 0x60 1x40
        at 35s expect pending Down
        # Down time does not count for the wait.
        at 40s restart 30s
        at 70s expect pending Down
        at 80s expect pending Down
        at 90s expect firing Down
        at 100s expect notify firing Down
        at 100s restart 10s
        at 200s expect firing Down
        at 200s expect silence
        at 400s expect notify resolved Down
    "#,
    );
}

#[test]
fn a_restart_without_data_is_no_recovery() {
    run(
        "5s",
        &config(),
        &[DOWN.replace("up == 0", "rate(e[15s]) > 0").as_str()],
        r#"
        series e 0+1x20 _x4 20+1x60
        at 60s expect notify firing Down
        at 95s restart 20s
        at 115s expect firing Down
        at 200s expect firing Down
        at 200s expect silence
    "#,
    );
}

#[test]
fn a_receiver_that_is_down_gets_all_in_order() {
    run(
        "5s",
        &config(),
        &[DOWN],
        r#"
        series up{job="a"} 0x12 1x60
        at 10s receiver down
        at 55s expect firing Down
        at 100s expect inactive Down
        at 100s restart 5s
        at 105s expect silence
        at 110s receiver up
        at 120s expect notify firing Down
        at 160s expect notify resolved Down
        at 200s expect silence
    "#,
    );
}

#[test]
fn a_refused_message_is_made_anew_after_the_interval() {
    run(
        "5s",
        &config(),
        &[DOWN],
        r#"
        series up{job="a"} 0x60
        at 0s receiver refuses
        at 40s receiver up
        at 45s expect silence
        at 70s expect notify firing Down
    "#,
    );
}

#[test]
fn a_finding_is_told_of_and_ends() {
    run(
        "5s",
        &config(),
        &[],
        r#"
        at 10s finding shell critical
        at 20s expect notify firing shell
        at 30s finding shell critical
        at 5m expect silence
        at 16m expect notify resolved shell
        at 40m expect silence
    "#,
    );
}

#[test]
fn firing_alerts_are_repeated() {
    let mut config = config();
    config.route.repeat_interval_ms = 120_000;
    run(
        "5s",
        &config,
        &[DOWN],
        r#"
        series up{job="a"} 0x100
        at 40s expect notify firing Down
        at 140s expect silence
        at 200s expect notify firing Down
    "#,
    );
}

#[test]
fn later_rules_of_a_group_see_earlier_ones() {
    let rules = "
groups:
- name: g
  interval: 5s
  rules:
  - {record: 'a:twice', expr: up * 2}
  - {record: 'a:four', expr: 'a:twice * 2', labels: {x: y}}
  - {alert: Four, expr: 'a:four == 4'}
";
    run(
        "5s",
        &config(),
        &[rules],
        r#"
        series up{job="a"} 1x20
        at 10s expect value a:four{x="y"} 4
        at 10s expect firing Four
    "#,
    );
}

fn ticked(rules: &str, config: &Config, series: &[(&str, &str)]) -> (Alerting, Vec<crate::Tick>) {
    let mut store = MemoryReader::new();
    let mut alerting =
        Alerting::new(config.clone(), load("f", rules).unwrap(), std::sync::Arc::new(|| 0)).unwrap();
    let mut ticks = Vec::new();
    for i in 0..12 {
        let now_ms = 1_000_000_000 + i * 5_000;
        for (job, instance) in series {
            store.push(&[("__name__", "up"), ("job", job), ("instance", instance)], now_ms, 0.0);
        }
        ticks.push(alerting.tick(now_ms, &store, &Engine::default()));
    }
    (alerting, ticks)
}

#[test]
fn equal_label_sets_are_an_error_of_the_rule() {
    let rules = DOWN.replace("for: 20s", "labels: {instance: ''}");
    let (alerting, ticks) = ticked(&rules, &config(), &[("a", "1"), ("a", "2")]);
    let view = alerting.view();
    assert!(view.groups[0].rules[0].last_error.contains("same labelset"));
    assert_eq!(view.groups[0].rules[0].health.as_str(), "err");
    assert!(ticks.iter().map(|t| t.failures).sum::<u64>() > 0);
}

#[test]
fn a_query_that_takes_too_long_is_an_error_of_its_rule_only() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let rules =
        "groups: [{name: g, interval: 5s, rules: [{record: a, expr: sum(up)}, {record: b, expr: '1'}]}]";
    let config = Config { query_timeout_ms: 1000, ..config() };
    let mut store = MemoryReader::new();
    store.push(&[("__name__", "up")], 1_000_000_000, 1.0);
    // The first query finds that two seconds have passed each time it looks.
    let looks = AtomicU64::new(0);
    let stopwatch = move || match looks.fetch_add(1, Ordering::Relaxed) {
        look @ 0..6 => look * 2_000_000_000,
        _ => 12_000_000_000,
    };
    let mut alerting =
        Alerting::new(config, load("f", rules).unwrap(), std::sync::Arc::new(stopwatch)).unwrap();
    let mut failures = 0;
    for now_ms in [1_000_000_000, 1_000_005_000] {
        failures += alerting.tick(now_ms, &store, &Engine::default()).failures;
    }
    let view = alerting.view();
    let rules = &view.groups[0].rules;
    assert_eq!((failures, rules[1].health.as_str()), (1, "ok"));
    assert_eq!(rules[0].last_error, "query timed out in expression evaluation");
}

#[test]
fn too_many_alerts_are_an_error_of_the_rule() {
    let rules = DOWN.replace("interval: 5s", "interval: 5s\n  limit: 1");
    let (alerting, _) = ticked(&rules, &config(), &[("a", "1"), ("a", "2")]);
    assert_eq!(alerting.view().groups[0].rules[0].last_error, "exceeded limit of 1 with 2 alerts");
    assert!(!alerting.has_active_alerts());
}

#[test]
fn alerts_of_one_group_share_a_message() {
    let mut config = config();
    config.route.group_by = vec!["alertname".into()];
    config
        .receivers
        .push(Receiver { severities: vec![vedette_model::Severity::Critical], ..Receiver::all("pager") });
    let (alerting, ticks) = ticked(DOWN, &config, &[("a", "1"), ("b", "2")]);
    let intents: Vec<_> = ticks.into_iter().flat_map(|t| t.intents).collect();
    assert_eq!(intents.len(), 1, "the pager takes critical ones only");
    let n = &intents[0].notification;
    assert_eq!((n.status, n.receiver.as_str(), n.alerts.len()), (Status::Firing, "hook", 2));
    assert_eq!(n.group_key, r#"{}:{alertname="Down"}"#);
    assert_eq!(n.common_labels.to_string(), r#"{alertname="Down"}"#);
    assert_eq!(n.alerts[0].annotations.get("summary"), Some("a is 0"));
    assert_eq!(n.alerts[0].generator_url, "http://127.0.0.1:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1");
    assert_eq!(alerting.view().outstanding_intents, 1);
}

#[test]
fn what_came_and_went_untold_is_forgotten() {
    let config = config();
    let mut dispatcher = Dispatcher::default();
    let alert = |job: &str, status| NotifiedAlert {
        status,
        labels: vedette_model::Labels::from_pairs([("alertname", "A"), ("job", job)]),
        annotations: vedette_model::Labels::empty(),
        starts_at_ms: 0,
        ends_at_ms: None,
        generator_url: String::new(),
        fingerprint: String::new(),
    };
    dispatcher.put(&alert("stays", Status::Firing), 0, &config);
    let mut told = 0;
    for i in 1..100 {
        let now_ms = i * config.route.group_interval_ms;
        for status in [Status::Firing, Status::Resolved] {
            dispatcher.put(&alert(&i.to_string(), status), now_ms - 1, &config);
        }
        for intent in dispatcher.flush(now_ms, &config) {
            told += intent.notification.alerts.len();
            assert!(dispatcher.delivered(intent.id));
        }
    }
    let kept: usize = dispatcher.groups.values().map(|g| g.alerts.len()).sum();
    assert_eq!((told, kept), (1, 1), "only the one that stays");
}

#[test]
fn fingerprints_are_those_of_alertmanager() {
    // The hash of no label is FNV's offset.
    assert_eq!(fingerprint(&vedette_model::Labels::empty()), 0xcbf2_9ce4_8422_2325);
    let one = vedette_model::Labels::from_pairs([("a", "b")]);
    let other = vedette_model::Labels::from_pairs([("ab", "")]);
    assert_ne!(fingerprint(&one), fingerprint(&other));
}

proptest! {
    #[test]
    fn damaged_state_is_refused_and_never_panics(cut in 0usize..2000, flip in 0usize..2000, bit in 0u8..8) {
        let (mut alerting, _) = ticked(DOWN, &config(), &[("a", "1"), ("b", "2")]);
        alerting.observe_finding(&vedette_model::Finding {
            fingerprint: 1, rule: "r".into(), severity: vedette_model::Severity::Info, title: "t".into(),
            description: "d".into(), labels: vedette_model::Labels::empty(), first_ns: 0, last_ns: 0, count: 1,
            state: vedette_model::FindingState::Firing, ancestry: vec![], evidence: vec![], event_ids: vec![1],
        });
        let saved = alerting.snapshot();
        prop_assert!(alerting.restore(&saved, 0).is_ok());
        let short = &saved[..cut.min(saved.len() - 1)];
        prop_assert!(alerting.restore(short, 0).is_err());
        let mut flipped = saved.clone();
        let place = flip % flipped.len();
        flipped[place] ^= 1 << bit;
        let _ = alerting.restore(&flipped, 0);
    }
}
