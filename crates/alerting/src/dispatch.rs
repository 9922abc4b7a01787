//! Grouping of alerts and findings into messages, by receiver: when a group is first told of,
//! when changes in it are, and when it is repeated.
//!
//! Invariants: a group has at most one message outstanding, so messages about it arrive in
//! order and do not pile up while a receiver is down; an alert leaves its group only when its
//! end was told, or when its beginning never was.

use std::collections::{BTreeMap, BTreeSet};

use vedette_model::Labels;

use crate::{
    config::{Config, Receiver},
    notification::{Intent, Notification, NotifiedAlert, Status},
};

/// Alerts named in one message; of more, the number is told.
const ALERTS_MAX: usize = 500;

/// Receiver and the labels by which the group is grouped.
pub(crate) type GroupKey = (String, Labels);

#[derive(Debug, Clone, Default)]
pub(crate) struct Dispatcher {
    pub(crate) groups: BTreeMap<GroupKey, AlertGroup>,
    pub(crate) outstanding: BTreeMap<u64, (Intent, GroupKey)>,
    pub(crate) last_id: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct AlertGroup {
    pub(crate) alerts: BTreeMap<Labels, NotifiedAlert>,
    pub(crate) next_flush_ms: i64,
    /// What the receiver knows, or will when the outstanding message is there.
    pub(crate) told: Option<Told>,
    pub(crate) outstanding: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) at_ms: i64,
    pub(crate) firing: BTreeSet<Labels>,
    pub(crate) resolved: BTreeSet<Labels>,
}

impl Dispatcher {
    /// Takes the newest state of an alert.
    pub(crate) fn put(&mut self, alert: &NotifiedAlert, now_ms: i64, config: &Config) {
        for receiver in config.receivers.iter().filter(|r| r.takes(&alert.labels)) {
            let key = (receiver.name.clone(), alert.labels.keep(&config.route.group_by));
            let known = self.groups.get_mut(&key);
            if alert.status == Status::Resolved {
                // Of what was never put there is nothing to end.
                if let Some(slot) = known.and_then(|g| g.alerts.get_mut(&alert.labels)) {
                    slot.clone_from(alert);
                }
                continue;
            }
            match known {
                Some(group) => {
                    group.alerts.insert(alert.labels.clone(), alert.clone());
                }
                None => {
                    // What began long ago has waited already.
                    let waited = now_ms - alert.starts_at_ms >= config.route.group_wait_ms;
                    let next_flush_ms = if waited { now_ms } else { now_ms + config.route.group_wait_ms };
                    let alerts = BTreeMap::from([(alert.labels.clone(), alert.clone())]);
                    self.groups
                        .insert(key, AlertGroup { alerts, next_flush_ms, told: None, outstanding: None });
                }
            }
        }
    }

    /// Makes the messages that are due.
    pub(crate) fn flush(&mut self, now_ms: i64, config: &Config) -> Vec<Intent> {
        let mut intents = Vec::new();
        let mut done = Vec::new();
        for (key, group) in &mut self.groups {
            if group.outstanding.is_some() || group.next_flush_ms > now_ms {
                continue;
            }
            group.next_flush_ms = now_ms + config.route.group_interval_ms;
            let Some(receiver) = config.receivers.iter().find(|r| r.name == key.0) else {
                done.push(key.clone());
                continue;
            };
            group.forget_what_is_over();
            if group.must_tell(receiver, now_ms, config.route.repeat_interval_ms) {
                self.last_id += 1;
                let notification = group.notification(key, receiver, config);
                let intent = Intent { id: self.last_id, created_ms: now_ms, notification };
                group.told = Some(group.state(now_ms));
                group.outstanding = Some(intent.id);
                self.outstanding.insert(intent.id, (intent.clone(), key.clone()));
                intents.push(intent);
            } else if group.alerts.values().all(|a| a.status == Status::Resolved) {
                done.push(key.clone());
            }
        }
        for key in done {
            self.groups.remove(&key);
        }
        intents
    }

    /// A message has arrived. `false` if it is not outstanding.
    pub(crate) fn delivered(&mut self, id: u64) -> bool {
        let Some((intent, key)) = self.outstanding.remove(&id) else { return false };
        let Some(group) = self.groups.get_mut(&key) else { return true };
        group.outstanding = None;
        for alert in intent.notification.alerts.iter().filter(|a| a.status == Status::Resolved) {
            if group.alerts.get(&alert.labels).is_some_and(|a| a.status == Status::Resolved) {
                group.alerts.remove(&alert.labels);
                if let Some(told) = &mut group.told {
                    told.resolved.remove(&alert.labels);
                }
            }
        }
        if group.alerts.is_empty() {
            self.groups.remove(&key);
        }
        true
    }

