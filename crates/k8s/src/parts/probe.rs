//! What the answers of an API server to the questions about its own health say of it and of its store.

use std::{fmt::Write as _, time::Duration};

use vedette_http_client::{Certificate, CertificateTrouble};
use vedette_sys::MonotonicTime;

use super::{
    causes::{
        CERTIFICATE_EXPIRED, CERTIFICATE_UNTRUSTED, CLIENT_REFUSED, CREDENTIALS, Cause, ETCD_CHECK,
        SERVER_BARRED, SERVER_CHECK, SERVER_ETCD, SERVER_OVERLOADED, SERVER_REFUSES, SERVER_SILENT,
        SERVER_SLOW, SERVER_STARTING, SERVER_STOPPING,
    },
    track::Seen,
};

/// A healthy server tells its health in milliseconds.
const SLOW: Duration = Duration::from_secs(1);
/// Of failing checks no more are named.
const NAMED_MAX: usize = 5;
/// No more is shown of one text.
const SHOWN_CHARS_MAX: usize = 200;

/// What came of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An answer: the code of HTTP and its body.
    Answer(u16, String),
    /// None, and why.
    Silence(String),
    /// None, as one of the two does not take the certificate of the other.
    Distrusted(CertificateTrouble, String),
    /// We know not how to ask: our own credentials cannot be had.
    Unasked(String),
}

/// What a certificate keeps from being told.
pub(super) fn distrusted(trouble: CertificateTrouble, text: &str) -> Seen {
    let cause = match trouble {
        CertificateTrouble::ServerOutdated => CERTIFICATE_EXPIRED,
        CertificateTrouble::ServerDistrusted => CERTIFICATE_UNTRUSTED,
        CertificateTrouble::ClientRefused => CLIENT_REFUSED,
    };
    Seen::wrong(cause, shown(text))
}

/// Both questions about the health of a server, asked at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// When they were asked.
    pub began: MonotonicTime,
    /// When the later answer was there, or given up.
    pub ended: MonotonicTime,
    /// What came of `/livez?verbose`.
    pub livez: Reply,
    /// What came of `/readyz?verbose`.
    pub readyz: Reply,
    /// The certificates between us and the server; `None` where they are not known just now.
    pub certificates: Option<Vec<Certificate>>,
}

/// One check of a verbose answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check<'a> {
    /// Its name, as `etcd`.
    pub name: &'a str,
    /// Whether it passes, or is left out.
    pub is_ok: bool,
    /// Its line without the mark.
    pub text: &'a str,
}

/// The checks of a verbose answer; lines that are none are passed over.
pub fn checks(body: &str) -> impl Iterator<Item = Check<'_>> {
    body.lines().filter_map(|line| {
        let (mark, text) = line.trim_end().split_at_checked(3)?;
        let is_ok = match mark {
            "[+]" => true,
            "[-]" => false,
            _ => return None,
        };
        Some(Check { name: text.split(' ').next().unwrap_or_default(), is_ok, text })
    })
}

impl Probe {
    /// What it says of the API server.
    pub fn server(&self) -> Seen {
        let mut failing = Vec::new();
        for (path, reply) in [("livez", &self.livez), ("readyz", &self.readyz)] {
            let (code, body) = match reply {
                Reply::Silence(text) => return Seen::wrong(SERVER_SILENT, shown(text)),
                Reply::Distrusted(trouble, text) => return distrusted(*trouble, text),
                Reply::Unasked(text) => return Seen::wrong(CREDENTIALS, shown(text)),
                Reply::Answer(code, body) => (*code, body),
            };
            match code {
                200..=299 => continue,
                401 => {
                    return Seen::wrong(CREDENTIALS, format!("/{path} answers 401: {}", first_line(body)));
                }
                403 => {
                    return Seen::wrong(
                        SERVER_BARRED,
                        format!("/{path} answers {code}: {}", first_line(body)),
                    );
                }
                429 => {
                    return Seen::wrong(
                        SERVER_OVERLOADED,
                        format!("/{path} answers 429: {}", first_line(body)),
                    );
                }
                _ => {}
            }
            let before = failing.len();
            failing.extend(checks(body).filter(|check| !check.is_ok).map(|check| (path, check)));
            if failing.len() == before {
                return Seen::wrong(SERVER_REFUSES, format!("/{path} answers {code}: {}", first_line(body)));
            }
        }
        if failing.is_empty() {
            let took = self.ended.since(self.began);
            return if took > SLOW {
                // How long it took is a figure of its own: each other text would be another series.
                Seen::wrong(SERVER_SLOW, format!("its health takes more than {} s", SLOW.as_secs()))
            } else {
                Seen::good()
            };
        }
        // The worst names the cause; a server that ends or begins says so by checks that nothing else fails.
        let rank = |check: &Check<'_>| kind(check.name).0;
        failing.sort_by_key(|(_, check)| rank(check));
        Seen::wrong(kind(failing[0].1.name).1, named(&failing))
    }

    /// Until when it tells how the server was: one that gives no answer was silent all the time.
    pub fn told_until(&self) -> MonotonicTime {
        let is_silent = |reply: &Reply| matches!(reply, Reply::Silence(_) | Reply::Distrusted(..));
        if is_silent(&self.livez) || is_silent(&self.readyz) { self.ended } else { self.began }
    }

    /// What it says of the store; nothing where the server told nothing.
    pub fn store(&self) -> Option<Seen> {
        let mut is_told = false;
        let mut failing = Vec::new();
        for (path, reply) in [("livez", &self.livez), ("readyz", &self.readyz)] {
            let Reply::Answer(_, body) = reply else { continue };
            for check in checks(body).filter(|check| check.name.starts_with("etcd")) {
                is_told = true;
                if !check.is_ok {
                    failing.push((path, check));
                }
            }
        }
        match (is_told, failing.is_empty()) {
            (false, _) => None,
            (true, true) => Some(Seen::good()),
            (true, false) => Some(Seen::wrong(ETCD_CHECK, named(&failing))),
        }
    }
}

/// What a check that fails means, the worst first.
fn kind(name: &str) -> (u8, &'static Cause) {
    match name {
        "shutdown" => (2, SERVER_STOPPING),
        _ if name.starts_with("etcd") => (1, SERVER_ETCD),
        "informer-sync" | "autoregister-completion" => (3, SERVER_STARTING),
        _ if name.starts_with("poststarthook/") => (3, SERVER_STARTING),
        _ => (0, SERVER_CHECK),
    }
}

pub(super) fn named(failing: &[(&str, Check<'_>)]) -> String {
    let mut text = String::new();
    for (path, check) in failing.iter().take(NAMED_MAX) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        let _ = write!(text, "/{path} [-]{}", shown(check.text));
    }
    if failing.len() > NAMED_MAX {
        let _ = write!(text, "; and {} more", failing.len() - NAMED_MAX);
    }
    text
}

pub(super) fn first_line(body: &str) -> String {
    shown(body.trim().lines().next().unwrap_or_default())
}

/// Foreign text as it may be told: in one line, and not long.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
