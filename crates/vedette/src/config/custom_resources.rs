//! Custom resources whose state is told: files as kube-state-metrics takes them, or the same in our own file.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, de};
use vedette_k8s::state::custom::{self, ConfigError, CustomResource, CustomResourceFile};

use super::{Error, FILE_BYTES_MAX};

/// Custom resources: a file, or what it would have.
#[derive(Debug)]
pub enum CustomResources {
    /// A file.
    File(PathBuf),
    /// What it would have.
    Inline(CustomResourceFile),
}

impl<'de> Deserialize<'de> for CustomResources {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = CustomResources;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file, or a map with the keys `kind` and `spec`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(CustomResources::File(text.into()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let file = de::value::MapAccessDeserializer::new(map);
                CustomResourceFile::deserialize(file).map(CustomResources::Inline)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// Files of one cluster.
const FILES_MAX: usize = 64;

/// Reads and checks all of a cluster.
pub(super) fn all(
    place: &str,
    folder: &Path,
    written: Vec<CustomResources>,
) -> Result<Arc<[CustomResource]>, Error> {
    if written.len() > FILES_MAX {
        let reason = format!("name at most {FILES_MAX}, each with as many resources as you like");
        return Err(Error::Value { place: place.to_owned(), reason });
    }
    let mut all = Vec::new();
    for (at, one) in written.into_iter().enumerate() {
        let place = format!("{place}[{at}]");
        all.extend(match one {
            CustomResources::Inline(file) => file.check(&place).map_err(refused)?,
            CustomResources::File(path) => file(&place, &folder.join(path))?,
        });
    }
    custom::together(all).map_err(refused)
}

fn file(place: &str, path: &Path) -> Result<Vec<CustomResource>, Error> {
    let name = path.display().to_string();
    let unreadable = |reason: String| Error::Value {
        place: place.to_owned(),
        reason: format!("cannot read {name}: {reason}; name a file of kind CustomResourceStateMetrics"),
    };
    let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable(format!("it has {length} bytes, more than {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    custom::read(&name, &text).and_then(|file| file.check(&format!("{name}: "))).map_err(refused)
}

fn refused(ConfigError { place, reason }: ConfigError) -> Error {
    Error::Value { place, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "kind: CustomResourceStateMetrics\nspec:\n  resources:\n  - groupVersionKind: \
        {group: g, version: v1, kind: NAME}\n    metrics: [{name: n, each: {type: Info, info: {}}}]\n";

    /// How many resources a list of such has, in a folder with two files.
    fn read(list: &str) -> Result<usize, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.yaml"), FILE.replace("NAME", "A")).expect("written");
        std::fs::write(folder.path().join("typo.yaml"), FILE.replace("metrics", "metric")).expect("written");
        std::fs::write(folder.path().join("wrong.yaml"), FILE.replace("Info", "Sum")).expect("written");
        let written: Vec<CustomResources> = serde_saphyr::from_str(list).expect(list);
        all("v.yml: x", folder.path(), written).map(|all| all.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn resources_come_from_files_and_stand_in_our_own() {
        let inline = |kind: &str| {
            let metrics =
                "metrics: [{name: n, each: {type: StateSet, stateSet: {labelName: l, list: [True]}}}]";
            format!(
                "{{spec: {{resources: [{{groupVersionKind: {{group: g, version: v1, kind: {kind}}}, {metrics}}}]}}}}"
            )
        };
        assert_eq!(read("[]"), Ok(0));
        assert_eq!(read(&format!("[a.yaml, {}]", inline("B"))), Ok(2));
        for (list, begin, words) in [
            ("[b.yaml]".to_owned(), "v.yml: x[0]: cannot read ", "No such file"),
            ("[a.yaml, .]".to_owned(), "v.yml: x[1]: cannot read ", "directory"),
            ("[typo.yaml]".to_owned(), "", "typo.yaml:5:5: unknown field `metric`"),
            ("[wrong.yaml]".to_owned(), "", "wrong.yaml: spec.resources[0].metrics[0].each.type: \"Sum\""),
            (
                format!("[a.yaml, {}]", inline("A")),
                "v.yml: x[1].spec.resources[0]: ",
                "a.yaml: spec.resources[0]",
            ),
            ("[{kind: X}]".to_owned(), "v.yml: x[0].kind: ", "CustomResourceStateMetrics"),
        ] {
            let error = read(&list).expect_err(&list);
            assert!(error.starts_with(begin) && error.contains(words), "{error}");
        }
        let many = format!("[{}]", vec!["a.yaml"; 65].join(", "));
        assert!(read(&many).expect_err("many").contains("at most 64"));
        for list in ["[1]", "[[a]]", "[{spec: {resource: []}}]"] {
            assert!(serde_saphyr::from_str::<Vec<CustomResources>>(list).is_err(), "{list}");
        }
    }
}
