//! The state that must survive the end of the process: alerts, findings, groups of messages and
//! messages not delivered yet.
//!
//! A pending alert is restored as if the time between had not passed; a firing one fires on, and
//! for a while even without its series.

use std::collections::{BTreeMap, BTreeSet};

use vedette_model::{Finding, FindingState, Labels, Severity};

use crate::{
    codec::{Reader, Writer},
    dispatch::{AlertGroup, Dispatcher, GroupKey, Told},
    findings::Known,
    life::{Alert, AlertState},
    notification::{Intent, Notification, NotifiedAlert, Status},
    tick::Alerting,
};

/// Grows when the form changes.
const VERSION: u8 = 1;

/// Saved state that cannot be taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A later release wrote it.
    #[error("the saved alert state has version {0}, which this release cannot read; use a newer one")]
    Newer(u8),
    /// The bytes are not what was written.
    #[error("the saved alert state is damaged")]
    Damaged,
}

pub(crate) fn write(alerting: &Alerting) -> Vec<u8> {
    let mut w = Writer::default();
    w.byte(VERSION);
    w.i64(alerting.last_tick_ms);
    let rules: Vec<_> = alerting
        .groups
        .iter()
        .flat_map(|g| g.group.rules.iter().zip(&g.rules).map(|(rule, state)| (rule.key(&g.group), state)))
        .filter(|(_, state)| !state.alerts.0.is_empty() || !state.given.is_empty())
        .collect();
    w.list(rules.iter(), |w, (key, state)| {
        w.text(key);
        w.list(state.alerts.0.values(), alert);
        w.list(state.given.iter(), Writer::labels);
    });
    w.list(alerting.findings.known.values(), known);
    let dispatcher = &alerting.dispatcher;
    w.u64(dispatcher.last_id);
    w.list(dispatcher.groups.iter(), |w, (key, group)| {
        group_key(w, key);
        w.list(group.alerts.values(), notified);
        w.i64(group.next_flush_ms);
        w.byte(u8::from(group.told.is_some()));
        let told = group.told.clone().unwrap_or_default();
        w.i64(told.at_ms);
        w.list(told.firing.iter(), Writer::labels);
        w.list(told.resolved.iter(), Writer::labels);
    });
    w.list(dispatcher.outstanding.values(), |w, (intent, key)| {
        group_key(w, key);
        w.u64(intent.id);
        w.i64(intent.created_ms);
        notification(w, &intent.notification);
    });
    w.0
}

fn alert(w: &mut Writer, alert: &Alert) {
    w.labels(&alert.labels);
    w.labels(&alert.annotations);
    w.byte(match alert.state {
        AlertState::Inactive => 0,
        AlertState::Pending => 1,
        AlertState::Firing => 2,
    });
    w.f64(alert.value);
    w.i64(alert.active_at_ms);
    w.option(alert.fired_at_ms);
    w.option(alert.resolved_at_ms);
    w.option(alert.keep_firing_since_ms);
    w.option(alert.grace_until_ms);
}

fn known(w: &mut Writer, known: &Known) {
    let finding = &known.finding;
    w.u64(finding.fingerprint);
    w.text(&finding.rule);
    w.text(finding.severity.as_str());
    w.text(&finding.title);
    w.text(&finding.description);
    w.labels(&finding.labels);
    w.i64(finding.first_ns);
    w.i64(finding.last_ns);
    w.u64(finding.count);
    w.list(finding.ancestry.iter(), |w, t| w.text(t));
    w.list(finding.evidence.iter(), |w, t| w.text(t));
    w.list(finding.event_ids.iter(), |w, id| w.u64(*id));
    w.option(known.resolved_at_ms);
}

fn group_key(w: &mut Writer, (receiver, labels): &GroupKey) {
    w.text(receiver);
    w.labels(labels);
}

fn notified(w: &mut Writer, alert: &NotifiedAlert) {
    w.byte(u8::from(alert.status == Status::Resolved));
    w.labels(&alert.labels);
    w.labels(&alert.annotations);
    w.i64(alert.starts_at_ms);
    w.option(alert.ends_at_ms);
    w.text(&alert.generator_url);
    w.text(&alert.fingerprint);
}

fn notification(w: &mut Writer, n: &Notification) {
    w.text(&n.group_key);
    w.u64(n.truncated_alerts);
    w.byte(u8::from(n.status == Status::Resolved));
    w.text(&n.receiver);
    w.labels(&n.group_labels);
    w.labels(&n.common_labels);
    w.labels(&n.common_annotations);
    w.text(&n.external_url);
    w.list(n.alerts.iter(), notified);
}

/// Everything read, before any of it is taken up.
struct Saved {
    tick_ms: i64,
    rules: BTreeMap<String, (Vec<Alert>, Vec<Labels>)>,
    findings: Vec<Known>,
    dispatcher: Dispatcher,
}

