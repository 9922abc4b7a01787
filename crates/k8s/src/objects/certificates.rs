//! Asks for certificates.

use super::{
    Condition, Resource,
    lenient::{Base64Length, objects, parts},
};

objects! {
    /// Asks for a certificate.
    CertificateSigningRequest at Resource {
        group: "certificates.k8s.io", is_namespaced: false, ..Resource::core("certificatesigningrequests")
    } => {
        spec: SigningSpec,
        status: SigningStatus,
    }
}

parts! {
    SigningSpec {
        signer_name: Box<str>,
    }

    SigningStatus {
        certificate: Base64Length,
        conditions: Box<[Condition]>,
    }
}
