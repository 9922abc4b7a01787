//! Reading rule files: everything that is wrong is found before a rule runs, with its place and
//! what to do about it.

use std::{collections::BTreeMap, sync::Arc};

use serde_saphyr::{Location, Spanned};
use vedette_model::Labels;

use crate::{
    duration::parse_duration_ms,
    file::{RawFile, RawGroup, RawRule},
    rule::{AlertRule, Group, Rule, RuleKind},
    template::Text,
};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The file works, but probably not as meant.
    Warning,
    /// The file cannot be used.
    Error,
}

/// Something wrong in a rule file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}{}", remedy_text(.remedy))]
pub struct Problem {
    /// How bad.
    pub level: Level,
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do; empty where the message says it.
    pub remedy: String,
}

fn remedy_text(remedy: &str) -> String {
    if remedy.is_empty() { String::new() } else { format!("; {remedy}") }
}

/// The largest rule file that is read.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Checks files, given as name and content. Problems come in the order of the files.
pub fn check(files: &[(String, String)]) -> Vec<Problem> {
    files.iter().flat_map(|(file, text)| read(file, text).1).collect()
}

/// Reads one file. Warnings alone do not keep it from being used.
pub fn load(file: &str, text: &str) -> Result<Vec<Group>, Vec<Problem>> {
    let (groups, problems) = read(file, text);
    let errors: Vec<Problem> = problems.into_iter().filter(|p| p.level == Level::Error).collect();
    if errors.is_empty() { Ok(groups) } else { Err(errors) }
}

