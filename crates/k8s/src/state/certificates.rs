//! Asks for certificates.

use super::{
    Family, Head, Stateful,
    common::{annotations, created, gauge, labels},
};
use crate::objects::{CertificateSigningRequest, Object};

impl Stateful for CertificateSigningRequest {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_certificatesigningrequest_annotations"),
        labels("kube_certificatesigningrequest_labels"),
        gauge(
            "kube_certificatesigningrequest_cert_length",
            "How many bytes the certificate has; 0 before there is one.",
            |object: &Self, rows| rows.row(&[], object.status.certificate.0 as f64),
        ),
        gauge(
            "kube_certificatesigningrequest_condition",
            "How often it was approved, denied and failed.",
            |object: &Self, rows| {
                for (kind, label) in [("Approved", "approved"), ("Denied", "denied"), ("Failed", "failed")] {
                    let conditions = object.status.conditions.iter();
                    let count = conditions.filter(|condition| &*condition.kind == kind).count();
                    rows.row(&[("condition", label)], count as f64);
                }
            },
        ),
        created("kube_certificatesigningrequest_created"),
    ];

    fn head(&self, head: &mut Head) {
        head.label("certificatesigningrequest", &self.meta().name)
            .label("signer_name", &self.spec.signer_name);
    }
}
