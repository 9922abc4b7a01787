//! All routes, as data: what is not in this table does not exist, and a test compares it with
//! the reference in `docs/reference/http.md`.

use std::{net::IpAddr, sync::Arc};

use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN},
    http::uri::PathAndQuery,
};

use crate::{
    agent,
    answer::{self, Answer},
    app::Shared,
    assets, cadvisor, cors, exposition,
    gate::Client,
    guard, influx, openapi, own, prometheus,
    request::{Call, Params, decode},
    web::Door,
};

/// One route.
pub struct Route {
    /// The methods it takes; `HEAD` goes wherever `GET` goes.
    pub methods: &'static [Method],
    /// The path; `{name}` stands for one part of it, `{name*}` at the end for any number of them.
    pub path: &'static str,
    /// What the caller must be allowed to do.
    pub right: Right,
    /// What it answers, one sentence.
    pub about: &'static str,
    /// Parameters of query or form that it knows; `!` stands behind the name of one that must be given.
    pub params: &'static [&'static str],
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
    ($($methods:ident $path:literal $right:ident $about:literal $handler:path $([$($param:literal)*])?;)*) => {
        /// Every route of the server; the first that fits takes the request.
        pub static ROUTES: &[Route] = &[$(Route {
            methods: $methods, path: $path, right: Right::$right, about: $about,
            params: &[$($($param),*)?], handler: $handler,
        }),*];
    };
}

