//! How objects are written down in this module: fields that are absent or null are empty, as an API server may
//! leave out or send null for whatever has no value.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, de};

use super::Meta;
use crate::quantity;

/// Parts of objects.
macro_rules! parts {
    ($($(#[$about:meta])* $name:ident {
        $($(#[$of_field:meta])* $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(crate) struct $name {
            $($(#[$of_field])* #[serde(deserialize_with = "super::null_as_default")] pub(crate) $field: $type,)*
        }
    )*};
}

/// Objects: what they are, where the API server has them, and what is used of them. Of their annotations the one with
/// the whole object is not kept: it is large, and that of a secret has the secret.
macro_rules! objects {
    ($($(#[$about:meta])* $name:ident at $resource:expr => {
        $($(#[$of_field:meta])* $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            #[serde(deserialize_with = "super::lenient::metadata")]
            metadata: super::Meta,
            $($(#[$of_field])* #[serde(default, deserialize_with = "super::null_as_default")]
            pub(crate) $field: $type,)*
        }

        impl super::Object for $name {
            const RESOURCE: super::Resource = $resource;

            fn meta(&self) -> &super::Meta {
                &self.metadata
            }
        }
    )*};
}

pub(crate) use {objects, parts};

/// Where `kubectl apply` keeps the object as it was given.
const WHOLE_OBJECT: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Metadata without the whole object.
pub(super) fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<Meta, D::Error> {
    let mut meta = Meta::deserialize(from)?;
    meta.annotations.remove(WHOLE_OBJECT);
    Ok(meta)
}

/// An amount, as of memory. What is none is not known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Amount(pub Option<f64>);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match IntOrText::deserialize(from)? {
            IntOrText::Int(number) => Self(Some(number as f64)),
            IntOrText::Text(text) => Self(quantity::parse(&text)),
            IntOrText::None => Self(None),
        })
    }
}

/// Amounts by the names of resources, in the order of the names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Amounts(Box<[(Box<str>, f64)]>);

impl Amounts {
    /// The amount of a resource.
    pub fn get(&self, resource: &str) -> Option<f64> {
        self.0.iter().find(|(name, _)| &**name == resource).map(|(_, amount)| *amount)
    }

    /// Resources and amounts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, amount)| (&**name, *amount))
    }
}

impl<'de> Deserialize<'de> for Amounts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Amounts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of amounts")
            }
            fn visit_unit<E>(self) -> Result<Amounts, E> {
                Ok(Amounts::default())
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Amounts, A::Error> {
                let mut amounts: Vec<(Box<str>, f64)> = Vec::new();
                while let Some((name, amount)) = map.next_entry::<Box<str>, Amount>()? {
                    amounts.extend(amount.0.map(|amount| (name, amount)));
                }
                amounts.sort_by(|a, b| a.0.cmp(&b.0));
                amounts.dedup_by(|a, b| a.0 == b.0);
                Ok(Amounts(amounts.into_boxed_slice()))
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A number, or a text such as `25%`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum IntOrText {
    Int(i64),
    Text(Box<str>),
    #[default]
    None,
}

impl<'de> Deserialize<'de> for IntOrText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = IntOrText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }
            fn visit_unit<E>(self) -> Result<IntOrText, E> {
                Ok(IntOrText::None)
            }
            fn visit_i64<E>(self, number: i64) -> Result<IntOrText, E> {
                Ok(IntOrText::Int(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<IntOrText, E> {
                Ok(i64::try_from(number).map_or(IntOrText::None, IntOrText::Int))
            }
            fn visit_f64<E>(self, number: f64) -> Result<IntOrText, E> {
                Ok(IntOrText::Text(number.to_string().into()))
            }
            fn visit_str<E>(self, text: &str) -> Result<IntOrText, E> {
                Ok(IntOrText::Text(text.into()))
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A time in seconds since 1970; what is no time is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time(pub(crate) Option<i64>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        super::time(from).map(Self)
    }
}

/// How many there are of what is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count(pub(crate) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while seq.next_element::<de::IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        from.deserialize_seq(Visitor)
    }
}

/// How many bytes a text in base64 stands for; the text itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Base64Length(pub(crate) usize);

impl<'de> Deserialize<'de> for Base64Length {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        Ok(Self(text.trim_end_matches('=').len() * 3 / 4))
    }
}

parts! {
    /// An object by its name.
    Named {
        name: Box<str>,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_read_from_texts_and_numbers() {
        let amounts: Amounts =
            serde_json::from_value(json!({"memory": "1Ki", "cpu": 2, "gpu": null, "disk": "much", "x": 0.5}))
                .unwrap();
        assert_eq!(amounts.iter().collect::<Vec<_>>(), [("cpu", 2.0), ("memory", 1024.0), ("x", 0.5)]);
        assert_eq!((amounts.get("cpu"), amounts.get("gpu")), (Some(2.0), None));
        assert_eq!(serde_json::from_value::<Amounts>(json!(null)).unwrap(), Amounts::default());
    }

    #[test]
    fn only_the_length_of_what_is_in_base64_is_kept() {
        for (text, length) in [("", 0), ("YQ==", 1), ("YWI=", 2), ("YWJj", 3), ("YWJjZA==", 4)] {
            assert_eq!(serde_json::from_value::<Base64Length>(json!(text)).unwrap().0, length, "{text}");
        }
    }
}
