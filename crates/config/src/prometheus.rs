//! `prometheus.yml` of Prometheus 3.14.
//!
//! [`load`] reads the file and the files of scrape jobs that it names. Values that a job leaves
//! out are those of `global`, so whoever reads a [`ScrapeJob`] needs nothing else. [`Config::to_yaml`]
//! shows the whole with defaults and without secrets.

mod alerting;
mod expand;
mod glob;
mod global;
mod remote;
mod scrape;
mod settings;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use vedette_sys::Fs;

use crate::{
    Error,
    fields::{Fields, Result, Source},
    shown::Shown,
    yaml,
};

pub use alerting::{Alerting, Alertmanager};
pub use global::Global;
pub use remote::{CloudAuth, Metadata, Queue, RemoteRead, RemoteWrite, WriteMessage};
pub use scrape::{EscapingScheme, ScrapeJob, ScrapeLimits, ScrapeProtocol};
pub use settings::{Otlp, Storage, Tracing, TranslationStrategy};

/// What a file may ask of the machine that it is read on.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Its files.
    pub fs: &'a dyn Fs,
    /// Its environment, by name of the variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Who reads the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A server, which stores and judges.
    Server,
    /// An agent, which scrapes and sends on.
    Agent,
}

/// A whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What holds for all.
    pub global: Global,
    /// The percentage of `runtime.gogc`, which has no meaning for Vedette.
    pub gogc: i64,
    /// Files of rules, the last part perhaps with a `*`.
    pub rule_files: Vec<PathBuf>,
    /// Files of scrape jobs, likewise.
    pub scrape_config_files: Vec<PathBuf>,
    /// Scrape jobs, those of other files included.
    pub scrape_jobs: Vec<ScrapeJob>,
    /// Where alerts go.
    pub alerting: Alerting,
    /// Where samples are sent.
    pub remote_write: Vec<RemoteWrite>,
    /// Where samples are read from.
    pub remote_read: Vec<RemoteRead>,
    /// How OTLP becomes series.
    pub otlp: Otlp,
    /// How series are kept.
    pub storage: Storage,
    /// Where traces are sent.
    pub tracing: Option<Tracing>,
    shown: Shown,
    /// The files of scrape jobs, which are not shown with the whole.
    shown_jobs: Vec<Shown>,
}

impl Config {
    /// The configuration as it is shown: all defaults, no secrets.
    pub fn to_yaml(&self) -> String {
        self.shown.to_yaml()
    }

    /// One scrape job likewise.
    pub fn job_to_yaml(&self, name: &str) -> Option<String> {
        let lists = std::iter::once(&self.shown).chain(&self.shown_jobs);
        let mut jobs = lists.filter_map(|whole| whole.get("scrape_configs")).flat_map(Shown::items);
        let is_it = |job: &&Shown| matches!(job.get("job_name"), Some(Shown::Text(text) | Shown::Plain(text)) if text == name);
        jobs.find(is_it).map(Shown::to_yaml)
    }
}

/// Reads a file, and the files of scrape jobs that it names.
pub fn load(path: &Path, mode: Mode, surroundings: Surroundings<'_>) -> Result<Config> {
    let text = read(path, surroundings)?;
    parse(path, &text, mode, surroundings)
}

/// Reads the text of the file at `path`, which gives errors their name and paths their folder.
pub fn parse(path: &Path, text: &str, mode: Mode, surroundings: Surroundings<'_>) -> Result<Config> {
    let name = path.display().to_string();
    let node = yaml::read(&name, text)?;
    let source = Source { file: &name, folder: folder(path) };
    let mut fields = Fields::of(source, "", &node)?;
    let global = fields.section_or_default("global", "global", |f| Global::read(f, surroundings.env))?;
    let gogc = fields.section_or_default("runtime", "runtime", |f| match f.integer("gogc", 0)? {
        0 => Ok(75),
        given => Ok(given),
    })?;
    if mode == Mode::Agent {
        for key in ["alerting", "rule_files", "remote_read"] {
            if has_content(&mut fields, key) {
                let reason = format!("{key} is not allowed in agent mode; remove it, or run a server");
                return Err(fields.refuse(key, reason));
            }
        }
    }
    let rule_files = patterns(&mut fields, "rule_files")?;
    let job_files = patterns(&mut fields, "scrape_config_files")?;
    let mut scrape_jobs =
        fields.list("scrape_configs", "a scrape config", |f| ScrapeJob::read(f, &global))?;
    check_job_names(&fields, &scrape_jobs, 0)?;
    let alerting = fields
        .section("alerting", "alerting", |f| Alerting::read(f, global.name_scheme))?
        .unwrap_or_default();
    let remote_write = remote::writes(&mut fields, global.name_scheme)?;
    let remote_read = remote::reads(&mut fields)?;
    let otlp = fields.section_or_default("otlp", "otlp", |f| Otlp::read(f, global.name_scheme))?;
    let storage = fields.section_or_default("storage", "storage", Storage::read)?;
    let tracing = fields.section("tracing", "tracing", Tracing::read)?;
    let mut shown_jobs = Vec::new();
    for pattern in &job_files {
        for path in glob::expand(surroundings.fs, pattern) {
            let known = scrape_jobs.len();
            let (jobs, shown) = jobs_of_file(&path, &global, surroundings)?;
            scrape_jobs.extend(jobs);
            shown_jobs.push(shown);
            check_job_names(&fields, &scrape_jobs, known)?;
        }
    }
    let shown = fields.finish("prometheus.yml")?;
    Ok(Config {
        global,
        gogc,
        rule_files,
        scrape_config_files: job_files,
        scrape_jobs,
        alerting,
        remote_write,
        remote_read,
        otlp,
        storage,
        tracing,
        shown,
        shown_jobs,
    })
}

