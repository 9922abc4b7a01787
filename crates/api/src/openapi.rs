//! `/api/v1/openapi.yaml`: all addresses, described in OpenAPI 3.1 from the table of routes, so that
//! nothing is served that is not described, and the other way about.

use std::{fmt::Write as _, sync::OnceLock};

use hyper::{
    Method, StatusCode,
    header::{CACHE_CONTROL, HeaderValue},
};

use crate::{
    answer::whole,
    request::Call,
    routes::{Handled, ROUTES, Right, Route},
};

/// Describes all addresses.
pub fn answer(call: Call) -> Handled {
    static TEXT: OnceLock<String> = OnceLock::new();
    Box::pin(async move {
        let text = TEXT.get_or_init(|| describe(&call.shared.app.build.version));
        let mut answer = whole(StatusCode::OK, "application/yaml; charset=utf-8", text.as_str());
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    })
}

/// What a parameter may be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Flag,
    /// Unix seconds with decimals, or RFC 3339.
    Time,
    /// Seconds with decimals, or `1h30m`.
    Duration,
    /// May be given several times.
    Texts,
}

/// Every parameter of any route.
const PARAMS: &[(&str, Kind, &str)] = &[
    ("all_events", Kind::Flag, "Tells of all kinds of events."),
    ("batch_size", Kind::Integer, "Results in one line of the answer."),
    ("case_sensitive", Kind::Flag, "Whether capital letters count."),
    ("cgroup", Kind::Text, "The path of a cgroup."),
    ("container", Kind::Text, "The full id of a container."),
    ("count", Kind::Integer, "Statistics of each container, at most 64; -1 for all."),
    ("creation_events", Kind::Flag, "Tells of containers that started."),
    ("deletion_events", Kind::Flag, "Tells of containers that ended."),
    ("end", Kind::Time, "The last time that counts."),
    ("end_time", Kind::Time, "The last time of events."),
    ("exclude_alerts", Kind::Flag, "Leaves out the alerts of alerting rules."),
    ("file[]", Kind::Texts, "Only groups of these files."),
    ("fuzz_alg", Kind::Text, "How names are compared: subsequence or jarowinkler."),
    ("fuzz_threshold", Kind::Integer, "The least score that is taken, from 0 to 100."),
    ("include_metadata", Kind::Flag, "Adds type, help and unit."),
    ("include_score", Kind::Flag, "Adds how well each name fits."),
    ("ip", Kind::Text, "The address of a pod."),
    ("label", Kind::Text, "The label whose values are searched."),
    ("labels", Kind::Text, "A label set as a JSON object."),
    ("limit", Kind::Integer, "The most that is given; 0 for all."),
    ("limit_per_metric", Kind::Integer, "The most that is given of one metric family."),
    ("lookback_delta", Kind::Duration, "How far back a sample may lie to count as current."),
    ("match[]", Kind::Texts, "Selectors of series; those that fit any of them count."),
    ("match_target", Kind::Text, "A selector of targets by their labels."),
    ("max_events", Kind::Integer, "The most that is told, up to 1000; 10 where it is not given."),
    ("metric", Kind::Text, "Only this metric family."),
    ("nocache", Kind::Flag, "Refuses answers that were kept."),
    ("num_stats", Kind::Integer, "Statistics of each container, at most 64; -1 for all."),
    ("oom_events", Kind::Flag, "Tells of containers that ran out of memory."),
    ("oom_kill_events", Kind::Flag, "Tells of processes that were killed for want of memory."),
    ("query", Kind::Text, "The expression in PromQL."),
    ("recursive", Kind::Flag, "Tells of what lies in the container too."),
    ("rule_group[]", Kind::Texts, "Only these groups."),
    ("rule_name[]", Kind::Texts, "Only rules of these names."),
    ("scrapePool", Kind::Text, "A scrape pool: the name of a job."),
    ("search[]", Kind::Texts, "What is searched; names that fit any of them count."),
    ("service_account", Kind::Text, "An account, as system:serviceaccount:<namespace>:<name>."),
    ("skip_head", Kind::Flag, "Leaves out what is not sealed yet."),
    ("sort_by", Kind::Text, "alpha or score."),
    ("sort_dir", Kind::Text, "asc or dsc."),
    ("start", Kind::Time, "The first time that counts."),
    ("start_time", Kind::Time, "The first time of events."),
    ("state", Kind::Text, "active, dropped or any."),
    ("stats", Kind::Text, "Adds what the query took; all, also by step."),
    ("step", Kind::Duration, "Between two times at which the expression is evaluated."),
    ("stream", Kind::Flag, "Tells of events as they come, a line each."),
    ("subcontainers", Kind::Flag, "Tells of events of what lies in the container too."),
    (
        "time",
        Kind::Time,
        "When the expression is evaluated, or an address was had; now where it is not given.",
    ),
    ("timeout", Kind::Duration, "How long it may take."),
    (
        "type",
        Kind::Text,
        "alert or record; of containers by what they are named: name, docker, podman, containerd, crio.",
    ),
    ("uid", Kind::Text, "The uid of a pod."),
];

