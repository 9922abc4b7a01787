//! Names of images, as runtimes read them, and lists of those that are allowed.
//!
//! The same image can be written in several ways (`nginx`, `docker.io/library/nginx:latest`); they are made one
//! before anything is compared. What no runtime takes for a name is none.

use std::{fmt, str::FromStr};

/// The registry that is meant where none is named.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Its old name.
const OLD_DEFAULT_REGISTRY: &str = "index.docker.io";
/// What holds its images that belong to nobody else.
const DEFAULT_FOLDER: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// The port of HTTPS: to name it changes nothing.
const DEFAULT_PORT: &str = ":443";
const PATH_BYTES_MAX: usize = 255;
const HOST_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// The name of an image in its one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName<'a> {
    /// Host and perhaps port of its registry, in small letters, without the port that is meant anyway.
    pub registry: String,
    /// Its path there.
    pub path: String,
    /// The tag, if one is named.
    pub tag: Option<&'a str>,
    /// The digest with the name of its kind, if one is named. A tag beside it means nothing.
    pub digest: Option<&'a str>,
}

impl<'a> ImageName<'a> {
    /// Reads a name; none where no runtime would.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest).filter(|digest| is_digest(digest)).map(Some)?),
            None => (text, None),
        };
        if rest.len() > HOST_BYTES_MAX + PATH_BYTES_MAX + TAG_BYTES_MAX || is_bare_id(rest) {
            return None;
        }
        let (host, rest) = match rest.split_once('/') {
            Some((first, path)) if is_host(first) => (Some(first), path),
            _ => (None, rest),
        };
        // A colon before the last slash cannot be that of a tag.
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag).filter(|tag| is_tag(tag)).map(Some)?),
            None => (rest, None),
        };
        if host.is_some_and(|host| !is_sound_host(host)) || !is_path(path) {
            return None;
        }
        let registry = registry(host.unwrap_or(DEFAULT_REGISTRY));
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{DEFAULT_FOLDER}/{path}")
        } else {
            path.to_owned()
        };
        Some(Self { registry, path, tag, digest })
    }

    /// Registry and path.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// Registry, path and the tag, also where it is only meant; none where a digest says which image it is.
    pub fn tagged(&self) -> Option<String> {
        let tag = self.tag.unwrap_or(DEFAULT_TAG);
        self.digest.is_none().then(|| format!("{}/{}:{tag}", self.registry, self.path))
    }
}

/// A registry, or a part of one, whose images are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedRegistry {
    host: Box<str>,
    /// The first parts of the path.
    path: Box<[Box<str>]>,
}

impl AllowedRegistry {
    /// Whether the image is in it. Parts of the path are compared as a whole, so that `ghcr.io/acme` does not allow
    /// what is in `ghcr.io/acme-evil`.
    pub fn allows(&self, image: &ImageName<'_>) -> bool {
        let mut parts = image.path.split('/');
        matches(&self.host, &image.registry)
            && self.path.iter().all(|wanted| parts.next().is_some_and(|part| matches(wanted, part)))
    }
}

impl FromStr for AllowedRegistry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
        if !is_host(host) {
            return Err("begin with the host of the registry, as docker.io/library or *.example.com");
        }
        // A star there would allow hosts that anybody can have.
        let name = host.split_once(':').filter(|_| !host.starts_with('[')).map_or(host, |(name, _)| name);
        let end = name.rsplit('.').next().unwrap_or_default();
        if end.contains('*') || (host.contains('*') && !name.contains('.')) {
            return Err("write the end of the host without a star, as *.example.com");
        }
        // A star may stand for anything that may stand there.
        if !is_sound_host(&host.replace('*', "x")) {
            return Err("the host has letters that no host has");
        }
        let path: Vec<&str> =
            path.map_or_else(Vec::new, |path| path.trim_end_matches('/').split('/').collect());
        if !path.iter().all(|part| is_path(&part.replace('*', "x"))) {
            return Err(
                "the path must be small letters and digits, parted by / and joined by . _ or -, without a tag",
            );
        }
        let path = path.into_iter().map(Box::from).collect();
        Ok(Self { host: registry(host).into_boxed_str(), path })
    }
}

impl fmt::Display for AllowedRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.path.iter().try_for_each(|part| write!(f, "/{part}"))
    }
}

/// Whether a text is one that a pattern stands for: `*` is for any letters, also none.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(begin) else { return false };
    let mut parts = rest.split('*');
    let Some(end) = parts.next_back() else { return false };
    for part in parts {
        // The first place will do: what comes after has the most room then.
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

/// How a host is written in one form.
fn registry(host: &str) -> String {
    let lower = host.to_ascii_lowercase();
    let plain = lower.strip_suffix(DEFAULT_PORT).unwrap_or(&lower);
    match plain {
        OLD_DEFAULT_REGISTRY => DEFAULT_REGISTRY.to_owned(),
        plain if is_host(plain) => plain.to_owned(),
        // `Registry` and `registry:443` are hosts, but `registry` is a folder of the default registry.
        _ => host.to_owned(),
    }
}

/// Whether the first part of a name is a host, and not a folder of the default registry.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// An identifier of an image is no name of one.
fn is_bare_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_sound_host(host: &str) -> bool {
    if host.len() > HOST_BYTES_MAX {
        return false;
    }
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, rest)) = rest.split_once(']') else { return false };
            let is_address = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
            if address.is_empty() || !address.bytes().all(is_address) {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => ("", Some(port)),
                None if rest.is_empty() => return true,
                None => return false,
            }
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (host.starts_with('[') || name.split('.').all(is_label)) && port.is_none_or(is_port)
}

fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX && path.split('/').all(is_path_part)
}

/// Letters and digits, joined by one dot, one or two lines below, or any number of dashes.
fn is_path_part(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let joints = part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    part.bytes().next().is_some_and(is_plain)
        && part.bytes().next_back().is_some_and(is_plain)
        && joints
            .into_iter()
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_inner = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'-');
    tag.len() <= TAG_BYTES_MAX && tag.bytes().next().is_some_and(is_word) && tag.bytes().all(is_inner)
}

/// Whether it is a digest of a kind that runtimes know.
fn is_digest(digest: &str) -> bool {
    let digits = |prefix: &str, count: usize| {
        digest.strip_prefix(prefix).is_some_and(|digits| {
            digits.len() == count && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    digits("sha256:", 64) || digits("sha384:", 96) || digits("sha512:", 128)
}

#[cfg(test)]
mod tests;
