//! Which image a container runs, as its runtime tells, and whether that is the one it should run.
//!
//! A digest is compared with another only where both name the same kind of thing. The id of an image on a machine
//! is the digest of its configuration and says nothing about the digests by which it was pulled. Of those it may
//! have several (that of the list for all platforms, that of the manifest for one, those of other repositories),
//! and the runtime tells one of them. So two that differ are different images only if the machine that runs one
//! lists it, and neither that machine nor another lists both for one image.

use crate::objects::{Digest, Node};

/// What a status tells as `imageID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran<'a> {
    /// The digest by which it was pulled.
    Pulled(Digest, &'a str),
    /// Something that cannot be compared with digests by which images are pulled.
    Other,
    /// Nothing yet.
    Nothing,
}

impl<'a> Ran<'a> {
    /// Reads it: `docker.io/library/nginx@sha256:…` by containerd and CRI-O, `docker-pullable://…@sha256:…` by
    /// Docker; ids of images are `sha256:…`, `docker://sha256:…` or digits alone.
    pub(super) fn of(image_id: &'a str) -> Self {
        if image_id.is_empty() {
            return Self::Nothing;
        }
        let pulled = image_id.rsplit_once('@').filter(|(name, _)| !name.is_empty());
        let digest = pulled.and_then(|(_, digest)| Digest::parse(digest).map(|parsed| (parsed, digest)));
        digest.map_or(Self::Other, |(parsed, text)| Self::Pulled(parsed, text))
    }
}

/// What two digests are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinship {
    /// They name one image.
    Same,
    /// They name different images.
    Different,
    /// That cannot be told.
    Unknown,
}

/// What a digest that runs on a machine is to another. `own` is that machine.
pub(super) fn kinship<'a>(
    runs: Digest,
    other: Digest,
    own: Option<&Node>,
    mut all: impl Iterator<Item = &'a Node>,
) -> Kinship {
    if runs == other {
        return Kinship::Same;
    }
    // A kubelet lists no more than the largest 50 images: what it does not list, nobody can judge.
    let Some(own) = own.filter(|node| node.images().has(runs)) else { return Kinship::Unknown };
    // Its own machine knows best, and mostly does.
    if own.images().are_one(runs, other) {
        return Kinship::Same;
    }
    if all.any(|node| node.images().are_one(runs, other)) { Kinship::Same } else { Kinship::Different }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(number: u8) -> String {
        format!("sha256:{number:02x}{}", "0".repeat(62))
    }

    fn digest(number: u8) -> Digest {
        Digest::parse(&text(number)).expect("a digest")
    }

    fn node(images: &[&[u8]]) -> Node {
        let images: Vec<_> = images
            .iter()
            .map(
                |image| json!({"names": image.iter().map(|n| format!("r@{}", text(*n))).collect::<Vec<_>>()}),
            )
            .collect();
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"images": images}}))
            .expect("sound")
    }

    #[test]
    fn what_runtimes_tell_is_read() {
        let one = text(1);
        for (image_id, expected) in [
            (String::new(), Ran::Nothing),
            (format!("docker.io/library/nginx@{one}"), Ran::Pulled(digest(1), &one)),
            (format!("docker-pullable://nginx@{one}"), Ran::Pulled(digest(1), &one)),
            (one.clone(), Ran::Other),
            (format!("docker://{one}"), Ran::Other),
            (one[7..].to_owned(), Ran::Other),
            (format!("@{one}"), Ran::Other),
            ("nginx@sha256:1".into(), Ran::Other),
            (format!("nginx@sha512:{}", "a".repeat(128)), Ran::Other),
            ("nginx:1".into(), Ran::Other),
        ] {
            assert_eq!(Ran::of(&image_id), expected, "{image_id}");
        }
    }

    #[test]
    fn only_what_a_machine_lists_is_told_apart() {
        // 1 is the list for all platforms and 2 the manifest for this one; 3 is another image.
        let (own, elsewhere) = (node(&[&[2], &[3]]), node(&[&[1, 2]]));
        let judge = |runs, other, own: Option<&Node>, all: &[&Node]| {
            kinship(digest(runs), digest(other), own, all.iter().copied())
        };
        assert_eq!(judge(9, 9, None, &[]), Kinship::Same);
        assert_eq!(judge(2, 1, None, &[&elsewhere]), Kinship::Unknown);
        assert_eq!(judge(9, 1, Some(&own), &[&own, &elsewhere]), Kinship::Unknown);
        assert_eq!(judge(2, 1, Some(&own), &[&own, &elsewhere]), Kinship::Same);
        assert_eq!(judge(2, 1, Some(&own), &[&own]), Kinship::Different);
        assert_eq!(judge(3, 1, Some(&own), &[&own, &elsewhere]), Kinship::Different);
    }
}
