//! Status, findings, containers, health and version.

use std::cmp::Reverse;

use hyper::StatusCode;
use vedette_model::FindingState;
use vedette_wire::vedette;

use super::Problem;
use crate::{
    answer::{Answer, own, text},
    request::Call,
    routes::Handled,
};

/// What every part says of itself.
pub fn status(call: Call) -> Handled {
    Box::pin(async move {
        let app = &call.shared.app;
        own(&vedette::StatusAnswer {
            version: &app.build.version,
            revision: &app.build.revision,
            started_unix_ms: call.shared.started_ns.div_euclid(1_000_000),
            now_unix_ms: app.clock.unix_ms(),
            host: vedette::HostInfo { name: &app.host.name, id: &app.host.id, kernel: &app.kernel },
            parts: app.status.all().into_iter().map(|(name, part)| vedette::Part::new(name, part)).collect(),
        })
    })
}

/// Findings: those that fire first, the most severe first, the newest first.
pub fn findings(call: Call) -> Handled {
    Box::pin(async move { findings_answer(&call).await.unwrap_or_else(Answer::from) })
}

async fn findings_answer(call: &Call) -> Result<Answer, Problem> {
    let shared = call.shared.clone();
    // Judgement answers between two evaluations, so asking for it may wait.
    let run = move |_: &_| {
        let mut findings = shared.app.judgement.findings();
        findings.sort_by_key(|f| {
            (f.state == FindingState::Resolved, Reverse(f.severity), Reverse(f.last_ns), f.fingerprint)
        });
        own(&vedette::FindingsAnswer { findings: findings.iter().map(vedette::Finding::from).collect() })
    };
    Ok(call.shared.gate.run(&call.client, None, run).await?)
}

/// The containers that are there now.
pub fn containers(call: Call) -> Handled {
    Box::pin(async move {
        let mut containers = (call.shared.app.containers)();
        containers.sort_by(|a, b| (&a.name, &a.cgroup).cmp(&(&b.name, &b.cgroup)));
        own(&vedette::ContainersAnswer {
            containers: containers.iter().map(|c| vedette::Container::from(c.as_ref())).collect(),
        })
    })
}

/// How many nodes of the watched clusters may fail.
pub fn capacity(call: Call) -> Handled {
    Box::pin(async move { own(&(call.shared.app.capacity)()) })
}

/// What keeps the targets of scrape pools from being found.
pub fn discovery(call: Call) -> Handled {
    Box::pin(async move { discovery_answer(&call).await.unwrap_or_else(Answer::from) })
}

async fn discovery_answer(call: &Call) -> Result<Answer, Problem> {
    let shared = call.shared.clone();
    let run = move |_: &_| {
        let problems = crate::prometheus::targets::problems(&shared);
        own(&serde_json::json!({ "problems": problems }))
    };
    Ok(call.shared.gate.run(&call.client, None, run).await?)
}

/// Answers while the server runs.
pub fn healthy(_: Call) -> Handled {
    Box::pin(async { text(StatusCode::OK, "Vedette is healthy.\n") })
}

/// Answers 200 once everything stored can be read.
pub fn ready(call: Call) -> Handled {
    Box::pin(async move {
        if call.shared.is_ready() {
            text(StatusCode::OK, "Vedette is ready.\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "Vedette is still reading what it stored.\n")
        }
    })
}

/// Tells the version.
pub fn version(call: Call) -> Handled {
    Box::pin(async move {
        // The keys are those of Prometheus.
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Version<'a> {
            version: &'a str,
            revision: &'a str,
            branch: &'a str,
            build_user: &'a str,
            build_date: &'a str,
            go_version: &'a str,
        }
        let build = &call.shared.app.build;
        own(&Version {
            version: &build.version,
            revision: &build.revision,
            branch: "",
            build_user: "",
            build_date: "",
            go_version: "",
        })
    })
}
