//! `/api/v1/targets`, `/api/v1/targets/metadata`, `/api/v1/targets/relabel_steps`,
//! `/api/v1/scrape_pools`, `/api/v1/scrape_pools/config` and `/api/v1/alertmanagers`.

use std::collections::{BTreeMap, HashMap};

use vedette_config::show_duration;
use vedette_model::{Labels, Matcher, MetricMetadata, PoolState, RelabelConfig, TargetState, relabel_steps};
use vedette_wire::{
    json::{Object, push_array},
    number::rfc3339,
    prometheus::{self as wire, ErrorType},
};

use super::{Failure, give, invalid, status::blocking};
use crate::{Job, app::Shared, request::Call, routes::Handled};

/// What Prometheus says of a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Targets that are scraped, and such as rules dropped.
pub fn targets(call: Call) -> Handled {
    Box::pin(async move { give(blocking(call, targets_body).await) })
}

/// What targets say of their metric families.
pub fn metadata(call: Call) -> Handled {
    Box::pin(async move { give(blocking(call, metadata_body).await) })
}

/// What each rule of a pool makes of a label set.
pub fn steps(call: Call) -> Handled {
    Box::pin(async move { give(blocking(call, steps_body).await) })
}

/// Names of the scrape pools.
pub fn pools(call: Call) -> Handled {
    let names = |call: &Call| {
        let names = call.shared.app.targets.as_ref().map_or_else(Vec::new, |t| t.pool_names());
        Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            wire::texts(object.member("scrapePools"), &names);
            object.end();
        }))
    };
    Box::pin(async move { give(blocking(call, names).await) })
}

/// A scrape pool as it is configured.
pub fn pool_config(call: Call) -> Handled {
    let config = |call: &Call| {
        let job = job(call)?;
        Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            object.text("yaml", &job.yaml);
            object.end();
        }))
    };
    Box::pin(async move { give(blocking(call, config).await) })
}

/// Where alerts are sent.
pub fn alertmanagers(call: Call) -> Handled {
    let list = |call: &Call| {
        let known = call.shared.app.program.alertmanagers();
        Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            for (name, urls) in
                [("activeAlertmanagers", known.active), ("droppedAlertmanagers", known.dropped)]
            {
                push_array(object.member(name), urls, |out, url| {
                    let mut object = Object::begin(out);
                    object.text("url", &url);
                    object.end();
                });
            }
            object.end();
        }))
    };
    Box::pin(async move { give(blocking(call, list).await) })
}

fn targets_body(call: &Call) -> Result<Vec<u8>, Failure> {
    let state = call.params.first("state").to_lowercase();
    let any = matches!(state.as_str(), "" | "any");
    let (active, dropped) = (any || state == "active", any || state == "dropped");
    let wanted = call.params.given("scrapePool");
    let app = &call.shared.app;
    // The numbers of what was dropped are those of all pools.
    let all = app.targets.as_ref().map_or_else(Vec::new, |t| t.pools(wanted.filter(|_| !dropped)));
    let asked = |pool: &&PoolState| wanted.is_none_or(|wanted| wanted == pool.pool);
    Ok(wire::answer(|out| {
        let mut object = Object::begin(out);
        let targets = all.iter().filter(asked).flat_map(|pool| &pool.targets).filter(|_| active);
        push_array(object.member("activeTargets"), targets, |out, target| {
            push_target(out, target, &app.host.name);
        });
        let targets = all.iter().filter(asked).flat_map(|pool| &pool.dropped).filter(|_| dropped);
        push_array(object.member("droppedTargets"), targets, |out, target| {
            let mut object = Object::begin(out);
            object.labels("discoveredLabels", &target.discovered).text("scrapePool", &target.pool);
            if let Some(error) = &target.error {
                object.text("error", error);
            }
            object.end();
        });
        let counts = object.member("droppedTargetCounts");
        if dropped {
            let mut counts = Object::begin(counts);
            for pool in &all {
                counts.number(&pool.pool, pool.dropped_count as f64);
            }
            counts.end();
        } else {
            counts.extend_from_slice(b"null");
        }
        object.end();
    }))
}

fn push_target(out: &mut Vec<u8>, target: &TargetState, host: &str) {
    let mut object = Object::begin(out);
    object.labels("discoveredLabels", &target.discovered).labels("labels", &target.labels);
    object.text("scrapePool", &target.pool).text("scrapeUrl", &target.url);
    object.text("globalUrl", &global_url(&target.url, host)).text("lastError", &target.last_error);
    match target.last_scrape_ns {
        0 => object.text("lastScrape", NEVER),
        time_ns => object.text("lastScrape", &rfc3339(time_ns)),
    };
    object.number("lastScrapeDuration", target.last_duration.as_secs_f64());
    object.text("health", target.health.as_str());
    object.text("scrapeInterval", &show_duration(target.interval));
    object.text("scrapeTimeout", &show_duration(target.timeout));
    object.end();
}

/// The URL as others reach it: a target on the loopback device is one of this machine.
fn global_url(url: &str, host: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    for own in ["localhost", "127.0.0.1", "[::1]"] {
        if let Some(port) = authority.strip_prefix(own)
            && (port.is_empty() || port.starts_with(':'))
        {
            return format!("{scheme}://{host}{port}{path}");
        }
    }
    url.to_owned()
}

