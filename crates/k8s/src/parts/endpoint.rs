//! Health endpoints of parts that are asked themselves, because the configuration names them.

use url::Url;
use vedette_config::HttpClient;
use vedette_http_client::CertificateTrouble;

use super::{
    causes::{
        CERTIFICATE_OUTLIVED, CLIENT_REFUSED, ENDPOINT_BARRED, ENDPOINT_SILENT, ENDPOINT_UNHEALTHY,
        ENDPOINT_UNTRUSTED,
    },
    probe::{Reply, checks, first_line, named, shown},
    track::Seen,
};

/// The parts whose endpoints may be named. Kubelets are not among them: theirs is reached by all only through the
/// API server, with a right that also lets one run programs in every pod, and their leases tell as much.
pub const ENDPOINT_PARTS: [&str; 5] =
    ["scheduler", "controller-manager", "cloud-controller-manager", "kube-proxy", "coredns"];

/// Endpoints of one part that are asked in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Which part: one of [`ENDPOINT_PARTS`].
    pub part: &'static str,
    /// Where they are asked; each is an instance of the part.
    pub urls: Vec<Url>,
    /// How they are asked.
    pub client: HttpClient,
    /// Whether they are shown the token that the API server is shown.
    pub use_cluster_token: bool,
}

/// What is asked where the configuration names no path.
pub(super) fn asked(url: &Url) -> String {
    let mut url = url.clone();
    if matches!(url.path(), "" | "/") {
        url.set_path("/healthz");
    }
    // A server that does not know what that is answers as without it.
    if url.query().is_none() {
        url.set_query(Some("verbose"));
    }
    url.into()
}

/// The instance that an endpoint is told as.
pub(super) fn instance(url: &Url) -> Box<str> {
    url.authority().rsplit('@').next().unwrap_or_default().into()
}

/// What an answer says of the part. That a certificate has ended hides its health, but does not end its work.
pub(super) fn seen(reply: &Reply) -> Seen {
    let (code, body) = match reply {
        Reply::Silence(text) => return Seen::wrong(ENDPOINT_SILENT, shown(text)),
        Reply::Unasked(text) => return Seen::wrong(ENDPOINT_BARRED, shown(text)),
        Reply::Distrusted(trouble, text) => {
            let cause = match trouble {
                CertificateTrouble::ServerOutdated => CERTIFICATE_OUTLIVED,
                CertificateTrouble::ServerDistrusted => ENDPOINT_UNTRUSTED,
                CertificateTrouble::ClientRefused => CLIENT_REFUSED,
            };
            return Seen::wrong(cause, shown(text));
        }
        Reply::Answer(code, body) => (*code, body),
    };
    let told = || format!("it answers {code}: {}", first_line(body));
    match code {
        200..=299 => Seen::good(),
        401 | 403 => Seen::wrong(ENDPOINT_BARRED, told()),
        _ => {
            let failing: Vec<_> =
                checks(body).filter(|check| !check.is_ok).map(|check| ("healthz", check)).collect();
            Seen::wrong(ENDPOINT_UNHEALTHY, if failing.is_empty() { told() } else { named(&failing) })
        }
    }
}

#[cfg(test)]
mod tests {
    use vedette_model::cluster::PartState;
    use vedette_sys::MonotonicTime;

    use super::*;
    use crate::parts::track::Track;

    #[test]
    fn answers_are_told_apart() {
        let answer = |code, body: &str| Reply::Answer(code, body.to_owned());
        let distrusted = |trouble| Reply::Distrusted(trouble, "x509".to_owned());
        // As kube-scheduler 1.31 and kube-proxy write them.
        let verbose = "[+]ping ok\n[-]leaderElection failed: reason withheld\nhealthz check failed\n";
        for (reply, word, evidence) in [
            (answer(200, "ok"), "", ""),
            (
                answer(500, verbose),
                "endpoint_unhealthy",
                "/healthz [-]leaderElection failed: reason withheld",
            ),
            (
                answer(503, "{\"lastUpdated\": \"x\"}\n"),
                "endpoint_unhealthy",
                "it answers 503: {\"lastUpdated\": \"x\"}",
            ),
            (answer(404, "404 page not found"), "endpoint_unhealthy", "it answers 404: 404 page not found"),
            (answer(401, "Unauthorized"), "endpoint_barred", "it answers 401: Unauthorized"),
            (answer(403, "forbidden\u{7}"), "endpoint_barred", "it answers 403: forbidden "),
            (Reply::Silence("refused".into()), "endpoint_silent", "refused"),
            (Reply::Unasked("no token".into()), "endpoint_barred", "no token"),
            (distrusted(CertificateTrouble::ServerOutdated), "certificate_outlived", "x509"),
            (distrusted(CertificateTrouble::ServerDistrusted), "endpoint_untrusted", "x509"),
            (distrusted(CertificateTrouble::ClientRefused), "client_certificate_refused", "x509"),
        ] {
            let seen = seen(&reply);
            assert_eq!((seen.cause.map_or("", |cause| cause.word), &*seen.evidence), (word, evidence));
        }
    }

    #[test]
    fn what_is_silent_has_failed_within_five_seconds_and_an_ended_certificate_is_no_failure() {
        let state = |reply: &Reply| {
            let (mut track, mut early) = (Track::new(0), PartState::Unknown);
            for second in 0..30_u64 {
                let at = MonotonicTime((second + 1) * 1_000_000_000);
                let reply = if second < 10 { &Reply::Answer(200, String::new()) } else { reply };
                track.take(seen(reply), at, at, 0);
                if second == 14 {
                    early = track.state().0;
                }
            }
            (early, track.state().0)
        };
        assert_eq!(state(&Reply::Silence("refused".into())), (PartState::Failed, PartState::Failed));
        let ended = Reply::Distrusted(CertificateTrouble::ServerOutdated, "x509".into());
        assert_eq!(state(&ended), (PartState::Healthy, PartState::Degraded));
        let foreign = Reply::Distrusted(CertificateTrouble::ServerDistrusted, "x509".into());
        assert_eq!(state(&foreign), (PartState::Unknown, PartState::Unknown));
    }

    #[test]
    fn a_path_that_is_named_is_asked() {
        for (url, expected) in [
            ("https://10.0.0.1:10259", "https://10.0.0.1:10259/healthz?verbose"),
            ("http://10.0.0.1:10256/livez", "http://10.0.0.1:10256/livez?verbose"),
            ("https://[fd00::1]:10257/readyz?exclude=x", "https://[fd00::1]:10257/readyz?exclude=x"),
        ] {
            assert_eq!(asked(&url.parse().expect("a URL")), expected);
        }
        let url: Url = "https://me:secret@[fd00::1]:10257/".parse().expect("a URL");
        assert_eq!(&*instance(&url), "[fd00::1]:10257");
    }
}
