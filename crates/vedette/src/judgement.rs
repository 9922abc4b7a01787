//! Loads what judges (rules, detections), and shows its state to `api`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use vedette_alerting::{Alert, AlertState, Group, GroupView, Health, Level, RuleView};
use vedette_api::Judgement;
use vedette_detection::Detections;
use vedette_model::Finding;
use vedette_ruler::RulerHandle;
use vedette_wire::prometheus as wire;

use crate::config::Settings;

/// Rules that come with Vedette.
const BUILTIN_RULES: [(&str, &str); 4] = [
    ("builtin/host.yml", include_str!("../../../content/rules/host.yml")),
    ("builtin/containers.yml", include_str!("../../../content/rules/containers.yml")),
    ("builtin/capacity.yml", include_str!("../../../content/rules/capacity.yml")),
    ("builtin/vedette.yml", include_str!("../../../content/rules/vedette.yml")),
];

/// Rule and detection files are text for people; a larger one is a mistake.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// All rule groups: built-in ones, then those of the files.
pub fn rule_groups(settings: &Settings) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    if settings.builtin_rules {
        for (name, text) in BUILTIN_RULES {
            groups.extend(load_rules(name, text).context("BUG: a built-in rule file is wrong")?);
        }
    }
    for path in &settings.rule_files {
        groups.extend(groups_of_file(path)?);
    }
    Ok(groups)
}

/// The rule groups of one file.
pub fn groups_of_file(path: &Path) -> Result<Vec<Group>> {
    load_rules(&path.display().to_string(), &read(path)?)
}

fn load_rules(name: &str, text: &str) -> Result<Vec<Group>> {
    vedette_alerting::load(name, text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// All detections: built-in ones, then those of the files.
pub fn detections(settings: &Settings) -> Result<Detections> {
    let mut files: Vec<(String, String)> = Vec::new();
    if settings.builtin_detections {
        files.extend(vedette_detection::BUILTIN.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())));
    }
    for path in &settings.detection_files {
        files.push((path.display().to_string(), read(path)?));
    }
    Detections::load(files.iter().map(|(n, t)| (n.as_str(), t.as_str()))).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })
}

/// `vedette rules check`: prints problems; says how many errors there are.
pub fn check_rule_files(files: &[impl AsRef<Path>]) -> Result<usize> {
    let mut texts = Vec::new();
    for file in files {
        texts.push((file.as_ref().display().to_string(), read(file.as_ref())?));
    }
    let problems = vedette_alerting::check(&texts);
    for problem in &problems {
        let level = if problem.level == Level::Error { "error" } else { "warning" };
        eprintln!("{level}: {problem}");
    }
    let errors = problems.iter().filter(|p| p.level == Level::Error).count();
    if errors == 0 {
        let rules: usize = texts
            .iter()
            .filter_map(|(name, text)| vedette_alerting::load(name, text).ok())
            .flat_map(|groups| groups.into_iter().map(|g| g.rules.len()))
            .sum();
        println!("{} files, {rules} rules: ok", texts.len());
    }
    Ok(errors)
}

fn read(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let bytes = std::fs::metadata(path).with_context(cannot)?.len();
    if bytes > FILE_BYTES_MAX {
        bail!("{} has {bytes} bytes, more than {FILE_BYTES_MAX}; name the right file", path.display());
    }
    std::fs::read_to_string(path).with_context(cannot)
}

/// The ruler, as `api` asks it.
pub struct RulerJudgement(pub RulerHandle);

impl Judgement for RulerJudgement {
    fn rule_groups(&self) -> Vec<wire::RuleGroup> {
        self.0.view().groups.into_iter().map(group).collect()
    }

    fn findings(&self) -> Vec<Finding> {
        self.0.view().findings
    }
}

fn group(group: GroupView) -> wire::RuleGroup {
    wire::RuleGroup {
        name: group.name,
        file: group.file,
        rules: group.rules.into_iter().map(rule).collect(),
        interval_seconds: seconds(group.interval_ms),
        limit: group.limit as u64,
        evaluation_seconds: group.evaluation_seconds,
        last_evaluation_ns: group.last_evaluation_ms.map(nanos),
    }
}

fn rule(rule: RuleView) -> wire::Rule {
    wire::Rule {
        name: rule.name,
        query: rule.query,
        labels: rule.labels,
        health: match rule.health {
            Health::Unknown => wire::RuleHealth::Unknown,
            Health::Ok => wire::RuleHealth::Ok,
            Health::Err => wire::RuleHealth::Err,
        },
        last_error: rule.last_error,
        evaluation_seconds: rule.evaluation_seconds,
        last_evaluation_ns: rule.last_evaluation_ms.map(nanos),
        alerting: rule.alerting.map(|a| wire::AlertingRule {
            state: state(a.state),
            hold_seconds: seconds(a.for_ms),
            keep_firing_seconds: seconds(a.keep_firing_for_ms),
            annotations: a.annotations,
            alerts: a.alerts.into_iter().map(alert).collect(),
        }),
    }
}

fn alert(alert: Alert) -> wire::Alert {
    wire::Alert {
        labels: alert.labels,
        annotations: alert.annotations,
        state: state(alert.state),
        active_ns: Some(nanos(alert.active_at_ms)),
        keep_firing_since_ns: alert.keep_firing_since_ms.map(nanos),
        value: alert.value,
    }
}

fn state(state: AlertState) -> wire::AlertState {
    match state {
        AlertState::Inactive => wire::AlertState::Inactive,
        AlertState::Pending => wire::AlertState::Pending,
        AlertState::Firing => wire::AlertState::Firing,
    }
}

fn nanos(ms: i64) -> i64 {
    ms.saturating_mul(1_000_000)
}

#[expect(clippy::cast_precision_loss, reason = "durations stay far below 2^53 ms")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
