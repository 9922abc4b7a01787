//! Digests, and which of them a machine says name the same image.
//!
//! One image has several digests: that of the list of images for all platforms, that of the manifest for one of
//! them, and others where it was pulled by other names. Two of them say nothing about each other unless somebody
//! who has the image names both.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess},
};

use super::null_as_default;

/// The first 63 bits of a SHA-256 digest: enough to tell images apart, as nobody can make one to these bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest(u64);

const PREFIX: &str = "sha256:";
const HEX_DIGITS: usize = 64;
/// Marks the first digest of an image.
const FIRST: u64 = 1 << 63;
/// Digests of one machine; of more, the others are not known, and what they name is not judged.
const DIGESTS_MAX: usize = 4096;

impl Digest {
    /// From `sha256:` and 64 small hexadecimal digits. Others cannot be compared with these and are none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != HEX_DIGITS || !digits.bytes().all(is_digit) {
            return None;
        }
        u64::from_str_radix(&digits[..16], 16).ok().map(|bits| Self(bits >> 1))
    }
}

/// The images of a machine, as digests that name the same one. 8 bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ImageNames(Box<[u64]>);

impl ImageNames {
    /// The digests of each image that has one.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = impl Iterator<Item = Digest>> {
        self.0
            .chunk_by(|_, next| next & FIRST == 0)
            .map(|image| image.iter().map(|bits| Digest(bits & !FIRST)))
    }

    /// Whether an image has this digest.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.0.iter().any(|bits| bits & !FIRST == digest.0)
    }

    /// Whether one image has both.
    pub(crate) fn are_one(&self, a: Digest, b: Digest) -> bool {
        self.0.chunk_by(|_, next| next & FIRST == 0).any(|image| {
            let has = |digest: Digest| image.iter().any(|bits| bits & !FIRST == digest.0);
            has(a) && has(b)
        })
    }
}

impl<'de> Deserialize<'de> for ImageNames {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ImageNames;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of images")
            }
            fn visit_unit<E>(self) -> Result<ImageNames, E> {
                Ok(ImageNames::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut images: A) -> Result<ImageNames, A::Error> {
                let mut all: Vec<u64> = Vec::new();
                while let Some(Image { names }) = images.next_element()? {
                    let begin = all.len();
                    for Name(name) in names {
                        let digest = name.rsplit_once('@').and_then(|(_, digest)| Digest::parse(digest));
                        let Some(Digest(bits)) = digest.filter(|_| all.len() < DIGESTS_MAX) else { continue };
                        if !all[begin..].contains(&bits) {
                            all.push(bits);
                        }
                    }
                    if let Some(first) = all.get_mut(begin) {
                        *first |= FIRST;
                    }
                }
                Ok(ImageNames(all.into_boxed_slice()))
            }
        }
        from.deserialize_any(Visitor)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Image<'a> {
    #[serde(borrow, deserialize_with = "names")]
    names: Vec<Name<'a>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Name<'de>>, D::Error> {
    null_as_default(from)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn digest(number: u8) -> String {
        format!("sha256:{:064x}", u128::from(number) << 100 | 7).replacen('0', "f", 1)
    }

    fn of(number: u8) -> Digest {
        // The first half of the digits must differ, as no more is kept.
        Digest::parse(&format!("sha256:{number:02x}{}", "0".repeat(62))).expect("a digest")
    }

    fn named(repository: &str, number: u8) -> String {
        format!("{repository}@sha256:{number:02x}{}", "0".repeat(62))
    }

    fn images(value: &Value) -> ImageNames {
        serde_json::from_str(&value.to_string()).expect("sound")
    }

    #[test]
    fn only_whole_sha256_digests_are_compared() {
        assert!(Digest::parse(&digest(1)).is_some());
        for wrong in [
            String::new(),
            "sha256:".into(),
            digest(1).to_uppercase(),
            digest(1).replace("sha256:f", "sha256:F"),
            digest(1)[..70].into(),
            format!("{}0", digest(1)),
            format!("sha512:{}", "a".repeat(128)),
            format!("sha256:+{}", "a".repeat(63)),
            format!("sha256:{}", "é".repeat(32)),
        ] {
            assert_eq!(Digest::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn digests_of_one_image_are_told_from_those_of_others() {
        let images = images(&json!([
            {"names": [named("docker.io/library/a", 1), "docker.io/library/a:1", named("ghcr.io/a", 2), named("x", 1)],
             "sizeBytes": 7},
            {"names": ["only:a-tag"]},
            {"names": null},
            {},
            {"names": [named("b", 0xff)]},
        ]));
        let all: Vec<Vec<Digest>> = images.iter().map(Iterator::collect).collect();
        assert_eq!(all, [vec![of(1), of(2)], vec![of(0xff)]]);
        assert!(images.are_one(of(1), of(2)) && images.are_one(of(2), of(1)));
        assert!(!images.are_one(of(2), of(0xff)) && !images.are_one(of(1), of(3)));
        assert!(images.has(of(2)) && images.has(of(0xff)) && !images.has(of(3)));
        assert_eq!(serde_json::from_str::<ImageNames>("null").expect("none"), ImageNames::default());
    }

    #[test]
    fn a_machine_with_too_many_images_is_known_in_part() {
        let digest = |number: usize| format!("x@sha256:{number:016x}{}", "0".repeat(48));
        let many: Vec<Value> = (1..=DIGESTS_MAX + 9).map(|n| json!({"names": [digest(n * 2)]})).collect();
        let images = images(&json!(many));
        assert_eq!(images.iter().count(), DIGESTS_MAX);
        // What was left out is in no image, above all not in the last one that is known.
        let last = Digest(DIGESTS_MAX as u64);
        assert!(images.has(last) && !images.are_one(last, Digest(last.0 + 1)));
    }
}
