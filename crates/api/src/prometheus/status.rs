//! `/api/v1/status/…` of the server itself: `buildinfo`, `runtimeinfo`, `config`, `flags`, `walreplay`
//! and `self_metrics`.

use vedette_model::{
    MetricKind,
    telemetry::{Family, MetricVisitor},
};
use vedette_wire::{
    json::{Object, push_array, push_text},
    number::rfc3339,
    prometheus as wire,
};

use super::{Failure, give};
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

/// Tells how the server runs. Of what is a matter of Go's run time, the tasks stand for goroutines and
/// the threads that can run at once for `GOMAXPROCS`; its memory limit is none.
pub fn runtime_info(call: Call) -> Handled {
    let info = |call: &Call| {
        let shared = &call.shared;
        let reload = shared.app.program.last_reload();
        let folder = std::env::current_dir().map_or_else(|_| String::new(), |f| f.display().to_string());
        let tasks = tokio::runtime::Handle::try_current().map_or(0, |h| h.metrics().num_alive_tasks());
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            object.text("startTime", &rfc3339(shared.started_ns)).text("CWD", &folder);
            object.text("hostname", &shared.app.host.name);
            object.text("serverTime", &rfc3339(shared.app.clock.unix_ns()));
            let succeeded: &[u8] = if reload.succeeded { b"true" } else { b"false" };
            object.member("reloadConfigSuccess").extend_from_slice(succeeded);
            object.text("lastConfigTime", &rfc3339(reload.time_ns));
            for (name, number) in [
                ("corruptionCount", 0),
                ("goroutineCount", tasks as u64),
                ("GOMAXPROCS", processors as u64),
                ("GOMEMLIMIT", i64::MAX.unsigned_abs()),
            ] {
                object.member(name).extend_from_slice(number.to_string().as_bytes());
            }
            object.text("GOGC", "").text("GODEBUG", "");
            object.text("storageRetention", &shared.app.program.retention());
            object.end();
        }))
    };
    Box::pin(async move { give(blocking(call, info).await) })
}

/// The configuration in force.
pub fn config(call: Call) -> Handled {
    let config = |call: &Call| {
        Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            object.text("yaml", &call.shared.app.program.config_yaml());
            object.end();
        }))
    };
    Box::pin(async move { give(blocking(call, config).await) })
}

/// What the program was started with.
pub fn flags(call: Call) -> Handled {
    let flags = |call: &Call| {
        let mut flags = call.shared.app.program.flags();
        flags.sort();
        Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            for (name, value) in &flags {
                object.text(name, value);
            }
            object.end();
        }))
    };
    Box::pin(async move { give(blocking(call, flags).await) })
}

/// How far the log was read: it is read before anyone is answered.
pub fn wal_replay(_: Call) -> Handled {
    Box::pin(async move {
        give(Ok(wire::answer(|out| out.extend_from_slice(br#"{"min":0,"max":0,"current":0}"#))))
    })
}

/// Vedette's own metrics, as JSON.
pub fn self_metrics(call: Call) -> Handled {
    let metrics = |call: &Call| {
        let mut families = Families::default();
        call.shared.app.telemetry.visit(&mut families);
        // Several parts may have values of one family.
        families.0.sort_by_key(|(family, _)| family.name);
        let grouped = families.0.chunk_by(|a, b| a.0.name == b.0.name);
        Ok(wire::answer(|out| push_array(out, grouped, push_family)))
    };
    Box::pin(async move { give(blocking(call, metrics).await) })
}

/// A family, and one value of it as JSON.
#[derive(Default)]
struct Families(Vec<(Family, Vec<u8>)>);

impl MetricVisitor for Families {
    fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        if !labels.is_empty() {
            push_array(object.member("label"), labels, |out, (name, value)| {
                let mut object = Object::begin(out);
                object.text("name", name).text("value", value);
                object.end();
            });
        }
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            _ => "untyped",
        };
        let mut inner = Object::begin(object.member(kind));
        if value.is_finite() {
            inner.number("value", value);
        } else {
            let word = if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            push_text(inner.member("value"), word);
        }
        inner.end();
        object.end();
        self.0.push((*family, out));
    }
}

fn push_family(out: &mut Vec<u8>, values: &[(Family, Vec<u8>)]) {
    let family = values[0].0;
    let kind = match family.kind {
        MetricKind::Counter => "COUNTER",
        MetricKind::Gauge => "GAUGE",
        _ => "UNTYPED",
    };
    let mut object = Object::begin(out);
    object.text("name", family.name).text("help", family.help).text("type", kind);
    push_array(object.member("metric"), values, |out, (_, value)| out.extend_from_slice(value));
    object.end();
}

/// Runs what asks other parts of the program, which may have to wait for them.
pub async fn blocking(
    call: Call,
    run: impl FnOnce(&Call) -> Result<Vec<u8>, Failure> + Send + 'static,
) -> Result<Vec<u8>, Failure> {
    let (shared, client) = (call.shared.clone(), call.client.clone());
    shared.gate.run(&client, None, move |_: &_| run(&call)).await?
}
