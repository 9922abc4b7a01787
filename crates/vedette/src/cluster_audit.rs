//! Audit records of clusters on their way into the event store, and back out of it for findings: who made or changed
//! what runs. They come from the API server's webhook, or from the file of its log.

mod log_file;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use vedette_eventdb::Search;
use vedette_k8s::audit::{self, AuditRecords, Heard, Question};
use vedette_model::{
    ApiRequest, Batch, Event, EventKind, Fact, Payload, Rejected,
    status::{Health, Part},
    telemetry::{Family, MetricSource, MetricVisitor},
};

use crate::{cluster_events::Keeping, config::ClusterSettings};
use log_file::LogFile;

/// Between two looks at a log that has nothing new.
const PAUSE: Duration = Duration::from_millis(500);
/// A request is recorded when it is answered, which may be so long after the object was made: as long as an API server
/// lets a request take by default.
const ANSWER_NS_MAX: i64 = 60 * SECOND_NS;
/// Records of one name in that time that are looked at.
const RECORDS_MAX: usize = 1_000;
/// Records that are looked at for what of a log is stored already.
const STORED_MAX: usize = 50_000;
/// Events of one answer of the store.
const PAGE: usize = 1_000;
/// A log is nearly in the order of time: lines that are so much older than the newest record that is stored are stored,
/// too.
const DISORDER_NS: i64 = 60 * SECOND_NS;
const SECOND_NS: i64 = 1_000_000_000;

const RECORDS: Family = Family::counter(
    "vedette_audit_records_total",
    "Audit records of a cluster that came, by what they are: changes of what runs, others, or unreadable.",
);

/// The audit records of all clusters that give them.
#[derive(Clone, Default)]
pub struct AuditDesks(Arc<HashMap<Arc<str>, Arc<AuditDesk>>>);

/// The audit records of one cluster.
pub struct AuditDesk {
    cluster: Arc<str>,
    takes_webhook: bool,
    keeping: Keeping,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the last batch.
    seq: u64,
    changes: u64,
    others: u64,
    unreadable: u64,
    /// Why the store did not take the last batch.
    refusal: Option<String>,
    /// Why the log cannot be read.
    trouble: Option<String>,
}

impl AuditDesks {
    /// Those of the clusters that are to give records; begins to read their logs.
    pub fn open(clusters: &[ClusterSettings], keeping: &Keeping) -> Self {
        let mut desks = HashMap::new();
        for (cluster, settings) in clusters.iter().filter_map(|one| Some((&one.name, one.audit.as_ref()?))) {
            let desk = Arc::new(AuditDesk::new(cluster.clone(), settings.webhook, keeping));
            desk.post();
            if let Some(path) = settings.log_file.clone() {
                tokio::spawn(follow(desk.clone(), path));
            }
            desks.insert(cluster.clone(), desk);
        }
        Self(Arc::new(desks))
    }

    /// That of a cluster, if it gives records.
    pub fn of(&self, cluster: &str) -> Option<Arc<AuditDesk>> {
        self.0.get(cluster).cloned()
    }

    /// Whether no cluster gives records.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what the webhook of a cluster is sent.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, or why it must come again.
    pub fn webhook(&self, cluster: &str, body: &[u8]) -> Result<(), WebhookError> {
        let desk = self.0.get(cluster).filter(|desk| desk.takes_webhook).ok_or_else(|| {
            WebhookError::Refused(format!(
                "no audit records are taken of a cluster {cluster:?}; write `audit: {{webhook: on}}` below it in \
                 `kubernetes`"
            ))
        })?;
        let heard = audit::list(&desk.cluster, body).map_err(WebhookError::Refused)?;
        let kept = desk.keep(&heard);
        desk.post();
        kept.map_err(|rejected| match rejected {
            Rejected::Retry(_) => WebhookError::Retry(rejected.to_string()),
            rejected => WebhookError::Refused(rejected.to_string()),
        })
    }
}

