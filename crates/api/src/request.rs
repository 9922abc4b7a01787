//! What a handler gets of a request: the application, the path's variable parts and the
//! parameters of query and form in the order of Go's `r.Form`: form first, then query.

use std::sync::Arc;

use hyper::{HeaderMap, body::Incoming};

use crate::{app::Shared, gate::Client};

/// One call of a handler.
pub struct Call {
    /// What the handler works with.
    pub shared: Arc<Shared>,
    /// Who asks.
    pub client: Client,
    /// The path that was asked for.
    pub path: &'static str,
    /// Headers of the request.
    pub headers: HeaderMap,
    /// Variable parts of the path, decoded, in their order.
    pub parts: Vec<String>,
    /// Parameters.
    pub params: Params,
    /// The body, unless it was a form: then it stands among the parameters.
    pub body: Option<Incoming>,
}

/// Parameters by name; a name may come several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Adds the parameters of a query or of a form's body.
    pub fn extend_from_encoded(&mut self, encoded: &str) {
        for pair in encoded.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.0.push((decode(name, true), decode(value, true)));
        }
    }

    /// The first value of `name`, or an empty string.
    pub fn first(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The first value of `name` that is not empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        Some(self.first(name)).filter(|value| !value.is_empty())
    }

    /// All values of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes percent signs, and plus signs to spaces where `form` says so. What is not valid UTF-8
/// is replaced; a percent sign that begins no code stays.
pub fn decode(text: &str, form: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = (bytes[i] == b'%')
            .then(|| bytes.get(i + 1..i + 3))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match code {
            Some(code) => {
                out.push(code);
                i += 3;
            }
            None => {
                out.push(if form && bytes[i] == b'+' { b' ' } else { bytes[i] });
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}
