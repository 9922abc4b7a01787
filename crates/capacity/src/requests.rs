//! What a pod takes of its node: containers, what runs before and beside them, pod-level amounts and
//! overhead, and what a resize in place has left it with.

use std::collections::BTreeMap;

use crate::{
    Error,
    objects::{Amounts, Container, ContainerStatus, Pod, Resize},
    quantity,
};

/// Amounts by resource: thousandths of a CPU, bytes, or pieces.
pub(crate) type Needs<'a> = BTreeMap<&'a str, i64>;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// What a pod made anew of the same specification asks for.
    Asked,
    /// What the running pod has: more than it asks for while it is made smaller.
    Held,
    /// What it asks for, with the scheduler's assumption where a container says nothing.
    Assumed,
}

/// Of a container that asks for no CPU, in scores.
const ASSUMED_CPU: i64 = 100;
/// Of a container that asks for no memory, in scores.
const ASSUMED_MEMORY_BYTES: i64 = 200 << 20;

/// How an amount of this resource is counted.
pub(crate) fn decimals(resource: &str) -> u32 {
    if resource == "cpu" { 3 } else { 0 }
}

/// Reads amounts.
pub(crate) fn amounts<'a>(amounts: &'a Amounts, object: impl Fn() -> String) -> Result<Needs<'a>, Error> {
    let read = |(name, quantity): (&'a String, &'a crate::objects::Quantity)| {
        let amount = quantity::parse(&quantity.0, decimals(name)).ok_or_else(|| Error::Quantity {
            object: object(),
            resource: name.clone(),
            text: quantity.0.clone(),
        })?;
        Ok((name.as_str(), amount))
    };
    amounts.iter().map(read).collect()
}

/// What the pod takes.
pub(crate) fn of<'a>(pod: &'a Pod, which: Which, object: &dyn Fn() -> String) -> Result<Needs<'a>, Error> {
    let spec = &pod.spec;
    let container = |c: &'a Container, statuses: &'a [ContainerStatus]| {
        container(c, statuses.iter().find(|s| s.name == c.name), which, pod.status.resize, object)
    };
    let mut total = Needs::new();
    for c in &spec.containers {
        add(&mut total, &container(c, &pod.status.container_statuses)?);
    }
    // A sidecar stays; whatever else runs before the containers runs beside the sidecars begun so far.
    let mut sidecars = Needs::new();
    let mut before = Needs::new();
    for c in &spec.init_containers {
        let mut needs = container(c, &pod.status.init_container_statuses)?;
        if c.restart_policy == "Always" {
            add(&mut total, &needs);
            add(&mut sidecars, &needs);
            most(&mut before, &sidecars);
        } else {
            add(&mut needs, &sidecars);
            most(&mut before, &needs);
        }
    }
    most(&mut total, &before);
    let of_pod = |name: &str| name == "cpu" || name == "memory" || name.starts_with("hugepages-");
    let asked = amounts(&spec.resources.requests, object)?;
    for (name, limit) in amounts(&spec.resources.limits, object)? {
        // What admission fills in: a limit is a request when no container says anything of the resource.
        if of_pod(name) && !asked.contains_key(name) {
            total.entry(name).or_insert(limit);
        }
    }
    total.extend(asked.into_iter().filter(|(name, _)| of_pod(name)));
    add(&mut total, &amounts(&spec.overhead, object)?);
    Ok(total)
}

fn container<'a>(
    c: &'a Container,
    status: Option<&'a ContainerStatus>,
    which: Which,
    resize: Resize,
    object: &dyn Fn() -> String,
) -> Result<Needs<'a>, Error> {
    let mut needs = Needs::new();
    if let (Some(status), true) = (status, which == Which::Held || resize.is_infeasible) {
        most(&mut needs, &amounts(&status.resources.requests, object)?);
        most(&mut needs, &amounts(&status.allocated_resources, object)?);
    }
    // What the node can never give is not held, nor asked for again: the scheduler goes by what there is. A container
    // of which nothing is told has what it asks for.
    if !resize.is_infeasible || needs.is_empty() {
        let mut asked = amounts(&c.resources.limits, object)?;
        asked.extend(amounts(&c.resources.requests, object)?);
        most(&mut needs, &asked);
    }
    if which == Which::Assumed {
        needs.entry("cpu").or_insert(ASSUMED_CPU);
        needs.entry("memory").or_insert(ASSUMED_MEMORY_BYTES);
    }
    Ok(needs)
}

fn add<'a>(to: &mut Needs<'a>, more: &Needs<'a>) {
    for (name, amount) in more {
        let sum = to.entry(name).or_default();
        *sum = sum.saturating_add(*amount).min(quantity::CAP);
    }
}

