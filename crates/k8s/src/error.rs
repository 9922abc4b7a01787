//! What can go wrong between us and an API server, by what is done about it.

use std::{error::Error as _, fmt, time::Duration};

use serde::Deserialize;

use crate::objects::null_as_default;

/// What went wrong. The text is one line and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Who we are cannot be told; a person has to look.
    #[error("{0}")]
    Credentials(String),
    /// No answer.
    #[error("the API server gives no answer")]
    Transport(#[source] vedette_http_client::Error),
    /// The answer is no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The answer makes no sense.
    #[error("the answer of the API server cannot be read: {0}")]
    Answer(String),
    /// The answer ended, or nothing came for too long.
    #[error("{0}")]
    Silence(&'static str),
}

impl Error {
    /// The text with all causes.
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }

    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the state that was asked for is gone, so that only a new list helps.
    pub fn is_expired(&self) -> bool {
        self.refusal()
            .is_some_and(|refusal| refusal.code == 410 || matches!(&*refusal.reason, "Expired" | "Gone"))
    }

    /// Whether the server cannot read its own store, but may still have what it remembers.
    pub(crate) fn is_trouble_of_server(&self) -> bool {
        match self {
            Self::Transport(error) => error.kind() == vedette_http_client::ErrorKind::Timeout,
            Self::Refused(refusal) => refusal.code >= 500,
            Self::Silence(_) => true,
            Self::Credentials(_) | Self::Answer(_) => false,
        }
    }
}

/// A `Status` of Kubernetes that says no.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// The code of HTTP.
    pub code: u16,
    /// One word, as `Forbidden`.
    pub reason: Box<str>,
    /// A sentence of the server.
    pub message: Box<str>,
    /// When the server wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The right that is missing, if that is why.
    pub missing: Option<Right>,
}

/// What an account must be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// What is done, as `list`.
    pub verb: &'static str,
    /// With which resource, as `replicasets.apps`.
    pub resource: String,
    /// In which namespace; in all where there is none.
    pub namespace: Option<Box<str>>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in the namespace {namespace}"),
            None => f.write_str(" in all namespaces"),
        }
    }
}

impl Right {
    /// How it is granted: the kind of role, and the rule that it needs as YAML. Whoever watches also lists.
    pub fn rule(&self) -> String {
        let (resource, group) = self.resource.split_once('.').unwrap_or((&self.resource, ""));
        let verbs = if self.verb == "get" { "get" } else { "list, watch" };
        let role = match &self.namespace {
            Some(namespace) => format!("a Role in {namespace}"),
            None => "a ClusterRole".to_owned(),
        };
        format!(
            "{role} with the rule {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verbs}]}}"
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(right) = &self.missing {
            write!(f, "the account may not {right}; grant it by {} ({})", right.rule(), self.message)
        } else if self.code == 401 {
            write!(
                f,
                "the API server does not accept the credentials ({}); renew the token or certificate that they name",
                self.message
            )
        } else {
            write!(f, "the API server answers {} {}: {}", self.code, self.reason, self.message)
        }
    }
}

/// The same on the wire.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    kind: String,
    code: u16,
    #[serde(deserialize_with = "null_as_default")]
    reason: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    message: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u64,
}

/// A server may not keep us away for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// No more is shown of what is no status.
const SHOWN_CHARS_MAX: usize = 200;
/// A refusal of many fields names each.
const TOLD_CHARS_MAX: usize = 2000;

impl Refusal {
    /// Reads the body of an answer with this code of HTTP, which may be anything.
    pub fn read(code: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Status>(body) {
            Ok(status) if status.kind == "Status" => status.into_refusal(code),
            _ => {
                let text = String::from_utf8_lossy(body);
                let line = text.trim().lines().next().unwrap_or_default();
                let message: String = line.chars().take(SHOWN_CHARS_MAX).collect();
                Self { code, message: message.into(), ..Self::default() }
            }
        }
    }

    /// Reads the object of an event of type `ERROR`.
    pub fn of_event(object: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(serde_json::from_slice::<Status>(object)?.into_refusal(500))
    }
}

/// What a server says, as it may be told: of whatever length it is, and whatever is in it.
fn in_a_line(text: &str) -> Box<str> {
    let shown = text.chars().take(TOLD_CHARS_MAX);
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().into()
}

impl Status {
    fn into_refusal(self, code: u16) -> Refusal {
        let seconds = self.details.retry_after_seconds;
        Refusal {
            code: if self.code == 0 { code } else { self.code },
            reason: in_a_line(&self.reason),
            message: in_a_line(&self.message),
            retry_after: (seconds > 0).then(|| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
            missing: None,
        }
    }
}

/// The seconds of a header `Retry-After`; its other form, a date, is not used by API servers.
pub(crate) fn retry_after(header: &str) -> Option<Duration> {
    header.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_told_with_the_rule_that_grants_it() {
        let right = |verb, resource: &str, namespace: Option<&str>| Right {
            verb,
            resource: resource.to_owned(),
            namespace: namespace.map(Box::from),
        };
        for (right, expected) in [
            (
                right("watch", "pods", None),
                "a ClusterRole with the rule {apiGroups: [\"\"], resources: [pods], verbs: [list, watch]}",
            ),
            (
                right("get", "leases.coordination.k8s.io", Some("kube-system")),
                "a Role in kube-system with the rule {apiGroups: [\"coordination.k8s.io\"], resources: [leases], verbs: [get]}",
            ),
        ] {
            assert_eq!(right.rule(), expected);
            let refusal = Refusal {
                code: 403,
                message: "no".into(),
                missing: Some(right.clone()),
                ..Refusal::default()
            };
            let told = refusal.to_string();
            assert!(told.contains(&format!("may not {right}; grant it by {expected} (no)")), "{told}");
        }
    }
}
