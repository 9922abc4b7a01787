//! From the labels that a target tells to those of the stored series.
//!
//! This is done once for each series that was not known, so it may allocate.

use vedette_config::prometheus::{ScrapeJob, ScrapeLimits};
use vedette_model::{Labels, LabelsBuilder, METRIC_NAME, NameScheme, relabel};

use crate::Target;

/// Why a series cannot be taken. The whole scrape fails with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// There is no metric name.
    #[error("a series has no metric name after the rules of the job: {labels}")]
    NoName {
        /// What there is.
        labels: Labels,
    },
    /// A name is none.
    #[error("{name:?} is no name under the scheme {scheme}, in {labels}")]
    Name {
        /// The name.
        name: String,
        /// The scheme.
        scheme: &'static str,
        /// The series.
        labels: Labels,
    },
    /// A limit of the job is exceeded.
    #[error("{limit} exceeded (metric: {metric}, label: {label}, found: {found}, limit: {max})")]
    Limit {
        /// The key of the limit.
        limit: &'static str,
        /// The metric, cut.
        metric: String,
        /// The label, cut; empty where there are too many.
        label: String,
        /// How many there are.
        found: u64,
        /// How many there may be.
        max: u64,
    },
}

/// The labels of the series that a target tells with `told`, or `None` where a rule of the job drops
/// it. An empty value counts as told: with `honor_labels` it keeps the target's own label away.
pub fn sample_labels<N: AsRef<str>, V: AsRef<str>>(
    job: &ScrapeJob,
    target: &Target,
    told: &[(N, V)],
) -> Result<Option<Labels>, SeriesError> {
    let mut labels = LabelsBuilder::new();
    for (name, value) in told {
        labels.set(name.as_ref(), value.as_ref());
    }
    if job.honor_labels {
        for (name, value) in &target.labels {
            if !told.iter().any(|(told, _)| told.as_ref() == name) {
                labels.set(name, value);
            }
        }
    } else {
        overrule(&mut labels, &target.labels);
    }
    if !relabel(&job.metric_relabel, &mut labels) {
        return Ok(None);
    }
    let labels = labels.build();
    if labels.is_empty() {
        return Ok(None);
    }
    check_names(&labels, job.name_scheme)?;
    check_limits(&labels, &job.limits)?;
    Ok(Some(labels))
}

/// The labels of a series about the scrape itself, such as `up`.
pub fn report_labels(target: &Target, metric: &str) -> Labels {
    target.labels.to_builder().set(METRIC_NAME, metric).build()
}

/// Puts the labels of the target in place of those of the same name, which get `exported_` before
/// theirs, as often as is needed.
fn overrule(labels: &mut LabelsBuilder, target: &Labels) {
    let mut overruled: Vec<(String, String)> = Vec::new();
    for (name, value) in target {
        if let Some(told) = labels.get(name) {
            overruled.push((name.to_owned(), told.to_owned()));
        }
        labels.set(name, value);
    }
    // The short ones first, so that `exported_a` goes out of the way of `a`.
    overruled.sort_by_key(|(name, _)| name.len());
    for (name, value) in overruled {
        let mut free = format!("exported_{name}");
        while labels.get(&free).is_some() {
            free.insert_str(0, "exported_");
        }
        labels.set(&free, &value);
    }
}

fn check_names(labels: &Labels, scheme: NameScheme) -> Result<(), SeriesError> {
    let wrong = |name: &str| SeriesError::Name {
        name: name.to_owned(),
        scheme: scheme.as_str(),
        labels: labels.clone(),
    };
    match labels.get(METRIC_NAME) {
        None => return Err(SeriesError::NoName { labels: labels.clone() }),
        Some(name) if !scheme.takes_metric(name) => return Err(wrong(name)),
        Some(_) => {}
    }
    match labels.iter().find(|(name, _)| !scheme.takes_label(name)) {
        Some((name, _)) => Err(wrong(name)),
        None => Ok(()),
    }
}