routes! {
    GET_POST "/api/v1/query" Read "Evaluates a PromQL expression at one time." prometheus::query::instant ["query!" "time" "timeout" "limit" "lookback_delta" "stats" "nocache"];
    GET_POST "/api/v1/query_range" Read "Evaluates a PromQL expression over a range of times." prometheus::query::range ["query!" "start!" "end!" "step!" "timeout" "limit" "lookback_delta" "stats" "nocache"];
    GET_POST "/api/v1/query_exemplars" Read "Lists exemplars of the series that a PromQL expression reads." prometheus::exemplars::exemplars ["query!" "start" "end"];
    GET_POST "/api/v1/format_query" Read "Writes a PromQL expression in a form for people." prometheus::query::format ["query!"];
    GET_POST "/api/v1/parse_query" Read "Writes a PromQL expression as a tree for programs." prometheus::query::parsed ["query!"];
    GET_POST "/api/v1/series" Read "Lists the series that match selectors." prometheus::series::series ["match[]!" "start" "end" "limit"];
    GET_POST "/api/v1/labels" Read "Lists label names." prometheus::series::labels ["match[]" "start" "end" "limit"];
    GET "/api/v1/label/{name}/values" Read "Lists the values of a label." prometheus::series::label_values ["match[]" "start" "end" "limit"];
    GET_POST "/api/v1/search/metric_names" Read "Searches metric names." prometheus::search::metric_names ["match[]" "search[]" "start" "end" "limit" "batch_size" "sort_by" "sort_dir" "fuzz_alg" "fuzz_threshold" "case_sensitive" "include_score" "include_metadata"];
    GET_POST "/api/v1/search/label_names" Read "Searches label names." prometheus::search::label_names ["match[]" "search[]" "start" "end" "limit" "batch_size" "sort_by" "sort_dir" "fuzz_alg" "fuzz_threshold" "case_sensitive" "include_score"];
    GET_POST "/api/v1/search/label_values" Read "Searches the values of a label." prometheus::search::label_values ["label!" "match[]" "search[]" "start" "end" "limit" "batch_size" "sort_by" "sort_dir" "fuzz_alg" "fuzz_threshold" "case_sensitive" "include_score"];
    GET "/api/v1/metadata" Read "Lists type, help and unit of metric families." prometheus::series::metadata ["metric" "limit" "limit_per_metric"];
    GET "/api/v1/rules" Read "Lists rule groups with the state of their rules and alerts." prometheus::rules::rules ["type" "rule_name[]" "rule_group[]" "file[]" "exclude_alerts" "match[]"];
    GET "/api/v1/targets" Read "Lists targets that are scraped, and such as rules dropped." prometheus::targets::targets ["state" "scrapePool"];
    GET "/api/v1/targets/metadata" Read "Lists what targets say of their metric families." prometheus::targets::metadata ["match_target" "metric" "limit"];
    GET "/api/v1/targets/relabel_steps" Read "Tells what each rule of a scrape pool makes of labels." prometheus::targets::steps ["scrapePool!" "labels!"];
    GET "/api/v1/scrape_pools" Read "Lists the names of scrape pools." prometheus::targets::pools;
    GET "/api/v1/scrape_pools/config" Read "Gives a scrape pool as it is configured." prometheus::targets::pool_config ["scrapePool!"];
    GET "/api/v1/alertmanagers" Read "Lists the Alertmanagers to which alerts are sent." prometheus::targets::alertmanagers;
    GET "/api/v1/alerts" Read "Lists pending and firing alerts." prometheus::rules::alerts;
    POST "/api/v1/write" Write "Takes samples by Prometheus' remote write 1.0 and 2.0." prometheus::write::write;
    POST "/api/v1/otlp/v1/metrics" Write "Takes metrics of OpenTelemetry by OTLP over HTTP." prometheus::otlp::metrics;
    POST "/write" Write "Takes samples by InfluxDB's line protocol, as version 1 of it does." influx::write;
    POST "/api/v2/write" Write "Takes samples by InfluxDB's line protocol, as version 2 of it does." influx::write_v2;
    POST "/influx/write" Write "The same as /write, where VictoriaMetrics has it." influx::write;
    POST "/influx/api/v2/write" Write "The same as /api/v2/write, where VictoriaMetrics has it." influx::write_v2;
    POST "/api/v1/read" Read "Gives samples by Prometheus' remote read, all at once or in frames." prometheus::read::read;
    GET "/api/v1/status/buildinfo" Read "Tells which Prometheus API is spoken, and which Vedette speaks it." prometheus::status::build_info;
    GET "/api/v1/status/runtimeinfo" Read "Tells how the server runs." prometheus::status::runtime_info;
    GET "/api/v1/status/config" Read "Gives the configuration in force, without secrets." prometheus::status::config;
    GET "/api/v1/status/flags" Read "Tells what the program was started with." prometheus::status::flags;
    GET "/api/v1/status/tsdb" Read "Tells which labels make the metric store grow." prometheus::tsdb::head ["limit"];
    GET "/api/v1/status/tsdb/blocks" Read "Lists what the metric store has sealed." prometheus::tsdb::blocks;
    GET "/api/v1/status/walreplay" Read "Tells how far the log was read at the start: it is read before anyone is answered." prometheus::status::wal_replay;
    GET "/api/v1/status/self_metrics" Read "Gives Vedette's own metrics as JSON." prometheus::status::self_metrics;
    GET "/api/v1/features" Read "Tells what clients may ask for." prometheus::features::features;
    GET "/api/v1/notifications" Read "Lists what is wrong with the server now." prometheus::notifications::list;
    GET "/api/v1/notifications/live" Read "Streams what is wrong as it begins and ends, as server-sent events." prometheus::notifications::live;
    GET "/api/v1/openapi.yaml" Open "Describes all addresses in OpenAPI 3.1." openapi::answer;
    POST_PUT "/api/v1/admin/tsdb/delete_series" Admin "Deletes the samples of series that match selectors." prometheus::admin::delete_series ["match[]!" "start" "end"];
    POST_PUT "/api/v1/admin/tsdb/clean_tombstones" Admin "Frees the space of what was deleted." prometheus::admin::clean_tombstones;
    POST_PUT "/api/v1/admin/tsdb/snapshot" Admin "Makes a snapshot of the metric store and tells its name." prometheus::admin::snapshot ["skip_head"];
    GET "/api/vedette/v1/status" Read "Tells what every part of Vedette says of itself." own::status::status;
    GET "/api/vedette/v1/discovery" Read "Tells what keeps the targets of scrape pools from being found." own::status::discovery;
    GET "/api/vedette/v1/queries" Read "Lists PromQL queries that run, that took long, and that ran at the last crash." own::queries::queries;
    GET_POST "/api/vedette/v1/explain" Read "Evaluates a PromQL expression and tells what each of its nodes read, gave and took." own::queries::explain ["query!" "time" "start" "end" "step" "timeout" "lookback_delta"];
    POST "/api/vedette/v1/audit/{cluster}" Write "Takes audit records of a watched cluster's API server, as its webhook sends them." own::audit::take;
    GET "/api/vedette/v1/events" Read "Searches events, newest first." own::events::search;
    GET "/api/vedette/v1/events/live" Read "Streams events as they come, as server-sent events." own::live::live;
    GET "/api/vedette/v1/events/{id}" Read "Gives one event." own::events::event;
    GET "/api/vedette/v1/events/{id}/tree" Read "Gives the process tree around an event." own::tree::tree;
    GET "/api/vedette/v1/findings" Read "Lists findings, the most severe first." own::status::findings;
    GET "/api/vedette/v1/capacity" Read "Tells how many nodes of each watched cluster may fail, what is lost then, and how nodes failed so far." own::status::capacity;
    GET "/api/vedette/v1/containers" Read "Lists the containers that are there now." own::status::containers;
    GET "/api/vedette/v1/workloads" Read "Tells to which pods and workloads of clusters a container, a cgroup, an address at a time, a pod's uid or a service account belongs." own::workloads::workloads ["container" "cgroup" "uid" "ip" "time" "service_account"];
    GET "/api/vedette/v1/clusters" Read "Tells how the parts of the watched Kubernetes clusters are, what was seen of them, and what to do next." own::status::clusters;
    GET_POST "/api/v1.3/containers" Read "One container as cAdvisor 1.3 tells it: specification and statistics of the last two minutes." cadvisor::containers ["num_stats"];
    GET_POST "/api/v1.3/containers/{path*}" Read "One container as cAdvisor 1.3 tells it: specification and statistics of the last two minutes." cadvisor::containers ["num_stats"];
    GET_POST "/api/v1.3/subcontainers" Read "A container and all in it, as cAdvisor 1.3 tells them." cadvisor::subcontainers ["num_stats"];
    GET_POST "/api/v1.3/subcontainers/{path*}" Read "A container and all in it, as cAdvisor 1.3 tells them." cadvisor::subcontainers ["num_stats"];
    GET_POST "/api/v1.3/docker" Read "Containers by the name or id that their runtime gives them, as cAdvisor 1.3 tells them." cadvisor::docker ["num_stats"];
    GET_POST "/api/v1.3/docker/{path*}" Read "Containers by the name or id that their runtime gives them, as cAdvisor 1.3 tells them." cadvisor::docker ["num_stats"];
    GET "/api/v1.3/events" Read "Starts, ends and OOM kills of containers, as cAdvisor 1.3 tells them; streamed where that is asked for." cadvisor::events ["all_events" "creation_events" "deletion_events" "end_time" "max_events" "oom_events" "oom_kill_events" "start_time" "stream" "subcontainers"];
    GET "/api/v1.3/events/{path*}" Read "Starts, ends and OOM kills of containers, as cAdvisor 1.3 tells them; streamed where that is asked for." cadvisor::events ["all_events" "creation_events" "deletion_events" "end_time" "max_events" "oom_events" "oom_kill_events" "start_time" "stream" "subcontainers"];
    GET "/api/v1.3/machine" Read "The machine, as cAdvisor 1.3 tells it." cadvisor::machine;
    GET "/api/v2.1/stats" Read "Specification and statistics of containers, as cAdvisor 2.1 tells them." cadvisor::stats ["type" "count" "recursive"];
    GET "/api/v2.1/stats/{path*}" Read "Specification and statistics of containers, as cAdvisor 2.1 tells them." cadvisor::stats ["type" "count" "recursive"];
    GET "/api/v2.1/summary" Read "Usage of containers in percentiles, as cAdvisor 2.1 tells it." cadvisor::summary ["type" "recursive"];
    GET "/api/v2.1/summary/{path*}" Read "Usage of containers in percentiles, as cAdvisor 2.1 tells it." cadvisor::summary ["type" "recursive"];
    GET "/api/v2.1/spec" Read "Specification of containers, as cAdvisor 2.1 tells it." cadvisor::spec ["type" "recursive"];
    GET "/api/v2.1/spec/{path*}" Read "Specification of containers, as cAdvisor 2.1 tells it." cadvisor::spec ["type" "recursive"];
    GET "/api/v2.1/ps" Read "Processes of a container or of the machine, as cAdvisor 2.1 tells them." cadvisor::processes ["type"];
    GET "/api/v2.1/ps/{path*}" Read "Processes of a container or of the machine, as cAdvisor 2.1 tells them." cadvisor::processes ["type"];
    GET "/api/v2.1/events" Read "Starts, ends and OOM kills of containers, as cAdvisor 2.1 tells them; streamed where that is asked for." cadvisor::events_2 ["all_events" "creation_events" "deletion_events" "end_time" "max_events" "oom_events" "oom_kill_events" "start_time" "stream" "subcontainers"];
    GET "/api/v2.1/events/{path*}" Read "Starts, ends and OOM kills of containers, as cAdvisor 2.1 tells them; streamed where that is asked for." cadvisor::events_2 ["all_events" "creation_events" "deletion_events" "end_time" "max_events" "oom_events" "oom_kill_events" "start_time" "stream" "subcontainers"];
    GET "/api/v2.1/machine" Read "The machine, as cAdvisor 2.1 tells it." cadvisor::machine;
    GET "/api/v2.1/attributes" Read "The machine and the versions of what it runs, as cAdvisor 2.1 tells them." cadvisor::attributes;
    GET "/api/v2.1/version" Read "Who answers, as cAdvisor 2.1 tells it." cadvisor::version;
    GET "/api/v2.1/storage" Read "The machine's file systems, as cAdvisor 2.1 tells them." cadvisor::storage;
    GET "/api/v2.1/machinestats" Read "Statistics of the machine, as cAdvisor 2.1 tells them." cadvisor::machine_stats ["count"];
    GET "/federate" Read "Exposes the newest samples of series that match selectors, for another server to scrape." prometheus::federate::federate;
    GET "/metrics" Read "Exposes Vedette's own metrics." exposition::own;
    GET "/metrics/node" Read "Exposes the newest values of this machine, as node_exporter does." exposition::node;
    GET "/metrics/cadvisor" Read "Exposes the newest values of the containers, as cAdvisor does." exposition::containers;
    GET "/metrics/kube-state" Read "Exposes the state of the objects of clusters, as kube-state-metrics does." exposition::kube_state;
    GET "/-/healthy" Open "Answers 200 while the server runs." own::status::healthy;
    GET "/-/ready" Open "Answers 200 once reads and writes are taken, 503 before; the first may wait a second for the log to be replayed." own::status::ready;
    POST_PUT "/-/reload" Admin "Reads the configuration anew, where the operator allows it." own::lifecycle::reload;
    POST_PUT "/-/quit" Admin "Ends the program, where the operator allows it." own::lifecycle::quit;
    GET "/version" Open "Tells the version." own::status::version;
}

