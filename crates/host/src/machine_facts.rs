//! What this machine is made of, read when somebody asks.

use vedette_model::{DiskFacts, MachineFacts, NetworkFacts};

use crate::{
    Config,
    container::machine,
    file::{Buffer, names, read_number, read_text},
    parse,
};

/// More devices of a kind are not listed.
const DEVICES_MAX: usize = 1024;

/// Reads all of it; what cannot be read is zero or empty.
pub fn machine_facts(config: &Config) -> MachineFacts {
    let mut buffer = Buffer::new();
    let identity = machine::Names::read(config);
    let processors = machine::processors(&config.sys_root).unwrap_or_default();
    let (memory, swap) = machine::memory(&config.proc_root, &mut buffer).unwrap_or_default();
    let frequency = config.sys_root.join("devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq");
    let info = read_text(&config.proc_root.join("cpuinfo")).unwrap_or_default();
    let said = |key: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|k| k.trim() == key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mhz = said("cpu MHz").and_then(|mhz| mhz.parse::<f64>().ok()).unwrap_or(0.0);
    MachineFacts {
        cores: processors.logical as u64,
        physical_cores: processors.physical as u64,
        sockets: processors.sockets as u64,
        frequency_khz: whole(read_number(&frequency, &mut buffer).unwrap_or(mhz * 1000.0)),
        vendor: said("vendor_id").unwrap_or_default(),
        memory_bytes: whole(memory),
        swap_bytes: whole(swap),
        machine_id: identity.machine_id,
        system_uuid: identity.system_uuid,
        boot_id: identity.boot_id,
        kernel: identity.kernel,
        os: identity.os,
        disks: disks(config, &mut buffer),
        networks: networks(config),
    }
}

/// A figure that is whole and not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast bounds it")]
fn whole(value: f64) -> u64 {
    value as u64
}

fn disks(config: &Config, buffer: &mut Buffer) -> Vec<DiskFacts> {
    let folder = config.sys_root.join("block");
    let disk = |name: String| {
        let place = folder.join(&name);
        let numbers = read_text(&place.join("dev"))?;
        let (major, minor) = numbers.split_once(':')?;
        let sectors = read_number(&place.join("size"), buffer).unwrap_or(0.0);
        // What holds nothing is none.
        if sectors == 0.0 || ["loop", "ram", "zram"].iter().any(|kind| name.starts_with(kind)) {
            return None;
        }
        let schedulers = read_text(&place.join("queue/scheduler")).unwrap_or_default();
        let in_force = schedulers.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        Some(DiskFacts {
            major: parse::unsigned(major.as_bytes())?,
            minor: parse::unsigned(minor.as_bytes())?,
            size_bytes: whole(sectors * 512.0),
            scheduler: in_force.map_or("none", |(name, _)| name).to_owned(),
            name,
        })
    };
    names(&folder).unwrap_or_default().into_iter().filter_map(disk).take(DEVICES_MAX).collect()
}

fn networks(config: &Config) -> Vec<NetworkFacts> {
    let folder = config.sys_root.join("class/net");
    let network = |name: String| {
        let number = |file: &str| {
            let text = read_text(&folder.join(&name).join(file))?;
            parse::signed(text.as_bytes())
        };
        let (speed_mbits, mtu) = (number("speed").unwrap_or(0), number("mtu")?);
        let address = read_text(&folder.join(&name).join("address")).unwrap_or_default();
        let own = !["lo", "veth", "docker"].iter().any(|prefix| name.starts_with(prefix));
        own.then_some(NetworkFacts { speed_mbits, mtu, address, name })
    };
    names(&folder).unwrap_or_default().into_iter().filter_map(network).take(DEVICES_MAX).collect()
}