/// Files that match the last part of `pattern`, sorted; used for rule files as well.
pub fn expand_pattern(fs: &dyn Fs, pattern: &Path) -> Vec<PathBuf> {
    glob::expand(fs, pattern)
}

fn jobs_of_file(
    path: &Path,
    global: &Global,
    surroundings: Surroundings<'_>,
) -> Result<(Vec<ScrapeJob>, Shown)> {
    let name = path.display().to_string();
    let node = yaml::read(&name, &read(path, surroundings)?)?;
    let mut fields = Fields::of(Source { file: &name, folder: folder(path) }, "", &node)?;
    let jobs = fields.list("scrape_configs", "a scrape config", |f| ScrapeJob::read(f, global))?;
    check_job_names(&fields, &jobs, 0)?;
    let shown = fields.finish("a file of scrape configs")?;
    Ok((jobs, shown))
}

fn read(path: &Path, surroundings: Surroundings<'_>) -> Result<String> {
    let file = path.display().to_string();
    let cannot = |source| Error::Read { file: file.clone(), source };
    let length = surroundings.fs.open_read(path).and_then(|f| f.len()).map_err(cannot)?;
    if length > yaml::FILE_BYTES_MAX as u64 {
        let reason = format!("the file has {length} bytes, more than {}", yaml::FILE_BYTES_MAX);
        return Err(Error::Value { file, line: 1, column: 1, key: String::new(), reason });
    }
    let bytes = surroundings.fs.read(path).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let reason = "the file is not valid UTF-8".to_owned();
        Error::Value { file, line, column: 1, key: String::new(), reason }
    })
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn has_content(fields: &mut Fields<'_>, key: &str) -> bool {
    use yaml::Value;
    match fields.node(key).map(|node| &node.value) {
        None => false,
        Some(Value::List(items)) => !items.is_empty(),
        Some(Value::Map(pairs)) => pairs.iter().any(|(_, value)| match &value.value {
            Value::Null => false,
            Value::List(items) => !items.is_empty(),
            _ => true,
        }),
        Some(_) => true,
    }
}

/// Paths of which only the last part may have stars.
fn patterns(fields: &mut Fields<'_>, key: &str) -> Result<Vec<PathBuf>> {
    let names = fields.texts(key)?;
    for name in &names {
        if !has_star_in_last_part_only(name) {
            let reason = format!(
                "invalid path {name:?} in {}: only its last part may have a *",
                key.replace('_', " ")
            );
            return Err(fields.refuse(key, reason));
        }
    }
    Ok(fields.paths_of(key, &names))
}

/// Whether no `/` comes behind a `*`.
pub(crate) fn has_star_in_last_part_only(path: &str) -> bool {
    path.find('*').is_none_or(|star| !path[star..].contains('/'))
}

/// Refuses a name among the jobs from `known` on that another job has.
fn check_job_names(fields: &Fields<'_>, jobs: &[ScrapeJob], known: usize) -> Result<()> {
    let mut first: HashMap<&str, &ScrapeJob> = HashMap::new();
    for (i, job) in jobs.iter().enumerate() {
        let Some(first) = first.insert(&job.name, job).filter(|_| i >= known) else { continue };
        let place = if known == 0 { format!("scrape_configs[{i}]") } else { "scrape_config_files".into() };
        let reason = format!(
            "found multiple scrape configs with the job name {:?}, the first at line {} of {}; names must \
             differ",
            job.name, first.line, first.file
        );
        return Err(fields.refuse_at(job.line, &job.file, &place, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