/// Answers one request, whatever it is.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    door: Arc<Door>,
    address: IpAddr,
    request: Request<Incoming>,
) -> Answer {
    let _in_flight = shared.metrics.in_flight.enter();
    let begun = shared.app.clock.monotonic();
    let (mut head, body) = request.into_parts();
    let prefix = &shared.config.prefix;
    // What a page names is relative to its address, which therefore needs the slash.
    let is_bare = !prefix.is_empty() && head.uri.path() == prefix && head.method == Method::GET;
    strip_prefix(&mut head, prefix);
    let metrics = &shared.metrics;
    let origins = &shared.config.origins;
    let origin = head.headers.get(ORIGIN).filter(|_| cors::is_open(head.uri.path())).cloned();
    let refusal = match guard::check(&head, door.authenticates(), origins, metrics) {
        Some(refusal) => Some(refusal),
        None => door.check(&head.headers, begun, metrics).await,
    };
    let (route, mut answer) = match refusal {
        Some(refusal) => (None, refusal),
        None if is_bare => (None, assets::redirect(&below(prefix, head.uri.query()))),
        None => route(&shared, address, head, body).await,
    };
    guard::harden(answer.headers_mut());
    if let Some(origin) = origin {
        cors::add_headers(answer.headers_mut(), origins, &origin, door.authenticates());
    }
    door.add_headers(answer.headers_mut());
    let took = shared.app.clock.monotonic().since(begun);
    shared.metrics.answered(route, answer.status().as_u16(), took);
    answer
}

