//! Horizontal pod autoscalers.

use super::{
    Family, Head, Rows, Stateful,
    common::{annotations, created, deleted, gauge, generation, labels},
    conditions,
};
use crate::objects::{HorizontalPodAutoscaler, MetricSource, Object};

impl Stateful for HorizontalPodAutoscaler {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_horizontalpodautoscaler_annotations"),
        labels("kube_horizontalpodautoscaler_labels"),
        gauge("kube_horizontalpodautoscaler_info", "What it scales.", |object: &Self, rows| {
            let target = &object.spec.scale_target_ref;
            rows.row(
                &[
                    ("scaletargetref_api_version", &target.api_version),
                    ("scaletargetref_kind", &target.kind),
                    ("scaletargetref_name", &target.name),
                ],
                1.0,
            );
        }),
        created("kube_horizontalpodautoscaler_created"),
        deleted("kube_horizontalpodautoscaler_deletion_timestamp"),
        generation("kube_horizontalpodautoscaler_metadata_generation"),
        gauge(
            "kube_horizontalpodautoscaler_spec_behavior_scale_down_tolerance",
            "By which part a metric may be below its target before there are fewer pods.",
            |object: &Self, rows| {
                if let Some(tolerance) = object.spec.behavior.scale_down.tolerance.0 {
                    rows.row(&[], tolerance);
                }
            },
        ),
        gauge(
            "kube_horizontalpodautoscaler_spec_behavior_scale_up_tolerance",
            "By which part a metric may be above its target before there are more pods.",
            |object: &Self, rows| {
                if let Some(tolerance) = object.spec.behavior.scale_up.tolerance.0 {
                    rows.row(&[], tolerance);
                }
            },
        ),
        gauge(
            "kube_horizontalpodautoscaler_spec_max_replicas",
            "How many pods there may be.",
            |object: &Self, rows| rows.number(Some(object.spec.max_replicas)),
        ),
        gauge(
            "kube_horizontalpodautoscaler_spec_min_replicas",
            "How many pods there must be.",
            |object: &Self, rows| rows.number(Some(object.spec.min_replicas.unwrap_or(1))),
        ),
        gauge(
            "kube_horizontalpodautoscaler_spec_target_metric",
            "What metrics are to be.",
            |object: &Self, rows| metrics(&object.spec.metrics, rows),
        ),
        gauge(
            "kube_horizontalpodautoscaler_status_condition",
            "What holds of the autoscaler.",
            |object: &Self, rows| conditions(&object.status.conditions, rows),
        ),
        gauge(
            "kube_horizontalpodautoscaler_status_current_replicas",
            "How many pods there are.",
            |object: &Self, rows| rows.number(Some(object.status.current_replicas)),
        ),
        gauge(
            "kube_horizontalpodautoscaler_status_desired_replicas",
            "How many pods it wishes.",
            |object: &Self, rows| rows.number(Some(object.status.desired_replicas)),
        ),
        gauge(
            "kube_horizontalpodautoscaler_status_target_metric",
            "What metrics are.",
            |object: &Self, rows| metrics(&object.status.current_metrics, rows),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("horizontalpodautoscaler", &self.meta().name);
    }
}

/// A row for each way in which a metric has a value.
fn metrics(sources: &[MetricSource], rows: &mut Rows<'_>) {
    for metric in sources.iter().filter_map(MetricSource::metric) {
        let name = if metric.metric.name.is_empty() { &metric.name } else { &metric.metric.name };
        let target = &metric.target;
        for (kind, value) in [
            ("value", target.value.0),
            ("utilization", target.average_utilization.map(|percent| percent as f64)),
            ("average", target.average_value.0),
        ] {
            if let Some(value) = value {
                let labels = [
                    ("metric_name", &**name),
                    ("metric_target_type", kind),
                    ("container", &*metric.container),
                ];
                rows.row(&labels, value);
            }
        }
    }
}
