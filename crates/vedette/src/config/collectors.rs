//! Which figures of the machine and of its containers are read, and what they leave out.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{Error, duration};

/// Patterns of one list; more make every reading slow.
const PATTERNS_MAX: usize = 256;
/// The shortest time between two readings of what seldom changes.
const SLOW_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Which figures of the machine and of its containers are read, and what they leave out. Collectors have the names
/// that node_exporter gives them. In patterns `*` stands for any text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collectors {
    /// Collectors that run beside those that run by default: `buddyinfo`, `cgroups`, `cpu_vulnerabilities`, `drbd`,
    /// `interrupts`, `ksmd`, `lnstat`, `logind`, `meminfo_numa`, `mountstats`, `network_route`, `pcidevice`,
    /// `processes`, `qdisc`, `slabinfo`, `softirqs`, `swap`, `sysctl`, `tcpstat`, `xfrm`, `zoneinfo`.
    pub on: Vec<String>,
    /// Collectors that do not run although they do by default.
    pub off: Vec<String>,
    /// Time between two readings of what seldom changes: devices, limits, sensors, the kinds of memory of a
    /// container. Default `10s`.
    pub slow_interval: Option<String>,
    /// Types of file systems that are not told; in place of the default, which names those that hold no files.
    pub filesystem_types_excluded: Option<Vec<String>>,
    /// Mount points that are not told, each with all below it, or only what is below it when it ends in `/`; in
    /// place of the default.
    pub mount_points_excluded: Option<Vec<String>>,
    /// Patterns of the block devices that `diskstats` leaves out, beside partitions, loop and memory devices.
    pub diskstats_excluded: Vec<String>,
    /// Patterns of the interfaces that `netdev` leaves out.
    pub netdev_excluded: Vec<String>,
    /// Patterns of the interfaces that `netclass` leaves out.
    pub netclass_excluded: Vec<String>,
    /// Patterns of the interfaces that `arp` leaves out.
    pub arp_excluded: Vec<String>,
    /// Patterns of the only chips that `hwmon` tells of. Default: all.
    pub hwmon_chips: Vec<String>,
    /// Folder whose files `*.prom` are told as they stand. Default: none.
    pub textfile_folder: Option<PathBuf>,
    /// What `sysctl` tells: names such as `kernel.threads-max`, or `fs.file-nr:total,current,max` to name the
    /// numbers of one that holds several.
    pub sysctl: Vec<String>,
    /// What `sysctl` tells as text.
    pub sysctl_info: Vec<String>,
    /// Whether `node_cpu_info` of each processor is told.
    pub cpu_info: bool,
    /// Figures of containers.
    pub containers: ContainerCollector,
}

/// Figures of containers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerCollector {
    /// Patterns of the labels that `container_info` carries, as `container_label_…`. Default: none, as labels may
    /// hold secrets.
    pub labels: Vec<String>,
    /// Patterns of the variables in the environment of a container's first process that `container_info` carries,
    /// as `container_env_…`. Default: none.
    pub environment: Vec<String>,
    /// `auto` counts the files that containers have written, `off` does not. Default `auto`.
    pub files: Option<String>,
    /// `auto` looks at the states of containers' tasks for their load averages, `off` does not. Default `auto`.
    pub load: Option<String>,
    /// How long OOM kills of a container stay visible after its end. Default `5m`.
    pub oom_kept: Option<String>,
}

