//! The sections `otlp`, `storage` and `tracing`.

use std::time::Duration;

use vedette_model::NameScheme;

use crate::{
    ClientTls,
    fields::{Fields, Result},
    http_client::reserved_header,
};

/// How OTLP becomes series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// Whether all attributes of the resource become labels, but for `ignore_resource_attributes`.
    pub promote_all_resource_attributes: bool,
    /// Attributes of the resource that become labels.
    pub promote_resource_attributes: Vec<String>,
    /// Attributes that do not, where all others do.
    pub ignore_resource_attributes: Vec<String>,
    /// How names are made.
    pub translation_strategy: TranslationStrategy,
    /// Whether what becomes `job` and `instance` stays in `target_info`, too.
    pub keep_identifying_resource_attributes: bool,
    /// Whether explicit histograms become native ones with custom buckets.
    pub convert_histograms_to_nhcb: bool,
    /// Whether name, version and attributes of the scope become labels.
    pub promote_scope_metadata: bool,
    /// Whether a label name that begins with one underscore gets `key` before it.
    pub label_name_underscore_sanitization: bool,
    /// Whether several underscores in a row stay.
    pub label_name_preserve_multiple_underscores: bool,
}

/// How names of OTLP become names of metrics and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TranslationStrategy {
    /// Letters of old, unit and type as suffixes.
    UnderscoreEscapingWithSuffixes,
    /// Letters of old, no suffixes.
    UnderscoreEscapingWithoutSuffixes,
    /// As they are, unit and type as suffixes.
    NoUtf8EscapingWithSuffixes,
    /// As they are.
    NoTranslation,
}

const STRATEGIES: [(&str, TranslationStrategy); 4] = [
    ("UnderscoreEscapingWithSuffixes", TranslationStrategy::UnderscoreEscapingWithSuffixes),
    ("UnderscoreEscapingWithoutSuffixes", TranslationStrategy::UnderscoreEscapingWithoutSuffixes),
    ("NoUTF8EscapingWithSuffixes", TranslationStrategy::NoUtf8EscapingWithSuffixes),
    ("NoTranslation", TranslationStrategy::NoTranslation),
];

impl Default for Otlp {
    /// What holds where the section is not given.
    fn default() -> Self {
        Self {
            promote_all_resource_attributes: false,
            promote_resource_attributes: Vec::new(),
            ignore_resource_attributes: Vec::new(),
            translation_strategy: TranslationStrategy::UnderscoreEscapingWithSuffixes,
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            label_name_underscore_sanitization: true,
            label_name_preserve_multiple_underscores: true,
        }
    }
}

impl Otlp {
    pub(super) fn read(fields: &mut Fields<'_>, scheme: NameScheme) -> Result<Self> {
        let all = fields.switch("promote_all_resource_attributes", false)?;
        let promote = fields.texts("promote_resource_attributes")?;
        let ignore = fields.texts("ignore_resource_attributes")?;
        if all && !promote.is_empty() {
            let reason = "promote_all_resource_attributes and promote_resource_attributes contradict each \
                          other; remove one";
            return Err(fields.refuse("promote_resource_attributes", reason));
        }
        if !all && !ignore.is_empty() {
            let reason = "ignore_resource_attributes has no meaning unless promote_all_resource_attributes is \
                          true";
            return Err(fields.refuse("ignore_resource_attributes", reason));
        }
        let promote = attributes(fields, "promote_resource_attributes", "promoted", &promote)?;
        let ignore = attributes(fields, "ignore_resource_attributes", "ignored", &ignore)?;
        Ok(Self {
            promote_all_resource_attributes: all,
            promote_resource_attributes: promote,
            ignore_resource_attributes: ignore,
            translation_strategy: strategy(fields, scheme)?,
            keep_identifying_resource_attributes: fields
                .switch("keep_identifying_resource_attributes", false)?,
            convert_histograms_to_nhcb: fields.switch("convert_histograms_to_nhcb", false)?,
            promote_scope_metadata: fields.switch("promote_scope_metadata", false)?,
            label_name_underscore_sanitization: fields.switch("label_name_underscore_sanitization", true)?,
            label_name_preserve_multiple_underscores: fields
                .switch("label_name_preserve_multiple_underscores", true)?,
        })
    }
}

fn strategy(fields: &mut Fields<'_>, scheme: NameScheme) -> Result<TranslationStrategy> {
    const KEY: &str = "translation_strategy";
    let word = fields.text_or(KEY, STRATEGIES[0].0)?;
    let word = if word.is_empty() { STRATEGIES[0].0 } else { word.as_str() };
    let Some((_, strategy)) = STRATEGIES.iter().find(|(known, _)| *known == word) else {
        let words = STRATEGIES.map(|(word, _)| word).join(", ");
        let reason = format!("unsupported OTLP translation strategy {word:?}; use one of {words}");
        return Err(fields.refuse(KEY, reason));
    };
    let needs_utf8 = matches!(
        strategy,
        TranslationStrategy::NoTranslation | TranslationStrategy::NoUtf8EscapingWithSuffixes
    );
    if needs_utf8 && scheme == NameScheme::Legacy {
        let reason = format!(
            "the OTLP translation strategy {word:?} is not allowed when UTF8 names are disabled; remove \
             metric_name_validation_scheme: legacy or choose another"
        );
        return Err(fields.refuse(KEY, reason));
    }
    Ok(*strategy)
}