/// Why records of a webhook are not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookError {
    /// They never will be.
    Refused(String),
    /// They must come again.
    Retry(String),
}

impl AuditDesk {
    fn new(cluster: Arc<str>, takes_webhook: bool, keeping: &Keeping) -> Self {
        let mut keeping = keeping.clone();
        keeping.origin.source = format!("{}/{cluster}/audit", keeping.origin.source);
        Self { cluster, takes_webhook, keeping, state: Mutex::default() }
    }

    /// Stores changes, and counts the others once they are.
    fn keep(&self, heard: &Heard) -> Result<(), Rejected> {
        let Heard { changes, others, unreadable } = heard;
        // One at a time, so that numbers of batches grow in the order in which these are stored.
        let mut state = self.state.lock();
        if !changes.is_empty() {
            let events = changes.iter().map(|(asked, time_ns)| self.event(asked, *time_ns)).collect();
            let payload = Payload::Events(events);
            let batch = Batch { origin: self.keeping.origin.clone(), seq: state.seq + 1, payload };
            let taken = self.keeping.sink.accept(&batch);
            state.refusal = taken.as_ref().err().map(ToString::to_string);
            taken?;
            state.seq += 1;
        }
        state.changes += changes.len() as u64;
        state.others += others;
        state.unreadable += unreadable;
        Ok(())
    }

    /// Clocks of other machines may go before ours, but nothing is stored that is still to come.
    fn event(&self, asked: &ApiRequest, time_ns: Option<i64>) -> Event {
        let now_ns = self.keeping.clock.unix_ns();
        let time_ns = time_ns.unwrap_or(now_ns).clamp(0, now_ns.max(0));
        let (host, fact) = (self.keeping.host.clone(), Fact::Audit(Box::new(asked.clone())));
        Event { id: 0, time_ns, host, container: None, process: None, fact }
    }

    fn post(&self) {
        let state = self.state.lock();
        let part = match (&state.trouble, &state.refusal) {
            (Some(trouble), _) => Part::new(
                Health::Degraded,
                trouble.clone(),
                "Name the file of the API server's --audit-log-path, and let this program read it.",
            ),
            (None, Some(refusal)) => Part::new(
                Health::Degraded,
                format!("the event store does not take audit records: {refusal}"),
                "The API server and the log keep them for a while; see eventdb.",
            ),
            (None, None) => Part::ok(),
        };
        let part = part
            .fact("changes stored", state.changes)
            .fact("other records", state.others)
            .fact("unreadable", state.unreadable);
        drop(state);
        self.keeping.status.post(&format!("audit {}", self.cluster), part);
    }

    /// Audit records of this cluster in the store, the newest first, until `look` has seen enough.
    fn stored(&self, search: Search, mut look: impl FnMut(&ApiRequest, i64) -> bool) {
        let mut search = Search { kinds: vec![EventKind::Audit], limit: PAGE, ..search };
        loop {
            let found = match self.keeping.store.search(&search) {
                Ok(found) => found,
                Err(error) => return tracing::warn!(%error, "audit records that are stored cannot be read"),
            };
            for event in &found.events {
                if let Fact::Audit(asked) = &event.fact
                    && *asked.cluster == *self.cluster
                    && !look(asked, event.time_ns)
                {
                    return;
                }
            }
            search.before = found.next;
            if found.next.is_none() {
                return;
            }
        }
    }
}

impl AuditRecords for AuditDesk {
    fn find(&self, question: &Question) -> Option<ApiRequest> {
        let from_ns = question.at.saturating_mul(SECOND_NS);
        let search = Search {
            range_ns: (from_ns, from_ns.saturating_add(ANSWER_NS_MAX)),
            text: vec![question.resource.to_owned(), question.name.clone()],
            ..Search::default()
        };
        // The first that fits: what came later is another change.
        let mut first: Option<(ApiRequest, i64)> = None;
        let mut looked_at = 0;
        self.stored(search, |asked, time_ns| {
            looked_at += 1;
            if question.is_answered_by(asked) && first.as_ref().is_none_or(|(_, known)| time_ns < *known) {
                first = Some((asked.clone(), time_ns));
            }
            looked_at < RECORDS_MAX
        });
        first.map(|(asked, _)| asked)
    }
}

