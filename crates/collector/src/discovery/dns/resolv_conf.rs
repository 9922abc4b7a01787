//! `/etc/resolv.conf`: which servers are asked, and what is tried behind short names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What the file says; other options mean nothing to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// Names with fewer dots are tried behind the search list first.
    pub(super) dots_min: usize,
}

impl ResolvConf {
    /// Reads the file; lines that mean nothing are left out. Without any server it is this machine.
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = Self { servers: Vec::new(), search: Vec::new(), dots_min: 1 };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // An address may name its network interface, of which the system takes care.
                    let address =
                        words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
                    conf.servers.extend(address.map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let dots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    conf.dots_min = dots.unwrap_or(conf.dots_min).min(15);
                }
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        conf
    }

    /// The full names that are tried for one, in order.
    pub(super) fn names(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let searched = self.search.iter().map(|domain| domain.trim_matches('.'));
        let searched = searched.filter(|domain| !domain.is_empty()).map(|domain| format!("{name}.{domain}"));
        let itself = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.dots_min {
            itself.chain(searched).collect()
        } else {
            searched.chain(itself).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_names_are_read() {
        let conf = ResolvConf::parse(
            "# made by hand\nnameserver 10.0.0.1 ; first\nnameserver fe80::1%eth0\nnameserver nonsense\n\
             domain a.example\nsearch b.example. c.example\noptions timeout:1 ndots:2\n",
        );
        let servers: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[fe80::1]:53"]);
        assert_eq!(conf.names("x.y"), ["x.y.b.example", "x.y.c.example", "x.y"]);
        assert_eq!(conf.names("x.y.z"), ["x.y.z", "x.y.z.b.example", "x.y.z.c.example"]);
        assert_eq!(conf.names("x."), ["x"]);
        assert_eq!(ResolvConf::parse("").servers[0].to_string(), "127.0.0.1:53");
    }
}
