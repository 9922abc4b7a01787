//! A list of targets that a web server gives. The meta label `__meta_url` names the server.

use vedette_config::{discovery::HttpDiscovery, targets};
use vedette_model::TargetGroup;

/// The largest list that is taken.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListAnswer {
    /// The status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// The targets of one `http_sd_configs` entry.
#[derive(Debug)]
pub struct HttpTargets {
    config: HttpDiscovery,
    groups: Vec<TargetGroup>,
}

impl HttpTargets {
    /// Nothing is asked yet.
    pub fn new(config: HttpDiscovery) -> Self {
        Self { config, groups: Vec::new() }
    }

    /// What is asked, and how.
    pub fn config(&self) -> &HttpDiscovery {
        &self.config
    }

    /// Headers of the request beside those of the client.
    pub fn headers(&self) -> [(&'static str, String); 2] {
        let seconds = self.config.refresh_interval.as_secs_f64();
        [
            ("Accept", "application/json".to_owned()),
            ("X-Prometheus-Refresh-Interval-Seconds", seconds.to_string()),
        ]
    }

    /// Takes an answer. One that is no list of targets changes nothing.
    pub fn take(&mut self, answer: &ListAnswer) -> Result<(), String> {
        if answer.status != 200 {
            return Err(format!("the server answered with status {}", answer.status));
        }
        if !is_json(&answer.content_type) {
            let found = &answer.content_type;
            return Err(format!("the content type is {found:?}; it must be application/json"));
        }
        if answer.body.len() > BODY_BYTES_MAX {
            return Err(format!("the answer has more than {BODY_BYTES_MAX} bytes"));
        }
        let url = self.shown_url();
        let text =
            std::str::from_utf8(&answer.body).map_err(|_| "the answer is not valid UTF-8".to_owned())?;
        let mut groups = targets::parse_json(&url, text).map_err(|error| error.to_string())?;
        for (i, group) in groups.iter_mut().enumerate() {
            group.source = format!("{url}:{i}");
            group.labels = group.labels.to_builder().set("__meta_url", &url).build();
        }
        self.groups = groups;
        Ok(())
    }

    /// The groups of the last good answer.
    pub fn groups(&self) -> &[TargetGroup] {
        &self.groups
    }

    /// The URL without its password, which is nobody's label.
    fn shown_url(&self) -> String {
        let mut url = self.config.url.clone();
        if url.password().is_some() {
            // It has a host, or it had no password.
            let _ = url.set_password(Some("xxxxx"));
        }
        url.to_string()
    }
}

/// `application/json`, perhaps with the one charset that JSON has.
fn is_json(content_type: &str) -> bool {
    let lower = content_type.trim().to_ascii_lowercase();
    let (media_type, rest) = lower.split_once(';').unwrap_or((&lower, ""));
    media_type == "application/json" && matches!(rest.trim(), "" | "charset=utf-8" | "charset=\"utf-8\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use url::Url;
    use vedette_config::HttpClient;

    use super::*;

    #[test]
    fn the_last_good_answer_stays() {
        let mut targets = HttpTargets::new(HttpDiscovery {
            url: Url::parse("http://u:hush@h/list").expect("a URL"),
            refresh_interval: Duration::from_millis(1500),
            client: HttpClient::default(),
        });
        assert_eq!(targets.headers()[1].1, "1.5");
        let answer = |status, content_type: &str, body: &str| ListAnswer {
            status,
            content_type: content_type.into(),
            body: body.into(),
        };
        let good =
            answer(200, "Application/JSON; charset=UTF-8", r#"[{"targets": ["a:1"], "labels": {"x": "y"}}]"#);
        targets.take(&good).expect("sound");
        let before = targets.groups().to_vec();
        let label = before[0].labels.get("__meta_url").expect("there");
        assert!(label.contains("@h/list") && !label.contains("hush"), "{label}");
        for (bad, word) in [
            (answer(500, "application/json", "[]"), "500"),
            (answer(200, "text/html", "[]"), "text/html"),
            (answer(200, "application/json", "[null]"), "null"),
            (answer(200, "application/json", "[{]"), ":1:"),
            (ListAnswer { body: vec![0xff], ..good.clone() }, "UTF-8"),
        ] {
            let error = targets.take(&bad).expect_err(word);
            assert!(error.contains(word) && !error.contains("hush"), "{error}");
            assert_eq!(targets.groups(), before);
        }
        targets.take(&answer(200, "application/json", "[]")).expect("an empty list is a list");
        assert!(targets.groups().is_empty());
    }
}
