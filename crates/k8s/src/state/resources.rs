//! Amounts of resources as kube-state-metrics tells them: by a name that is sanitized, with a unit, in whole bytes
//! and thousandths of cores. What is of no known kind is left out.

use std::borrow::Cow;

use crate::objects::Amounts;

/// Calls for each amount with its name, unit and value. `has_pods` where a count of pods is a resource, as it is of
/// nodes.
pub(super) fn each(amounts: &Amounts, has_pods: bool, mut row: impl FnMut(&str, &str, f64)) {
    for (name, amount) in amounts.iter() {
        if let Some(unit) = unit(name, has_pods) {
            row(&sanitized(name), unit, if unit == "core" { cores(amount) } else { whole(amount) });
        }
    }
}

/// Cores to a thousandth, rounded up; first to where an amount can be exact, as 0.07 × 1000 is more than 70.
pub(super) fn cores(amount: f64) -> f64 {
    let nano = (amount * 1e9).round();
    (nano / 1e6).ceil() / 1000.0
}

/// A whole number, rounded up.
pub(super) fn whole(amount: f64) -> f64 {
    amount.ceil()
}

fn unit(name: &str, has_pods: bool) -> Option<&'static str> {
    match name {
        "cpu" => Some("core"),
        "memory" | "storage" | "ephemeral-storage" => Some("byte"),
        "pods" if has_pods => Some("integer"),
        _ if name.starts_with("hugepages-") || name.starts_with("attachable-volumes-") => Some("byte"),
        _ if is_extended(name) => Some("integer"),
        _ => None,
    }
}

/// One that a vendor added, under a name of its own.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

fn sanitized(name: &str) -> Cow<'_, str> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(is_fine) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().map(|c| if is_fine(c) { c } else { '_' }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_rounded_up_to_thousandths() {
        for (amount, told) in
            [(0.07, 0.07), (0.1, 0.1), (1.5, 1.5), (0.0005, 0.001), (0.000_000_001, 0.001), (0.0, 0.0)]
        {
            assert_eq!(cores(amount), told, "{amount}");
        }
    }

    #[test]
    fn units_follow_the_kind_of_the_resource() {
        for (name, expected) in [
            ("cpu", Some("core")),
            ("memory", Some("byte")),
            ("ephemeral-storage", Some("byte")),
            ("hugepages-2Mi", Some("byte")),
            ("attachable-volumes-aws-ebs", Some("byte")),
            ("nvidia.com/gpu", Some("integer")),
            ("requests.nvidia.com/gpu", None),
            ("example.kubernetes.io/thing", None),
            ("thing", None),
            ("pods", None),
        ] {
            assert_eq!(unit(name, false), expected, "{name}");
        }
        assert_eq!(unit("pods", true), Some("integer"));
        assert_eq!(sanitized("nvidia.com/gpu-2Mi"), "nvidia_com_gpu_2Mi");
    }
}
