//! How the server is known to others.

use vedette_api::Origins;

use super::Error;

/// Checks where others find this server; gives it without a slash at the end.
pub(super) fn external_url(place: &str, text: &str) -> Result<String, Error> {
    let refuse = |reason: String| Error::Value { place: place.to_owned(), reason };
    let url: url::Url = text.parse().map_err(|error| refuse(format!("{text:?} is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse(format!("{text:?} begins with neither http:// nor https:// and a host")));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(refuse(format!("{text:?} has more than a scheme, a host and a path; leave that out")));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The prefix of all addresses: as it is given, else the path under which others find the server.
pub(super) fn route_prefix(given: Option<&str>, external_url: Option<&str>) -> String {
    let path = |url: &str| url.parse::<url::Url>().ok().map(|url| url.path().to_owned());
    let prefix = given.map(str::to_owned).or_else(|| path(external_url?)).unwrap_or_default();
    let prefix = prefix.trim_matches('/');
    if prefix.is_empty() { String::new() } else { format!("/{prefix}") }
}

/// Checks which pages of other origins may read.
pub(super) fn origins(place: &str, text: Option<&str>) -> Result<Origins, Error> {
    let Some(text) = text else { return Ok(Origins::default()) };
    Origins::matching(text)
        .map_err(|error| Error::Value { place: place.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_more_than_it_needs() {
        for (text, expected) in [
            ("http://h:9090/", Ok("http://h:9090")),
            ("https://h/prom/", Ok("https://h/prom")),
            ("h:9090", Err("neither http://")),
            ("ftp://h", Err("neither http://")),
            ("http://", Err("no address")),
            ("http://h/?a=b", Err("leave that out")),
            ("http://u:p@h", Err("leave that out")),
        ] {
            let read = external_url("x: external_url", text);
            match expected {
                Ok(url) => assert_eq!(read.expect(text), url),
                Err(words) => assert!(read.expect_err(text).to_string().contains(words), "{text}"),
            }
        }
    }

    #[test]
    fn the_prefix_is_the_path_unless_it_is_given() {
        for (given, url, expected) in [
            (None, None, ""),
            (None, Some("https://h/prom"), "/prom"),
            (Some("/"), Some("https://h/prom"), ""),
            (Some("a/b/"), Some("https://h/prom"), "/a/b"),
        ] {
            assert_eq!(route_prefix(given, url), expected, "{given:?} {url:?}");
        }
    }
}