impl MetricSource for AuditDesks {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        for (cluster, desk) in self.0.iter() {
            let state = desk.state.lock();
            for (kind, count) in
                [("change", state.changes), ("other", state.others), ("unreadable", state.unreadable)]
            {
                visitor.value(&RECORDS, &[("cluster", cluster), ("kind", kind)], count as f64);
            }
        }
    }
}

/// What of a log is stored already.
struct Before {
    newest_ns: i64,
    /// Audit ids of the records that are nearly as new.
    ids: HashMap<String, i64>,
}

impl Before {
    fn of(desk: &AuditDesk) -> Self {
        let mut before = Self { newest_ns: i64::MIN, ids: HashMap::new() };
        let mut looked_at = 0;
        desk.stored(Search::default(), |asked, time_ns| {
            looked_at += 1;
            before.newest_ns = before.newest_ns.max(time_ns);
            before.ids.insert(asked.audit_id.clone(), time_ns);
            looked_at < STORED_MAX
        });
        let newest_ns = before.newest_ns;
        before.ids.retain(|_, time_ns| *time_ns >= newest_ns.saturating_sub(DISORDER_NS));
        before
    }

    fn has(&self, asked: &ApiRequest, time_ns: Option<i64>) -> bool {
        self.ids.contains_key(&asked.audit_id)
            || time_ns.is_some_and(|at| at < self.newest_ns.saturating_sub(DISORDER_NS))
    }
}

/// Stores the records of a log as they are written.
struct Follower {
    desk: Arc<AuditDesk>,
    log: LogFile,
    before: Before,
    /// What the store did not take yet.
    waiting: Option<Heard>,
}

impl Follower {
    fn new(desk: Arc<AuditDesk>, path: PathBuf) -> Self {
        let before = Before::of(&desk);
        let since = u64::try_from(before.newest_ns.saturating_sub(DISORDER_NS)).ok();
        let log = LogFile::new(path, since.map(Duration::from_nanos));
        Self { desk, log, before, waiting: None }
    }

    /// Stores the next records. Whether there may be more.
    fn turn(&mut self) -> bool {
        let (heard, has_more) = self.waiting.take().map_or_else(|| self.next(), |heard| (heard, true));
        let kept = self.desk.keep(&heard);
        self.desk.post();
        match kept {
            Ok(()) => has_more,
            Err(Rejected::Retry(_)) => {
                self.waiting = Some(heard);
                false
            }
            Err(rejected) => {
                tracing::error!(%rejected, "audit records were refused for good");
                has_more
            }
        }
    }

    /// The next records that are not stored yet, and whether there may be more.
    fn next(&mut self) -> (Heard, bool) {
        let Self { desk, log, before, .. } = self;
        let mut heard = Heard::default();
        let read = log.read(|line| heard.take(&desk.cluster, line));
        heard.unreadable += log.take_too_long();
        heard.changes.retain(|(asked, time_ns)| !before.has(asked, *time_ns));
        let trouble =
            read.as_ref().err().map(|error| format!("cannot read {}: {error}", log.path().display()));
        desk.state.lock().trouble = trouble;
        (heard, read.unwrap_or(false))
    }
}

/// Follows a log until the program ends.
async fn follow(desk: Arc<AuditDesk>, path: PathBuf) {
    let Ok(mut follower) = tokio::task::spawn_blocking(move || Follower::new(desk, path)).await else {
        return;
    };
    loop {
        let turn = tokio::task::spawn_blocking(move || {
            let has_more = follower.turn();
            (follower, has_more)
        });
        let Ok((back, has_more)) = turn.await else { return };
        follower = back;
        if !has_more {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests;
