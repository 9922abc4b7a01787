//! What can go wrong with a request, in the words that users of Prometheus know.

use std::{fmt::Write as _, io};

/// A request that failed. The text is one line and names the URL without a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    kind: ErrorKind,
    text: String,
    certificate: Option<CertificateTrouble>,
}

/// Which certificate keeps two from speaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateTrouble {
    /// One that the server showed has ended, or does not hold yet.
    ServerOutdated,
    /// One that the server showed is not trusted, or is for other names.
    ServerDistrusted,
    /// The server refuses ours, or wants one and got none.
    ClientRefused,
}

/// What failed, for whoever counts failures or tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A file that the configuration names, or a value in it, cannot be used.
    Config,
    /// No connection to the server.
    Connect,
    /// A connection, but no understanding about its encryption.
    Tls,
    /// The proxy refuses.
    Proxy,
    /// There is no token to be had.
    Auth,
    /// The deadline passed.
    Timeout,
    /// The body is longer than was allowed.
    BodyTooLarge,
    /// The server speaks something else than HTTP, or ended in the middle of it.
    Protocol,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), certificate: None }
    }

    /// What rustls says of the encryption with the server of this name, which may be empty.
    pub(crate) fn tls(error: &rustls::Error, name: &str) -> Self {
        Self { kind: ErrorKind::Tls, text: tls_text(error, name), certificate: trouble(error) }
    }

    /// Which certificate it failed by, if that is why.
    pub fn certificate(&self) -> Option<CertificateTrouble> {
        self.certificate
    }

    /// What failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Puts what was tried before what failed.
    pub(crate) fn within(mut self, what: &str) -> Self {
        self.text.insert_str(0, what);
        self
    }
}

/// The text of a failed system call without its number.
pub(crate) fn io_text(error: &io::Error) -> String {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        io::ErrorKind::TimedOut => "i/o timeout",
        io::ErrorKind::HostUnreachable => "connect: no route to host",
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable",
        io::ErrorKind::BrokenPipe => "broken pipe",
        io::ErrorKind::UnexpectedEof => "EOF",
        io::ErrorKind::NotFound => "no such file or directory",
        io::ErrorKind::PermissionDenied => "permission denied",
        _ => {
            let text = error.to_string();
            return text.split(" (os error").next().unwrap_or(&text).to_owned();
        }
    };
    known.to_owned()
}

fn trouble(error: &rustls::Error) -> Option<CertificateTrouble> {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error as Tls};
    Some(match error {
        Tls::InvalidCertificate(
            Certificate::Expired
            | Certificate::NotValidYet
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYetContext { .. },
        ) => CertificateTrouble::ServerOutdated,
        Tls::InvalidCertificate(_) => CertificateTrouble::ServerDistrusted,
        Tls::AlertReceived(
            Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::NoCertificate
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate,
        ) => CertificateTrouble::ClientRefused,
        _ => return None,
    })
}

/// What rustls says, in the words of Go's library where there are any.
fn tls_text(error: &rustls::Error, name: &str) -> String {
    use rustls::{AlertDescription, CertificateError as Certificate, Error as Tls};
    const VERIFY: &str = "tls: failed to verify certificate: x509:";
    match error {
        Tls::InvalidCertificate(Certificate::UnknownIssuer) => {
            format!("{VERIFY} certificate signed by unknown authority")
        }
        Tls::InvalidCertificate(Certificate::BadSignature) => {
            format!("{VERIFY} certificate signed by unknown authority (its signature does not fit)")
        }
        Tls::InvalidCertificate(
            Certificate::Expired
            | Certificate::NotValidYet
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYetContext { .. },
        ) => format!("{VERIFY} certificate has expired or is not yet valid"),
        Tls::InvalidCertificate(Certificate::NotValidForNameContext { presented, .. }) => {
            let mut text = format!("{VERIFY} certificate is valid for ");
            if presented.is_empty() {
                text.push_str("no names");
            }
            for (i, name) in presented.iter().take(8).enumerate() {
                let _ = write!(text, "{}{name}", if i == 0 { "" } else { ", " });
            }
            let _ = write!(text, ", not {name}");
            text
        }
        Tls::InvalidCertificate(other) => format!("{VERIFY} {other}"),
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            "remote error: tls: certificate required".to_owned()
        }
        Tls::AlertReceived(AlertDescription::BadCertificate) => {
            "remote error: tls: bad certificate".to_owned()
        }
        Tls::AlertReceived(AlertDescription::CertificateExpired) => {
            "remote error: tls: expired certificate".to_owned()
        }
        Tls::AlertReceived(AlertDescription::UnknownCA) => {
            "remote error: tls: unknown certificate authority".to_owned()
        }
        Tls::AlertReceived(alert) => format!("remote error: tls: {alert:?}"),
        Tls::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        other => format!("tls: {other}"),
    }
}
