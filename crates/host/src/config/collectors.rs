//! Which collectors of node_exporter run, and what they look at.

use std::path::PathBuf;

use crate::{Error, node};

/// Options of the machine's collectors, as node_exporter has them. A pattern may hold `*` for any
/// text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collectors {
    /// Collectors that run although node_exporter has them off by default.
    pub on: Vec<String>,
    /// Collectors that do not run although node_exporter has them on by default.
    pub off: Vec<String>,
    /// Folder of udev's database. By default `/run/udev/data` below the root.
    pub udev_data: Option<PathBuf>,
    /// Folder whose files `*.prom` are reported as they stand.
    pub textfile_folder: Option<PathBuf>,
    /// Reports `node_cpu_info` of each processor.
    pub cpu_info: bool,
    /// Patterns of the processor's flags to report.
    pub cpu_flags: Vec<String>,
    /// Patterns of the processor's bugs to report.
    pub cpu_bugs: Vec<String>,
    /// Reports counts of soft interrupts with `stat`.
    pub softirqs: bool,
    /// Patterns of interfaces that `arp` leaves out.
    pub arp_excluded: Vec<String>,
    /// Patterns of interfaces that `netdev` leaves out.
    pub netdev_excluded: Vec<String>,
    /// Patterns of block devices that `diskstats` leaves out beside those that it always does.
    pub diskstats_excluded: Vec<String>,
    /// Patterns of interfaces that `netclass` leaves out.
    pub netclass_excluded: Vec<String>,
    /// Leaves the speed of a link out that its driver does not know, instead of reporting the -1
    /// that the kernel has for it.
    pub netclass_unknown_speed_excluded: bool,
    /// Patterns of the chips that `hwmon` reports; all when empty.
    pub hwmon_chips: Vec<String>,
    /// Reports what bcache must walk all its buckets for.
    pub bcache_priority_stats: bool,
    /// What `sysctl` reports: names such as `kernel.threads-max`, or `fs.file-nr:total,current,max`
    /// to name the numbers of one that holds several.
    pub sysctl: Vec<String>,
    /// What `sysctl` reports as text.
    pub sysctl_info: Vec<String>,
}

impl Collectors {
    /// Collectors that run unless they are named in `off`.
    pub fn on_by_default() -> &'static [&'static str] {
        &node::collectors::ON_BY_DEFAULT
    }

    /// Collectors that run only when they are named in `on`.
    pub fn off_by_default() -> &'static [&'static str] {
        &node::collectors::OFF_BY_DEFAULT
    }

    /// Whether a collector runs.
    pub(crate) fn runs(&self, name: &str, by_default: bool) -> bool {
        let named = |list: &[String]| list.iter().any(|n| n == name);
        if by_default { !named(&self.off) } else { named(&self.on) }
    }

    /// Refuses collectors that do not exist.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let (on, off) = (&node::collectors::OFF_BY_DEFAULT[..], &node::collectors::ON_BY_DEFAULT[..]);
        for (list, known, what) in [(&self.on, on, "off by default"), (&self.off, off, "on by default")] {
            if let Some(unknown) = list.iter().find(|name| !known.contains(&name.as_str())) {
                return Err(Error::Config(format!(
                    "no collector {what} is called {unknown:?}; there are: {}",
                    known.join(", ")
                )));
            }
        }
        Ok(())
    }
}

/// Whether a text fits one of the patterns.
pub(crate) fn fits_any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, text))
}

fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_a_shell_would_have_it() {
        for (pattern, text, expected) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("eth*", "eth01", true),
            ("*", "", true),
            ("*coretemp*", "platform_coretemp_0", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_collector_that_does_not_exist_is_refused() {
        let refused = Collectors { on: vec!["meminfo_nmua".into()], ..Collectors::default() };
        assert!(refused.validate().unwrap_err().to_string().contains("meminfo_numa"));
        let known = Collectors { on: vec!["zoneinfo".into()], off: vec!["zfs".into()], ..refused };
        assert!(known.validate().is_ok());
    }
}
