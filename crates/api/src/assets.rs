//! The web app's files, embedded when the program is built, and where page addresses lead.

use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
    },
};

use crate::{
    answer::{Answer, whole},
    request::Params,
};

struct Asset {
    path: &'static str,
    plain: Form,
    /// Compressed by the web app's build, where that is worth it.
    gzip: Option<Form>,
}

/// A file as it is sent.
struct Form {
    etag: &'static str,
    bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Pages whose addresses end in a name that others gave: of a host, of a cgroup. It may hold a dot.
const NAMED_PAGES: [&str; 2] = ["/hosts/", "/containers/"];

/// Shown instead of the web app where the program was built without it.
const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Vedette</title></head>\
<body><h1>Vedette runs, but its web app was not built</h1>\
<p>This program was compiled without the web app. Build both with <code>cargo xtask up</code>, or the web app with \
<code>npm --prefix ui ci &amp;&amp; npm --prefix ui run build</code> and then the program again.</p>\
<p>The HTTP API works: see <a href=\"/api/v1/status/buildinfo\">/api/v1/status/buildinfo</a> and \
<a href=\"/metrics\">/metrics</a>.</p></body></html>\n";

/// Answers what no route takes: a file of the web app, or the page that shows any other address.
pub fn page(path: &str, query: Option<&str>, headers: &HeaderMap) -> Answer {
    if path == "/graph" {
        return redirect(&graph_target(query.unwrap_or("")));
    }
    if let Some(asset) = find(path).filter(|asset| asset.path != "/index.html") {
        return file(asset, headers);
    }
    // A file's name has an extension, a page's address has none.
    let dotted = path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    if dotted && path != "/index.html" && !NAMED_PAGES.iter().any(|page| path.starts_with(page)) {
        return whole(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "There is no such file.\n");
    }
    match find("/index.html") {
        Some(index) => index_page(index, path),
        None => {
            let mut answer = whole(StatusCode::OK, "text/html; charset=utf-8", NOT_BUILT);
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            answer
        }
    }
}

/// The page of the web app, for an address so many steps below the root: who is asked through a proxy does
/// not know under which path it is seen, so all that the page names is told relative to its address.
fn index_page(index: &Asset, path: &str) -> Answer {
    let depth = path.matches('/').count().saturating_sub(1);
    let up = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    let page = String::from_utf8_lossy(index.plain.bytes)
        .replace("=\"./", &format!("=\"{up}"))
        .replace("<head>", &format!("<head>\n    <meta name=\"vedette-base\" content=\"{up}\" />"));
    let mut answer = whole(StatusCode::OK, "text/html; charset=utf-8", page);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

fn file(asset: &'static Asset, headers: &HeaderMap) -> Answer {
    let compressed = asset.gzip.as_ref().filter(|_| accepts_gzip(headers));
    let form = compressed.unwrap_or(&asset.plain);
    let unchanged = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == form.etag || tag.trim() == "*");
    let mut answer = if unchanged {
        whole(StatusCode::NOT_MODIFIED, content_type(asset.path), "")
    } else {
        whole(StatusCode::OK, content_type(asset.path), form.bytes)
    };
    // The bundler puts a hash of the content into the names below /assets.
    let caching =
        if asset.path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let out = answer.headers_mut();
    out.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    out.insert(ETAG, HeaderValue::from_static(form.etag));
    if asset.gzip.is_some() {
        out.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if compressed.is_some() {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// Whether the client takes gzip: it names it, or everything, with a quality above 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut others = false;
    let codings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    for coding in codings.flat_map(|v| v.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = parameters.split(';').find_map(|p| p.trim().strip_prefix("q="));
        let taken = quality.is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0));
        match name.trim() {
            "*" => others = taken,
            name if name.eq_ignore_ascii_case("gzip") => return taken,
            _ => {}
        }
    }
    others
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Leads elsewhere; without an address that can be told, to the page of metrics.
pub fn redirect(target: &str) -> Answer {
    let mut answer = whole(StatusCode::FOUND, "text/plain; charset=utf-8", "");
    answer.headers_mut().insert(
        LOCATION,
        HeaderValue::from_str(target).unwrap_or_else(|_| HeaderValue::from_static("explore/metrics")),
    );
    answer
}

/// Where a link to Prometheus' graph page leads: its panels' expressions, range and tab.
fn graph_target(query: &str) -> String {
    let mut old = Params::default();
    old.extend_from_encoded(query);
    // Relative to the page's own address, whatever a proxy has made of it.
    let mut target = String::from("explore/metrics");
    let mut add = |name: &str, value: &str| {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(name);
        target.push('=');
        encode(&mut target, value);
    };
    for panel in 0..100 {
        let Some(expression) = old.given(&format!("g{panel}.expr")) else { break };
        add("q", expression);
    }
    // Until version 3 the tab was a number, 0 the graph; the table was and is what opens without it.
    if !matches!(old.first("g0.tab"), "0" | "graph") {
        add("tab", "table");
    }
    let range = old.given("g0.range_input").unwrap_or("1h");
    if let Ok(length_ms) = crate::time::parse_duration_ms(range) {
        let end = ["g0.end_input", "g0.moment_input"].iter().find_map(|name| old.given(name));
        match end.and_then(end_ms) {
            Some(end_ms) => {
                add("from", &end_ms.saturating_sub(length_ms).to_string());
                add("to", &end_ms.to_string());
            }
            None => {
                add("from", &format!("now-{range}"));
                add("to", "now");
            }
        }
    }
    if let Some(step) = old.given("g0.step_input").filter(|step| step.parse::<f64>().is_ok_and(|s| s > 0.0)) {
        add("step", step);
    }
    target
}

/// Prometheus' page writes `2024-05-01 10:00:00` in UTC.
fn end_ms(text: &str) -> Option<i64> {
    let text = text.replace(' ', "T");
    crate::time::parse_time_ms(&text)
        .or_else(|_| crate::time::parse_time_ms(&format!("{text}Z")))
        .or_else(|_| crate::time::parse_time_ms(&format!("{text}:00Z")))
        .ok()
}

fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::{body::Body as _, header::HeaderName};

    use super::*;

    static APP: Asset = Asset {
        path: "/assets/app-1.js",
        plain: Form { etag: "\"p\"", bytes: b"plain and long" },
        gzip: Some(Form { etag: "\"z\"", bytes: b"short" }),
    };
    static PICTURE: Asset =
        Asset { path: "/p.png", plain: Form { etag: "\"p\"", bytes: b"picture" }, gzip: None };

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn files_are_compressed_for_those_who_take_it() {
        for (accept, taken) in [
            ("gzip, deflate, br, zstd", true),
            ("GZIP", true),
            ("*", true),
            ("br;q=1.0, gzip;q=0.5", true),
            ("identity, *;q=0.1", true),
            ("", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("gzip;q=x", false),
            ("identity;q=1, *;q=0", false),
        ] {
            let answer = file(&APP, &headers(&[(ACCEPT_ENCODING, accept)]));
            let header = |name: HeaderName| answer.headers().get(name).and_then(|v| v.to_str().ok());
            let (encoding, etag, bytes) =
                if taken { (Some("gzip"), "\"z\"", 5) } else { (None, "\"p\"", 14) };
            assert_eq!((header(CONTENT_ENCODING), header(ETAG)), (encoding, Some(etag)), "{accept:?}");
            assert_eq!(answer.body().size_hint().exact(), Some(bytes), "{accept:?}");
            assert_eq!(header(VARY), Some("Accept-Encoding"), "{accept:?}");
        }
        let answer = file(&PICTURE, &headers(&[(ACCEPT_ENCODING, "gzip")]));
        assert!(!answer.headers().contains_key(CONTENT_ENCODING) && !answer.headers().contains_key(VARY));
    }

    #[test]
    fn a_client_that_has_the_file_gets_it_no_more() {
        for (accept, known, status) in [
            ("gzip", "\"z\"", 304),
            ("gzip", "\"a\", W/\"z\"", 304),
            ("gzip", "*", 304),
            ("gzip", "\"p\"", 200),
            ("br", "\"p\"", 304),
            ("br", "\"z\"", 200),
        ] {
            let answer = file(&APP, &headers(&[(ACCEPT_ENCODING, accept), (IF_NONE_MATCH, known)]));
            assert_eq!(answer.status(), status, "{accept} {known}");
        }
    }

    /// Holds whatever web app this was built with; without one there is nothing to look at.
    #[test]
    fn embedded_files_are_whole() {
        for asset in ASSETS {
            assert!(!asset.path.ends_with(".gz"), "{}", asset.path);
            if let Some(gzip) = &asset.gzip {
                assert!(gzip.bytes.starts_with(&[0x1f, 0x8b]), "{}", asset.path);
                assert!(gzip.bytes.len() < asset.plain.bytes.len(), "{}", asset.path);
                // The last four bytes are the length of what was compressed.
                let (_, tail) = gzip.bytes.split_at(gzip.bytes.len() - 4);
                assert_eq!(tail, u32::try_from(asset.plain.bytes.len()).expect("small").to_le_bytes());
            }
        }
    }

    #[test]
    fn links_to_prometheus_graph_page_lead_to_the_explorer() {
        for (query, target) in [
            ("", "explore/metrics?tab=table&from=now-1h&to=now"),
            (
                "g0.expr=up%20%3E%200&g0.tab=0&g0.range_input=30m&g1.expr=x",
                "explore/metrics?q=up%20%3E%200&q=x&from=now-30m&to=now",
            ),
            (
                "g0.expr=a&g0.tab=graph&g0.range_input=1h&g0.end_input=2024-05-01+10%3A00%3A00&g0.step_input=15",
                "explore/metrics?q=a&from=1714554000000&to=1714557600000&step=15",
            ),
            (
                "g0.expr=%0d%0aSet-Cookie:x&g0.tab=0&g0.range_input=x",
                "explore/metrics?q=%0D%0ASet-Cookie%3Ax",
            ),
        ] {
            assert_eq!(graph_target(query), target);
        }
    }
}
