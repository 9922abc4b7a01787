//! Leases: who holds one and does not renew it in time does not work.
//!
//! How old a lease is, is told by when a renewal was *seen*, on our own clock: the clock of its holder may be
//! wrong by any amount. So one that was over before we came is told only when it would have ended since.

use std::time::Duration;

use serde::Deserialize;
use vedette_sys::MonotonicTime;

use crate::objects::{Meta, Object, Resource, null_as_default};

/// Whatever an object says: a lease is neither shorter nor longer.
const DURATION_BOUNDS: (u64, u64) = (5, 600);

/// That somebody holds something until it is to be renewed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Lease {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(deserialize_with = "null_as_default")]
    holder_identity: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    lease_duration_seconds: i64,
    #[serde(deserialize_with = "null_as_default")]
    renew_time: Box<str>,
}

impl Lease {
    /// Who holds it; empty where nobody does.
    pub fn holder(&self) -> &str {
        &self.spec.holder_identity
    }

    /// When it was renewed, by the clock of its holder, as it is written.
    pub fn renewed(&self) -> &str {
        &self.spec.renew_time
    }

    /// For how long it holds.
    pub fn duration(&self) -> Duration {
        let (min, max) = DURATION_BOUNDS;
        Duration::from_secs(u64::try_from(self.spec.lease_duration_seconds).unwrap_or(0).clamp(min, max))
    }
}

impl Object for Lease {
    const RESOURCE: Resource = Resource {
        group: "coordination.k8s.io",
        version: "v1",
        plural: "leases",
        is_namespaced: true,
        is_metadata_only: false,
    };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// When renewals of one lease were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Renewals {
    holder: Box<str>,
    written: Box<str>,
    duration: Duration,
    seen: MonotonicTime,
    /// When it was looked at last.
    looked: MonotonicTime,
    /// Since when nothing can be seen: that time does not count.
    paused: Option<MonotonicTime>,
    /// Whether it was asked for by itself after it was over.
    is_confirmed: bool,
}

impl Renewals {
    /// A lease that is seen for the first time: it is as good as renewed just now.
    pub(super) fn first(lease: &Lease, now: MonotonicTime) -> Self {
        Self {
            holder: lease.holder().into(),
            written: lease.renewed().into(),
            duration: lease.duration(),
            seen: now,
            looked: now,
            paused: None,
            is_confirmed: false,
        }
    }

    /// The lease as it is now.
    pub(super) fn take(&mut self, lease: &Lease, now: MonotonicTime) {
        if (lease.holder(), lease.renewed()) != (&*self.holder, &*self.written) {
            self.holder = lease.holder().into();
            self.written = lease.renewed().into();
            self.seen = now;
            self.is_confirmed = false;
        }
        self.duration = lease.duration();
        self.looked = self.looked.max(now);
    }

    /// From then on nothing can be seen, nor perhaps renewed.
    pub(super) fn pause(&mut self, from: MonotonicTime) {
        self.paused.get_or_insert(from);
    }

    /// It can be seen again. Only the time in between does not count: many short gaps would else hide for ever
    /// that nothing is renewed.
    pub(super) fn resume(&mut self, now: MonotonicTime) {
        let Some(from) = self.paused.take() else { return };
        let gap = now.0.saturating_sub(from.0);
        let moved = MonotonicTime(self.seen.0.saturating_add(gap)).min(now);
        self.seen = self.seen.max(moved);
        self.is_confirmed &= self.is_over(now);
    }

    /// Nothing could be seen until now, for so long that its holder may have had to begin again, too.
    pub(super) fn begin_again(&mut self, now: MonotonicTime) {
        self.seen = self.seen.max(now);
        self.paused = None;
        self.is_confirmed = false;
    }

    /// It was asked for by itself, and is as it is known.
    pub(super) fn confirm(&mut self, now: MonotonicTime) {
        self.is_confirmed = self.is_over(now);
    }

    /// Whether that was done since it is over.
    pub(super) fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    /// How long ago it was renewed, without the time in which nothing could be seen.
    pub(super) fn age(&self, now: MonotonicTime) -> Duration {
        self.paused.map_or(now, |from| from.min(now)).since(self.seen)
    }

    /// Whether it was not renewed while it held, of what is watched all the time.
    pub(super) fn is_over(&self, now: MonotonicTime) -> bool {
        self.age(now) > self.duration
    }

