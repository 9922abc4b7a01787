//! `/api/v1/rules` and `/api/v1/alerts`.

use vedette_model::{Labels, Matcher};
use vedette_wire::prometheus::{self as wire, AlertState, ErrorType, Rule, RuleGroup};

use super::{Failure, give, invalid};
use crate::{
    request::{Call, Params},
    routes::Handled,
};

/// Lists rule groups.
pub fn rules(call: Call) -> Handled {
    Box::pin(async move { give(rules_body(call).await) })
}

/// Lists alerts that are pending or fire.
pub fn alerts(call: Call) -> Handled {
    Box::pin(async move { give(alerts_body(call).await) })
}

async fn rules_body(call: Call) -> Result<Vec<u8>, Failure> {
    let shared = call.shared.clone();
    let run = move |_: &_| {
        let wanted = Wanted::read(&call.params)?;
        let mut groups = call.shared.app.judgement.rule_groups();
        groups.retain_mut(|group| wanted.narrow(group));
        Ok(wire::answer(|out| wire::rule_groups(out, &groups)))
    };
    shared.gate.run(&call.client, None, run).await?
}

async fn alerts_body(call: Call) -> Result<Vec<u8>, Failure> {
    let shared = call.shared.clone();
    let run = move |_: &_| {
        let groups = shared.app.judgement.rule_groups();
        let rules = groups.iter().flat_map(|group| &group.rules);
        let alerts = rules.filter_map(|rule| rule.alerting.as_ref()).flat_map(|alerting| &alerting.alerts);
        wire::answer(|out| wire::alerts(out, alerts.filter(|a| a.state != AlertState::Inactive)))
    };
    Ok(call.shared.gate.run(&call.client, None, run).await?)
}

/// Which rules are asked for.
struct Wanted {
    alerting: bool,
    recording: bool,
    without_alerts: bool,
    rules: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    matcher_sets: Vec<Vec<Matcher>>,
}

impl Wanted {
    fn read(params: &Params) -> Result<Self, Failure> {
        let kind = params.first("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            return Err(invalid("type", format_args!("not supported value {kind:?}")));
        }
        let without_alerts = match params.given("exclude_alerts") {
            None => false,
            Some(text) => parse_bool(text).ok_or_else(|| {
                invalid(
                    "exclude_alerts",
                    format_args!("error converting exclude_alerts: {text:?} is neither true nor false"),
                )
            })?,
        };
        let names = |name| params.all(name).map(str::to_owned).collect();
        Ok(Self {
            alerting: kind != "record",
            recording: kind != "alert",
            without_alerts,
            rules: names("rule_name[]"),
            groups: names("rule_group[]"),
            files: names("file[]"),
            matcher_sets: params
                .all("match[]")
                .map(vedette_promql::parse_selector)
                .collect::<Result<_, _>>()
                .map_err(|e| (ErrorType::BadData, e.to_string()))?,
        })
    }

    /// Leaves what is wanted of a group; whether anything is left.
    fn narrow(&self, group: &mut RuleGroup) -> bool {
        let named = |names: &[String], name: &String| names.is_empty() || names.contains(name);
        if !named(&self.groups, &group.name) || !named(&self.files, &group.file) {
            return false;
        }
        group.rules.retain(|rule| {
            let kind = if rule.alerting.is_some() { self.alerting } else { self.recording };
            kind && named(&self.rules, &rule.name) && self.matches(&rule.labels)
        });
        if self.without_alerts {
            for Rule { alerting, .. } in &mut group.rules {
                if let Some(alerting) = alerting {
                    alerting.alerts.clear();
                }
            }
        }
        // A group without rules was written so; one that lost its rules was not asked for.
        !group.rules.is_empty()
    }

    fn matches(&self, labels: &Labels) -> bool {
        self.matcher_sets.is_empty()
            || self
                .matcher_sets
                .iter()
                .any(|set| set.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or(""))))
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
