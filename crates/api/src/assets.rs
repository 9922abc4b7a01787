//! The web app's files, embedded when the program is built, and where page addresses lead.

use hyper::{
    HeaderMap, StatusCode,
    header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION},
};

use crate::{
    answer::{Answer, whole},
    request::Params,
};

struct Asset {
    path: &'static str,
    etag: &'static str,
    bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

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
    if path.rsplit('/').next().is_some_and(|last| last.contains('.')) && path != "/index.html" {
        return whole(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "There is no such file.\n");
    }
    match find("/index.html") {
        Some(index) => file(index, headers),
        None => {
            let mut answer = whole(StatusCode::OK, "text/html; charset=utf-8", NOT_BUILT);
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            answer
        }
    }
}

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

fn file(asset: &'static Asset, headers: &HeaderMap) -> Answer {
    let unchanged = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == asset.etag || tag.trim() == "*");
    let mut answer = if unchanged {
        whole(StatusCode::NOT_MODIFIED, content_type(asset.path), "")
    } else {
        whole(StatusCode::OK, content_type(asset.path), asset.bytes)
    };
    // The bundler puts a hash of the content into the names below /assets.
    let caching =
        if asset.path.starts_with("/assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    answer.headers_mut().insert(ETAG, HeaderValue::from_static(asset.etag));
    answer
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

fn redirect(target: &str) -> Answer {
    let mut answer = whole(StatusCode::FOUND, "text/plain; charset=utf-8", "");
    answer.headers_mut().insert(
        LOCATION,
        HeaderValue::from_str(target).unwrap_or_else(|_| HeaderValue::from_static("/explore/metrics")),
    );
    answer
}

/// Where a link to Prometheus' graph page leads: its panels' expressions, range and tab.
fn graph_target(query: &str) -> String {
    let mut old = Params::default();
    old.extend_from_encoded(query);
    let mut target = String::from("/explore/metrics");
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
    use super::*;

    #[test]
    fn links_to_prometheus_graph_page_lead_to_the_explorer() {
        for (query, target) in [
            ("", "/explore/metrics?tab=table&from=now-1h&to=now"),
            (
                "g0.expr=up%20%3E%200&g0.tab=0&g0.range_input=30m&g1.expr=x",
                "/explore/metrics?q=up%20%3E%200&q=x&from=now-30m&to=now",
            ),
            (
                "g0.expr=a&g0.tab=graph&g0.range_input=1h&g0.end_input=2024-05-01+10%3A00%3A00&g0.step_input=15",
                "/explore/metrics?q=a&from=1714554000000&to=1714557600000&step=15",
            ),
            (
                "g0.expr=%0d%0aSet-Cookie:x&g0.tab=0&g0.range_input=x",
                "/explore/metrics?q=%0D%0ASet-Cookie%3Ax",
            ),
        ] {
            assert_eq!(graph_target(query), target);
        }
    }
}