    /// The same of what is looked at now and then: between two looks it may have been renewed.
    pub(super) fn was_over(&self) -> bool {
        self.age(self.looked) > self.duration
    }

    /// How long ago it was looked at.
    pub(super) fn unseen(&self, now: MonotonicTime) -> Duration {
        now.since(self.looked)
    }

    /// For people: who held it, and since when it is not renewed. Not how long that is: the text stands in a label.
    pub(super) fn told(&self) -> String {
        let holder = if self.holder.is_empty() { "nobody" } else { &*self.holder };
        let duration = self.duration.as_secs();
        let written = if self.written.is_empty() { "never" } else { &*self.written };
        super::probe::shown(&format!(
            "the lease is held by {holder}, holds for {duration} s and was not renewed after {written} (by its holder's clock)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: u64) -> MonotonicTime {
        MonotonicTime(seconds * 1_000_000_000)
    }

    fn lease(holder: &str, renewed: &str) -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "l", "namespace": "n"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed}}))
        .expect("a lease")
    }

    #[test]
    fn renewals_count_by_our_own_clock_however_wrong_the_holders_is() {
        // An hour behind, and an hour before: neither is old.
        for written in ["2026-01-01T09:00:00.000000Z", "2026-01-01T11:00:00.000000Z"] {
            let mut renewals = Renewals::first(&lease("a", written), at(100));
            assert!(!renewals.is_over(at(115)) && renewals.is_over(at(116)));
            renewals.take(&lease("a", written), at(116));
            assert!(renewals.is_over(at(116)), "nothing was renewed");
            renewals.take(&lease("a", "2020-01-01T00:00:00.000000Z"), at(116));
            assert!(!renewals.is_over(at(131)), "whatever is written, it is another time than before");
            renewals.take(&lease("b", "2020-01-01T00:00:00.000000Z"), at(131));
            assert_eq!(renewals.age(at(133)), Duration::from_secs(2));
        }
    }

    #[test]
    fn what_could_not_be_seen_does_not_count() {
        let mut renewals = Renewals::first(&lease("a", "x"), at(0));
        renewals.begin_again(at(60));
        assert!(!renewals.is_over(at(75)) && renewals.is_over(at(76)));
        assert!(renewals.told().contains("held by a, holds for 15 s and was not renewed after"));
    }

    #[test]
    fn gaps_do_not_count_and_hide_nothing() {
        let mut renewals = Renewals::first(&lease("a", "x"), at(0));
        // A second of each two cannot be seen: what is over after 15 seconds is so after 30.
        for second in (0..30).step_by(2) {
            renewals.pause(at(second));
            renewals.pause(at(second + 1));
            assert!(!renewals.is_over(at(second + 1)), "{second}");
            renewals.resume(at(second + 1));
        }
        assert_eq!(renewals.age(at(30)), Duration::from_secs(15));
        assert!(!renewals.is_over(at(30)) && renewals.is_over(at(31)));
        renewals.confirm(at(31));
        renewals.pause(at(31));
        renewals.resume(at(40));
        assert!(renewals.is_over(at(40)) && renewals.is_confirmed(), "it was over before");
        // What was renewed in a gap is no older than the gap's end, and no younger.
        renewals.pause(at(40));
        renewals.take(&lease("a", "y"), at(45));
        renewals.resume(at(50));
        assert_eq!(renewals.age(at(50)), Duration::ZERO);
        assert!(!renewals.is_confirmed());
    }

    #[test]
    fn nothing_is_over_that_was_not_looked_at() {
        let mut renewals = Renewals::first(&lease("a", "x"), at(0));
        assert!(!renewals.was_over() && renewals.unseen(at(60)) == Duration::from_secs(60));
        renewals.take(&lease("a", "y"), at(60));
        assert!(!renewals.was_over(), "it was renewed in between");
        renewals.take(&lease("a", "y"), at(75));
        assert!(!renewals.was_over());
        renewals.take(&lease("a", "y"), at(76));
        assert!(renewals.was_over());
    }

    #[test]
    fn odd_leases_do_no_harm() {
        let odd: Lease = serde_json::from_value(json!({"metadata": {"name": "l"}, "spec":
            {"holderIdentity": null, "leaseDurationSeconds": -7, "renewTime": null}}))
        .expect("a lease");
        assert_eq!((odd.holder(), odd.duration()), ("", Duration::from_secs(5)));
        let renewals = Renewals::first(&odd, at(1));
        assert!(renewals.told().contains("held by nobody"));
    }
}
