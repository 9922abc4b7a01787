//! Vedette's own API below `/api/vedette/v1`.

pub mod audit;
pub mod events;
pub mod lifecycle;
pub mod live;
pub mod queries;
pub mod status;
pub mod tree;
pub mod workloads;

use hyper::{
    StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};

use crate::{
    answer::{Answer, own_error},
    gate::Refused,
};

/// A refusal: status, what failed, what to do.
pub(crate) struct Problem(pub(crate) StatusCode, pub(crate) String, pub(crate) &'static str);

impl Problem {
    pub(crate) fn bad(parameter: &str, text: &str, remedy: &'static str) -> Self {
        Self(StatusCode::BAD_REQUEST, format!("parameter {parameter} cannot be {text:?}"), remedy)
    }
}

impl From<Problem> for Answer {
    fn from(Problem(status, error, remedy): Problem) -> Self {
        let mut answer = own_error(status, &error, remedy);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (status, error, remedy) = match refused {
            Refused::Full | Refused::ClientFull => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests wait already",
                "Ask again later, or ask less often.",
            ),
            Refused::TimedOutWaiting => (
                StatusCode::SERVICE_UNAVAILABLE,
                "other requests kept this one waiting for too long",
                "Ask again later.",
            ),
            Refused::TimedOutRunning => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the request took too long",
                "Narrow the time range or add filters.",
            ),
            Refused::Died => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "BUG: the request ended without result",
                "Please report it.",
            ),
        };
        Self(status, error.to_owned(), remedy)
    }
}