fn describe(version: &str) -> String {
    let mut out = format!(
        "openapi: 3.1.0\ninfo:\n  title: Vedette\n  description: >-\n    Metrics as Prometheus serves them, and \
         what Vedette knows beside them.\n  version: {version:?}\n  license:\n    name: Apache-2.0\n    identifier: \
         Apache-2.0\nservers:\n  - url: /\npaths:\n"
    );
    for route in ROUTES {
        let _ = writeln!(out, "  {:?}:", route.path);
        for method in route.methods {
            operation(&mut out, route, method);
        }
    }
    out += COMPONENTS;
    out
}

fn operation(out: &mut String, route: &Route, method: &Method) {
    let verb = method.as_str().to_ascii_lowercase();
    let _ = writeln!(out, "    {verb}:");
    let _ = writeln!(out, "      operationId: {verb}{}", identifier(route.path));
    let _ = writeln!(out, "      summary: {:?}", route.about);
    let _ = writeln!(out, "      tags: [{}]", tag(route.path));
    let _ = writeln!(out, "      x-right: {}", route.right.as_str());
    if route.right == Right::Open {
        out.push_str("      security: []\n");
    }
    let in_form = method == Method::POST && !route.params.is_empty();
    let path_parts: Vec<&str> = route.path.split('/').filter_map(part_name).collect();
    let in_query = if in_form { &[] } else { route.params };
    if !path_parts.is_empty() || !in_query.is_empty() {
        out.push_str("      parameters:\n");
    }
    for name in path_parts {
        let _ = writeln!(
            out,
            "        - name: {name}\n          in: path\n          required: true\n          schema: {{type: string}}"
        );
    }
    for param in in_query {
        let (name, kind, about) = known(param);
        let required = param.ends_with('!');
        let _ = writeln!(
            out,
            "        - name: {name:?}\n          in: query\n          description: {about:?}\n          required: \
             {required}\n          schema: {}",
            schema(kind)
        );
    }
    if in_form {
        form(out, route);
    }
    out.push_str("      responses:\n");
    let own = ["/api/vedette/", "/api/v1.3/", "/api/v2.1/"].iter().any(|stem| route.path.starts_with(stem));
    let error = if own { "Problem" } else { "Error" };
    let _ = writeln!(out, "        \"200\": {}", success(route.path));
    let _ = writeln!(out, "        default: {{$ref: \"#/components/responses/{error}\"}}");
}

fn form(out: &mut String, route: &Route) {
    out.push_str(
        "      requestBody:\n        content:\n          application/x-www-form-urlencoded:\n            schema:\n              \
         type: object\n              properties:\n",
    );
    for param in route.params {
        let (name, kind, about) = known(param);
        let _ = writeln!(out, "                {name:?}: {{description: {about:?}, {}", &schema(kind)[1..]);
    }
    let required: Vec<String> = route
        .params
        .iter()
        .filter_map(|param| param.strip_suffix('!'))
        .map(|name| format!("{name:?}"))
        .collect();
    if !required.is_empty() {
        let _ = writeln!(out, "              required: [{}]", required.join(", "));
    }
}

