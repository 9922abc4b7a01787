//! Who does the work of several that could.

use super::{
    Resource,
    lenient::{Time, objects, parts},
};

objects! {
    /// Says who does something, for a while.
    Lease at Resource { group: "coordination.k8s.io", ..Resource::core("leases") } => {
        spec: LeaseSpec,
    }
}

parts! {
    LeaseSpec {
        holder_identity: Box<str>,
        renew_time: Time,
    }
}
