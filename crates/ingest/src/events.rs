//! Events: those within the limits go to the event store, the others are counted.

use vedette_eventdb::EventDb;
use vedette_model::{Event, Fact, Rejected};

use crate::{
    Config,
    ingest::retry,
    metrics::{Metrics, Reason},
};

/// Stores the events of one batch.
pub(crate) fn accept(
    config: &Config,
    db: &EventDb,
    metrics: &Metrics,
    now_ns: i64,
    events: &[Event],
) -> Result<(), Rejected> {
    let newest = now_ns.saturating_add(config.event_future_ns_max);
    let (mut future, mut old, mut large) = (0, 0, 0);
    let mut taken = Vec::with_capacity(events.len());
    for event in events {
        if event.time_ns > newest {
            future += 1;
        } else if event.time_ns < 0 {
            old += 1;
        } else if text_bytes(event) > config.event_bytes_max {
            large += 1;
        } else {
            taken.push(event.clone());
        }
    }
    if let Err(error) = db.append(&mut taken) {
        return Err(if error.is_retry() { retry(&error) } else { Rejected::Invalid(error.to_string()) });
    }
    metrics.events.add(taken.len() as u64);
    for (reason, count) in [(Reason::Future, future), (Reason::TooOld, old), (Reason::Size, large)] {
        metrics.rejected_events(reason).add(count);
    }
    Ok(())
}

/// Roughly how much memory and disk the event's text takes.
fn text_bytes(event: &Event) -> usize {
    let sum = |texts: &[String]| texts.iter().map(|t| t.len() + 8).sum::<usize>();
    let process = event.process.as_deref().map_or(0, |p| {
        let ancestors = p.ancestors.iter().map(|a| a.name.len() + a.executable.len() + 32);
        p.name.len() + p.executable.len() + sum(&p.args) + ancestors.sum::<usize>()
    });
    let container = event.container.as_deref().map_or(0, |c| {
        let workload = c.pod_uid.len() + c.workload.kind.len() + c.workload.name.len();
        let texts = [&c.id, &c.name, &c.image, &c.pod, &c.namespace, &c.cgroup, &c.runtime];
        texts.map(String::len).iter().sum::<usize>() + workload
    });
    let host = event.host.name.len() + event.host.id.len() + event.host.boot_id.len();
    let fact = match &event.fact {
        Fact::Finding(f) => {
            f.rule.len()
                + f.title.len()
                + f.description.len()
                + f.labels.heap_bytes()
                + sum(&f.ancestry)
                + sum(&f.evidence)
                + f.event_ids.len() * 10
        }
        Fact::Loss { place, .. } => place.len(),
        Fact::Kubernetes(event) => {
            let told = [&event.cluster, &event.uid, &event.kind, &event.reason, &event.note, &event.reporter];
            let object = [&event.object_kind, &event.object_name, &event.namespace, &event.object_uid];
            let texts = told.into_iter().chain(object).map(String::len).sum::<usize>();
            texts + event.workload.kind.len() + event.workload.name.len()
        }
        Fact::Audit(asked) => {
            let who = [&asked.user, &asked.impersonator, &asked.user_pod, &asked.client, &asked.user_agent];
            let what =
                [&asked.verb, &asked.group, &asked.resource, &asked.namespace, &asked.name, &asked.uid];
            let texts = [&asked.cluster, &asked.audit_id].into_iter().chain(who).chain(what);
            texts.map(String::len).sum()
        }
        _ => 0,
    };
    process + container + host + fact
}
