//! Whether a scrape job takes the state of clusters from this very program, so that it must not be stored twice.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use url::{Host, Url};
use vedette_collector::state::Elsewhere;
use vedette_model::{TargetHealth, TargetReader};

/// Where the page with the state of clusters is found.
pub struct OwnPage {
    /// Where the program listens.
    pub listen: SocketAddr,
    /// With what comes before all paths.
    pub path: String,
    /// What the machine is called.
    pub machine: String,
}

/// Below what comes before all paths.
pub const STATE_PATH: &str = "/metrics/kube-state";

impl OwnPage {
    /// Looks for a target that is this page. One that could not be scraped stores nothing.
    pub fn is_scraped(&self, targets: &dyn TargetReader) -> Elsewhere {
        let mut found = Elsewhere::No;
        for job in targets.pool_names() {
            let targets = targets.pools(Some(&job)).into_iter().flat_map(|pool| pool.targets);
            for target in targets.filter(|target| target.health != TargetHealth::Down) {
                let who = || format!("job {job:?} from {}", target.url);
                match self.is_own(&target.url) {
                    Some(true) => return Elsewhere::Yes(who()),
                    Some(false) => {}
                    None => found = Elsewhere::Perhaps(who()),
                }
            }
        }
        found
    }

    /// Whether it is this page; `None` for the same page of a machine whose name says nothing.
    fn is_own(&self, url: &str) -> Option<bool> {
        // Most targets are others' pages.
        if !url.contains(STATE_PATH) {
            return Some(false);
        }
        let Ok(url) = Url::parse(url) else { return Some(false) };
        if url.path() != self.path {
            return Some(false);
        }
        let has_port = url.port_or_known_default() == Some(self.listen.port());
        match url.host()? {
            Host::Ipv4(ip) => Some(has_port && self.is_local(ip.into())),
            Host::Ipv6(ip) => Some(has_port && self.is_local(ip.into())),
            Host::Domain("localhost") => Some(has_port),
            Host::Domain(name) if has_port && name.eq_ignore_ascii_case(&self.machine) => Some(true),
            // A service, or what stands before it, may lead here from any port.
            Host::Domain(_) => None,
        }
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        // Only addresses of this machine can be bound.
        ip == self.listen.ip() || ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vedette_model::{Labels, MetricMetadata, PoolState, TargetState};

    use super::*;

    /// Jobs with the addresses of their targets and how these are.
    struct Jobs(BTreeMap<&'static str, Vec<(&'static str, TargetHealth)>>);

    impl TargetReader for Jobs {
        fn pool_names(&self) -> Vec<String> {
            self.0.keys().map(|job| (*job).to_owned()).collect()
        }

        fn pools(&self, only: Option<&str>) -> Vec<PoolState> {
            let state = |(url, health): &(&str, TargetHealth)| TargetState {
                pool: String::new(),
                discovered: Labels::empty(),
                labels: Labels::empty(),
                url: (*url).to_owned(),
                interval: std::time::Duration::ZERO,
                timeout: std::time::Duration::ZERO,
                health: *health,
                last_error: String::new(),
                last_scrape_ns: 0,
                last_duration: std::time::Duration::ZERO,
            };
            let jobs = self.0.iter().filter(|(job, _)| only.is_none_or(|only| only == **job));
            jobs.map(|(job, targets)| PoolState {
                pool: (*job).to_owned(),
                targets: targets.iter().map(state).collect(),
                ..PoolState::default()
            })
            .collect()
        }

        fn target_metadata(&self, _: &mut dyn FnMut(&Labels, &MetricMetadata)) {}
    }

    fn own() -> OwnPage {
        OwnPage {
            listen: ([0, 0, 0, 0], 9090).into(),
            path: format!("/v{STATE_PATH}"),
            machine: "node-1".into(),
        }
    }

    #[test]
    fn the_own_page_is_told_from_those_of_others() {
        for (url, expected) in [
            ("http://127.0.0.1:9090/v/metrics/kube-state", Some(true)),
            ("https://localhost:9090/v/metrics/kube-state?x=1", Some(true)),
            ("http://[::1]:9090/v/metrics/kube-state", Some(true)),
            ("http://NODE-1:9090/v/metrics/kube-state", Some(true)),
            // Another program of this machine, another page, another machine (an address for examples).
            ("http://127.0.0.1:9091/v/metrics/kube-state", Some(false)),
            ("http://127.0.0.1/v/metrics/kube-state", Some(false)),
            ("http://127.0.0.1:9090/metrics/kube-state", Some(false)),
            ("http://127.0.0.1:9090/v/metrics", Some(false)),
            ("http://192.0.2.7:9090/v/metrics/kube-state", Some(false)),
            // A service may be anybody.
            ("http://vedette.monitoring.svc:9090/v/metrics/kube-state", None),
            ("http://vedette.example/v/metrics/kube-state", None),
            ("http://ksm.example:8080/metrics", Some(false)),
            ("/v/metrics/kube-state", Some(false)),
        ] {
            assert_eq!(own().is_own(url), expected, "{url}");
        }
    }

    #[test]
    fn a_job_counts_that_does_not_fail() {
        const OWN: &str = "http://127.0.0.1:9090/v/metrics/kube-state";
        const SERVICE: &str = "http://vedette/v/metrics/kube-state";
        let other = ("http://127.0.0.1:9100/metrics", TargetHealth::Up);
        let told = |targets: &[(&'static str, TargetHealth)]| {
            own().is_scraped(&Jobs([("a", vec![other]), ("b", targets.to_vec())].into()))
        };
        assert_eq!(told(&[]), Elsewhere::No);
        assert_eq!(told(&[(OWN, TargetHealth::Down), (SERVICE, TargetHealth::Down)]), Elsewhere::No);
        let yes = Elsewhere::Yes(format!("job \"b\" from {OWN}"));
        assert_eq!(told(&[(OWN, TargetHealth::Unknown)]), yes);
        assert_eq!(told(&[(SERVICE, TargetHealth::Up), (OWN, TargetHealth::Up)]), yes);
        let perhaps = Elsewhere::Perhaps(format!("job \"b\" from {SERVICE}"));
        assert_eq!(told(&[(SERVICE, TargetHealth::Up), other]), perhaps);
    }
}
