//! Containers of pods. What is told of plain containers is told of init containers, too.

use crate::objects::{Amounts, Container, ContainerState, ContainerStatus, Pod, Terminated};
use crate::state::{Rows, resources};

/// A row for each container, with this value.
pub(super) fn each(
    statuses: &[ContainerStatus],
    rows: &mut Rows<'_>,
    value: impl Fn(&ContainerStatus) -> f64,
) {
    for status in statuses {
        rows.row(&[("container", &status.name)], value(status));
    }
}

pub(super) fn running(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    each(statuses, rows, |status| f64::from(matches!(status.state, ContainerState::Running { .. })));
}

pub(super) fn terminated(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    each(statuses, rows, |status| f64::from(status.state.terminated().is_some()));
}

pub(super) fn waiting(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    each(statuses, rows, |status| f64::from(matches!(status.state, ContainerState::Waiting { .. })));
}

pub(super) fn waiting_reason(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    for status in statuses {
        if let ContainerState::Waiting { reason } = &status.state {
            rows.row(&[("container", &status.name), ("reason", reason)], 1.0);
        }
    }
}

pub(super) fn terminated_reason(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    for status in statuses {
        if let Some(end) = status.state.terminated() {
            rows.row(&[("container", &status.name), ("reason", &end.reason)], 1.0);
        }
    }
}

pub(super) fn last_reason(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    for (status, end) in last_ends(statuses) {
        rows.row(&[("container", &status.name), ("reason", &end.reason)], 1.0);
    }
}

pub(super) fn last_exit_code(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    for (status, end) in last_ends(statuses) {
        rows.row(&[("container", &status.name)], f64::from(end.exit_code));
    }
}

pub(super) fn last_end(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    for (status, end) in last_ends(statuses) {
        at(status, end.finished, rows);
    }
}

fn last_ends(statuses: &[ContainerStatus]) -> impl Iterator<Item = (&ContainerStatus, &Terminated)> {
    statuses.iter().filter_map(|status| Some((status, status.last_state.terminated()?)))
}

pub(super) fn started(statuses: &[ContainerStatus], rows: &mut Rows<'_>) {
    for status in statuses {
        match &status.state {
            ContainerState::Running { started } => at(status, *started, rows),
            ContainerState::Terminated(end) => at(status, end.started, rows),
            ContainerState::Waiting { .. } | ContainerState::Unknown => {}
        }
    }
}

fn at(status: &ContainerStatus, seconds: Option<i64>, rows: &mut Rows<'_>) {
    if let Some(seconds) = seconds {
        rows.row(&[("container", &status.name)], seconds as f64);
    }
}

/// What containers are: as they are wished and as they run. `is_init` tells when each starts again, too.
pub(super) fn info(statuses: &[ContainerStatus], wished: &[Container], is_init: bool, rows: &mut Rows<'_>) {
    for status in statuses {
        let Some(container) = wished.iter().find(|container| container.name == status.name) else { continue };
        let labels = [
            ("container", &*status.name),
            ("image_spec", &container.image),
            ("image", &status.image),
            ("image_id", &status.image_id),
            ("container_id", &status.container_id),
            ("restart_policy", &container.restart_policy),
        ];
        rows.row(if is_init { &labels } else { &labels[..5] }, 1.0);
    }
}

/// What containers ask for, or may take.
pub(super) fn amounts(
    containers: &[Container],
    of: fn(&Container) -> &Amounts,
    pod: &Pod,
    rows: &mut Rows<'_>,
) {
    for container in containers {
        resources::each(of(container), false, |resource, unit, value| {
            let labels = [
                ("container", &*container.name),
                ("node", pod.node_name()),
                ("resource", resource),
                ("unit", unit),
            ];
            rows.row(&labels, value);
        });
    }
}
