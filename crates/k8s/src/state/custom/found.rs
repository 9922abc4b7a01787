//! Which kinds an API server has of a group, as it tells itself. Everybody who may ask it anything may ask for this.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};

use crate::{Api, Error, objects::null_as_default};

/// Answers name some hundred kinds; no group has so many.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const VERSIONS_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 256;

/// A kind that is there, and can be listed and watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Served {
    pub(super) version: Box<str>,
    pub(super) kind: Box<str>,
    /// The word in paths.
    pub(super) plural: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Group {
    #[serde(deserialize_with = "null_as_default")]
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Version {
    version: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kinds {
    #[serde(deserialize_with = "null_as_default")]
    resources: Vec<Kind>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kind {
    name: Box<str>,
    kind: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    verbs: Vec<String>,
}

/// The kinds of a group in these versions, or in all that it has. What is not there is no error.
pub(super) async fn kinds(
    api: &Api,
    group: &str,
    versions: Option<&[Box<str>]>,
    timeout: Duration,
) -> Result<Vec<Served>, Error> {
    let all = match versions {
        Some(versions) => versions.to_vec(),
        None => {
            let told: Group = ask(api, &format!("/apis/{group}"), timeout).await?;
            let names = told.versions.into_iter().map(|version| version.version.into_boxed_str());
            names.filter(|name| is_word(name)).take(VERSIONS_MAX).collect()
        }
    };
    let mut found = Vec::new();
    for version in all {
        let told: Kinds = ask(api, &format!("/apis/{group}/{version}"), timeout).await?;
        let can_be_watched =
            |kind: &Kind| ["list", "watch"].iter().all(|verb| kind.verbs.iter().any(|v| v == verb));
        let sound = told.resources.into_iter().filter(|kind| {
            // Parts of objects, as `foos/status`, have a slash.
            is_word(&kind.name) && is_word(&kind.kind) && can_be_watched(kind)
        });
        found.extend(sound.map(|Kind { name, kind, .. }| Served {
            version: version.clone(),
            kind,
            plural: name,
        }));
    }
    Ok(found)
}

/// What may stand in a path and in a label.
fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_letter)
}

/// An answer, or nothing where there is none such.
async fn ask<T: DeserializeOwned + Default>(api: &Api, path: &str, timeout: Duration) -> Result<T, Error> {
    let mut response = match api.get(path, "application/json", timeout).await {
        Err(Error::Refused(refusal)) if refusal.code == 404 => return Ok(T::default()),
        other => other?,
    };
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(Error::Transport)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(Error::Answer(format!("{path} is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    serde_json::from_slice(&body).map_err(|error| Error::Answer(format!("{path}: {error}")))
}
