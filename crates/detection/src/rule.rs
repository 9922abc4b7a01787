//! Rule files: Markdown with the rule as front matter, the explanation as text, and scripts of
//! events that must and must not match as fenced blocks.
//!
//! ````text
//! ---
//! name: fileless-exec
//! title: "{process} runs a program without a file"
//! severity: critical
//! when: exec
//! where: {unlinked: true}
//! mitre: [T1620]
//! ---
//!
//! First paragraph: what was seen and why it matters; shown with each finding.
//!
//! ```yaml match A program in memory
//! - {pid: 10, exec: /proc/self/fd/3, unlinked: true}
//! ```
//! ```yaml no-match An ordinary program
//! - {pid: 10, exec: /bin/true}
//! ```
//! ````

use std::collections::BTreeSet;

use serde::Deserialize;
use vedette_model::{EventKind, Severity};

use crate::{
    condition::{self, Condition, ConditionText},
    error::Error,
    reverse_shell,
    script::{Script, first_line},
};

/// A set of rules with different names.
#[derive(Debug, Clone, Default)]
pub struct Detections {
    rules: Vec<Rule>,
}

impl Detections {
    /// Reads rule files, given as name and text. All errors of all files are told.
    pub fn load<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Vec<Error>> {
        let (mut rules, mut errors, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (file, text) in files {
            match Rule::parse(file, text) {
                Ok(rule) if !names.insert(rule.name.clone()) => errors.push(Error {
                    file: file.to_owned(),
                    line: 1,
                    what: format!("there is a rule {:?} already", rule.name),
                    remedy: "give each rule a name of its own".to_owned(),
                }),
                Ok(rule) => rules.push(rule),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { rules }) } else { Err(errors) }
    }

    /// The rules in the order of their files.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// One rule with its explanation and examples.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Name of the file.
    pub file: String,
    /// Name of the rule: the finding's `alertname`.
    pub name: String,
    /// How bad.
    pub severity: Severity,
    /// One line for people; `{process}`, `{pid}`, `{executable}`, `{container}`, `{host}`,
    /// `{parent}` and `{peer}` are filled in.
    pub title: String,
    /// First paragraph of the explanation.
    pub description: String,
    /// The whole explanation, Markdown.
    pub explanation: String,
    /// Techniques of MITRE ATT&CK.
    pub mitre: Vec<String>,
    /// A finding is over when it was not seen for so long.
    pub expire_after_s: u32,
    pub(crate) logic: Logic,
    pub(crate) examples: Vec<Example>,
}

#[derive(Debug, Clone)]
pub enum Logic {
    ReverseShell(reverse_shell::Parameters),
    Condition { kind: EventKind, holds: Condition, unless: Vec<Condition>, fold_by: Vec<FoldBy> },
}

/// What, beside host and container, makes two sights two findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldBy {
    Process,
    Executable,
    Peer,
}

#[derive(Debug, Clone)]
pub struct Example {
    pub name: String,
    pub line: usize,
    pub must_match: bool,
    pub script: Script,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Front {
    name: String,
    title: String,
    severity: String,
    #[serde(default)]
    mitre: Vec<String>,
    #[serde(default = "default_expire_after_s")]
    expire_after_s: u32,
    behaviour: Option<Behaviour>,
    when: Option<String>,
    #[serde(default, rename = "where")]
    condition: ConditionText,
    #[serde(default)]
    unless: Vec<ConditionText>,
    fold_by: Option<Vec<FoldBy>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
struct Behaviour {
    reverse_shell: reverse_shell::Parameters,
}

fn default_expire_after_s() -> u32 {
    600
}

const PLACEHOLDERS: [&str; 7] = ["process", "pid", "executable", "container", "host", "parent", "peer"];

impl Rule {
    /// Reads one rule file.
    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let fail = |line: usize, what: String, remedy: &str| Error {
            file: file.to_owned(),
            line: line.max(1),
            what,
            remedy: remedy.to_owned(),
        };
        let (front, body, body_line) = split_front(text).ok_or_else(|| {
            fail(
                1,
                "the file has no front matter".to_owned(),
                "begin with the rule in YAML between two lines `---`",
            )
        })?;
        let rule: Front = serde_saphyr::from_str(front).map_err(|e| {
            let line = e.location().map_or(0, |l| usize::try_from(l.line()).unwrap_or(0));
            let what = first_line(&e.without_snippet().to_string());
            fail(line + 1, what, "correct the front matter; content/detections has examples")
        })?;
        let key_line = |key: &str| {
            let found = front.lines().position(|l| l.trim_start().starts_with(key));
            found.map_or(1, |i| i + 2)
        };
        if rule.name.is_empty()
            || !rule.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err(fail(
                key_line("name"),
                format!("the name {:?} is not made of lower-case letters, digits and hyphens", rule.name),
                "write it like reverse-shell",
            ));
        }
        let severity = Severity::parse(&rule.severity).ok_or_else(|| {
            let what = format!("the severity {:?} is unknown", rule.severity);
            fail(key_line("severity"), what, "use info, warning or critical")
        })?;
        if let Some(unknown) = unknown_placeholder(&rule.title) {
            let what = format!("the title has the unknown placeholder {{{unknown}}}");
            return Err(fail(key_line("title"), what, &format!("use one of {}", PLACEHOLDERS.join(", "))));
        }
        let logic = logic(&rule).map_err(|(key, what, remedy)| fail(key_line(key), what, &remedy))?;
        let (explanation, examples) = split_body(body, body_line).map_err(|(line, what)| {
            fail(line, what, "correct the example; the reference of rule files explains event scripts")
        })?;
        let description = first_paragraph(&explanation);
        if description.is_empty() {
            return Err(fail(
                body_line,
                "there is no explanation".to_owned(),
                "say what is found and why it matters",
            ));
        }
        for (wanted, word) in [(true, "match"), (false, "no-match")] {
            if !examples.iter().any(|e| e.must_match == wanted) {
                let what = format!("there is no example that must {}match", if wanted { "" } else { "not " });
                return Err(fail(body_line, what, &format!("add a fenced block ```yaml {word} NAME")));
            }
        }
        Ok(Self {
            file: file.to_owned(),
            name: rule.name,
            severity,
            title: rule.title,
            description,
            explanation,
            mitre: rule.mitre,
            expire_after_s: rule.expire_after_s,
            logic,
            examples,
        })
    }
}

