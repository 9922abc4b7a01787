//! Whom one trusts and who one is, as rustls wants it; made anew when a file changes.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use vedette_config::{ClientTls, TlsVersion};
use vedette_sys::Clock;

use crate::{
    Error, ErrorKind,
    certificate::{self, Certificate},
    source::Source,
};

/// What servers showed last, also those that were refused.
type Shown = Arc<Mutex<Vec<Certificate>>>;

/// The way to a current configuration of rustls.
pub(crate) struct Tls {
    ca: Option<Source>,
    identity: Option<(Source, Source)>,
    config: ClientTls,
    has_http2: bool,
    made: Mutex<Option<Made>>,
    shown: Shown,
}

/// A configuration and what it was made of.
struct Made {
    of: [Option<Arc<[u8]>>; 3],
    config: Arc<ClientConfig>,
    /// Our own certificate, and those whom one trusts.
    certificates: Vec<Certificate>,
}

impl Tls {
    /// Nothing is read yet.
    pub(crate) fn new(config: &ClientTls, has_http2: bool, clock: &Arc<dyn Clock>) -> Self {
        let source = |pem| Source::new(pem, clock.clone());
        Self {
            ca: config.ca.as_ref().map(source),
            identity: config.identity.as_ref().map(|(cert, key)| (source(cert), source(key))),
            config: config.clone(),
            has_http2,
            made: Mutex::new(None),
            shown: Shown::default(),
        }
    }

    /// Whether anything is configured that may be wrong.
    pub(crate) fn is_configured(&self) -> bool {
        self.config != ClientTls::default()
    }

    /// The name that certificates must have, where it is not that of the URL.
    pub(crate) fn server_name(&self) -> &str {
        &self.config.server_name
    }

    /// The configuration of now. It is the same one as long as no file changes.
    pub(crate) fn current(&self) -> Result<Arc<ClientConfig>, Error> {
        let read = |source: &Option<Source>| source.as_ref().map(Source::bytes).transpose();
        let (cert, key) = match &self.identity {
            Some((cert, key)) => (Some(cert.bytes()?), Some(key.bytes()?)),
            None => (None, None),
        };
        let of = [read(&self.ca)?, cert, key];
        let mut made = self.made.lock();
        let same = |a: &Option<Arc<[u8]>>, b: &Option<Arc<[u8]>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if let Some(made) = &*made
            && made.of.iter().zip(&of).all(|(a, b)| same(a, b))
        {
            return Ok(made.config.clone());
        }
        let (config, certificates) = self.make(&of)?;
        let config = Arc::new(config);
        *made = Some(Made { of, config: config.clone(), certificates });
        Ok(config)
    }

    /// What the last server showed, what we show, and whom a list of our own trusts.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        let mut all = self.shown.lock().clone();
        if let Some(made) = &*self.made.lock() {
            all.extend(made.certificates.iter().cloned());
        }
        all
    }

    fn make(
        &self,
        [ca, cert, key]: &[Option<Arc<[u8]>>; 3],
    ) -> Result<(ClientConfig, Vec<Certificate>), Error> {
        let mut told = Vec::new();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions()?)
            .map_err(|e| Error::new(ErrorKind::Tls, format!("tls: {e}")))?;
        let verifier: Arc<dyn ServerCertVerifier> = if self.config.insecure_skip_verify {
            Arc::new(TrustAll { provider, shown: self.shown.clone() })
        } else {
            let own = match (ca, &self.ca) {
                (Some(pem), Some(source)) => Some(certificates(pem, source)?),
                _ => None,
            };
            told.extend(certificate::authorities(own.as_deref().unwrap_or_default()));
            Arc::new(Trust::new(own, provider, self.shown.clone())?)
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match (cert, key, &self.identity) {
            (Some(cert), Some(key), Some((cert_source, key_source))) => {
                let chain = certificates(cert, cert_source)?;
                told.extend(certificate::own(&chain));
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| {
                    let text = format!("there is no usable private key in {}: {e}", key_source.name());
                    Error::new(ErrorKind::Config, text)
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|e| {
                    let (cert, key) = (cert_source.name(), key_source.name());
                    let text = format!("unable to use specified client cert ({cert}) & key ({key}): {e}");
                    Error::new(ErrorKind::Config, text)
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        if self.has_http2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        config.alpn_protocols.push(b"http/1.1".to_vec());
        Ok((config, told))
    }

    /// Versions below 1.2 are not spoken: where they are allowed, later ones are used.
    fn versions(&self) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, Error> {
        let ClientTls { min_version, max_version, .. } = &self.config;
        let known =
            [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)];
        let versions: Vec<_> = known
            .into_iter()
            .filter(|(v, _)| {
                min_version.is_none_or(|min| *v >= min) && max_version.is_none_or(|max| *v <= max)
            })
            .map(|(_, version)| version)
            .collect();
        if versions.is_empty() {
            let text = "tls_config leaves no version of TLS; max_version must be at least TLS12 and not below \
                        min_version";
            return Err(Error::new(ErrorKind::Config, text));
        }
        Ok(versions)
    }
}

fn certificates(pem: &[u8], source: &Source) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => {
            let text = format!("there is no certificate in {}; it must be PEM", source.name());
            Err(Error::new(ErrorKind::Config, text))
        }
        Err(e) => {
            let text = format!("unable to read the certificates in {}: {e}", source.name());
            Err(Error::new(ErrorKind::Config, text))
        }
    }
}

/// The machine's list is read once; programs are started anew after it has changed.
fn machine_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // What cannot be read is missed by the handshake, which says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// Trusts those whom a list names, and what the list itself holds.
///
/// A certificate that was made by `openssl req -x509` says that it is an authority, and is often
/// both the server's own and the list of whom to trust. Others accept that; so it is done here,
/// for byte-wise equal certificates with a fitting name and time.
#[derive(Debug)]
struct Trust {
    inner: Option<Arc<WebPkiServerVerifier>>,
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    shown: Shown,
}

impl Trust {
    fn new(
        own: Option<Vec<CertificateDer<'static>>>,
        provider: Arc<CryptoProvider>,
        shown: Shown,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        let roots = match &own {
            Some(own) => {
                roots.add_parsable_certificates(own.iter().cloned());
                &roots
            }
            None => machine_roots(),
        };
        // Without anybody to trust there is no verifier; every handshake is refused then.
        let inner = if roots.is_empty() {
            None
        } else {
            let made = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone());
            Some(made.build().map_err(|e| Error::new(ErrorKind::Config, e.to_string()))?)
        };
        Ok(Self { inner, own: own.unwrap_or_default(), provider, shown })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.shown.lock() = certificate::shown(end_entity, intermediates);
        let Some(inner) = &self.inner else { return Err(CertificateError::UnknownIssuer.into()) };
        let verified = inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The time is looked at before the role.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
                if matches!(
                    other.0.downcast_ref::<webpki::Error>(),
                    Some(webpki::Error::CaUsedAsEndEntity)
                ) && self.own.iter().any(|own| own == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What `insecure_skip_verify` asks for. That the server has the key of its certificate is still
/// checked.
#[derive(Debug)]
struct TrustAll {
    provider: Arc<CryptoProvider>,
    shown: Shown,
}

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.shown.lock() = certificate::shown(end_entity, intermediates);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