fn check_limits(labels: &Labels, limits: &ScrapeLimits) -> Result<(), SeriesError> {
    let exceeded = |limit, label: &str, found: usize, max| {
        (max > 0 && found as u64 > max).then(|| SeriesError::Limit {
            limit,
            metric: cut(labels.metric_name()),
            label: cut(label),
            found: found as u64,
            max,
        })
    };
    let names = labels.iter().filter_map(|(name, _)| {
        exceeded("label_name_length_limit", name, name.len(), limits.label_name_bytes)
    });
    let values = labels.iter().filter_map(|(name, value)| {
        exceeded("label_value_length_limit", name, value.len(), limits.label_value_bytes)
    });
    let count = exceeded("label_limit", "", labels.len(), limits.labels);
    match count.into_iter().chain(names).chain(values).next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Long text has no place in an error.
fn cut(text: &str) -> String {
    text.chars().take(50).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::job;

    fn target(job: &ScrapeJob) -> Target {
        let found = Labels::from_pairs([("__address__", "h:1"), ("a", "target")]);
        Target::new(job, &found).expect("usable").expect("kept")
    }

    fn labels(keys: &str, told: &[(&str, &str)]) -> Result<Option<String>, String> {
        let job = job(keys);
        let labels = sample_labels(&job, &target(&job), told).map_err(|e| e.to_string())?;
        Ok(labels.map(|l| l.to_string()))
    }

    fn some(text: &str) -> Result<Option<String>, String> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn the_targets_labels_go_before_those_that_it_tells() {
        let told = [("__name__", "m"), ("a", "told"), ("exported_a", "x"), ("b", ""), ("job", "j")];
        assert_eq!(
            labels("honor_labels: false", &told),
            some(
                "m{a=\"target\", exported_a=\"x\", exported_exported_a=\"told\", exported_job=\"j\", \
                 instance=\"h:1\", job=\"test\"}"
            )
        );
        assert_eq!(
            labels("honor_labels: true", &told),
            some("m{a=\"told\", exported_a=\"x\", instance=\"h:1\", job=\"j\"}")
        );
        // Told to be empty, it stays away.
        assert_eq!(
            labels("honor_labels: true", &[("__name__", "m"), ("instance", ""), ("job", "")]),
            some("m{a=\"target\"}")
        );
        let job = job("honor_labels: true");
        assert_eq!(
            report_labels(&target(&job), "up").to_string(),
            "up{a=\"target\", instance=\"h:1\", job=\"test\"}"
        );
    }

    #[test]
    fn rules_drop_and_rename() {
        let keys = "metric_relabel_configs: [{source_labels: [__name__], regex: 'x.*', action: drop}, \
                    {source_labels: [__name__], regex: 'a(.*)', target_label: __name__, replacement: 'b$1'}, \
                    {regex: 'instance|job|a', action: labeldrop}]";
        assert_eq!(labels(keys, &[("__name__", "xy")]), Ok(None));
        assert_eq!(labels(keys, &[("__name__", "ac")]), some("bc"));
    }

    #[test]
    fn names_and_limits_are_checked() {
        for (keys, told, words) in [
            ("honor_labels: true", &[("l", "v")][..], &["no metric name"][..]),
            ("metric_name_validation_scheme: legacy", &[("__name__", "a.b")], &["\"a.b\"", "legacy"]),
            (
                "metric_name_validation_scheme: legacy",
                &[("__name__", "a"), ("b.c", "d")],
                &["\"b.c\"", "legacy"],
            ),
            ("label_limit: 3", &[("__name__", "a")], &["label_limit", "found: 4", "limit: 3"]),
            ("label_name_length_limit: 8", &[("__name__", "a"), ("ninebytes", "")], &[]),
            (
                "label_name_length_limit: 8",
                &[("__name__", "a"), ("ninebytes", "v")],
                &["name_length", "ninebytes"],
            ),
            (
                "label_value_length_limit: 6",
                &[("__name__", "a"), ("l", "sevenby")],
                &["value_length", "found: 7"],
            ),
        ] {
            match labels(keys, told) {
                Ok(_) => assert!(words.is_empty(), "{keys}"),
                Err(error) => {
                    assert!(!words.is_empty() && words.iter().all(|w| error.contains(w)), "{keys}: {error}");
                }
            }
        }
        assert!(labels("honor_labels: true", &[("__name__", "a.b"), ("é", "x")]).is_ok());
    }
}
