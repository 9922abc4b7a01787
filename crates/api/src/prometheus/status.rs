//! `/api/v1/status/buildinfo`, `/api/v1/status/runtimeinfo` and `/api/v1/targets`.

use vedette_wire::{json::Object, number::rfc3339, prometheus as wire};

use super::give;
use crate::{request::Call, routes::Handled};

/// The Prometheus whose API this is. Clients (Grafana among them) read from it what they may ask.
const PROMETHEUS_VERSION: &str = "3.14.0";

/// Tells which Prometheus API is spoken, and which Vedette speaks it.
pub fn build_info(call: Call) -> Handled {
    Box::pin(async move {
        let build = &call.shared.app.build;
        give(Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            object.text("version", PROMETHEUS_VERSION);
            object.text("revision", &build.revision);
            object.text("branch", &format!("vedette {}", build.version));
            object.text("buildUser", "").text("buildDate", "").text("goVersion", "");
            object.end();
        })))
    })
}

/// Tells how the server runs. What only a program written in Go can tell is left out.
pub fn runtime_info(call: Call) -> Handled {
    Box::pin(async move {
        let shared = &call.shared;
        let started = rfc3339(shared.started_ns);
        give(Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            object.text("startTime", &started);
            object.text("hostname", &shared.app.host.name);
            object.text("serverTime", &rfc3339(shared.app.clock.unix_ns()));
            object.member("reloadConfigSuccess").extend_from_slice(b"true");
            object.text("lastConfigTime", &started);
            object.end();
        })))
    })
}

/// Lists the targets of scrape pools, of which there are none: what Vedette gathers it reads by
/// itself, and its parts stand on the status page.
pub fn targets(_call: Call) -> Handled {
    Box::pin(async move {
        give(Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            object.member("activeTargets").extend_from_slice(b"[]");
            object.member("droppedTargets").extend_from_slice(b"[]");
            object.member("droppedTargetCounts").extend_from_slice(b"{}");
            object.end();
        })))
    })
}
