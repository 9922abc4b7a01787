//! All objects of one kind, once, in pages: for whoever wants to know how a cluster is now and no more.

use std::time::Duration;

use tokio::time::timeout;
use url::form_urlencoded::Serializer;

use crate::{Api, Error, ListReader, Right, objects::Object, watch::accept};

/// Objects of a page.
const PAGE_OBJECTS: &str = "500";
/// A page is told at most for so long, whatever comes.
const PAGE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the server may give nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a list begins again whose pages took longer than the server keeps a state.
const ATTEMPTS_MAX: usize = 3;

impl Api {
    /// Hands on all objects of a kind, each as it comes. `None` says that all come again: the server forgot the
    /// state while pages of it were read. A right that is missing is named by the error.
    pub async fn list<O: Object>(&self, mut take: impl FnMut(Option<O>)) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            match self.pages(&mut take).await {
                Err(error) if error.is_expired() && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    take(None);
                }
                other => return other,
            }
        }
    }

    async fn pages<O: Object>(&self, take: &mut impl FnMut(Option<O>)) -> Result<(), Error> {
        let accept = accept(&O::RESOURCE, "list");
        let mut next_page = String::new();
        loop {
            let mut query = Serializer::new(String::new());
            query.append_pair("limit", PAGE_OBJECTS);
            if !next_page.is_empty() {
                query.append_pair("continue", &next_page);
            }
            let path = format!("{}?{}", O::RESOURCE.path(None), query.finish());
            let asked = timeout(SILENCE_MAX, self.get(&path, accept, PAGE_TIMEOUT)).await;
            let asked = asked.unwrap_or(Err(Error::Silence("the API server does not answer")));
            let mut response = asked.map_err(|error| match error {
                Error::Refused(mut refusal) if refusal.code == 403 => {
                    let resource = O::RESOURCE.name();
                    refusal.missing = Some(Right { verb: "list", resource, namespace: None });
                    Error::Refused(refusal)
                }
                other => other,
            })?;
            let mut reader = ListReader::new();
            loop {
                let piece = timeout(SILENCE_MAX, response.chunk()).await;
                let piece = piece.map_err(|_| Error::Silence("the API server tells nothing for too long"))?;
                let Some(piece) = piece.map_err(Error::Transport)? else { break };
                reader.take(&piece, |item| {
                    let object = serde_json::from_slice(item).map_err(|error| {
                        Error::Answer(format!("an object in a list of {}: {error}", O::RESOURCE.name()))
                    })?;
                    take(Some(object));
                    Ok(())
                })?;
            }
            next_page = reader.finish()?.next_page;
            if next_page.is_empty() {
                return Ok(());
            }
        }
    }
}
