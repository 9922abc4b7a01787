//! `/-/reload` and `/-/quit`, where the operator allows them.

use hyper::StatusCode;

use crate::{
    answer::{Answer, text},
    request::Call,
    routes::Handled,
};

/// Reads the configuration anew.
pub fn reload(call: Call) -> Handled {
    Box::pin(async move {
        if let Some(refusal) = refusal(&call) {
            return refusal;
        }
        // What was begun is finished, and one at a time.
        let turn = call.shared.admin_turn.clone().lock_owned().await;
        let reloaded = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            call.shared.app.program.reload()
        });
        match reloaded.await {
            Ok(Ok(())) => text(StatusCode::OK, ""),
            Ok(Err(error)) => failed(&error),
            Err(_) => failed("BUG: reloading ended without result"),
        }
    })
}

/// Ends the program.
pub fn quit(call: Call) -> Handled {
    Box::pin(async move {
        if let Some(refusal) = refusal(&call) {
            return refusal;
        }
        call.shared.app.program.quit();
        text(StatusCode::OK, "Requesting termination... Goodbye!")
    })
}

fn refusal(call: &Call) -> Option<Answer> {
    let disabled = || text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.");
    (!call.shared.config.lifecycle).then(disabled)
}

fn failed(error: &str) -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n"))
}
