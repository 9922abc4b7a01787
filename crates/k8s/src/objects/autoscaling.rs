//! What changes how many pods there are.

use super::{
    Condition, Resource,
    lenient::{Amount, Named, objects, parts},
};

objects! {
    /// Makes more or fewer pods of a workload as it has more or less to do.
    HorizontalPodAutoscaler at Resource {
        group: "autoscaling", version: "v2", ..Resource::core("horizontalpodautoscalers")
    } => {
        spec: AutoscalerSpec,
        status: AutoscalerStatus,
    }
}

parts! {
    AutoscalerSpec {
        scale_target_ref: ScaleTarget,
        min_replicas: Option<i64>,
        max_replicas: i64,
        metrics: Box<[MetricSource]>,
        behavior: Behavior,
    }

    ScaleTarget {
        api_version: Box<str>,
        kind: Box<str>,
        name: Box<str>,
    }

    Behavior {
        scale_up: ScalingRules,
        scale_down: ScalingRules,
    }

    ScalingRules {
        tolerance: Amount,
    }

    AutoscalerStatus {
        current_replicas: i64,
        desired_replicas: i64,
        current_metrics: Box<[MetricSource]>,
        conditions: Box<[Condition]>,
    }

    /// A metric that is looked at. The part that `kind` names says which.
    MetricSource {
        #[serde(rename = "type")]
        kind: Box<str>,
        object: Option<Box<Metric>>,
        pods: Option<Box<Metric>>,
        resource: Option<Box<Metric>>,
        container_resource: Option<Box<Metric>>,
        external: Option<Box<Metric>>,
    }

    /// A metric and its value: that which is wished or, in a status, that which is.
    Metric {
        /// The name of a resource; other metrics have theirs in `metric`.
        name: Box<str>,
        container: Box<str>,
        metric: Named,
        #[serde(alias = "current")]
        target: MetricValue,
    }

    MetricValue {
        value: Amount,
        average_value: Amount,
        average_utilization: Option<i64>,
    }
}

impl MetricSource {
    /// What is said of the metric, if anything is.
    pub(crate) fn metric(&self) -> Option<&Metric> {
        match &*self.kind {
            "Object" => self.object.as_deref(),
            "Pods" => self.pods.as_deref(),
            "Resource" => self.resource.as_deref(),
            "ContainerResource" => self.container_resource.as_deref(),
            "External" => self.external.as_deref(),
            _ => None,
        }
    }
}