pub(crate) fn restore(alerting: &mut Alerting, bytes: &[u8], now_ms: i64) -> Result<(), SnapshotError> {
    let mut r = Reader(bytes);
    match r.byte() {
        Some(VERSION) => {}
        Some(version) if version > VERSION => return Err(SnapshotError::Newer(version)),
        _ => return Err(SnapshotError::Damaged),
    }
    let mut saved = read(&mut r).ok_or(SnapshotError::Damaged)?;
    let away_ms = (now_ms - saved.tick_ms).max(0);
    let config = &alerting.config;
    for group in &mut alerting.groups {
        for (rule, state) in group.group.rules.iter().zip(&mut group.rules) {
            let Some((alerts, given)) = saved.rules.remove(&rule.key(&group.group)) else { continue };
            state.given = given.into_iter().collect();
            for mut alert in alerts {
                match alert.state {
                    AlertState::Pending if away_ms > config.outage_tolerance_ms => continue,
                    AlertState::Pending => alert.active_at_ms += away_ms,
                    AlertState::Firing => alert.grace_until_ms = Some(now_ms + config.restart_grace_ms),
                    AlertState::Inactive => {}
                }
                state.alerts.0.insert(alert.labels.clone(), alert);
            }
        }
    }
    alerting.findings.known = saved.findings.into_iter().map(|k| (k.finding.fingerprint, k)).collect();
    alerting.dispatcher = saved.dispatcher;
    // Of rules that are gone, nobody would ever tell the end.
    for (alerts, _) in saved.rules.into_values() {
        for alert in alerts.iter().filter(|a| a.state == AlertState::Firing) {
            alerting.dispatcher.end(&alert.labels, now_ms);
        }
    }
    let receivers: BTreeSet<&str> = alerting.config.receivers.iter().map(|r| r.name.as_str()).collect();
    alerting.dispatcher.keep_receivers(&receivers);
    alerting.last_tick_ms = now_ms;
    Ok(())
}

fn read(r: &mut Reader<'_>) -> Option<Saved> {
    let tick_ms = r.i64()?;
    let rules = r.list(|r| {
        let key = r.text()?;
        let alerts = r.list(read_alert)?;
        let given = r.list(Reader::labels)?;
        Some((key, (alerts, given)))
    })?;
    let findings = r.list(read_known)?;
    let mut dispatcher = Dispatcher { last_id: r.u64()?, ..Dispatcher::default() };
    for (key, group) in r.list(read_group)? {
        dispatcher.groups.insert(key, group);
    }
    let outstanding = r.list(|r| {
        let key = read_group_key(r)?;
        let intent = Intent { id: r.u64()?, created_ms: r.i64()?, notification: read_notification(r)? };
        Some((intent, key))
    })?;
    for (intent, key) in outstanding {
        if let Some(group) = dispatcher.groups.get_mut(&key) {
            group.outstanding = Some(intent.id);
        }
        dispatcher.last_id = dispatcher.last_id.max(intent.id);
        dispatcher.outstanding.insert(intent.id, (intent, key));
    }
    r.0.is_empty().then_some(())?;
    Some(Saved { tick_ms, rules: rules.into_iter().collect(), findings, dispatcher })
}

fn read_alert(r: &mut Reader<'_>) -> Option<Alert> {
    Some(Alert {
        labels: r.labels()?,
        annotations: r.labels()?,
        state: match r.byte()? {
            0 => AlertState::Inactive,
            1 => AlertState::Pending,
            2 => AlertState::Firing,
            _ => return None,
        },
        value: r.f64()?,
        active_at_ms: r.i64()?,
        fired_at_ms: r.option()?,
        resolved_at_ms: r.option()?,
        keep_firing_since_ms: r.option()?,
        grace_until_ms: r.option()?,
        sent_at_ms: None,
    })
}

fn read_known(r: &mut Reader<'_>) -> Option<Known> {
    let mut finding = Finding {
        fingerprint: r.u64()?,
        rule: r.text()?,
        severity: Severity::parse(&r.text()?)?,
        title: r.text()?,
        description: r.text()?,
        labels: r.labels()?,
        first_ns: r.i64()?,
        last_ns: r.i64()?,
        count: r.u64()?,
        state: FindingState::Firing,
        ancestry: r.list(Reader::text)?,
        evidence: r.list(Reader::text)?,
        event_ids: r.list(Reader::u64)?,
    };
    let resolved_at_ms = r.option()?;
    if resolved_at_ms.is_some() {
        finding.state = FindingState::Resolved;
    }
    Some(Known { finding, resolved_at_ms })
}

fn read_group_key(r: &mut Reader<'_>) -> Option<GroupKey> {
    Some((r.text()?, r.labels()?))
}

fn read_group(r: &mut Reader<'_>) -> Option<(GroupKey, AlertGroup)> {
    let key = read_group_key(r)?;
    let alerts = r.list(read_notified)?;
    let next_flush_ms = r.i64()?;
    let is_told = r.byte()? != 0;
    let told = Told {
        at_ms: r.i64()?,
        firing: r.list(Reader::labels)?.into_iter().collect(),
        resolved: r.list(Reader::labels)?.into_iter().collect(),
    };
    let alerts = alerts.into_iter().map(|a| (a.labels.clone(), a)).collect();
    Some((key, AlertGroup { alerts, next_flush_ms, told: is_told.then_some(told), outstanding: None }))
}

fn read_status(r: &mut Reader<'_>) -> Option<Status> {
    Some(if r.byte()? == 0 { Status::Firing } else { Status::Resolved })
}

fn read_notified(r: &mut Reader<'_>) -> Option<NotifiedAlert> {
    Some(NotifiedAlert {
        status: read_status(r)?,
        labels: r.labels()?,
        annotations: r.labels()?,
        starts_at_ms: r.i64()?,
        ends_at_ms: r.option()?,
        generator_url: r.text()?,
        fingerprint: r.text()?,
    })
}

fn read_notification(r: &mut Reader<'_>) -> Option<Notification> {
    Some(Notification {
        group_key: r.text()?,
        truncated_alerts: r.u64()?,
        status: read_status(r)?,
        receiver: r.text()?,
        group_labels: r.labels()?,
        common_labels: r.labels()?,
        common_annotations: r.labels()?,
        external_url: r.text()?,
        alerts: r.list(read_notified)?,
    })
}
