//! Encryption as `tls_server_config` has it, as far as rustls can: what it cannot is refused by name.

use std::sync::Arc;

use rustls::{
    CipherSuite, NamedGroup, ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, SupportedKxGroup, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;
use vedette_config::{TlsVersion, web::ServerTls};

use super::{WebSettings, client_cert};

/// What encrypts connections.
pub fn acceptor(tls: &ServerTls, settings: &WebSettings, http2: bool) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(&tls.cipher_suites)?,
        kx_groups: curves(&tls.curve_preferences)?,
        ..ring::default_provider()
    });
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&versions(tls)?).map_err(|_| {
        "tls_server_config.cipher_suites: none of them goes with the versions; add one of \
         TLS_ECDHE_{ECDSA,RSA}_WITH_AES_{128,256}_GCM"
            .to_owned()
    })?;
    let builder = match client_cert::verifier(tls, settings.client_ca.as_deref(), &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_slice_iter(&settings.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("tls_server_config.cert_file: it is no PEM file: {e:?}"))?;
    if chain.is_empty() {
        return Err("tls_server_config.cert_file: there is no certificate in it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&settings.key)
        .map_err(|_| "tls_server_config.key_file: there is no private key in it".to_owned())?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|e| format!("tls_server_config: certificate and key cannot be used together: {e}"))?;
    config.alpn_protocols = if http2 { vec![b"h2".to_vec()] } else { Vec::new() };
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn versions(tls: &ServerTls) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, String> {
    for (key, version) in [("min_version", tls.min_version), ("max_version", tls.max_version)] {
        if version < TlsVersion::Tls12 {
            return Err(format!(
                "tls_server_config.{key}: TLS 1.0 and 1.1 are not spoken here, as they are not safe; write TLS12"
            ));
        }
    }
    let spoken = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    let within = |(version, _): &(TlsVersion, _)| (tls.min_version..=tls.max_version).contains(version);
    Ok(spoken.into_iter().filter(within).map(|(_, version)| version).collect())
}

/// Those of TLS 1.2 as they are named; those of 1.3 always, as in Go.
fn cipher_suites(named: &[String]) -> Result<Vec<SupportedCipherSuite>, String> {
    let all = ring::default_provider().cipher_suites;
    if named.is_empty() {
        return Ok(all);
    }
    let mut wanted = Vec::new();
    for name in named {
        let Some((_, suite)) = SUITES.iter().find(|(known, _)| known == name) else {
            return Err(format!(
                "tls_server_config.cipher_suites: {name} is not offered here, as it authenticates what it encrypts \
                 too late; leave it out, those that are offered are {}",
                SUITES.map(|(name, _)| name).join(", ")
            ));
        };
        wanted.push(*suite);
    }
    let taken = |suite: &SupportedCipherSuite| suite.tls13().is_some() || wanted.contains(&suite.suite());
    Ok(all.into_iter().filter(taken).collect())
}

const SUITES: [(&str, CipherSuite); 9] = [
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

fn curves(named: &[String]) -> Result<Vec<&'static dyn SupportedKxGroup>, String> {
    let all = ring::default_provider().kx_groups;
    if named.is_empty() {
        return Ok(all);
    }
    let find = |name: &String| {
        let group = match name.as_str() {
            "X25519" => Some(NamedGroup::X25519),
            "CurveP256" => Some(NamedGroup::secp256r1),
            "CurveP384" => Some(NamedGroup::secp384r1),
            _ => None,
        };
        let found = group.and_then(|group| all.iter().copied().find(|known| known.name() == group));
        found.ok_or_else(|| {
            format!(
                "tls_server_config.curve_preferences: {name} is not offered here; use X25519, CurveP256 or CurveP384"
            )
        })
    };
    named.iter().map(find).collect()
}
