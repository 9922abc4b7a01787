//! All routes, as data: what is not in this table does not exist, and a test compares it with
//! the reference in `docs/reference/http.md`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use vedette_wire::prometheus::ErrorType;

use crate::{
    answer::{self, Answer},
    app::Shared,
    assets, exposition, guard, own, prometheus,
    request::{Call, Params, decode},
};

/// One route.
pub struct Route {
    /// The methods it takes; `HEAD` goes wherever `GET` goes.
    pub methods: &'static [Method],
    /// The path; `{name}` stands for one part of it.
    pub path: &'static str,
    /// What the caller must be allowed to do.
    pub right: Right,
    /// What it answers, one sentence.
    pub about: &'static str,
    handler: Handler,
}

/// A right. Until there is authentication, everyone on this machine has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// None is needed: tells nothing but that the server is there.
    Open,
    /// Reading what is stored.
    Read,
    /// Adding to what is stored.
    Write,
    /// Removing what is stored, and copying it.
    Admin,
}

impl Right {
    /// The word in the reference.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// What a handler gives.
pub(crate) type Handled = BoxFuture<'static, Answer>;
type Handler = fn(Call) -> Handled;

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const POST_PUT: &[Method] = &[Method::POST, Method::PUT];
const GET_POST: &[Method] = &[Method::GET, Method::POST];

macro_rules! routes {
    ($($methods:ident $path:literal $right:ident $about:literal $handler:path;)*) => {
        /// Every route of the server; the first that fits takes the request.
        pub static ROUTES: &[Route] = &[$(Route {
            methods: $methods, path: $path, right: Right::$right, about: $about, handler: $handler,
        }),*];
    };
}

routes! {
    GET_POST "/api/v1/query" Read "Evaluates a PromQL expression at one time." prometheus::query::instant;
    GET_POST "/api/v1/query_range" Read "Evaluates a PromQL expression over a range of times." prometheus::query::range;
    GET_POST "/api/v1/format_query" Read "Writes a PromQL expression in a form for people." prometheus::query::format;
    GET_POST "/api/v1/series" Read "Lists the series that match selectors." prometheus::series::series;
    GET_POST "/api/v1/labels" Read "Lists label names." prometheus::series::labels;
    GET "/api/v1/label/{name}/values" Read "Lists the values of a label." prometheus::series::label_values;
    GET "/api/v1/metadata" Read "Lists type, help and unit of metric families." prometheus::series::metadata;
    GET "/api/v1/rules" Read "Lists rule groups with the state of their rules and alerts." prometheus::rules::rules;
    GET "/api/v1/targets" Read "Lists the targets of scrape pools; there are none yet." prometheus::status::targets;
    GET "/api/v1/alerts" Read "Lists pending and firing alerts." prometheus::rules::alerts;
    POST "/api/v1/write" Write "Takes samples by Prometheus' remote write 1.0." prometheus::write::write;
    GET "/api/v1/status/buildinfo" Read "Tells which Prometheus API is spoken, and which Vedette speaks it." prometheus::status::build_info;
    GET "/api/v1/status/runtimeinfo" Read "Tells how the server runs." prometheus::status::runtime_info;
    POST_PUT "/api/v1/admin/tsdb/delete_series" Admin "Deletes the samples of series that match selectors." prometheus::admin::delete_series;
    POST_PUT "/api/v1/admin/tsdb/clean_tombstones" Admin "Frees the space of what was deleted." prometheus::admin::clean_tombstones;
    POST_PUT "/api/v1/admin/tsdb/snapshot" Admin "Makes a snapshot of the metric store and tells its name." prometheus::admin::snapshot;
    GET "/api/vedette/v1/status" Read "Tells what every part of Vedette says of itself." own::status::status;
    GET "/api/vedette/v1/events" Read "Searches events, newest first." own::events::search;
    GET "/api/vedette/v1/events/live" Read "Streams events as they come, as server-sent events." own::live::live;
    GET "/api/vedette/v1/events/{id}" Read "Gives one event." own::events::event;
    GET "/api/vedette/v1/events/{id}/tree" Read "Gives the process tree around an event." own::tree::tree;
    GET "/api/vedette/v1/findings" Read "Lists findings, the most severe first." own::status::findings;
    GET "/api/vedette/v1/containers" Read "Lists the containers that are there now." own::status::containers;
    GET "/metrics" Read "Exposes Vedette's own metrics." exposition::own;
    GET "/metrics/node" Read "Exposes the newest values of this machine, as node_exporter does." exposition::node;
    GET "/metrics/cadvisor" Read "Exposes the newest values of the containers, as cAdvisor does." exposition::containers;
    GET "/-/healthy" Open "Answers 200 while the server runs." own::status::healthy;
    GET "/-/ready" Open "Answers 200 once everything stored can be read, 503 before." own::status::ready;
    GET "/version" Open "Tells the version." own::status::version;
}

/// Answers one request, whatever it is.
pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let _in_flight = shared.metrics.in_flight.enter();
    let begun = shared.app.clock.monotonic();
    let (head, body) = request.into_parts();
    let (route, mut answer) =
        match guard::check(&head.method, &head.uri, head.version, &head.headers, &shared.metrics) {
            Some(refusal) => (None, refusal),
            None => route(&shared, head, body).await,
        };
    guard::harden(answer.headers_mut());
    let took = shared.app.clock.monotonic().since(begun);
    shared.metrics.answered(route, answer.status().as_u16(), took);
    answer
}