fn read(file: &str, text: &str) -> (Vec<Group>, Vec<Problem>) {
    let mut reader = Reader { file, problems: Vec::new() };
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has more than {FILE_BYTES_MAX} bytes");
        reader.problem(Level::Error, 1, 1, message, "split it into several files");
        return (Vec::new(), reader.problems);
    }
    // An empty file, or one of comments, has no groups.
    let blank = text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'));
    let raw =
        if blank { Ok(RawFile { groups: Vec::new() }) } else { serde_saphyr::from_str::<RawFile>(text) };
    match raw {
        Ok(raw) => {
            let groups = reader.groups(raw);
            reader.problems.sort_by_key(|p| (p.line, p.column));
            (groups, reader.problems)
        }
        Err(error) => {
            reader.yaml(&error);
            (Vec::new(), reader.problems)
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, level: Level, line: u64, column: u64, message: String, remedy: &str) {
        let (file, remedy) = (self.file.to_owned(), remedy.to_owned());
        self.problems.push(Problem { level, file, line, column, message, remedy });
    }

    fn error(&mut self, at: Location, message: impl Into<String>, remedy: &str) {
        self.problem(Level::Error, at.line(), at.column(), message.into(), remedy);
    }

    fn yaml(&mut self, error: &serde_saphyr::Error) {
        let (line, column) = error.location().map_or((1, 1), |l| (l.line(), l.column()));
        let text = error.without_snippet().to_string();
        // The place stands before the message already.
        let message = text.split(" at line ").next().unwrap_or(&text).trim_start_matches("error: ");
        let message = message.lines().next().unwrap_or_default().to_owned();
        let remedy = if message.contains("unknown field") {
            "remove the field or correct its name; every field is listed in Prometheus' documentation of rules"
        } else {
            "correct the YAML"
        };
        self.problem(Level::Error, line, column, message, remedy);
    }

    fn groups(&mut self, raw: RawFile) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for raw in raw.groups {
            let at = raw.name.referenced;
            let name = raw.name.value.clone();
            if name.is_empty() {
                self.error(at, "Groupname must not be empty", "give the group a name");
            }
            if groups.iter().any(|g| g.name == name) {
                let message = format!("groupname: {name:?} is repeated in the same file");
                self.error(at, message, "give each group of a file its own name");
            }
            groups.push(self.group(raw));
        }
        groups
    }

    fn group(&mut self, raw: RawGroup) -> Group {
        let interval_ms = raw.interval.map(|d| (d.referenced, self.duration(&d)));
        if let Some((at, 0)) = interval_ms {
            self.error(at, "the interval is 0", "leave it out for the configured interval");
        }
        let query_offset_ms = raw.query_offset.map_or(0, |d| self.duration(&d));
        let limit = raw.limit.map_or(0, |l| {
            usize::try_from(l.value).unwrap_or_else(|_| {
                self.error(l.referenced, format!("limit is {}", l.value), "use 0 for no limit");
                0
            })
        });
        self.labels(&raw.labels);
        let mut group = Group {
            file: self.file.to_owned(),
            name: raw.name.value,
            interval_ms: interval_ms.map(|(_, ms)| ms).filter(|ms| *ms > 0),
            query_offset_ms,
            limit,
            rules: Vec::new(),
        };
        let mut seen: BTreeMap<(String, Labels, bool), u64> = BTreeMap::new();
        for raw_rule in raw.rules {
            let at = raw_rule.referenced;
            let Some(rule) = self.rule(raw_rule.value, at, &raw.labels) else { continue };
            let is_alert = matches!(rule.kind, RuleKind::Alert(_));
            let identity = (rule.name.clone(), rule.labels.clone(), is_alert);
            if let Some(line) = seen.get(&identity) {
                let message = format!(
                    "{:?} with labels {} stands in this group already, at line {line}",
                    rule.name, rule.labels
                );
                let remedy = "remove one, or tell them apart by a label";
                self.problem(Level::Warning, at.line(), at.column(), message, remedy);
            } else {
                seen.insert(identity, at.line());
            }
            group.rules.push(rule);
        }
        group
    }

    fn duration(&mut self, text: &Spanned<String>) -> i64 {
        parse_duration_ms(&text.value).unwrap_or_else(|message| {
            self.error(text.referenced, message, "");
            0
        })
    }

    fn labels(&mut self, labels: &BTreeMap<String, Spanned<String>>) {
        for (name, value) in labels {
            if name.is_empty() || name == vedette_model::METRIC_NAME {
                let message = format!("invalid label name: {name:?}");
                self.error(value.referenced, message, "rules cannot set this label; use another name");
            }
        }
    }

    fn rule(
        &mut self,
        raw: RawRule,
        at: Location,
        group_labels: &BTreeMap<String, Spanned<String>>,
    ) -> Option<Rule> {
        let known = self.problems.len();
        let (name, is_alert) = match (&raw.record, &raw.alert) {
            (Some(_), Some(alert)) => {
                self.error(
                    alert.referenced,
                    "only one of 'record' and 'alert' must be set",
                    "make two rules of it",
                );
                return None;
            }
            (None, None) => {
                self.error(
                    at,
                    "one of 'record' or 'alert' must be set",
                    "name the alert or the recorded series",
                );
                return None;
            }
            (Some(record), None) => (record, false),
            (None, Some(alert)) => (alert, true),
        };
        if name.value.is_empty() {
            self.error(name.referenced, "the rule's name is empty", "name the alert or the recorded series");
        }
        if !is_alert {
            self.record_only(&raw, name);
        }
        self.labels(&raw.labels);
        for (name, value) in &raw.annotations {
            if name.is_empty() {
                self.error(value.referenced, "invalid annotation name: \"\"", "give it a name");
            }
        }
        let query = match &raw.expr {
            Some(expr) if !expr.value.trim().is_empty() => expr,
            _ => {
                self.error(at, "field 'expr' must be set in rule", "give the rule a query");
                return None;
            }
        };
        let expr = match vedette_promql::parse(&query.value) {
            Ok(expr) => Some(Arc::new(expr)),
            Err(error) => {
                self.error(
                    query.referenced,
                    format!("could not parse expression: {error}"),
                    "the place in the message counts within the expression",
                );
                None
            }
        };
        let labels: BTreeMap<&String, &Spanned<String>> = group_labels.iter().chain(&raw.labels).collect();
        let label_texts =
            if is_alert { self.texts("label", labels.iter().map(|(n, v)| (*n, *v))) } else { Vec::new() };
        let annotation_texts = self.texts("annotation", raw.annotations.iter());
        let plain = |map: &BTreeMap<String, Spanned<String>>| {
            Labels::from_pairs(map.iter().map(|(n, v)| (n, &v.value)))
        };
        let kind = if is_alert {
            let for_ms = raw.hold.map_or(0, |d| self.duration(&d));
            let keep_firing_for_ms = raw.keep_firing_for.map_or(0, |d| self.duration(&d));
            let annotations = plain(&raw.annotations);
            RuleKind::Alert(Box::new(AlertRule { for_ms, keep_firing_for_ms, annotations, annotation_texts }))
        } else {
            RuleKind::Record
        };
        let labels = Labels::from_pairs(labels.into_iter().map(|(n, v)| (n, &v.value)));
        let expr = expr?;
        let usable = self.problems[known..].iter().all(|p| p.level < Level::Error);
        let (name, query) = (name.value.clone(), query.value.clone());
        usable.then_some(Rule { name, query, expr, labels, label_texts, kind })
    }

    fn record_only(&mut self, raw: &RawRule, name: &Spanned<String>) {
        if name.value.contains(['{', '}']) {
            let message =
                format!("braces present in the recording rule name; should it be in expr?: {}", name.value);
            self.error(name.referenced, message, "");
        }
        let misplaced = [
            ("for", raw.hold.as_ref().map(|v| v.referenced)),
            ("keep_firing_for", raw.keep_firing_for.as_ref().map(|v| v.referenced)),
            ("annotations", raw.annotations.values().next().map(|v| v.referenced)),
        ];
        for (field, at) in misplaced {
            if let Some(at) = at {
                let message = format!("invalid field '{field}' in recording rule");
                self.error(at, message, "only alerts have it; remove it");
            }
        }
    }

    fn texts<'t>(
        &mut self,
        what: &str,
        texts: impl Iterator<Item = (&'t String, &'t Spanned<String>)>,
    ) -> Vec<(String, Text)> {
        let mut out = Vec::new();
        for (name, text) in texts {
            match Text::parse(name, &text.value) {
                Ok(parsed) => out.push((name.clone(), parsed)),
                Err(message) => self.error(text.referenced, format!("{what} {name:?}: {message}"), ""),
            }
        }
        out
    }
}