fn metadata_body(call: &Call) -> Result<Vec<u8>, Failure> {
    let params = &call.params;
    let limit = match params.given("limit") {
        None => None,
        // Prometheus takes a negative number, and 0, for no limit.
        Some(text) => match text.parse::<i64>() {
            Ok(limit) => usize::try_from(limit).ok().filter(|limit| *limit > 0),
            Err(_) => return Err((ErrorType::BadData, "limit must be a number".to_owned())),
        },
    };
    let matchers: Vec<Matcher> = match params.given("match_target") {
        None => Vec::new(),
        Some(selector) => vedette_promql::parse_selector(selector).map_err(|e| invalid("match_target", e))?,
    };
    let metric = params.given("metric");
    let found = find_metadata(&call.shared, &matchers, metric, limit.unwrap_or(usize::MAX));
    Ok(wire::answer(|out| {
        push_array(out, &found, |out, (target, family)| {
            let mut object = Object::begin(out);
            object.labels("target", target);
            if metric.is_none() {
                object.text("metric", &family.family);
            }
            object.text("type", family.kind.as_str()).text("help", &family.help).text("unit", &family.unit);
            object.end();
        });
    }))
}

/// Families of the targets that fit. As with Prometheus the limit counts when the next target comes:
/// a target is never cut in two.
fn find_metadata(
    shared: &Shared,
    matchers: &[Matcher],
    metric: Option<&str>,
    limit: usize,
) -> Vec<(Labels, MetricMetadata)> {
    let mut found: Vec<(Labels, MetricMetadata)> = Vec::new();
    let Some(targets) = &shared.app.targets else { return found };
    let mut last: Option<(Labels, bool)> = None;
    targets.target_metadata(&mut |labels, family| {
        let fits = match &last {
            Some((target, fits)) if target == labels => *fits,
            _ => {
                let matched = matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
                let fits = matched && found.len() < limit;
                last = Some((labels.clone(), fits));
                fits
            }
        };
        if fits && metric.is_none_or(|metric| metric == family.family) {
            found.push((labels.clone(), family.clone()));
        }
    });
    found
}

fn job(call: &Call) -> Result<Job, Failure> {
    let bad = |text: String| (ErrorType::BadData, text);
    let pool =
        call.params.given("scrapePool").ok_or_else(|| bad("no scrapePool parameter provided".to_owned()))?;
    let not_found = || bad(format!("error retrieving scrape config: scrape pool {pool:?} not found"));
    call.shared.app.program.job(pool).ok_or_else(not_found)
}

fn steps_body(call: &Call) -> Result<Vec<u8>, Failure> {
    let bad = |text: String| (ErrorType::BadData, text);
    if call.params.given("scrapePool").is_none() {
        return Err(bad("no scrapePool parameter provided".to_owned()));
    }
    let Some(text) = call.params.given("labels") else {
        return Err(bad("no labels parameter provided".to_owned()));
    };
    let labels: HashMap<String, String> =
        serde_json::from_str(text).map_err(|e| bad(format!("error parsing labels: {e}")))?;
    let job = job(call)?;
    let labels = Labels::from_pairs(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let steps = relabel_steps(&job.rules, &labels);
    Ok(wire::answer(|out| {
        let mut object = Object::begin(out);
        // The rules behind one that drops the target find nothing.
        let rules = job.rules.iter().enumerate();
        push_array(object.member("steps"), rules, |out, (place, rule)| {
            let mut object = Object::begin(out);
            push_rule(object.member("rule"), rule.config());
            let step = steps.get(place).filter(|step| step.kept);
            object.labels("output", step.map_or(&Labels::empty(), |step| &step.labels));
            let kept: &[u8] = if step.is_some() { b"true" } else { b"false" };
            object.member("keep").extend_from_slice(kept);
            object.end();
        });
        object.end();
    }))
}

/// A rule with its defaults, without what its action has no use for.
fn push_rule(out: &mut Vec<u8>, rule: &RelabelConfig) {
    let mut object = Object::begin(out);
    if !rule.source_labels.is_empty() {
        wire::texts(object.member("source_labels"), &rule.source_labels);
    }
    if !rule.separator().is_empty() {
        object.text("separator", rule.separator());
    }
    object.text("regex", rule.regex());
    if rule.modulus != 0 {
        object.number("modulus", rule.modulus as f64);
    }
    if !rule.target_label.is_empty() {
        object.text("target_label", &rule.target_label);
    }
    if !rule.replacement().is_empty() {
        object.text("replacement", rule.replacement());
    }
    object.text("action", rule.action.as_str());
    object.end();
}

/// What keeps the targets of each pool from being found, where something does.
pub fn problems(shared: &Shared) -> BTreeMap<String, Vec<String>> {
    let names = shared.app.targets.as_ref().map_or_else(Vec::new, |t| t.pool_names());
    let problems = |name: &String| shared.app.program.job(name).map_or_else(Vec::new, |job| job.problems);
    let all = names.into_iter().map(|name| (problems(&name), name));
    all.filter(|(problems, _)| !problems.is_empty()).map(|(problems, name)| (name, problems)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_this_machine_are_reached_by_its_name() {
        for (url, global) in [
            ("http://127.0.0.1:9100/metrics", "http://h:9100/metrics"),
            ("https://localhost/x?a=b", "https://h/x?a=b"),
            ("http://[::1]:1", "http://h:1"),
            ("http://localhost.example:1/", "http://localhost.example:1/"),
            ("http://127.0.0.10:1/", "http://127.0.0.10:1/"),
            ("no url", "no url"),
        ] {
            assert_eq!(global_url(url, "h"), global);
        }
    }
}
