//! Searching events, and giving one.

use hyper::StatusCode;
use vedette_eventdb::Search;
use vedette_model::{Event, EventKind, ProcessKey, Severity};
use vedette_wire::vedette;

use super::Problem;
use crate::{
    answer::{Answer, json, own},
    request::{Call, Params},
    routes::Handled,
};

/// Events that one answer has at most.
const LIMIT_MAX: usize = 1000;

/// Words that one search has at most.
const WORDS_MAX: usize = 32;

/// Searches events.
pub fn search(call: Call) -> Handled {
    Box::pin(async move { search_answer(call).await.unwrap_or_else(Answer::from) })
}

/// Gives one event.
pub fn event(call: Call) -> Handled {
    Box::pin(async move {
        match find(&call).await {
            Ok(event) => own(&vedette::Event::from(&event)),
            Err(problem) => problem.into(),
        }
    })
}

async fn search_answer(call: Call) -> Result<Answer, Problem> {
    let search = read_search(&call.params)?;
    let shared = call.shared.clone();
    let run = move |_: &_| {
        let found = shared.events().search(&search).map_err(|e| unreadable(&e))?;
        Ok::<_, Problem>(
            serde_json::to_vec(&vedette::EventsAnswer {
                events: found.events.iter().map(vedette::Event::from).collect(),
                next: found.next.map(vedette::Wide),
                scanned: found.scanned,
                truncated: found.truncated,
            })
            .expect("BUG: our own answers have text keys only"),
        )
    };
    let body = call.shared.gate.run(&call.client, None, run).await??;
    Ok(json(StatusCode::OK, body))
}

/// The event that the path names.
pub(super) async fn find(call: &Call) -> Result<Event, Problem> {
    let text = &call.parts[0];
    let id: u64 = text.parse().map_err(|_| Problem::bad("id", text, "Event ids are whole numbers."))?;
    let shared = call.shared.clone();
    let found = call.shared.gate.run(&call.client, None, move |_| shared.events().get(id)).await?;
    found.map_err(|e| unreadable(&e))?.ok_or_else(|| {
        Problem(
            StatusCode::NOT_FOUND,
            format!("there is no event {id}"),
            "It may be older than what is kept; search for what is left around that time.",
        )
    })
}

pub(crate) fn unreadable(error: &vedette_eventdb::Error) -> Problem {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        text,
        "Look at the part eventdb on the status page, and at the disk that it names.",
    )
}

/// Reads the filters of a search; unknown ones are left to the reader's care, as everywhere in HTTP.
pub(super) fn read_search(params: &Params) -> Result<Search, Problem> {
    let time = |name: &'static str, otherwise: i64| match params.given(name) {
        None => Ok(otherwise),
        Some(text) => text
            .parse::<i64>()
            .map(|ms| ms.saturating_mul(1_000_000))
            .map_err(|_| Problem::bad(name, text, "Give milliseconds since the Unix epoch.")),
    };
    let from = time("from", i64::MIN)?;
    // The whole last millisecond belongs to it.
    let to = time("to", i64::MAX)?.saturating_add(999_999);
    let kinds = params
        .all("kind")
        .filter(|word| !word.is_empty())
        .map(|word| {
            EventKind::parse(word)
                .ok_or_else(|| Problem::bad("kind", word, "Kinds are exec, connection, finding and so on."))
        })
        .collect::<Result<_, _>>()?;
    let severity = params
        .given("severity")
        .map(|word| {
            Severity::parse(word)
                .ok_or_else(|| Problem::bad("severity", word, "Use info, warning or critical."))
        })
        .transpose()?;
    let before = params
        .given("before")
        .map(|text| {
            text.parse().map_err(|_| Problem::bad("before", text, "Give `next` of an earlier answer."))
        })
        .transpose()?;
    let limit = match params.given("limit") {
        None => 100,
        Some(text) => match text.parse::<usize>() {
            Ok(limit @ 1..=LIMIT_MAX) => limit,
            _ => return Err(Problem::bad("limit", text, "Give a number from 1 to 1000.")),
        },
    };
    let text: Vec<String> = params.all("text").flat_map(str::split_whitespace).map(str::to_owned).collect();
    if text.len() > WORDS_MAX {
        return Err(Problem(
            StatusCode::BAD_REQUEST,
            "parameter text has more than 32 words".to_owned(),
            "Search for the rarest of them.",
        ));
    }
    Ok(Search {
        range_ns: (from, to),
        kinds,
        container: params.given("container").map(str::to_owned),
        text,
        process: params.given("process").map(read_process).transpose()?,
        min_severity: severity,
        before,
        limit,
    })
}

fn read_process(text: &str) -> Result<ProcessKey, Problem> {
    text.split_once(':')
        .and_then(|(pid, start)| Some(ProcessKey { pid: pid.parse().ok()?, start_ns: start.parse().ok()? }))
        .ok_or_else(|| Problem::bad("process", text, "Give <process.pid>:<process.start_ns>."))
}
