//! Other rules in place of those at work, without forgetting what goes on.

use std::collections::{BTreeMap, BTreeSet};

use vedette_model::{Labels, stale_nan};

use crate::{
    config::{Config, ConfigError},
    group::{RunningGroup, RunningRule},
    life::AlertState,
    rule::Group,
    tick::{Alerting, RuleSample},
};

impl Alerting {
    /// Works by another configuration and other groups from the next tick on. A rule that is as it was
    /// keeps its alerts and series, and a group that is as it was its schedule, too. Alerts of rules that
    /// are gone are over, and their series end.
    pub fn replace_rules(
        &mut self,
        config: Config,
        groups: Vec<Group>,
        now_ms: i64,
    ) -> Result<(), ConfigError> {
        config.validate()?;
        let before = std::mem::take(&mut self.groups);
        let mut schedules = BTreeMap::new();
        let mut known: BTreeMap<String, RunningRule> = BTreeMap::new();
        for running in before {
            schedules.insert((running.group.file.clone(), running.group.name.clone()), running.schedule());
            for (rule, state) in running.group.rules.iter().zip(running.rules) {
                known.insert(rule.key(&running.group), state);
            }
        }
        for group in groups {
            let mut running = RunningGroup::new(group, &config);
            let place = (running.group.file.clone(), running.group.name.clone());
            if let Some(schedule) = schedules.remove(&place) {
                running.keep_schedule(schedule);
            }
            for (rule, state) in running.group.rules.iter().zip(&mut running.rules) {
                if let Some(before) = known.remove(&rule.key(&running.group)) {
                    *state = before;
                }
            }
            self.groups.push(running);
        }
        let still: BTreeSet<&Labels> =
            self.groups.iter().flat_map(|g| &g.rules).flat_map(|r| &r.given).collect();
        // Behind the last samples, and before the first ones of rules that may give these series again.
        let time_ms = self.last_tick_ms.min(now_ms) + 1;
        for state in known.values() {
            for labels in state.given.iter().filter(|labels| !still.contains(labels)) {
                let sample =
                    RuleSample { labels: labels.clone(), time_ms, value: stale_nan(), histogram: None };
                self.ended_series.push(sample);
            }
            for alert in state.alerts.active().filter(|alert| alert.state == AlertState::Firing) {
                self.dispatcher.end(&alert.labels, now_ms);
            }
        }
        let receivers: BTreeSet<&str> = config.receivers.iter().map(|r| r.name.as_str()).collect();
        self.dispatcher.keep_receivers(&receivers);
        self.config = config;
        Ok(())
    }
}
