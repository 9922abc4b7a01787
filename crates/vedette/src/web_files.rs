//! The `web.yml` of the web server and the files that it names, read whenever the server looks.

use std::path::{Path, PathBuf};

use vedette_api::{WebSettings, WebSource};
use vedette_config::{SecretSource, web};

/// Certificates, keys and settings are small; a larger file is a mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A `web.yml`.
pub struct WebFiles(pub PathBuf);

impl WebSource for WebFiles {
    fn read(&self) -> Result<WebSettings, String> {
        let text = String::from_utf8(read(&self.0)?)
            .map_err(|_| format!("{} is not UTF-8; name the right file", self.0.display()))?;
        let config = web::parse(&self.0, &text).map_err(|error| {
            // The cause of an error is not part of its text.
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
            causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        })?;
        let (certificate, key, client_ca) = match &config.tls {
            None => (Vec::new(), Vec::new(), None),
            Some(tls) => {
                (pem(&tls.certificate)?, pem(&tls.key)?, tls.client_ca.as_ref().map(pem).transpose()?)
            }
        };
        Ok(WebSettings { config, certificate, key, client_ca })
    }
}

fn pem(source: &SecretSource) -> Result<Vec<u8>, String> {
    match source {
        SecretSource::Inline(text) => Ok(text.expose().as_bytes().to_vec()),
        SecretSource::File(path) => read(path),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let refuse = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(refuse)?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("{} has {length} bytes; name the right file", path.display()));
    }
    std::fs::read(path).map_err(refuse)
}
