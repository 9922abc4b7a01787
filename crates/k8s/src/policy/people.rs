//! Who is behind what was found, by audit records. These may come after the finding: a webhook sends them in
//! batches. So a finding is told at once, and once more when it becomes known who made or changed what it is of.

use vedette_model::ApiRequest;

use super::{PolicyView, words};
use crate::audit::Question;

/// How long a record is waited for. An API server holds records back for 30 seconds at most by default, and sends
/// them again and again while nobody takes them.
const WAIT_NS: i64 = 300 * 1_000_000_000;
/// Between two looks for one record.
const PAUSE_NS: i64 = 5 * 1_000_000_000;
/// Looks in one turn, as each searches a store.
const LOOKS_MAX: usize = 50;

/// Questions that are open.
#[derive(Default)]
pub(super) struct People(Vec<Open>);

struct Open {
    /// The finding.
    of: u64,
    question: Question,
    until_ns: i64,
    next_ns: i64,
}

impl People {
    /// A finding begins that these questions are asked of.
    pub(super) fn ask(&mut self, of: u64, questions: &[Question], now_ns: i64) {
        let open = |question: &Question| Open {
            of,
            question: question.clone(),
            until_ns: now_ns + WAIT_NS,
            next_ns: now_ns,
        };
        self.0.extend(questions.iter().map(open));
    }

    /// Looks for records; hands on what a finding has more of evidence, unless it is over.
    pub(super) fn look(
        &mut self,
        view: &PolicyView<'_>,
        lasts: impl Fn(u64) -> bool,
        mut tell: impl FnMut(u64, String),
    ) {
        let Some(records) = view.records else { return self.0.clear() };
        let now_ns = view.now_ns;
        let mut looks = 0;
        self.0.retain_mut(|open| {
            if !lasts(open.of) {
                return false;
            }
            if now_ns < open.next_ns || looks == LOOKS_MAX {
                return true;
            }
            looks += 1;
            open.next_ns = now_ns + PAUSE_NS;
            match records.find(&open.question) {
                Some(asked) => {
                    tell(open.of, line(&open.question, &asked));
                    false
                }
                None => now_ns < open.until_ns,
            }
        });
    }
}

/// What an audit record tells, in one line.
fn line(question: &Question, asked: &ApiRequest) -> String {
    let done = if question.is_creation { "made" } else { "changed" };
    let mut line = format!(
        "{} {} was {done} by {}, as the audit record of {} says",
        words::plain(&question.kind),
        words::plain(&question.name),
        words::plain(&asked.user),
        words::time(question.at)
    );
    for (before, text) in [
        ("asked for by ", &asked.impersonator),
        ("with the account of pod ", &asked.user_pod),
        ("from ", &asked.client),
        ("with ", &asked.user_agent),
    ] {
        if !text.is_empty() {
            line.push_str(", ");
            line.push_str(before);
            line.push_str(&words::plain(text));
        }
    }
    line
}