async fn route(
    shared: &Arc<Shared>,
    head: hyper::http::request::Parts,
    body: Incoming,
) -> (Option<usize>, Answer) {
    let path = head.uri.path();
    let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
    let Some((place, parts)) = find(path) else {
        let answer = if *method == Method::GET && !is_api(path) {
            assets::page(path, head.uri.query(), &head.headers)
        } else {
            not_found(path)
        };
        return (None, answer);
    };
    let route = &ROUTES[place];
    if !route.methods.contains(method) {
        return (Some(place), method_not_allowed(route));
    }
    let mut params = Params::default();
    let body = if (*method == Method::POST || *method == Method::PUT) && is_form(&head.headers) {
        if let Err(refusal) = read_form(shared, body, &mut params).await {
            return (Some(place), refusal);
        }
        None
    } else {
        Some(body)
    };
    if let Some(query) = head.uri.query() {
        params.extend_from_encoded(query);
    }
    let call = Call { shared: shared.clone(), headers: head.headers, parts, params, body };
    (Some(place), (route.handler)(call).await)
}

/// The first route that fits, and the variable parts of the path.
fn find(path: &str) -> Option<(usize, Vec<String>)> {
    ROUTES.iter().enumerate().find_map(|(place, route)| Some((place, fit(route.path, path)?)))
}

fn fit(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut left = path.split('/');
    for expected in pattern.split('/') {
        let got = left.next()?;
        if expected.starts_with('{') {
            if got.is_empty() {
                return None;
            }
            parts.push(decode(got, false));
        } else if expected != got {
            return None;
        }
    }
    left.next().is_none().then_some(parts)
}

fn is_form(headers: &hyper::HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|t| t.to_str().ok())
        .is_some_and(|t| t.split(';').next().unwrap_or("").trim() == "application/x-www-form-urlencoded")
}

async fn read_form(shared: &Shared, body: Incoming, params: &mut Params) -> Result<(), Answer> {
    let max = shared.config.body_bytes_max;
    let read = Limited::new(body, max).collect();
    match tokio::time::timeout(shared.config.body_timeout, read).await {
        Ok(Ok(body)) => {
            params.extend_from_encoded(&String::from_utf8_lossy(&body.to_bytes()));
            Ok(())
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            shared.metrics.refused_size.inc();
            Err(answer::own_error(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the request's body has more than {max} bytes"),
                "Send fewer or shorter parameters.",
            ))
        }
        Ok(Err(_)) => Err(answer::own_error(
            StatusCode::BAD_REQUEST,
            "the request's body ended early",
            "Send as many bytes as the head says.",
        )),
        Err(_) => Err(answer::own_error(
            StatusCode::REQUEST_TIMEOUT,
            "the request's body took too long to come",
            "Send it faster.",
        )),
    }
}

fn is_api(path: &str) -> bool {
    ["/api", "/-", "/metrics"]
        .iter()
        .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn not_found(path: &str) -> Answer {
    if path.starts_with("/api/v1/") {
        return answer::prometheus_error(ErrorType::NotFound, "this endpoint does not exist here");
    }
    answer::own_error(
        StatusCode::NOT_FOUND,
        "there is nothing at this address",
        "The addresses that exist stand in docs/reference/http.md.",
    )
}

fn method_not_allowed(route: &Route) -> Answer {
    let allowed = route.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let mut answer = answer::own_error(
        StatusCode::METHOD_NOT_ALLOWED,
        "this address does not take that method",
        &format!("Use {allowed}."),
    );
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        answer.headers_mut().insert(ALLOW, value);
    }
    answer
}