/// Attributes without blanks around them, each once.
fn attributes(fields: &Fields<'_>, key: &str, kind: &str, written: &[String]) -> Result<Vec<String>> {
    let mut attributes: Vec<String> = Vec::with_capacity(written.len());
    for (i, attribute) in written.iter().map(|a| a.trim()).enumerate() {
        let wrong = if attribute.is_empty() {
            format!("invalid {kind} attribute: the entry {i} is empty")
        } else if attributes.iter().any(|a| a == attribute) {
            format!("invalid {kind} attribute: {attribute:?} is there twice")
        } else {
            attributes.push(attribute.to_owned());
            continue;
        };
        return Err(fields.refuse(key, wrong));
    }
    Ok(attributes)
}

/// How series are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// How late a sample may come.
    pub out_of_order_time_window: Duration,
    /// The share of ended series from which on the newest data is compacted early; 0 for never.
    pub stale_series_compaction_threshold: f64,
    /// Age after which samples are removed; zero where it is not given.
    pub retention_time: Duration,
    /// Size above which the oldest are removed; 0 where it is not given.
    pub retention_bytes: u64,
    /// The same in percent of the disk; 0 where it is not given.
    pub retention_percentage: f64,
    /// Exemplars that are kept.
    pub max_exemplars: i64,
}

impl Storage {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self> {
        let mut storage = fields.section_or_default("tsdb", "storage.tsdb", tsdb)?;
        storage.max_exemplars = fields
            .section("exemplars", "storage.exemplars", |f| f.integer("max_exemplars", 0))?
            .unwrap_or(100_000);
        Ok(storage)
    }
}

fn tsdb(fields: &mut Fields<'_>) -> Result<Storage> {
    let out_of_order_time_window = fields.duration("out_of_order_time_window", Duration::ZERO)?;
    let stale_series_compaction_threshold = fields.float("stale_series_compaction_threshold", 0.0)?;
    fields.section("chunk_encoding", "chunk_encoding", |f| {
        let floats = f.text_or("floats", "")?;
        if !["", "xor", "xor2"].contains(&floats.as_str()) {
            let reason = format!(
                "'storage.tsdb.chunk_encoding.floats' must be 'xor' or 'xor2' or left out, and is {floats:?}"
            );
            return Err(f.refuse("floats", reason));
        }
        Ok(())
    })?;
    let (retention_time, retention_bytes, retention_percentage) =
        fields.section("retention", "storage.tsdb.retention", retention)?.unwrap_or_default();
    Ok(Storage {
        out_of_order_time_window,
        stale_series_compaction_threshold,
        retention_time,
        retention_bytes,
        retention_percentage,
        max_exemplars: 0,
    })
}

fn retention(fields: &mut Fields<'_>) -> Result<(Duration, u64, f64)> {
    let time = fields.duration("time", Duration::ZERO)?;
    let size = fields.size("size", 0)?;
    let Ok(size) = u64::try_from(size) else {
        let reason = "'storage.tsdb.retention.size' must be greater than or equal to 0";
        return Err(fields.refuse("size", reason));
    };
    let percentage = fields.float("percentage", 0.0)?;
    if !(0.0..=100.0).contains(&percentage) {
        let reason =
            format!("'storage.tsdb.retention.percentage' must be in the range [0, 100], and is {percentage}");
        return Err(fields.refuse("percentage", reason));
    }
    Ok((time, size, percentage))
}

/// Where traces are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Whether by HTTP, not gRPC.
    pub over_http: bool,
    /// Host and port.
    pub endpoint: String,
    /// The share of requests that are traced.
    pub sampling_fraction: f64,
    /// Whether without encryption.
    pub insecure: bool,
    /// Encryption.
    pub tls: ClientTls,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// How long a request may take; zero for the sender's own default.
    pub timeout: Duration,
}

impl Tracing {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self> {
        let over_http = fields.word("client_type", "grpc", &["http", "grpc"])? == "http";
        let endpoint = fields.text_or("endpoint", "")?;
        if endpoint.is_empty() {
            return Err(fields.refuse("endpoint", "the tracing endpoint must be set; write host:port"));
        }
        let headers = fields.text_map("headers")?;
        if let Some(reason) = headers.iter().find_map(|(name, _)| reserved_header(name)) {
            return Err(fields.refuse("headers", reason));
        }
        Ok(Self {
            over_http,
            endpoint,
            sampling_fraction: fields.float("sampling_fraction", 0.0)?,
            insecure: fields.switch("insecure", false)?,
            tls: fields.section("tls_config", "tls_config", ClientTls::read)?.unwrap_or_default(),
            headers,
            gzip: fields.word("compression", "", &["", "gzip"])? == "gzip",
            timeout: fields.duration("timeout", Duration::ZERO)?,
        })
    }
}
