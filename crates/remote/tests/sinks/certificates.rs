//! Certificates for servers on this machine, and for those who ask them.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};
use vedette_config::{ClientTls, Secret, SecretSource};

/// An authority, and what it has signed, as PEM.
pub struct Certificates {
    pub authority: String,
    server: Signed,
    client: Signed,
}

struct Signed {
    certificate: String,
    key: String,
}

impl Certificates {
    pub fn make() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // What bears the name of its issuer is taken for signed by itself.
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("signed");
        Self {
            authority: issuer.pem(),
            server: Signed::by(&issuer, ExtendedKeyUsagePurpose::ServerAuth),
            client: Signed::by(&issuer, ExtendedKeyUsagePurpose::ClientAuth),
        }
    }

    /// What the server is told: files of its key, its certificate and whom it trusts.
    pub fn write(&self, folder: &Path) {
        for (name, text) in [
            ("server.key", &self.server.key),
            ("server.crt", &self.server.certificate),
            ("ca.crt", &self.authority),
        ] {
            std::fs::write(folder.join(name), text).expect("writes");
        }
        let both = [&*self.server.key, &self.server.certificate].concat();
        std::fs::write(folder.join("server.pem"), both).expect("writes");
    }

    /// What a client is told that shows a certificate.
    pub fn client(&self) -> ClientTls {
        let identity = Some((inline(&self.client.certificate), inline(&self.client.key)));
        ClientTls { ca: Some(inline(&self.authority)), identity, ..ClientTls::default() }
    }
}

impl Signed {
    fn by(issuer: &CertifiedIssuer<'static, KeyPair>, purpose: ExtendedKeyUsagePurpose) -> Self {
        let key = key();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, issuer).expect("signed").pem();
        Self { certificate, key: key.serialize_pem() }
    }
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn inline(text: &str) -> SecretSource {
    SecretSource::Inline(Secret::new(text))
}