/// The address of the first page under a prefix.
fn below(prefix: &str, query: Option<&str>) -> String {
    query.map_or_else(|| format!("{prefix}/"), |query| format!("{prefix}/?{query}"))
}

/// Addresses are there under the prefix as well: whoever knows the server behind a proxy goes on asking
/// as before.
fn strip_prefix(head: &mut hyper::http::request::Parts, prefix: &str) {
    let Some(rest) = head.uri.path_and_query().and_then(|all| all.as_str().strip_prefix(prefix)) else {
        return;
    };
    if prefix.is_empty() || !(rest.is_empty() || rest.starts_with(['/', '?'])) {
        return;
    }
    let slash = if rest.starts_with('/') { "" } else { "/" };
    if let Ok(stripped) = format!("{slash}{rest}").parse::<PathAndQuery>() {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.path_and_query = Some(stripped);
        head.uri = Uri::from_parts(parts).expect("BUG: a path was exchanged for another");
    }
}

async fn route(
    shared: &Arc<Shared>,
    address: IpAddr,
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
        return (Some(place), method_not_allowed(route, method));
    }
    if shared.app.events.is_none()
        && let Some(refusal) = agent::refusal(route.path)
    {
        return (Some(place), refusal);
    }
    let mut params = Params::default();
    // What is pushed is never a form, whatever a client that sets no type says of it.
    let has_form = (*method == Method::POST || *method == Method::PUT) && route.right != Right::Write;
    let body = if has_form && is_form(&head.headers) {
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
    let client = Client::new(address, &head.headers);
    let (shared, path) = (shared.clone(), route.path);
    let call = Call { shared, client, path, headers: head.headers, parts, params, body };
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
        if expected.ends_with("*}") {
            // The last part takes all that is left.
            let rest: Vec<&str> = std::iter::once(got).chain(left).collect();
            parts.push(decode(&rest.join("/"), false));
            return Some(parts);
        }
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
    // Prometheus' clients look at the status; people, at Vedette's own addresses, at the text.
    if path.starts_with("/api/vedette/") {
        return answer::own_error(
            StatusCode::NOT_FOUND,
            "there is nothing at this address",
            "The addresses that exist stand in docs/reference/http.md.",
        );
    }
    answer::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

fn method_not_allowed(route: &Route, method: &Method) -> Answer {
    let is_prometheus = route.path.starts_with("/api/v1/");
    let mut allowed: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
    if is_prometheus {
        allowed.push("OPTIONS");
        allowed.sort_unstable();
    }
    let allowed = allowed.join(", ");
    let mut answer = if is_prometheus && method == Method::OPTIONS {
        let mut answer = answer::text(StatusCode::NO_CONTENT, "");
        answer.headers_mut().remove(CONTENT_TYPE);
        return answer;
    } else if is_prometheus {
        answer::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
    } else if route.methods == POST_PUT {
        answer::text(StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed\n")
    } else {
        answer::own_error(
            StatusCode::METHOD_NOT_ALLOWED,
            "this address does not take that method",
            &format!("Use {allowed}."),
        )
    };
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        answer.headers_mut().insert(ALLOW, value);
    }
    answer
}
