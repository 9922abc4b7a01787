//! Lists, as they are read whole: for whoever wants to know how a cluster is now, and for watches before they
//! begin.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::timeout;
use url::form_urlencoded::Serializer;
use vedette_http_client::{Bytes, Response};

use crate::{
    Api, Error, ListReader, Refusal, Right, What,
    list::ListEnd,
    objects::{Object, Resource},
};

/// Objects of a page; a page of pods then has some 2 MB.
pub(crate) const PAGE_OBJECTS: &str = "500";
/// A page is told at most for so long, whatever comes.
pub(crate) const LIST_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the server may give nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a list begins again whose pages took longer than the server keeps a state.
const ATTEMPTS_MAX: usize = 3;

/// What is said of an answer that began and does not go on.
pub(crate) const TELLS_NOTHING: &str = "the API server tells nothing for too long";

impl Api {
    /// Hands on all objects of a kind, each as it comes. `None` says that all come again: the server forgot the
    /// state while pages of it were read. A right that is missing is named by the error.
    pub async fn list<O: Object>(&self, take: impl FnMut(Option<O>)) -> Result<(), Error> {
        self.list_of(&What::default(), take).await
    }

    /// Hands on those objects of a kind, in the same way.
    pub async fn list_of<O: Object>(
        &self,
        what: &What,
        mut take: impl FnMut(Option<O>),
    ) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            match self.pages(what, &mut take).await {
                Err(error) if error.is_expired() && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    take(None);
                }
                other => return other,
            }
        }
    }

    async fn pages<O: Object>(&self, what: &What, take: &mut impl FnMut(Option<O>)) -> Result<(), Error> {
        let mut next_page = String::new();
        loop {
            let mut pairs = vec![("limit", PAGE_OBJECTS)];
            if !next_page.is_empty() {
                pairs.push(("continue", &next_page));
            }
            let path = path(&O::RESOURCE, what, &pairs);
            let mut response =
                open(self, &O::RESOURCE, what, &path, "list", LIST_TIMEOUT, SILENCE_MAX).await?;
            let put = |object: O| take(Some(object));
            let end = take_page(&mut response, &O::RESOURCE, SILENCE_MAX, put, || {}).await?;
            next_page = end.next_page;
            if next_page.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Where objects are listed and watched.
pub(crate) fn path<T: AsRef<str>>(resource: &Resource<T>, what: &What, pairs: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(pairs);
    for (name, selector) in [("labelSelector", &what.labels), ("fieldSelector", &what.fields)] {
        if !selector.is_empty() {
            query.append_pair(name, selector);
        }
    }
    format!("{}?{}", resource.path(what.namespace.as_deref()), query.finish())
}

/// Asks, and waits for the head of the answer, which must come soon.
pub(crate) async fn open<T: AsRef<str>>(
    api: &Api,
    resource: &Resource<T>,
    what: &What,
    path: &str,
    verb: &'static str,
    limit: Duration,
    silence_max: Duration,
) -> Result<Response, Error> {
    let asked = timeout(silence_max, api.get(path, accept(resource, verb), limit)).await;
    let asked = asked.unwrap_or(Err(Error::Silence("the API server does not answer")));
    asked.map_err(|error| match error {
        Error::Refused(refusal) => refused(resource, what, *refusal, verb),
        other => other,
    })
}

/// A refusal that names the right that is missing.
pub(crate) fn refused<T: AsRef<str>>(
    resource: &Resource<T>,
    what: &What,
    mut refusal: Refusal,
    verb: &'static str,
) -> Error {
    if refusal.code == 403 {
        let namespace = what.namespace.clone().filter(|_| resource.is_namespaced);
        refusal.missing = Some(Right { verb, resource: resource.name(), namespace });
    }
    Error::Refused(Box::new(refusal))
}

/// One object of JSON. Decoded as text, as those of watches are: what decodes an object is made by the compiler once
/// for text and once more for bytes, and is most of this crate.
pub(crate) fn decode<O: DeserializeOwned>(object: &[u8]) -> Result<O, serde_json::Error> {
    serde_json::from_str(std::str::from_utf8(object).map_err(serde::de::Error::custom)?)
}

/// Takes a page of a list; `heard` is told of each piece of it.
pub(crate) async fn take_page<O: DeserializeOwned, T: AsRef<str>>(
    response: &mut Response,
    resource: &Resource<T>,
    silence_max: Duration,
    mut take: impl FnMut(O),
    heard: impl Fn(),
) -> Result<ListEnd, Error> {
    let mut reader = ListReader::new();
    while let Some(piece) = piece(response, silence_max).await? {
        reader.take(&piece, |item| {
            let object = decode(item).map_err(|error| {
                Error::Answer(format!("an object in a list of {}: {error}", resource.name()))
            })?;
            take(object);
            Ok(())
        })?;
        heard();
    }
    reader.finish()
}

/// The next piece of an answer.
pub(crate) async fn piece(response: &mut Response, silence_max: Duration) -> Result<Option<Bytes>, Error> {
    match timeout(silence_max, response.chunk()).await {
        Ok(piece) => piece.map_err(Error::Transport),
        Err(_) => Err(Error::Silence(TELLS_NOTHING)),
    }
}

/// No more is asked for than is used.
fn accept<T>(resource: &Resource<T>, verb: &str) -> &'static str {
    match (resource.is_metadata_only, verb) {
        (false, _) => "application/json",
        (true, "list") => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        (true, _) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
    }
}