fn most<'a>(of: &mut Needs<'a>, other: &Needs<'a>) {
    for (name, amount) in other {
        let most = of.entry(name).or_default();
        *most = (*most).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(spec: &str, which: Which) -> Vec<(String, i64)> {
        let pod: Pod = serde_json::from_str(spec).expect("a pod");
        let needs = of(&pod, which, &|| "pod".into()).expect("amounts");
        needs.into_iter().map(|(n, a)| (n.to_owned(), a)).collect()
    }

    fn cpu(spec: &str, which: Which) -> i64 {
        needs(spec, which).iter().find(|(n, _)| n == "cpu").map_or(0, |(_, a)| *a)
    }

    #[test]
    fn the_largest_moment_of_a_start_counts_sidecars_from_when_they_run() {
        let c = |cpu: &str| format!(r#"{{"resources":{{"requests":{{"cpu":"{cpu}"}}}}}}"#);
        let s = |cpu: &str| {
            format!(r#"{{"restartPolicy":"Always","resources":{{"requests":{{"cpu":"{cpu}"}}}}}}"#)
        };
        let pod = |containers: &[String], init: &[String]| {
            format!(
                r#"{{"spec":{{"containers":[{}],"initContainers":[{}]}}}}"#,
                containers.join(","),
                init.join(",")
            )
        };
        for (containers, init, wanted) in [
            (vec![c("1"), c("500m")], vec![], 1500),
            (vec![c("1")], vec![c("3")], 3000),
            (vec![c("1")], vec![c("3"), s("2")], 3000),
            (vec![c("1")], vec![s("2"), c("3")], 5000),
            (vec![c("4")], vec![s("2"), c("3")], 6000),
            (vec![c("1")], vec![s("1"), s("1"), c("500m")], 3000),
        ] {
            assert_eq!(cpu(&pod(&containers, &init), Which::Asked), wanted, "{containers:?} {init:?}");
        }
    }

    #[test]
    fn pod_level_amounts_replace_sums_and_overhead_is_added() {
        let pod = r#"{"spec":{"containers":[{"resources":{"requests":{"cpu":"1","memory":"1Gi","ephemeral-storage":"1Gi"}}}],
            "resources":{"requests":{"cpu":"300m","ephemeral-storage":"9Gi"},"limits":{"memory":"5Gi","hugepages-2Mi":"4Mi"}},
            "overhead":{"cpu":"50m"}}}"#;
        let wanted =
            [("cpu", 350), ("ephemeral-storage", 1 << 30), ("hugepages-2Mi", 4 << 20), ("memory", 1 << 30)];
        assert_eq!(needs(pod, Which::Asked), wanted.map(|(n, a)| (n.to_owned(), a)));
    }

    #[test]
    fn a_pod_that_is_made_smaller_holds_the_larger_amount_until_it_is() {
        let pod = r#"{"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]},
            "status":{"containerStatuses":[{"name":"a","allocatedResources":{"cpu":"2"},"resources":{"requests":{"cpu":"3"}}}]}}"#;
        assert_eq!(cpu(pod, Which::Held), 3000);
        assert_eq!(cpu(pod, Which::Asked), 1000);
    }

    #[test]
    fn what_the_node_can_never_give_is_neither_held_nor_asked_for() {
        let pod = |condition: &str| {
            format!(
                r#"{{"spec":{{"containers":[{{"name":"a","resources":{{"requests":{{"cpu":"64"}},"limits":{{"cpu":"64"}}}}}},
                {{"name":"b","resources":{{"requests":{{"cpu":"500m"}}}}}}]}},"status":{{"conditions":[{condition}],
                "containerStatuses":[{{"name":"a","allocatedResources":{{"cpu":"2"}},"resources":{{"requests":{{"cpu":"1"}}}}}}]}}}}"#
            )
        };
        let infeasible =
            r#"{"type":"Ready","reason":"Infeasible"},{"type":"PodResizePending","reason":"Infeasible"}"#;
        for which in [Which::Held, Which::Asked, Which::Assumed] {
            assert_eq!(cpu(&pod(infeasible), which), 2500, "{which:?}");
        }
        for waits in [r#"{"type":"PodResizePending","reason":"Deferred"}"#, r#"{"type":"Ready"}"#, ""] {
            assert_eq!(cpu(&pod(waits), Which::Held), 64_500, "{waits}");
            assert_eq!(cpu(&pod(waits), Which::Asked), 64_500, "{waits}");
        }
    }

    #[test]
    fn what_is_not_said_is_assumed_in_scores_and_taken_from_limits() {
        let pod = r#"{"spec":{"containers":[{"resources":{"limits":{"memory":"1Gi"}}},{}]}}"#;
        assert_eq!(needs(pod, Which::Asked), [("memory".to_owned(), 1 << 30)]);
        assert_eq!(
            needs(pod, Which::Assumed),
            [("cpu".to_owned(), 200), ("memory".to_owned(), (1 << 30) + (200 << 20))]
        );
    }
}
