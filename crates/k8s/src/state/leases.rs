//! Leases.

use super::{
    Family, Head, Stateful,
    common::{each_owner, gauge},
};
use crate::objects::{Lease, Object};

impl Stateful for Lease {
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("kube_lease_owner", "What it belongs to and who holds it.", |object: &Self, rows| {
            let meta = object.meta();
            each_owner(meta, |kind, name, _| {
                rows.row(
                    &[
                        ("owner_kind", kind),
                        ("owner_name", name),
                        ("namespace", &meta.namespace),
                        ("lease_holder", &object.spec.holder_identity),
                    ],
                    1.0,
                );
            });
        }),
        gauge(
            "kube_lease_renew_time",
            "When it was renewed, in seconds since 1970.",
            |object: &Self, rows| {
                if let Some(time) = object.spec.renew_time.0 {
                    rows.row(&[("namespace", &object.meta().namespace)], time as f64);
                }
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("lease", &self.meta().name);
    }
}
