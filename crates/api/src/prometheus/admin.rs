//! `/api/v1/admin/tsdb/…`: deleting series and making snapshots, where the operator allows it.
//!
//! What was begun is finished, whether or not the client waits for it; one at a time, as each
//! keeps the store's maintenance waiting.

use std::sync::Arc;

use hyper::{StatusCode, header::CONTENT_TYPE};
use vedette_sys::Random;
use vedette_wire::{json::Object, prometheus as wire, prometheus::ErrorType};

use super::{Failure, invalid, matcher_sets, time_range};
use crate::{
    SeriesAdmin,
    answer::{Answer, json, prometheus_error, text},
    app::Shared,
    request::{Call, Params},
    routes::Handled,
};

/// Deletes samples of the series that match selectors.
pub fn delete_series(call: Call) -> Handled {
    Box::pin(async move {
        give(
            async {
                let admin = admin(&call.shared)?;
                if call.params.all("match[]").next().is_none() {
                    return Err((ErrorType::BadData, "no match[] parameter provided".to_owned()));
                }
                let range = time_range(&call.params)?;
                if range.end_ms < range.start_ms {
                    return Err(invalid("end", "end timestamp must not be before start time"));
                }
                let shared = call.shared.clone();
                // Many regular expressions take long to parse.
                let delete = move || admin.delete(&matcher_sets(&call.params)?, range).map_err(internal);
                run(&shared, delete).await.map(|()| None)
            }
            .await,
        )
    })
}

/// Frees the space of what was deleted.
pub fn clean_tombstones(call: Call) -> Handled {
    Box::pin(async move {
        give(
            async {
                let admin = admin(&call.shared)?;
                run(&call.shared, move || admin.clean().map_err(internal)).await.map(|()| None)
            }
            .await,
        )
    })
}

/// Makes a snapshot and tells its name.
pub fn snapshot(call: Call) -> Handled {
    Box::pin(async move {
        give(
            async {
                let admin = admin(&call.shared)?;
                let skip_head = flag(&call.params, "skip_head")?;
                let name = snapshot_name(call.shared.app.clock.unix_ms());
                let make = move || {
                    let made = admin.snapshot(&name, skip_head);
                    made.map_err(|error| internal(format!("create snapshot: {error}")))?;
                    Ok(wire::answer(|out| {
                        let mut object = Object::begin(out);
                        object.text("name", &name);
                        object.end();
                    }))
                };
                run(&call.shared, make).await.map(Some)
            }
            .await,
        )
    })
}

fn admin(shared: &Shared) -> Result<Arc<dyn SeriesAdmin>, Failure> {
    let disabled = || (ErrorType::Unavailable, "admin APIs disabled".to_owned());
    shared.app.admin.clone().ok_or_else(disabled)
}

fn internal(message: String) -> Failure {
    (ErrorType::Internal, message)
}

async fn run<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let turn = shared.admin_turn.clone().lock_owned().await;
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    done.await.unwrap_or_else(|_| Err(internal("BUG: the work ended without result".to_owned())))
}

/// What Go's `strconv.ParseBool` takes; nothing means no.
fn flag(params: &Params, name: &str) -> Result<bool, Failure> {
    let Some(text) = params.given(name) else { return Ok(false) };
    super::go_bool(text).ok_or_else(|| {
        let reason = format!(
            "unable to parse boolean {name} argument: strconv.ParseBool: parsing {text:?}: invalid syntax"
        );
        invalid(name, reason)
    })
}

/// Time and chance, as in Prometheus.
fn snapshot_name(now_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    format!("{}-{:x}", time.strftime("%Y%m%dT%H%M%SZ"), Random::from_system().next_u64() >> 1)
}

fn give(result: Result<Option<Vec<u8>>, Failure>) -> Answer {
    match result {
        Ok(Some(body)) => json(StatusCode::OK, body),
        Ok(None) => {
            let mut answer = text(StatusCode::NO_CONTENT, "");
            answer.headers_mut().remove(CONTENT_TYPE);
            answer
        }
        Err((kind, message)) => prometheus_error(kind, &message),
    }
}
