//! Labels and annotations of alerts: texts in which Prometheus' variables and functions stand.

use std::sync::Arc;

use vedette_gotemplate::{Error, Limits, Object, Template, Value};
use vedette_model::Labels;

use crate::functions::{NamesOnly, RuleFunctions};

/// Declares the variables that Prometheus gives every text.
const PRELUDE: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
{{$externalURL := .ExternalURL}}{{$value := .Value}}";

const LIMITS: Limits = Limits { output_bytes_max: 64 << 10, steps_max: 100_000, depth_max: 100 };

/// A text, parsed once.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    /// Without any action: nothing to execute.
    Plain(Arc<str>),
    /// A template, and its name.
    Template(Arc<Template>, Arc<str>),
}

/// What the texts of one alert are rendered over.
#[derive(Debug)]
pub(crate) struct Data<'a> {
    pub(crate) labels: &'a Labels,
    /// A number, or the text of a native histogram.
    pub(crate) value: Value,
    pub(crate) external_labels: &'a Labels,
    pub(crate) external_url: &'a str,
}

impl Text {
    /// Parses a text; the error names its place within the text.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        if !text.contains("{{") {
            return Ok(Self::Plain(text.into()));
        }
        let template =
            Template::parse(name, &format!("{PRELUDE}{text}"), &NamesOnly).map_err(without_prelude)?;
        Ok(Self::Template(Arc::new(template), name.into()))
    }

    /// Renders the text. A failing template gives a text that says so, as in Prometheus: the
    /// alert is more important than its wording.
    pub(crate) fn render(&self, data: &Data<'_>, functions: &RuleFunctions<'_>) -> String {
        match self {
            Self::Plain(text) => text.to_string(),
            Self::Template(template, name) => {
                let value = Value::object(RuleData::new(data));
                template
                    .execute(name, &value, functions, &LIMITS)
                    .unwrap_or_else(|e| format!("<error expanding template: {}>", without_prelude(e)))
            }
        }
    }
}

/// Moves the place in an error to where it is in the text as written.
fn without_prelude(mut error: Error) -> String {
    if let Error::Parse { line: 1, column, .. } | Error::Execute { line: 1, column, .. } = &mut error {
        *column = column.saturating_sub(PRELUDE.len());
    }
    error.to_string()
}

/// `.Labels`, `.Value` and so on.
#[derive(Debug)]
struct RuleData {
    labels: Value,
    external_labels: Value,
    external_url: Value,
    value: Value,
}

impl RuleData {
    fn new(data: &Data<'_>) -> Self {
        Self {
            labels: Value::string_map(data.labels),
            external_labels: Value::string_map(data.external_labels),
            external_url: data.external_url.into(),
            value: data.value.clone(),
        }
    }
}

impl Object for RuleData {
    fn type_name(&self) -> &str {
        "struct"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Labels" => self.labels.clone(),
            "ExternalLabels" => self.external_labels.clone(),
            "ExternalURL" => self.external_url.clone(),
            "Value" => self.value.clone(),
            _ => return None,
        })
    }
}