fn success(path: &str) -> &'static str {
    if path == "/api/v1/openapi.yaml" {
        return "{description: \"This text.\", content: {application/yaml: {}}}";
    }
    if path.ends_with("/live") {
        return "{description: \"Events as they come.\", content: {text/event-stream: {}}}";
    }
    if path.starts_with("/api/v1/search/") {
        return "{description: \"JSON by the line.\", content: {application/x-ndjson: {}}}";
    }
    if path.starts_with("/api/v1/") {
        return "{$ref: \"#/components/responses/Success\"}";
    }
    if path.starts_with("/api/") || path == "/version" {
        return "{description: \"What was asked for.\", content: {application/json: {}}}";
    }
    "{description: \"What was asked for.\", content: {text/plain: {}}}"
}

fn tag(path: &str) -> &'static str {
    if path.starts_with("/api/v1.3/") || path.starts_with("/api/v2.1/") {
        "cadvisor"
    } else if path.starts_with("/api/v1/") {
        "prometheus"
    } else if path.starts_with("/api/") {
        "vedette"
    } else {
        "server"
    }
}

/// `/api/v1/label/{name}/values` as `ApiV1LabelNameValues`.
fn identifier(path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

fn part_name(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

fn known(param: &str) -> (&'static str, Kind, &'static str) {
    let name = param.trim_end_matches('!');
    *PARAMS.iter().find(|known| known.0 == name).unwrap_or_else(|| panic!("BUG: {name} is not described"))
}

fn schema(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "{type: string}",
        Kind::Integer => "{type: integer, format: int64}",
        Kind::Flag => "{type: boolean}",
        Kind::Time => "{oneOf: [{type: number}, {type: string, format: date-time}]}",
        Kind::Duration => "{oneOf: [{type: number}, {type: string, pattern: \"^([0-9]+(ms|[smhdwy]))+$\"}]}",
        Kind::Texts => "{type: array, items: {type: string}}",
    }
}

const COMPONENTS: &str = r##"components:
  responses:
    Success:
      description: What was asked for.
      content:
        application/json:
          schema: {$ref: "#/components/schemas/Success"}
    Error:
      description: Why there is no answer.
      content:
        application/json:
          schema: {$ref: "#/components/schemas/Error"}
    Problem:
      description: Why there is no answer.
      content:
        application/json:
          schema: {$ref: "#/components/schemas/Problem"}
  schemas:
    Success:
      type: object
      required: [status]
      properties:
        status: {type: string, const: success}
        data: {}
        warnings: {type: array, items: {type: string}}
        infos: {type: array, items: {type: string}}
    Error:
      type: object
      required: [status, errorType, error]
      properties:
        status: {type: string, const: error}
        errorType: {type: string, enum: [bad_data, execution, timeout, canceled, internal, unavailable, not_found]}
        error: {type: string}
    Problem:
      type: object
      required: [error, remedy]
      properties:
        error: {type: string}
        remedy: {type: string}
  securitySchemes:
    basic: {type: http, scheme: basic}
security:
  - {}
  - basic: []
"##;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_and_parameter_is_described() {
        let text = describe("1");
        for route in ROUTES {
            assert!(text.contains(&format!("\n  {:?}:\n", route.path)), "{}", route.path);
            for param in route.params {
                // Panics where it is not.
                let (name, ..) = known(param);
                assert!(text.contains(&format!("{name:?}")), "{name}");
            }
        }
        for (name, ..) in PARAMS {
            let used = |route: &Route| route.params.iter().any(|param| param.trim_end_matches('!') == *name);
            assert!(ROUTES.iter().any(used), "{name} is of no route");
        }
        assert!(PARAMS.is_sorted_by_key(|param| param.0));
        assert_eq!(identifier("/api/v1/label/{name}/values"), "ApiV1LabelNameValues");
    }
}
