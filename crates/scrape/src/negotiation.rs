//! What a target is asked for.

use vedette_config::prometheus::{EscapingScheme, ScrapeJob, ScrapeProtocol};

/// Headers of a scrape, beside those of the HTTP client.
pub fn request_headers(job: &ScrapeJob, timeout: std::time::Duration) -> [(&'static str, String); 3] {
    // What reads both is understood by servers that know gzip only.
    let encoding = if job.enable_compression { "zstd,gzip;q=0.9" } else { "identity" };
    [
        ("Accept", accept(&job.scrape_protocols, job.escaping)),
        ("Accept-Encoding", encoding.to_owned()),
        ("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_secs_f64().to_string()),
    ]
}

/// The formats in their order, each with less weight than the one before, and anything at last.
fn accept(protocols: &[ScrapeProtocol], escaping: EscapingScheme) -> String {
    // No list is longer than that of all formats.
    let weights = (1..=6).rev();
    let mut accept = String::new();
    let mut last = 6;
    for (protocol, weight) in protocols.iter().zip(weights) {
        accept.push_str(media_type(*protocol));
        // Older formats know nothing of names that need it.
        if matches!(protocol, ScrapeProtocol::PrometheusText100 | ScrapeProtocol::OpenMetricsText100) {
            accept.push_str(";escaping=");
            accept.push_str(escaping.as_str());
        }
        accept.push_str(&format!(";q=0.{weight},"));
        last = weight - 1;
    }
    accept.push_str(&format!("*/*;q=0.{last}"));
    accept
}

fn media_type(protocol: ScrapeProtocol) -> &'static str {
    match protocol {
        ScrapeProtocol::PrometheusProto => {
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        }
        ScrapeProtocol::PrometheusText004 => "text/plain;version=0.0.4",
        ScrapeProtocol::PrometheusText100 => "text/plain;version=1.0.0",
        ScrapeProtocol::OpenMetricsText001 => "application/openmetrics-text;version=0.0.1",
        ScrapeProtocol::OpenMetricsText100 => "application/openmetrics-text;version=1.0.0",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pool::tests::job;

    #[test]
    fn formats_are_asked_for_in_order() {
        let headers = request_headers(&job("enable_compression: false"), Duration::from_millis(2500));
        assert_eq!(
            headers[0].1,
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        assert_eq!((headers[1].1.as_str(), headers[2].1.as_str()), ("identity", "2.5"));
        let native = job("scrape_native_histograms: true\n  metric_name_escaping_scheme: dots");
        let headers = request_headers(&native, Duration::from_secs(10));
        assert!(headers[0].1.starts_with("application/vnd.google.protobuf;"), "{headers:?}");
        assert!(headers[0].1.contains("version=1.0.0;escaping=dots;q=0.5"), "{headers:?}");
        assert!(headers[0].1.ends_with("text/plain;version=0.0.4;q=0.2,*/*;q=0.1"), "{headers:?}");
        assert_eq!((headers[1].1.as_str(), headers[2].1.as_str()), ("zstd,gzip;q=0.9", "10"));
    }
}
