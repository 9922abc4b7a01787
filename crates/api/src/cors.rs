//! Pages of other origins: which may read answers of Prometheus' API, as its `--web.cors.origin` says.
//!
//! Invariant: a page that the operator did not name can ask nothing that changes anything, and reads
//! nothing of a server that asks nobody who they are.

use hyper::{
    HeaderMap, Method,
    header::{self, HeaderValue},
};
use vedette_model::{Regexp, RegexpError};

/// Which origins may read: those that an expression matches as a whole. Where none is given any, as in
/// Prometheus, but none where nobody is asked who they are: every page in every browser on this machine
/// could read everything.
#[derive(Debug, Clone, Default)]
pub struct Origins(Option<(String, Regexp)>);

impl PartialEq for Origins {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Origins {}

impl Origins {
    /// Those that match the expression. Pages of them may also ask by POST.
    pub fn matching(expression: &str) -> Result<Self, RegexpError> {
        Ok(Self(Some((expression.to_owned(), Regexp::new(expression)?))))
    }

    /// The expression, if there is one.
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref().map(|(text, _)| text.as_str())
    }

    /// Whether the operator lets pages of this origin ask what they like.
    pub(crate) fn name(&self, origin: &HeaderValue) -> bool {
        self.0.as_ref().is_some_and(|(_, regexp)| origin.to_str().is_ok_and(|origin| regexp.matches(origin)))
    }

    fn may_read(&self, origin: &HeaderValue, authenticated: bool) -> bool {
        if self.0.is_none() { authenticated } else { self.name(origin) }
    }
}

/// Whether answers at this address are for pages of other origins, too.
pub fn is_open(path: &str) -> bool {
    path.starts_with("/api/v1/")
}

/// Whether a request of a page only asks, however it is sent.
pub fn only_asks(method: &Method, path: &str) -> bool {
    const ASKED_BY_POST: [&str; 6] =
        ["query", "query_range", "query_exemplars", "series", "labels", "format_query"];
    let asked = path.strip_prefix("/api/v1/").is_some_and(|rest| {
        ASKED_BY_POST.contains(&rest) || rest == "parse_query" || rest.starts_with("search/")
    });
    asked && *method == Method::POST || is_open(path) && *method == Method::OPTIONS
}

/// Adds to an answer what tells a browser that a page of another origin may read it.
pub fn add_headers(headers: &mut HeaderMap, origins: &Origins, origin: &HeaderValue, authenticated: bool) {
    if !origins.may_read(origin, authenticated) {
        return;
    }
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
}
