//! Software RAID: its arrays, their disks, and what is done to them.

use std::path::PathBuf;

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, names, read_number, read_once},
    parse,
    series::Family,
    sheet::Sheet,
};

/// States that a software RAID is reported in.
const ARRAY_STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];

/// `/proc/mdstat` and `/sys/block/md*`: software RAID.
pub(super) struct SoftwareRaid {
    mdstat: PathBuf,
    block: PathBuf,
}

/// What mdstat tells of an array.
#[derive(Debug, PartialEq, Eq)]
struct Array {
    name: String,
    state: &'static str,
    required: u64,
    active: u64,
    failed: u64,
    spare: u64,
    blocks: u64,
    blocks_synced: u64,
}

impl SoftwareRaid {
    pub(super) fn new(config: &Config) -> Self {
        Self { mdstat: config.proc_root.join("mdstat"), block: config.sys_root.join("block") }
    }
}

impl Source for SoftwareRaid {
    fn name(&self) -> &'static str {
        "mdadm"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        let text = read_once(&self.mdstat, buffer).map_err(Failure::at(&self.mdstat))?;
        for array in arrays(text) {
            let device = ("device", array.name.as_str());
            for state in ARRAY_STATES {
                let now = f64::from(u8::from(array.state == state));
                sheet.put(
                    Family::gauge("node_md_state", "Indicates the state of md-device."),
                    &[device, ("state", state)],
                    now,
                );
            }
            for (state, n) in [("active", array.active), ("failed", array.failed), ("spare", array.spare)] {
                sheet.put(
                    Family::gauge("node_md_disks", "Number of active/failed/spare disks of device."),
                    &[device, ("state", state)],
                    parse::value(n),
                );
            }
            sheet.put(
                Family::gauge("node_md_disks_required", "Total number of disks of device."),
                &[device],
                parse::value(array.required),
            );
            sheet.put(
                Family::gauge("node_md_blocks", "Total number of blocks on device."),
                &[device],
                parse::value(array.blocks),
            );
            sheet.put(
                Family::gauge("node_md_blocks_synced", "Number of blocks synced on device."),
                &[device],
                parse::value(array.blocks_synced),
            );
        }
        for name in names(&self.block).unwrap_or_default() {
            if !name.starts_with("md") {
                continue;
            }
            let folder = self.block.join(&name).join("md");
            let device = ("device", name.as_str());
            let Some(disks) = read_number(&folder.join("raid_disks"), buffer) else { continue };
            sheet.put(
                Family::gauge("node_md_raid_disks", "Number of raid disks on device."),
                &[device],
                disks,
            );
            // Levels without redundancy have no such file.
            let degraded = read_number(&folder.join("degraded"), buffer).unwrap_or(0.0);
            sheet.put(
                Family::gauge("node_md_degraded", "Number of degraded disks on device."),
                &[device],
                degraded,
            );
        }
        Ok(())
    }
}

/// Reads mdstat; what makes no sense is left out.
fn arrays(text: &[u8]) -> Vec<Array> {
    let mut out: Vec<Array> = Vec::new();
    let mut open = false;
    for line in parse::lines(text) {
        // A line that begins with a blank belongs to the array named before.
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let array = array_head(line);
            open = array.is_some();
            out.extend(array);
        } else if let Some(array) = out.last_mut().filter(|_| open) {
            array_detail(array, line);
        }
    }
    out
}

/// `md6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]`
fn array_head(line: &[u8]) -> Option<Array> {
    let (name, rest) = parse::split_once(line, b':')?;
    let name = std::str::from_utf8(parse::trim(name)).ok().filter(|n| n.starts_with("md"))?;
    let state = match parse::words(rest).next()? {
        b"active" => "active",
        b"inactive" => "inactive",
        _ => return None,
    };
    let disks = || parse::words(rest).filter(|word| word.contains(&b'['));
    let marked = |mark: &[u8]| disks().filter(|disk| disk.windows(3).any(|w| w == mark)).count() as u64;
    let (failed, spare) = (marked(b"(F)"), marked(b"(S)"));
    let active = if state == "active" { (disks().count() as u64).saturating_sub(failed + spare) } else { 0 };
    let name = name.to_owned();
    Some(Array { name, state, required: active, active, failed, spare, blocks: 0, blocks_synced: 0 })
}

/// Size, disks that it should have and has, and how far what is done to it has come.
fn array_detail(array: &mut Array, line: &[u8]) {
    let words = || parse::words(line);
    if let Some((blocks, _)) = words().zip(words().skip(1)).find(|(_, unit)| *unit == b"blocks") {
        array.blocks = parse::unsigned(blocks).unwrap_or(0);
        array.blocks_synced = array.blocks;
        let pair = |word: &[u8]| {
            let (required, active) = parse::split_once(word.strip_prefix(b"[")?.strip_suffix(b"]")?, b'/')?;
            Some((parse::unsigned(required)?, parse::unsigned(active)?))
        };
        if array.state != "inactive"
            && let Some((required, active)) = words().find_map(pair)
        {
            (array.required, array.active) = (required, active);
        }
        return;
    }
    let has = |what: &[u8]| line.windows(what.len()).any(|window| window == what);
    let state =
        [("recovery", "recovering"), ("resync", "resync"), ("check", "check"), ("reshape", "reshaping")]
            .into_iter()
            .find(|(what, _)| has(what.as_bytes()) && has(b"="));
    let Some((_, state)) = state.filter(|_| array.state != "inactive") else { return };
    array.state = state;
    let synced = |word: &[u8]| parse::unsigned(parse::split_once(word.strip_prefix(b"(")?, b'/')?.0);
    // What waits for its turn has nothing synchronised.
    array.blocks_synced = words().find_map(synced).unwrap_or(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_told_with_their_disks_and_what_is_done_to_them() {
        let text = b"Personalities : [raid1] [raid5]\n\
            md1 : active raid1 sdc1[2](S) sdb1[1](F) sda1[0]\n      1000 blocks super 1.2 [2/1] [U_]\n\
            \x20     [=>..]  recovery =  8.5% (85/1000) finish=1.0min speed=1K/sec\n\n\
            md2 : active (auto-read-only) raid5 sdd1[0] sde1[1] sdf1[2]\n\
            \x20     2000 blocks level 5, 64k chunk, algorithm 2 [3/3] [UUU]\n      resync=PENDING\n\n\
            md3 : inactive sdg[0](S) sdj[1]\n      7932 blocks super external:imsm\n\n\
            md4 : active raid0 sdh[0] sdi[1]\n      50 blocks 64k chunks\nunused devices: <none>\n";
        let told: Vec<_> = arrays(text)
            .into_iter()
            .map(|a| {
                let disks = [a.required, a.active, a.failed, a.spare];
                (a.name, a.state, disks, [a.blocks, a.blocks_synced])
            })
            .collect();
        assert_eq!(
            told,
            [
                ("md1".to_owned(), "recovering", [2, 1, 1, 1], [1000, 85]),
                ("md2".to_owned(), "resync", [3, 3, 0, 0], [2000, 0]),
                ("md3".to_owned(), "inactive", [0, 0, 0, 1], [7932, 7932]),
                ("md4".to_owned(), "active", [2, 2, 0, 0], [50, 50]),
            ]
        );
    }
}