fn logic(rule: &Front) -> Result<Logic, (&'static str, String, String)> {
    match (&rule.behaviour, &rule.when) {
        (Some(_), Some(_)) | (None, None) => Err((
            "name",
            "a rule has either `behaviour` or `when`".to_owned(),
            "name a behaviour, or the kind of event to look at".to_owned(),
        )),
        (Some(_), None)
            if !rule.condition.is_empty() || !rule.unless.is_empty() || rule.fold_by.is_some() =>
        {
            Err((
                "behaviour",
                "a behaviour has no `where`, `unless` or `fold_by`".to_owned(),
                "give it parameters, or use `when`".to_owned(),
            ))
        }
        (Some(behaviour), None) => Ok(Logic::ReverseShell(behaviour.reverse_shell.clone())),
        (None, Some(when)) => {
            let at = |key| move |(what, remedy)| (key, what, remedy);
            let unless: Result<Vec<_>, _> = rule.unless.iter().map(Condition::new).collect();
            Ok(Logic::Condition {
                kind: condition::event_kind(when).map_err(at("when"))?,
                holds: Condition::new(&rule.condition).map_err(at("where"))?,
                unless: unless.map_err(at("unless"))?,
                fold_by: rule.fold_by.clone().unwrap_or_else(|| vec![FoldBy::Executable]),
            })
        }
    }
}

/// Front matter, the rest, and the line on which the rest begins.
fn split_front(text: &str) -> Option<(&str, &str, usize)> {
    let rest = text.strip_prefix("---\n")?;
    let end = rest.find("\n---\n")?;
    let (front, body) = (&rest[..=end], &rest[end + 5..]);
    Some((front, body, front.lines().count() + 3))
}

/// The text without its example blocks, and the examples.
fn split_body(body: &str, first: usize) -> Result<(String, Vec<Example>), (usize, String)> {
    let mut explanation = String::new();
    let mut examples = Vec::new();
    let mut lines = body.lines().enumerate();
    while let Some((i, line)) = lines.next() {
        let words = line.strip_prefix("```yaml ").and_then(|rest| {
            let (word, name) = rest.split_once(' ').unwrap_or((rest, ""));
            matches!(word, "match" | "no-match").then_some((word == "match", name))
        });
        let Some((must_match, name)) = words else {
            explanation.push_str(line);
            explanation.push('\n');
            continue;
        };
        let line = first + i;
        if name.is_empty() {
            return Err((line, "the example has no name".to_owned()));
        }
        let mut script = String::new();
        loop {
            match lines.next() {
                Some((_, "```")) => break,
                Some((_, text)) => {
                    script.push_str(text);
                    script.push('\n');
                }
                None => return Err((line, format!("the example {name:?} does not end"))),
            }
        }
        let script = Script::parse(&script).map_err(|e| (line + e.line, format!("example {name:?}: {e}")))?;
        examples.push(Example { name: name.to_owned(), line, must_match, script });
    }
    Ok((explanation.trim().to_owned(), examples))
}

fn first_paragraph(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(str::trim);
    let first = paragraphs.into_iter().find(|p| !p.is_empty() && !p.starts_with('#'));
    first.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unknown_placeholder(title: &str) -> Option<&str> {
    title.split('{').skip(1).find_map(|rest| {
        let name = rest.split('}').next().unwrap_or(rest);
        (!PLACEHOLDERS.contains(&name)).then_some(name)
    })
}

impl Detections {
    /// A set of one rule.
    pub(crate) fn of(rule: Rule) -> Self {
        Self { rules: vec![rule] }
    }
}
