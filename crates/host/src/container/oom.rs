//! Counts of processes that the kernel killed for want of memory: of one container, over all that
//! tells of them.

use std::sync::Arc;

use vedette_model::Container;

use super::{ContainerChange, files::BaseLabels};
use crate::{
    parse,
    series::{Family, LazySeries, Pass},
};

const OOM_EVENTS: Family<'_> =
    Family::counter("container_oom_events_total", "Count of out of memory events observed for the container");

/// Counts OOM kills over all that tells of them.
#[derive(Default)]
pub(super) struct Oom {
    pub(super) series: LazySeries,
    /// Of an earlier life under the same name, whose series goes on.
    pub(super) before: u64,
    /// What the file said.
    pub(super) file: u64,
    /// What the runtime told.
    pub(super) told: u64,
    /// What has been passed on as changes.
    pub(super) passed_on: u64,
    /// The container was there before the reader: what its file says at first is old.
    pub(super) old: bool,
    /// The series of a container that is not old begins at zero, so that a kill in its first
    /// second is an increase.
    pub(super) begun: bool,
}

impl Oom {
    /// The file and the runtime count the same kills; neither sees all of them.
    pub(super) fn total(&self) -> u64 {
        self.before + self.file.max(self.told)
    }

    pub(super) fn tell(&mut self, container: &Arc<Container>, out: &mut Vec<ContainerChange>) {
        let total = self.total();
        let news = total.saturating_sub(self.passed_on);
        if news > 0 {
            out.push(ContainerChange::OomKill { container: container.clone(), count: news });
        }
        self.passed_on = self.passed_on.max(total);
    }

    pub(super) fn put(&mut self, pass: &mut Pass<'_>, base: &BaseLabels) {
        let count = if std::mem::replace(&mut self.begun, true) { self.total() } else { self.before };
        self.series.put_with(pass, parse::value(count), |pass| base.define(pass, OOM_EVENTS, &[]));
    }
}
