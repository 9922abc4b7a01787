//! Doors for the fuzz targets to what servers answer, with good answers to begin with.

use super::{elasticsearch, redis::resp};
use crate::export::batch::Delivery;

/// Prefixes that are tried, at the end of an answer.
const PREFIXES_MAX: usize = 64;

/// Reads an answer of Redis: what is read lies in the bytes, and a part of an answer is none yet.
pub fn redis_answer(bytes: &[u8]) {
    let Ok(Some((_, used))) = resp::parse(bytes) else { return };
    assert!(used > 0 && used <= bytes.len(), "{used} of {} bytes", bytes.len());
    for end in used.saturating_sub(PREFIXES_MAX)..used {
        assert!(!matches!(resp::parse(&bytes[..end]), Ok(Some(_))), "{end} of {used} bytes are an answer");
    }
}

/// Answers of all kinds.
pub fn redis_answers() -> Vec<Vec<u8>> {
    let answers = [
        "+OK\r\n",
        "-ERR no\r\n",
        ":7\r\n",
        "$3\r\nabc\r\n",
        "$-1\r\n",
        "*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
        "*-1\r\n",
    ];
    answers.map(|answer| answer.as_bytes().to_vec()).into()
}

/// Reads an answer of `_bulk` for as many documents as the first byte says: none is told of twice,
/// and none that was not sent.
pub fn bulk_answer(bytes: &[u8]) {
    let Some((documents, body)) = bytes.split_first() else { return };
    let documents = usize::from(*documents);
    if let Delivery::Partly { refused, again, .. } = elasticsearch::outcome(body, documents) {
        let mut told: Vec<usize> = refused.into_iter().chain(again).collect();
        let count = told.len();
        told.sort_unstable();
        told.dedup();
        assert!(count > 0 && told.len() == count && told.iter().all(|at| *at < documents));
    }
}

/// Answers with and without failures.
pub fn bulk_answers() -> Vec<Vec<u8>> {
    let answers = [
        "\u{1}{\"errors\":false}",
        "\u{3}{\"errors\":true,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":400,\"error\":{\"type\":\"t\",\"reason\":\"r\"}}},{\"create\":{\"status\":429}}]}",
    ];
    answers.map(|answer| answer.as_bytes().to_vec()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A good answer with some of its bytes changed.
    fn changed(answers: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
        let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
        (prop::sample::select(answers), changes).prop_map(|(mut answer, changes)| {
            for (at, byte) in changes {
                let at = at.index(answer.len());
                answer[at] = byte;
            }
            answer
        })
    }

    proptest! {
        #[test]
        fn good_and_changed_answers_of_redis_are_read(bytes in changed(redis_answers())) {
            redis_answer(&bytes);
        }

        #[test]
        fn good_and_changed_answers_of_bulk_are_read(bytes in changed(bulk_answers())) {
            bulk_answer(&bytes);
        }
    }
}
