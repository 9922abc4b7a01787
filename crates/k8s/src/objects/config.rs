//! What pods are told and what they must keep to themselves. Neither is read here, only that it is there.

use super::{Resource, lenient::objects};

objects! {
    /// Settings of pods, without the settings.
    ConfigMap at Resource { is_metadata_only: true, ..Resource::core("configmaps") } => {}

    /// What is secret, without the secret: its data goes by unread, as no field takes it.
    Secret at Resource::core("secrets") => {
        #[serde(rename = "type")]
        kind: Box<str>,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Object, *};

    #[test]
    fn nothing_of_a_secret_is_kept() {
        let applied = json!({"data": {"key": "aGlkZGVu"}}).to_string();
        let secret = json!({"type": "Opaque", "data": {"key": "aGlkZGVu"}, "stringData": {"key": "hidden"},
            "metadata": {"name": "s", "annotations": {"a": "1", "z": "2",
                "kubectl.kubernetes.io/last-applied-configuration": applied}}});
        let secret: Secret = serde_json::from_value(secret).expect("sound");
        let annotations: Vec<_> = secret.meta().annotations.iter().collect();
        assert_eq!((&*secret.kind, annotations), ("Opaque", vec![("a", "1"), ("z", "2")]));
        let kept = format!("{secret:?}");
        assert!(!kept.contains("aGlkZGVu") && !kept.contains("hidden"), "{kept}");
    }
}