/// Checks what is written.
pub(super) fn settings(place: &str, written: Collectors) -> Result<vedette_host::Config, Error> {
    let at = |key: &str| format!("{place}.{key}");
    let refuse = |key: &str, reason: String| Error::Value { place: at(key), reason };
    let known = |name: &String| {
        vedette_host::Collectors::on_by_default().contains(&name.as_str())
            || vedette_host::Collectors::off_by_default().contains(&name.as_str())
    };
    for (key, names) in [("on", &written.on), ("off", &written.off)] {
        if let Some(name) = names.iter().find(|name| !known(name)) {
            return Err(refuse(key, format!("no collector is called {name:?}; {}", near(name))));
        }
    }
    if let Some(name) = written.on.iter().find(|name| written.off.contains(name)) {
        return Err(refuse("on", format!("{name:?} stands in {place}.off too; take it out of one of them")));
    }
    let defaults = vedette_host::Config::default();
    let of_default = |names: &[String], list: &[&str]| {
        names.iter().filter(|name| list.contains(&name.as_str())).cloned().collect::<Vec<_>>()
    };
    for (key, patterns) in [
        ("diskstats_excluded", &written.diskstats_excluded),
        ("netdev_excluded", &written.netdev_excluded),
        ("netclass_excluded", &written.netclass_excluded),
        ("arp_excluded", &written.arp_excluded),
        ("hwmon_chips", &written.hwmon_chips),
        ("sysctl", &written.sysctl),
        ("sysctl_info", &written.sysctl_info),
        ("containers.labels", &written.containers.labels),
        ("containers.environment", &written.containers.environment),
    ] {
        if patterns.len() > PATTERNS_MAX {
            return Err(refuse(
                key,
                format!("there are more than {PATTERNS_MAX} entries; put some together with *"),
            ));
        }
        if patterns.iter().any(String::is_empty) {
            return Err(refuse(key, "an entry is empty; take it out".to_owned()));
        }
    }
    if let Some(folder) = written.textfile_folder.as_ref().filter(|folder| !folder.is_absolute()) {
        let reason = format!("{} is not an absolute path; write it from the root on", folder.display());
        return Err(refuse("textfile_folder", reason));
    }
    let slow_interval = duration(&at("slow_interval"), written.slow_interval.as_deref(), "10s")?;
    if slow_interval < SLOW_INTERVAL_MIN {
        return Err(refuse("slow_interval", "use at least 1s".to_owned()));
    }
    let oom_kept = duration(&at("containers.oom_kept"), written.containers.oom_kept.as_deref(), "5m")?;
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let on_by_default = vedette_host::Collectors::on_by_default();
    let off_by_default = vedette_host::Collectors::off_by_default();
    Ok(vedette_host::Config {
        filesystem_types_excluded: written
            .filesystem_types_excluded
            .unwrap_or(defaults.filesystem_types_excluded),
        mount_points_excluded: written.mount_points_excluded.unwrap_or(defaults.mount_points_excluded),
        reconcile_interval_ms: ms(slow_interval),
        tombstone_ms: ms(oom_kept),
        container_storage: super::auto_or_off(&at("containers.files"), written.containers.files.as_deref())?,
        container_load: super::auto_or_off(&at("containers.load"), written.containers.load.as_deref())?,
        container_labels: written.containers.labels,
        container_environment: written.containers.environment,
        collectors: vedette_host::Collectors {
            on: of_default(&written.on, off_by_default),
            off: of_default(&written.off, on_by_default),
            textfile_folder: written.textfile_folder,
            cpu_info: written.cpu_info,
            arp_excluded: written.arp_excluded,
            netclass_excluded: written.netclass_excluded,
            netdev_excluded: written.netdev_excluded,
            diskstats_excluded: written.diskstats_excluded,
            hwmon_chips: written.hwmon_chips,
            sysctl: written.sysctl,
            sysctl_info: written.sysctl_info,
            ..defaults.collectors
        },
        ..defaults
    })
}

/// What may have been meant.
fn near(name: &str) -> String {
    let all =
        vedette_host::Collectors::on_by_default().iter().chain(vedette_host::Collectors::off_by_default());
    let begins_alike =
        |other: &&&str| other.starts_with(name.get(..3).unwrap_or(name)) || name.starts_with(**other);
    let alike: Vec<&str> = all.clone().filter(begins_alike).copied().collect();
    let listed = if alike.is_empty() { all.copied().collect() } else { alike };
    format!("there are: {}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<vedette_host::Config, String> {
        let written = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        settings("v.yml: collectors", written).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_in_force_and_what_is_not_stays() {
        let config = read(
            "{on: [slabinfo, cpu], off: [zfs], slow_interval: 30s, mount_points_excluded: [/mnt/], \
             netdev_excluded: ['veth*'], containers: {labels: ['app*'], files: off, oom_kept: 1m}}",
        )
        .unwrap();
        assert_eq!(
            (config.collectors.on, config.collectors.off),
            (vec!["slabinfo".into()], vec!["zfs".into()])
        );
        assert_eq!((config.reconcile_interval_ms, config.tombstone_ms), (30_000, 60_000));
        assert_eq!(config.mount_points_excluded, ["/mnt/"]);
        assert_eq!(
            config.filesystem_types_excluded,
            vedette_host::Config::default().filesystem_types_excluded
        );
        assert_eq!(config.collectors.netdev_excluded, ["veth*"]);
        assert_eq!((config.container_labels, config.container_storage), (vec!["app*".to_owned()], false));
        assert!(config.container_load);
    }

    #[test]
    fn what_cannot_be_is_refused_with_place_and_remedy() {
        for (yaml, words) in [
            ("{on: [slabinfos]}", vec!["collectors.on", "slabinfo"]),
            ("{off: ['0']}", vec!["collectors.off", "meminfo", "zoneinfo"]),
            ("{on: [cpu], off: [cpu]}", vec!["collectors.on", "take it out"]),
            ("{slow_interval: 10ms}", vec!["collectors.slow_interval", "at least 1s"]),
            ("{textfile_folder: here}", vec!["collectors.textfile_folder", "absolute"]),
            ("{netdev_excluded: ['']}", vec!["collectors.netdev_excluded", "empty"]),
            ("{containers: {files: perhaps}}", vec!["collectors.containers.files", "off"]),
            ("{contaners: {}}", vec!["contaners"]),
        ] {
            let error = read(yaml).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{yaml}: {error}");
        }
    }
}
