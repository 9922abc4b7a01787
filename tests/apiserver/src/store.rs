//! The objects, and what happened to them since the last compaction.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Objects by collection, namespace and name, as a real server orders them.
#[derive(Default)]
pub(crate) struct Store {
    objects: BTreeMap<(String, String, String), Value>,
    /// The newest state.
    pub(crate) version: u64,
    /// States before this are gone.
    pub(crate) oldest: u64,
    pub(crate) log: Vec<Change>,
}

/// What a watch is told.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    /// Empty for a bookmark, which all watches are told.
    pub(crate) collection: String,
    pub(crate) kind: &'static str,
    pub(crate) object: Value,
    /// How it was, as objects leave a selection and enter one.
    pub(crate) before: Option<Value>,
}

impl Store {
    pub(crate) fn put(&mut self, collection: &str, mut object: Value) {
        let version = self.version + 1;
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(version.to_string());
        if meta["uid"].is_null() {
            let name = meta["name"].as_str().unwrap_or_default();
            let namespace = meta["namespace"].as_str().unwrap_or_default();
            meta["uid"] = json!(format!("uid-{namespace}-{name}"));
        }
        self.put_recorded(collection, object);
    }

    pub(crate) fn put_recorded(&mut self, collection: &str, object: Value) {
        let told = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
        let version: u64 = told.expect("an object has a version");
        assert!(version > self.version, "states are in order");
        self.version = version;
        let key = key(collection, &object);
        let before = self.objects.insert(key, object.clone());
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.log.push(Change { version, collection: collection.to_owned(), kind, object, before });
    }

    pub(crate) fn remove(&mut self, collection: &str, namespace: &str, name: &str) {
        let key = (collection.to_owned(), namespace.to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key).expect("an object that is there");
        let before = Some(object.clone());
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let collection = collection.to_owned();
        self.log.push(Change { version: self.version, collection, kind: "DELETED", object, before });
    }

    pub(crate) fn bookmark(&mut self) {
        let object = json!({"metadata": {"resourceVersion": self.version.to_string()}});
        let (version, collection) = (self.version, String::new());
        self.log.push(Change { version, collection, kind: "BOOKMARK", object, before: None });
    }

    pub(crate) fn compact(&mut self) {
        // A real compaction leaves the newest state; one more change makes all before it old.
        self.version += 1;
        self.oldest = self.version;
        self.log.clear();
    }

    pub(crate) fn all(&self, collection: &str) -> impl Iterator<Item = &Value> {
        let from = (collection.to_owned(), String::new(), String::new());
        let collection = collection.to_owned();
        self.objects.range(from..).take_while(move |((c, ..), _)| *c == collection).map(|(_, object)| object)
    }

    pub(crate) fn get(&self, collection: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(collection.to_owned(), namespace.to_owned(), name.to_owned()))
    }
}

/// Where an object stands.
pub(crate) fn key(collection: &str, object: &Value) -> (String, String, String) {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (collection.to_owned(), text("namespace"), text("name"))
}
