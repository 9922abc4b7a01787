//! Families that many kinds have, and rows of the same shape.

use super::{Family, Kind, Rows, Stateful, states_of};
use crate::objects::{Condition, Meta};

/// A family of values, as all of these are: kube-state-metrics tells states and information so, too.
pub(super) const fn gauge<O>(
    name: &'static str,
    help: &'static str,
    rows: fn(&O, &mut Rows<'_>),
) -> Family<O> {
    Family { name, help, kind: Kind::Gauge, rows }
}

pub(super) const fn annotations<O: Stateful>(name: &'static str) -> Family<O> {
    gauge(name, "Annotations that are allowed by configuration.", super::annotations)
}

pub(super) const fn labels<O: Stateful>(name: &'static str) -> Family<O> {
    gauge(name, "Labels that are allowed by configuration.", super::labels)
}

pub(super) const fn created<O: Stateful>(name: &'static str) -> Family<O> {
    gauge(name, "When it was made, in seconds since 1970.", super::created)
}

pub(super) const fn deleted<O: Stateful>(name: &'static str) -> Family<O> {
    gauge(name, "When it was to go, in seconds since 1970.", super::deleted)
}

pub(super) const fn generation<O: Stateful>(name: &'static str) -> Family<O> {
    let rows = |object: &O, rows: &mut Rows<'_>| rows.number(Some(object.meta().generation));
    gauge(name, "Which generation of what is wished there is.", rows)
}

/// Versions are texts that happen to be numbers; one that is none has no row.
pub(super) const fn resource_version<O: Stateful>(name: &'static str) -> Family<O> {
    gauge(name, "In which version the object is.", |object: &O, rows| {
        if let Ok(version) = object.meta().resource_version.parse() {
            rows.row(&[], version);
        }
    })
}

/// That an object is there, for kinds of which nothing else is told.
pub(super) const fn exists<O: Stateful>(name: &'static str) -> Family<O> {
    gauge(name, "What there is.", |_: &O, rows| rows.row(&[], 1.0))
}

pub(super) const fn owner<O: Stateful>(name: &'static str) -> Family<O> {
    gauge(name, "What it belongs to.", owners)
}

/// For [`Family::rows`]: what an object belongs to.
pub(super) fn owners<O: Stateful>(object: &O, rows: &mut Rows<'_>) {
    each_owner(object.meta(), |kind, name, is_controller| {
        rows.row(&[("owner_kind", kind), ("owner_name", name), ("owner_is_controller", is_controller)], 1.0);
    });
}

/// Kind, name, and whether it is the controller; once with nothing for an object without owners.
pub(super) fn each_owner(meta: &Meta, mut tell: impl FnMut(&str, &str, &str)) {
    for (owner, is_controller) in meta.owners() {
        tell(&owner.kind, &owner.name, if is_controller { "true" } else { "false" });
    }
    if meta.owners().next().is_none() {
        tell("", "", "");
    }
}

/// The label that `true`, `false` or nothing makes.
pub(super) fn flag(flag: Option<bool>) -> &'static str {
    match flag {
        Some(true) => "true",
        Some(false) => "false",
        None => "",
    }
}

impl Rows<'_> {
    /// A row with nothing but a number, if there is one.
    pub(super) fn number(&mut self, number: Option<i64>) {
        if let Some(number) = number {
            self.row(&[], number as f64);
        }
    }

    /// A row for each status that a condition may have: `labels` come before that of the status.
    pub(super) fn condition(&mut self, labels: &[(&str, &str)], name: &str, condition: &Condition) {
        self.either(labels, name, states_of(condition));
    }
}
