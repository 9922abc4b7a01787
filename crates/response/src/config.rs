//! Who is told, and within which bounds.

use std::{collections::HashSet, path::PathBuf, time::Duration};

/// Settings of all deliveries.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where notifications wait; its owner holds the lock of a folder above.
    pub folder: PathBuf,
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// Notifications that wait for one receiver; when more come, the oldest are lost.
    pub queue_max: usize,
    /// Bytes of one notification.
    pub message_bytes_max: usize,
    /// Wait before the first retry; doubled for each further one.
    pub retry_min: Duration,
    /// Longest wait before a retry.
    pub retry_max: Duration,
    /// Wait before a notification that the receiver refused is tried again.
    pub refused_retry: Duration,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Name: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// How.
    pub target: Target,
}

/// How somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By a POST of Alertmanager's webhook message.
    Webhook {
        /// `http://` or `https://` address.
        url: String,
        /// How long one attempt may take.
        timeout: Duration,
        /// Redirects that one attempt follows. Only those that keep the message (307, 308).
        redirects_max: usize,
    },
    /// By a line of JSON at the end of a file.
    File {
        /// The file; it is made if its folder is there.
        path: PathBuf,
    },
}

impl Target {
    /// A webhook with the usual bounds.
    pub fn webhook(url: impl Into<String>) -> Self {
        Self::Webhook { url: url.into(), timeout: Duration::from_secs(10), redirects_max: 3 }
    }

    /// A file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File { path: path.into() }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ConfigError {
    /// Which setting.
    pub field: String,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl Config {
    /// Working defaults, with no receiver.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            receivers: Vec::new(),
            queue_max: 10_000,
            message_bytes_max: 1 << 20,
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(120),
            refused_retry: Duration::from_secs(600),
        }
    }

    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |field: String, reason: String| Err(ConfigError { field, reason });
        for (field, fits, reason) in [
            ("queue_max", self.queue_max > 0, "must be at least 1"),
            ("message_bytes_max", self.message_bytes_max >= 1024, "must be at least 1024"),
            ("retry_min", !self.retry_min.is_zero(), "must be longer than zero"),
            ("retry_max", self.retry_max >= self.retry_min, "must not be shorter than retry_min"),
            ("refused_retry", self.refused_retry >= self.retry_min, "must not be shorter than retry_min"),
        ] {
            if !fits {
                return refuse(field.to_owned(), reason.to_owned());
            }
        }
        let mut names = HashSet::new();
        for (i, receiver) in self.receivers.iter().enumerate() {
            let field = |name: &str| format!("receivers[{i}].{name}");
            let name = &receiver.name;
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > 100 || !name.chars().all(is_plain) {
                return refuse(
                    field("name"),
                    format!("{name:?} is no name; use up to 100 letters, digits, '-', '_' and '.'"),
                );
            }
            if !names.insert(name) {
                return refuse(field("name"), format!("{name:?} is given twice; names are unique"));
            }
            match &receiver.target {
                Target::Webhook { url, timeout, .. } => {
                    check_url(url).map_err(|reason| ConfigError { field: field("url"), reason })?;
                    if timeout.is_zero() {
                        return refuse(field("timeout"), "must be longer than zero".to_owned());
                    }
                }
                Target::File { path } => {
                    if path.file_name().is_none() {
                        return refuse(field("path"), format!("{} names no file", path.display()));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The address itself is not repeated: it may hold a secret.
fn check_url(url: &str) -> Result<(), String> {
    let parsed = reqwest::Url::parse(url).map_err(|error| format!("is no address: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none_or(str::is_empty) {
        return Err("must begin with http:// or https:// and name a host".to_owned());
    }
    Ok(())
}