    /// A message can never arrive as it is; the group is told of anew after its interval.
    pub(crate) fn rejected(&mut self, id: u64, now_ms: i64, config: &Config) -> bool {
        let Some((_, key)) = self.outstanding.remove(&id) else { return false };
        if let Some(group) = self.groups.get_mut(&key) {
            group.outstanding = None;
            group.told = None;
            group.next_flush_ms = now_ms + config.route.group_interval_ms;
        }
        true
    }

    /// Ends an alert wherever it is.
    pub(crate) fn end(&mut self, labels: &Labels, now_ms: i64) {
        for alert in self.groups.values_mut().filter_map(|g| g.alerts.get_mut(labels)) {
            alert.status = Status::Resolved;
            alert.ends_at_ms = Some(now_ms);
        }
    }

    /// Forgets everything for receivers that are no longer there.
    pub(crate) fn keep_receivers(&mut self, names: &BTreeSet<&str>) {
        self.groups.retain(|(receiver, _), _| names.contains(receiver.as_str()));
        self.outstanding.retain(|_, (_, (receiver, _))| names.contains(receiver.as_str()));
    }

    /// When something is due next.
    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        self.groups.values().filter(|g| g.outstanding.is_none()).map(|g| g.next_flush_ms).min()
    }
}

impl AlertGroup {
    fn labels_in(&self, status: Status) -> BTreeSet<Labels> {
        self.alerts.iter().filter(|(_, a)| a.status == status).map(|(l, _)| l.clone()).collect()
    }

    fn state(&self, at_ms: i64) -> Told {
        Told { at_ms, firing: self.labels_in(Status::Firing), resolved: self.labels_in(Status::Resolved) }
    }

    /// Forgets alerts that are over and of which nothing is left to tell: their beginning was
    /// never told, or their end was, in a message that had no room to name them. Else a group
    /// that goes on would grow with every alert that comes and goes in it.
    fn forget_what_is_over(&mut self) {
        let told = self.told.as_ref();
        let end_is_untold =
            |labels: &Labels| told.is_some_and(|t| t.firing.contains(labels) && !t.resolved.contains(labels));
        self.alerts.retain(|labels, alert| alert.status == Status::Firing || end_is_untold(labels));
    }

    fn must_tell(&self, receiver: &Receiver, now_ms: i64, repeat_interval_ms: i64) -> bool {
        let state = self.state(now_ms);
        let Some(told) = &self.told else {
            return !state.firing.is_empty();
        };
        let begun = !state.firing.is_subset(&told.firing);
        let newly_over = state.resolved.iter().any(|l| told.firing.contains(l) && !told.resolved.contains(l));
        let repeat = !state.firing.is_empty() && now_ms - told.at_ms >= repeat_interval_ms;
        begun || (receiver.send_resolved && newly_over) || repeat
    }

    fn notification(&self, key: &GroupKey, receiver: &Receiver, config: &Config) -> Notification {
        let known: &dyn Fn(&NotifiedAlert) -> bool = &|alert| match (&self.told, alert.status) {
            (_, Status::Firing) => true,
            // Its beginning was never told, so its end says nothing.
            (None, Status::Resolved) => false,
            (Some(told), Status::Resolved) => receiver.send_resolved && told.firing.contains(&alert.labels),
        };
        let mut alerts: Vec<&NotifiedAlert> = self.alerts.values().filter(|a| known(a)).collect();
        // Where not all find room, those that go on come first.
        alerts.sort_by_key(|a| a.status);
        let truncated_alerts = alerts.len().saturating_sub(ALERTS_MAX) as u64;
        alerts.truncate(ALERTS_MAX);
        let firing = alerts.iter().any(|a| a.status == Status::Firing);
        Notification {
            group_key: format!("{{}}:{}", key.1),
            truncated_alerts,
            status: if firing { Status::Firing } else { Status::Resolved },
            receiver: key.0.clone(),
            group_labels: key.1.clone(),
            common_labels: common(alerts.iter().map(|a| &a.labels)),
            common_annotations: common(alerts.iter().map(|a| &a.annotations)),
            external_url: config.external_url.clone(),
            alerts: alerts.into_iter().cloned().collect(),
        }
    }
}

/// What all sets share.
fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = sets.next() else { return Labels::empty() };
    let mut shared: BTreeMap<&str, &str> = first.iter().collect();
    for set in sets {
        shared.retain(|name, value| set.get(name) == Some(*value));
    }
    Labels::from_pairs(shared)
}
